/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.h - many struct cl_swim in one process: a world of datagrams, links and processes with a
 * clock of its own. One seed decides everything; two runs of a seed are the same to the last byte.
 */
#ifndef TESTS_SIM_MEMBERS_H
#define TESTS_SIM_MEMBERS_H

#include "cluster/hash.h"
#include "cluster/swim.h"

/* Processes: a name may have had several, at several addresses. */
#define PROCS_MAX 136u

struct side { /* one end of a link */
    bool up;
    uint32_t gen;       /* of the link: frames of another are of a link that is gone */
    cl_ms heard;        /* last frame of the other end */
    cl_ms last_arrival; /* of what was sent from here */
    uint64_t sent, arrived;
};

struct proc {
    struct cl_swim *s; /* NULL: not running */
    uint32_t slot;     /* makes its address */
    uint32_t name;     /* number of its name */
    uint64_t id, epoch;
    uint32_t life; /* counts its starts: events for another are dropped */
    bool host_up;  /* the kernel answers for a process that is not there */
    bool refused;  /* told that its name is in use: it has ended */
    bool fatal;    /* ended because its name was taken */
    cl_ms started, said_hello, admitted, wake;
    cl_ms cost_ms, busy, turn; /* time that each event takes, until when it works and since when */
    cl_ms frozen_until;
    uint64_t view;
    uint8_t told[PROCS_MAX]; /* state of each name, as last told */
    cl_ms told_at[PROCS_MAX];
    struct side side[PROCS_MAX];
    bool blocked[PROCS_MAX]; /* nothing goes from here to there */
};

struct world {
    cl_ms now;
    struct cl_rand rand;
    struct proc *procs;
    uint32_t nprocs;
    double loss;
    uint32_t delay_max_ms;
    bool check; /* cl_swim_check after each step */
    struct ev *heap;
    size_t nheap, heap_cap;
    uint64_t order, trace;
    cl_ms last_fact; /* when somebody last held something that nobody had held before */
    uint64_t *facts;
    size_t nfacts, facts_cap;
    uint64_t wrong_deaths, datagrams, datagram_bytes, frames, frame_bytes;
    cl_ms wrong_at[PROCS_MAX]; /* by name: one wrong verdict is one, however many believe it */
    bool allow_deaths;         /* a death is no surprise now */
};

struct world *world_new(uint64_t seed, double loss);
void world_free(struct world *w);
/* A process that is not yet running; name k has id of "node" and "node-k". */
struct proc *world_add(struct world *w, uint32_t name);
/* Starts it, also again, with a higher epoch; it looks for others at `seeds` (slots). */
void world_start(struct world *w, struct proc *p);
enum ending { END_CLOSED, END_SILENT };
void world_stop(struct world *w, struct proc *p, enum ending how);
/* n processes, one of each name, all started, all knowing each other, all ready. */
void world_cluster(struct world *w, uint32_t n);
void world_run(struct world *w, cl_ms until);
/* Runs until `done`, at most `limit` ms. Says whether it was. */
typedef bool (*world_fn)(struct world *w, void *ctx);
bool world_until(struct world *w, cl_ms limit, world_fn done, void *ctx);
/* Nothing passes between a and b, one way. */
void world_block(struct proc *from, const struct proc *to, bool block);
/* Takes what a process has to say after something was done with it by hand. */
void world_drain(struct world *w, struct proc *p);
/* All that run have one view, and it holds each of them. */
bool world_agrees(struct world *w, void *unused);
uint64_t world_below(struct world *w, uint64_t n);
uint64_t name_id(uint32_t name);

/* members_props.c: 0, or the number of properties that did not hold. */
int props_run(uint64_t seed, bool quick);
/* members_table.c */
int table_run(uint64_t seed, bool quick);
int wrong_run(uint64_t seed, double node_hours, bool quick);

#endif
