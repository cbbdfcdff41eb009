/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presences.c - the promises about presence.
 *
 *   I7  state and diffs fit: no leave of what was not shown, no join of what is, one of each; as
 *       long as only planned changes happen, nobody is seen to leave who is there
 *   I8  nobody is seen whose edge process ended longer ago than a death can take to be found, since
 *       its end or the last fault
 *   Q4  at rest every holder has, and every member sees, exactly who is there
 */
#include "tests/sim/checks.h"

#include <stdlib.h>
#include <string.h>

/* A death is found within 5 s with up to 10 nodes, datagrams lost or not; 1 s for what follows. */
#define GHOST_MS 6000u
/* Without an end of stream a link is found dead after 15 s of silence, looked at each 2.5 s. */
#define GHOST_SILENT_MS 24000u

static uint32_t shown_find(const struct member *m, uint64_t actor, uint64_t n)
{
    for (uint32_t i = 0; i < m->nlist; i++) {
        if (m->list[i].actor == actor && m->list[i].n == n) {
            return i;
        }
    }
    return NOBODY;
}

/* Is (actor, client, version) tracked in the topic by a client of a living edge? */
static bool is_true(const struct sim *s, uint32_t topic, const struct shown *x)
{
    const struct client *c = x->client < CLIENTS_MAX ? &s->client[x->client] : NULL;

    if (c == NULL || !c->used || s->edge[c->edge].boot != x->actor) {
        return false;
    }
    for (uint32_t k = 0; k < JOINS_MAX; k++) {
        if (c->m[k].used && c->m[k].topic == topic) {
            return c->m[k].tracked && c->m[k].version == x->version;
        }
    }
    return false;
}

static bool leaves_has(const struct pr_p_diff *d, uint64_t actor, uint64_t n)
{
    struct pr_slice list = d->leaves;
    struct pr_pshown p;

    while (pr_pshown_next(&list, &p) > 0) {
        if (p.actor == actor && p.n == n) {
            return true;
        }
    }
    return false;
}

void sim_check_diff(struct sim *s, uint32_t client, struct member *m, const struct pr_p_diff *d)
{
    struct pr_slice list = d->leaves;
    struct pr_pshown p;

    s->diffs++;
    while (pr_pshown_next(&list, &p) > 0) {
        uint32_t i = shown_find(m, p.actor, p.n);

        if (i == NOBODY) {
            sim_fail(s, "I7: client %u topic %u: a leave of what it was not shown (n %llu)", client,
                     m->topic, (unsigned long long)p.n);
            return;
        }
        if ((s->calm || s->k.planned) && is_true(s, m->topic, &m->list[i]) &&
            !s->node[s->client[m->list[i].client].edge / EDGES_MAX].leaving) {
            sim_fail(s, "I7: client %u on edge %u topic %u: client %u leaves, who is there", client,
                     s->client[client].edge, m->topic, m->list[i].client);
        }
        m->list[i] = m->list[--m->nlist];
    }
    list = d->joins;
    while (pr_pshown_next(&list, &p) > 0) {
        struct shown new;

        if (shown_find(m, p.actor, p.n) != NOBODY) {
            sim_fail(s, "I7: client %u topic %u: a join of what it has", client, m->topic);
            return;
        }
        if (p.prev_n != 0 && !leaves_has(d, p.actor, p.prev_n)) {
            sim_fail(s, "I7: client %u topic %u: an update without its leave", client, m->topic);
        }
        if (!sim_shown_of(&p, &new)) {
            sim_fail(s, "I7: a diff shows what nobody tracked");
        }
        for (uint32_t i = 0; i < m->nlist; i++) {
            if (m->list[i].actor == new.actor && m->list[i].client == new.client) {
                sim_fail(s, "I7: client %u topic %u: one presence is shown twice", client,
                         m->topic);
            }
        }
        m->list = sim_grow(m->list, m->nlist, &m->room, sizeof *m->list);
        m->list[m->nlist++] = new;
    }
}

static uint32_t true_count(const struct sim *s, uint32_t topic)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            const struct member *m = &s->client[i].m[k];

            n += s->client[i].used && m->used && m->topic == topic && m->tracked;
        }
    }
    return n;
}

/* Whether what this member sees may lag behind: its node is not reached, or does nothing. */
static bool excused(const struct sim *s, uint32_t client)
{
    uint32_t e = s->client[client].edge;
    const struct node_proc *n = &s->node[e / EDGES_MAX];

    return !s->edge[e].linked || s->edge[e].stalled_until > s->now || !n->up ||
           n->stalled_until > s->now;
}

static void ghosts_of(struct sim *s, uint32_t client, const struct member *m, cl_ms bound)
{
    for (uint32_t k = 0; k < m->nlist; k++) {
        uint32_t life = sim_life_of(s, m->list[k].actor);
        cl_ms since = 0;

        if (life == NOBODY || s->dead_at[life] == 0) {
            continue;
        }
        since = s->dead_at[life] > s->faults_at ? s->dead_at[life] : s->faults_at;
        if (s->now > since + bound) {
            sim_fail(s, "I8: client %u on edge %u topic %u sees client %u, whose edge is dead",
                     client, s->client[client].edge, m->topic, m->list[k].client);
        }
    }
}

void sim_check_ghosts(struct sim *s)
{
    cl_ms bound = s->k.half_open || s->k.node_crash ? GHOST_SILENT_MS : GHOST_MS;

    for (uint32_t i = 0; i < CLIENTS_MAX && !s->parted; i++) {
        for (uint32_t k = 0; k < JOINS_MAX && s->client[i].used; k++) {
            const struct member *m = &s->client[i].m[k];

            if (m->used && m->joined && m->presence && m->has_state && !m->need_view &&
                !excused(s, i)) {
                ghosts_of(s, i, m, bound);
            }
        }
    }
}

struct rows {
    struct sim *s;
    uint32_t node, topic, count;
};

static void presence_row(void *ctx, const struct cl_presence_row *row)
{
    struct rows *c = ctx;
    struct pr_pshown p = {.key = row->key, .meta = row->meta, .actor = row->actor, .n = row->n};
    struct shown x;

    if (!row->visible) {
        return;
    }
    c->count++;
    if (!sim_shown_of(&p, &x) || !is_true(c->s, c->topic, &x)) {
        sim_fail(c->s, "quiet: node %u holds a presence in topic %u that is none: client %u",
                 c->node, c->topic, x.client);
    }
}

/* A holder: the topic's owner, and who has members that want presence. */
static bool holds(const struct sim *s, uint32_t n, uint32_t topic)
{
    const struct topic *t = &s->topic[topic];
    uint32_t part = cl_partition(pr_bytes(t->key, t->key_len));
    bool member = false;

    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        member = member || s->edge[n * EDGES_MAX + k].wants[topic] > 0;
    }
    return member || cl_owner_of(s->node[n].cl, part) == s->node[n].id;
}

void sim_check_presence_quiet(struct sim *s)
{
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        for (uint32_t t = 0; t < s->k.topics && s->node[n].up; t++) {
            struct rows c = {.s = s, .node = n, .topic = t};

            cl_inspect_presence(s->node[n].cl, pr_bytes(s->topic[t].key, s->topic[t].key_len),
                                presence_row, &c);
            if (holds(s, n, t) && c.count != true_count(s, t)) {
                sim_fail(s, "quiet: node %u holds %u presences in topic %u, there are %u", n,
                         c.count, t, true_count(s, t));
            }
        }
    }
}

void sim_check_member_presence(struct sim *s, uint32_t client, const struct member *m)
{
    if (!m->presence) {
        return;
    }
    if (m->need_view || !m->has_state) {
        sim_fail(s, "quiet: client %u still waits for its presence state", client);
    }
    if (m->nlist != true_count(s, m->topic)) {
        sim_fail(s, "quiet: client %u on edge %u sees %u presences in topic %u, there are %u",
                 client, s->client[client].edge, m->nlist, m->topic, true_count(s, m->topic));
    }
    for (uint32_t k = 0; k < m->nlist; k++) {
        if (!is_true(s, m->topic, &m->list[k])) {
            sim_fail(s, "quiet: client %u sees a ghost in topic %u", client, m->topic);
        }
    }
}
