/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/clients.h"

#include <assert.h>
#include <string.h>

/* Of a node that was before projects: it has this one alone. */
#define OLD_PROJECT "default"

struct count {
    uint64_t clients; /* as it said last */
    uint64_t told;    /* ours, as it knows them */
};

struct project {
    char name[RT_PROJECT_NAME_MAX + 1];
    struct count edge[RT_EDGES_MAX];
    struct count node[CL_NODES_MAX]; /* of the link in the same place of struct rt_clients */
};

struct rt_clients {
    struct owner *o;
    struct rt_timer tell;
    bool waiting; /* the timer is set: something was told a moment ago */
    bool news;    /* since then */
    uint64_t link[CL_NODES_MAX];
    uint32_t nlinks;
    struct project *project[RT_PROJECTS_MAX];
    uint32_t nprojects;
};

static bool tell_edge(struct owner *o, uint32_t i, struct pr_slice frame)
{
    return o->edge[i] != NULL && rt_ipc_send(o->edge[i]->ipc, frame);
}

/* One of those who know `told`. */
static void tell(struct rt_clients *c, const struct project *p, struct count *to, uint64_t count,
                 uint64_t node, uint32_t edge)
{
    struct pr_clients m = {.count = count, .project = pr_str(p->name)};
    uint8_t bytes[64 + RT_PROJECT_NAME_MAX];
    struct pr_outbuf out = pr_outbuf(bytes, sizeof bytes);

    if (to->told == count) {
        return;
    }
    pr_clients_encode(&out, &m);
    assert(pr_out_ok(&out));
    if (node != 0 ? rt_owner_link_send(c->o, node, pr_bytes(bytes, out.len))
                  : tell_edge(c->o, edge, pr_bytes(bytes, out.len))) {
        to->told = count;
    } else {
        c->news = true; /* it has no room: again in a moment */
    }
}

static void tell_project(struct rt_clients *c, struct project *p, uint64_t *elsewhere)
{
    uint64_t here = 0;
    uint64_t there = 0;

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        here += p->edge[i].clients;
    }
    for (uint32_t i = 0; i < c->nlinks; i++) {
        there += p->node[i].clients;
        tell(c, p, &p->node[i], here, c->link[i], 0);
    }
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (c->o->edge[i] != NULL) {
            tell(c, p, &p->edge[i], here + there - p->edge[i].clients, 0, i);
        }
    }
    *elsewhere += there;
}

static void tell_all(struct rt_clients *c)
{
    uint64_t elsewhere = 0;

    c->news = false;
    for (uint32_t i = 0; i < c->nprojects; i++) {
        tell_project(c, c->project[i], &elsewhere);
    }
    rt_gauge(c->o->args->metrics, RT_M_OWNER_CLIENTS_ELSEWHERE, elsewhere);
    c->waiting = true;
    rt_timer_set(&c->tell, RT_CLIENTS_TELL_MS);
}

static void on_tell(void *ctx)
{
    struct rt_clients *c = ctx;

    c->waiting = false;
    if (c->news) {
        tell_all(c);
    }
}

static void note(struct rt_clients *c)
{
    c->news = true;
    if (!c->waiting) {
        tell_all(c);
    }
}

/* Nobody has a client in it, nor believes so. */
static bool is_empty(const struct rt_clients *c, const struct project *p)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (p->edge[i].clients != 0 || p->edge[i].told != 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < c->nlinks; i++) {
        if (p->node[i].clients != 0 || p->node[i].told != 0) {
            return false;
        }
    }
    return true;
}

/* A row for another project; NULL: all have clients. */
static struct project *take_row(struct rt_clients *c)
{
    if (c->nprojects < RT_PROJECTS_MAX) {
        c->project[c->nprojects] = rt_calloc(1, sizeof(struct project));
        return c->project[c->nprojects++];
    }
    for (uint32_t i = 0; i < c->nprojects; i++) {
        if (is_empty(c, c->project[i])) {
            memset(c->project[i], 0, sizeof(struct project));
            return c->project[i];
        }
    }
    return NULL;
}

static struct project *get(struct rt_clients *c, struct pr_slice name)
{
    struct project *p;

    if (name.n == 0) {
        name = pr_str(OLD_PROJECT);
    }
    for (uint32_t i = 0; i < c->nprojects; i++) {
        if (pr_slice_is(name, c->project[i]->name)) {
            return c->project[i];
        }
    }
    p = name.n > RT_PROJECT_NAME_MAX ? NULL : take_row(c);
    if (p != NULL) {
        memcpy(p->name, name.p, name.n);
    }
    return p;
}

struct rt_clients *rt_clients_new(struct owner *o)
{
    struct rt_clients *c = rt_calloc(1, sizeof *c);

    c->o = o;
    rt_timer_init(o->loop, &c->tell, on_tell, c);
    return c;
}

static void free_clients(void *ctx)
{
    struct rt_clients *c = ctx;

    for (uint32_t i = 0; i < c->nprojects; i++) {
        rt_free(c->project[i]);
    }
    rt_free(c);
}

void rt_clients_free(struct rt_clients *c)
{
    rt_timer_close(&c->tell, free_clients);
}

void rt_clients_edge(struct rt_clients *c, uint32_t edge)
{
    for (uint32_t i = 0; i < c->nprojects; i++) {
        c->project[i]->edge[edge] = (struct count){0};
    }
    if (c->nprojects > 0) {
        note(c);
    }
}

static uint32_t place(const struct rt_clients *c, uint64_t id)
{
    uint32_t i = 0;

    while (i < c->nlinks && c->link[i] != id) {
        i++;
    }
    return i;
}

void rt_clients_link_up(struct rt_clients *c, uint64_t id)
{
    uint32_t at = place(c, id);

    if (at == CL_NODES_MAX) {
        return;
    }
    c->link[at] = id;
    c->nlinks += at == c->nlinks;
    for (uint32_t i = 0; i < c->nprojects; i++) {
        c->project[i]->node[at] = (struct count){0};
    }
    if (c->nprojects > 0) {
        note(c);
    }
}

void rt_clients_link_down(struct rt_clients *c, uint64_t id)
{
    uint32_t at = place(c, id);

    if (at == c->nlinks) {
        return;
    }
    c->nlinks--;
    c->link[at] = c->link[c->nlinks];
    for (uint32_t i = 0; i < c->nprojects; i++) {
        c->project[i]->node[at] = c->project[i]->node[c->nlinks];
    }
    if (c->nprojects > 0) {
        note(c);
    }
}

bool rt_clients_of_edge(struct rt_clients *c, uint32_t edge, const struct pr_frame *f)
{
    struct pr_clients m;
    struct project *p;

    if (pr_clients_decode(f, &m) != PR_OK) {
        return false;
    }
    p = get(c, m.project);
    if (p != NULL) {
        p->edge[edge].clients = m.count;
        if (m.count == 0) { /* maybe it knows the project only now, and dropped what it was told */
            p->edge[edge].told = UINT64_MAX;
        }
        note(c);
    }
    return true;
}

bool rt_clients_of_node(struct rt_clients *c, uint64_t id, const struct pr_frame *f)
{
    uint32_t at = place(c, id);
    struct pr_clients m;
    struct project *p;

    if (pr_clients_decode(f, &m) != PR_OK) {
        return false;
    }
    p = at == c->nlinks ? NULL : get(c, m.project);
    if (p != NULL) {
        p->node[at].clients = m.count;
        note(c);
    }
    return true;
}
