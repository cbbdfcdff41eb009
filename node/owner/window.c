/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/window.h"

#include <string.h>

static uint64_t *word_of(struct rt_window *w, uint64_t counter)
{
    return &w->taken[counter % RT_WINDOW / 64];
}

static uint64_t bit_of(uint64_t counter)
{
    return UINT64_C(1) << counter % 64;
}

/* Moves the top; the places of the counters that come into view are forgotten. */
static void advance(struct rt_window *w, uint64_t counter)
{
    if (counter - w->top >= RT_WINDOW) {
        memset(w->taken, 0, sizeof w->taken);
    } else {
        for (uint64_t c = w->top; c < counter; c++) {
            *word_of(w, c + 1) &= ~bit_of(c + 1);
        }
    }
    w->top = counter;
}

bool rt_window_take(struct rt_window *w, uint64_t counter)
{
    if (counter > w->top) {
        advance(w, counter);
    } else if (w->top - counter >= RT_WINDOW || (*word_of(w, counter) & bit_of(counter)) != 0) {
        return false;
    }
    *word_of(w, counter) |= bit_of(counter);
    return true;
}
