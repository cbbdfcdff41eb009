/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/casts.h"

#include <assert.h>

#include "node/edge/link.h"
#include "node/edge/projects.h"
#include "proto/mesh_cast.h"

#define FIRST_CAP 64u
/* Of a cookie; the project's id is above: 16 bits, of which one process uses one per project that
 * the settings ever had. */
#define COUNT_BITS 48

struct under_way {
    struct pr_pos pos;
    bool ordered;
};

struct rt_casts {
    uint64_t stream;
    struct pr_pos taken; /* the last one that was published */
    struct pr_pos done;  /* everything up to it was ordered */
    uint64_t first;      /* cookie of the first one that is under way; they count up */
    struct under_way *ring;
    uint32_t head, count, cap; /* cap is a power of two */
    struct rt_defer tell;
};

struct rt_casts *rt_casts_new(void)
{
    struct rt_casts *c = rt_calloc(1, sizeof *c);

    c->first = 1;
    return c;
}

void rt_casts_free(struct rt_project *project)
{
    rt_loop_undefer(project->edge->loop, &project->casts->tell);
    rt_free(project->casts->ring);
    rt_free(project->casts);
    project->casts = NULL;
}

static void put_ok(struct pr_outbuf *o, const void *msg)
{
    pr_cast_ok_encode(o, msg);
}

/* Once per turn. If the link is down it is said again when db sends again. */
static void tell(void *ctx)
{
    struct rt_project *project = ctx;
    struct pr_cast_ok ok = {.project = pr_str(project->cfg->project),
                            .stream = project->casts->stream,
                            .pos = project->casts->done};

    rt_link_send(project->edge, put_ok, &ok);
}

static void add(struct rt_casts *c, struct pr_pos pos)
{
    if (c->count == c->cap) {
        uint32_t cap = c->cap == 0 ? FIRST_CAP : c->cap * 2;
        struct under_way *ring = rt_malloc(cap * sizeof *ring);

        for (uint32_t i = 0; i < c->count; i++) {
            ring[i] = c->ring[(c->head + i) & (c->cap - 1)];
        }
        rt_free(c->ring);
        c->ring = ring;
        c->head = 0;
        c->cap = cap;
    }
    c->ring[(c->head + c->count) & (c->cap - 1)] = (struct under_way){.pos = pos};
    c->count++;
}

/* Positions of another history: what is under way of the one before is nobody's to know. */
static void begin_stream(struct rt_casts *c, uint64_t stream)
{
    c->stream = stream;
    c->taken = (struct pr_pos){0};
    c->done = (struct pr_pos){0};
    c->first += c->count;
    c->head = 0;
    c->count = 0;
}

static uint64_t cookie_of(const struct rt_project *project, uint64_t count)
{
    return (uint64_t)project->id << COUNT_BITS | count;
}

int rt_casts_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_project *project;
    struct rt_casts *c;
    struct pr_cast m;
    int rv = pr_cast_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    project = rt_project_of(e, m.project);
    if (project == NULL) {
        return 0; /* not acknowledged, and seen to when it is known */
    }
    if (project->late) {
        project->late = false;
        return CL_EAGAIN; /* what was passed over is read again for whoever publishes next */
    }
    c = project->casts;
    if (m.stream != c->stream) {
        begin_stream(c, m.stream);
    }
    if (pr_pos_cmp(m.pos, c->taken) <= 0) { /* the reader began again */
        rt_loop_defer(e->loop, &c->tell, tell, project);
        return 0;
    }
    if (c->count == RT_CASTS_MAX) {
        return CL_EAGAIN;
    }
    rv = cle_publish(e->cle, e->now_ms, m.topic, PR_PUB_KEEP, m.body,
                     cookie_of(project, c->first + c->count));
    if (rv == CL_OK) {
        rt_limit_spend(project, RT_LIMIT_EVENTS, 1);
        add(c, m.pos);
        c->taken = m.pos;
    }
    return rv;
}

void rt_casts_done(struct rt_edge *e, uint64_t cookie)
{
    struct rt_project *project = rt_project_by_id(e, (uint32_t)(cookie >> COUNT_BITS));
    uint64_t count = cookie & (UINT64_MAX >> (64 - COUNT_BITS));
    struct rt_casts *c = project == NULL ? NULL : project->casts;

    if (c == NULL || count - c->first >= c->count) {
        return; /* of a stream before this one, or of a project that is gone */
    }
    c->ring[(c->head + (uint32_t)(count - c->first)) & (c->cap - 1)].ordered = true;
    while (c->count > 0 && c->ring[c->head].ordered) {
        c->done = c->ring[c->head].pos;
        c->head = (c->head + 1) & (c->cap - 1);
        c->count--;
        c->first++;
        rt_loop_defer(e->loop, &c->tell, tell, project);
    }
}

bool rt_casts_repeat(struct rt_topic *t, const struct pr_bcast *b)
{
    if (b->stream == 0) {
        return false;
    }
    if (b->stream == t->cast_stream && pr_pos_cmp(b->pos, t->cast_pos) <= 0) {
        return true;
    }
    t->cast_stream = b->stream;
    t->cast_pos = b->pos;
    return false;
}
