/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publish becomes an event: checked for repeats, counted, and passed to each subscribed edge.
 *
 * Repeats: the publishes of one edge process arrive in the order of their oseq, so what is at or
 * below the last ordered one of (boot, partition) was ordered before. A new owner process does not
 * know what the old one ordered; there the receivers compare (boot, topic, oseq).
 */
#include "cluster/core_in.h"

#include <assert.h>
#include <string.h>

void cl_push_send(struct cl *cl, uint64_t edges, const struct pr_outbuf *w)
{
    struct queued *q = cl_out_push(&cl->out);

    q->act.type = CL_ACT_EDGE_SEND;
    q->act.edges = edges;
    q->act.bytes.n = w->len;
    q->at = cl_out_written(&cl->out, w);
}

static void push_pub_ok(struct cl *cl, uint32_t i, const struct pr_pub *pub, uint32_t result)
{
    struct pr_pub_ok ok = {.part = pub->part, .oseq = pub->oseq, .result = result};
    struct pr_outbuf w = cl_out_writer(&cl->out);

    pr_pub_ok_encode(&w, &ok);
    cl_push_send(cl, UINT64_C(1) << i, &w);
}

static void push_event(struct cl *cl, const struct cl_topic *topic, const struct pr_pub *pub)
{
    struct pr_outbuf w = cl_out_writer(&cl->out);
    struct pr_event ev = {
        .topic = pub->topic,
        .epoch = cl->epoch,
        .seq = topic->seq,
        .boot = pub->boot,
        .part = pub->part,
        .oseq = pub->oseq,
        .flags = pub->flags,
        .payload = pub->payload,
    };

    pr_event_encode(&w, &ev);
    cl_push_send(cl, topic->edges, &w);
    cl->stats.events++;
}

static bool is_repeat(const struct edge *e, const struct pr_pub *pub)
{
#ifdef CL_SABOTAGE_REPEAT
    /* For the simulation, which must notice. */
    (void)e;
    (void)pub;
    return false;
#else
    return e->boot == pub->boot && e->oseq != NULL && pub->oseq <= e->oseq[pub->part];
#endif
}

/*
 * The topic to count in. Nobody needs a topic without subscribers, but as long as an edge is
 * missing it may have some: what they miss must be counted for them, as far as there is room.
 */
static int topic_of(struct cl *cl, struct pr_slice key, struct cl_topic **topic)
{
    *topic = cl_topics_find(&cl->topics, key);
    if (*topic == NULL && cl->n_attached < cl->edges_expected) {
        int rv = cl_topics_get(&cl->topics, cl->now, key, topic);

        return rv == CL_ERANGE ? CL_OK : rv;
    }
    return CL_OK;
}

static int order(struct cl *cl, uint32_t i, const struct pr_pub *pub)
{
    struct edge *e = &cl->edge[i];
    bool answer = e->up && e->boot == pub->boot;
    struct cl_topic *topic = NULL;
    int rv = CL_OK;

    if (is_repeat(e, pub)) {
        rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);
        if (rv == CL_OK && answer) {
            push_pub_ok(cl, i, pub, PR_PUB_REPEAT);
        }
        if (rv == CL_OK) {
            topic = cl_topics_find(&cl->topics, pub->topic);
            cl->stats.repeats++;
            if (topic != NULL) {
                topic->repeats++;
            }
        }
        return rv;
    }
    rv = cl_out_reserve(&cl->out, 2 * CL_FRAME_SMALL + pub->topic.n + pub->payload.n, 2);
    if (rv == CL_OK) {
        rv = topic_of(cl, pub->topic, &topic);
    }
    if (rv != CL_OK) {
        return rv;
    }
    if (e->boot == pub->boot && e->oseq != NULL) {
        e->oseq[pub->part] = pub->oseq;
    }
    cl->stats.published++;
    if (topic != NULL) {
        topic->seq++;
        if (topic->edges != 0) {
            push_event(cl, topic, pub);
        }
    }
    if (answer) {
        push_pub_ok(cl, i, pub, PR_PUB_DONE);
    }
    return CL_OK;
}

/* Bound: cl_limits.pending_bytes. Full: the publish is refused with PR_PUB_FULL, and its edge
 * tells the client; the ones before it keep their place. Seen as stats.pub_full. */
static int park(struct cl *cl, uint32_t i, const struct pr_frame *f, const struct pr_pub *pub)
{
    size_t n = sizeof(struct parked) + f->whole.n;
    struct parked *p = NULL;

    if (n > cl->lim.pending_bytes || cl->park_bytes > cl->lim.pending_bytes - n) {
        int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

        if (rv == CL_OK) {
            push_pub_ok(cl, i, pub, PR_PUB_FULL);
            cl->stats.pub_full++;
        }
        return rv;
    }
    p = cl->mem->get(cl->mem->ctx, n);
    if (p == NULL) {
        return CL_ENOMEM;
    }
    p->next = NULL;
    p->edge = i;
    p->boot = pub->boot;
    p->n = f->whole.n;
    memcpy(p->frame, f->whole.p, f->whole.n);
    if (cl->park_tail == NULL) {
        cl->park_head = p;
    } else {
        cl->park_tail->next = p;
    }
    cl->park_tail = p;
    cl->park_bytes += n;
    cl->stats.parked++;
    return CL_OK;
}

int cl_order_pub(struct cl *cl, uint32_t i, const struct pr_frame *f, const struct pr_pub *pub)
{
    if (!cl->open || cl->park_head != NULL) {
        return park(cl, i, f, pub); /* behind those that wait: the order of a publisher holds */
    }
    return order(cl, i, pub);
}

static void forget_first(struct cl *cl)
{
    struct parked *p = cl->park_head;
    size_t n = sizeof *p + p->n;

    cl->park_head = p->next;
    if (cl->park_head == NULL) {
        cl->park_tail = NULL;
    }
    cl->park_bytes -= n;
    cl->mem->put(cl->mem->ctx, p, n);
}

void cl_order_parked(struct cl *cl)
{
    for (uint32_t k = 0; k < CL_UNPARK_MAX && cl->open && cl->park_head != NULL; k++) {
        const struct parked *p = cl->park_head;
        struct pr_frame f;
        struct pr_pub pub;
        long n = pr_frame_next(pr_bytes(p->frame, p->n), &f);
        int rv = n > 0 ? pr_pub_decode(&f, &pub) : PR_ESHORT;

        assert(rv == PR_OK); /* it was decoded before it was parked */
        if (rv != PR_OK || order(cl, p->edge, &pub) != CL_OK) {
            return; /* again in the next step */
        }
        forget_first(cl);
    }
}

void cl_order_deinit(struct cl *cl)
{
    while (cl->park_head != NULL) {
        forget_first(cl);
    }
}
