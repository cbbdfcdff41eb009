/* SPDX-License-Identifier: Apache-2.0 */
/* members_links.c - links between processes: how they come up, what arrives when, their ends. */
#include "tests/sim/members_in.h"

#include <assert.h>
#include <stdio.h>

#define RTO_MS   200u /* first retransmission of a TCP segment, on Linux at least */
#define KEEP_MS  10000u
#define CUT_MS   15000u
#define ADMIT_MS 100u

struct proc *link_peer(struct world *w, struct proc *p, uint64_t id)
{
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (p->side[i].up && w->procs[i].id == id) {
            return &w->procs[i];
        }
    }
    return NULL;
}

void link_side_down(struct world *w, struct proc *p, struct proc *peer, enum cl_swim_down how)
{
    struct side *side = &p->side[peer->slot];

    if (!side->up) {
        return;
    }
    side->up = false;
    if (p->s != NULL) {
        cl_swim_link_down(p->s, w->now, peer->id, how);
    }
}

void link_tell_down(struct world *w, struct proc *p, struct proc *peer, enum cl_swim_down how)
{
    struct ev ev = {
        .at = w->now + world_delay(w), .type = EV_DOWN, .from = p->slot, .to = peer->slot};

    if (!p->blocked[peer->slot] && peer->side[p->slot].up) {
        ev.life = peer->life;
        ev.gen = peer->side[p->slot].gen;
        ev.how = how;
        world_push(w, ev);
    }
}

void link_side_up(struct world *w, struct proc *p, struct proc *peer, uint32_t gen)
{
    struct ev keep = {.at = w->now + KEEP_MS / 2, .type = EV_KEEP, .from = peer->slot};
    struct proc *old = link_peer(w, p, peer->id);

    if (old != NULL) {
        link_side_down(w, p, old, CL_SWIM_LOCAL);
    }
    p->side[peer->slot] = (struct side){.up = true, .gen = gen, .heard = w->now};
    if (cl_swim_link_up(p->s, w->now, peer->id, peer->epoch) != CL_OK) {
        p->side[peer->slot].up = false;
        return;
    }
    keep.to = p->slot;
    keep.life = p->life;
    keep.gen = gen;
    world_push(w, keep);
}

void link_send(struct world *w, struct proc *p, struct proc *peer, struct pr_slice bytes)
{
    struct side *side = &p->side[peer->slot];
    struct ev ev = {
        .at = w->now + world_delay(w), .type = EV_FRAME, .from = p->slot, .to = peer->slot};

    for (cl_ms rto = RTO_MS; world_chance(w, w->loss); rto *= 2) {
        ev.at += rto;
    }
    ev.at = ev.at > side->last_arrival ? ev.at : side->last_arrival;
    side->last_arrival = ev.at;
    ev.life = peer->life;
    ev.gen = side->gen;
    ev.seq = ++side->sent;
    ev.bytes = world_copy(bytes);
    ev.n = bytes.n;
    w->frames++;
    w->frame_bytes += bytes.n;
    world_push(w, ev);
}

void link_dial(struct world *w, struct proc *p, const struct pr_addr *to)
{
    struct proc *peer = world_at(w, to);
    struct ev ev = {.at = w->now + 2 * world_delay(w), .type = EV_DIALLED, .from = p->slot};

    if (peer == NULL || peer == p || p->side[peer->slot].up) {
        return;
    }
    ev.to = peer->slot;
    ev.life = p->life; /* of who dials */
    world_push(w, ev);
}

void link_close(struct world *w, struct proc *p, uint64_t id)
{
    struct proc *peer = link_peer(w, p, id);

    if (peer != NULL) {
        link_tell_down(w, p, peer, CL_SWIM_EOF);
        link_side_down(w, p, peer, CL_SWIM_LOCAL);
    }
}

bool link_held_up(struct world *w, struct proc *p, struct ev *ev)
{
    struct side *from = &w->procs[ev->from].side[p->slot];

    if (from->up && from->gen == ev->gen &&
        (w->procs[ev->from].blocked[p->slot] || ev->seq != from->arrived + 1)) {
        ev->at = w->now + (ev->seq == from->arrived + 1 ? RTO_MS : RTO_MS + 1);
        world_push(w, *ev);
        return true;
    }
    return false;
}

void link_on_frame(struct world *w, struct proc *p, const struct ev *ev)
{
    struct proc *peer = &w->procs[ev->from];
    struct pr_slice in = pr_bytes(ev->bytes, ev->n);
    struct pr_frame f;

    peer->side[p->slot].arrived++;
    if (!p->side[peer->slot].up || p->side[peer->slot].gen != ev->gen) {
        link_tell_down(w, p, peer, CL_SWIM_EOF);
        return;
    }
    while (in.n > 0) {
        long n = pr_frame_next(in, &f);
        int rv = CL_OK;

        assert(n > 0);
        cl_swim_link_heard(p->s, w->now, peer->id);
        p->side[peer->slot].heard = w->now;
        rv = cl_swim_link_in(p->s, w->now, peer->id, &f);
        assert(rv == CL_OK);
        in.p += n;
        in.n -= (size_t)n;
    }
}

void link_keep(struct world *w, struct proc *p, struct ev *ev)
{
    struct proc *peer = &w->procs[ev->from];
    struct side *side = &p->side[peer->slot];
    struct pr_ping ping = {.token = w->now};
    uint8_t bytes[64];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (!side->up || side->gen != ev->gen) {
        return;
    }
    if (w->now - side->heard >= CUT_MS) {
        link_tell_down(w, p, peer, CL_SWIM_EOF);
        link_side_down(w, p, peer, CL_SWIM_TIMEOUT);
        return;
    }
    if (w->now - side->heard >= KEEP_MS / 2) {
        pr_ping_encode(&o, &ping);
        link_send(w, p, peer, pr_bytes(bytes, o.len));
    }
    ev->at = w->now + KEEP_MS / 2;
    world_push(w, *ev);
}

/* HELLO at the one that was dialled. from: who dials; life: of him. */
void link_hello(struct world *w, struct proc *p, struct ev *ev)
{
    struct proc *from = &w->procs[ev->from];
    struct cl_swim_claim claim = {
        .id = from->id, .epoch = from->epoch, .addr = world_addr(from->slot)};
    struct pr_addr holder;
    uint32_t gen = 0;
    char name[32];
    int n = snprintf(name, sizeof name, "node-%u", from->name);

    if (from->s == NULL || from->life != ev->life ||
        (p->side[from->slot].up && from->side[p->slot].up &&
         p->side[from->slot].gen == from->side[p->slot].gen)) {
        return;
    }
    from->said_hello = from->said_hello == 0 ? w->now : from->said_hello;
    claim.name = pr_bytes(name, (size_t)n);
    switch (cl_swim_admit(p->s, w->now, &claim, &holder)) {
    case CL_SWIM_ADMIT:
        from->admitted = from->admitted == 0 ? w->now : from->admitted;
        gen = (uint32_t)++w->order;
        link_side_up(w, p, from, gen);
        world_push(w, (struct ev){.at = w->now,
                                  .type = EV_LINKED,
                                  .from = p->slot,
                                  .to = from->slot,
                                  .life = from->life,
                                  .gen = gen});
        break;
    case CL_SWIM_WAIT:
        ev->type = EV_HELLO;
        ev->at = w->now + ADMIT_MS;
        world_push(w, *ev);
        break;
    case CL_SWIM_NAME_USED:
        from->refused = true;
        world_stop(w, from, END_CLOSED);
        break;
    case CL_SWIM_ID_CLASH:
    case CL_SWIM_IS_SELF:
    case CL_SWIM_NO_ROOM:
        break;
    }
}

void link_dialled(struct world *w, struct ev *ev)
{
    struct proc *p = &w->procs[ev->to];
    struct proc *from = &w->procs[ev->from];

    if (from->s == NULL || from->life != ev->life || from->blocked[p->slot] ||
        p->blocked[from->slot]) {
        return;
    }
    if (p->s != NULL) {
        ev->type = EV_HELLO;
        world_push(w, *ev);
    } else if (p->host_up) {
        cl_swim_link_down(from->s, w->now, p->id, CL_SWIM_REFUSED);
        world_drain(w, from);
    }
}
