/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ratelimit.h - token bucket: `per_s` on average, `burst` at once.
 *
 * What cannot be refused any more is spent: it may leave a debt, of at most RT_DEBT_S of the rate.
 *
 * Counts thousandths of a token, so that no time between two calls is lost to rounding.
 */
#ifndef NODE_EDGE_RATELIMIT_H
#define NODE_EDGE_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* A minute: longer, and one message to a large room would silence a small project for hours. */
#define RT_DEBT_S 60u

/* Shared by all buckets of a kind. Both > 0 and at most 1 000 000 000. */
struct rt_rate {
    uint32_t per_s;
    uint32_t burst;
};

struct rt_bucket {
    int64_t milli;  /* thousandths of a token, <= burst * 1000; negative: a debt */
    uint64_t at_ms; /* when `milli` was right */
};

/* Full at first. */
void rt_bucket_init(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms);
/* Takes `n` tokens, or none and false. n over the burst is always refused. A `now_ms` before the
 * last one counts as the last one. */
bool rt_bucket_take(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n, uint64_t now_ms);
/* Takes `n` tokens, whether they are there or not. */
void rt_bucket_spend(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n, uint64_t now_ms);
/* Whole tokens left; 0 in debt too. */
uint32_t rt_bucket_left(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms);
/* Milliseconds until `n` (<= burst) tokens are there; 0: now. */
uint64_t rt_bucket_wait_ms(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n,
                           uint64_t now_ms);

#endif
