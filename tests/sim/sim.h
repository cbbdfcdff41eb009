/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - the simulated world around real `struct cl` and `struct cle` objects: clocks, sockets,
 * processes, clients, faults, and the promises that are checked. One seed, one run, one hash.
 *
 *   sim.c        command line, event heap, main loop
 *   net.c        the Unix sockets of each node, and the shell of an edge around them
 *   node.c       the shell of an owner process: what goes into its core and what comes out
 *   links.c      the links between nodes: connections, their two lanes, their ends
 *   greet.c      who dials whom, and which of two connections stays
 *   udp.c        datagrams, addresses, seeds
 *   process.c    the life of processes and nodes
 *   shell.c      what an edge does with the actions of its struct cle: members, publishes, states
 *   scenarios.c  what a seed draws, and the work
 *   faults.c     the faults, the operator, healing
 * with checks.h:
 *   orders.c     promises about broadcast     presences.c  promises about presence
 *   acks.c       and about its answers        bounds.c     how much, and to whom
 *   kills.c      and about deaths of owner processes
 *   quiet.c      what must hold when all has settled
 *   peek.c       the little that no interface tells
 * with plan.h:
 *   case.c       a run as a file           shrink.c    less of a run that fails
 *
 * An edge is named by one number for the whole cluster: node * EDGES_MAX + its index there.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "cluster/core.h"
#include "cluster/edge.h"
#include "cluster/hash.h"
#include "cluster/trace.h"
#include "proto/mesh_node.h"
#include "tests/sim/plan.h"

#include <stdio.h>

#define ALL_EDGES   (NODES_MAX * EDGES_MAX)
#define TOPICS_MAX  50u
#define CLIENTS_MAX 200u
#define JOINS_MAX   3u   /* channels of one client */
#define LIVES_MAX   160u /* edge processes in one run, restarts included */
#define RUNS_MAX    96u  /* owner processes in one run */
#define SEEDS_MAX   NODES_MAX
#define NOBODY      UINT32_MAX

#define BACKOFF_MIN_MS 20u /* of an edge that dials its owner */

/* Memory of one object: counted, and refused 1 in `refuse_in` (0: never). */
struct heap {
    size_t bytes;
    uint32_t refuse_in;
    struct cl_rand rand;
    struct cl_alloc alloc;
};

enum item_kind {
    ITEM_HELLO = 1,
    ITEM_HELLO_OK,
    ITEM_FRAME,
    ITEM_EOF,
    ITEM_BYE, /* of a link: refused, with the reason as its one byte */
    ITEM_PING,
    ITEM_PONG
};
struct item {
    struct item *next;
    enum item_kind kind;
    size_t n;
    uint8_t bytes[];
};

/* One direction of a connection: FIFO; a heap event takes its first item. */
struct pipe {
    struct item *head, *tail;
    cl_ms last; /* arrival of the newest item */
    bool shut;  /* nothing is put in any more */
};
struct conn {
    uint32_t edge, edge_life, run; /* run: of the owner process */
    struct pipe up, down;          /* edge to owner, owner to edge */
};

/* One TCP connection between two nodes; end 0 has dialled. */
enum end_state {
    END_NONE = 0, /* has not heard of it */
    END_DIALLING, /* HELLO is under way */
    END_HELD,     /* it waits for what there is with that peer, or for a verdict */
    END_UP,
    END_GONE
};
struct link_end {
    enum end_state state;
    uint32_t node, run;
    uint64_t epoch;         /* that it has said */
    struct pr_addr addr;    /* where it is reached */
    struct pipe fast, data; /* what it has written */
    cl_ms heard, held_at, clock_at;
    bool asked; /* it waits for an answer on the older link */
};
struct link {
    struct link_end end[2];
    uint64_t want; /* id that was dialled; 0: a seed */
    bool mute;     /* half-open: not even an end of stream passes */
};
struct dial {
    uint32_t link; /* attempt in progress; NOBODY */
    bool wanted;   /* when the pause is over */
    uint32_t fails;
    cl_ms not_before;
    struct pr_addr addr;
};
/* What a node has with another one. */
struct peer {
    uint32_t link;       /* the one that is up; NOBODY */
    struct dial dial[2]; /* by its id; as a seed */
    bool owes_down;      /* the core has not been told that the link ended */
    enum cl_how how;
};

struct shown {
    uint64_t actor, n;
    uint32_t client, version;
};
/* A channel of a client. */
struct member {
    bool used, joined, presence;
    bool need_view, in_view, has_state;
    bool tracked;
    uint32_t topic, handle, version;
    uint32_t from;      /* length of its node's log at the join */
    uint32_t next;      /* index in that log up to which all is accounted for */
    int64_t last_index; /* of the last event it got */
    /* Places in the cluster's order of the topic; see orders.c. */
    uint32_t strict_from, strict_next; /* at the join; of the next one that must come */
    uint64_t missing, gap;             /* not got since the join; told by CLE_GAP since the join */
    uint64_t got;
    uint32_t last[LIVES_MAX];  /* number of the last publish got, by publishing edge process */
    uint64_t seq_of[RUNS_MAX]; /* the last one got that this owner process has ordered */
    struct shown *list;
    uint32_t nlist, room;
};
struct client {
    bool used;
    uint32_t edge;
    struct member m[JOINS_MAX];
};

struct pub {
    uint32_t topic, life, number; /* number: of this edge process in this topic, from 1 */
    uint32_t part;
    uint32_t first[NODES_MAX]; /* its place in each node's log at first; NOBODY: none */
    uint32_t place;            /* in the cluster's order; NOBODY: nobody has ordered it */
    uint64_t oseq;             /* 0: not sent yet */
    bool ack, answered, ordered;
    uint32_t result;
    uint32_t has, spilled; /* nodes that it came to; that it went to on a full link */
    uint32_t next_hash;
    cl_ms at; /* when it was made */
};
/* A publish as a node passed it to its edges; seq as these count. */
struct entry {
    uint32_t pub, run;
    uint64_t seq;
    uint32_t from_run; /* the owner process that ordered it, and its count */
    uint64_t from_seq;
    uint64_t emitted, dropped; /* edges of the node */
    bool stale;                /* ordered when its edge had given it up */
};
/* A publish in the order that an owner process gave it. */
struct ordered {
    uint32_t pub, run;
    uint64_t seq;       /* 0: nobody was subscribed */
    uint32_t followers; /* nodes that followed the process then */
    uint32_t away;      /* and those without a link that are waited for */
    uint64_t step;      /* of the run */
    bool done;          /* and it has said so */
};
struct node_topic {
    struct entry *log;
    uint32_t nlog, log_room;
    struct ordered *order;
    uint32_t norder, order_room;
    uint32_t follows; /* the owner process it takes events from; NOBODY: none */
    int64_t ahead;    /* how much its own count is ahead of that one's */
};
/* What another node had subscribed to when its link ended, as long as it has not told anew. */
struct away {
    uint64_t topics;
    cl_ms since;
    bool linked;  /* again */
    uint64_t all; /* view of its last SUB_ALL; 0: none on this link, or another VIEW came since */
    /* The step when the link came up, and what it has subscribed to on it since, going on from a
     * place before; behind what it follows, in the order of this owner process. */
    uint64_t up_step, back;
    uint64_t seq[TOPICS_MAX];
};
/* Publishes that an owner process has got, until they are ordered. */
struct took {
    uint32_t pub;
    uint32_t from; /* the node that passed it on; NOBODY: an own edge */
};
struct taken {
    struct took *at;
    uint32_t n, room;
};
struct topic {
    uint8_t key[32];
    size_t key_len;
    uint32_t numbers[LIVES_MAX];
    uint32_t places; /* given in the cluster's order */
};

struct edge_proc {
    bool used; /* the node has it */
    bool up;
    struct cle *c;
    struct heap mem;
    uint64_t boot;
    uint32_t life, conn; /* conn: NOBODY while none */
    bool linked;
    cl_ms stalled_until, backoff;
    uint64_t tick_at;
    struct shown *view; /* parts of the view under way */
    uint32_t nview, view_room;
    uint64_t refs[TOPICS_MAX], wants[TOPICS_MAX]; /* members, and those that want presence */
};

struct node_proc {
    bool member;  /* the operator wants it */
    bool up;      /* its owner process lives */
    bool dark;    /* its host is switched off: nothing answers */
    bool leaving; /* it was told to leave */
    struct cl *cl;
    struct heap mem;
    uint32_t run; /* of its owner process, counted over the cluster */
    uint32_t starts;
    uint32_t edges, weight;
    char name[16];
    uint64_t id, epoch, reader;
    struct pr_addr addr;
    uint32_t moves;  /* how often it came back with another address */
    cl_ms clock;     /* its monotonic clock is ahead of the world's by this */
    int64_t wall_ms; /* its wall clock is ahead by this */
    uint32_t conn[EDGES_MAX];
    cl_ms stalled_until;
    uint64_t tick_at;
    struct peer peer[NODES_MAX];
    struct node_topic topic[TOPICS_MAX];
    struct taken taken;
    uint64_t actors[NODES_MAX][EDGES_MAX]; /* boots, as last told of the other nodes */
    /* Topics that each has subscribed to on the connection there is. */
    uint64_t heard_edge[EDGES_MAX], heard_node[NODES_MAX];
    struct away away[NODES_MAX];
};

enum ev_kind {
    EV_UP = 1,  /* an item arrives at the owner; who: conn */
    EV_DOWN,    /* at an edge; who: conn */
    EV_CONNECT, /* who: edge; arg: life */
    EV_NODE_TICK,
    EV_EDGE_TICK,  /* who: edge */
    EV_NODE_START, /* who: node; arg: 1, its edges too */
    EV_EDGE_START, /* who: edge */
    EV_WORK,
    EV_FAULT,
    EV_UDP,        /* who: node; arg: pointer to a struct datagram */
    EV_LINK,       /* who: link; arg: end that wrote << 1 | fast */
    EV_LINK_CLOCK, /* who: link; arg: end */
    EV_LINK_DOWN,  /* the core is told; who: node; arg: peer */
    EV_DIAL,       /* who: node; arg: run << 32 | peer << 1 | seed */
    EV_SEEDS,      /* who: node; arg: run */
    EV_PART_ENDS,
    EV_WATCH /* what must hold at any time */
};
struct event {
    cl_ms at;
    uint64_t seq;
    enum ev_kind kind;
    uint32_t who;
    uint64_t arg;
};

struct sim {
    uint64_t seed, step, until;
    bool trace, failed;
    bool healing; /* no more faults */
    bool calm;    /* only work: nothing may be missed */
    cl_ms now;
    cl_ms faults_at; /* last change of what is broken */
    struct cl_rand rand;
    struct cl_rand fault_rand;
    struct plan plan;
    uint32_t struck; /* faults of the plan */
    bool given; /* the plan: by a case; else it is drawn, and its faults are kept as they strike */
    struct knobs k; /* in force: all of the plan's at first */
    struct cl_limits lim;
    struct event *heap;
    uint32_t nheap, heap_room;
    uint64_t seq;
    struct conn **conns;
    uint32_t nconns, conns_room;
    struct link **links;
    uint32_t nlinks, links_room;
    struct node_proc node[NODES_MAX];
    uint32_t runs;
    struct {
        uint32_t node;
        uint64_t boot; /* of its epoch */
    } run_of[RUNS_MAX];
    struct edge_proc edge[ALL_EDGES];
    uint64_t boot_of[LIVES_MAX];
    cl_ms dead_at[LIVES_MAX]; /* of edge processes; 0: lives */
    uint32_t lives;
    bool blocked[NODES_MAX][NODES_MAX]; /* nothing passes from, to */
    bool parted;                        /* some are blocked */
    struct client client[CLIENTS_MAX];
    uint32_t versions; /* of presences, so that no two have the same */
    struct topic topic[TOPICS_MAX];
    struct pub *pubs;
    uint32_t npubs, pubs_room;
    uint32_t pub_hash[4096];
    const struct cl_event *in; /* what the core in question was given last */
    uint64_t talk;             /* frames on links, without what is idle talk */
    uint64_t overflowed;       /* frames that a full link has dropped */
    struct cl_trace t;
    uint64_t joins, events, gaps, views, diffs, crashes, excused, late, partitions, links_up,
        fatals; /* what happened, for the reader */
    char why[256];
};

/* sim.c */
void sim_at(struct sim *s, cl_ms at, enum ev_kind kind, uint32_t who, uint64_t arg);
/* The run has failed: says what, and stops it. */
__attribute__((format(printf, 2, 3))) void sim_fail(struct sim *s, const char *fmt, ...);
uint64_t sim_below(struct sim *s, uint64_t n);
void *sim_grow(void *p, uint32_t used, uint32_t *room, size_t item);
/* The last line of the trace, of this node; NOBODY: it names its edge itself. */
void sim_line(struct sim *s, uint32_t node);
__attribute__((format(printf, 2, 3))) void sim_note(struct sim *s, const char *fmt, ...);
void sim_heap_init(struct sim *s, struct heap *h, uint64_t salt);

/* process.c */
void sim_node_start(struct sim *s, uint32_t n);
void sim_node_crash(struct sim *s, uint32_t n);
void sim_edge_start(struct sim *s, uint32_t e);
void sim_edge_crash(struct sim *s, uint32_t e);
/* All processes of a node start, and end. */
void sim_node_on(struct sim *s, uint32_t n);
void sim_node_off(struct sim *s, uint32_t n);
void sim_cut(struct sim *s, uint32_t e);
void sim_processes_free(struct sim *s);

/* net.c */
struct item *sim_item_new(enum item_kind kind, struct pr_slice bytes);
void sim_pipe_put(struct pipe *p, struct item *it);
struct item *sim_pipe_take(struct pipe *p);
bool sim_frame_of(struct pr_slice bytes, struct pr_frame *f);
/* Drops what is under way; the log learns what an edge will not get. */
void sim_drain(struct sim *s, struct conn *c, struct pipe *p);
/* The sender's side of a direction ends. */
void sim_end_pipe(struct sim *s, uint32_t conn, bool up);
void sim_to_edge(struct sim *s, uint32_t e, struct pr_slice frame);
void sim_connect(struct sim *s, uint32_t e);
/* The edge closes its link after refused memory, and dials again. */
void sim_edge_relink(struct sim *s, uint32_t e);
void sim_net_event(struct sim *s, const struct event *ev);
void sim_to_owner(struct sim *s, uint32_t e, struct pr_slice frame);
/* The owner's side of the connection of an edge ends. */
void sim_owner_close(struct sim *s, uint32_t e);
/* After each call into an object: actions, own check, next tick. */
void sim_after_edge(struct sim *s, uint32_t e);
/* A stalled process does nothing until it goes on; its sockets keep their order. */
bool sim_put_off(struct sim *s, const struct event *ev, cl_ms until);

/* node.c */
cl_ms sim_clock(const struct sim *s, uint32_t n);
void sim_node_step(struct sim *s, uint32_t n, const struct cl_event *ev);
void sim_after_node(struct sim *s, uint32_t n);
uint32_t sim_node_by_id(const struct sim *s, uint64_t id);
uint32_t sim_run_of(const struct sim *s, const struct pr_epoch *epoch);

/* links.c */
void sim_link_send(struct sim *s, uint32_t n, uint32_t peer, struct pr_slice frame);
void sim_link_put(struct sim *s, uint32_t link, uint32_t end, enum item_kind kind,
                  struct pr_slice bytes);
/* This end is done with it. `quiet`: the other end is not told, as if its host were gone. */
void sim_link_end(struct sim *s, uint32_t link, uint32_t end, enum cl_how how, bool quiet);
bool sim_link_end_alive(const struct sim *s, const struct link_end *e);
/* Both ends lose what is under way. */
void sim_link_cut(struct sim *s, uint32_t link);
/* When to look at this end again. */
void sim_link_clock(struct sim *s, uint32_t link, uint32_t end, cl_ms at);
void sim_links_of_dead(struct sim *s, uint32_t n, bool quiet);
void sim_link_event(struct sim *s, const struct event *ev);
/* Tells the core about the end of its link, if that is still owed. */
void sim_link_down_now(struct sim *s, uint32_t n, uint32_t peer);
void sim_links_free(struct sim *s);

/* greet.c */
void sim_dial(struct sim *s, uint32_t n, uint64_t id, const struct pr_addr *addr);
void sim_dial_due(struct sim *s, uint32_t n, uint32_t peer, bool seed);
/* A HELLO has come, or it is time to look again at one that waits. */
void sim_greet(struct sim *s, uint32_t link, uint32_t end);
/* The dialling end was refused. */
void sim_greet_bye(struct sim *s, uint32_t link, uint8_t why);
/* A dial ends without a link. `told`: its core hears of it. */
void sim_dial_over(struct sim *s, uint32_t link, enum cl_how how, bool told);

/* udp.c */
void sim_udp_send(struct sim *s, uint32_t n, const struct cl_action *a);
void sim_udp_arrive(struct sim *s, const struct event *ev);
void sim_udp_free(const struct event *ev);
struct pr_addr sim_addr(uint32_t node, uint32_t moves);
/* The node that lives there; NOBODY. */
uint32_t sim_node_at(const struct sim *s, const struct pr_addr *addr);
void sim_seeds(struct sim *s, uint32_t n);

/* shell.c */
void sim_edge_action(struct sim *s, uint32_t e, const struct cle_action *a,
                     const struct entry *entry, uint32_t index);
/* The event in its node's log, from the frame that edge `e` was given. */
struct entry *sim_entry_of(struct sim *s, uint32_t e, const struct pr_frame *f, uint32_t *index);
void sim_join(struct sim *s, uint32_t client, uint32_t topic, bool presence);
void sim_leave(struct sim *s, uint32_t client, uint32_t m);
void sim_publish(struct sim *s, uint32_t e, uint32_t topic, bool ack);
void sim_track(struct sim *s, uint32_t client, uint32_t m);
void sim_untrack(struct sim *s, uint32_t client, uint32_t m);
void sim_disconnect(struct sim *s, uint32_t client);
/* All clients of a dead edge process, without a word. */
void sim_clients_gone(struct sim *s, uint32_t e);
void sim_member_free(struct member *m);
bool sim_shown_of(const struct pr_pshown *from, struct shown *out);
uint32_t sim_topic_by_key(const struct sim *s, struct pr_slice key);

/* scenarios.c */
/* Draws from the seed, unless that was given by a case; the first nodes start. */
void sim_draw(struct sim *s);
void sim_work(struct sim *s);
uint32_t sim_between(struct sim *s, uint32_t lo, uint32_t hi);
bool sim_half(struct sim *s);
bool sim_edge_works(const struct sim *s, uint32_t e);
/* An edge of the cluster by chance; it may not work. NOBODY: no node is up. */
uint32_t sim_any_edge(struct sim *s);

/* faults.c */
void sim_fault(struct sim *s);
void sim_part_ends(struct sim *s);
/* A leaving node whose core says that it may go. */
void sim_leave_go_on(struct sim *s, uint32_t n);
void sim_heal(struct sim *s);

#endif
