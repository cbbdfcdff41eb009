/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - immutable, reference-counted bytes of one encoded message, made once and queued at
 * many sockets. Plain counter: one thread per process.
 */
#ifndef NODE_BASE_FRAME_H
#define NODE_BASE_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct rt_frame {
    uint32_t refs;
    uint32_t len;
    uint8_t bytes[]; /* WebSocket header and payload */
};

/* Gives a frame with one reference and room for `len` bytes, to be filled before it is shared.
 * Never NULL: memory is bounded by the queues, past that the process aborts. */
struct rt_frame *rt_frame_new(size_t len);
/* Takes one more reference. Returns `f`. */
struct rt_frame *rt_frame_ref(struct rt_frame *f);
/* Gives one reference back; frees with the last. NULL is allowed. */
void rt_frame_unref(struct rt_frame *f);

#endif
