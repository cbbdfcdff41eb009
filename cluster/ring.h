/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - which node owns a partition: weighted rendezvous hashing, in integers.
 *
 * Every member gets a score for a key, and the best member has the key (Thaler, Ravishankar, "Using
 * name-based mappings to increase hit rates", IEEE/ACM ToN 6(1), 1998). With
 *
 *     h = mix64(id ^ mix64(key * 0x9e3779b97f4a7c15 + 1))       uniform in 64 bits
 *     E = 64 - log2(h)                                          exponential, in Q6.32
 *
 * the least E / weight wins, so a member's share is its weight in the sum of weights: the least of
 * exponential variables belongs to each in proportion to its rate (Schindelhauer, Schomaker,
 * "Weighted distributed hash tables", SPAA 2005). Two members are compared as E1 * w2 < E2 * w1,
 * without rounding; equal ones by the smaller id.
 *
 * Integers only: two log() may differ in the last bit, and two nodes would disagree for ever. Hence
 * log2 comes from a table. A member's score depends on nobody else, so a join moves keys only to
 * the joiner, a leave only from the leaver, more weight only towards it.
 *
 * Considered: tokens on a ring (256 of them per node are no better and need a search), Maglev
 * (moves keys between survivors), jump hash (only the last node can leave), bounded loads (moves
 * twice as much at 100 nodes, and one node's load moves the keys of others).
 *
 * Cost: one hash and one product per member and key; 100 members: see cluster/README.md.
 */
#ifndef CLUSTER_RING_H
#define CLUSTER_RING_H

#include "cluster/core.h"
#include "cluster/hash.h"

struct cl_ring_member {
    uint64_t id;
    uint32_t weight; /* share in the sum of all; 0 owns nothing unless all have 0 */
};

struct cl_ring {
    uint32_t n;                            /* members */
    uint64_t view;                         /* names the list of members; 0 only if it is empty */
    struct cl_ring_member m[CL_NODES_MAX]; /* by rising id */
    uint16_t owner[CL_PARTITIONS];         /* index into m; meaningless if n is 0 */
};

/*
 * Fills the ring from n members in any order, n <= CL_NODES_MAX, each id once. Borrows them for the
 * call; they lie outside of the ring. The same members in another order, on another machine or in
 * another build give the same table and view.
 */
void cl_ring_build(struct cl_ring *ring, const struct cl_ring_member *members, uint32_t n);

/*
 * The best k members for any key, best first, as indices into ring->m: elections, and who would be
 * next. Says how many there are: the lesser of k and ring->n. For a key below CL_PARTITIONS the
 * first one is that partition's owner.
 */
uint32_t cl_ring_rank(const struct cl_ring *ring, uint64_t key, uint16_t *out, uint32_t k);

/* The E of above, Q6.32, 1 .. 2^38: less is better. Part of the mesh protocol, as CL_PARTITIONS. */
uint64_t cl_ring_score(uint64_t id, uint64_t key);

/* Id of the member that owns a partition, part < CL_PARTITIONS; 0 if there are no members. */
uint64_t cl_ring_owner_id(const struct cl_ring *ring, uint32_t part);

#endif
