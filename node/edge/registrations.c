/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/registrations.h"

#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/edge/changes.h"
#include "node/edge/link.h"

#define FIRST_CAP 64u
/* How soon to look again at a link that was full: a megabyte is gone by then. */
#define LOOK_MS 5u

struct rt_changes *rt_regs_new(uint64_t now_ms)
{
    struct rt_changes *c = rt_calloc(1, sizeof *c);

    c->cap = FIRST_CAP;
    c->by_key = rt_calloc(c->cap, sizeof(struct rt_reg *));
    c->by_handle = rt_calloc(c->cap, sizeof(struct rt_reg *));
    rt_pace_init(&c->pace, now_ms);
    return c;
}

void rt_regs_free(struct rt_changes *c)
{
    if (c == NULL) {
        return;
    }
    assert(c->count == 0 && c->bytes == 0);
    rt_free(c->by_key);
    rt_free(c->by_handle);
    rt_free(c->touched);
    rt_free(c->queue.handles);
    rt_pace_free(&c->pace);
    rt_free(c);
}

/* The length enters the seed, so that no two lists of texts run together. */
static uint64_t mix(uint64_t hash, struct pr_slice s)
{
    return XXH3_64bits_withSeed(s.p, s.n, hash + s.n);
}

static uint64_t hash_of(const struct rt_params *p, const struct rt_token *token, uint64_t seed)
{
    uint64_t h = seed + (p->has_filter ? 1u : 0u) + (p->has_select ? 2u : 0u);

    h = mix(h, p->event);
    h = mix(h, p->schema);
    h = mix(h, p->table);
    h = mix(h, p->filter);
    h = mix(h, p->select);
    h = mix(h, token->role);
    return mix(h, token->claims);
}

/* One that was cancelled is tried anew by who joins again. */
static bool same(const struct rt_reg *r, const struct rt_params *p, const struct rt_token *token)
{
    const struct rt_params *q = &r->params;

    return !(r->answered && r->status == PR_CHG_CANCELLED) && pr_slice_eq(q->event, p->event) &&
           pr_slice_eq(q->schema, p->schema) && pr_slice_eq(q->table, p->table) &&
           q->has_filter == p->has_filter && pr_slice_eq(q->filter, p->filter) &&
           q->has_select == p->has_select && pr_slice_eq(q->select, p->select) &&
           pr_slice_eq(r->token->role, token->role) && pr_slice_eq(r->token->claims, token->claims);
}

static void link_in(struct rt_changes *c, struct rt_reg *r)
{
    struct rt_reg **key = &c->by_key[r->hash & (c->cap - 1)];
    struct rt_reg **handle = &c->by_handle[r->handle & (c->cap - 1)];

    r->by_key = *key;
    *key = r;
    r->by_handle = *handle;
    *handle = r;
}

static void grow(struct rt_changes *c)
{
    struct rt_reg **old = c->by_handle;
    uint32_t old_cap = c->cap;

    rt_free(c->by_key);
    c->cap = old_cap * 2;
    c->by_key = rt_calloc(c->cap, sizeof(struct rt_reg *));
    c->by_handle = rt_calloc(c->cap, sizeof(struct rt_reg *));
    for (uint32_t i = 0; i < old_cap; i++) {
        while (old[i] != NULL) {
            struct rt_reg *r = old[i];

            old[i] = r->by_handle;
            link_in(c, r);
        }
    }
    rt_free(old);
}

static size_t bytes_of(const struct rt_reg *r)
{
    const struct rt_params *p = &r->params;

    return p->event.n + p->schema.n + p->table.n + p->filter.n + p->select.n + r->token->role.n +
           r->token->claims.n;
}

static struct pr_slice copy(uint8_t **at, struct pr_slice s)
{
    uint8_t *p = *at;

    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    *at = p + s.n;
    return pr_bytes(p, s.n);
}

static struct rt_reg *reg_new(struct rt_project *project, const struct rt_params *p,
                              struct rt_token *token, uint64_t hash)
{
    struct rt_changes *c = project->changes;
    size_t n = p->event.n + p->schema.n + p->table.n + p->filter.n + p->select.n;
    struct rt_reg *r = rt_calloc(1, sizeof *r + n);
    uint8_t *at = r->text;

    r->handle = ++project->edge->last_reg;
    r->hash = hash;
    r->token = rt_token_ref(token);
    r->params = *p;
    r->params.event = copy(&at, p->event);
    r->params.schema = copy(&at, p->schema);
    r->params.table = copy(&at, p->table);
    r->params.filter = copy(&at, p->filter);
    r->params.select = copy(&at, p->select);
    if (c->count == c->cap) {
        grow(c);
    }
    link_in(c, r);
    c->count++;
    c->bytes += bytes_of(r);
    return r;
}

static void put_reg(struct pr_outbuf *o, const void *msg)
{
    pr_chg_reg_encode(o, msg);
}

static void put_unreg(struct pr_outbuf *o, const void *msg)
{
    pr_chg_unreg_encode(o, msg);
}

static void send_reg(struct rt_project *project, const struct rt_reg *r)
{
    const struct rt_params *p = &r->params;
    struct pr_chg_reg m = {
        .project = pr_str(project->cfg->project),
        .boot = project->edge->args->boot,
        .handle = r->handle,
        .event = p->event,
        .schema = p->schema,
        .table = p->table,
        .has_filter = p->has_filter,
        .filter = p->filter,
        .has_select = p->has_select,
        .nselect = p->nselect,
        .select = p->select,
        .role = r->token->role,
        .claims = r->token->claims,
        .life = project->changes->life,
    };

    rt_link_send(project->edge, put_reg, &m);
}

static void unanswered(struct rt_project *project, struct rt_reg *r)
{
    (void)project;
    /* A refusal stands until it is taken back: rows must not come meanwhile. */
    r->answered = r->answered && r->status == PR_CHG_REFUSED;
}

static void enqueue(struct rt_project *project, struct rt_reg *r)
{
    struct rt_reg_queue *q = &project->changes->queue;

    if (q->count == q->cap) {
        q->cap = q->cap == 0 ? FIRST_CAP : q->cap * 2;
        q->handles = rt_realloc(q->handles, q->cap * sizeof *q->handles);
    }
    q->handles[q->count++] = r->handle;
}

static void each(struct rt_project *project,
                 void (*fn)(struct rt_project *project, struct rt_reg *r))
{
    for (uint32_t i = 0; i < project->changes->cap; i++) {
        for (struct rt_reg *r = project->changes->by_key[i]; r != NULL; r = r->by_key) {
            fn(project, r);
        }
    }
}

static void clear(struct rt_reg_queue *q)
{
    rt_free(q->handles);
    q->handles = NULL;
    q->next = 0;
    q->count = 0;
    q->cap = 0;
}

/* All, for all who have asked by now; those that waited for room are among them. */
static void begin(struct rt_project *project)
{
    struct rt_reg_queue *q = &project->changes->queue;

    clear(q);
    each(project, enqueue);
    q->all = q->count;
    q->nanswered = q->nrounds;
}

bool rt_regs_sync(struct rt_project *project, uint64_t round)
{
    struct rt_reg_queue *q = &project->changes->queue;

    if (q->nrounds == RT_REGS_ROUNDS_MAX) {
        return false;
    }
    q->rounds[q->nrounds++] = round;
    each(project, unanswered);
    if (q->nanswered == 0) {
        begin(project);
    }
    return true;
}

static void put_synced(struct pr_outbuf *o, const void *msg)
{
    pr_chg_synced_encode(o, msg);
}

void rt_regs_synced(struct rt_edge *e, struct pr_slice project, uint64_t round)
{
    struct pr_chg_synced m = {.project = project, .boot = e->args->boot, .round = round};

    rt_link_send(e, put_synced, &m);
}

/* The owner counts the answers: each question has one. */
static void answer(struct rt_project *project, uint32_t n)
{
    struct rt_reg_queue *q = &project->changes->queue;

    for (uint32_t i = 0; i < n; i++) {
        rt_regs_synced(project->edge, pr_str(project->cfg->project), q->rounds[i]);
    }
    q->nrounds -= n;
    memmove(q->rounds, q->rounds + n, q->nrounds * sizeof q->rounds[0]);
    q->nanswered = 0;
}

/* The next thing that is to be told. False: there is none. */
static bool tell_next(struct rt_project *project)
{
    struct rt_reg_queue *q = &project->changes->queue;
    struct rt_reg *r;

    if (q->nanswered > 0 && q->next == q->all) {
        answer(project, q->nanswered);
        if (q->nrounds > 0) {
            begin(project);
        }
        return true;
    }
    if (q->next == q->count) {
        clear(q);
        return false;
    }
    r = rt_reg_of(project->changes, q->handles[q->next++]);
    if (r != NULL) {
        unanswered(project, r);
        send_reg(project, r);
    }
    return true;
}

void rt_regs_run(struct rt_edge *e)
{
    size_t before = e->link.up ? rt_ipc_queued(e->link.ipc) : 0;
    size_t bound = RT_REGS_LINK_BYTES;
    uint32_t idle = 0; /* projects in a row that have nothing to tell */

    while (idle < e->nprojects && e->link.up && rt_ipc_queued(e->link.ipc) < bound) {
        e->reg_turn = (e->reg_turn + 1) % e->nprojects;
        if (tell_next(e->projects[e->reg_turn])) {
            idle = 0;
            bound = RT_REGS_TURN_BYTES;
        } else {
            idle++;
        }
    }
    if (idle < e->nprojects && e->link.up) {
        rt_timer_set(&e->more, before < RT_REGS_TURN_BYTES ? 0 : LOOK_MS);
    }
}

void rt_regs_unanswered(struct rt_project *project)
{
    clear(&project->changes->queue);
    project->changes->queue.nrounds = 0;
    project->changes->queue.nanswered = 0;
    each(project, unanswered);
}

void rt_regs_leave(struct rt_project *project)
{
    answer(project, project->changes->queue.nrounds);
}

struct rt_reg *rt_reg_of(const struct rt_changes *c, uint32_t handle)
{
    struct rt_reg *r = c->by_handle[handle & (c->cap - 1)];

    while (r != NULL && r->handle != handle) {
        r = r->by_handle;
    }
    return r;
}

static void tell_new(struct rt_project *project, struct rt_reg *r)
{
    const struct rt_link *link = &project->edge->link;

    if (link->up && rt_ipc_queued(link->ipc) < RT_REGS_LINK_BYTES) {
        send_reg(project, r);
    } else if (link->up) { /* else whoever reads will ask */
        enqueue(project, r);
    }
}

struct rt_reg *rt_reg_use(struct rt_project *project, const struct rt_params *p,
                          struct rt_token *token, struct rt_reg_user user, uint32_t *pos)
{
    struct rt_changes *c = project->changes;
    uint64_t hash = hash_of(p, token, project->edge->topics.seed);
    struct rt_reg *r = c->by_key[hash & (c->cap - 1)];

    while (r != NULL && (r->hash != hash || !same(r, p, token))) {
        r = r->by_key;
    }
    if (r == NULL) {
        r = reg_new(project, p, token, hash);
        tell_new(project, r);
    }
    if (r->nusers == r->cap) {
        r->cap = r->cap == 0 ? 2 : r->cap * 2;
        r->users = rt_realloc(r->users, r->cap * sizeof *r->users);
    }
    *pos = r->nusers;
    r->users[r->nusers++] = user;
    return r;
}

static void unlink_key(struct rt_changes *c, struct rt_reg *r)
{
    struct rt_reg **at = &c->by_key[r->hash & (c->cap - 1)];

    while (*at != r) {
        at = &(*at)->by_key;
    }
    *at = r->by_key;
    at = &c->by_handle[r->handle & (c->cap - 1)];
    while (*at != r) {
        at = &(*at)->by_handle;
    }
    *at = r->by_handle;
    c->count--;
}

void rt_reg_gone(struct rt_project *project, uint32_t handle)
{
    struct pr_chg_unreg m = {.project = pr_str(project->cfg->project),
                             .boot = project->edge->args->boot,
                             .handle = handle};

    rt_link_send(project->edge, put_unreg, &m);
}

void rt_reg_unuse(struct rt_project *project, struct rt_reg *r, uint32_t pos)
{
    assert(pos < r->nusers);
    r->nusers--;
    if (pos < r->nusers) {
        r->users[pos] = r->users[r->nusers];
        rt_changes_moved(&r->users[pos], pos);
    }
    if (r->nusers > 0) {
        return;
    }
    rt_reg_gone(project, r->handle);
    project->changes->bytes -= bytes_of(r);
    unlink_key(project->changes, r);
    rt_token_unref(r->token);
    rt_free(r->message);
    rt_free(r->users);
    rt_free(r);
}
