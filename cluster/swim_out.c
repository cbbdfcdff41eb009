/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim_out.c - what is to be done, one action at a time.
 *
 * Nothing is encoded before it is taken: what waits are flags at the members and the heads of
 * packets. So a flag cannot be lost, and a packet says what is known when it leaves.
 */
#include "cluster/swim_in.h"

static bool next_self(struct cl_swim *s, struct cl_swim_action *out)
{
    if (s->fatal && !s->fatal_told) {
        s->fatal_told = true;
        out->type = CL_SWIM_A_FATAL;
        out->id = s->cfg.id;
        out->addr = s->fatal_addr;
        out->reason = "another node has this node's name";
        return true;
    }
    if (s->raised != 0) {
        out->type = CL_SWIM_A_EPOCH;
        out->id = s->cfg.id;
        out->epoch = s->raised;
        out->reason = "a former life of this node was ahead of our clock";
        s->raised = 0;
        return true;
    }
    return false;
}

static bool next_change(struct cl_swim *s, struct cl_swim_action *out)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);
        bool unknown = m->told == CL_SWIM_NONE && m->pub.state == CL_SWIM_NONE;

        if (!m->dirty || unknown) {
            m->dirty = false;
            continue;
        }
        out->type = CL_SWIM_A_MEMBER;
        out->id = m->pub.id;
        out->epoch = m->pub.epoch;
        out->old_epoch = m->told_epoch;
        out->old = m->told;
        out->now = m->pub.state;
        out->member = &m->pub;
        out->addr = m->pub.addr;
        out->reason = m->reason;
        out->who = m->who;
        m->dirty = false;
        m->told = m->pub.state;
        m->told_epoch = m->pub.epoch;
        if (m->pub.state == CL_SWIM_NONE && !m->pub.linked) {
            s->freeing = s->sorted[i];
        }
        return true;
    }
    return false;
}

/* `told` is the member itself: it needs to hear of its state alone, and knows the rest better. Of
 * one that has left nothing but that counts: who missed it would wait until it can be suspected. */
static bool fact_of(const struct member *m, bool told, struct pr_fact *f)
{
    bool fresh = told || m->pub.state == CL_SWIM_LEFT ||
                 (m->meta_epoch == m->pub.epoch && m->meta_inc == m->pub.inc);

    if (m->pub.state == CL_SWIM_NONE || !m->has_meta || (!fresh && !cl_sw_live(m))) {
        return false;
    }
    *f = (struct pr_fact){.id = m->pub.id,
                          .epoch = m->pub.epoch,
                          .inc = m->pub.inc,
                          .state = (uint8_t)m->pub.state,
                          .name = m->pub.name,
                          .addr = m->pub.addr,
                          .meta = m->pub.meta};
    if (!fresh) {
        /* accused in a newer state than the one in which we know what it says of itself: that must
         * not pass as said in the newer one */
        f->epoch = m->meta_epoch;
        f->inc = m->meta_inc;
        f->state = PR_F_ALIVE;
    }
    return true;
}

/* SYNC with everything, or with one member alone; that is the receiver `to`, or ourselves. */
static void put_sync(struct cl_swim *s, struct pr_outbuf *o, const struct member *to,
                     const struct member *only, bool want)
{
    struct pr_outbuf facts = pr_outbuf(s->facts, s->facts_cap);
    struct pr_sync sync = {.want_reply = want};
    struct pr_fact f;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        if ((only == NULL || only == m) && fact_of(m, only != NULL || m == to, &f)) {
            pr_fact_put(&facts, &f);
            sync.nfacts++;
        }
    }
    sync.facts = pr_bytes(s->facts, facts.len);
    s->st.syncs_out++;
    pr_sync_encode(o, &sync);
}

static void put_owed(struct cl_swim *s, struct pr_outbuf *o, const struct member *m, uint32_t what)
{
    struct pr_sync_hash hash = {.hash = cl_sw_hash(s), .want_reply = what == OWE_HASH};
    struct pr_ping ping = {.token = what == OWE_PONG ? m->pong_token : TOKEN_MARK | m->ping_token};

    switch (what) {
    case OWE_HASH:
    case OWE_HASH_BACK:
        pr_sync_hash_encode(o, &hash);
        break;
    case OWE_SYNC:
    case OWE_SYNC_BACK:
        put_sync(s, o, m, NULL, what == OWE_SYNC);
        break;
    case OWE_ACCUSATION:
        put_sync(s, o, m, m, false);
        break;
    case OWE_SELF:
        put_sync(s, o, m, cl_sw_self(s), false);
        break;
    case OWE_PING:
        pr_ping_encode(o, &ping);
        break;
    default:
        pr_pong_encode(o, &ping);
        break;
    }
}

static bool next_of(struct cl_swim *s, struct member *m, struct cl_swim_action *out)
{
    struct pr_outbuf o = pr_outbuf(s->bytes, s->bytes_cap);
    uint32_t what = m->owe & (~m->owe + 1); /* lowest bit: PONG comes after what it vouches for */

    out->id = m->pub.id;
    out->addr = m->pub.addr;
    out->epoch = m->pub.epoch;
    if (m->close_reason != NULL && m->pub.linked) {
        out->type = CL_SWIM_A_CLOSE;
        out->reason = m->close_reason;
        m->close_reason = NULL;
        return true;
    }
    if (what != 0 && m->pub.linked) {
        m->owe &= ~what;
        put_owed(s, &o, m, what);
        out->type = CL_SWIM_A_LINK;
        out->bytes = pr_bytes(s->bytes, o.len);
        return true;
    }
    if (m->dial_due && !m->pub.linked) {
        m->dial_due = false;
        out->type = CL_SWIM_A_DIAL;
        return true;
    }
    return false;
}

static bool next_packet(struct cl_swim *s, struct cl_swim_action *out)
{
    while (s->packet_count > 0) {
        struct pr_outbuf o = pr_outbuf(s->bytes, s->bytes_cap);
        struct packet p = s->packets[s->packet_head];

        s->packet_head = (s->packet_head + 1) % CL_SWIM_QUEUE;
        s->packet_count--;
        if (cl_sw_pack(s, &p, &o)) {
            s->st.packets_out++;
            s->st.bytes_out += o.len;
            out->type = CL_SWIM_A_UDP;
            out->addr = p.to;
            out->bytes = pr_bytes(s->bytes, o.len);
            return true;
        }
    }
    return false;
}

/* The slot of who was told to be forgotten, unless he has come back since. */
static void free_told(struct cl_swim *s)
{
    struct member *m = &s->members[s->freeing];

    if (s->freeing != 0 && m->pub.state == CL_SWIM_NONE && !m->pub.linked) {
        cl_sw_remove(s, m);
    }
    s->freeing = 0;
}

bool cl_swim_next(struct cl_swim *s, struct cl_swim_action *out)
{
    *out = (struct cl_swim_action){0};
    free_told(s);
    if (s->pending) {
        if (next_self(s, out) || next_change(s, out)) {
            return true;
        }
        for (uint32_t i = 0; i < s->n; i++) {
            if (next_of(s, cl_sw_at(s, i), out)) {
                return true;
            }
        }
        *out = (struct cl_swim_action){0};
        s->pending = false;
    }
    return next_packet(s, out);
}
