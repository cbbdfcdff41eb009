/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h - the frozen hash, partitions, and the seeded generator.
 *
 * XXH3_64bits (Collet, https://github.com/Cyan4973/xxHash): its values are frozen since 0.8.0 and
 * equal on every CPU, which a partition needs, since two nodes must agree on it. xoshiro256**
 * (Blackman, Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), 2021): small
 * state, and a replay gives the same numbers.
 */
#ifndef CLUSTER_HASH_H
#define CLUSTER_HASH_H

#include "cluster/core.h"

/*
 * Partitions of the topic space. Part of the mesh protocol: two builds with different values
 * disagree about every owner. 4096: with up to 20 nodes the fullest node holds at most 1.2 x the
 * mean, and more of them would only cost more handoffs.
 */
#define CL_PARTITIONS 4096u

/* XXH3_64bits of the bytes; the same everywhere. */
uint64_t cl_hash64(struct pr_slice bytes);
/* With a secret seed: for tables whose keys clients choose, so that nobody can aim at one chain. */
uint64_t cl_hash64_seeded(struct pr_slice bytes, uint64_t seed);
/* 0 .. CL_PARTITIONS-1 of a topic key. */
uint32_t cl_partition(struct pr_slice topic);
/* Spreads a number over 64 bits (finalizer of SplitMix64, Steele et al., OOPSLA 2014). */
uint64_t cl_mix64(uint64_t v);

/* Fills the state from one number by SplitMix64, as the authors of xoshiro256** advise. */
struct cl_rand cl_rand_seed(uint64_t seed);
uint64_t cl_rand_next(struct cl_rand *r);
/* 0 .. n-1, n > 0. Multiply-shift: its bias is below n / 2^64. */
uint64_t cl_rand_below(struct cl_rand *r, uint64_t n);

#endif
