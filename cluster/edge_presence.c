/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Presences of this edge's own clients. This process is their only writer, as one actor: each
 * operation takes the next n, and goes out as the delta (n of the topic's last one, n]. What was
 * not told, or is told to a new owner, goes out as a whole state (0, n].
 */
#include "cluster/edge_in.h"

#include <assert.h>
#include <string.h>

#include "cluster/presence.h"

struct own_pres *cle_pres(const struct cle *c, uint32_t i)
{
    return cl_pool_at(&c->pres, i);
}

uint64_t cle_pres_hash(uint32_t topic, uint32_t slot)
{
    return cl_mix64((uint64_t)topic << 32 | slot);
}

static uint32_t find(const struct cle *c, uint32_t topic, uint32_t slot)
{
    uint32_t i = cl_pool_first(&c->pres, cle_pres_hash(topic, slot));

    while (i != NONE && (cle_pres(c, i)->topic != topic || cle_pres(c, i)->slot != slot)) {
        i = cl_pool_next(&c->pres, i);
    }
    return i;
}

static size_t texts(const struct own_pres *p)
{
    return (size_t)p->key_len + p->meta_len;
}

static struct pr_pent entry_of(const struct own_pres *p)
{
    return (struct pr_pent){
        .n = p->n,
        .slot = p->slot,
        .key = {.p = p->data, .n = p->key_len},
        .meta = {.p = p->data == NULL ? NULL : p->data + p->key_len, .n = p->meta_len},
    };
}

/* Room for a delta whose lists take `list_bytes`: the frame, and behind it the lists to be packed.
 */
static int reserve_delta(struct cle *c, const struct etopic *t, size_t list_bytes)
{
    return cl_out_reserve(&c->out, CLE_FRAME_SMALL + t->key_len + 2 * list_bytes, 1);
}

/* Writer for the lists of a delta: the far end of what was reserved. */
static struct pr_outbuf list_writer(struct cle *c, const struct etopic *t, size_t list_bytes)
{
    struct pr_outbuf w = cl_out_writer(&c->out);
    size_t at = CLE_FRAME_SMALL + t->key_len + list_bytes;

    assert(w.cap >= at + list_bytes);
    return pr_outbuf(w.p + at, list_bytes);
}

static void push_delta(struct cle *c, struct etopic *t, const struct pr_p_delta *d)
{
    struct pr_outbuf w = cl_out_writer(&c->out);

    w.cap = CLE_FRAME_SMALL + t->key_len + d->adds.n + d->dels.n;
    pr_p_delta_encode(&w, d);
    cle_push_send(c, &w);
    t->told = true;
    t->told_n = d->b;
}

int cle_pres_send_full(struct cle *c, uint32_t topic)
{
    struct etopic *t = cle_topic(c, topic);
    struct pr_p_delta d = {.topic = cle_topic_key(c, topic), .actor = c->boot, .b = c->n};
    struct pr_outbuf list;
    int rv = reserve_delta(c, t, t->pres_bytes);

    if (rv != CL_OK) {
        return rv;
    }
    list = list_writer(c, t, t->pres_bytes);
    for (uint32_t i = t->pres_head; i != NONE; i = cle_pres(c, i)->next) {
        struct pr_pent e = entry_of(cle_pres(c, i));

        pr_padd_put(&list, &e);
        d.nadds++;
    }
    assert(pr_out_ok(&list));
    d.adds = (struct pr_slice){.p = list.p, .n = list.len};
    push_delta(c, t, &d);
    t->full_due = false;
    return CL_OK;
}

/* One operation on a topic: `add` came, `gone` went; each may be missing. Room was reserved for
 * `list_bytes`. */
static void push_one(struct cle *c, uint32_t topic, const struct own_pres *add, uint64_t gone,
                     size_t list_bytes)
{
    struct etopic *t = cle_topic(c, topic);
    struct pr_outbuf list = list_writer(c, t, list_bytes);
    struct pr_p_delta d = {
        .topic = cle_topic_key(c, topic),
        .actor = c->boot,
        .a = t->told_n,
        .b = c->n,
        .adds = {.p = list.p},
    };

    if (add != NULL) {
        struct pr_pent e = entry_of(add);

        pr_padd_put(&list, &e);
        d.nadds = 1;
    }
    d.adds.n = list.len;
    /* A dot is in dels only if an earlier delta told it, so not above a. */
    if (gone != 0 && gone <= d.a) {
        d.dels.p = list.p + list.len;
        pr_pdel_put(&list, gone);
        d.dels.n = list.len - d.adds.n;
        d.ndels = 1;
    }
    assert(pr_out_ok(&list));
    push_delta(c, t, &d);
}

/* True: operations on the topic go out as deltas; else they wait for the whole state. */
static bool direct(const struct cle *c, const struct etopic *t)
{
    return cle_up(c) && !t->full_due;
}

static void entry_link(struct cle *c, uint32_t topic, uint32_t i)
{
    struct etopic *t = cle_topic(c, topic);
    struct own_pres *p = cle_pres(c, i);

    p->prev = NONE;
    p->next = t->pres_head;
    if (p->next != NONE) {
        cle_pres(c, p->next)->prev = i;
    }
    t->pres_head = i;
    t->pres_count++;
    cl_pool_link(&c->pres, cle_pres_hash(topic, p->slot), i);
}

static void entry_unlink(struct cle *c, uint32_t i)
{
    struct own_pres *p = cle_pres(c, i);
    struct etopic *t = cle_topic(c, p->topic);

    if (p->prev == NONE) {
        t->pres_head = p->next;
    } else {
        cle_pres(c, p->prev)->next = p->next;
    }
    if (p->next != NONE) {
        cle_pres(c, p->next)->prev = p->prev;
    }
    t->pres_count--;
    cl_pool_unlink(&c->pres, cle_pres_hash(p->topic, p->slot), i);
}

/* Takes the texts and the dot of an entry away from all sums. */
static void drop_value(struct cle *c, struct own_pres *p)
{
    struct etopic *t = cle_topic(c, p->topic);

    if (p->n == 0) {
        return; /* new: it has none yet */
    }
    c->digest -= cl_pres_dot_hash(cle_topic_key(c, p->topic), p->n);
    t->pres_bytes -= texts(p) + CLE_PRES_ENTRY_BYTES;
    if (p->data != NULL) {
        c->mem->put(c->mem->ctx, p->data, texts(p));
        p->data = NULL;
    }
}

static void set_value(struct cle *c, struct own_pres *p, uint8_t *data, struct pr_slice key,
                      struct pr_slice meta)
{
    struct etopic *t = cle_topic(c, p->topic);

    p->data = data;
    p->key_len = (uint32_t)key.n;
    p->meta_len = (uint32_t)meta.n;
    p->n = c->n;
    assert(data != NULL || texts(p) == 0);
    if (data != NULL && key.n > 0) {
        memcpy(data, key.p, key.n);
    }
    if (data != NULL && meta.n > 0) {
        memcpy(data + key.n, meta.p, meta.n);
    }
    c->digest += cl_pres_dot_hash(cle_topic_key(c, p->topic), p->n);
    t->pres_bytes += texts(p) + CLE_PRES_ENTRY_BYTES;
}

static int put_allowed(const struct cle *c, const struct etopic *t, const struct own_pres *old,
                       size_t bytes)
{
    size_t freed = old == NULL ? 0 : texts(old) + CLE_PRES_ENTRY_BYTES;

    if (bytes > CLE_PRES_TOPIC_BYTES_MAX - CLE_PRES_ENTRY_BYTES ||
        t->pres_bytes - freed > CLE_PRES_TOPIC_BYTES_MAX - CLE_PRES_ENTRY_BYTES - bytes) {
        return CL_ENOMEM;
    }
    if (old == NULL && (c->pres.used >= c->presences_max || t->pres_count >= PR_LIST_MAX)) {
        return CL_ENOMEM;
    }
    return CL_OK;
}

static bool same(const struct own_pres *p, struct pr_slice key, struct pr_slice meta)
{
    struct pr_pent e = entry_of(p);

    return pr_slice_eq(e.key, key) && pr_slice_eq(e.meta, meta);
}

/* Memory for an entry: its texts, and an item if the slot has none. 0 or CL_ENOMEM, unchanged. */
static int get_memory(struct cle *c, size_t bytes, uint32_t *i, uint8_t **data)
{
    *data = NULL;
    if (bytes > 0) {
        *data = c->mem->get(c->mem->ctx, bytes);
        if (*data == NULL) {
            return CL_ENOMEM;
        }
    }
    if (*i == NONE) {
        *i = cl_pool_take(&c->pres);
    }
    if (*i == NONE && *data != NULL) {
        c->mem->put(c->mem->ctx, *data, bytes);
    }
    return *i == NONE ? CL_ENOMEM : CL_OK;
}

int cle_presence_put(struct cle *c, cl_ms now, uint32_t handle, uint32_t slot, struct pr_slice key,
                     struct pr_slice meta)
{
    struct etopic *t = cle_topic(c, handle);
    size_t bytes = key.n + meta.n;
    size_t list_bytes = bytes + 2 * CLE_PRES_ENTRY_BYTES;
    uint32_t i = find(c, handle, slot);
    struct own_pres *p = i == NONE ? NULL : cle_pres(c, i);
    uint64_t gone = p == NULL ? 0 : p->n;
    uint8_t *data = NULL;
    int rv = CL_OK;

    c->now = now;
    if (key.n > PR_ID_MAX || meta.n > CLE_PRES_TOPIC_BYTES_MAX) {
        return CL_ERANGE;
    }
    if (p != NULL && same(p, key, meta)) {
        return CL_OK; /* nothing that a member could see */
    }
    rv = put_allowed(c, t, p, bytes);
    if (rv == CL_OK && direct(c, t)) {
        rv = reserve_delta(c, t, list_bytes);
    }
    if (rv == CL_OK) {
        rv = get_memory(c, bytes, &i, &data);
    }
    if (rv != CL_OK) {
        return rv;
    }
    c->n++;
    if (p == NULL) {
        p = cle_pres(c, i);
        p->slot = slot;
        p->topic = handle;
        entry_link(c, handle, i);
    }
    drop_value(c, p);
    set_value(c, p, data, key, meta);
    if (direct(c, t)) {
        push_one(c, handle, p, gone, list_bytes);
    } else {
        t->full_due = true;
    }
    return CL_OK;
}

int cle_presence_del(struct cle *c, cl_ms now, uint32_t handle, uint32_t slot)
{
    struct etopic *t = cle_topic(c, handle);
    uint32_t i = find(c, handle, slot);
    uint64_t gone = 0;

    c->now = now;
    if (i == NONE) {
        return CL_ENOENT;
    }
    gone = cle_pres(c, i)->n;
    c->n++;
    drop_value(c, cle_pres(c, i));
    entry_unlink(c, i);
    cl_pool_give(&c->pres, i);
    if (direct(c, t) && reserve_delta(c, t, CLE_PRES_ENTRY_BYTES) == CL_OK) {
        push_one(c, handle, NULL, gone, CLE_PRES_ENTRY_BYTES);
        return CL_OK;
    }
    /* Without room for the delta the client is gone all the same; the owner hears it later. */
    t->full_due = true;
    if (cle_up(c)) {
        cle_topic_due(c, handle);
    }
    return CL_OK;
}

void cle_pres_deinit(struct cle *c)
{
    for (uint32_t i = 0; i < c->topics.top; i++) {
        const struct etopic *t = cle_topic(c, i);

        for (uint32_t k = t->key == NULL ? NONE : t->pres_head; k != NONE;
             k = cle_pres(c, k)->next) {
            struct own_pres *p = cle_pres(c, k);

            if (p->data != NULL) {
                c->mem->put(c->mem->ctx, p->data, texts(p));
            }
        }
    }
    cl_pool_clear(&c->pres);
}

static const char *check_topic(const struct cle *c, uint32_t topic, uint64_t *digest)
{
    const struct etopic *t = cle_topic(c, topic);
    size_t bytes = 0;
    uint32_t count = 0;

    for (uint32_t i = t->pres_head; i != NONE; i = cle_pres(c, i)->next) {
        const struct own_pres *p = cle_pres(c, i);

        if (++count > t->pres_count || p->topic != topic || find(c, topic, p->slot) != i) {
            return "a presence is not where it belongs";
        }
        if (p->n > c->n || (direct(c, t) && p->n > t->told_n)) {
            return "a presence was neither told nor is due";
        }
        *digest += cl_pres_dot_hash(cle_topic_key(c, topic), p->n);
        bytes += texts(p) + CLE_PRES_ENTRY_BYTES;
    }
    return count == t->pres_count && bytes == t->pres_bytes ? NULL
                                                            : "presences are counted wrongly";
}

bool cle_pres_check(const struct cle *c, const char **what)
{
    uint64_t digest = 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < c->topics.top; i++) {
        const struct etopic *t = cle_topic(c, i);

        if (t->key == NULL) {
            continue;
        }
        *what = check_topic(c, i, &digest);
        if (*what != NULL) {
            return false;
        }
        count += t->pres_count;
    }
    *what = count == c->pres.used && digest == c->digest ? NULL : "the digest is wrong";
    return *what == NULL;
}
