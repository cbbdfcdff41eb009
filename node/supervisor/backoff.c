/* SPDX-License-Identifier: Apache-2.0 */
#include "node/supervisor/backoff.h"

uint64_t rt_backoff_ms(struct rt_backoff *b, uint64_t life_ms)
{
    uint64_t wait_ms = RT_BACKOFF_FIRST_MS;

    if (life_ms >= RT_BACKOFF_RESET_MS) {
        b->deaths = 0;
    }
    for (uint32_t i = 0; i < b->deaths && wait_ms < RT_BACKOFF_MAX_MS; i++) {
        wait_ms *= 2;
    }
    b->deaths++;
    return wait_ms < RT_BACKOFF_MAX_MS ? wait_ms : RT_BACKOFF_MAX_MS;
}
