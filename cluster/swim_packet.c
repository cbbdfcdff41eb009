/* SPDX-License-Identifier: Apache-2.0 */
/* swim_packet.c - datagrams: taking them apart, and filling them with what is to be spread. */
#include "cluster/swim_in.h"

#include <assert.h>

/* Bytes of the shortest fact, about; with less left nothing is looked for. */
#define SHORTEST_FACT 32u
/* Facts that may not fit into what is left, until we stop to look for a shorter one. */
#define MISFITS_MAX 8u

/* ---- in ---- */

static void take_ping(struct cl_swim *s, const struct pr_addr *from, const struct pr_gossip_msg *m)
{
    const struct packet p = {.kind = PACKET_ACK, .seq = m->seq, .to = *from, .view = s->view};

    /* meant for a former life, it must not count for this one */
    if (m->fact.id == s->cfg.id && m->fact.epoch == cl_sw_self(s)->pub.epoch) {
        cl_sw_send(s, &p);
    }
}

/* SUSPECT, DEAD and LEFT come without name and address, so they are of use only about somebody who
 * is known. */
static void take_accusation(struct cl_swim *s, cl_ms now, const struct pr_gossip_msg *msg)
{
    struct member *m = cl_sw_find(s, msg->fact.id);
    struct news news = {.epoch = msg->fact.epoch,
                        .inc = msg->fact.inc,
                        .state = (enum cl_swim_state)msg->fact.state,
                        .from = msg->from,
                        .reason = "accused by another node"};

    if (m == NULL || m->pub.state == CL_SWIM_NONE) {
        return;
    }
    if (news.state == CL_SWIM_DEAD) {
        news.reason = "said to be dead by another node";
    } else if (news.state == CL_SWIM_LEFT) {
        news.reason = "left";
    }
    if (m->pub.self) {
        cl_sw_about_self(s, now, &news, NULL);
    } else {
        cl_sw_apply(s, now, m, &news);
    }
}

static void take_message(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
                         const struct pr_gossip_msg *m)
{
    switch (m->type) {
    case PR_G_PING:
        take_ping(s, from, m);
        break;
    case PR_G_PING_REQ:
        cl_sw_ping_req(s, now, from, m);
        break;
    case PR_G_ACK:
        cl_sw_ack(s, now, from, m);
        break;
    case PR_G_NACK:
        cl_sw_nack(s, m->seq);
        break;
    case PR_G_ALIVE:
        /* what does not fit, or clashes, is counted there */
        (void)cl_sw_merge(s, now, &m->fact, false, m->fact.id);
        break;
    case PR_G_SUSPECT:
    case PR_G_DEAD:
        take_accusation(s, now, m);
        break;
    case PR_G_UNKNOWN:
        break;
    }
}

int cl_swim_packet(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
                   struct pr_slice payload)
{
    struct pr_gossip g;
    struct pr_gossip_msg m;
    int rv = PR_OK;

    cl_sw_stir(s, now);
    rv = pr_gossip_open(payload, &g);
    if (rv == PR_EVERSION) {
        s->st.other_proto++;
        return CL_EPROTO;
    }
    if (rv != PR_OK) {
        s->st.damaged++;
        return CL_EPROTO;
    }
    if (g.cluster != s->cfg.cluster) {
        s->st.other_cluster++;
        return CL_EPROTO;
    }
    s->st.packets_in++;
    for (uint32_t i = 0; i < g.nmsgs; i++) {
        if (pr_gossip_next(&g.msgs, &m) == 1) {
            take_message(s, now, from, &m);
        }
    }
    return CL_OK;
}

/* ---- out ---- */

void cl_sw_send(struct cl_swim *s, const struct packet *p)
{
    uint32_t at = (s->packet_head + s->packet_count) % CL_SWIM_QUEUE;

    if (s->packet_count == CL_SWIM_QUEUE) {
        s->st.dropped++;
        return;
    }
    s->packets[at] = *p;
    s->packet_count++;
}

static void be_silent(struct cl_swim *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);

        for (uint32_t k = 0; k < m->nrumours; k++) {
            m->rumour[k].active = false;
        }
    }
    s->active = 0;
}

void cl_sw_gossip_tick(struct cl_swim *s, cl_ms now)
{
    struct packet p = {.kind = PACKET_GOSSIP};
    struct member *to[CL_SWIM_FANOUT];
    uint32_t n = 0;

    if (s->gossip_at > now) {
        cl_sw_arm(s, s->gossip_at);
        return;
    }
    s->gossip_at = NEVER;
    if (s->active == 0) {
        return;
    }
    n = cl_sw_pick(s, NULL, to, CL_SWIM_FANOUT);
    if (n == 0) {
        /* nobody to tell; who comes is told everything by push/pull */
        be_silent(s);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        p.to = to[i]->pub.addr;
        cl_sw_send(s, &p);
    }
    s->gossiped = now;
    s->gossip_at = now + CL_SWIM_GOSSIP_MS;
    cl_sw_arm(s, s->gossip_at);
}

static struct pr_gossip_msg message_of(const struct member *m, uint64_t from)
{
    struct pr_gossip_msg msg = {.type = PR_G_ALIVE, .from = from};

    msg.fact = (struct pr_fact){.id = m->pub.id, .epoch = m->pub.epoch, .inc = m->pub.inc};
    msg.fact.state = (uint8_t)m->pub.state;
    switch (m->pub.state) {
    case CL_SWIM_NONE:
    case CL_SWIM_ALIVE:
        msg.fact.name = m->pub.name;
        msg.fact.addr = m->pub.addr;
        msg.fact.meta = m->pub.meta;
        break;
    case CL_SWIM_SUSPECT:
        msg.type = PR_G_SUSPECT;
        break;
    case CL_SWIM_DEAD:
        msg.type = PR_G_DEAD;
        break;
    case CL_SWIM_LEFT:
        msg.type = PR_G_DEAD;
        msg.from = m->pub.id;
        break;
    }
    return msg;
}

/* The rumour that was sent least often, the newest of these; NULL if all were considered for this
 * packet. */
static struct rumour *next_rumour(struct cl_swim *s, struct member **of)
{
    struct rumour *best = NULL;

    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);

        for (uint32_t k = 0; k < m->nrumours; k++) {
            struct rumour *r = &m->rumour[k];
            bool open = r->active && r->packet != s->packet;

            if (open && (best == NULL || r->sent < best->sent ||
                         (r->sent == best->sent && r->news > best->news))) {
                best = r;
                *of = m;
            }
        }
    }
    return best;
}

static void fill(struct cl_swim *s, struct pr_gossip_out *w)
{
    uint32_t limit = cl_sw_sends(s->live);
    uint32_t misfits = 0;
    struct member *m = NULL;

    while (s->active > 0 && misfits < MISFITS_MAX && w->o->len + SHORTEST_FACT <= PR_GOSSIP_MAX) {
        struct rumour *r = next_rumour(s, &m);
        struct pr_gossip_msg msg;

        if (r == NULL) {
            return;
        }
        r->packet = s->packet;
        msg = message_of(m, r->from);
        if (w->o->len + pr_gossip_size(&msg) > PR_GOSSIP_MAX) {
            misfits++;
            continue;
        }
        pr_gossip_put(w, &msg);
        r->sent++;
        if (r->sent >= limit) {
            r->active = false;
            s->active--;
        }
    }
}

/* Whom a packet is about hears first what is said of it: it can refute with its answer. */
static void put_buddy(const struct cl_swim *s, struct pr_gossip_out *w, const struct packet *p)
{
    const struct member *m = p->id != 0 ? cl_sw_find(s, p->id) : NULL;
    bool said = p->kind == PACKET_PING || p->kind == PACKET_GOSSIP;
    struct pr_gossip_msg msg;

    if (!said || m == NULL || m->nrumours == 0) {
        return;
    }
    if (m->pub.state == CL_SWIM_SUSPECT || m->pub.state == CL_SWIM_DEAD) {
        msg = message_of(m, m->rumour[0].from);
        pr_gossip_put(w, &msg);
    }
}

static void put_head(struct pr_gossip_out *w, const struct packet *p)
{
    struct pr_gossip_msg msg = {.seq = p->seq, .view = p->view};

    msg.fact = (struct pr_fact){.id = p->id, .epoch = p->epoch, .addr = p->addr};
    switch (p->kind) {
    case PACKET_GOSSIP:
        return;
    case PACKET_PING:
        msg.type = PR_G_PING;
        break;
    case PACKET_PING_REQ:
        msg.type = PR_G_PING_REQ;
        break;
    case PACKET_ACK:
        msg.type = PR_G_ACK;
        break;
    case PACKET_NACK:
        msg.type = PR_G_NACK;
        break;
    }
    pr_gossip_put(w, &msg);
}

/* What every live member understands: the least of their newest, within what we speak. */
static uint32_t common_proto(const struct cl_swim *s)
{
    uint32_t proto = PR_PROTO_MAX;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        if (cl_sw_live(m) && m->pub.meta.proto_max < proto) {
            proto = m->pub.meta.proto_max;
        }
    }
    return proto > PR_PROTO_MIN ? proto : PR_PROTO_MIN;
}

bool cl_sw_pack(struct cl_swim *s, const struct packet *p, struct pr_outbuf *o)
{
    struct pr_gossip_out w = pr_gossip_begin(o, common_proto(s), s->cfg.cluster);

    s->packet++;
    put_buddy(s, &w, p);
    put_head(&w, p);
    fill(s, &w);
    pr_gossip_end(&w);
    assert(o->len <= PR_GOSSIP_MAX);
    return w.count > 0;
}
