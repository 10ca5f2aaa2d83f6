/* cmd_transfers.h - replicas on their way in, as people and scripts are told:
 * those that their node says it is installing, and those that only catch up
 * with the log. */
#ifndef TOOLS_CMD_TRANSFERS_H
#define TOOLS_CMD_TRANSFERS_H

#include "tools/cli.h"
#include "tools/cmd_view.h"

/* A line for each of the first, and how many more there are. */
void cmd_transfers_text(const struct cmd_view *v);
/* All, as the elements of an array that is open. */
void cmd_transfers_json(const struct cmd_view *v, struct cli_json *j);
/* One that is being installed, in a sentence without its end: appended. */
void cmd_transfers_explain(const struct cmd_view *v,
                           const struct cmd_view_transfer *t, struct buf *text);

#endif
