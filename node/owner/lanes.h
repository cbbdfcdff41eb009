/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes.h - frames that wait to be sent on one link between nodes: two FIFO lanes.
 *
 *   fast   PING PONG SYNC* CTL* BYE   goes first: membership and questions must not wait behind
 *          NODE_HELLO*                a burst of payloads; and HELLO is the first frame of all
 *   data   everything else            one FIFO: what a node says about its topics arrives in the
 *                                     order in which it said it, over all classes
 *
 * Classes are counted, not ordered. A class that holds nothing takes any frame; else, by bytes with
 * bookkeeping:
 *
 *   class      bound    when over it
 *   control    8 MiB    the frame is refused and the link is to be closed: the peer does not read
 *   changes    16 MiB   the frame is refused; the sender stops reading the WAL (the slot keeps it)
 *   presence   8 MiB    the oldest P_DELTA are dropped: the receiver sees the hole and pulls
 *   broadcast  8 MiB    the oldest EVENT are dropped: the receiver sees the hole and asks RESYNC
 *
 * Presence and broadcast frames of other types are never dropped; up to RT_LANES_HARD_BYTES they
 * are taken, then the frame is refused and the link is to be closed. A frame of which a byte has
 * been taken for sending is not waiting any more.
 *
 * Seen as: drops per class in struct rt_lanes_counts, realtimectl links.
 */
#ifndef NODE_OWNER_LANES_H
#define NODE_OWNER_LANES_H

#include "proto/mesh.h"

#define RT_LANES_CONTROL_BYTES   ((size_t)8 * 1024 * 1024)
#define RT_LANES_CHANGES_BYTES   ((size_t)16 * 1024 * 1024)
#define RT_LANES_PRESENCE_BYTES  ((size_t)8 * 1024 * 1024)
#define RT_LANES_BROADCAST_BYTES ((size_t)8 * 1024 * 1024)
#define RT_LANES_HARD_BYTES      ((size_t)16 * 1024 * 1024)

/* Index by enum pr_class; 0 is unused. */
#define RT_LANES_CLASSES 5u

struct rt_lanes_counts {
    uint64_t dropped[RT_LANES_CLASSES];       /* frames */
    uint64_t dropped_bytes[RT_LANES_CLASSES]; /* of those frames, without bookkeeping */
};

struct rt_lane_frame; /* one frame that waits */

struct rt_lane {
    struct rt_lane_frame *head, *tail;
};

struct rt_lanes {
    struct rt_lane fast, data;
    struct rt_lane_frame *drop_head[RT_LANES_CLASSES]; /* those that may be dropped, oldest first */
    struct rt_lane_frame *drop_tail[RT_LANES_CLASSES];
    size_t bytes[RT_LANES_CLASSES];    /* waiting, with bookkeeping */
    uint32_t frames[RT_LANES_CLASSES]; /* waiting */
    struct rt_lane_frame *cut;         /* of the frame on its way: the rest */
    size_t cut_at;
    uint64_t taken; /* frames that went out whole */
    struct rt_lanes_counts counts;
};

enum rt_lanes_result {
    RT_LANES_TAKEN = 0,
    RT_LANES_STOP, /* changes: over the bound, not taken; the link lives */
    RT_LANES_CLOSE /* over a bound that ends the link, not taken */
};

/* A zeroed struct is an empty pair of lanes. Drops what waits. */
void rt_lanes_free(struct rt_lanes *l);
/* Copies one whole frame in. */
PR_MUST_CHECK enum rt_lanes_result rt_lanes_push(struct rt_lanes *l, const struct pr_frame *f);
bool rt_lanes_empty(const struct rt_lanes *l);
/* Moves up to `n` bytes out, in sending order; a frame may be cut in two between calls. Returns how
 * many, 0 only if empty. */
size_t rt_lanes_take(struct rt_lanes *l, uint8_t *p, size_t n);
/* Forgets what waits, but for the rest of a frame that is on its way. */
void rt_lanes_clear(struct rt_lanes *l);

#endif
