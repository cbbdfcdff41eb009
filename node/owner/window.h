/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window.h - which counters of one sender have been taken: each one once, in any order, as long as
 * it is at most RT_WINDOW - 1 behind the largest (the idea of RFC 4303 3.4.3).
 *
 * Zeroed is empty. Pure.
 */
#ifndef NODE_OWNER_WINDOW_H
#define NODE_OWNER_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

/* Counters remembered: datagrams that one sender may have on the way at once, out of order. */
#define RT_WINDOW 1024u

struct rt_window {
    uint64_t top; /* largest taken; 0 also while none is */
    uint64_t
        taken[RT_WINDOW / 64]; /* bit counter % RT_WINDOW, for top - RT_WINDOW < counter <= top */
};

/* Takes a counter. False, and nothing changes: it was taken before, or is too old to tell. */
bool rt_window_take(struct rt_window *w, uint64_t counter);

#endif
