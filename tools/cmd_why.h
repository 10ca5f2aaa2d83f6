/* cmd_why.h - `eddy ring why`: what waits, and for what. */
#ifndef TOOLS_CMD_WHY_H
#define TOOLS_CMD_WHY_H

#include "tools/cli.h"

/* why [partition P | node N | stream S]; without any, all that waits. */
int cmd_why(struct cli *cli, struct eddy *e);

#endif
