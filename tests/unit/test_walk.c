/* test_walk.c - the steps by which a group walks to its row. */
#include "tests/unit/cmocka_wrap.h"

#include "ring/walk.h"

/* A group drawn as text: one word a member, `A` a voter, `a` a learner; after
 * it `!` does not answer, `-` has not matched, `~` is not calm, `?` has lost
 * its log, `x` is out of the ring and does not answer, `<` is behind the cut.
 * The leader is marked `*`. Rows are letters, preferred leader first. */
struct scene {
    struct config config;
    struct walk_replica replicas[REPLICAS_MAX];
    struct id128 row[REPLICATION_MAX];
    struct walk_view view;
};

static struct id128 node_of(char letter)
{
    struct id128 id = {{0}};
    id.bytes[0] = (uint8_t)(letter | 32);
    return id;
}

static void draw(struct scene *s, const char *members, const char *row)
{
    *s = (struct scene){0};
    s->config.index = 100;
    for (const char *at = members; *at != 0; at++) {
        if (*at == ' ')
            continue;
        uint32_t i = s->config.count;
        if (*at != 'x' && (*at | 32) >= 'a' && (*at | 32) <= 'z') {
            s->config.members[i].replica =
                (struct replica){node_of(*at), 10 + i};
            s->config.members[i].is_voter = *at < 'a';
            s->replicas[i] = (struct walk_replica){
                .is_live = true, .is_matched = true, .is_calm = true};
            s->config.count++;
            continue;
        }
        if (*at == '!' || *at == 'x')
            s->replicas[i - 1].is_live = false;
        if (*at == 'x')
            s->replicas[i - 1].is_out = true;
        if (*at == '-')
            s->replicas[i - 1].is_matched = false;
        if (*at == '~')
            s->replicas[i - 1].is_calm = false;
        if (*at == '?')
            s->replicas[i - 1].is_lost = true;
        if (*at == '<')
            s->replicas[i - 1].is_behind = true;
        if (*at == '*')
            s->view.self = s->config.members[i - 1].replica;
    }
    for (; *row != 0; row++)
        s->row[s->view.row_count++] = node_of(*row);
    s->view.config = &s->config;
    s->view.replicas = s->replicas;
    s->view.row = s->row;
}

static void write_step(const struct walk_step *step, char text[16])
{
    static const char *const names[] = {"done",    "wait",   "add",
                                        "promote", "remove", "transfer"};
    struct id128 node =
        step->kind == WALK_ADD ? step->node : step->replica.node;
    size_t size = strlen(names[step->kind]);
    memcpy(text, names[step->kind], size);
    if (step->kind > WALK_WAIT) {
        text[size++] = ' ';
        text[size++] = (char)node.bytes[0];
    }
    text[size] = 0;
}

static const struct {
    const char *members;
    const char *row;
    const char *step;
} cases[] = {
    /* there */
    {"A*BC", "ABC", "done"},
    {"A*", "A", "done"},
    {"A*BC", "", "done"},
    /* growing: learners come first */
    {"A*", "ABC", "add b"},
    {"A*b", "ABC", "add c"},
    /* T16: one voter, row of three: both learners are ready first */
    {"A*bc-", "ABC", "wait"},
    {"A*b-c-", "ABC", "wait"},
    {"A*bc", "ABC", "promote b"},
    {"A*Bc", "ABC", "promote c"},
    {"A*Bc-", "ABC", "wait"},
    {"A*Bc!", "ABC", "wait"},
    /* a row of two has no pair to wait for */
    {"A*b", "AB", "promote b"},
    /* a live move: the newcomer first, then the old one goes */
    {"A*BCd-", "ABD", "wait"},
    {"A*BCd", "ABD", "promote d"},
    {"A*BCD", "ABD", "remove c"},
    /* ... but not while another lags or is silent */
    {"A*B-CD", "ABD", "wait"},
    /* T14: more than enough voters, the silent one goes first, even if the
     * row wants it */
    {"A*B!CD", "ABD", "remove b"},
    /* ... but of two silent ones that which it does not want */
    {"A*B!C!DE", "ABDE", "remove c"},
    {"A*B!C!DE", "ADE", "remove b"},
    /* a dead voter stays until its successor has caught up (S2) */
    {"A*BC!", "ABC", "done"},
    {"A*BC!d-", "ABD", "wait"},
    {"A*BCxd-", "ABD", "wait"},
    {"A*BCxd", "ABD", "remove c"},
    /* one that the ring has not given up may come back: it counts until the
     * successor does */
    {"A*BC!d", "ABD", "promote d"},
    {"A*BC!D", "ABD", "remove c"},
    {"A*B!CD!Ef", "ABCEF", "promote f"},
    {"A*Bd", "ABD", "promote d"},
    /* the leader hands over before it goes (S9) */
    {"A*BCD", "BCD", "transfer b"},
    {"AB*CD", "BCD", "remove a"},
    /* S6D: what has lost its log goes first, wanted or not, and comes anew */
    {"A*BC?", "ABC", "remove c"},
    {"A*BC?d-", "ABD", "remove c"},
    {"A*BcD?", "ABC", "remove d"},
    {"A*B", "ABC", "add c"},
    /* no log brings it up: it comes anew, one at a time, once it is there to
     * be told */
    {"A*BC-<", "ABC", "remove c"},
    {"A*BC-<!", "ABC", "done"},
    {"A*Bc-<", "ABC", "remove c"},
    {"A*B-<CD-<E", "ABCDE", "remove b"},
    {"A*CD-<Eb-", "ABCDE", "wait"},
    /* ... not held up by a learner that does not come, if voters are enough */
    {"A*BC-<d-!", "ABD", "remove c"},
    {"A*B-<Cd-!", "ABD", "remove b"},
    /* ... but by one that is about to come: it is promoted first */
    {"A*BC-<d-", "ABD", "wait"},
    {"A*BC-<d", "ABD", "promote d"},
    /* a voter that was there before may have what the leader's log lacks */
    {"ABC*D-<", "ABC", "transfer a"},
    {"A-BC*D-<", "BCD", "transfer b"},
    {"A!B-<C*", "ABC", "remove b"},
    /* a learner that is not wanted any more */
    {"A*BCd", "ABC", "remove d"},
    /* ... stands in while voters are too few, if it is ready: the row has
     * moved on between the removal of one and the promotion of the other */
    {"A*Bde-", "ABE", "promote d"},
    {"A*Bd-e-", "ABE", "remove d"},
    {"A*Bd!e-", "ABE", "remove d"},
    {"A*Bdxe-", "ABE", "remove d"},
    {"A*BCxde-", "ABE", "remove c"},
    {"A*BDe-", "ABE", "wait"},
    {"A*BDe", "ABE", "promote e"},
    {"A*BDE", "ABE", "remove d"},
    /* ... not if who is wanted is ready, nor for one that may come back, and
     * no more than are lacking */
    {"A*Bde", "ABE", "promote e"},
    {"A*BC!d", "ABC", "remove d"},
    {"A*BC!de-", "ABE", "remove d"},
    {"A*Bdfe-", "ABE", "promote d"},
    {"A*BDfe-", "ABE", "remove f"},
    {"A*Bd", "AB", "remove d"},
    /* ... and two of them in pairs, too (T16) */
    {"A*de-f-", "AEF", "wait"},
    {"A*dbf-", "ABF", "promote b"},
    {"A*Bdf-", "ABF", "promote d"},
    {"A*dge-f-", "AEF", "promote d"},
    /* the preferred leader leads, once it is live, matched and calm */
    {"AB*C", "ABC", "transfer a"},
    {"A!B*C", "ABC", "done"},
    {"A-B*C", "ABC", "done"},
    {"A~B*C", "ABC", "done"},
};

static void each_state_has_its_next_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene s;
        char text[16];
        draw(&s, cases[i].members, cases[i].row);
        struct walk_step step = walk_next(&s.view);
        write_step(&step, text);
        if (strcmp(text, cases[i].step) != 0)
            print_error("%s -> %s: %s, not %s\n", cases[i].members,
                        cases[i].row, text, cases[i].step);
        assert_string_equal(text, cases[i].step);
        assert_true(step.kind == WALK_DONE || step.reason != NULL);
    }
}

static void take(struct scene *s, const struct walk_step *step)
{
    if (step->kind == WALK_TRANSFER)
        s->view.self = step->replica;
    if (step->kind != WALK_ADD && step->kind != WALK_PROMOTE &&
        step->kind != WALK_REMOVE)
        return;
    struct config next;
    walk_apply(&s->config, step, &next);
    next.index = ++s->config.index;
    for (uint32_t i = 0; i < next.count; i++)
        if (next.members[i].replica.added == 0)
            next.members[i].replica.added = next.index;
    s->config = next;
}

/* Whatever the start, a healthy group arrives at its row, and no step on the
 * way leaves fewer live voters than there were or the row wants. */
static void every_walk_of_healthy_nodes_arrives(void **state)
{
    (void)state;
    static const char *const starts[] = {"A*",     "A*B",  "A*BC", "A*BCD",
                                         "A*BCDE", "A*bc", "A*Bd"};
    static const char *const rows[] = {"ABC", "BCD", "DEF",   "ADE",  "FGH",
                                       "AB",  "FG",  "ABCDE", "CDEFG"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
            struct scene s;
            draw(&s, starts[i], rows[k]);
            uint32_t least = config_voters(&s.config);
            least = least < s.view.row_count ? least : s.view.row_count;
            struct walk_step step = walk_next(&s.view);
            for (int n = 0; step.kind != WALK_DONE; n++) {
                assert_true(n < 40);
                assert_true(step.kind != WALK_WAIT);
                take(&s, &step);
                for (uint32_t m = 0; m < REPLICAS_MAX; m++)
                    s.replicas[m] = (struct walk_replica){
                        .is_live = true, .is_matched = true, .is_calm = true};
                assert_true(config_voters(&s.config) >= least);
                step = walk_next(&s.view);
            }
            assert_int_equal(config_voters(&s.config), s.view.row_count);
            assert_int_equal(s.config.count, s.view.row_count);
            assert_true(id_equal(s.view.self.node, s.row[0]));
        }
    }
}

/* Rows come and go while the group walks, learners catch up or lag, one voter
 * dies for good. */
static void draw_life(struct scene *s, struct rng *rng, struct id128 dead)
{
    static const char *const rows[] = {"ABC", "ABD", "ABE", "ADE",
                                       "CDE", "ACE", "AB",  "ABCDE"};
    if (rng_chance(rng, 300)) {
        const char *row = rows[rng_below(rng, sizeof rows / sizeof *rows)];
        for (s->view.row_count = 0; *row != 0; row++)
            s->row[s->view.row_count++] = node_of(*row);
    }
    for (uint32_t i = 0; i < s->config.count; i++) {
        const struct config_member *m = &s->config.members[i];
        bool is_dead = id_equal(m->replica.node, dead);
        s->replicas[i] = (struct walk_replica){
            .is_live = !is_dead,
            .is_matched = !is_dead && (m->is_voter || rng_chance(rng, 500)),
            .is_calm = true,
            .is_out = is_dead};
    }
}

static void no_ready_learner_goes_while_voters_are_too_few(void **state)
{
    (void)state;
    struct rng rng;
    uint32_t gone = 0;
    rng_seed(&rng, 859);
    for (int round = 0; round < 2000; round++) {
        struct scene s;
        draw(&s, "A*BC", "ABC");
        for (int n = 0; n < 40; n++) {
            draw_life(&s, &rng, node_of(round % 2 == 0 ? 'b' : 'z'));
            struct walk_step step = walk_next(&s.view);
            if (step.kind == WALK_REMOVE) {
                const struct config_member *m =
                    config_find(&s.config, step.replica);
                bool is_ready = s.replicas[m - s.config.members].is_matched;
                assert_true(m->is_voter || !is_ready ||
                            config_voters(&s.config) >= s.view.row_count);
                gone += !m->is_voter && is_ready;
            }
            take(&s, &step);
        }
    }
    assert_true(gone > 1000);
}

/* The same node with a dead former life beside its new one: only the newest
 * replica stands for the row. */
static void a_former_life_does_not_stand_for_its_node(void **state)
{
    (void)state;
    struct scene s;
    draw(&s, "A*BC!c", "ABC");
    struct walk_step step = walk_next(&s.view);
    assert_int_equal(step.kind, WALK_REMOVE);
    assert_true(replica_equal(step.replica, s.config.members[2].replica));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_next_step),
        cmocka_unit_test(every_walk_of_healthy_nodes_arrives),
        cmocka_unit_test(no_ready_learner_goes_while_voters_are_too_few),
        cmocka_unit_test(a_former_life_does_not_stand_for_its_node),
    };
    return cmocka_run_group_tests_name("walk", tests, NULL, NULL) != 0;
}
