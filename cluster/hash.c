/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/hash.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* XXH3 takes no NULL, even for no bytes. */
static const uint8_t nothing[1];

uint64_t cl_hash64(struct pr_slice bytes)
{
    return XXH3_64bits(bytes.n == 0 ? nothing : bytes.p, bytes.n);
}

uint64_t cl_hash64_seeded(struct pr_slice bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.n == 0 ? nothing : bytes.p, bytes.n, seed);
}

uint32_t cl_partition(struct pr_slice topic)
{
    return (uint32_t)(cl_hash64(topic) & (CL_PARTITIONS - 1));
}

uint64_t cl_mix64(uint64_t v)
{
    v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
    return v ^ (v >> 31);
}

struct cl_rand cl_rand_seed(uint64_t seed)
{
    struct cl_rand r = {{0}};

    for (unsigned i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        r.s[i] = cl_mix64(seed);
    }
    return r;
}

static uint64_t rotl(uint64_t v, unsigned k)
{
    return v << k | v >> (64 - k);
}

uint64_t cl_rand_next(struct cl_rand *r)
{
    uint64_t result = rotl(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;

    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rotl(r->s[3], 45);
    return result;
}

/* High half of a 64 x 64 bit product, in 32 bit steps: standard C has no 128 bit integer. */
static uint64_t mul_high(uint64_t a, uint64_t b)
{
    uint64_t lo = (a & UINT32_MAX) * (b & UINT32_MAX);
    uint64_t m1 = (a >> 32) * (b & UINT32_MAX) + (lo >> 32);
    uint64_t m2 = (a & UINT32_MAX) * (b >> 32) + (m1 & UINT32_MAX);

    return (a >> 32) * (b >> 32) + (m1 >> 32) + (m2 >> 32);
}

uint64_t cl_rand_below(struct cl_rand *r, uint64_t n)
{
    assert(n > 0);
    return mul_high(cl_rand_next(r), n);
}
