/* walk.c - see walk.h. */
#include "ring/walk.h"

#include "ring/rule.h"

static bool in_row(const struct walk_view *v, struct id128 node)
{
    for (uint32_t i = 0; i < v->row_count; i++)
        if (id_equal(v->row[i], node))
            return true;
    return false;
}

/* The replica that a node stands with: its newest one. An older one of the
 * same node is a dead former life. */
static bool is_newest(const struct config *c, uint32_t i)
{
    const struct config_member *m =
        config_find_node(c, c->members[i].replica.node);
    return m == &c->members[i];
}

/* A member that the row wants. */
static bool is_wanted(const struct walk_view *v, uint32_t i)
{
    return in_row(v, v->config->members[i].replica.node) &&
           is_newest(v->config, i);
}

static bool is_fit(const struct walk_view *v, uint32_t i)
{
    return v->replicas[i].is_live && v->replicas[i].is_matched;
}

static struct walk_step step_of(enum walk_kind kind, struct replica r,
                                const char *reason)
{
    struct walk_step s = {.kind = kind, .replica = r, .reason = reason};
    return s;
}

struct tally {
    uint32_t voters;
    uint32_t wanted_voters;
    uint32_t fit_voters;
    uint32_t ready_learners;  /* wanted, live, matched */
    uint32_t wanted_learners; /* on their way in */
    uint32_t coming_learners; /* ... and heard of */
    uint32_t gone_voters;     /* silent, given up and not wanted */
    uint32_t spare_learners;  /* ready, and not wanted any more */
};

/* Nobody waits for it any more: the ring's word, or a newer replica of the
 * same node stands here. */
static bool is_given_up(const struct walk_view *v, uint32_t i)
{
    return v->replicas[i].is_out || !is_newest(v->config, i);
}

/* A learner that was to come, and has all, when the row moved on. */
static bool is_spare(const struct walk_view *v, uint32_t i)
{
    return !v->config->members[i].is_voter && !is_wanted(v, i) &&
           is_fit(v, i) && !is_given_up(v, i);
}

static struct tally count(const struct walk_view *v)
{
    struct tally t = {0};
    for (uint32_t i = 0; i < v->config->count; i++) {
        bool wanted = is_wanted(v, i);
        if (v->config->members[i].is_voter) {
            t.voters++;
            t.gone_voters +=
                !wanted && !v->replicas[i].is_live && is_given_up(v, i);
            t.wanted_voters += wanted;
            t.fit_voters += is_fit(v, i);
        } else if (wanted) {
            t.wanted_learners++;
            t.coming_learners +=
                v->replicas[i].is_live || v->replicas[i].is_installing;
            t.ready_learners += is_fit(v, i);
        } else {
            t.spare_learners += is_spare(v, i);
        }
    }
    return t;
}

/* S2: too few voters, and fewer ready to be one than that. Then a spare learner
 * stands in until those whom the row wants have caught up. */
static uint32_t stand_ins(const struct tally *t, const struct walk_view *v)
{
    uint32_t standing = t->voters - t->gone_voters + t->ready_learners;
    uint32_t lacking = standing < v->row_count ? v->row_count - standing : 0;
    return lacking < t->spare_learners ? lacking : t->spare_learners;
}

static bool remove_lost(const struct walk_view *v, struct walk_step *out)
{
    for (uint32_t i = 0; i < v->config->count; i++) {
        if (!v->replicas[i].is_lost)
            continue;
        *out = step_of(WALK_REMOVE, v->config->members[i].replica,
                       "it has lost what it acknowledged");
        return true;
    }
    return false;
}

/* A voter that was there before this one, and so before what this one came with
 * by transfer: its log may begin lower. */
static const struct config_member *older_voter(const struct walk_view *v)
{
    const struct config_member *oldest = NULL;
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (m->is_voter && is_fit(v, i) && m->replica.added < v->self.added &&
            (oldest == NULL || m->replica.added < oldest->replica.added))
            oldest = m;
    }
    return oldest;
}

/* A voter goes only if nobody else can bring it up either: its removal is in
 * force as soon as it is in a log, and if this leader dies before it commits,
 * the one that could would need this leader. S2: while a learner is on its way,
 * it waits; one that does not come holds nothing up while voters are enough. */
static bool remove_behind(const struct walk_view *v, const struct tally *t,
                          struct walk_step *out)
{
    bool is_short = t->voters < v->row_count && t->wanted_learners > 0;
    const struct config_member *older = older_voter(v);
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (!v->replicas[i].is_behind || !v->replicas[i].is_live ||
            (m->is_voter && (is_short || t->coming_learners > 0)))
            continue;
        *out = m->is_voter && older != NULL
                   ? step_of(WALK_TRANSFER, older->replica,
                             "its log may begin lower, where a voter lacks it")
                   : step_of(WALK_REMOVE, m->replica,
                             "it is behind the cut of the log");
        return true;
    }
    return false;
}

/* A node of the row that has no replica yet becomes a learner. */
static bool add(const struct walk_view *v, struct walk_step *out)
{
    if (v->config->count >= REPLICAS_MAX)
        return false;
    for (uint32_t i = 0; i < v->row_count; i++) {
        if (config_find_node(v->config, v->row[i]) != NULL)
            continue;
        *out = step_of(WALK_ADD, (struct replica){v->row[i], 0},
                       "a node of the row has no replica yet");
        out->node = v->row[i];
        return true;
    }
    return false;
}

static bool promote(const struct walk_view *v, const struct tally *t,
                    struct walk_step *out)
{
    uint32_t ready = RULE(R3) ? t->ready_learners : t->wanted_learners;
    bool is_stand_in = ready == 0;
    ready += stand_ins(t, v);
    if (ready == 0)
        return false;
    /* T16: {A} must not stop at {A, B} on the way to three, or B's death
     * stops it: both learners are ready before the first is promoted. */
    bool is_pair_needed = t->voters == 1 && v->row_count >= 3;
    if (RULE(T16) && is_pair_needed && ready < 2)
        return false;
    /* A dead voter goes before its successor comes (S2); see remove_dead. */
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (is_stand_in ? !is_spare(v, i)
                        : m->is_voter || !is_wanted(v, i) ||
                              (!is_fit(v, i) && RULE(R3)))
            continue;
        *out = step_of(WALK_PROMOTE, m->replica,
                       is_stand_in ? "it has caught up, and stands in for one "
                                     "that has not"
                                   : "it has caught up");
        return true;
    }
    return false;
}

/* The dead voter to remove: rather one that the row does not want, so that the
 * other, when it comes back, is where it belongs. */
static const struct config_member *dead_voter(const struct walk_view *v,
                                              bool is_surplus)
{
    const struct config_member *found = NULL;
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (!m->is_voter || v->replicas[i].is_live ||
            replica_equal(m->replica, v->self))
            continue;
        if (!is_wanted(v, i) && (is_surplus || is_given_up(v, i)))
            return m;
        if (is_surplus && found == NULL)
            found = m;
    }
    return found;
}

/* A voter that does not answer and that the row does not want goes once its
 * successor has caught up; one that the row does want only if there are more
 * than enough, but then as soon as it is silent for an election timeout (T14):
 * of four voters, one silent, no other may die; of the three that are left, one
 * may. One that is merely silent and not wanted goes only then, too: its
 * removal is in force as soon as it is in a log, and if another dies before it
 * commits, the silent one's return would not help any more. */
static bool remove_dead(const struct walk_view *v, const struct tally *t,
                        struct walk_step *out)
{
    bool is_surplus = t->voters > v->row_count;
    if (!is_surplus && t->ready_learners + stand_ins(t, v) == 0 && RULE(S2))
        return false;
    const struct config_member *m = dead_voter(v, is_surplus);
    if (m != NULL)
        *out = step_of(WALK_REMOVE, m->replica,
                       "it does not answer, and its successor is there");
    return m != NULL;
}

/* A live voter that the row does not want goes when as many as the row wants
 * stay, live and matched. The leader itself hands over first. */
static bool remove_live(const struct walk_view *v, const struct tally *t,
                        struct walk_step *out)
{
    if (t->voters <= v->row_count)
        return false;
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (!m->is_voter || is_wanted(v, i))
            continue;
        uint32_t fit_rest = t->fit_voters - is_fit(v, i);
        if (fit_rest < v->row_count && RULE(T14))
            continue;
        bool is_self = replica_equal(m->replica, v->self);
        if (!is_self || !RULE(S9E)) {
            *out = step_of(WALK_REMOVE, m->replica, "the row has moved on");
            return true;
        }
        for (uint32_t k = 0; k < v->config->count; k++) {
            if (!v->config->members[k].is_voter || !is_wanted(v, k) ||
                !is_fit(v, k))
                continue;
            *out = step_of(WALK_TRANSFER, v->config->members[k].replica,
                           "the leader is not in the row");
            return true;
        }
    }
    return false;
}

/* A learner that the row does not want is given up, unless it may be needed to
 * stand in. */
static bool abandon(const struct walk_view *v, const struct tally *t,
                    struct walk_step *out)
{
    bool is_needed = stand_ins(t, v) > 0;
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (m->is_voter || is_wanted(v, i) || (is_needed && is_spare(v, i)))
            continue;
        *out = step_of(WALK_REMOVE, m->replica, "the row has moved on");
        return true;
    }
    return false;
}

static bool hand_over(const struct walk_view *v, struct walk_step *out)
{
    if (v->row_count == 0 || id_equal(v->row[0], v->self.node))
        return false;
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (!m->is_voter || !id_equal(m->replica.node, v->row[0]))
            continue;
        if (!is_newest(v->config, i) || !is_fit(v, i) ||
            !v->replicas[i].is_calm)
            return false;
        *out =
            step_of(WALK_TRANSFER, m->replica, "the row prefers it as leader");
        return true;
    }
    return false;
}

/* The configuration is the row. Why another than its first leads, is said. */
static struct walk_step done(const struct walk_view *v)
{
    struct walk_step step = {.kind = WALK_DONE};
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (!id_equal(m->replica.node, v->row[0]) ||
            id_equal(m->replica.node, v->self.node))
            continue;
        step.replica = m->replica;
        if (!is_fit(v, i))
            step.reason = "the row's first does not answer or lags, so another "
                          "leads";
        else
            step.reason = "the row's first was dead: it leads again once it "
                          "has been in touch for a while";
    }
    return step;
}

/* What keeps a learner from being one that could be promoted; NULL: nothing. */
static const char *why_unfit(const struct walk_replica *r)
{
    if (r->is_live)
        return r->is_matched ? NULL : "a learner is catching up";
    if (r->refusal == ERR_NO_SPACE)
        return "a learner refuses: its node has no room for new replicas";
    if (r->refusal != ERR_OK)
        return "a learner gets nothing more of its copy: its node says why";
    return r->is_installing ? "a learner is being installed"
                            : "a learner does not answer";
}

static const char *why_it_stays(const struct walk_view *v, uint32_t i)
{
    if (v->config->members[i].is_voter)
        return v->replicas[i].is_live
                   ? "a live voter stays until enough others match"
                   : "a dead voter stays until a successor has caught up";
    return is_wanted(v, i)
               ? "a learner waits for a second one (promoted in pairs)"
               : "a learner that has all stays until who the row wants has "
                 "caught up";
}

/* What it waits for, if the configuration is not the row yet: learners that
 * have not come are the cause, whoever else stays for that. */
static struct walk_step wait_or_done(const struct walk_view *v,
                                     const struct tally *t)
{
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        const char *reason = why_unfit(&v->replicas[i]);
        if (!m->is_voter && reason != NULL)
            return step_of(WALK_WAIT, m->replica, reason);
    }
    for (uint32_t i = 0; i < v->config->count; i++) {
        const struct config_member *m = &v->config->members[i];
        if (!m->is_voter || !is_wanted(v, i))
            return step_of(WALK_WAIT, m->replica, why_it_stays(v, i));
    }
    if (t->wanted_voters < v->row_count)
        return step_of(WALK_WAIT, v->self, "the configuration is full");
    return done(v);
}

struct walk_step walk_next(const struct walk_view *v)
{
    struct walk_step step;
    struct tally t = count(v);
    /* Nobody is eligible: whoever is there stays (S2). */
    if (v->row_count == 0)
        return (struct walk_step){.kind = WALK_DONE};
    if (remove_lost(v, &step) || add(v, &step) || remove_behind(v, &t, &step))
        return step;
    if (remove_dead(v, &t, &step))
        return step;
    if (promote(v, &t, &step))
        return step;
    if (remove_live(v, &t, &step))
        return step;
    if (abandon(v, &t, &step))
        return step;
    if (hand_over(v, &step))
        return step;
    return wait_or_done(v, &t);
}

void walk_apply(const struct config *now, const struct walk_step *step,
                struct config *next)
{
    *next = *now;
    if (step->kind == WALK_ADD) {
        ASSERT(now->count < REPLICAS_MAX);
        next->members[next->count++] =
            (struct config_member){{step->node, 0}, false};
        return;
    }
    for (uint32_t i = 0; i < next->count; i++) {
        if (!replica_equal(next->members[i].replica, step->replica))
            continue;
        if (step->kind == WALK_PROMOTE) {
            next->members[i].is_voter = true;
        } else {
            ASSERT(step->kind == WALK_REMOVE);
            for (uint32_t k = i + 1; k < next->count; k++)
                next->members[k - 1] = next->members[k];
            next->count--;
        }
        return;
    }
}
