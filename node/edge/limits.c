/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/limits.h"

#include "node/edge/edge_in.h"

/* Supabase averages twelve samples of five seconds. */
#define SUPABASE_WINDOW_S 60u
#define BURST_MAX         1000000000u /* of struct rt_rate */

static uint32_t window_s(const struct rt_edge *e)
{
    return e->cfg->limits_supabase ? SUPABASE_WINDOW_S : 1;
}

static void start(struct rt_edge *e, enum rt_limit_id id, uint32_t per_s)
{
    struct rt_limit *l = &e->limit[id];
    uint64_t burst = (uint64_t)per_s * window_s(e);

    l->rate.per_s = (per_s + e->cfg->edges - 1) / e->cfg->edges;
    l->rate.burst = burst < BURST_MAX ? (uint32_t)burst : BURST_MAX;
    if (per_s > 0) {
        rt_bucket_init(&l->bucket, &l->rate, e->now_ms);
    }
}

void rt_limits_start(struct rt_edge *e)
{
    start(e, RT_LIMIT_JOINS, e->cfg->max_joins_per_second);
    start(e, RT_LIMIT_EVENTS, e->cfg->max_events_per_second);
    start(e, RT_LIMIT_PRESENCE, e->cfg->max_presence_events_per_second);
}

bool rt_limit_clients_full(const struct rt_edge *e)
{
    return e->cfg->max_clients > 0 &&
           rt_metrics_sum(e->metrics, RT_M_CLIENTS) +
                   rt_metrics_sum(e->metrics, RT_M_OWNER_CLIENTS_ELSEWHERE) >=
               e->cfg->max_clients;
}

bool rt_limit_take(struct rt_edge *e, enum rt_limit_id id, uint32_t n)
{
    struct rt_limit *l = &e->limit[id];

    return l->rate.per_s == 0 ||
           (n <= rt_limit_left(e, id) && rt_bucket_take(&l->bucket, &l->rate, n, e->now_ms));
}

void rt_limit_spend(struct rt_edge *e, enum rt_limit_id id, uint32_t n)
{
    struct rt_limit *l = &e->limit[id];

    if (l->rate.per_s > 0) {
        rt_bucket_spend(&l->bucket, &l->rate, n, e->now_ms);
    }
}

uint32_t rt_limit_left(struct rt_edge *e, enum rt_limit_id id)
{
    struct rt_limit *l = &e->limit[id];
    uint32_t w = window_s(e);

    if (l->rate.per_s == 0) {
        return UINT32_MAX;
    }
    return (rt_bucket_left(&l->bucket, &l->rate, e->now_ms) + w - 1) / w;
}

bool rt_limit_shuts(struct rt_edge *e, enum rt_limit_id id)
{
    return e->cfg->limits_supabase && rt_limit_left(e, id) == 0;
}
