/* cmd_plan.h - changes of the ring: what a plan would do, shown before it is
 * done.
 *
 * The plan is computed here by the very fold that group 0's leader uses, from
 * the record that a node gave; the leader is told which table was shown, and
 * refuses if its own would be another (HAZARDS T26). */
#ifndef TOOLS_CMD_PLAN_H
#define TOOLS_CMD_PLAN_H

#include "tools/cli.h"
#include "tools/cmd_view.h"

/* Words behind `eddy ring VERB`. */
struct cmd_plan_options {
    const char *add, *drain, *remove, *replace, *weight, *zone, *set;
    bool clears, is_dry_run, is_sure, loses_data, is_forced, is_undone;
};

/* Each is a verb: plan, commit EPOCH, drain NODE, remove NODE, replace OLD NEW,
 * set KEY=VALUE... Returns the exit code. */
int cmd_plan_show(struct cli *cli, struct eddy *e,
                  const struct cmd_plan_options *o);
int cmd_plan_commit(struct cli *cli, struct eddy *e,
                    const struct cmd_plan_options *o);
int cmd_plan_drain(struct cli *cli, struct eddy *e,
                   const struct cmd_plan_options *o);
int cmd_plan_remove(struct cli *cli, struct eddy *e,
                    const struct cmd_plan_options *o);
int cmd_plan_replace(struct cli *cli, struct eddy *e,
                     const struct cmd_plan_options *o);
int cmd_plan_set(struct cli *cli, struct eddy *e,
                 const struct cmd_plan_options *o);

/* A member by its name or a unique beginning of its id; else SLOT_NONE, said
 * on stderr, and *code is set. */
uint16_t cmd_plan_member(const struct cli *cli, const struct record *r,
                         const char *word, int *code);

/* On a terminal the word must be typed; in scripts --yes says it. False: it was
 * not, and *code is set. */
bool cmd_plan_is_sure(const struct cli *cli, const struct cmd_plan_options *o,
                      const char *word, int *code);

#endif
