/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_in.h - the inside of core.h. Nobody but these includes it: core.c (the step), local.c (own
 * edges), links.c and members.c (other nodes), view.c (who owns what), follow.c (topics owned
 * elsewhere), serve.c (followers of topics owned here), order.c and confirm.c (publishes), spread.c
 * (presence over nodes), inspect.c (read-only questions).
 *
 * Whatever must be told to another node again, after its link came up or a partition moved, is told
 * by one sweep over the topics in bounded portions (view.c), so that no step does unbounded work.
 */
#ifndef CLUSTER_CORE_IN_H
#define CLUSTER_CORE_IN_H

#include "cluster/core.h"
#include "cluster/flight.h"
#include "cluster/origin.h"
#include "cluster/out.h"
#include "cluster/presence.h"
#include "cluster/ring.h"
#include "cluster/swim.h"
#include "cluster/topic.h"

/*
 * A new owner process orders nothing before its edges have told their subscriptions again, but
 * waits no longer than this, in ms. Edges reconnect within 20 ms x 2^k; 1 s is what the restart of
 * a crashed edge may take. Lower: the first messages miss slow edges.
 */
#define CL_OPEN_MS 1000u
/*
 * A partition that came to this node is not ordered before every linked node has told its
 * subscriptions under the same view, but no later than this after the view was adopted, in ms.
 * Nodes adopt a view within a few rounds of gossip (100 ms each). Lower: the first messages miss
 * nodes that are behind. Higher: one node that hangs holds the others' messages for longer.
 */
#define CL_FLUSH_MS 1000u
/* A node follows the new owners no later than this after it adopted a view, in ms, even if some
 * node has not said that it stopped ordering: less than CL_FLUSH_MS, so that owners see it. */
#define CL_BARRIER_MS 500u
/* A node with peers looks for them this long before it goes on alone, in ms: three dials. */
#define CL_JOIN_MS 3000u
/* It has found them when their list has not changed for this long, in ms: some rounds of gossip. */
#define CL_JOIN_QUIET_MS 300u
/* Presence is shown no later than this after the start, in ms, even if an owner has not answered:
 * the others keep what they have seen of this node's edges for as long. */
#define CL_SYNC_MS 3000u
/* A node without a link is waited for so long, in ms, and so long for what it follows once it is
 * linked: less than what a client waits for, more than its owner process needs to be started again,
 * and than it needs to hear its edges. */
#define CL_AWAY_MS 2000u
/* A publish that came to a wrong node is sent again after this long, in ms: a round of gossip. */
#define CL_AGAIN_MS 100u
/* Nodes compare what they hold of presence this often, in ms. */
#define CL_SUM_MS 10000u
/* So many sums that differ are passed over at most before all is asked for once more: what does not
 * fit here differs for ever. */
#define CL_SUM_PAUSE_MAX 64u
/* A node that leaves owns nothing for this long before it is gone, in ms: the flush of a view. */
#define CL_LEAVE_MS (CL_FLUSH_MS + 200u)
/* A frame with all that is known of all members, in bytes. */
#define CL_SYNC_BYTES ((size_t)CL_NODES_MAX * PR_FACT_MAX + CL_FRAME_SMALL)
/* Parked publishes that one step orders, and topics that one step looks at: bounds its work. */
#define CL_UNPARK_MAX 64u
#define CL_SWEEP_MAX  256u
/* Bytes after which a sweep ends its portion. */
#define CL_SWEEP_BYTES ((size_t)256 * 1024)
/* Upper bound of an encoded frame without its texts and payload: head, array, 13 numbers, in bytes.
 */
#define CL_FRAME_SMALL ((size_t)160)

#define CL_SELF   0u           /* index of this node */
#define CL_NOBODY CL_NODES_MAX /* no node */

/* An edge process of this node. Its boot outlives its connection: it may come back. */
struct edge {
    bool up;
    bool attached;  /* has told all its subscriptions and presences */
    uint64_t again; /* its publishes are passed over until it echoes this; 0: none */
    uint64_t boot;
};

/* Sums that differ are passed over before anything is done about them again; doubles each time. */
struct patience {
    uint32_t pause, passed;
};

/* Items of cl.unconfirmed, the oldest first. */
struct unconfirmed_list {
    uint32_t head, tail;
};

/* A node; this one is the first. */
struct node {
    uint64_t id; /* 0: the index is free */
    uint64_t epoch;
    bool linked;
    bool member;          /* neither dead nor gone, as membership tells */
    bool actors_told;     /* by us, on this link */
    uint64_t view;        /* last VIEW on this link: what it ordered before is ahead of it */
    uint64_t view_when;   /* how many views were adopted here when it came */
    uint64_t view_told;   /* our last VIEW on this link, by this view; 0: it is due */
    uint64_t subs;        /* last SUB_ALL on this link: it follows by this view */
    uint64_t subs_told;   /* our last SUB_ALL on this link, by this view */
    uint64_t told;        /* how many views were adopted here when it had told all it follows */
    cl_ms away_until;     /* valid while it is in cl.away */
    bool hole;            /* something that it missed was not kept */
    cl_ms actors_until;   /* its owner process is new: boots are of the one before until then */
    bool sum_due;         /* it asked for all that it should have of us; the sum ends the answer */
    bool sum_asked;       /* we did */
    uint32_t sum_differs; /* kinds of sums that differed at the last comparison */
    uint32_t sum_same;    /* kinds that were the same in this round */
    struct patience sum_ask, sum_retell;
    struct flight flight;
    uint64_t taken, taken_told; /* its last mark on this link; as we told it last */
    cl_ms taken_at;             /* when to tell, while they differ */
    uint32_t nboots;
    uint64_t boot[CL_EDGES_MAX]; /* of the edges attached there */
};

/* Who sent a publish. */
struct source {
    uint32_t node; /* CL_SELF: edge `edge` of this node */
    uint32_t edge;
};

/* A publish that waits until its partition opens. One block with its frame. */
struct parked {
    struct parked *next;
    struct source from;
    uint64_t boot;
    uint32_t part;
    size_t n;
    uint8_t frame[];
};

/* A queued action; while bytes.n > 0 and bytes.p is NULL, the bytes start at `at` in out. */
struct queued {
    struct cl_action act;
    size_t at;
};

struct cl {
    struct cl_limits lim;
    const struct cl_alloc *mem; /* borrowed */
    struct cl_rand rand;
    struct pr_epoch epoch;
    uint32_t edges_expected;
    cl_ms now; /* of the last step */
    cl_ms start;
    bool edges_ready;      /* all expected edges are attached, or CL_OPEN_MS are over */
    bool open;             /* presence is shown: this node knows what there is */
    uint64_t up, attached; /* bitmaps of edge indices */
    uint32_t n_attached;
    struct edge edge[CL_EDGES_MAX];

    struct cl_swim *swim; /* owned; NULL: no peers */
    bool joined;
    bool leaving;
    bool left;        /* it has said so */
    cl_ms leave_at;   /* when it says so; until then others take over what it owns */
    cl_ms changed_at; /* last news of membership */
    cl_ms actors_at;  /* least actors_until of a node; UINT64_MAX: none */
    uint32_t n_nodes; /* indices in use are below */
    struct node node[CL_NODES_MAX];

    struct cl_ring ring, next; /* `next` is scratch */
    cl_ms view_at;             /* when it was adopted */
    bool flushing;             /* partitions that came wait for followers: `closed` */
    uint32_t n_closed;
    bool reader_due;
    uint16_t route[CL_PARTITIONS]; /* index of the owner, CL_NOBODY: none */
    bool closed[CL_PARTITIONS];
    uint64_t came[CL_PARTITIONS]; /* how many views were adopted when it came here last */
    uint16_t parked_in[CL_PARTITIONS];

    uint64_t again_gen;
    cl_ms again_at; /* UINT64_MAX: nothing to be sent again */
    bool sweeping;
    uint32_t sweep_at;  /* next topic of the sweep */
    uint32_t n_pending; /* topics whose owner has not answered */
    cl_ms sum_at;

    struct cl_topics topics;
    struct cl_pool unconfirmed; /* confirm.h */
    struct unconfirmed_list waiting, failed;
    cl_ms blind_until;   /* a timeout was not remembered: which repeats had one is not known */
    cl_ms taken_at;      /* least of the nodes' */
    bool mark_due;       /* some link is to get a mark */
    struct cl_bits away; /* nodes whose link ended, that have not told again what they follow */
    cl_ms away_at;       /* not above the least away_until of these */
    struct cl_origins origins;
    struct cl_pres *pres; /* owned */
    struct cl_out out;
    struct parked *park_head, *park_tail;
    size_t park_bytes;
    struct cl_stats stats;
};

/* core.c */
/* Pushes what the writer holds as one action for `edges`. Room was reserved. */
void cl_push_send(struct cl *cl, uint64_t edges, const struct pr_outbuf *w);
/* The same to other nodes. */
void cl_push_links(struct cl *cl, const struct cl_bits *nodes, const struct pr_outbuf *w);
void cl_push_link(struct cl *cl, uint32_t node, const struct pr_outbuf *w);
struct cl_action *cl_push_action(struct cl *cl, enum cl_action_type type);
struct cl_action *cl_push_bytes(struct cl *cl, enum cl_action_type type, const struct pr_outbuf *w);
/* Reserves, copies a frame as it is, pushes. 0, CL_ENOMEM or CL_EAGAIN. */
CL_MUST_CHECK int cl_pass_link(struct cl *cl, uint32_t node, struct pr_slice frame);

/* local.c */
CL_MUST_CHECK int cl_local_up(struct cl *cl, uint32_t i, uint64_t boot);
CL_MUST_CHECK int cl_local_down(struct cl *cl, uint32_t i);
CL_MUST_CHECK int cl_local_in(struct cl *cl, uint32_t i, const struct pr_frame *f);
/* What time and room allow: edges are ready, publishes are asked again; presence is shown. */
void cl_local_ready(struct cl *cl);
void cl_local_go_on(struct cl *cl);
cl_ms cl_local_deadline(const struct cl *cl);
/* The edges send all unconfirmed publishes again, in `ms` from now. */
void cl_local_again(struct cl *cl, uint32_t ms);
/* Answers the edges that wait for the topic's owner. 0, CL_ENOMEM or CL_EAGAIN. */
CL_MUST_CHECK int cl_local_answer(struct cl *cl, struct cl_topic *topic, bool refused);
/* local_presence.c: frames P_*; diffs that are due; questions for a state that is complete now. */
CL_MUST_CHECK int cl_local_presence(struct cl *cl, uint32_t i, const struct pr_frame *f);
void cl_local_diffs(struct cl *cl);
CL_MUST_CHECK int cl_local_views(struct cl *cl, struct cl_topic *topic);
/* Bit of the attached edge with this boot, 0 if there is none. */
uint64_t cl_local_bit(const struct cl *cl, uint64_t boot);

/* links.c */
CL_MUST_CHECK int cl_links_up(struct cl *cl, const struct cl_event *ev);
CL_MUST_CHECK int cl_links_down(struct cl *cl, const struct cl_event *ev);
CL_MUST_CHECK int cl_links_in(struct cl *cl, const struct cl_event *ev);
/* This node's edges changed: every link is to have ACTORS anew. */
void cl_links_actors_due(struct cl *cl);
/* ACTORS to every link that has not had it; the boots of lives that are over. */
void cl_links_go_on(struct cl *cl);
/* All edges of a node are gone. */
void cl_links_forget_boots(struct cl *cl, struct node *n);
/* What waited of an edge process that is gone meanwhile was ordered, and is counted again since:
 * nobody else forgets it. */
void cl_links_forget_strays(struct cl *cl);
/* The peer sent what it may not. */
void cl_links_close(struct cl *cl, uint32_t node, const char *reason);
/* Index of the node with this id, made if there is room; CL_NOBODY. */
uint32_t cl_links_node(struct cl *cl, uint64_t id);
/* The node that has this actor, CL_NOBODY. */
uint32_t cl_links_home(const struct cl *cl, uint64_t boot);

/* members.c */
/* Takes what membership wants to say or has learned. */
void cl_members_go_on(struct cl *cl);

/* view.c */
/* The first view of a node without peers, or of nobody. */
void cl_view_init(struct cl *cl);
/* Membership has changed: adopts another view if there is one. */
void cl_view_look(struct cl *cl);
/* A link came up or ended: what is followed there must be told. */
void cl_view_retell(struct cl *cl, uint32_t node);
/* Looks at all topics again, for what is due to be told. */
void cl_view_sweep(struct cl *cl);
void cl_view_go_on(struct cl *cl);
/* A linked node has adopted this node's view. */
bool cl_view_same(const struct cl *cl, uint32_t node);
/* A node has said VIEW. */
void cl_view_heard(struct cl *cl, uint32_t node, uint64_t view);
/* Every linked node has adopted this node's view. */
bool cl_view_agreed(const struct cl *cl);
/* Presence of topics that this node neither owns nor has members for. */
void cl_view_forget_presence(struct cl *cl);
cl_ms cl_view_deadline(const struct cl *cl);

/* follow.c */
void cl_follow_set(struct cl *cl, struct cl_topic *topic, enum cl_follow state);
/* The topic is to be owned here. */
void cl_follow_stop(struct cl *cl, struct cl_topic *topic);
/* It is owned here and open: nothing of an owner before comes any more. */
void cl_follow_opened(const struct cl *cl, struct cl_topic *topic);
/* An edge has had the topic's events before, of an owner process before this one. What came since
 * is wanted, by the edge that has least: the others pass over what they have. */
void cl_follow_since(struct cl *cl, struct cl_topic *topic, const struct pr_sub *sub);
/* Some owner was followed for it. */
bool cl_follows(const struct cl_topic *topic);
CL_MUST_CHECK int cl_follow_sweep(struct cl *cl, struct cl_topic *topic);
/* An edge's subscription to a topic owned elsewhere is new or has another wish. */
CL_MUST_CHECK int cl_follow_want(struct cl *cl, struct cl_topic *topic);
/* An edge's subscription has ended. */
CL_MUST_CHECK int cl_follow_unwant(struct cl *cl, struct cl_topic *topic);
CL_MUST_CHECK int cl_follow_sub_ok(struct cl *cl, uint32_t from, const struct pr_sub_ok *ok);
CL_MUST_CHECK int cl_follow_event(struct cl *cl, uint32_t from, const struct pr_event *ev);
void cl_follow_resync(struct cl *cl, uint32_t from, const struct pr_resync *m);

/* serve.c */
CL_MUST_CHECK int cl_serve_sub(struct cl *cl, uint32_t from, const struct pr_sub *sub);
void cl_serve_unsub(struct cl *cl, uint32_t from, const struct pr_unsub *unsub);
CL_MUST_CHECK int cl_serve_resync(struct cl *cl, uint32_t from, const struct pr_resync *m);
/* Answers the nodes that wait for the partition to open. 0, CL_ENOMEM or CL_EAGAIN. */
CL_MUST_CHECK int cl_serve_owed(struct cl *cl, struct cl_topic *topic);
/* A link has ended: its node gets nothing here. If it may come back, what it follows is remembered
 * until cl_serve_back. */
void cl_serve_gone(struct cl *cl, uint32_t node, bool may_return);
void cl_serve_back(struct cl *cl, uint32_t node);
/* It tells all its subscriptions again; it has, and what it did not tell is over. */
void cl_serve_doubt(struct cl *cl, uint32_t node);
void cl_serve_sure(struct cl *cl, uint32_t node);
/* Another node owns the topic from now on. */
void cl_serve_moved(struct cl *cl, struct cl_topic *topic);
/* It has said SUB_ALL for this node's view. */
void cl_serve_settled(struct cl *cl, uint32_t node);

/* away.c */
/* The link of a member has ended. */
void cl_away_begin(struct cl *cl, uint32_t node);
/* It is up again: it is to tell what it follows. */
void cl_away_linked(struct cl *cl, uint32_t node);
/* A node has told all that it follows, by this node's view. */
void cl_away_told(struct cl *cl, uint32_t node);
/* It is dead: nothing is waited for. */
void cl_away_over(struct cl *cl, uint32_t node);
/* Nodes that are away and follow the topic, or may, for a publish with these flags; it has a part
 * for other nodes. */
void cl_away_wanted(const struct cl *cl, const struct cl_topic *topic, uint32_t flags,
                    struct cl_bits *out);
/* Those that were away for too long. */
void cl_away_go_on(struct cl *cl);

/* order.c */
/* A PUB, decoded and checked. 0, CL_ENOMEM, CL_EAGAIN. */
CL_MUST_CHECK int cl_order_pub(struct cl *cl, struct source from, const struct pr_frame *f,
                               const struct pr_pub *pub);
/* All publishes of this edge that are not confirmed come again from here on. */
void cl_order_anew(struct cl *cl, uint64_t boot);
/* The link to this node has ended: what it sent is not ordered any more, its edges send it again.
 */
void cl_order_gone(struct cl *cl, uint32_t node);
/* Orders what was parked, as far as room goes; never fails. */
void cl_order_parked(struct cl *cl);
bool cl_order_ready(const struct cl *cl);
/* Tells the publisher's edge, if it is still there. Room for one frame was reserved. */
void cl_order_answer(struct cl *cl, struct source from, const struct pr_pub *pub, uint32_t result);
void cl_order_deinit(struct cl *cl);

/* spread.c */
/* A delta of an own edge, or of another node. 0 or an error, unchanged. */
CL_MUST_CHECK int cl_spread_local(struct cl *cl, uint32_t edge, const struct pr_frame *f,
                                  const struct pr_p_delta *d);
CL_MUST_CHECK int cl_spread_link(struct cl *cl, uint32_t from, const struct pr_frame *f,
                                 const struct pr_p_delta *d);
CL_MUST_CHECK int cl_spread_pull(struct cl *cl, uint32_t from, const struct pr_p_pull *pull);
/* What own edges have in the topic, or no longer have, to its owner. */
CL_MUST_CHECK int cl_spread_own(struct cl *cl, uint32_t node, const struct cl_topic *topic);
/* All that is known of the topic, to a node that follows it here. */
CL_MUST_CHECK int cl_spread_state(struct cl *cl, uint32_t node, const struct cl_topic *topic);
/* Compares with the other nodes now and then. */
void cl_spread_sums(struct cl *cl);
CL_MUST_CHECK int cl_spread_on_sum(struct cl *cl, uint32_t from, const struct pr_p_sum *sum);

#endif
