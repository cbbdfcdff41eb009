/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim.h - who is in the cluster: SWIM with the suspicion, NACK and local health of Lifeguard, and
 * with what the links tell.
 *
 * Sources: Das, Gupta, Motivala, "SWIM", DSN 2002; Dadgar, Phillips, Currey, "Lifeguard", DSN-W
 * 2018; constants from hashicorp/memberlist's LAN profile, halved where said below.
 *
 * Pure like the rest of the room: feed packets, link events and time, then take what is to be done
 * with cl_swim_next() until it says false. All memory is asked for once, in cl_swim_new(); all
 * chance comes from the struct cl_rand given there.
 *
 * Two maxima are all that is merged, so the order in which facts arrive does not matter: of a
 * member's life (epoch, inc, state), and of what it says of itself (epoch, inc).
 *
 * What a link tells: its end starts a probe; a frame on it within CL_SWIM_VETO_MS puts off our own
 * verdict that the member is dead; an answer over it is as good as one by datagram.
 */
#ifndef CLUSTER_SWIM_H
#define CLUSTER_SWIM_H

#include "cluster/core.h"
#include "cluster/ring.h"
#include "proto/gossip.h"
#include "proto/mesh_node.h"

/* Half of memberlist's 1000 / 500: presence must be right in 5 s. */
#define CL_SWIM_PROBE_MS         500u
#define CL_SWIM_PROBE_TIMEOUT_MS 200u
/* A helper says so if its own probe was not answered in 80 % of the timeout (Lifeguard). */
#define CL_SWIM_NACK_MS 160u
#define CL_SWIM_HELPERS 3u
/* Packets with facts, only while a fact is due. */
#define CL_SWIM_GOSSIP_MS 100u
#define CL_SWIM_FANOUT    3u
/* Suspicion lasts min .. max, min = 4 * max(1, log10 n) * PROBE_MS, max = CL_SWIM_SUSPECT_X * min.
 * memberlist has 6: with it the rare suspicion that misses its confirmations takes too long. */
#define CL_SWIM_SUSPECT_X  3u
#define CL_SWIM_CONFIRMS   2u /* none are waited for with 3 members or fewer */
#define CL_SWIM_HEALTH_MAX 7u
/* Push/pull: x (1 + ceil(log2(n / 32))) above 32 members. */
#define CL_SWIM_SYNC_MS 30000u
/* Evidence of links. */
#define CL_SWIM_VETO_MS  1000u
#define CL_SWIM_VETO_ADD 500u
#define CL_SWIM_VETO_MAX 10u
/* DEAD and LEFT are remembered this long; a random DEAD one is dialled each CL_SWIM_REDIAL_MS. */
#define CL_SWIM_FORGET_MS 600000u
#define CL_SWIM_REDIAL_MS 5000u
/* How long a newcomer waits while the old holder of its name is asked. */
#define CL_SWIM_CLAIM_MS 1000u
/* No call for longer than this: the process stood still. */
#define CL_SWIM_STALL_MS 1000u

/* State of a member as the owner sees it; numbers of enum pr_fact_state, and 0. */
enum cl_swim_state {
    CL_SWIM_NONE = 0, /* not known, or forgotten */
    CL_SWIM_ALIVE = PR_F_ALIVE,
    CL_SWIM_SUSPECT = PR_F_SUSPECT,
    CL_SWIM_DEAD = PR_F_DEAD,
    CL_SWIM_LEFT = PR_F_LEFT
};

/* One member as seen from outside; slices are valid until the next call. */
struct cl_swim_member {
    uint64_t id, epoch;
    uint32_t inc;
    enum cl_swim_state state;
    struct pr_slice name;
    struct pr_addr addr;
    struct pr_meta meta;
    bool self, linked;
    cl_ms since;         /* of this state */
    uint32_t rtt_ms;     /* of the last direct answer; UINT32_MAX: none yet */
    uint32_t udp_missed; /* probes in a row that were answered, but not by a datagram of its own */
    uint8_t health;      /* 0 .. CL_SWIM_HEALTH_MAX, of ourselves alone, else 0 */
    uint8_t confirms;    /* accusers but the first, while SUSPECT */
    uint8_t confirms_of; /* how many are waited for */
    cl_ms dead_at;       /* SUSPECT: when it becomes DEAD unless refuted; else UINT64_MAX */
};
/* "joining", "alive", "suspect", "dead", "leaving", "left"; static. */
const char *cl_swim_state_name(const struct cl_swim_member *m);
/* ALIVE or SUSPECT, owner, ready, not draining: in the ring. */
bool cl_swim_in_ring(const struct cl_swim_member *m);

struct cl_swim_config {
    struct pr_slice name; /* copied; as pr_fact.name */
    uint64_t id;
    uint64_t epoch;
    struct pr_addr addr; /* where others reach it; none: not known yet, see cl_swim_set_addr */
    struct pr_meta meta; /* texts are copied; ready and draining are ignored: false */
    uint64_t cluster;    /* hash of the cluster's name: packets with another are dropped */
    uint32_t nodes;      /* members known, with the dead that are remembered: 1 .. CL_NODES_MAX */
    const struct cl_alloc *mem; /* borrowed for the object's life */
};

struct cl_swim;

/* Gives a new object, a member that is not yet ready; NULL if memory is refused, or the
 * configuration is outside of the bounds of pr_fact_valid. */
struct cl_swim *cl_swim_new(const struct cl_swim_config *cfg, struct cl_rand rand, cl_ms now);
/* Takes `s`; NULL is allowed. */
void cl_swim_free(struct cl_swim *s);

/* ---- in ---- */

/* A datagram that was opened. 0; CL_EPROTO: damaged, another cluster or another protocol; counted,
 * nothing changed. */
CL_MUST_CHECK int cl_swim_packet(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
                                 struct pr_slice payload);
void cl_swim_tick(struct cl_swim *s, cl_ms now);
/* The time of an event that is none of membership's: after a stall frames that waited may come
 * ahead of the tick, and cl_swim_unsure must hold for them too. */
void cl_swim_clock(struct cl_swim *s, cl_ms now);
/* When cl_swim_tick is next due; O(1). */
cl_ms cl_swim_deadline(const struct cl_swim *s);

enum cl_swim_down {
    CL_SWIM_EOF = 1, /* closed by the other end or its kernel */
    CL_SWIM_REFUSED, /* a dial was refused; a link that is up stays */
    CL_SWIM_TIMEOUT,
    CL_SWIM_PROTO,
    CL_SWIM_LOCAL /* closed by us: says nothing about the other */
};
/* HELLO passed both ways; epoch is what the other said there. Its id may be new to us: both push
 * and pull follow. 0; CL_ENOMEM: no room for another member, close the link. */
CL_MUST_CHECK int cl_swim_link_up(struct cl_swim *s, cl_ms now, uint64_t id, uint64_t epoch);
void cl_swim_link_down(struct cl_swim *s, cl_ms now, uint64_t id, enum cl_swim_down how);
/* A frame of it has arrived, of whatever type. O(1), a few instructions. */
void cl_swim_link_heard(struct cl_swim *s, cl_ms now, uint64_t id);
/* Frames PING, PONG, SYNC_HASH, SYNC. 0; CL_EPROTO: damaged, close the link, nothing changed;
 * CL_ENOENT: no link with that id. Keeping an idle link alive by PINGs is the shell's affair:
 * theirs are answered here, and PONGs with tokens that are not ours are ignored. */
CL_MUST_CHECK int cl_swim_link_in(struct cl_swim *s, cl_ms now, uint64_t id,
                                  const struct pr_frame *f);

/*
 * One fact, as from a SYNC of a peer (from_sync: DEAD of somebody who lives here only makes him
 * suspect, so a lagging list cannot kill; LEFT is believed) or known for certain. Copies.
 * 0; CL_ENOMEM: no room for another member; CL_EEXIST: other names for one id; CL_ERANGE: outside
 * of pr_fact_valid. On error nothing changed.
 */
CL_MUST_CHECK int cl_swim_merge(struct cl_swim *s, cl_ms now, const struct pr_fact *f,
                                bool from_sync);

/*
 * May a node with this HELLO have a link? Asked before HELLO_OK. Another life of a name that is
 * still held from another address has to wait while that address is asked, CL_SWIM_CLAIM_MS at
 * most; the caller asks again with the same values every 100 ms or so.
 */
enum cl_swim_verdict {
    CL_SWIM_ADMIT = 1,
    CL_SWIM_WAIT,
    CL_SWIM_NAME_USED, /* *holder answered: refuse; the newcomer must end (exit 78) */
    CL_SWIM_ID_CLASH,  /* another name with the same hash: refuse */
    CL_SWIM_IS_SELF,   /* it is us; not an error, the seed list names us too */
    CL_SWIM_NO_ROOM    /* the limit of members: refuse */
};
struct cl_swim_claim {
    uint64_t id, epoch;
    struct pr_slice name;
    struct pr_addr addr; /* that it wants to be reached at */
};
enum cl_swim_verdict cl_swim_admit(struct cl_swim *s, cl_ms now, const struct cl_swim_claim *claim,
                                   struct pr_addr *holder);

/* Each of these raises inc if something changed. set_meta leaves ready and draining alone; texts
 * are copied. CL_ERANGE: outside of the bounds, nothing changed. The caller sees to it that it does
 * not change all the time: every change goes to every node. */
CL_MUST_CHECK int cl_swim_set_meta(struct cl_swim *s, cl_ms now, const struct pr_meta *meta);
/* Our address, learned later than at the start or changed. Until there is one, nobody is told of
 * us, so it must come before cl_swim_ready. None is ignored. */
void cl_swim_set_addr(struct cl_swim *s, cl_ms now, const struct pr_addr *addr);
void cl_swim_ready(struct cl_swim *s, cl_ms now);
void cl_swim_drain(struct cl_swim *s, cl_ms now, bool draining);
/* Says LEFT to all. cl_swim_gone tells when the lesser of 3 and all linked members have confirmed;
 * the object takes no new members and refutes nothing from then on. */
void cl_swim_leave(struct cl_swim *s, cl_ms now);
bool cl_swim_gone(const struct cl_swim *s);
/* Hash of the owner's view: goes into ACKs, and another one in theirs starts push/pull. */
void cl_swim_set_view(struct cl_swim *s, uint64_t view);

/* ---- out ---- */

enum cl_swim_action_type {
    CL_SWIM_A_MEMBER = 1, /* id, old, now, old_epoch, member, reason, who: state, life or meta
                             changed since the last one of this id, also of ourselves; several
                             changes are one */
    CL_SWIM_A_UDP,        /* addr, bytes */
    CL_SWIM_A_LINK,       /* id, bytes: whole frames for the link */
    CL_SWIM_A_DIAL,       /* id, addr: has no link; again at least every CL_SWIM_REDIAL_MS. For a
                             DEAD one a single try is meant */
    CL_SWIM_A_CLOSE,      /* id, reason: end the link */
    CL_SWIM_A_EPOCH,      /* epoch: ours had to be raised over a former life's (the clock went
                             back): close all links, new HELLOs say the new one */
    CL_SWIM_A_FATAL       /* reason, addr: another node with our name lives there; we must end */
};
struct cl_swim_action {
    enum cl_swim_action_type type;
    uint64_t id;
    uint64_t epoch;
    uint64_t old_epoch;
    enum cl_swim_state old, now; /* now NONE: forgotten, its index may be used again */
    const struct cl_swim_member *member;
    struct pr_addr addr;
    struct pr_slice bytes;
    const char *reason; /* static */
    uint64_t who;       /* id of who said so; own id: we found it ourselves; 0: nobody */
};
/*
 * False: nothing is left. Pointers and slices stay valid until the next call of anything here.
 * MEMBER, CLOSE, EPOCH and FATAL are never lost. Of UDP packets CL_SWIM_QUEUE wait at most; beyond,
 * new ones are dropped and counted, as the network might do.
 */
#define CL_SWIM_QUEUE 1024u
bool cl_swim_next(struct cl_swim *s, struct cl_swim_action *out);

/* ---- questions ---- */

/* The process stood still for CL_SWIM_STALL_MS and has not yet heard from a peer since: what it
 * believes may be long over. False for a node that is alone. */
bool cl_swim_unsure(const struct cl_swim *s);
uint64_t cl_swim_epoch(const struct cl_swim *s); /* own */
/* ALIVE or SUSPECT, with ourselves. */
uint32_t cl_swim_live(const struct cl_swim *s);
/* NULL if not known. */
const struct cl_swim_member *cl_swim_find(struct cl_swim *s, uint64_t id);
/* Input of the ring, by rising id; out has room for CL_NODES_MAX. Says how many. */
uint32_t cl_swim_members(const struct cl_swim *s, struct cl_ring_member *out);
/* By rising id, ourselves included. */
typedef void (*cl_swim_fn)(void *ctx, const struct cl_swim_member *m);
void cl_swim_each(const struct cl_swim *s, cl_swim_fn emit, void *ctx);

/* Counters are monotonic; the last row is as of now. */
struct cl_swim_stats {
    uint64_t packets_in, packets_out, bytes_out, damaged, other_cluster, other_proto;
    uint64_t probes, probes_failed, acks_direct, acks_helped, acks_link; /* link alone: UDP lost */
    uint64_t suspected, deaths, refuted, vetoed, syncs_in, syncs_out, stalls;
    uint64_t dropped; /* packets over CL_SWIM_QUEUE */
    uint64_t no_room; /* facts about members over the limit */
    uint64_t clashes; /* facts with another name for a known id */
    uint32_t members, live, linked, queued, health;
};
void cl_swim_stats(const struct cl_swim *s, struct cl_swim_stats *out);
/* Own invariants, for tests; *what names the broken one. */
bool cl_swim_check(const struct cl_swim *s, const char **what);

#endif
