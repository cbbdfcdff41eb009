/* SPDX-License-Identifier: Apache-2.0 */
/* nodes_stats.c - figures about the other nodes, once a second. */
#include "node/owner/nodes_in.h"

static void count_link(void *ctx, const struct rt_mesh_link_info *l)
{
    uint32_t *n = ctx;

    (void)l;
    (*n)++;
}

static uint64_t refused_links(const struct rt_mesh_counts *c)
{
    return c->refused_key + c->refused_hello + c->refused_full + c->malformed;
}

static uint64_t refused_datagrams(const struct rt_mesh_udp_counts *c)
{
    uint64_t n = 0;

    for (uint32_t v = RT_SEAL_TAKEN + 1; v < RT_SEAL_VERDICTS; v++) {
        n += c->seal.opened[v];
    }
    return n;
}

static void count(struct owner *o)
{
    struct rt_metrics *m = o->args->metrics; /* they get what came since the last time */
    struct rt_mesh_counts l = rt_mesh_counts(o->nodes->mesh);
    struct rt_mesh_udp_counts d = rt_mesh_udp_counts(o->nodes->udp);

    rt_count(m, RT_M_OWNER_LINK_BYTES_OUT, l.bytes_out - o->nodes->links.bytes_out);
    rt_count(m, RT_M_OWNER_LINK_BYTES_IN, l.bytes_in - o->nodes->links.bytes_in);
    rt_count(m, RT_M_OWNER_UDP_BYTES_OUT, d.sent_bytes - o->nodes->datagrams.sent_bytes);
    rt_count(m, RT_M_OWNER_LINK_REFUSED, refused_links(&l) - refused_links(&o->nodes->links));
    rt_count(m, RT_M_OWNER_UDP_REFUSED,
             refused_datagrams(&d) - refused_datagrams(&o->nodes->datagrams));
    o->nodes->links = l;
    o->nodes->datagrams = d;
}

void rt_nodes_stats(struct owner *o)
{
    uint32_t links = 0;

    rt_mesh_each(o->nodes->mesh, count_link, &links);
    rt_seeds_alone(o->nodes->seeds, links == 0);
    if (cl_view(o->cl) != o->nodes->view) {
        o->nodes->view = cl_view(o->cl);
        rt_mesh_set_view(o->nodes->mesh, o->nodes->view);
    }
    rt_gauge(o->args->metrics, RT_M_OWNER_LINKS, links);
    count(o);
}
