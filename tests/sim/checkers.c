/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkers.c - the promises.
 *
 *   I1  no member gets one publish twice             I3  publishes of one edge in one topic in
 * order I2  all members see a topic in the order of its log (one order per topic and owner process)
 *   I4  after the join's answer nothing is missed that is not counted as a gap
 *   I7  state and diffs fit; quiescence: everybody sees what is
 *   P5  an answer to a publish comes once, and "done" only for what was ordered
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

static uint32_t pub_slot(uint32_t life, uint32_t part, uint64_t oseq)
{
    return (uint32_t)(cl_mix64((uint64_t)life << 48 ^ (uint64_t)part << 32 ^ oseq) & 4095);
}

static uint32_t pub_find(const struct sim *s, uint32_t life, uint32_t part, uint64_t oseq)
{
    uint32_t i = s->pub_hash[pub_slot(life, part, oseq)];

    while (i != NOBODY &&
           (s->pubs[i].life != life || s->pubs[i].part != part || s->pubs[i].oseq != oseq)) {
        i = s->pubs[i].next_hash;
    }
    return i;
}

static uint32_t life_of(const struct sim *s, uint64_t boot)
{
    for (uint32_t i = 0; i < s->lives; i++) {
        if (s->boot_of[i] == boot) {
            return i;
        }
    }
    return NOBODY;
}

void sim_check_sent_pub(struct sim *s, uint32_t e, const struct pr_frame *f)
{
    struct pr_pub pub;
    uint32_t id = 0;
    uint32_t slot = 0;
    struct pub *p = NULL;

    if (pr_pub_decode(f, &pub) != PR_OK || pub.payload.n != sizeof id) {
        sim_fail(s, "edge %u sends a damaged publish", e);
        return;
    }
    memcpy(&id, pub.payload.p, sizeof id);
    if (id >= s->npubs) {
        sim_fail(s, "edge %u sends a publish that nobody made", e);
        return;
    }
    p = &s->pubs[id];
    if (p->oseq != 0) {
        return; /* sent again */
    }
    p->part = pub.part;
    p->oseq = pub.oseq;
    slot = pub_slot(p->life, p->part, p->oseq);
    p->next_hash = s->pub_hash[slot];
    s->pub_hash[slot] = id;
}

static struct entry *log_add(struct sim *s, uint32_t pub, uint64_t seq, uint64_t emitted)
{
    struct topic *t = &s->topic[s->pubs[pub].topic];

    t->log = sim_grow(t->log, t->nlog, &t->room, sizeof *t->log);
    t->log[t->nlog] =
        (struct entry){.pub = pub, .owner_life = s->owner.life, .seq = seq, .emitted = emitted};
    s->pubs[pub].ordered = true;
    if (s->pubs[pub].first == NOBODY) {
        s->pubs[pub].first = t->nlog;
    }
    return &t->log[t->nlog++];
}

static void owner_event(struct sim *s, const struct pr_event *ev, uint64_t edges)
{
    uint32_t life = life_of(s, ev->boot);
    uint32_t id = life == NOBODY ? NOBODY : pub_find(s, life, ev->part, ev->oseq);
    uint32_t body = 0;

    if (ev->payload.n == sizeof body) {
        memcpy(&body, ev->payload.p, sizeof body);
    }
    if (id == NOBODY || body != id || sim_topic_by_key(s, ev->topic) != s->pubs[id].topic) {
        sim_fail(s, "the owner orders a publish that nobody made");
        return;
    }
    (void)log_add(s, id, ev->seq, edges);
}

/* "Done" without an event: ordered while nobody was subscribed. A member that was told ok before
 * should have been. */
static void owner_answer(struct sim *s, const struct pr_pub_ok *ok, uint64_t edges)
{
    for (uint32_t e = 0; e < EDGES_MAX; e++) {
        uint32_t id = NOBODY;
        const struct topic *t = NULL;
        bool ordered = false;

        if ((edges >> e & 1) == 0 || s->owner.conn[e] == NOBODY) {
            continue;
        }
        id = pub_find(s, s->conns[s->owner.conn[e]]->edge_life, ok->part, ok->oseq);
        if (id == NOBODY) {
            sim_fail(s, "the owner answers a publish that nobody made");
            return;
        }
        t = &s->topic[s->pubs[id].topic];
        for (uint32_t i = t->nlog; i > 0 && t->log[i - 1].owner_life == s->owner.life; i--) {
            ordered |= t->log[i - 1].pub == id;
        }
        if (ok->result == PR_PUB_REPEAT) {
            /* Perhaps ordered while its edge was away and nobody was subscribed: not seen here. */
            s->pubs[id].ordered = true;
        }
        if (ok->result == PR_PUB_DONE && !ordered) {
            (void)log_add(s, id, 0, 0);
        }
    }
}

void sim_check_owner_action(struct sim *s, const struct cl_action *a)
{
    struct pr_frame f;
    struct pr_event ev;
    struct pr_pub_ok ok;

    if (pr_frame_next(a->bytes, &f) != (long)a->bytes.n) {
        sim_fail(s, "the owner sends what is not one frame");
    } else if (f.type == PR_T_EVENT && pr_event_decode(&f, &ev) == PR_OK) {
        owner_event(s, &ev, a->edges);
    } else if (f.type == PR_T_PUB_OK && pr_pub_ok_decode(&f, &ok) == PR_OK) {
        owner_answer(s, &ok, a->edges);
    }
}

void sim_check_pub_done(struct sim *s, uint32_t e, uint64_t cookie, uint32_t result)
{
    struct pub *p = NULL;

    if (cookie == 0 || cookie > s->npubs || s->pubs[cookie - 1].life != s->edge[e].life) {
        sim_fail(s, "edge %u gets an answer that it did not ask for", e);
        return;
    }
    p = &s->pubs[cookie - 1];
    if (p->answered) {
        sim_fail(s, "publish %u is answered twice", (uint32_t)cookie - 1);
    }
    if (result == PR_PUB_DONE && !p->ordered) {
        sim_fail(s, "P5: publish %u is done, but was not ordered", (uint32_t)cookie - 1);
    }
    p->answered = true;
    p->result = result;
}

/* Entries before `upto` that the member did not get: each must be one it has got in another order,
 * or is counted, or could not be known to be lost. */
static void account(struct sim *s, uint32_t client, struct member *m, uint32_t upto)
{
    const struct topic *t = &s->topic[m->topic];
    uint32_t e = s->client[client].edge;

    for (; m->next < upto; m->next++) {
        const struct entry *en = &t->log[m->next];
        const struct pub *p = &s->pubs[en->pub];
        bool came = (en->emitted & ~en->dropped) >> e & 1;

        if (p->number <= m->last[p->life] || p->first < m->from) {
            continue; /* another owner process ordered it before: it has got it, or came later */
        }
        if (en->owner_life != s->owner.life && !came) {
            s->excused++; /* its owner process is dead, and nothing of it reached this edge */
            continue;
        }
        m->missing++;
    }
    if (m->missing > m->gap) {
        sim_fail(s,
                 "I4: client %u on edge %u topic %u misses %llu events, %llu are counted; "
                 "last looked at: log %u of %u",
                 client, e, m->topic, (unsigned long long)m->missing, (unsigned long long)m->gap,
                 upto, t->nlog);
    }
}

void sim_check_got(struct sim *s, uint32_t client, struct member *m, uint32_t index)
{
    const struct pub *p = &s->pubs[s->topic[m->topic].log[index].pub];

    s->events++;
    m->got++;
    if (p->number == m->last[p->life]) {
        sim_fail(s, "I1: client %u gets number %u of edge process %u twice", client, p->number,
                 p->life);
    } else if (p->number < m->last[p->life]) {
        sim_fail(s, "I3: client %u gets number %u of edge process %u after %u", client, p->number,
                 p->life, m->last[p->life]);
    } else if ((int64_t)index <= m->last_index) {
        sim_fail(s, "I2: client %u gets log %u of topic %u after %lld", client, index, m->topic,
                 (long long)m->last_index);
    }
    if (index > m->next) {
        account(s, client, m, index);
    }
    if (m->next == index) {
        m->next++;
    }
    m->last[p->life] = p->number;
    m->last_index = (int64_t)index;
}

static uint32_t shown_find(const struct member *m, uint64_t actor, uint64_t n)
{
    for (uint32_t i = 0; i < m->nlist; i++) {
        if (m->list[i].actor == actor && m->list[i].n == n) {
            return i;
        }
    }
    return NOBODY;
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

struct row_count {
    struct sim *s;
    uint32_t topic, count;
};

static void presence_row(void *ctx, const struct cl_presence_row *row)
{
    struct row_count *c = ctx;
    struct pr_pshown p = {.key = row->key, .meta = row->meta, .actor = row->actor, .n = row->n};
    struct shown x;

    if (!row->visible) {
        return;
    }
    c->count++;
    if (!sim_shown_of(&p, &x) || !is_true(c->s, c->topic, &x)) {
        sim_fail(c->s, "quiet: the owner holds a presence in topic %u that is none: client %u",
                 c->topic, x.client);
    }
}

static void topic_row(void *ctx, const struct cl_topic_row *row)
{
    struct row_count *c = ctx;
    uint32_t t = sim_topic_by_key(c->s, row->topic);
    uint32_t edges = 0;

    for (uint32_t e = 0; e < c->s->k.edges && t != NOBODY; e++) {
        edges += c->s->edge[e].refs[t] > 0;
    }
    if (edges != row->edges) {
        sim_fail(c->s, "quiet: topic %u has %u edges subscribed, %u have members", t, row->edges,
                 edges);
    }
    c->count += row->edges;
}

static void quiet_member(struct sim *s, uint32_t i, struct member *m)
{
    if (!m->joined) {
        sim_fail(s, "quiet: client %u still waits for its join", i);
        return;
    }
    account(s, i, m, s->topic[m->topic].nlog);
    if (!m->presence) {
        return;
    }
    if (m->need_view || !m->has_state) {
        sim_fail(s, "quiet: client %u still waits for its presence state", i);
    }
    if (m->nlist != true_count(s, m->topic)) {
        sim_fail(s, "quiet: client %u on edge %u sees %u presences in topic %u, there are %u", i,
                 s->client[i].edge, m->nlist, m->topic, true_count(s, m->topic));
    }
    for (uint32_t k = 0; k < m->nlist; k++) {
        if (!is_true(s, m->topic, &m->list[k])) {
            sim_fail(s, "quiet: client %u sees a ghost in topic %u", i, m->topic);
        }
    }
}

static void quiet_edges(struct sim *s)
{
    struct row_count rows = {.s = s};
    uint32_t subscribed = 0;

    for (uint32_t e = 0; e < s->k.edges; e++) {
        struct cle_stats st;

        cle_stats(s->edge[e].c, &st);
        if (!s->edge[e].linked || st.held != 0) {
            sim_fail(s, "quiet: edge %u is not linked, or holds %llu publishes", e,
                     (unsigned long long)st.held);
        }
        for (uint32_t t = 0; t < s->k.topics; t++) {
            subscribed += s->edge[e].refs[t] > 0;
        }
    }
    cl_inspect_topics(s->owner.cl, topic_row, &rows);
    if (rows.count != subscribed) {
        sim_fail(s, "quiet: %u subscriptions at the owner, %u at the edges", rows.count,
                 subscribed);
    }
}

void sim_check_quiet(struct sim *s)
{
    if (s->failed) {
        return;
    }
    quiet_edges(s);
    for (uint32_t t = 0; t < s->k.topics; t++) {
        struct row_count c = {.s = s, .topic = t};

        cl_inspect_presence(s->owner.cl, pr_bytes(s->topic[t].key, s->topic[t].key_len),
                            presence_row, &c);
        if (c.count != true_count(s, t)) {
            sim_fail(s, "quiet: the owner holds %u presences in topic %u, there are %u", c.count, t,
                     true_count(s, t));
        }
    }
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX && s->client[i].used; k++) {
            if (s->client[i].m[k].used) {
                quiet_member(s, i, &s->client[i].m[k]);
            }
        }
    }
    for (uint32_t i = 0; i < s->npubs; i++) {
        const struct pub *p = &s->pubs[i];

        for (uint32_t e = 0; e < s->k.edges; e++) {
            if (p->ack && !p->answered && p->life == s->edge[e].life) {
                sim_fail(s, "quiet: publish %u was never answered", i);
            }
        }
    }
}

void sim_check_probe_start(struct sim *s)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            s->client[i].m[k].got = 0;
        }
    }
    for (uint32_t t = 0; t < s->k.topics; t++) {
        sim_publish(s, (uint32_t)sim_below(s, s->k.edges), t, true);
    }
}

void sim_check_probe_end(struct sim *s)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            const struct member *m = &s->client[i].m[k];

            if (s->client[i].used && m->used && m->got != 1) {
                sim_fail(s, "probe: client %u got %llu of 1 in topic %u", i,
                         (unsigned long long)m->got, m->topic);
            }
        }
    }
    for (uint32_t t = 0; t < s->k.topics; t++) {
        const struct pub *p = &s->pubs[s->npubs - 1 - t];

        if (!p->answered || p->result != PR_PUB_DONE) {
            sim_fail(s, "probe: publish to topic %u was not confirmed", p->topic);
        }
    }
}

/* What an idle object may keep: its empty self, buffers of its queue of actions. */
#define IDLE_BYTES (1024u * 1024u)

void sim_check_empty(struct sim *s)
{
    struct cl_stats st;

    if (s->failed) {
        return;
    }
    cl_stats(s->owner.cl, &st);
    if (st.topics != 0 || st.presences != 0 || s->owner.mem.bytes > IDLE_BYTES) {
        sim_fail(s, "empty: the owner keeps %llu topics, %llu presences, %zu bytes",
                 (unsigned long long)st.topics, (unsigned long long)st.presences,
                 s->owner.mem.bytes);
    }
    for (uint32_t e = 0; e < s->k.edges; e++) {
        struct cle_stats es;

        cle_stats(s->edge[e].c, &es);
        if (es.topics != 0 || es.held != 0 || es.presences != 0 ||
            s->edge[e].mem.bytes > IDLE_BYTES) {
            sim_fail(s,
                     "empty: edge %u keeps %llu topics, %llu publishes, %llu presences, %zu bytes",
                     e, (unsigned long long)es.topics, (unsigned long long)es.held,
                     (unsigned long long)es.presences, s->edge[e].mem.bytes);
        }
    }
}
