/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/gossip.h"

#include "proto/mesh_pack.h"

/* Fields of the arrays, with the type of a message. */
#define FACT_FIELDS 7u
#define META_FIELDS 11u

static bool name_valid(struct pr_slice name)
{
    if (name.n == 0 || name.n > PR_NODE_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

bool pr_meta_valid(const struct pr_meta *m)
{
    return m->weight <= PR_WEIGHT_MAX && m->proto_min <= m->proto_max &&
           m->build.n <= PR_META_BUILD_MAX && m->url.n <= PR_META_URL_MAX &&
           m->zone.n <= PR_META_ZONE_MAX;
}

bool pr_fact_valid(const struct pr_fact *f)
{
    return f->id != 0 && f->state >= PR_F_ALIVE && f->state <= PR_F_LEFT && name_valid(f->name) &&
           f->addr.family != PR_ADDR_NONE && pr_meta_valid(&f->meta);
}

static void put_meta(struct pr_outbuf *o, const struct pr_meta *m)
{
    pr_mp_put_array(o, META_FIELDS);
    pr_mp_put_uint(o, m->roles);
    pr_mp_put_bool(o, m->ready);
    pr_mp_put_bool(o, m->draining);
    pr_mp_put_uint(o, m->weight);
    pr_mp_put_uint(o, m->edges);
    pr_mp_put_uint(o, m->sockets100);
    pr_mp_put_uint(o, m->proto_min);
    pr_mp_put_uint(o, m->proto_max);
    pr_mp_put_bin(o, m->build);
    pr_mp_put_bin(o, m->url);
    pr_mp_put_bin(o, m->zone);
}

/* An array inside the array that r reads. */
static void take_meta(struct pr_mp_in *r, struct pr_meta *m)
{
    struct pr_slice rest = {.p = r->c.p, .n = r->c.left};
    struct pr_mp_in in;
    int rv = PR_OK;

    *m = (struct pr_meta){0};
    if (r->err != PR_OK) {
        return;
    }
    in = pr_mp_open_element(rest, META_FIELDS);
    m->roles = pr_mp_u32(&in);
    m->ready = pr_mp_bool(&in);
    m->draining = pr_mp_bool(&in);
    m->weight = pr_mp_u32(&in);
    m->edges = pr_mp_u32(&in);
    m->sockets100 = pr_mp_u32(&in);
    m->proto_min = pr_mp_u32(&in);
    m->proto_max = pr_mp_u32(&in);
    m->build = pr_mp_bin(&in, 0, PR_META_BUILD_MAX);
    m->url = pr_mp_bin(&in, 0, PR_META_URL_MAX);
    m->zone = pr_mp_bin(&in, 0, PR_META_ZONE_MAX);
    rv = pr_mp_close_element(&in, &rest);
    if (rv != 1) {
        r->err = rv;
        return;
    }
    r->c.p = rest.p;
    r->c.left = rest.n;
}

/* Error of a fact whose fields could be read. */
static int fact_error(const struct pr_fact *f)
{
    if (!name_valid(f->name)) {
        return PR_ESYNTAX;
    }
    return pr_fact_valid(f) ? PR_OK : PR_ERANGE;
}

void pr_fact_put(struct pr_outbuf *o, const struct pr_fact *f)
{
    pr_mp_put_array(o, FACT_FIELDS);
    pr_mp_put_uint(o, f->id);
    pr_mp_put_uint(o, f->epoch);
    pr_mp_put_uint(o, f->inc);
    pr_mp_put_uint(o, f->state);
    pr_mp_put_bin(o, f->name);
    pr_mp_put_addr(o, &f->addr);
    put_meta(o, &f->meta);
}

int pr_fact_next(struct pr_slice *list, struct pr_fact *f)
{
    struct pr_mp_in r;
    uint32_t state = 0;
    int rv = PR_OK;

    *f = (struct pr_fact){0};
    if (list->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*list, FACT_FIELDS);
    f->id = pr_mp_uint(&r);
    f->epoch = pr_mp_uint(&r);
    f->inc = pr_mp_u32(&r);
    state = pr_mp_u32(&r);
    f->state = state <= PR_F_LEFT ? (uint8_t)state : 0;
    f->name = pr_mp_bin(&r, 1, PR_NODE_NAME_MAX);
    f->addr = pr_mp_addr(&r);
    take_meta(&r, &f->meta);
    if (r.err == PR_OK) {
        rv = fact_error(f);
    }
    return rv != PR_OK ? rv : pr_mp_close_element(&r, list);
}

/* Fields behind the type; 0 for a type nobody knows. */
static uint32_t fields_of(enum pr_gossip_type type)
{
    switch (type) {
    case PR_G_PING:
        return 3;
    case PR_G_PING_REQ:
        return 4;
    case PR_G_ACK:
        return 2;
    case PR_G_NACK:
        return 1;
    case PR_G_ALIVE:
        return 6;
    case PR_G_SUSPECT:
    case PR_G_DEAD:
        return 4;
    case PR_G_UNKNOWN:
        break;
    }
    return 0;
}

struct pr_gossip_out pr_gossip_begin(struct pr_outbuf *o, uint32_t proto, uint64_t cluster)
{
    struct pr_gossip_out w = {.o = o, .count_at = 0, .count = 0};

    pr_mp_put_array(o, 3);
    pr_mp_put_uint(o, proto);
    pr_mp_put_uint(o, cluster);
    /* array 16: its size is the same for every count */
    pr_put_u8(o, 0xdc);
    w.count_at = o->len;
    pr_put_u16be(o, 0);
    return w;
}

void pr_gossip_end(struct pr_gossip_out *w)
{
    if (w->count_at + 2 <= w->o->cap) {
        w->o->p[w->count_at] = (uint8_t)(w->count >> 8);
        w->o->p[w->count_at + 1] = (uint8_t)(w->count & 0xffu);
    }
}

static void put_msg(struct pr_outbuf *o, const struct pr_gossip_msg *m)
{
    const struct pr_fact *f = &m->fact;
    bool about = m->type == PR_G_ALIVE || m->type == PR_G_SUSPECT || m->type == PR_G_DEAD;

    pr_mp_put_array(o, 1 + fields_of(m->type));
    pr_mp_put_uint(o, m->type);
    if (about) {
        pr_mp_put_uint(o, f->id);
        pr_mp_put_uint(o, f->epoch);
        pr_mp_put_uint(o, f->inc);
        if (m->type != PR_G_ALIVE) {
            pr_mp_put_uint(o, m->from);
            return;
        }
        pr_mp_put_bin(o, f->name);
        pr_mp_put_addr(o, &f->addr);
        put_meta(o, &f->meta);
        return;
    }
    pr_mp_put_uint(o, m->seq);
    if (m->type == PR_G_ACK) {
        pr_mp_put_uint(o, m->view);
    } else if (m->type == PR_G_PING || m->type == PR_G_PING_REQ) {
        pr_mp_put_uint(o, f->id);
        pr_mp_put_uint(o, f->epoch);
        if (m->type == PR_G_PING_REQ) {
            pr_mp_put_addr(o, &f->addr);
        }
    }
}

void pr_gossip_put(struct pr_gossip_out *w, const struct pr_gossip_msg *m)
{
    put_msg(w->o, m);
    w->count++;
}

size_t pr_gossip_size(const struct pr_gossip_msg *m)
{
    struct pr_outbuf o = pr_outbuf(NULL, 0);

    put_msg(&o, m);
    return o.len;
}

static int take_ping(struct pr_mp_in *r, struct pr_gossip_msg *m)
{
    m->seq = pr_mp_u32(r);
    m->fact.id = pr_mp_uint(r);
    m->fact.epoch = pr_mp_uint(r);
    if (m->type == PR_G_PING_REQ) {
        m->fact.addr = pr_mp_addr(r);
        if (r->err == PR_OK && m->fact.addr.family == PR_ADDR_NONE) {
            return PR_ERANGE;
        }
    }
    return r->err == PR_OK && m->fact.id == 0 ? PR_ERANGE : PR_OK;
}

static int take_fact(struct pr_mp_in *r, struct pr_gossip_msg *m)
{
    struct pr_fact *f = &m->fact;

    f->id = pr_mp_uint(r);
    f->epoch = pr_mp_uint(r);
    f->inc = pr_mp_u32(r);
    if (m->type == PR_G_ALIVE) {
        f->state = PR_F_ALIVE;
        f->name = pr_mp_bin(r, 1, PR_NODE_NAME_MAX);
        f->addr = pr_mp_addr(r);
        take_meta(r, &f->meta);
        return r->err == PR_OK ? fact_error(f) : PR_OK;
    }
    m->from = pr_mp_uint(r);
    if (m->type == PR_G_SUSPECT) {
        f->state = PR_F_SUSPECT;
    } else {
        f->state = m->from == f->id ? PR_F_LEFT : PR_F_DEAD;
    }
    return r->err == PR_OK && (f->id == 0 || m->from == 0) ? PR_ERANGE : PR_OK;
}

int pr_gossip_next(struct pr_slice *msgs, struct pr_gossip_msg *m)
{
    struct pr_mp_in r;
    uint64_t type = 0;
    int rv = PR_OK;

    *m = (struct pr_gossip_msg){0};
    if (msgs->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*msgs, 1);
    type = pr_mp_uint(&r);
    m->type = type <= PR_G_DEAD ? (enum pr_gossip_type)type : PR_G_UNKNOWN;
    if (r.err == PR_OK && r.extra < fields_of(m->type)) {
        return PR_ESHORT;
    }
    r.extra -= fields_of(m->type);
    if (m->type == PR_G_PING || m->type == PR_G_PING_REQ) {
        rv = take_ping(&r, m);
    } else if (m->type == PR_G_ACK || m->type == PR_G_NACK) {
        m->seq = pr_mp_u32(&r);
        m->view = m->type == PR_G_ACK ? pr_mp_uint(&r) : 0;
    } else if (m->type != PR_G_UNKNOWN) {
        rv = take_fact(&r, m);
    }
    return rv != PR_OK ? rv : pr_mp_close_element(&r, msgs);
}

static int check_msg(struct pr_slice *list)
{
    struct pr_gossip_msg m;

    return pr_gossip_next(list, &m);
}

int pr_gossip_open(struct pr_slice packet, struct pr_gossip *g)
{
    struct pr_mp_in r;

    *g = (struct pr_gossip){0};
    r = pr_mp_open_element(packet, 3);
    g->proto = pr_mp_u32(&r);
    if (r.err == PR_OK && (g->proto < PR_PROTO_MIN || g->proto > PR_PROTO_MAX)) {
        return PR_EVERSION;
    }
    g->cluster = pr_mp_uint(&r);
    g->msgs = pr_mp_list(&r, &g->nmsgs, check_msg);
    return pr_mp_close(&r);
}
