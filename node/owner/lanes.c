/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/lanes.h"

#include <assert.h>
#include <string.h>

#include "node/base/alloc.h"

struct rt_lane_frame {
    struct rt_lane_frame *next, *prev; /* in its lane */
    struct rt_lane_frame *drop_next;   /* next younger one of its class that may be dropped */
    uint32_t len;
    uint8_t cls;
    bool fast, droppable;
    uint8_t bytes[];
};

/* What a frame of `len` bytes counts: many small ones would otherwise hold more than the bound. */
static size_t cost(size_t len)
{
    return sizeof(struct rt_lane_frame) + len;
}

static bool is_fast(uint8_t type)
{
    return type == PR_T_PING || type == PR_T_PONG || type == PR_T_BYE || type == PR_T_SYNC_HASH ||
           type == PR_T_SYNC || type == PR_T_CTL || type == PR_T_CTL_REPLY ||
           type == PR_T_NODE_HELLO || type == PR_T_NODE_HELLO_OK;
}

/* Takes it out of its lane and out of the accounts. */
static void unlink_frame(struct rt_lanes *l, struct rt_lane_frame *e)
{
    struct rt_lane *lane = e->fast ? &l->fast : &l->data;

    if (e->prev != NULL) {
        e->prev->next = e->next;
    } else {
        lane->head = e->next;
    }
    if (e->next != NULL) {
        e->next->prev = e->prev;
    } else {
        lane->tail = e->prev;
    }
    if (e->droppable) {
        /* Frames leave a lane, to be sent or dropped, in the order in which they came. */
        assert(l->drop_head[e->cls] == e);
        l->drop_head[e->cls] = e->drop_next;
        if (e->drop_next == NULL) {
            l->drop_tail[e->cls] = NULL;
        }
    }
    assert(l->frames[e->cls] > 0 && l->bytes[e->cls] >= cost(e->len));
    l->frames[e->cls]--;
    l->bytes[e->cls] -= cost(e->len);
}

static void append(struct rt_lanes *l, struct rt_lane_frame *e)
{
    struct rt_lane *lane = e->fast ? &l->fast : &l->data;

    e->prev = lane->tail;
    if (lane->tail != NULL) {
        lane->tail->next = e;
    } else {
        lane->head = e;
    }
    lane->tail = e;
    if (e->droppable) {
        if (l->drop_tail[e->cls] != NULL) {
            l->drop_tail[e->cls]->drop_next = e;
        } else {
            l->drop_head[e->cls] = e;
        }
        l->drop_tail[e->cls] = e;
    }
    l->frames[e->cls]++;
    l->bytes[e->cls] += cost(e->len);
}

static void count_drop(struct rt_lanes *l, uint8_t cls, size_t len)
{
    l->counts.dropped[cls]++;
    l->counts.dropped_bytes[cls] += len;
}

/* Whether a frame of that cost fits under `bound`. One alone always does. */
static bool fits(const struct rt_lanes *l, uint8_t cls, size_t need, size_t bound)
{
    return l->bytes[cls] == 0 || (l->bytes[cls] <= bound && need <= bound - l->bytes[cls]);
}

/* Makes room by what may be dropped. False: `need` is over the bound even so. */
static bool make_room(struct rt_lanes *l, uint8_t cls, size_t need, size_t bound)
{
    while (!fits(l, cls, need, bound) && l->drop_head[cls] != NULL) {
        struct rt_lane_frame *e = l->drop_head[cls];

        count_drop(l, cls, e->len);
        unlink_frame(l, e);
        rt_free(e);
    }
    return fits(l, cls, need, bound);
}

static const size_t bounds[RT_LANES_CLASSES] = {[PR_C_CONTROL] = RT_LANES_CONTROL_BYTES,
                                                [PR_C_CHANGES] = RT_LANES_CHANGES_BYTES,
                                                [PR_C_PRESENCE] = RT_LANES_PRESENCE_BYTES,
                                                [PR_C_BROADCAST] = RT_LANES_BROADCAST_BYTES};

enum rt_lanes_result rt_lanes_push(struct rt_lanes *l, const struct pr_frame *f)
{
    size_t need = cost(f->whole.n);
    uint8_t cls = f->cls;
    bool droppable = (cls == PR_C_BROADCAST && f->type == PR_T_EVENT) ||
                     (cls == PR_C_PRESENCE && f->type == PR_T_P_DELTA);
    bool room = make_room(l, cls, need, bounds[cls]);
    struct rt_lane_frame *e;

    if (!room && droppable) {
        count_drop(l, cls, f->whole.n);
        return RT_LANES_TAKEN;
    }
    if (!room && cls == PR_C_CHANGES) {
        return RT_LANES_STOP;
    }
    if (!room && (cls == PR_C_CONTROL || !fits(l, cls, need, RT_LANES_HARD_BYTES))) {
        return RT_LANES_CLOSE;
    }
    e = rt_malloc(need);
    *e = (struct rt_lane_frame){
        .len = (uint32_t)f->whole.n, .cls = cls, .fast = is_fast(f->type), .droppable = droppable};
    memcpy(e->bytes, f->whole.p, f->whole.n);
    append(l, e);
    return RT_LANES_TAKEN;
}

bool rt_lanes_empty(const struct rt_lanes *l)
{
    return l->cut == NULL && l->fast.head == NULL && l->data.head == NULL;
}

/* The frame to send next is off its lane from its first byte on: what is on the way stays whole. */
static bool begin_frame(struct rt_lanes *l)
{
    struct rt_lane_frame *e = l->fast.head != NULL ? l->fast.head : l->data.head;

    if (e == NULL) {
        return false;
    }
    unlink_frame(l, e);
    l->cut = e;
    l->cut_at = 0;
    return true;
}

size_t rt_lanes_take(struct rt_lanes *l, uint8_t *p, size_t n)
{
    size_t done = 0;

    while (done < n && (l->cut != NULL || begin_frame(l))) {
        size_t left = l->cut->len - l->cut_at;
        size_t part = left < n - done ? left : n - done;

        memcpy(p + done, l->cut->bytes + l->cut_at, part);
        done += part;
        l->cut_at += part;
        if (part == left) {
            rt_free(l->cut);
            l->cut = NULL;
            l->taken++;
        }
    }
    return done;
}

void rt_lanes_clear(struct rt_lanes *l)
{
    while (l->fast.head != NULL || l->data.head != NULL) {
        struct rt_lane_frame *e = l->fast.head != NULL ? l->fast.head : l->data.head;

        unlink_frame(l, e);
        rt_free(e);
    }
}

void rt_lanes_free(struct rt_lanes *l)
{
    rt_lanes_clear(l);
    rt_free(l->cut);
    l->cut = NULL;
}
