/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/ratelimit.h"

#include <assert.h>

#define MILLI 1000u
#define MAX   1000000000u /* of rate and burst: products of milliseconds stay below 2^63 */

static uint64_t full(const struct rt_rate *rate)
{
    assert(rate->per_s > 0 && rate->per_s <= MAX && rate->burst > 0 && rate->burst <= MAX);
    return (uint64_t)rate->burst * MILLI;
}

/* `per_s` tokens a second are `per_s` thousandths a millisecond. */
static void refill(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms)
{
    uint64_t max = full(rate);
    uint64_t passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;

    if (b->milli > max) {
        b->milli = max; /* the rate was set lower meanwhile */
    }
    if (passed >= (max - b->milli) / rate->per_s + 1) {
        b->milli = max;
    } else {
        b->milli += passed * rate->per_s;
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
    uint64_t want = (uint64_t)n * MILLI;

    refill(b, rate, now_ms);
    if (want > b->milli) {
        return false;
    }
    b->milli -= want;
    return true;
}

uint32_t rt_bucket_left(struct rt_bucket *b, const struct rt_rate *rate, uint64_t now_ms)
{
    refill(b, rate, now_ms);
    return (uint32_t)(b->milli / MILLI);
}

uint64_t rt_bucket_wait_ms(struct rt_bucket *b, const struct rt_rate *rate, uint32_t n,
                           uint64_t now_ms)
{
    uint64_t want = (uint64_t)n * MILLI;

    assert(n <= rate->burst);
    refill(b, rate, now_ms);
    return want <= b->milli ? 0 : (want - b->milli + rate->per_s - 1) / rate->per_s;
}
