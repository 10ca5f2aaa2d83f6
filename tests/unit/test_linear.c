/* test_linear.c - the simulator's check of linearizability (tests/sim/linear.h)
 * against its slow and obvious twin: a search for an order. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/base.h"
#include "tests/sim/linear.h"

#define OPS_MAX  6u
#define TIME_MAX 14u
#define NEVER    UINT32_MAX

enum kind { OP_APPEND, OP_END, OP_READ };

struct op {
    enum kind kind;
    uint64_t value; /* seq; end; segments known */
    uint32_t begin, end;
    uint64_t floor;
};

struct history {
    struct op ops[OPS_MAX];
    uint32_t count;
};

/* ---- the twin ---------------------------------------------------------- */

/* Could it be the next, with `length` segments there? Not if another that had
 * ended before it began is still to come. */
static bool may_follow(const struct history *h, uint32_t left, uint32_t at,
                       uint64_t length)
{
    const struct op *o = &h->ops[at];
    for (uint32_t i = 0; i < h->count; i++)
        if (left >> i & 1 && h->ops[i].end < o->begin)
            return false;
    return o->kind == OP_READ ? o->value <= length : o->value == length;
}

/* All orders, by sets of what has come: reachable[set] says that there is a way
 * to have answered these in some order. The stream's length is the number of
 * appends among them. */
static bool has_order(const struct history *h)
{
    static bool reachable[1u << OPS_MAX];
    uint32_t all = (1u << h->count) - 1;
    memset(reachable, 0, sizeof reachable);
    reachable[0] = true;
    for (uint32_t set = 0; set < all; set++) {
        uint64_t length = 0;
        for (uint32_t i = 0; i < h->count; i++)
            length += set >> i & 1 && h->ops[i].kind == OP_APPEND;
        for (uint32_t i = 0; reachable[set] && i < h->count; i++)
            if (!(set >> i & 1) && may_follow(h, all & ~set, i, length))
                reachable[set | 1u << i] = true;
    }
    return reachable[all];
}

/* ---- the check --------------------------------------------------------- */

/* In time; what ends at a moment ends before anything begins at the next. */
static bool passes(struct history *h)
{
    struct linear l = {0};
    bool is_fine = true;
    for (uint32_t now = 0; now <= TIME_MAX; now++) {
        for (uint32_t i = 0; i < h->count; i++)
            if (h->ops[i].begin == now)
                h->ops[i].floor = linear_begin(&l);
        for (uint32_t i = 0; i < h->count; i++) {
            struct op *o = &h->ops[i];
            if (o->end != now)
                continue;
            linear_ended(&l, o->value + (o->kind == OP_APPEND));
            if (o->kind == OP_END)
                is_fine = is_fine && linear_may_end(o->floor, o->value);
        }
    }
    for (uint32_t i = 0; i < h->count; i++)
        if (h->ops[i].kind == OP_APPEND)
            is_fine =
                is_fine && linear_may_append(h->ops[i].floor, h->ops[i].value);
    return is_fine;
}

/* ---- histories --------------------------------------------------------- */

/* As they come to the check: the log has made of the appends segments without
 * gaps, in any order; nobody is told of more segments than there are (ops.c
 * looks at the log for that). An append may never be answered; whoever asked
 * and was never answered has asked nothing. */
static struct history draw(struct rng *r)
{
    struct history h = {.count = 1 + (uint32_t)rng_below(r, OPS_MAX)};
    uint64_t appends = 0;
    for (uint32_t i = 0; i < h.count; i++) {
        h.ops[i].kind = (enum kind)rng_below(r, 3);
        appends += h.ops[i].kind == OP_APPEND;
    }
    uint64_t next = 0;
    uint32_t from = (uint32_t)rng_below(r, h.count);
    for (uint32_t k = 0; k < h.count; k++) {
        struct op *o = &h.ops[(from + k) % h.count];
        o->begin = (uint32_t)rng_below(r, TIME_MAX - 1);
        o->end = o->begin + 1 + (uint32_t)rng_below(r, TIME_MAX - o->begin);
        if (o->kind == OP_APPEND)
            o->value = next++;
        else
            o->value = rng_below(r, appends + 1);
        if (o->kind == OP_APPEND && rng_chance(r, 200))
            o->end = NEVER;
    }
    return h;
}

static void the_floor_is_the_search_s_verdict(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1);
    uint32_t fine = 0, broken = 0;
    for (uint32_t i = 0; i < 300000; i++) {
        struct history h = draw(&r);
        bool is_fine = has_order(&h);
        assert_int_equal(passes(&h), is_fine);
        fine += is_fine;
        broken += !is_fine;
    }
    assert_true(fine > 10000 && broken > 10000);
}

static void an_end_below_an_answered_append_is_found(void **state)
{
    (void)state;
    struct history h = {.ops = {{OP_APPEND, 0, 1, 2, 0}, {OP_END, 0, 3, 4, 0}},
                        .count = 2};
    assert_false(passes(&h));
    assert_false(has_order(&h));
    h.ops[1].begin = 2; /* they overlap */
    assert_true(passes(&h));
    assert_true(has_order(&h));
}

static void an_end_after_a_read_knows_what_was_read(void **state)
{
    (void)state;
    struct history h = {.ops = {{OP_APPEND, 0, 1, NEVER, 0},
                                {OP_READ, 1, 2, 3, 0},
                                {OP_END, 0, 4, 5, 0}},
                        .count = 3};
    assert_false(passes(&h));
    assert_false(has_order(&h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(name)
        T(the_floor_is_the_search_s_verdict),
        T(an_end_below_an_answered_append_is_found),
        T(an_end_after_a_read_knows_what_was_read),
#undef T
    };
    return cmocka_run_group_tests_name("linear", tests, NULL, NULL) != 0;
}
