/* cmd_check.h - `eddy ring check`: all copies of all partitions are read, held
 * against their checksums, and compared with each other; what is damaged is
 * named, and mended by the node that has it (net/check.h). */
#ifndef TOOLS_CMD_CHECK_H
#define TOOLS_CMD_CHECK_H

#include "tools/cli.h"

int cmd_check(struct cli *cli, struct eddy *e);

#endif
