/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/edge_in.h"

#include <assert.h>
#include <string.h>

/* Items of a chunk, as a power of two. */
#define TOPIC_SHIFT     6u
#define HELD_SHIFT      6u
#define PUBLISHER_SHIFT 7u
#define PRES_SHIFT      7u

static uint64_t rehash_topic(const void *ctx, uint32_t i)
{
    const struct cle *c = ctx;

    return cle_topic_hash(c, cle_topic_key(c, i));
}

static uint64_t rehash_held(const void *ctx, uint32_t i)
{
    const struct held *h = cle_held(ctx, i);

    return cle_held_hash(h->part, h->oseq);
}

static uint64_t rehash_pres(const void *ctx, uint32_t i)
{
    const struct own_pres *p = cle_pres(ctx, i);

    return cle_pres_hash(p->topic, p->slot);
}

/* Publishers are few per topic and found by their list, never by hash. */
static uint64_t rehash_none(const void *ctx, uint32_t i)
{
    (void)ctx;
    return i;
}

struct cle *cle_new(const struct cle_config *cfg, cl_ms now)
{
    const struct list empty = {.head = NONE, .tail = NONE};
    struct cle *c = NULL;

    if (cfg->topics_max == 0 || cfg->presences_max == 0 || cfg->index >= 64) {
        return NULL;
    }
    c = cfg->mem->get(cfg->mem->ctx, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    memset(c, 0, sizeof *c);
    c->mem = cfg->mem;
    c->index = cfg->index;
    c->boot = cfg->boot;
    c->topics_max = cfg->topics_max;
    c->presences_max = cfg->presences_max;
    c->now = now;
    c->link = LINK_DOWN;
    c->unsent = NONE;
    c->due = empty;
    c->held_list = empty;
    c->give_up = empty;
    for (uint32_t i = 0; i < LISTS; i++) {
        c->lists[i] = empty;
    }
    cl_pool_init(&c->topics, c->mem, sizeof(struct etopic), TOPIC_SHIFT, rehash_topic, c);
    cl_pool_init(&c->held, c->mem, sizeof(struct held), HELD_SHIFT, rehash_held, c);
    cl_pool_init(&c->publishers, c->mem, sizeof(struct publisher), PUBLISHER_SHIFT, rehash_none, c);
    cl_pool_init(&c->pres, c->mem, sizeof(struct own_pres), PRES_SHIFT, rehash_pres, c);
    cl_out_init(&c->out, c->mem, sizeof(struct cle_queued), CLE_ACTIONS_MAX);
    return c;
}

void cle_free(struct cle *c)
{
    if (c == NULL) {
        return;
    }
    cle_pres_deinit(c);
    cle_pub_deinit(c);
    cle_topics_deinit(c);
    cl_out_deinit(&c->out);
    c->mem->put(c->mem->ctx, c, sizeof *c);
}

struct cle_action *cle_push(struct cle *c, enum cle_action_type type, uint32_t topic)
{
    struct cle_queued *q = cl_out_push(&c->out);

    q->act.type = type;
    q->act.topic = topic;
    return &q->act;
}

void cle_push_send(struct cle *c, const struct pr_outbuf *w)
{
    struct cle_queued *q = cl_out_push(&c->out);

    assert(cle_up(c));
    q->act.type = CLE_SEND;
    q->act.bytes.n = w->len;
    q->at = cl_out_written(&c->out, w);
}

bool cle_up(const struct cle *c)
{
    return c->link != LINK_DOWN;
}

bool cle_next_action(struct cle *c, struct cle_action *out)
{
    const struct cle_queued *q = cl_out_take(&c->out);

    while (q != NULL && q->act.type == 0) {
        q = cl_out_take(&c->out);
    }
    if (q == NULL) {
        return false;
    }
    *out = q->act;
    if (out->bytes.n > 0) {
        out->bytes = cl_out_bytes(&c->out, q->at, out->bytes.n);
    }
    return true;
}

/* Whatever the next owner must be told about topic `i`. 0 or an error; what is done is done. */
static int tell(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);
    int rv = CL_OK;

    if ((t->state == SUB_NONE && t->refs > 0) ||
        (t->state == SUB_OK && t->unanswered == 0 && t->asked != t->presence)) {
        rv = cle_topic_send_sub(c, i);
    }
    if (rv == CL_OK && t->full_due) {
        rv = cle_pres_send_full(c, i);
    }
    if (rv == CL_OK && t->reset_due) {
        rv = cl_out_reserve(&c->out, 0, 1);
        if (rv == CL_OK) {
            t->reset_due = false;
            (void)cle_push(c, CLE_PRES_RESET, i);
        }
    }
    if (rv == CL_OK && t->view_due && c->synced && t->asked == t->presence) {
        rv = cle_view_send_get(c, i);
    }
    return rv;
}

static int tell_all(struct cle *c, size_t start)
{
    for (uint32_t k = 0; c->due.head != NONE; k++) {
        uint32_t i = c->due.head;
        struct etopic *t = cle_topic(c, i);
        int rv = CL_OK;

        if (k == CLE_PUMP_TOPICS || c->out.len - start > CLE_PUMP_BYTES) {
            return CL_EAGAIN;
        }
        rv = tell(c, i);
        if (rv != CL_OK) {
            return rv;
        }
        c->due.head = t->due_next;
        if (c->due.head == NONE) {
            c->due.tail = NONE;
        }
        t->due = false;
    }
    return CL_OK;
}

/* With the digest of what was told: an owner that knew this edge before compares. */
static int send_attached(struct cle *c)
{
    struct pr_outbuf w;
    int rv = cl_out_reserve(&c->out, 2 * CLE_FRAME_SMALL, 2);

    if (rv == CL_OK) {
        cle_view_push_digest(c);
        w = cl_out_writer(&c->out);
        pr_attached_encode(&w);
        cle_push_send(c, &w);
        c->link = LINK_RESENDING;
    }
    return rv;
}

/* Sends what is due, as far as its portion and room go; what remains is due at once. */
void cle_pump(struct cle *c)
{
    /* The portion before is forgotten here if it was taken, and must not count against this one. */
    size_t start = cl_out_reserve(&c->out, 0, 0) == CL_OK ? c->out.len : 0;

    if (!cle_up(c) || tell_all(c, start) != CL_OK) {
        return;
    }
    if (c->link == LINK_TELLING && send_attached(c) != CL_OK) {
        return;
    }
    while (c->link == LINK_RESENDING && c->unsent != NONE) {
        if (c->out.len - start > CLE_PUMP_BYTES || cle_pub_resend(c) != CL_OK) {
            return;
        }
    }
    if (c->link == LINK_RESENDING) {
        c->link = LINK_LIVE;
    }
}

int cle_link_up(struct cle *c, cl_ms now, const struct pr_hello_ok *ok)
{
    if (ok->proto < PR_PROTO_MIN || ok->proto > PR_PROTO_MAX) {
        return CL_EPROTO;
    }
    cle_link_down(c, now);
    c->link = LINK_TELLING;
    c->links++;
    c->digest_at = now + CLE_DIGEST_MS;
    for (uint32_t i = 0; i < c->topics.top; i++) {
        if (cle_topic(c, i)->key != NULL) {
            cle_topic_due(c, i);
        }
    }
    cle_pump(c);
    return CL_OK;
}

void cle_link_down(struct cle *c, cl_ms now)
{
    c->now = now;
    if (!cle_up(c)) {
        return;
    }
    for (uint32_t i = c->out.head; i < c->out.count; i++) {
        struct cle_queued *q = cl_out_at(&c->out, i);

        if (q->act.type == CLE_SEND) {
            q->act.type = 0; /* all of it will be told to the next owner */
        }
    }
    c->link = LINK_DOWN;
    c->synced = false;
    c->unsent = c->held_list.head;
    cle_topics_link_down(c);
}

/*
 * The owner cannot know what became of publishes it passed on. Everything held goes out again, in
 * order, behind the echo: what the owner still gets before the echo it passes over.
 */
static int on_again(struct cle *c, const struct pr_again *m)
{
    int rv = cl_out_reserve(&c->out, CLE_FRAME_SMALL, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&c->out);

        pr_again_ok_encode(&w, m);
        cle_push_send(c, &w);
        c->unsent = c->held_list.head;
        if (c->link == LINK_LIVE) {
            c->link = LINK_RESENDING;
        }
        cle_pump(c);
    }
    return rv;
}

int cle_frame(struct cle *c, cl_ms now, const struct pr_frame *f)
{
    struct pr_sub_ok sub_ok;
    struct pr_pub_ok pub_ok;
    struct pr_again again;
    struct pr_event ev;

    c->now = now;
    if (!cle_up(c)) {
        return CL_ENOENT;
    }
    if (f->type == PR_T_EVENT) {
        return pr_event_decode(f, &ev) == PR_OK ? cle_pub_on_event(c, &ev) : CL_EPROTO;
    }
    if (f->type == PR_T_PUB_OK) {
        return pr_pub_ok_decode(f, &pub_ok) == PR_OK ? cle_pub_on_ok(c, &pub_ok) : CL_EPROTO;
    }
    if (f->type == PR_T_SUB_OK) {
        return pr_sub_ok_decode(f, &sub_ok) == PR_OK ? cle_topic_on_sub_ok(c, &sub_ok) : CL_EPROTO;
    }
    if (f->type == PR_T_AGAIN) {
        return pr_again_decode(f, &again) == PR_OK ? on_again(c, &again) : CL_EPROTO;
    }
    return cle_view_on_frame(c, f);
}

int cle_tick(struct cle *c, cl_ms now)
{
    int rv = CL_OK;

    assert(now >= c->now);
    c->now = now;
    rv = cle_pub_tick(c);
    if (rv == CL_OK) {
        rv = cle_topics_tick(c);
    }
    if (rv == CL_OK) {
        cle_pump(c);
        if (c->link == LINK_LIVE && c->synced && c->due.head == NONE && now >= c->digest_at) {
            rv = cle_view_send_digest(c);
        }
    }
    return rv;
}

cl_ms cle_deadline(const struct cle *c)
{
    cl_ms due = cle_topics_deadline(c);
    cl_ms give_up = cle_pub_deadline(c);

    if (cle_up(c) && (c->link != LINK_LIVE || c->due.head != NONE)) {
        return c->now;
    }
    due = give_up < due ? give_up : due;
    if (c->link == LINK_LIVE && c->synced && c->digest_at < due) {
        due = c->digest_at;
    }
    return due;
}

void cle_stats(const struct cle *c, struct cle_stats *out)
{
    *out = c->stats;
    out->topics = c->topics.used;
    out->held = c->held.used;
    out->held_bytes = c->held_bytes;
    out->presences = c->pres.used;
}

bool cle_check(const struct cle *c, const char **what)
{
    *what = NULL;
    if (c->topics.used > c->topics_max || c->pres.used > c->presences_max) {
        *what = "a table of the edge is over its limit";
        return false;
    }
    if (!cle_up(c) && c->synced) {
        *what = "synced with an owner that is not there";
        return false;
    }
    return cle_topics_check(c, what) && cle_pub_check(c, what) && cle_pres_check(c, what);
}
