/* cmd_heal.h - how far the ring has healed: the copies that there should be by
 * its table, and those that there are. */
#ifndef TOOLS_CMD_HEAL_H
#define TOOLS_CMD_HEAL_H

#include "tools/cmd_view.h"

struct cmd_heal {
    uint32_t copies; /* that partitions should have */
    uint32_t whole;  /* on a node of the row, live, and behind in nothing */
    uint32_t moving; /* of the others: a node is getting it */
    uint64_t bytes;  /* about, of those that are not whole */
};

void cmd_heal_count(const struct cmd_view *v, struct cmd_heal *out);
/* "[######----] 150 of 192 copies whole, 8 on their way, 12.4M to go". */
void cmd_heal_text(const struct cmd_heal *h, char text[256]);

#endif
