/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/pace.h"

#include <assert.h>
#include <string.h>

#include "node/edge/changes.h"
#include "node/edge/link.h"
#include "node/edge/registrations.h"
#include "node/edge/socket.h"

/* How soon to look again at the socket that is waited for: some hundred rows are gone by then. */
#define LOOK_MS 5u
/* Frames in one turn; as much as the link to the owner gives in one. */
#define TURN_BYTES ((size_t)256 * 1024)

/* Milliseconds for which changes may wait. */
static const struct rt_rate the_rate = {.per_s = 100, .burst = RT_PACE_MAX_MS};

struct rt_paced {
    struct rt_paced *next;
    size_t done; /* bytes of its bodies */
    size_t len;
    uint8_t bytes[];
};

void rt_pace_init(struct rt_pace *p, uint64_t now_ms)
{
    rt_bucket_init(&p->left, &the_rate, now_ms);
}

static void drop_first(struct rt_pace *p)
{
    struct rt_paced *h = p->first;

    p->first = h->next;
    p->bytes -= h->len;
    rt_free(h);
}

void rt_pace_free(struct rt_pace *p)
{
    while (p->first != NULL) {
        drop_first(p);
    }
}

void rt_pace_sent(struct rt_socket *s)
{
    struct rt_pace *p = &s->project->changes->pace;

    if (p->slowest == NULL && s->close_code == 0 && !s->left_behind && rt_outq_over(&s->out, 2)) {
        p->slowest = s;
    }
}

void rt_pace_gone(const struct rt_socket *s)
{
    struct rt_pace *p = &s->project->changes->pace;

    if (p->slowest == s) {
        p->slowest = NULL;
    }
}

/* Has it taken its share of the last RT_PACE_MS? */
static bool keeps_up(struct rt_socket *s, uint64_t now_ms)
{
    if (s->behind_ms == 0 || now_ms - s->behind_ms < RT_PACE_MS) {
        return true;
    }
    if (s->taken - s->behind_taken < s->out.bytes_max / 8) {
        return false;
    }
    s->behind_ms = now_ms;
    s->behind_taken = s->taken;
    return true;
}

bool rt_pace_waits(struct rt_project *project)
{
    struct rt_pace *p = &project->changes->pace;
    uint64_t now_ms = project->edge->now_ms;
    struct rt_socket *s = p->slowest;

    if (s != NULL && (s->close_code != 0 || !rt_outq_over(&s->out, 4) || p->bytes > RT_PACE_BYTES ||
                      rt_bucket_left(&p->left, &the_rate, now_ms) == 0)) {
        p->slowest = NULL;
    } else if (s != NULL && !keeps_up(s, now_ms)) {
        s->left_behind = true;
        p->slowest = NULL;
    }
    return p->slowest != NULL;
}

bool rt_pace_busy(const struct rt_project *project)
{
    return project->changes->pace.first != NULL;
}

void rt_pace_hold(struct rt_project *project, const struct pr_frame *f, size_t done)
{
    struct rt_pace *p = &project->changes->pace;
    struct rt_paced *h = rt_malloc(sizeof *h + f->whole.n);

    h->next = NULL;
    h->done = done;
    h->len = f->whole.n;
    memcpy(h->bytes, f->whole.p, f->whole.n);
    if (p->first == NULL) {
        p->first = h;
        p->looked_ms = project->edge->now_ms;
    } else {
        p->last->next = h;
    }
    p->last = h;
    p->bytes += h->len;
}

/* How soon to look again, in ms; UINT64_MAX: nothing waits. */
static uint64_t run(struct rt_project *project)
{
    struct rt_edge *e = project->edge;
    struct rt_pace *p = &project->changes->pace;
    size_t bytes = 0;

    if (p->first == NULL) {
        return UINT64_MAX;
    }
    rt_bucket_spend(&p->left, &the_rate, (uint32_t)(e->now_ms - p->looked_ms), e->now_ms);
    rt_project_count(project, RT_M_CHANGES_PACED, e->now_ms - p->looked_ms);
    p->looked_ms = e->now_ms;
    while (p->first != NULL && bytes < TURN_BYTES) {
        struct rt_paced *h = p->first;
        struct pr_frame f;
        long n = pr_frame_next(pr_bytes(h->bytes, h->len), &f);
        int rv = 0;

        assert(n > 0); /* as it did once already */
        bytes += h->len;
        rv = rt_changes_take(project, &f, &h->done);
        if (rv > 0) {
            return LOOK_MS;
        }
        if (rv < 0) {
            rt_link_refuse(e, &f, rv);
        }
        drop_first(p);
    }
    return p->first != NULL ? 0 : UINT64_MAX;
}

void rt_pace_run(struct rt_edge *e)
{
    uint64_t soonest = UINT64_MAX;

    e->now_ms = rt_now_ms(e->loop);
    for (uint32_t i = 0; i < e->nprojects; i++) {
        uint64_t ms = run(e->projects[i]);

        soonest = ms < soonest ? ms : soonest;
    }
    if (soonest != UINT64_MAX) {
        rt_timer_set(&e->more, soonest);
    }
}
