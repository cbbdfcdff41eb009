/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what one run of the simulation is: what its seed draws, and the faults that strike it.
 * It can be kept as a file (case.c), and taken apart (shrink.c).
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "cluster/core.h"

#define NODES_MAX 9u
#define EDGES_MAX 4u /* of one node */

/* What a seed draws: of each kind of fault half of the seeds have none. Milliseconds, shares of
 * 1000, yes or no.
 *   edges        of a node, at most
 *   first_nodes  that start at once; the others join later
 *   seeds        nodes 0 .. seeds-1 are in everybody's list
 *   planned      nothing but planned changes, and loss of datagrams
 *   owners       nothing but deaths of owner processes, now and then of two at once
 *   burst        one fault soon after the other: into what the first has set off
 *   tight        little room for what waits or is kept
 */
#define KNOBS(X)                                                                                   \
    X(nodes)                                                                                       \
    X(edges)                                                                                       \
    X(clients)                                                                                     \
    X(topics)                                                                                      \
    X(first_nodes)                                                                                 \
    X(seeds)                                                                                       \
    X(delay_max_ms)                                                                                \
    X(work_every_ms)                                                                               \
    X(fault_every_ms)                                                                              \
    X(down_max_ms)                                                                                 \
    X(link_delay_ms)                                                                               \
    X(udp_delay_ms)                                                                                \
    X(udp_loss)                                                                                    \
    X(udp_repeat)                                                                                  \
    X(clustered)                                                                                   \
    X(planned)                                                                                     \
    X(owners)                                                                                      \
    X(owner_crash)                                                                                 \
    X(edge_crash)                                                                                  \
    X(cut)                                                                                         \
    X(stall)                                                                                       \
    X(refuse)                                                                                      \
    X(burst)                                                                                       \
    X(tight)                                                                                       \
    X(node_crash)                                                                                  \
    X(link_cut)                                                                                    \
    X(half_open)                                                                                   \
    X(part)                                                                                        \
    X(overflow)                                                                                    \
    X(move)                                                                                        \
    X(wall)                                                                                        \
    X(operator)                                                                                    \
    X(work_from)                                                                                   \
    X(work_until)
struct knobs {
#define KNOB(name) uint32_t name;
    KNOBS(KNOB)
#undef KNOB
};

enum fault_kind {
    FAULT_NONE = 0, /* drawn, but this seed has none of the kind */
    FAULT_OWNER_CRASH,
    FAULT_EDGE_CRASH,
    FAULT_CUT, /* of the connection between an edge and its owner */
    FAULT_STALL_OWNER,
    FAULT_STALL_EDGE,
    FAULT_NODE_LOST,
    FAULT_LINK_CUT,
    FAULT_HALF_OPEN,
    FAULT_PARTITION,
    FAULT_OPERATOR,
    FAULT_KINDS
};
struct fault {
    cl_ms at;
    enum fault_kind kind;
    uint32_t who, other; /* node or edge; the node at the other end of a link, and which end */
    uint32_t end;
    uint32_t ms; /* how long; of the operator: which clients go before */
    bool dark, moves, wall;
    int64_t wall_ms;
    uint32_t blocked[NODES_MAX]; /* bitmap: to whom nothing passes */
};

/* All that makes one run what it is, besides the draws of its work and of its network. */
struct plan {
    uint64_t seed;
    struct knobs k;
    struct {
        uint32_t edges, weight;
        uint64_t clock;
        int64_t wall_ms;
    } node[NODES_MAX];
    struct fault *faults;
    uint32_t nfaults, room;
};

/* case.c */
/* A plan as JSON, with what went wrong. False: it cannot be written, or is none. */
bool sim_case_save(const struct plan *p, const char *why, const char *path);
bool sim_case_load(struct plan *p, const char *path);
/* shrink.c */
/* Takes away from the plan what the failure `why` does not need; how a plan fails is asked of
 * `play`, which writes it down, or returns true. Returns the number of runs. */
uint32_t sim_shrink(struct plan *p, const char *why,
                    bool (*play)(const struct plan *p, char *why, size_t room));

#endif
