/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/limits.h"

#include "node/edge/link.h"
#include "node/edge/projects.h"

/* Supabase averages twelve samples of five seconds. */
#define SUPABASE_WINDOW_S 60u
#define BURST_MAX         1000000000u /* of struct rt_rate */

static uint32_t window_s(const struct rt_project *p)
{
    return p->cfg->limits_supabase ? SUPABASE_WINDOW_S : 1;
}

static void start(struct rt_project *p, enum rt_limit_id id, uint32_t per_s)
{
    struct rt_limit *l = &p->limit[id];
    uint64_t burst = (uint64_t)per_s * window_s(p);
    struct rt_rate rate = {.per_s = (per_s + p->cfg->edges - 1) / p->cfg->edges,
                           .burst = burst < BURST_MAX ? (uint32_t)burst : BURST_MAX};

    if (rate.per_s == l->rate.per_s && rate.burst == l->rate.burst) {
        return;
    }
    l->rate = rate;
    if (per_s > 0) {
        rt_bucket_init(&l->bucket, &l->rate, p->edge->now_ms);
    }
}

void rt_limits_start(struct rt_project *p)
{
    start(p, RT_LIMIT_JOINS, p->cfg->max_joins_per_second);
    start(p, RT_LIMIT_EVENTS, p->cfg->max_events_per_second);
    start(p, RT_LIMIT_PRESENCE, p->cfg->max_presence_events_per_second);
}

static void put_clients(struct pr_outbuf *o, const void *msg)
{
    pr_clients_encode(o, msg);
}

static void tell_count(struct rt_project *p, uint32_t count)
{
    struct pr_clients m = {.count = count, .project = pr_str(p->cfg->project)};

    p->told = count;
    rt_link_send(p->edge, put_clients, &m);
}

static void tell(struct rt_project *p)
{
    tell_count(p, p->nclients);
}

/* Who has no limit needs no count. */
static void tell_all(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->nprojects; i++) {
        struct rt_project *p = e->projects[i];

        if (p->cfg->max_clients > 0 && p->told != p->nclients) {
            tell(p);
        }
    }
}

static void tell_due(void *ctx)
{
    struct rt_edge *e = ctx;

    e->now_ms = rt_now_ms(e->loop);
    e->telling = false;
    tell_all(e);
}

void rt_limits_init(struct rt_edge *e)
{
    rt_timer_init(e->loop, &e->tell, tell_due, e);
}

void rt_limits_begin(struct rt_project *p)
{
    if (p->edge->link.up && p->cfg->max_clients > 0) {
        tell(p); /* and gets the count of the others */
    }
}

/* Its sockets are being closed, and nobody asks for them any more. */
void rt_limits_leave(struct rt_project *p)
{
    if (p->told > 0) {
        tell_count(p, 0);
    }
}

void rt_limit_clients_changed(struct rt_project *p)
{
    struct rt_edge *e = p->edge;

    if (p->cfg->max_clients == 0 || e->telling) {
        return; /* the timer finds it */
    }
    e->telling = true;
    rt_timer_set(&e->tell, RT_LIMIT_TELL_MS);
    tell_all(e);
}

void rt_limits_tell(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->nprojects; i++) {
        e->projects[i]->elsewhere = 0;
        if (e->projects[i]->cfg->max_clients > 0) {
            tell(e->projects[i]);
        }
    }
}

int rt_limits_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_project *p;
    struct pr_clients m;
    int rv = pr_clients_decode(f, &m);

    p = rv == PR_OK ? rt_project_of(e, m.project) : NULL;
    if (p != NULL) {
        p->elsewhere = m.count;
    }
    return rv;
}

bool rt_limit_clients_full(const struct rt_project *p)
{
    return p->cfg->max_clients > 0 && p->nclients + p->elsewhere >= p->cfg->max_clients;
}

bool rt_limit_take(struct rt_project *p, enum rt_limit_id id, uint32_t n)
{
    struct rt_limit *l = &p->limit[id];

    return l->rate.per_s == 0 ||
           (n <= rt_limit_left(p, id) && rt_bucket_take(&l->bucket, &l->rate, n, p->edge->now_ms));
}

void rt_limit_spend(struct rt_project *p, enum rt_limit_id id, uint32_t n)
{
    struct rt_limit *l = &p->limit[id];

    if (l->rate.per_s > 0) {
        rt_bucket_spend(&l->bucket, &l->rate, n, p->edge->now_ms);
    }
}

uint32_t rt_limit_left(struct rt_project *p, enum rt_limit_id id)
{
    struct rt_limit *l = &p->limit[id];
    uint32_t w = window_s(p);

    if (l->rate.per_s == 0) {
        return UINT32_MAX;
    }
    return (rt_bucket_left(&l->bucket, &l->rate, p->edge->now_ms) + w - 1) / w;
}

bool rt_limit_shuts(struct rt_project *p, enum rt_limit_id id)
{
    return p->cfg->limits_supabase && rt_limit_left(p, id) == 0;
}
