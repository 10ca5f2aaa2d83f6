/* rule.c - see rule.h; empty in production. */
#include "ring/rule.h"

#ifdef EDDY_RULES

#include <string.h>

bool rule_is_off[RULE_COUNT];

static const struct {
    const char *name;
    const char *text;
} rules[RULE_COUNT] = {
#define X(name, text) {#name, text},
    RULE_LIST(X)
#undef X
};

bool rule_turn_off(const char *name)
{
    for (size_t i = 0; i < RULE_COUNT; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            rule_is_off[i] = true;
            return true;
        }
    }
    return false;
}

void rule_turn_all_on(void)
{
    memset(rule_is_off, 0, sizeof rule_is_off);
}

const char *rule_name(size_t rule)
{
    return rule < RULE_COUNT ? rules[rule].name : "?";
}

const char *rule_text(size_t rule)
{
    return rule < RULE_COUNT ? rules[rule].text : "?";
}

#else

typedef int rule_c_is_empty_in_production;

#endif
