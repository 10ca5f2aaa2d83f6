/* line.h - one command line of a case or a table: a verb, words, key=value
 * pairs in any order.
 *
 *     append log=1:1,2:1 prev=2:1 entries=(3:2, 4:2)   # a comment
 *
 * A value in parentheses may hold blanks. Lists are separated by commas; a
 * list of pairs is first:second,... Numbers are decimal; "_" is 0, "unknown".
 *
 * Getters take what they are asked for and never fail on their own: the first
 * thing that makes no sense is remembered. When all has been asked for,
 * line_end says whether the line made sense, and complains of words that
 * nobody wanted. */
#ifndef TESTS_CASES_LINE_H
#define TESTS_CASES_LINE_H

#include "ring/base.h"

#define LINE_WORDS_MAX 64u

struct line_word {
    char *key; /* NULL: a word by itself */
    char *value;
    bool is_used;
};

struct line {
    const char *verb;
    struct line_word words[LINE_WORDS_MAX];
    size_t count;
    bool is_bad;
    char why[200]; /* it is bad */
    char *copy;    /* what the words point into */
};

struct line_pair {
    uint64_t first;
    uint64_t second;
    bool has_second;
};

/* The text is copied. It may come out bad already: ask line_end. */
void line_parse(struct line *l, struct span text);
void line_free(struct line *l);

/* Takes note that the line makes no sense, unless something else did not
 * before. */
void line_fail(struct line *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* True: nothing was wrong, and every word was wanted. */
bool line_end(struct line *l);

/* The value of a key; NULL: it is not there. Borrowed. */
const char *line_value(struct line *l, const char *key);
/* Is this word there by itself? */
bool line_flag(struct line *l, const char *word);
/* The next word by itself that was not taken yet; NULL: none. */
const char *line_next(struct line *l);
bool line_has_next(const struct line *l);
/* Numbers; `otherwise` where the key is missing. */
uint64_t line_u64(struct line *l, const char *key, uint64_t otherwise);
uint64_t line_need_u64(struct line *l, const char *key);
/* A word by itself that must be a number. */
uint64_t line_next_u64(struct line *l);
/* One of these names, separated by blanks, by its place; `otherwise` where
 * the key is missing. */
size_t line_choice(struct line *l, const char *key, const char *names,
                   size_t otherwise);
/* Lists; the number of items. None where the key is missing. */
size_t line_list(struct line *l, const char *key, uint64_t *out, size_t max);
size_t line_pairs(struct line *l, const char *key, struct line_pair *out,
                  size_t max);
/* Pairs whose second half is a word (a zone): borrowed. */
struct line_named {
    uint64_t number;
    const char *name;
};
size_t line_names(struct line *l, const char *key, struct line_named *out,
                  size_t max);

#endif
