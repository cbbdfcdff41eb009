/* SPDX-License-Identifier: Apache-2.0 */
/* members_in.h - what the files of members.h share: events, links, and what draws from the seed. */
#ifndef TESTS_SIM_MEMBERS_IN_H
#define TESTS_SIM_MEMBERS_IN_H

#include "tests/sim/members.h"

enum ev_type {
    EV_UDP,
    EV_TICK,
    EV_FRAME,
    EV_DIALLED, /* connect has reached the other host */
    EV_LINKED,  /* who dialled has its answer */
    EV_HELLO,   /* the other asks its list whether it may let it in */
    EV_DOWN,
    EV_KEEP, /* one end of a link looks whether it still speaks */
    EV_SEED,
    EV_READY
};

struct ev {
    cl_ms at;
    uint64_t order;
    enum ev_type type;
    uint32_t from, to; /* slots */
    uint32_t life;     /* of `to` */
    uint32_t gen, how;
    uint64_t seq;
    uint8_t *bytes;
    size_t n;
};

/* members_world.c */
/* It happens at ev.at, behind what was pushed for that time before. */
void world_push(struct world *w, struct ev ev);
bool world_chance(struct world *w, double p);
/* Of one packet. */
cl_ms world_delay(struct world *w);
struct pr_addr world_addr(uint32_t slot);
/* Who lives there; NULL. */
struct proc *world_at(struct world *w, const struct pr_addr *a);
uint8_t *world_copy(struct pr_slice s);

/* members_links.c */
/* The process of that id that p has a link with; NULL. */
struct proc *link_peer(struct world *w, struct proc *p, uint64_t id);
void link_side_up(struct world *w, struct proc *p, struct proc *peer, uint32_t gen);
/* One end of a link is gone, and its process is told. */
void link_side_down(struct world *w, struct proc *p, struct proc *peer, enum cl_swim_down how);
/* The other end notices by a packet, if one gets through. */
void link_tell_down(struct world *w, struct proc *p, struct proc *peer, enum cl_swim_down how);
/* Both. */
void link_close(struct world *w, struct proc *p, uint64_t id);
void link_send(struct world *w, struct proc *p, struct proc *peer, struct pr_slice bytes);
void link_dial(struct world *w, struct proc *p, const struct pr_addr *to);
/* Order holds on a link, and what the network does not pass is sent again. */
bool link_held_up(struct world *w, struct proc *p, struct ev *ev);
void link_on_frame(struct world *w, struct proc *p, const struct ev *ev);
/* EV_KEEP, EV_HELLO, EV_DIALLED. */
void link_keep(struct world *w, struct proc *p, struct ev *ev);
void link_hello(struct world *w, struct proc *p, struct ev *ev);
void link_dialled(struct world *w, struct ev *ev);

#endif
