/* cmd_recover.h - `eddy ring recover`: groups that have lost their majority for
 * good go on from one survivor each, in another generation (HAZARDS S7, T12).
 *
 * Only what the survivor has is kept: which one that is, and how much it may
 * lack, is shown before anything is done. */
#ifndef TOOLS_CMD_RECOVER_H
#define TOOLS_CMD_RECOVER_H

#include "tools/cmd_plan.h"

/* recover [ring | PARTITION...]; without words, all that is lost, group 0
 * first. */
int cmd_recover(struct cli *cli, struct eddy *e,
                const struct cmd_plan_options *o);

#endif
