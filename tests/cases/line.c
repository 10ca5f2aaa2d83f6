/* line.c - see line.h. */
#include "tests/cases/line.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- words ------------------------------------------------------------- */

void line_fail(struct line *l, const char *format, ...)
{
    if (l->is_bad)
        return;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(l->why, sizeof l->why, format, args);
    va_end(args);
    l->is_bad = true;
}

/* Cuts a word off the text and returns what follows it. A parenthesis opens
 * only where a value begins, so that "->" and names stay words. */
static char *cut_word(struct line *l, char *at, char **word)
{
    *word = at;
    bool is_open = false;
    for (; *at != '\0'; at++) {
        if (*at == '(' && (at == *word || at[-1] == '='))
            is_open = true;
        if (*at == ')')
            is_open = false;
        if (!is_open && isspace((unsigned char)*at))
            break;
    }
    if (is_open)
        line_fail(l, "a ) is missing");
    if (*at != '\0')
        *at++ = '\0';
    return at;
}

static void add_word(struct line *l, char *word)
{
    if (l->count == LINE_WORDS_MAX) {
        line_fail(l, "more than %u words", LINE_WORDS_MAX);
        return;
    }
    struct line_word *w = &l->words[l->count++];
    *w = (struct line_word){.value = word};
    char *equals = strchr(word, '=');
    if (equals != NULL && equals != word) {
        *equals = '\0';
        w->key = word;
        w->value = equals + 1;
    }
    size_t size = strlen(w->value);
    if (size >= 2 && w->value[0] == '(' && w->value[size - 1] == ')') {
        w->value[size - 1] = '\0';
        w->value++;
    }
    for (size_t i = 0; w->key != NULL && i + 1 < l->count; i++) {
        if (l->words[i].key != NULL && strcmp(l->words[i].key, w->key) == 0)
            line_fail(l, "%s= is there twice", w->key);
    }
}

void line_parse(struct line *l, struct span text)
{
    *l = (struct line){.verb = ""};
    l->copy = mem_alloc(text.size + 1);
    memcpy(l->copy, text.data, text.size);
    for (char *at = l->copy; *at != '\0'; at++) {
        if (*at == '#' && (at == l->copy || isspace((unsigned char)at[-1])))
            *at = '\0'; /* and so it ends here */
        if (*at == '\0')
            break;
    }
    char *at = l->copy;
    bool is_first = true;
    for (;;) {
        while (isspace((unsigned char)*at))
            at++;
        if (*at == '\0')
            break;
        char *word;
        at = cut_word(l, at, &word);
        if (is_first)
            l->verb = word;
        else
            add_word(l, word);
        is_first = false;
    }
}

void line_free(struct line *l)
{
    mem_free(l->copy);
    *l = (struct line){0};
}

bool line_end(struct line *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct line_word *w = &l->words[i];
        if (!w->is_used && w->key != NULL)
            line_fail(l, "%s: what is %s=?", l->verb, w->key);
        else if (!w->is_used)
            line_fail(l, "%s: what is \"%s\"?", l->verb, w->value);
    }
    return !l->is_bad;
}

const char *line_value(struct line *l, const char *key)
{
    for (size_t i = 0; i < l->count; i++) {
        struct line_word *w = &l->words[i];
        if (w->key != NULL && strcmp(w->key, key) == 0) {
            w->is_used = true;
            return w->value;
        }
    }
    return NULL;
}

bool line_flag(struct line *l, const char *word)
{
    for (size_t i = 0; i < l->count; i++) {
        struct line_word *w = &l->words[i];
        if (w->key == NULL && !w->is_used && strcmp(w->value, word) == 0) {
            w->is_used = true;
            return true;
        }
    }
    return false;
}

const char *line_next(struct line *l)
{
    for (size_t i = 0; i < l->count; i++) {
        struct line_word *w = &l->words[i];
        if (w->key == NULL && !w->is_used) {
            w->is_used = true;
            return w->value;
        }
    }
    return NULL;
}

bool line_has_next(const struct line *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->words[i].key == NULL && !l->words[i].is_used)
            return true;
    }
    return false;
}

/* ---- numbers ----------------------------------------------------------- */

/* Reads a number and returns what follows it; blanks around it are skipped. */
static const char *read_u64(struct line *l, const char *text, const char *what,
                            uint64_t *out)
{
    *out = 0;
    while (isspace((unsigned char)*text))
        text++;
    const char *end = text;
    if (*text == '_') {
        end = text + 1;
    } else if (isdigit((unsigned char)*text)) {
        char *stop;
        errno = 0;
        *out = strtoull(text, &stop, 10);
        end = stop;
        if (errno == ERANGE)
            line_fail(l, "%s: a number above 2^64 - 1", what);
    }
    if (end == text)
        line_fail(l, "%s: \"%s\" is not a number", what, text);
    while (isspace((unsigned char)*end))
        end++;
    return end;
}

static uint64_t whole_u64(struct line *l, const char *text, const char *what)
{
    uint64_t v;
    if (*read_u64(l, text, what, &v) != '\0')
        line_fail(l, "%s: \"%s\" is not a number", what, text);
    return v;
}

uint64_t line_u64(struct line *l, const char *key, uint64_t otherwise)
{
    const char *text = line_value(l, key);
    return text == NULL ? otherwise : whole_u64(l, text, key);
}

uint64_t line_need_u64(struct line *l, const char *key)
{
    const char *text = line_value(l, key);
    if (text == NULL)
        line_fail(l, "%s: %s= is missing", l->verb, key);
    return text == NULL ? 0 : whole_u64(l, text, key);
}

uint64_t line_next_u64(struct line *l)
{
    const char *text = line_next(l);
    if (text == NULL)
        line_fail(l, "%s: a number is missing", l->verb);
    return text == NULL ? 0 : whole_u64(l, text, l->verb);
}

size_t line_choice(struct line *l, const char *key, const char *names,
                   size_t otherwise)
{
    const char *text = line_value(l, key);
    if (text == NULL)
        return otherwise;
    size_t place = 0;
    for (const char *at = names; *at != '\0'; place++) {
        size_t size = strcspn(at, " ");
        if (strlen(text) == size && strncmp(text, at, size) == 0)
            return place;
        at += size + (at[size] == ' ');
    }
    line_fail(l, "%s=%s: know %s", key, text, names);
    return otherwise;
}

/* ---- lists ------------------------------------------------------------- */

/* Separated by commas or, within parentheses, blanks. */
static const char *next_item(struct line *l, const char *text)
{
    if (*text == ',')
        text++;
    else if (*text != '\0' && !isdigit((unsigned char)*text) && *text != '_')
        line_fail(l, "\"%s\": a comma is missing", text);
    return l->is_bad ? "" : text;
}

size_t line_pairs(struct line *l, const char *key, struct line_pair *out,
                  size_t max)
{
    const char *text = line_value(l, key);
    size_t count = 0;
    while (text != NULL && *text != '\0') {
        if (count == max) {
            line_fail(l, "%s: more than %zu", key, max);
            return 0;
        }
        struct line_pair *p = &out[count++];
        *p = (struct line_pair){0};
        text = read_u64(l, text, key, &p->first);
        if (*text == ':') {
            p->has_second = true;
            text = read_u64(l, text + 1, key, &p->second);
        }
        text = next_item(l, text);
    }
    return l->is_bad ? 0 : count;
}

size_t line_list(struct line *l, const char *key, uint64_t *out, size_t max)
{
    struct line_pair pairs[256];
    ASSERT(max <= 256);
    size_t count = line_pairs(l, key, pairs, max);
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].has_second)
            line_fail(l, "%s: a plain list is wanted", key);
        out[i] = pairs[i].first;
    }
    return count;
}

size_t line_names(struct line *l, const char *key, struct line_named *out,
                  size_t max)
{
    char *text = NULL;
    for (size_t i = 0; i < l->count; i++) {
        struct line_word *w = &l->words[i];
        if (w->key != NULL && !w->is_used && strcmp(w->key, key) == 0) {
            w->is_used = true;
            text = w->value; /* cut up below: it is asked for once */
        }
    }
    size_t count = 0;
    while (text != NULL && *text != '\0') {
        char *comma = strchr(text, ',');
        char *next = comma == NULL ? text + strlen(text) : comma + 1;
        if (comma != NULL)
            *comma = '\0';
        char *colon = strchr(text, ':');
        if (colon == NULL || count == max) {
            line_fail(l, "%s: number:name is wanted, not \"%s\"", key, text);
            return 0;
        }
        *colon = '\0';
        out[count++] = (struct line_named){whole_u64(l, text, key), colon + 1};
        text = next;
    }
    return count;
}
