/* SPDX-License-Identifier: Apache-2.0 */
/* bits.h - a set of node indices. Inline: it is asked once per event and node. */
#ifndef CLUSTER_BITS_H
#define CLUSTER_BITS_H

#include "cluster/core.h"

static inline void cl_bits_set(struct cl_bits *b, uint32_t i)
{
    b->w[i / 64] |= UINT64_C(1) << i % 64;
}

static inline void cl_bits_clear(struct cl_bits *b, uint32_t i)
{
    b->w[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static inline bool cl_bits_has(const struct cl_bits *b, uint32_t i)
{
    return (b->w[i / 64] >> i % 64 & 1u) != 0;
}

static inline bool cl_bits_any(const struct cl_bits *b)
{
    uint64_t all = 0;

    for (uint32_t k = 0; k < CL_NODES_MAX / 64; k++) {
        all |= b->w[k];
    }
    return all != 0;
}

/* The first index at or after `from`; CL_NODES_MAX if there is none. */
static inline uint32_t cl_bits_next(const struct cl_bits *b, uint32_t from)
{
    while (from < CL_NODES_MAX) {
        uint64_t rest = b->w[from / 64] >> from % 64;

        if (rest != 0) {
            while ((rest & 1u) == 0) {
                rest >>= 1;
                from++;
            }
            return from;
        }
        from = (from / 64 + 1) * 64;
    }
    return CL_NODES_MAX;
}

static inline uint32_t cl_bits_count(const struct cl_bits *b)
{
    uint32_t n = 0;

    for (uint32_t i = cl_bits_next(b, 0); i < CL_NODES_MAX; i = cl_bits_next(b, i + 1)) {
        n++;
    }
    return n;
}

#endif
