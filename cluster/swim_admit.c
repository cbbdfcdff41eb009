/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim_admit.c - two nodes with one name.
 *
 * A container that comes back has another address, and must not wait until its former life has
 * been found dead. A second node with a name in use must not get in. Both look the same at first:
 * a HELLO of another life from another address. So the address that we know is asked.
 */
#include "cluster/swim_in.h"

static void ask(struct cl_swim *s, cl_ms now, struct member *m)
{
    const struct packet p = {.kind = PACKET_PING,
                             .seq = m->claim.seq,
                             .to = m->pub.addr,
                             .id = m->pub.id,
                             .epoch = m->pub.epoch};

    m->claim.again = now + CL_SWIM_PROBE_TIMEOUT_MS;
    cl_sw_arm(s, m->claim.again);
    cl_sw_send(s, &p);
}

static enum cl_swim_verdict judge(struct cl_swim *s, cl_ms now, struct member *m,
                                  const struct cl_swim_claim *claim, struct pr_addr *holder)
{
    struct claim *c = &m->claim;
    bool same = c->epoch == claim->epoch && pr_addr_eq(&c->addr, &claim->addr);

    if (c->state != CLAIM_ASKING && now - c->start > CLAIM_KEEP_MS) {
        c->state = CLAIM_NONE;
    }
    switch (c->state) {
    case CLAIM_ASKING:
        return CL_SWIM_WAIT;
    case CLAIM_USED:
        *holder = m->pub.addr;
        return CL_SWIM_NAME_USED;
    case CLAIM_FREE:
        return same ? CL_SWIM_ADMIT : CL_SWIM_WAIT;
    case CLAIM_NONE:
        break;
    }
    *c = (struct claim){.state = CLAIM_ASKING, .epoch = claim->epoch, .addr = claim->addr};
    c->start = now;
    c->seq = cl_sw_seq(s);
    ask(s, now, m);
    cl_sw_arm(s, now); /* no packet or tick brought us here: the question leaves with the next */
    return CL_SWIM_WAIT;
}

enum cl_swim_verdict cl_swim_admit(struct cl_swim *s, cl_ms now, const struct cl_swim_claim *claim,
                                   struct pr_addr *holder)
{
    struct member *m = NULL;

    cl_sw_stir(s, now);
    *holder = (struct pr_addr){0};
    if (s->leaving) {
        return CL_SWIM_WAIT; /* we have said that we left: nobody counts on a link to us any more */
    }
    m = cl_sw_find(s, claim->id);
    if (m == NULL) {
        return s->nfree > 0 ? CL_SWIM_ADMIT : CL_SWIM_NO_ROOM;
    }
    if ((m->has_meta || m->pub.self) && !pr_slice_eq(m->pub.name, claim->name)) {
        return CL_SWIM_ID_CLASH;
    }
    if (m->pub.self) {
        if (m->pub.epoch == claim->epoch || pr_addr_eq(&m->pub.addr, &claim->addr)) {
            return CL_SWIM_IS_SELF;
        }
        *holder = m->pub.addr;
        return CL_SWIM_NAME_USED;
    }
    if (!cl_sw_live(m) || m->pub.epoch == claim->epoch || pr_addr_eq(&m->pub.addr, &claim->addr)) {
        return CL_SWIM_ADMIT;
    }
    return judge(s, now, m, claim, holder);
}

void cl_sw_claim_tick(struct cl_swim *s, cl_ms now, struct member *m)
{
    struct claim *c = &m->claim;
    bool spoke = m->pub.linked && m->link_epoch == m->pub.epoch && m->heard > c->start;

    if (c->state != CLAIM_ASKING) {
        return;
    }
    if (spoke || now - c->start >= CL_SWIM_CLAIM_MS) {
        c->state = spoke ? CLAIM_USED : CLAIM_FREE;
        return;
    }
    if (c->again <= now) {
        ask(s, now, m);
    }
    cl_sw_arm(s, c->again);
}

void cl_sw_claim_ack(struct cl_swim *s, uint32_t seq)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct claim *c = &cl_sw_at(s, i)->claim;

        if (c->state == CLAIM_ASKING && c->seq == seq) {
            c->state = CLAIM_USED;
            return;
        }
    }
}
