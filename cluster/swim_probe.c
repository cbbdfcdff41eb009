/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim_probe.c - is it there? Asked by datagram, then through three others and over the link.
 *
 *   0 ms              PING
 *   200 ms            PING_REQ to three helpers, PING on the link
 *   500 ms (x health) no answer by any way: suspected
 */
#include "cluster/swim_in.h"

#include <assert.h>

static uint32_t interval_ms(const struct cl_swim *s)
{
    return CL_SWIM_PROBE_MS * (s->health + 1);
}

static void send_ping(struct cl_swim *s, const struct member *m)
{
    const struct packet p = {.kind = PACKET_PING,
                             .seq = m->probe.seq,
                             .to = m->pub.addr,
                             .id = m->pub.id,
                             .epoch = m->pub.epoch};

    cl_sw_send(s, &p);
}

void cl_sw_probe(struct cl_swim *s, cl_ms now, struct member *m)
{
    if (m->pub.self || !cl_sw_live(m) || m->probe.stage != PROBE_NONE) {
        return;
    }
    s->st.probes++;
    m->probe = (struct probe){.stage = PROBE_DIRECT, .seq = cl_sw_seq(s), .start = now};
    m->probe.end = now + interval_ms(s);
    send_ping(s, m);
    cl_sw_arm(s, now + CL_SWIM_PROBE_TIMEOUT_MS);
}

/* It may have refuted long ago, and the word did not reach us: its answer brings it. */
void cl_sw_last_call(struct cl_swim *s, cl_ms now, struct member *m)
{
    m->last_called = true;
    if (m->probe.stage == PROBE_NONE) {
        cl_sw_probe(s, now, m);
    } else {
        send_ping(s, m);
    }
    cl_sw_owe(s, m, OWE_ACCUSATION);
}

void cl_sw_probe_next(struct cl_swim *s, cl_ms now)
{
    struct member *m = NULL;

    if (s->probe_at > now) {
        cl_sw_arm(s, s->probe_at);
        return;
    }
    m = cl_sw_next_target(s);
    s->probe_at = m != NULL ? now + interval_ms(s) : NEVER;
    cl_sw_arm(s, s->probe_at);
    if (m != NULL) {
        cl_sw_probe(s, now, m);
    }
}

static void ask_helpers(struct cl_swim *s, struct member *m)
{
    struct packet p = {.kind = PACKET_PING_REQ,
                       .seq = m->probe.seq,
                       .id = m->pub.id,
                       .epoch = m->pub.epoch,
                       .addr = m->pub.addr};
    struct member *helper[CL_SWIM_HELPERS];
    uint32_t n = cl_sw_pick(s, m, helper, CL_SWIM_HELPERS);

    m->probe.stage = PROBE_HELPED;
    m->probe.asked = n;
    for (uint32_t i = 0; i < n; i++) {
        p.to = helper[i]->pub.addr;
        cl_sw_send(s, &p);
    }
    m->ping_token = m->probe.seq;
    cl_sw_owe(s, m, OWE_PING);
}

static void probe_failed(struct cl_swim *s, cl_ms now, struct member *m)
{
    uint32_t silent = m->probe.asked > m->probe.nacks ? m->probe.asked - m->probe.nacks : 0;

    m->probe.stage = PROBE_NONE;
    s->st.probes_failed++;
    /* helpers that do not even say no: perhaps it is we who hear nothing */
    s->health = s->health + silent < CL_SWIM_HEALTH_MAX ? s->health + silent : CL_SWIM_HEALTH_MAX;
    cl_sw_accuse(s, now, m,
                 m->pub.linked ? "no answer by datagram, helpers or link"
                               : "no answer by datagram or helpers, and no link");
}

void cl_sw_probe_tick(struct cl_swim *s, cl_ms now, struct member *m)
{
    cl_ms helped_at = m->probe.start + CL_SWIM_PROBE_TIMEOUT_MS;

    if (m->probe.stage == PROBE_DIRECT && now >= helped_at) {
        ask_helpers(s, m);
    }
    if (m->probe.stage != PROBE_NONE && now >= m->probe.end) {
        probe_failed(s, now, m);
    }
    if (m->probe.stage != PROBE_NONE) {
        cl_sw_arm(s, m->probe.stage == PROBE_DIRECT ? helped_at : m->probe.end);
    }
}

/* ---- for others ---- */

void cl_sw_ping_req(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
                    const struct pr_gossip_msg *m)
{
    struct packet p = {
        .kind = PACKET_PING, .to = m->fact.addr, .id = m->fact.id, .epoch = m->fact.epoch};

    for (uint32_t i = 0; i < RELAYS_MAX; i++) {
        struct relay *r = &s->relays[i];

        if (r->seq == 0) {
            *r = (struct relay){.seq = cl_sw_seq(s), .origin_seq = m->seq, .origin = *from};
            r->nack_at = now + CL_SWIM_NACK_MS;
            r->end = now + RELAY_MS;
            cl_sw_arm(s, r->nack_at);
            p.seq = r->seq;
            cl_sw_send(s, &p);
            return;
        }
    }
}

void cl_sw_relay_tick(struct cl_swim *s, cl_ms now)
{
    for (uint32_t i = 0; i < RELAYS_MAX; i++) {
        struct relay *r = &s->relays[i];
        const struct packet p = {.kind = PACKET_NACK, .seq = r->origin_seq, .to = r->origin};

        if (r->seq != 0 && r->nack_at <= now) {
            cl_sw_send(s, &p);
            r->nack_at = NEVER;
        }
        if (r->seq != 0 && r->end <= now) {
            r->seq = 0;
        }
        if (r->seq != 0) {
            cl_sw_arm(s, r->nack_at < r->end ? r->nack_at : r->end);
        }
    }
}

static void relay_ack(struct cl_swim *s, const struct pr_gossip_msg *m)
{
    for (uint32_t i = 0; i < RELAYS_MAX; i++) {
        struct relay *r = &s->relays[i];
        const struct packet p = {
            .kind = PACKET_ACK, .seq = r->origin_seq, .to = r->origin, .view = m->view};

        if (r->seq == m->seq) {
            cl_sw_send(s, &p);
            r->seq = 0;
            return;
        }
    }
}

/* ---- answers ---- */

void cl_sw_sure(struct cl_swim *s)
{
    s->unsure = false;
    for (uint32_t i = 0; i < s->n; i++) {
        cl_sw_at(s, i)->unsure_token = 0;
    }
}

static struct member *probed_with(const struct cl_swim *s, uint32_t seq)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);

        if (m->probe.stage != PROBE_NONE && m->probe.seq == seq) {
            return m;
        }
    }
    return NULL;
}

static void probe_answered(struct cl_swim *s, cl_ms now, struct member *m)
{
    bool fresh = (int32_t)(m->probe.seq - s->unsure_seq) >= 0;

    m->probe.stage = PROBE_NONE;
    s->health -= s->health > 0 ? 1 : 0;
    if (s->unsure && fresh && now - s->unsure_since >= UNSURE_ANY_MS) {
        cl_sw_sure(s);
    }
}

/* It lives, but its datagrams do not reach us, or ours it. */
static void missed(struct member *m)
{
    m->pub.udp_missed += m->pub.udp_missed < UINT32_MAX ? 1 : 0;
}

/* The answering node looks at other members in its ring than we do. */
static void compare_views(struct cl_swim *s, cl_ms now, struct member *m, uint64_t view)
{
    if (view == s->view) {
        /* stage and seq were checked: this is an answer of after a stall */
        cl_sw_sure(s);
    } else if (m->pub.linked && now >= m->view_sync_at) {
        m->view_sync_at = now + VIEW_SYNC_MS;
        cl_sw_owe(s, m, OWE_HASH);
    }
}

void cl_sw_ack(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
               const struct pr_gossip_msg *m)
{
    struct member *of = probed_with(s, m->seq);

    if (m->seq == 0) {
        return;
    }
    if (of == NULL) {
        cl_sw_claim_ack(s, m->seq);
        relay_ack(s, m);
        return;
    }
    if (pr_addr_eq(from, &of->pub.addr)) {
        s->st.acks_direct++;
        of->pub.rtt_ms = (uint32_t)(now - of->probe.start);
        of->pub.udp_missed = 0;
    } else {
        s->st.acks_helped++;
        missed(of);
    }
    probe_answered(s, now, of);
    compare_views(s, now, of, m->view);
}

void cl_sw_nack(struct cl_swim *s, uint32_t seq)
{
    struct member *of = seq != 0 ? probed_with(s, seq) : NULL;

    if (of != NULL && of->probe.stage == PROBE_HELPED && of->probe.nacks < of->probe.asked) {
        of->probe.nacks++;
    }
}

void cl_sw_pong(struct cl_swim *s, cl_ms now, struct member *m, uint64_t token)
{
    if (token >> 32 << 32 != TOKEN_MARK) {
        return;
    }
    if (m->unsure_token != 0 && (uint32_t)token == m->unsure_token) {
        /* what it knows was sent ahead of this */
        cl_sw_sure(s);
    }
    if (m->left_asked && (uint32_t)token == m->left_token) {
        m->left_acked = true;
    }
    if (m->probe.stage != PROBE_NONE && m->probe.seq == (uint32_t)token) {
        s->st.acks_link++;
        missed(m);
        probe_answered(s, now, m);
    }
}
