/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quiet.c - what must hold when all has settled.
 *
 *   Q1  one view on all nodes, of all that are up     Q2  one owner of each partition, for all
 *   Q3  what owners and nodes hold as subscribed is what the edges have
 *   Q4  see presences.c                               Q5  nothing waits
 *   Q6  one reader, the same for all
 *   Q7  a publish in each topic reaches each member once
 *   Q8  nothing but idle talk between nodes
 *   Q9  memory after all have left is that of an idle process
 */
#include "tests/sim/checks.h"

#include <string.h>

/* What an idle object may keep: its empty self, buffers of its queue of actions. */
#define IDLE_BYTES       (1024u * 1024u)
#define IDLE_NODES_BYTES (3072u * 1024u) /* and all that may be known of 256 members */

static uint32_t first_up(const struct sim *s)
{
    uint32_t n = 0;

    while (n < s->k.nodes && !s->node[n].up) {
        n++;
    }
    return n;
}

struct rows {
    struct sim *s;
    uint32_t node, count;
};

static bool has_members(const struct sim *s, uint32_t n, uint32_t topic)
{
    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        if (s->edge[n * EDGES_MAX + k].refs[topic] > 0) {
            return true;
        }
    }
    return false;
}

static void topic_row(void *ctx, const struct cl_topic_row *row)
{
    struct rows *c = ctx;
    struct sim *s = c->s;
    uint32_t t = sim_topic_by_key(s, row->topic);
    bool owner = row->owner == s->node[c->node].id;
    uint32_t edges = 0;
    uint32_t nodes = 0;

    for (uint32_t k = 0; k < EDGES_MAX && t != NOBODY; k++) {
        edges += s->edge[c->node * EDGES_MAX + k].refs[t] > 0;
    }
    for (uint32_t n = 0; n < s->k.nodes && t != NOBODY && owner; n++) {
        nodes += n != c->node && has_members(s, n, t);
    }
    if (edges != row->edges || nodes != row->nodes) {
        sim_fail(s,
                 "quiet: node %u topic %u has %u edges and %u nodes subscribed, %u and %u have "
                 "members",
                 c->node, t, row->edges, row->nodes, edges, nodes);
    }
    c->count += row->edges;
}

static void quiet_edges(struct sim *s, uint32_t n)
{
    struct rows rows = {.s = s, .node = n};
    uint32_t subscribed = 0;

    for (uint32_t k = 0; k < s->node[n].edges; k++) {
        uint32_t e = n * EDGES_MAX + k;
        struct cle_stats st;

        if (!s->edge[e].up) {
            sim_fail(s, "quiet: edge %u does not live", e);
            return;
        }
        cle_stats(s->edge[e].c, &st);
        if (!s->edge[e].linked || st.held != 0) {
            sim_fail(s, "quiet: edge %u is not linked, or holds %llu publishes", e,
                     (unsigned long long)st.held);
        }
        for (uint32_t t = 0; t < s->k.topics; t++) {
            subscribed += s->edge[e].refs[t] > 0;
        }
    }
    cl_inspect_topics(s->node[n].cl, topic_row, &rows);
    if (rows.count != subscribed) {
        sim_fail(s, "quiet: %u subscriptions at node %u, %u at its edges", rows.count, n,
                 subscribed);
    }
    if (sim_peek_waiting(s->node[n].cl) != 0) {
        sim_fail(s, "quiet: at node %u something waits", n);
    }
}

static void member_row(void *ctx, const struct cl_member_row *row)
{
    struct rows *c = ctx;
    uint32_t n = sim_node_by_id(c->s, row->id);
    bool alive = strcmp(row->state, "alive") == 0;

    if (n == NOBODY || alive != c->s->node[n].up || (alive && !row->self && !row->linked)) {
        sim_fail(c->s, "quiet: node %u holds node %u for %s%s", c->node, n, row->state,
                 row->linked ? "" : ", not linked");
    }
    c->count += alive;
}

static void quiet_cluster(struct sim *s, uint32_t n)
{
    const struct node_proc *p = &s->node[n];
    const struct node_proc *one = &s->node[first_up(s)];
    struct rows rows = {.s = s, .node = n};
    uint32_t reader = NOBODY;
    uint32_t up = 0;

    for (uint32_t i = 0; i < s->k.nodes; i++) {
        up += s->node[i].up;
    }
    cl_inspect_members(p->cl, member_row, &rows);
    if (s->k.clustered && (rows.count != up || !cl_joined(p->cl))) {
        sim_fail(s, "quiet: node %u knows %u of %u nodes, or has not joined", n, rows.count, up);
    }
    if (cl_view(p->cl) == 0 || cl_view(p->cl) != cl_view(one->cl)) {
        sim_fail(s, "quiet: node %u has another view", n);
    }
    reader = sim_node_by_id(s, p->reader);
    if (reader == NOBODY || p->reader != one->reader || !s->node[reader].up) {
        sim_fail(s, "quiet: node %u has another reader, or a dead one", n);
    }
    for (uint32_t part = 0; part < CL_PARTITIONS; part++) {
        if (cl_owner_of(p->cl, part) == 0 ||
            cl_owner_of(p->cl, part) != cl_owner_of(one->cl, part)) {
            sim_fail(s, "quiet: node %u has another owner of partition %u", n, part);
            return;
        }
    }
    for (uint32_t i = 0; i < s->k.nodes; i++) {
        for (uint32_t k = 0; k < EDGES_MAX && i != n && s->node[i].up; k++) {
            const struct edge_proc *e = &s->edge[i * EDGES_MAX + k];

            if (p->actors[i][k] != (e->up ? e->boot : 0)) {
                sim_fail(s, "quiet: node %u was told other actors of node %u", n, i);
            }
        }
    }
}

static void quiet_pubs(struct sim *s)
{
    for (uint32_t i = 0; i < s->npubs; i++) {
        const struct pub *p = &s->pubs[i];

        if (s->dead_at[p->life] == 0 &&
            ((p->ack && !p->answered) || (!p->ordered && !p->answered))) {
            sim_fail(s, "quiet: publish %u was never answered, or not ordered in silence", i);
        }
    }
}

void sim_check_quiet(struct sim *s)
{
    if (s->failed) {
        return;
    }
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        if (s->node[n].up) {
            quiet_cluster(s, n);
        }
    }
    for (uint32_t n = 0; n < s->k.nodes && !s->failed; n++) {
        if (s->node[n].up) {
            quiet_edges(s, n);
        }
    }
    sim_check_presence_quiet(s);
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX && s->client[i].used; k++) {
            struct member *m = &s->client[i].m[k];

            if (m->used && !m->joined) {
                sim_fail(s, "quiet: client %u still waits for its join", i);
            } else if (m->used) {
                sim_check_account(s, i, m);
                sim_check_member_presence(s, i, m);
            }
        }
    }
    quiet_pubs(s);
}

uint64_t sim_repairs(const struct sim *s)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < s->k.nodes; i++) {
        struct cl_stats st = {0};

        if (s->node[i].up) {
            cl_stats(s->node[i].cl, &st);
        }
        n += st.sums_differ;
    }
    return n;
}

void sim_check_probe_start(struct sim *s)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            s->client[i].m[k].got = 0;
        }
    }
    for (uint32_t t = 0; t < s->k.topics; t++) {
        sim_publish(s, sim_any_edge(s), t, true);
    }
}

void sim_check_probe_end(struct sim *s)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            const struct member *m = &s->client[i].m[k];

            if (s->client[i].used && m->used && m->got != 1) {
                sim_fail(s, "probe: client %u on edge %u got %llu of 1 in topic %u", i,
                         s->client[i].edge, (unsigned long long)m->got, m->topic);
            }
        }
    }
    for (uint32_t t = 0; t < s->k.topics && !s->failed; t++) {
        const struct pub *p = &s->pubs[s->npubs - 1 - t];

        if (!p->answered || p->result != PR_PUB_DONE) {
            sim_fail(s, "probe: publish to topic %u was not confirmed", p->topic);
        }
    }
}

static void empty_node(struct sim *s, uint32_t n)
{
    struct cl_stats st;

    cl_stats(s->node[n].cl, &st);
    if (st.topics != 0 || st.presences != 0 ||
        s->node[n].mem.bytes > (s->k.clustered ? IDLE_NODES_BYTES : IDLE_BYTES)) {
        sim_fail(s, "empty: node %u keeps %llu topics, %llu presences, %zu bytes", n,
                 (unsigned long long)st.topics, (unsigned long long)st.presences,
                 s->node[n].mem.bytes);
    }
    if (!s->k.overflow && st.gaps != 0) {
        sim_fail(s, "node %u saw %llu holes on links that lose nothing", n,
                 (unsigned long long)st.gaps);
    }
}

void sim_check_empty(struct sim *s)
{
    if (s->failed) {
        return;
    }
    for (uint32_t e = 0; e < ALL_EDGES; e++) {
        struct cle_stats st;

        if (!s->edge[e].up) {
            continue;
        }
        cle_stats(s->edge[e].c, &st);
        if (st.topics != 0 || st.held != 0 || st.presences != 0 ||
            s->edge[e].mem.bytes > IDLE_BYTES) {
            sim_fail(s,
                     "empty: edge %u keeps %llu topics, %llu publishes, %llu presences, %zu bytes",
                     e, (unsigned long long)st.topics, (unsigned long long)st.held,
                     (unsigned long long)st.presences, s->edge[e].mem.bytes);
        }
    }
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        if (s->node[n].up) {
            empty_node(s, n);
        }
    }
    if (s->talk != 0) {
        sim_fail(s, "empty: %llu frames went between idle nodes", (unsigned long long)s->talk);
    }
}
