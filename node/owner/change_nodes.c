/* SPDX-License-Identifier: Apache-2.0 */
/* change_nodes.c - other nodes as the routing of changes knows them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/owner/changes_in.h"

#define SMALL_FRAME 512u

struct change_node *rt_change_node(struct changes *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (c->nodes[i].id == id) {
            return &c->nodes[i];
        }
    }
    return NULL;
}

/* NULL only if more nodes live than a cluster may have. */
static struct change_node *add(struct changes *c, uint64_t id)
{
    struct change_node *n = rt_change_node(c, id);

    if (n != NULL) {
        return n;
    }
    if (c->nnodes < RT_CHANGE_NODES_MAX) {
        n = &c->nodes[c->nnodes++];
    }
    for (uint32_t i = 0; n == NULL && i < c->nnodes; i++) {
        n = c->nodes[i].gone ? &c->nodes[i] : NULL;
    }
    if (n != NULL) {
        memset(n, 0, sizeof *n);
        n->id = id;
    }
    return n;
}

static int by_boot(const void *pa, const void *pb)
{
    const struct change_boot *a = pa;
    const struct change_boot *b = pb;

    return a->boot < b->boot ? -1 : (a->boot > b->boot ? 1 : 0);
}

static void index_boots(struct changes *c)
{
    c->nboots = 0;
    for (uint32_t i = 0; i < c->nnodes; i++) {
        const struct change_node *n = &c->nodes[i];
        uint32_t count = n->gone ? 0 : n->nboots;

        if (c->nboots + count > c->boots_cap) {
            c->boots_cap = (c->nboots + count) * 2;
            c->boots = rt_realloc(c->boots, c->boots_cap * sizeof *c->boots);
        }
        for (uint32_t k = 0; k < count; k++) {
            c->boots[c->nboots++] = (struct change_boot){.boot = n->boots[k], .node = i};
        }
    }
    if (c->nboots > 1) {
        qsort(c->boots, c->nboots, sizeof *c->boots, by_boot);
    }
}

uint32_t rt_change_node_of(const struct changes *c, uint64_t boot)
{
    struct change_boot key = {.boot = boot};
    const struct change_boot *found =
        c->nboots == 0 ? NULL : bsearch(&key, c->boots, c->nboots, sizeof key, by_boot);

    return found == NULL ? RT_CHANGE_NOWHERE : found->node;
}

bool rt_change_term_older(struct change_term a, struct change_term b)
{
    return a.system == b.system &&
           (a.timeline < b.timeline || (a.timeline == b.timeline && a.lsn < b.lsn));
}

void rt_change_put_held(const struct changes *c, struct pr_outbuf *o)
{
    struct pr_reader m = {.project = pr_str(c->project),
                          .term_timeline = c->held.timeline,
                          .term_lsn = c->held.lsn,
                          .node = c->o->node_id,
                          .state = PR_READER_HELD,
                          .system = c->held.system,
                          .casts = c->held_casts};

    pr_reader_encode(o, &m);
}

void rt_change_put_sync(const struct changes *c, struct pr_outbuf *o, uint64_t round)
{
    struct pr_chg_sync m = {.project = pr_str(c->project), .round = round};

    pr_chg_sync_encode(o, &m);
}

bool rt_change_node_send(struct changes *c, struct change_node *n, struct pr_slice frame)
{
    bool sent = n->linked && rt_owner_link_send(c->o, n->id, frame);

    if (n->linked && !sent && rt_owner_link_queued(c->o, n->id) == 0) {
        n->linked = false; /* nothing waits and yet it was refused: there is no link */
    }
    return sent;
}

static bool has(const uint64_t *boots, uint32_t count, uint64_t boot)
{
    for (uint32_t i = 0; i < count; i++) {
        if (boots[i] == boot) {
            return true;
        }
    }
    return false;
}

/* What is sent from here on would leave a hole. */
static void close_gate(struct changes *c, struct change_node *n)
{
    n->ready = false;
    n->hole = true;
    rt_change_queues_watch(c);
}

void rt_change_node_changes(struct changes *c, struct change_node *n, struct pr_slice frame,
                            struct pr_pos last)
{
    if (!n->ready || !rt_change_node_send(c, n, frame)) {
        close_gate(c, n);
    } else if (pr_pos_cmp(last, n->sent) > 0) {
        n->sent = last;
    }
}

void rt_change_node_stuck(struct changes *c, struct change_node *n)
{
    rt_log(c->o->args->log, RT_WARN, "changes_not_taken", rt_kv_s("code", "ChangeAckTimeout"),
           rt_kv_s("project", c->project), rt_kv_x("node", n->id));
    close_gate(c, n);
}

void rt_change_nodes_held(struct changes *c)
{
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    rt_change_put_held(c, &o);
    assert(pr_out_ok(&o));
    for (uint32_t i = 0; i < c->nnodes; i++) {
        struct change_node *n = &c->nodes[i];

        if (n->gone) {
            rt_change_missed_all(n);
        }
        if (n->absent != 0) { /* changes would find nobody there, and be taken for known later */
            close_gate(c, n);
            continue;
        }
        if (!n->named) {
            continue; /* it is asked, and told this, when it has named its edges */
        }
        n->ready = rt_change_node_send(c, n, pr_bytes(o.p, o.len));
        n->hole = n->hole && !n->ready;
    }
}

void rt_change_nodes_reset(struct changes *c)
{
    for (uint32_t i = 0; i < c->nnodes; i++) {
        c->nodes[i].ready = false;
        c->nodes[i].hole = false;
    }
}

/* Those that have not come back to their new owner in time are not waited for. */
static void forget_absent(struct changes *c, struct change_node *n)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < n->nboots; i++) {
        if ((n->absent >> i & 1u) == 0) {
            n->boots[left++] = n->boots[i];
            continue;
        }
        rt_changes_unname(c, n->boots[i]);
        if (c->held.lsn != 0) {
            rt_change_missed(n, n->boots[i]);
        }
    }
    n->nboots = left;
    n->absent = 0;
    index_boots(c);
}

bool rt_change_nodes_heal(struct changes *c)
{
    bool waits = false;

    for (uint32_t i = 0; i < c->nnodes; i++) {
        struct change_node *n = &c->nodes[i];

        if (n->absent != 0 && rt_now_ms(c->o->loop) >= n->absent_until_ms) {
            forget_absent(c, n);
        }
        if (n->absent != 0) {
            waits = true;
            continue;
        }
        if (!n->hole || !n->linked || c->again || c->held.lsn == 0) {
            continue; /* a link that comes up, or HELD, brings it here again */
        }
        if (rt_owner_link_queued(c->o, n->id) > RT_CHANGES_CALM_BYTES) {
            waits = true;
            continue;
        }
        c->again = true;
        rt_log(c->o->args->log, RT_INFO, "changes_read_again", rt_kv_s("project", c->project),
               rt_kv_x("node", n->id));
        rt_changes_tell_db(c, PR_READER_START);
    }
    return waits;
}

/* What our reader has to say to a node that has named its edges on a new link. */
static void offer(struct changes *c, struct change_node *n)
{
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (!c->asking) {
        return;
    }
    rt_change_put_sync(c, &o, c->round);
    assert(pr_out_ok(&o));
    if (!rt_change_node_send(c, n, pr_bytes(o.p, o.len)) || c->held.lsn == 0) {
        return;
    }
    if (n->hole || n->absent != 0) {
        close_gate(c, n); /* several links may come up at once: a little later */
        return;
    }
    o = pr_outbuf(bytes, sizeof bytes);
    rt_change_put_held(c, &o);
    n->ready = rt_change_node_send(c, n, pr_bytes(o.p, o.len));
}

void rt_change_node_here(struct changes *c, uint64_t id)
{
    if (id != c->o->node_id) {
        (void)add(c, id);
    }
}

void rt_change_link_up(struct changes *c, uint64_t id)
{
    struct change_node *n = add(c, id);

    if (n == NULL) {
        return;
    }
    n->linked = true;
    n->named = false;
    n->hole = n->hole || n->ready; /* what was on its way when the last link ended is lost */
    n->ready = false;
    n->asks = false; /* it asks anew, if it reads */
    n->term = (struct change_term){0};
    if (n->nboots > 0 && !n->gone) { /* its owner may be new, and has to be found by them first */
        n->absent = UINT64_MAX >> (RT_EDGES_MAX - n->nboots);
        n->absent_until_ms = rt_now_ms(c->o->loop) + RT_CHANGES_ATTACH_MS;
        rt_change_queues_watch(c);
    }
    rt_change_missed_again(n);
}

/* What is said of a node's edges, and those that may still come. */
static void merge(struct changes *c, struct change_node *n, const uint64_t *boots, uint32_t count)
{
    uint64_t next[RT_EDGES_MAX];
    uint64_t absent = 0;
    uint32_t total = count;

    if (count > 0) {
        memcpy(next, boots, count * sizeof *boots);
    }
    for (uint32_t i = 0; i < n->nboots; i++) {
        if (has(boots, count, n->boots[i])) {
            continue;
        }
        /* Every place is taken again: nobody else will come. */
        if ((n->absent >> i & 1u) != 0 && count < n->nboots && total < RT_EDGES_MAX) {
            absent |= UINT64_C(1) << total;
            next[total++] = n->boots[i];
        } else {
            rt_changes_unname(c, n->boots[i]);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!has(n->boots, n->nboots, boots[i])) {
            rt_changes_name(c, boots[i]);
        }
    }
    if (total > 0) {
        memcpy(n->boots, next, total * sizeof *next);
    }
    n->nboots = total;
    n->absent = absent;
}

void rt_change_actors(struct changes *c, uint64_t id, const uint64_t *boots, uint32_t count)
{
    struct change_node *n = add(c, id);
    bool back, first;

    if (n == NULL) {
        return;
    }
    back = n->gone;
    first = !n->heard;
    if (back) {
        n->nboots = 0; /* they were unnamed when it went */
        n->absent = 0;
        n->gone = false;
    }
    merge(c, n, boots, count > RT_EDGES_MAX ? RT_EDGES_MAX : count);
    n->heard = true;
    index_boots(c);
    if (first && (c->known || c->held.lsn != 0)) { /* db began without its edges */
        rt_change_missed_all(n);
    }
    if (!n->named) {
        n->named = true;
        offer(c, n);
    }
    if (n->hole) {
        rt_change_queues_watch(c); /* all may be there now */
    }
    rt_change_missed_tell(c, n); /* behind the question: not live before it is answered */
    rt_changes_check_known(c);
}

void rt_change_node_gone(struct changes *c, uint64_t id)
{
    struct change_node *n = rt_change_node(c, id);

    if (n == NULL || n->gone) {
        return;
    }
    n->gone = true;
    if (n->term.lsn != 0 && !rt_change_term_older(n->term, c->top)) {
        rt_change_cast_flow(c, false);
    }
    if (c->held.lsn != 0) {
        rt_change_missed_all(n);
    }
    n->absent = 0;
    n->heard = false;
    n->named = false;
    n->ready = false;
    n->hole = false;
    for (uint32_t i = 0; i < n->nboots; i++) {
        rt_changes_unname(c, n->boots[i]);
    }
    index_boots(c);
    rt_changes_check_known(c);
}

/* What a link or a node's owner told once, and nothing that our reader or another has done since.
 */
void rt_change_nodes_like(struct changes *c, const struct changes *other)
{
    for (uint32_t i = 0; i < other->nnodes; i++) {
        const struct change_node *from = &other->nodes[i];
        struct change_node *n = &c->nodes[i];

        n->id = from->id;
        memcpy(n->boots, from->boots, sizeof n->boots);
        n->nboots = from->nboots;
        n->absent = from->absent;
        n->absent_until_ms = from->absent_until_ms;
        n->gone = from->gone;
        n->heard = from->heard;
        n->linked = from->linked;
        n->named = from->named;
        if (n->absent != 0) {
            rt_change_queues_watch(c);
        }
    }
    c->nnodes = other->nnodes;
    index_boots(c);
}
