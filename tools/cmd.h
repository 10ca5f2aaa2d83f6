/* cmd.h - the commands of `eddy`: each takes the words behind its name, prints
 * what it has to say, and returns the exit code (tools/cli.h). */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

int cmd_put(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_stream(int argc, char **argv);
int cmd_ring(int argc, char **argv);
int cmd_demo(int argc, char **argv);

/* `eddy ring status` by itself. */
struct cli;
struct eddy;
int cmd_ring_status(struct cli *cli, struct eddy *e);

/* The options that every command takes, for its --help. */
#define CMD_COMMON_USAGE                                                       \
    "\n"                                                                       \
    "Common: --node HOST:PORT (again for more; EDDY_NODES, comma-separated)\n" \
    "        --key FILE (EDDY_KEY, then ~/.config/eddy/key, then\n"            \
    "        ./eddy-data/keys/admin.key; without any: an open cluster)\n"      \
    "        --timeout 30s (retries go on until then)  -q  --json  --help\n"   \
    "\n"                                                                       \
    "Exit codes: 0 done or healthy, 1 failed, 2 bad arguments, 3 refused "     \
    "for\n"                                                                    \
    "safety, 4 no node reached, 5 outcome unknown, 6 conflict, 7 not found,\n" \
    "8 denied, 10 unhealthy.\n"

#endif
