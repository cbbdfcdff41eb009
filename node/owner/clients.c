/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/clients.h"

#include "node/base/alloc.h"

struct other {
    uint64_t id;
    uint64_t count; /* its clients */
    uint64_t told;  /* ours, as it knows them; UINT64_MAX: it does not */
};

struct rt_clients {
    uint32_t count;
    struct other at[CL_NODES_MAX]; /* those with a link */
};

static struct other *find(struct rt_clients *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->at[i].id == id) {
            return &c->at[i];
        }
    }
    return NULL;
}

struct rt_clients *rt_clients_new(void)
{
    return rt_calloc(1, sizeof(struct rt_clients));
}

void rt_clients_free(struct rt_clients *c)
{
    rt_free(c);
}

void rt_clients_link_up(struct rt_clients *c, uint64_t id)
{
    if (find(c, id) == NULL && c->count < CL_NODES_MAX) {
        c->at[c->count++] = (struct other){.id = id, .told = UINT64_MAX};
    }
}

void rt_clients_link_down(struct rt_clients *c, uint64_t id)
{
    struct other *n = find(c, id);

    if (n != NULL) {
        c->count--;
        *n = c->at[c->count];
    }
}

bool rt_clients_frame(struct rt_clients *c, uint64_t id, const struct pr_frame *f)
{
    struct other *n = find(c, id);
    struct pr_clients m;

    if (pr_clients_decode(f, &m) != PR_OK) {
        return false;
    }
    if (n != NULL) {
        n->count = m.count;
    }
    return true;
}

void rt_clients_stats(struct rt_clients *c, struct owner *o)
{
    struct pr_clients own = {.count = rt_metrics_sum(o->args->metrics, RT_M_CLIENTS)};
    uint8_t bytes[32];
    struct pr_outbuf out = pr_outbuf(bytes, sizeof bytes);
    uint64_t sum = 0;

    pr_clients_encode(&out, &own);
    for (uint32_t i = 0; i < c->count; i++) {
        struct other *n = &c->at[i];

        sum += n->count;
        if (n->told != own.count && rt_owner_link_send(o, n->id, pr_bytes(bytes, out.len))) {
            n->told = own.count;
        }
    }
    rt_gauge(o->args->metrics, RT_M_OWNER_CLIENTS_ELSEWHERE, sum);
}
