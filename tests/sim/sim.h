/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - the simulated world around real `struct cl` and `struct cle` objects: clock, sockets,
 * processes, clients, faults, and the promises that are checked. One seed, one run, one hash.
 *
 *   sim.c        command line, event heap, main loop
 *   net.c        the Unix sockets, and the shells of owner and edges around them
 *   process.c    the life of processes
 *   shell.c      what an edge does with the actions of its struct cle: members, publishes, states
 *   scenarios.c  what a seed draws, the work and the faults
 *   checkers.c   the promises
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "cluster/core.h"
#include "cluster/edge.h"
#include "cluster/hash.h"
#include "cluster/trace.h"

#include <stdio.h>

#define EDGES_MAX   4u
#define TOPICS_MAX  50u
#define CLIENTS_MAX 200u
#define JOINS_MAX   3u  /* channels of one client */
#define LIVES_MAX   48u /* edge processes in one run, restarts included */
#define NOBODY      UINT32_MAX

#define BACKOFF_MIN_MS 20u /* of an edge that dials its owner */

/* Memory of one object: counted, and refused 1 in `refuse_in` (0: never). */
struct heap {
    size_t bytes;
    uint32_t refuse_in;
    struct cl_rand rand;
    struct cl_alloc alloc;
};

enum item_kind { ITEM_HELLO = 1, ITEM_HELLO_OK, ITEM_FRAME, ITEM_EOF };
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
    uint32_t edge, edge_life, owner_life;
    struct pipe up, down; /* edge to owner, owner to edge */
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
    uint32_t from;         /* length of the topic's log at the join */
    uint32_t next;         /* index in the topic's log up to which all is accounted for */
    int64_t last_index;    /* of the last event it got */
    uint64_t missing, gap; /* not got since the join; told by CLE_GAP since the join */
    uint64_t got;
    uint32_t last[LIVES_MAX]; /* number of the last publish got, by publishing edge process */
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
    uint32_t first; /* place in the log that an owner process first gave it; NOBODY: none */
    uint64_t oseq;  /* 0: not sent yet */
    bool ack, answered, ordered;
    uint32_t result;
    uint32_t next_hash;
};
/* A publish in the order that an owner process gave it. */
struct entry {
    uint32_t pub, owner_life;
    uint64_t seq;
    uint64_t emitted, dropped; /* edges */
};
struct topic {
    uint8_t key[32];
    size_t key_len;
    struct entry *log;
    uint32_t nlog, room;
    uint32_t numbers[LIVES_MAX];
};

struct edge_proc {
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
struct owner_proc {
    bool up;
    struct cl *cl;
    struct heap mem;
    uint32_t life;
    uint32_t conn[EDGES_MAX];
    cl_ms stalled_until;
    uint64_t tick_at;
};

enum ev_kind {
    EV_UP = 1,  /* an item arrives at the owner; who: conn */
    EV_DOWN,    /* at an edge; who: conn */
    EV_CONNECT, /* who: edge; arg: life */
    EV_OWNER_TICK,
    EV_EDGE_TICK, /* who: edge */
    EV_OWNER_START,
    EV_EDGE_START, /* who: edge */
    EV_WORK,
    EV_FAULT
};
struct event {
    cl_ms at;
    uint64_t seq;
    enum ev_kind kind;
    uint32_t who;
    uint64_t arg;
};

struct knobs {
    uint32_t edges, clients, topics;
    uint32_t delay_max_ms, work_every_ms, fault_every_ms, down_max_ms;
    bool owner_crash, edge_crash, cut, stall, refuse;
    cl_ms work_until;
};

struct sim {
    uint64_t seed, step, until;
    bool trace, failed;
    bool healing; /* no more work, no more faults */
    cl_ms now;
    struct cl_rand rand;
    struct knobs k;
    struct cl_limits lim;
    struct event *heap;
    uint32_t nheap, heap_room;
    uint64_t seq;
    struct conn **conns;
    uint32_t nconns, conns_room;
    struct owner_proc owner;
    struct edge_proc edge[EDGES_MAX];
    uint64_t boot_of[LIVES_MAX];
    uint32_t lives;
    struct client client[CLIENTS_MAX];
    struct topic topic[TOPICS_MAX];
    struct pub *pubs;
    uint32_t npubs, pubs_room;
    uint32_t pub_hash[4096];
    struct cl_trace t;
    uint64_t joins, events, gaps, views, diffs, crashes,
        excused; /* what happened, for the reader */
    char why[256];
};

/* sim.c */
void sim_at(struct sim *s, cl_ms at, enum ev_kind kind, uint32_t who, uint64_t arg);
/* The run has failed: says what, and stops it. */
__attribute__((format(printf, 2, 3))) void sim_fail(struct sim *s, const char *fmt, ...);
uint64_t sim_below(struct sim *s, uint64_t n);
void *sim_grow(void *p, uint32_t used, uint32_t *room, size_t item);
void sim_line(struct sim *s);
void sim_note(struct sim *s, const char *what, uint32_t who);
void sim_heap_init(struct sim *s, struct heap *h, uint64_t salt);

/* process.c */
void sim_owner_start(struct sim *s);
void sim_owner_crash(struct sim *s);
void sim_edge_start(struct sim *s, uint32_t e);
void sim_edge_crash(struct sim *s, uint32_t e);
void sim_cut(struct sim *s, uint32_t e);
void sim_net_free(struct sim *s);

/* net.c */
/* Drops what is under way; the log learns what an edge will not get. */
void sim_drain(struct sim *s, struct conn *c, struct pipe *p);
/* The sender's side of a direction ends. */
void sim_end_pipe(struct sim *s, uint32_t conn, bool up);
void sim_connect(struct sim *s, uint32_t e);
/* The edge closes its link after refused memory, and dials again. */
void sim_edge_relink(struct sim *s, uint32_t e);
void sim_net_event(struct sim *s, const struct event *ev);
void sim_to_owner(struct sim *s, uint32_t e, struct pr_slice frame);
/* After each call into an object: actions, own check, next tick. */
void sim_after_owner(struct sim *s);
void sim_after_edge(struct sim *s, uint32_t e);

/* shell.c */
void sim_edge_action(struct sim *s, uint32_t e, const struct cle_action *a,
                     const struct entry *entry, uint32_t index);
/* Index of the event in its topic's log, from the frame an edge was given. */
const struct entry *sim_entry_of(struct sim *s, const struct pr_frame *f, uint32_t *index);
void sim_join(struct sim *s, uint32_t client, uint32_t topic, bool presence);
void sim_leave(struct sim *s, uint32_t client, uint32_t m);
void sim_publish(struct sim *s, uint32_t e, uint32_t topic, bool ack);
void sim_track(struct sim *s, uint32_t client, uint32_t m);
void sim_untrack(struct sim *s, uint32_t client, uint32_t m);
void sim_disconnect(struct sim *s, uint32_t client);
/* All clients of a dead edge process, without a word. */
void sim_clients_gone(struct sim *s, uint32_t e);
void sim_member_free(struct member *m);

/* scenarios.c */
void sim_draw(struct sim *s);
void sim_work(struct sim *s);
void sim_fault(struct sim *s);
void sim_heal(struct sim *s);

/* checkers.c */
void sim_check_got(struct sim *s, uint32_t client, struct member *m, uint32_t index);
void sim_check_diff(struct sim *s, uint32_t client, struct member *m, const struct pr_p_diff *d);
bool sim_shown_of(const struct pr_pshown *from, struct shown *out);
/* An action of the owner: orders, answers. */
void sim_check_owner_action(struct sim *s, const struct cl_action *a);
void sim_check_sent_pub(struct sim *s, uint32_t e, const struct pr_frame *f);
void sim_check_pub_done(struct sim *s, uint32_t e, uint64_t cookie, uint32_t result);
/* Everything has settled. */
void sim_check_quiet(struct sim *s);
void sim_check_probe_start(struct sim *s);
void sim_check_probe_end(struct sim *s);
/* All clients have left, long ago. */
void sim_check_empty(struct sim *s);

uint32_t sim_topic_by_key(const struct sim *s, struct pr_slice key);

#endif
