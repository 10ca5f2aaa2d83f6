/* script.h - a file of commands and of what they print: the format of etcd's
 * data-driven tests, for cases and for tables of decisions.
 *
 *     # a comment                       a block: command lines, ----, what
 *     campaign 1                        they print, and a blank line (or the
 *     deliver                           end of the file)
 *     ----
 *     1 is candidate of term 1
 *
 *     commit_index match=5,3,9 -> 5     a row: a command that prints one line,
 *                                       behind an arrow with blanks around it
 *
 * To *check* a file is to run it and to compare; to *update* it is to put what
 * was printed in the place of what was expected. When updating, the ---- and
 * the arrow's right side may be missing. */
#ifndef TESTS_CASES_SCRIPT_H
#define TESTS_CASES_SCRIPT_H

#include <stdio.h>

#include "tests/cases/line.h"

/* Runs one command: ask line_end before anything is done, and append whole
 * lines, none of them empty, to `out`. */
typedef void (*script_fn)(void *world, struct line *l, struct buf *out);

struct script {
    const char *path; /* for messages */
    script_fn run;
    void *world;
    bool is_quiet; /* differences are counted and not printed */
    bool is_table; /* what makes no sense is told, and the next is run */
    /* results */
    size_t blocks; /* rows too */
    size_t differences;
    size_t bad; /* lines that made no sense; said on stderr with file:line */
    struct buf rewritten; /* the text with what was printed */
};

/* Runs the whole text; `rewritten` is the caller's to free. With is_update a
 * missing ---- is not bad. */
void script_run(struct script *s, struct span text, bool is_update);

/* The whole of a file, or of stdin for "-"; false: said on stderr. */
bool script_read(const char *path, struct buf *out);
/* False: said on stderr. Writes nothing where the file holds it already. */
bool script_write(const char *path, struct span text);

#endif
