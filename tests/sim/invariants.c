/* invariants.c - see invariants.h. */
#include "tests/sim/invariants.h"

#include "tests/sim/world.h"

static const struct {
    const char *name;
    int code;
    const char *words;
} list[HELD_COUNT] = {
#define X(name, code, words) {#name, code, words},
    INVARIANT_LIST(X)
#undef X
};

const char *invariant_name(enum invariant i)
{
    return list[i].name;
}

const char *invariant_words(enum invariant i)
{
    return list[i].words;
}

int invariant_code(enum invariant i)
{
    return list[i].code;
}
