/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/ratelimit.h"

#include <assert.h>

#define MILLI 1000
#define MAX   1000000000u /* of rate and burst: products of milliseconds stay below 2^63 */

static int64_t full(const struct rt_rate *rate)
{
    assert(rate->per_s > 0 && rate->per_s <= MAX && rate->burst > 0 && rate->burst <= MAX);
    return (int64_t)rate->burst * MILLI;
}

/* `per_s` tokens a second are `per_s` thousandths a millisecond. */
static void refill(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms)
{
    int64_t max = full(rate);
    uint64_t passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;

    if (b->milli > max) {
        b->milli = max; /* the rate was set lower meanwhile */
    }
    if (passed >= (uint64_t)(max - b->milli) / rate->per_s + 1) {
        b->milli = max;
    } else {
        b->milli += (int64_t)(passed * rate->per_s);
        b->milli = b->milli < max ? b->milli : max;
    }
    b->at_ms += passed;
}

void rt_bucket_init(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms)
{
    b->milli = full(rate);
    b->at_ms = now_ms;
}

bool rt_bucket_take(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n, uint64_t now_ms)
{
    int64_t want = (int64_t)n * MILLI;

    refill(b, rate, now_ms);
    if (want > b->milli && want > 0) {
        return false;
    }
    b->milli -= want;
    return true;
}

void rt_bucket_spend(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n, uint64_t now_ms)
{
    int64_t least = -(int64_t)rate->per_s * RT_DEBT_S * MILLI;

    refill(b, rate, now_ms);
    b->milli -= (int64_t)n * MILLI;
    b->milli = b->milli > least ? b->milli : least;
}

uint32_t rt_bucket_left(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms)
{
    refill(b, rate, now_ms);
    return b->milli > 0 ? (uint32_t)(b->milli / MILLI) : 0;
}

uint64_t rt_bucket_wait_ms(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n,
                           uint64_t now_ms)
{
    int64_t want = (int64_t)n * MILLI;

    assert(n <= rate->burst);
    refill(b, rate, now_ms);
    return want <= b->milli ? 0 : ((uint64_t)(want - b->milli) + rate->per_s - 1) / rate->per_s;
}
