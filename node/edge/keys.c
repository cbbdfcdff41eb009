/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/keys.h"

#include "node/edge/projects.h"

static void arm(struct rt_edge *e)
{
    if (e->cfg->keys_recheck_s > 0) {
        rt_timer_set(&e->keys, (uint64_t)e->cfg->keys_recheck_s * 1000);
    }
}

static void again_due(void *ctx)
{
    struct rt_edge *e = ctx;

    e->now_ms = rt_now_ms(e->loop);
    rt_projects_reload(e, false);
    arm(e);
}

void rt_keys_start(struct rt_edge *e)
{
    rt_timer_init(e->loop, &e->keys, again_due, e);
    arm(e);
}

void rt_keys_stop(struct rt_edge *e)
{
    rt_timer_close(&e->keys, NULL);
}
