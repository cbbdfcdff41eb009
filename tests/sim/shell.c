/* SPDX-License-Identifier: Apache-2.0 */
/* shell.c - the part of an edge process that knows clients, as far as the promises need it. */
#include "tests/sim/checks.h"

#include <stdlib.h>
#include <string.h>

struct payload {
    uint32_t pub;
};

static uint32_t slot_of(uint32_t client, uint32_t m)
{
    return client * JOINS_MAX + m;
}

/* Text of a presence: key "c<client>", meta {"v":<version>}. */
static struct pr_slice text(char *buf, size_t cap, const char *fmt, uint32_t v)
{
    int n = 0;

    if (fmt[0] == 'c') {
        n = snprintf(buf, cap, "c%u", v);
    } else {
        n = snprintf(buf, cap, "{\"v\":%u}", v);
    }
    return pr_bytes(buf, (size_t)n);
}

bool sim_shown_of(const struct pr_pshown *from, struct shown *out)
{
    char key[32] = {0}, meta[32] = {0};

    if (from->key.n >= sizeof key || from->meta.n >= sizeof meta) {
        return false;
    }
    memcpy(key, from->key.p, from->key.n);
    memcpy(meta, from->meta.p, from->meta.n);
    *out = (struct shown){.actor = from->actor, .n = from->n};
    out->client = (uint32_t)strtoul(key + 1, NULL, 10);
    out->version = (uint32_t)strtoul(meta + 5, NULL, 10);
    return key[0] == 'c' && meta[0] == '{';
}

uint32_t sim_topic_by_key(const struct sim *s, struct pr_slice key)
{
    for (uint32_t i = 0; i < s->k.topics; i++) {
        if (pr_slice_eq(key, pr_bytes(s->topic[i].key, s->topic[i].key_len))) {
            return i;
        }
    }
    return NOBODY;
}

struct entry *sim_entry_of(struct sim *s, uint32_t e, const struct pr_frame *f, uint32_t *index)
{
    struct pr_event ev;
    struct node_topic *nt = NULL;
    uint32_t run = NOBODY;
    uint32_t t = NOBODY;

    if (pr_event_decode(f, &ev) != PR_OK) {
        return NULL;
    }
    run = sim_run_of(s, &ev.epoch);
    t = sim_topic_by_key(s, ev.topic);
    if (t == NOBODY || run == NOBODY) {
        return NULL;
    }
    nt = &s->node[e / EDGES_MAX].topic[t];
    for (uint32_t i = nt->nlog; i > 0; i--) {
        if (nt->log[i - 1].run == run && nt->log[i - 1].seq == ev.seq) {
            *index = i - 1;
            return &nt->log[i - 1];
        }
    }
    return NULL;
}

void sim_member_free(struct member *m)
{
    free(m->list);
    memset(m, 0, sizeof *m);
}

static void want_view(struct sim *s, uint32_t e, struct member *m)
{
    int rv = cle_presence_view(s->edge[e].c, s->now, m->handle);

    m->need_view = true;
    m->in_view = false;
    if (rv == CL_ENOMEM && s->k.refuse) {
        sim_edge_relink(s, e); /* the whole state comes with the next link */
    } else if (rv != 0) {
        sim_fail(s, "cle_presence_view answered %d", rv);
    }
}

static void joined(struct sim *s, uint32_t client, struct member *m)
{
    struct edge_proc *p = &s->edge[s->client[client].edge];
    int rv = 0;

    m->joined = true;
    sim_check_joined(s, client, m);
    s->joins++;
    if (!m->presence) {
        return;
    }
    if (p->wants[m->topic]++ == 0) {
        rv = cle_presence_want(p->c, s->now, m->handle, true);
    }
    if (rv == CL_ENOMEM && s->k.refuse) {
        p->wants[m->topic]--;
        m->presence = false;
    } else if (rv != 0) {
        sim_fail(s, "cle_presence_want answered %d", rv);
    } else {
        want_view(s, s->client[client].edge, m);
    }
}

void sim_join(struct sim *s, uint32_t client, uint32_t topic, bool presence)
{
    struct client *cl = &s->client[client];
    struct edge_proc *p = &s->edge[cl->edge];
    struct member *m = NULL;
    bool subscribed = false;
    int rv = 0;

    for (uint32_t k = 0; k < JOINS_MAX; k++) {
        if (cl->m[k].used && cl->m[k].topic == topic) {
            return;
        }
        if (!cl->m[k].used) {
            m = &cl->m[k];
        }
    }
    if (m == NULL) {
        return;
    }
    *m = (struct member){.topic = topic, .presence = presence, .last_index = -1};
    rv = cle_subscribe(p->c, s->now, pr_bytes(s->topic[topic].key, s->topic[topic].key_len),
                       &m->handle, &subscribed);
    if (rv != 0) {
        if (rv != CL_ENOMEM || !s->k.refuse) {
            sim_fail(s, "cle_subscribe answered %d", rv);
        }
        return;
    }
    m->used = true;
    p->refs[topic]++;
    if (subscribed) {
        joined(s, client, m);
    }
    sim_after_edge(s, cl->edge);
}

void sim_leave(struct sim *s, uint32_t client, uint32_t k)
{
    struct member *m = &s->client[client].m[k];
    uint32_t e = s->client[client].edge;
    struct edge_proc *p = &s->edge[e];
    int rv = 0;

    if (!m->used) {
        return;
    }
    sim_untrack(s, client, k);
    if (m->joined && m->presence && --p->wants[m->topic] == 0) {
        rv = cle_presence_want(p->c, s->now, m->handle, false);
        if (rv != 0 && !(rv == CL_ENOMEM && s->k.refuse)) {
            sim_fail(s, "cle_presence_want off answered %d", rv);
        }
    }
    cle_unsubscribe(p->c, s->now, m->handle);
    p->refs[m->topic]--;
    sim_member_free(m);
    sim_after_edge(s, e);
}

void sim_disconnect(struct sim *s, uint32_t client)
{
    for (uint32_t k = 0; k < JOINS_MAX; k++) {
        sim_leave(s, client, k);
    }
    s->client[client].used = false;
}

void sim_clients_gone(struct sim *s, uint32_t e)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        if (s->client[i].used && s->client[i].edge == e) {
            for (uint32_t k = 0; k < JOINS_MAX; k++) {
                sim_member_free(&s->client[i].m[k]);
            }
            s->client[i].used = false;
        }
    }
}

void sim_publish(struct sim *s, uint32_t e, uint32_t topic, bool ack)
{
    struct edge_proc *p = &s->edge[e];
    struct payload body = {s->npubs};
    struct pub *pub = NULL;
    int rv = 0;

    rv = cle_publish(p->c, s->now, pr_bytes(s->topic[topic].key, s->topic[topic].key_len),
                     ack ? PR_PUB_ACK : 0, pr_bytes(&body, sizeof body), s->npubs + 1);
    if (rv != 0) {
        if (rv != CL_EAGAIN && !(rv == CL_ENOMEM && s->k.refuse)) {
            sim_fail(s, "cle_publish answered %d", rv);
        }
        return;
    }
    s->pubs = sim_grow(s->pubs, s->npubs, &s->pubs_room, sizeof *s->pubs);
    pub = &s->pubs[s->npubs++];
    *pub = (struct pub){.topic = topic,
                        .life = p->life,
                        .ack = ack,
                        .place = NOBODY,
                        .next_hash = NOBODY,
                        .at = s->now};
    for (uint32_t n = 0; n < NODES_MAX; n++) {
        pub->first[n] = NOBODY;
    }
    pub->number = ++s->topic[topic].numbers[p->life];
    sim_after_edge(s, e);
}

void sim_track(struct sim *s, uint32_t client, uint32_t k)
{
    struct member *m = &s->client[client].m[k];
    uint32_t e = s->client[client].edge;
    char key[32], meta[32];
    int rv = 0;

    if (!m->used || !m->joined) {
        return;
    }
    rv = cle_presence_put(s->edge[e].c, s->now, m->handle, slot_of(client, k),
                          text(key, sizeof key, "c", client),
                          text(meta, sizeof meta, "v", s->versions + 1));
    if (rv == 0) {
        m->tracked = true;
        m->version = ++s->versions;
    } else if (rv != CL_ENOMEM || !s->k.refuse) {
        sim_fail(s, "cle_presence_put answered %d", rv);
    }
    sim_after_edge(s, e);
}

void sim_untrack(struct sim *s, uint32_t client, uint32_t k)
{
    struct member *m = &s->client[client].m[k];
    uint32_t e = s->client[client].edge;

    if (m->tracked) {
        int rv = cle_presence_del(s->edge[e].c, s->now, m->handle, slot_of(client, k));

        if (rv != 0) {
            sim_fail(s, "cle_presence_del answered %d", rv);
        }
        m->tracked = false;
        sim_after_edge(s, e);
    }
}

static void on_subscribed(struct sim *s, uint32_t client, struct member *m, bool ok)
{
    if (m->joined) {
        return;
    }
    if (ok) {
        joined(s, client, m);
        return;
    }
    if (s->calm || s->k.planned) {
        sim_fail(s, "client %u on edge %u cannot join topic %u", client, s->client[client].edge,
                 m->topic);
    }
    cle_unsubscribe(s->edge[s->client[client].edge].c, s->now, m->handle);
    s->edge[s->client[client].edge].refs[m->topic]--;
    sim_member_free(m);
}

static void take_view(struct sim *s, uint32_t e, const struct pr_p_view *v)
{
    struct edge_proc *p = &s->edge[e];
    struct pr_slice list = v->list;
    struct pr_pshown one;

    p->nview = v->first ? 0 : p->nview;
    while (pr_pshown_next(&list, &one) > 0) {
        p->view = sim_grow(p->view, p->nview, &p->view_room, sizeof *p->view);
        if (!sim_shown_of(&one, &p->view[p->nview++])) {
            sim_fail(s, "a view shows what nobody tracked");
        }
    }
}

static void on_view(struct sim *s, uint32_t e, struct member *m, const struct pr_p_view *v)
{
    struct edge_proc *p = &s->edge[e];

    if (!m->joined || !m->presence) {
        return;
    }
    if (v->first) {
        m->in_view = m->need_view;
    }
    if (v->last && m->in_view) {
        m->in_view = m->need_view = false;
        m->has_state = true;
        free(m->list);
        m->list = NULL;
        m->room = m->nlist = 0;
        for (uint32_t i = 0; i < p->nview; i++) {
            m->list = sim_grow(m->list, m->nlist, &m->room, sizeof *m->list);
            m->list[m->nlist++] = p->view[i];
        }
        s->views++;
    }
}

static void to_member(struct sim *s, uint32_t client, struct member *m, const struct cle_action *a,
                      uint32_t index)
{
    uint32_t e = s->client[client].edge;

    switch (a->type) {
    case CLE_SUBSCRIBED:
        on_subscribed(s, client, m, true);
        break;
    case CLE_SUB_FAILED:
        on_subscribed(s, client, m, false);
        break;
    case CLE_EVENT:
        if (m->joined) {
            sim_check_got(s, client, m, index);
        }
        break;
    case CLE_PRES_VIEW:
        on_view(s, e, m, &a->view);
        break;
    case CLE_PRES_DIFF:
        if (m->joined && m->presence && m->has_state && !m->need_view) {
            sim_check_diff(s, client, m, &a->diff);
        }
        break;
    case CLE_PRES_RESET:
        if (m->joined && m->presence) {
            want_view(s, e, m);
        }
        break;
    case CLE_GAP:
        if (m->joined) {
            sim_check_gap(s, client, m, a->lost);
        }
        break;
    case CLE_SEND:
    case CLE_PUB_DONE:
        break;
    }
}

void sim_edge_action(struct sim *s, uint32_t e, const struct cle_action *a,
                     const struct entry *entry, uint32_t index)
{
    uint32_t topic = NOBODY;

    if (a->type == CLE_SEND) {
        sim_to_owner(s, e, a->bytes);
        return;
    }
    if (a->type == CLE_PUB_DONE) {
        sim_check_pub_done(s, e, a->cookie, a->result);
        return;
    }
    if (a->type == CLE_EVENT && entry == NULL) {
        sim_fail(s, "edge %u shows an event that no owner ordered", e);
        return;
    }
    topic = sim_topic_by_key(s, cle_topic_key(s->edge[e].c, a->topic));
    if (a->type == CLE_EVENT && s->edge[e].refs[topic] == 0) {
        sim_fail(s, "I12: edge %u shows an event of topic %u, which has no member", e, topic);
    }
    if (a->type == CLE_PRES_VIEW) {
        take_view(s, e, &a->view);
    }
    s->gaps += a->type == CLE_GAP ? a->lost : 0;
    for (uint32_t i = 0; i < CLIENTS_MAX && !s->failed; i++) {
        struct client *cl = &s->client[i];

        if (!cl->used || cl->edge != e) {
            continue;
        }
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            if (cl->m[k].used && cl->m[k].topic == topic) {
                to_member(s, i, &cl->m[k], a, index);
            }
        }
    }
}
