/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.h - the cluster side of one `owner` process: a step function.
 *
 * Feed it one event and the time with cl_step(), then take actions with cl_next_action() until
 * none is left. It owns no socket, clock, file, random source or global; the same object runs in
 * production (node/owner) and in the simulation (tests/sim).
 *
 * Without peers (cl_config.clustered is false) every partition is owned here from the start. With
 * them the members' list decides (swim.h, ring.h), and the same object serves three sides: its own
 * edges, the nodes that own the topics these edges follow, and the nodes that follow topics owned
 * here. What edges see is the same in all cases.
 */
#ifndef CLUSTER_CORE_H
#define CLUSTER_CORE_H

#include "proto/addr.h"
#include "proto/bytes.h"
#include "proto/mesh.h"

#define CL_MUST_CHECK __attribute__((warn_unused_result))

enum cl_err {
    CL_OK = 0,
    CL_ENOMEM = -1, /* the allocator refused, or a limit is reached; nothing changed */
    CL_EAGAIN = -2, /* take the waiting actions first */
    CL_EPROTO = -3, /* the peer sent what it may not; it is cut by an action */
    CL_ENOENT = -4,
    CL_EEXIST = -5,
    CL_ERANGE = -6
};

typedef uint64_t cl_ms; /* monotonic milliseconds of the caller; never goes back */

/*
 * Nodes of one cluster; node 0 of an `owner` process is itself. Bitmaps and tables are sized by it.
 * Every node links to every other, so a cluster near this size wants another shape anyway.
 */
#define CL_NODES_MAX 256u

/* xoshiro256**, seeded by the caller: the only source of chance. */
struct cl_rand {
    uint64_t s[4];
};

/* The only way to memory. get may return NULL: then the call fails with CL_ENOMEM, unchanged. */
struct cl_alloc {
    void *(*get)(void *ctx, size_t n);
    void (*put)(void *ctx, void *p, size_t n);
    void *ctx;
};

/* Every table is bounded by one of these; 0 is an error. */
struct cl_limits {
    uint32_t edges;     /* edge processes of this node, at most 64 */
    uint32_t topics;    /* topics with subscribers here */
    uint32_t presences; /* entries held */
    uint32_t presences_per_topic;
    uint32_t presence_bytes; /* keys and metas held */
    uint32_t pending_bytes;  /* publishes parked while edges attach or a partition moves */
    uint32_t kept_bytes;     /* events kept for nodes that missed some */
    uint32_t actions;        /* queued actions; beyond, cl_step answers CL_EAGAIN */
};

/* Of this node, for the others; kept by them as they are told. */
struct cl_about {
    struct pr_addr addr; /* where the others reach this node */
    uint64_t cluster;    /* hash of the cluster's name: of other ones nothing is taken */
    uint32_t weight;     /* 1 .. 1000, share of the partitions */
    struct pr_slice build, url, zone;
};

struct cl_config {
    struct pr_slice name;        /* of the node */
    uint64_t id;                 /* cl_hash64("node" || name) */
    uint64_t epoch;              /* of this process life: unix ms << 12 | 12 random bits */
    uint32_t edges;              /* edge processes expected to attach; publishes wait for them */
    bool clustered;              /* there may be other nodes */
    struct cl_about about;       /* if clustered */
    const struct cl_limits *lim; /* borrowed for the object's life */
    const struct cl_alloc *mem;  /* borrowed for the object's life */
};

enum cl_event_type {
    CL_EV_TICK = 1,
    CL_EV_EDGE_UP,   /* edge, boot: HELLO was answered on a new connection */
    CL_EV_EDGE_DOWN, /* edge: its connection ended */
    CL_EV_EDGE_IN,   /* edge, frame */
    CL_EV_UDP_IN,    /* addr, bytes: a datagram whose seal was good */
    CL_EV_LINK_UP,   /* id, epoch, name, addr: both sides have said HELLO; at most one per id */
    CL_EV_LINK_DOWN, /* id, how */
    CL_EV_LINK_IN,   /* id, frame */
    CL_EV_LEAVE      /* tells the others that this node ends */
};

/* How a link ended, or that none came to be. */
enum cl_how {
    CL_HOW_EOF = 1,
    CL_HOW_REFUSED,
    CL_HOW_TIMEOUT,
    CL_HOW_PROTO,
    CL_HOW_LOCAL /* closed by this side */
};

struct cl_event {
    enum cl_event_type type;
    uint32_t edge; /* index of the edge process, 0 .. edges-1 */
    uint64_t boot;
    uint64_t id, epoch; /* of another node */
    struct pr_slice name;
    struct pr_addr addr;
    enum cl_how how;
    struct pr_slice bytes;
    const struct pr_frame *frame; /* borrowed for the call */
};

/* A set of node indices. */
struct cl_bits {
    uint64_t w[CL_NODES_MAX / 64];
};

enum cl_action_type {
    CL_ACT_EDGE_SEND = 1, /* bytes to every edge in `edges`; more may share the bytes */
    CL_ACT_EDGE_CUT,      /* close the connection of `edge`; reason is a static text */
    CL_ACT_UDP_SEND,      /* bytes, addr: may be lost */
    CL_ACT_DIAL,          /* id, addr: there should be a link */
    CL_ACT_LINK_SEND,     /* bytes to every node in `nodes` (indices, see cl_node_id) */
    CL_ACT_LINK_CLOSE,    /* id, reason */
    CL_ACT_MEMBER,        /* id, state, reason, who: for the log and `events` */
    CL_ACT_READER,        /* the members are others: so may be who reads, cl_reader */
    CL_ACT_ACTORS,        /* id, boots: the edge processes attached at that node */
    CL_ACT_EPOCH,         /* id: this node's epoch from now on; all links are to be made anew */
    CL_ACT_FATAL          /* reason, addr: this process may not go on */
};

struct cl_action {
    enum cl_action_type type;
    uint64_t edges; /* bitmap of edge indices */
    uint32_t edge;
    struct cl_bits nodes;
    uint64_t id;
    struct pr_addr addr;
    struct pr_slice bytes; /* valid until the next cl_step; ACTORS: its frame */
    const char *reason;
    const char *state; /* MEMBER: its name from now on, or "forgotten" */
    uint64_t who;      /* MEMBER: id of who said so; 0: nobody */
};

/* What cl_inspect tells, one call of `emit` per row. */
struct cl_topic_row {
    struct pr_slice topic; /* key */
    uint32_t part;
    struct pr_epoch epoch;
    uint64_t seq;
    uint32_t edges; /* subscribed */
    uint32_t nodes; /* other nodes that follow it here */
    uint64_t owner; /* id of its node; 0: not known yet */
    uint32_t presences;
    uint64_t repeats, lost;
};
/* A node, as this one sees it. */
struct cl_member_row {
    uint64_t id, epoch;
    struct pr_slice name, build, url, zone;
    struct pr_addr addr;
    const char *state; /* alive, suspect, dead, left, leaving, joining */
    uint32_t inc, weight, edges, partitions;
    uint32_t rtt_ms;     /* UINT32_MAX: not known */
    uint32_t udp_missed; /* probes in a row that were answered, but not by its own datagram */
    uint32_t health;     /* of this node itself; 0 is best */
    uint32_t confirms, confirms_of;
    cl_ms since, dead_at; /* of the state; when a suspect becomes dead */
    uint64_t view;        /* hash of the view it has told; of this node: its own */
    bool self, linked;
};
struct cl_presence_row {
    struct pr_slice topic, key, meta;
    uint64_t actor, n;
    bool visible;
};
typedef void (*cl_topic_fn)(void *ctx, const struct cl_topic_row *row);
typedef void (*cl_presence_fn)(void *ctx, const struct cl_presence_row *row);
typedef void (*cl_member_fn)(void *ctx, const struct cl_member_row *row);

struct cl;

/* Gives a new object, NULL if memory is refused. Borrows cfg->name only during the call. */
struct cl *cl_new(const struct cl_config *cfg, struct cl_rand rand, cl_ms now);
void cl_free(struct cl *cl);

/*
 * 0 or an enum cl_err; after an error nothing has changed (but the cut of a bad peer is queued).
 * CL_ENOMEM and CL_EAGAIN for CL_EV_EDGE_IN and CL_EV_LINK_IN: the frame was not taken. Give it
 * again, after taking the actions, or close that connection; leaving it out would break the order.
 * CL_ENOENT: of an edge or link that is not up. CL_ERANGE: an edge index over the limit.
 */
CL_MUST_CHECK int cl_step(struct cl *cl, cl_ms now, const struct cl_event *ev);
/* False: none left. Spans in *out stay valid until the next cl_step. */
bool cl_next_action(struct cl *cl, struct cl_action *out);
/* When CL_EV_TICK is next due; UINT64_MAX if never. */
cl_ms cl_deadline(const struct cl *cl);

/* Index of a node known here, CL_NODES_MAX if it is not; and back, 0 for a free index. An index
 * stays with its node as long as it has a link or is a member. */
uint32_t cl_node_index(const struct cl *cl, uint64_t id);
uint64_t cl_node_id(const struct cl *cl, uint32_t index);
/* Of the view adopted: its hash, 0 if none; the owner of a partition, 0 if none. */
uint64_t cl_view(const struct cl *cl);
uint64_t cl_owner_of(const struct cl *cl, uint32_t part);
/* Id of the node that is to read the changes of a project's database, 0: nobody. Elections of
 * different projects are independent, so that they spread over the nodes. */
uint64_t cl_reader(const struct cl *cl, struct pr_slice project);
/* Up to k nodes by rank for a partition, the owner first; says how many. */
uint32_t cl_rank_of(const struct cl *cl, uint32_t part, uint64_t *ids, uint32_t k);
/* This node is a member and has found the others, or is alone. */
bool cl_joined(const struct cl *cl);
/* After CL_EV_LEAVE: the others know; the process may end. */
bool cl_gone(const struct cl *cl);

/* May a node with this HELLO have a link? See enum cl_swim_verdict of swim.h. */
struct cl_claim {
    uint64_t id, epoch;
    struct pr_slice name;
    struct pr_addr addr; /* that it wants to be reached at */
};
enum cl_verdict {
    CL_ADMIT = 1,
    CL_WAIT,      /* the holder of its name is asked; the same question again in 100 ms */
    CL_NAME_USED, /* *holder has answered */
    CL_ID_CLASH,  /* another name with the same hash */
    CL_IS_SELF,
    CL_NO_ROOM
};
enum cl_verdict cl_admit(struct cl *cl, cl_ms now, const struct cl_claim *claim,
                         struct pr_addr *holder);

void cl_inspect_members(const struct cl *cl, cl_member_fn emit, void *ctx);
void cl_inspect_topics(const struct cl *cl, cl_topic_fn emit, void *ctx);
/* One topic, if this node has it. */
void cl_inspect_topic(const struct cl *cl, struct pr_slice topic, cl_topic_fn emit, void *ctx);
/* Id of the node where the edge process with this boot is attached, 0 if that is not known. */
uint64_t cl_home_of(const struct cl *cl, uint64_t boot);
void cl_inspect_presence(const struct cl *cl, struct pr_slice topic, cl_presence_fn emit,
                         void *ctx);
/* Own invariants: each step in simulation, never in production. *what names the broken one. */
bool cl_check(const struct cl *cl, const char **what);

/* Counters for metrics; monotonic. */
struct cl_stats {
    uint64_t published, events, repeats, parked, pub_full, presence_puts, presence_dels, diffs;
    uint64_t topics, presences; /* now */
    uint64_t sub_refused;       /* SUBs answered by an epoch of zeros: cl_limits.topics */
    uint64_t forwarded;         /* publishes passed on to the owner of their topic */
    uint64_t not_owner;         /* publishes of other nodes that were not for this one */
    uint64_t again;             /* times the edges were asked to send again */
    uint64_t gaps, gap_lost;    /* holes in what other nodes sent; events that stayed missing */
    uint64_t replayed;          /* events sent again to nodes that missed them */
    uint64_t views;             /* adopted */
    uint64_t sums_differ;       /* presence that another node had otherwise */
    /* Probes of other members, and how they were answered: by the member's own datagram, by that of
     * a helper, on the link alone, not at all. */
    uint64_t probes, acks_direct, acks_helped, acks_link, probes_failed;
    uint64_t suspected, refuted;
};
void cl_stats(const struct cl *cl, struct cl_stats *out);

#endif
