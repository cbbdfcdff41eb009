/* SPDX-License-Identifier: Apache-2.0 */
/* Matches -> renderings -> bodies -> frames. The JSON of one body is in render.c. */
#include "node/db/route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "node/base/alloc.h"
#include "node/db/render.h"

/* What a body costs beside its data and targets, and a frame beside its bodies, at most: heads of
 * msgpack values, positions, the project's name. */
#define BODY_HEAD_MAX  64u
#define FRAME_HEAD_MAX 1024u

/* Matches of one shape that see as much; those with equal columns become one rendering. */
struct run {
    enum rt_match_error error;
    bool old_hidden;
    uint64_t hash;
    const bool *columns; /* ncolumns, in the router's memory */
    uint32_t ncolumns;
    uint32_t first, count; /* in `order` */
};

struct rt_route {
    struct pr_slice project;
    rt_route_fn emit;
    void *ctx;
    uint64_t stream;
    struct pr_pos said;  /* everything up to it is in frames or in `bodies` */
    struct pr_pos first; /* of `bodies` */
    uint32_t nbodies;
    struct rt_render render;
    struct rt_buffer bodies, targets, frame, order, runs, columns;
    struct rt_route_stats stats;
};

void rt_buffer_reserve(struct rt_buffer *b, size_t cap)
{
    if (b->cap < cap) {
        b->cap = cap < 1024 ? 1024 : cap + cap / 2;
        b->p = rt_realloc(b->p, b->cap);
    }
}

static void buffer_free(struct rt_buffer *b)
{
    rt_free(b->p);
    *b = (struct rt_buffer){0};
}

struct rt_route *rt_route_new(struct pr_slice project, bool with_position, uint32_t body_max,
                              rt_route_fn emit, void *ctx)
{
    struct rt_route *r = rt_calloc(1, sizeof *r + project.n);

    assert(project.n <= PR_ID_MAX);
    if (project.n > 0) {
        memcpy(r + 1, project.p, project.n);
    }
    r->project = pr_bytes(r + 1, project.n);
    r->render.with_position = with_position;
    r->render.body_max = body_max;
    r->emit = emit;
    r->ctx = ctx;
    return r;
}

void rt_route_free(struct rt_route *r)
{
    struct rt_buffer *all[] = {&r->bodies, &r->targets, &r->frame,       &r->order,
                               &r->runs,   &r->columns, &r->render.data, &r->render.scratch};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        buffer_free(all[i]);
    }
    rt_free(r);
}

void rt_route_begin(struct rt_route *r, uint64_t stream, struct pr_pos before)
{
    r->stream = stream;
    r->said = before;
    r->bodies.len = 0;
    r->nbodies = 0;
}

/* Emits what is gathered; everything up to `last` is said with it. */
static void flush(struct rt_route *r, struct pr_pos last)
{
    struct pr_outbuf o;
    struct pr_chg m = {.project = r->project,
                       .stream = r->stream,
                       .first = r->nbodies > 0 ? r->first : last,
                       .last = last,
                       .nbodies = r->nbodies,
                       .bodies = pr_bytes(r->bodies.p, r->bodies.len)};

    rt_buffer_reserve(&r->frame, r->bodies.len + FRAME_HEAD_MAX);
    o = pr_outbuf(r->frame.p, r->frame.cap);
    pr_chg_encode(&o, &m);
    assert(pr_out_ok(&o) && o.len <= PR_FRAME_MAX);
    r->stats.frames++;
    r->bodies.len = 0;
    r->nbodies = 0;
    r->emit(r->ctx, pr_bytes(o.p, o.len));
}

static void put_body(struct rt_route *r, const struct rt_change *c, struct pr_slice data,
                     uint32_t ntargets, struct pr_slice targets)
{
    size_t size = data.n + targets.n + BODY_HEAD_MAX;
    struct pr_outbuf o;
    struct pr_chg_body body = {.pos = c->pos,
                               .kind = (uint32_t)c->kind,
                               .data = data,
                               .ntargets = ntargets,
                               .targets = targets};

    assert(size + FRAME_HEAD_MAX <= PR_FRAME_MAX);
    if (r->bodies.len + size + FRAME_HEAD_MAX > PR_FRAME_MAX || r->nbodies == PR_LIST_MAX) {
        flush(r, r->said);
    }
    if (r->nbodies == 0) {
        r->first = c->pos;
    }
    rt_buffer_reserve(&r->bodies, r->bodies.len + size);
    o = pr_outbuf(r->bodies.p + r->bodies.len, r->bodies.cap - r->bodies.len);
    pr_chg_body_put(&o, &body);
    assert(pr_out_ok(&o));
    r->bodies.len += o.len;
    r->nbodies++;
    r->stats.bodies++;
    r->stats.targets += ntargets;
}

static int order_of(uint64_t a, uint64_t b)
{
    return a < b ? -1 : (a > b ? 1 : 0);
}

static int by_shape(const void *pa, const void *pb)
{
    const struct rt_match *a = *(const struct rt_match *const *)pa;
    const struct rt_match *b = *(const struct rt_match *const *)pb;
    int order = order_of((uintptr_t)a->shape, (uintptr_t)b->shape);

    order = order != 0 ? order : order_of((uint64_t)a->error, (uint64_t)b->error);
    order = order != 0 ? order : order_of(a->old_hidden, b->old_hidden);
    order = order != 0 ? order : order_of(a->boot, b->boot);
    return order != 0 ? order : order_of(a->handle, b->handle);
}

static int compare_runs(const struct run *a, const struct run *b)
{
    int order = order_of((uint64_t)a->error, (uint64_t)b->error);

    order = order != 0 ? order : order_of(a->old_hidden, b->old_hidden);
    order = order != 0 ? order : order_of(a->hash, b->hash);
    if (order != 0 || a->ncolumns == 0) {
        return order;
    }
    return memcmp(a->columns, b->columns, a->ncolumns * sizeof a->columns[0]);
}

static int by_columns(const void *pa, const void *pb)
{
    const struct run *a = pa;
    const struct run *b = pb;
    int order = compare_runs(a, b);

    return order != 0 ? order : order_of(a->first, b->first);
}

bool rt_selects(struct pr_slice select, struct pr_slice name)
{
    struct pr_slice s;

    while (pr_strs_next(&select, &s) == 1) {
        if (pr_slice_eq(s, name)) {
            return true;
        }
    }
    return false;
}

/* Columns that a shape may see: readable by its role, and selected or of the primary key. */
static void set_columns(const struct rt_relation *rel, const struct rt_shape *shape, bool *columns)
{
    const struct rt_rights *rights = rt_relation_rights(rel, shape->role);

    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        columns[i] = rights != NULL && rights->may_select[i] &&
                     (!shape->has_select || rel->columns[i].primary_key ||
                      rt_selects(shape->select, rel->columns[i].name));
    }
}

/* The visible matches by shape. Returns how many. */
static uint32_t sort_matches(struct rt_route *r, const struct rt_matches *m)
{
    const struct rt_match **order = NULL;
    uint32_t count = 0;

    rt_buffer_reserve(&r->order, m->count * sizeof(void *));
    order = (const struct rt_match **)(void *)r->order.p;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->items[i].visible) {
            order[count] = &m->items[i];
            count++;
        }
    }
    if (count > 1) {
        qsort(order, count, sizeof(void *), by_shape);
    }
    return count;
}

static bool same_run(const struct rt_match *a, const struct rt_match *b)
{
    return a->shape == b->shape && a->error == b->error && a->old_hidden == b->old_hidden;
}

/* Cuts the sorted matches into runs, and sorts those by what they show. Returns how many. */
static uint32_t make_runs(struct rt_route *r, const struct rt_relation *rel, uint32_t count)
{
    const struct rt_match **order = (const struct rt_match **)(void *)r->order.p;
    struct run *runs = NULL;
    uint32_t nruns = 0;

    for (uint32_t i = 0; i < count; i++) {
        nruns += i == 0 || !same_run(order[i - 1], order[i]) ? 1 : 0;
    }
    rt_buffer_reserve(&r->runs, nruns * sizeof runs[0]);
    rt_buffer_reserve(&r->columns, (size_t)nruns * rel->ncolumns * sizeof(bool));
    runs = (struct run *)(void *)r->runs.p;
    nruns = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || !same_run(order[i - 1], order[i])) {
            size_t size = rel->ncolumns * sizeof(bool);
            bool *columns = (bool *)(void *)(r->columns.p + nruns * size);

            runs[nruns] = (struct run){.error = order[i]->error,
                                       .old_hidden = order[i]->old_hidden,
                                       .first = i,
                                       .columns = columns};
            if (order[i]->error == RT_MATCH_OK) {
                set_columns(rel, order[i]->shape, columns);
                runs[nruns].ncolumns = rel->ncolumns;
                runs[nruns].hash = XXH3_64bits(columns, size);
            }
            nruns++;
        }
        runs[nruns - 1].count++;
    }
    if (nruns > 1) {
        qsort(runs, nruns, sizeof runs[0], by_columns);
    }
    return nruns;
}

/* One body, or several if it has very many targets, for runs that show the same. */
static void route_runs(struct rt_route *r, const struct rt_change *c, const struct run *runs,
                       uint32_t nruns)
{
    const struct rt_match **order = (const struct rt_match **)(void *)r->order.p;
    bool too_large = false;
    struct pr_slice data =
        rt_render(&r->render, c, runs[0].error, runs[0].columns, runs[0].old_hidden, &too_large);
    struct pr_outbuf o;
    uint32_t ntargets = 0;

    r->stats.too_large += too_large ? 1 : 0;
    rt_buffer_reserve(&r->targets, (size_t)RT_ROUTE_TARGETS_MAX * 16);
    o = pr_outbuf(r->targets.p, r->targets.cap);
    for (uint32_t i = 0; i < nruns; i++) {
        for (uint32_t k = 0; k < runs[i].count; k++) {
            const struct rt_match *m = order[runs[i].first + k];

            if (ntargets == RT_ROUTE_TARGETS_MAX) {
                put_body(r, c, data, ntargets, pr_bytes(o.p, o.len));
                o.len = 0;
                ntargets = 0;
            }
            pr_chg_target_put(&o, m->boot, m->handle);
            ntargets++;
        }
    }
    assert(pr_out_ok(&o));
    put_body(r, c, data, ntargets, pr_bytes(o.p, o.len));
}

void rt_route_change(struct rt_route *r, const struct rt_change *c, const struct rt_matches *m)
{
    uint32_t count = m->count == 0 ? 0 : sort_matches(r, m);
    uint32_t nruns = count == 0 ? 0 : make_runs(r, c->rel, count);
    const struct run *runs = (const struct run *)(void *)r->runs.p;
    uint32_t from = 0;

    while (from < nruns) {
        uint32_t to = from + 1;

        while (to < nruns && compare_runs(&runs[from], &runs[to]) == 0) {
            to++;
        }
        route_runs(r, c, runs + from, to - from);
        from = to;
    }
    r->said = c->pos;
}

void rt_route_flush(struct rt_route *r)
{
    if (r->nbodies > 0) {
        flush(r, r->said);
    }
}

void rt_route_end(struct rt_route *r, struct pr_pos last)
{
    flush(r, last);
}

void rt_route_stats(const struct rt_route *r, struct rt_route_stats *out)
{
    *out = r->stats;
}
