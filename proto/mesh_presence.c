/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh.h"

#include "proto/mesh_pack.h"

void pr_padd_put(struct pr_outbuf *o, const struct pr_pent *e)
{
    pr_mp_put_array(o, 4);
    pr_mp_put_uint(o, e->n);
    pr_mp_put_uint(o, e->slot);
    pr_mp_put_bin(o, e->key);
    pr_mp_put_bin(o, e->meta);
}

int pr_padds_next(struct pr_slice *list, struct pr_pent *e)
{
    struct pr_mp_in r;

    if (list->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*list, 4);
    e->n = pr_mp_uint(&r);
    e->slot = pr_mp_u32(&r);
    e->key = pr_mp_bin(&r, 0, PR_ID_MAX);
    e->meta = pr_mp_bin(&r, 0, PR_FRAME_MAX);
    return pr_mp_close_element(&r, list);
}

void pr_pdel_put(struct pr_outbuf *o, uint64_t n)
{
    pr_mp_put_uint(o, n);
}

int pr_pdels_next(struct pr_slice *list, uint64_t *n)
{
    struct pr_mp_in r = {.c = pr_cursor(*list), .extra = 0, .err = PR_OK};

    if (list->n == 0) {
        return 0;
    }
    *n = pr_mp_uint(&r);
    return pr_mp_close_element(&r, list);
}

void pr_pshown_put(struct pr_outbuf *o, const struct pr_pshown *e)
{
    pr_mp_put_array(o, 5);
    pr_mp_put_bin(o, e->key);
    pr_mp_put_bin(o, e->meta);
    pr_mp_put_uint(o, e->actor);
    pr_mp_put_uint(o, e->n);
    pr_mp_put_uint(o, e->prev_n);
}

int pr_pshown_next(struct pr_slice *list, struct pr_pshown *e)
{
    struct pr_mp_in r;

    if (list->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*list, 5);
    e->key = pr_mp_bin(&r, 0, PR_ID_MAX);
    e->meta = pr_mp_bin(&r, 0, PR_FRAME_MAX);
    e->actor = pr_mp_uint(&r);
    e->n = pr_mp_uint(&r);
    e->prev_n = pr_mp_uint(&r);
    return pr_mp_close_element(&r, list);
}

static int check_padd(struct pr_slice *list)
{
    struct pr_pent e;

    return pr_padds_next(list, &e);
}

static int check_pdel(struct pr_slice *list)
{
    uint64_t n = 0;

    return pr_pdels_next(list, &n);
}

static int check_pshown(struct pr_slice *list)
{
    struct pr_pshown e;

    return pr_pshown_next(list, &e);
}

void pr_p_delta_encode(struct pr_outbuf *o, const struct pr_p_delta *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_DELTA, 6);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_uint(o, m->actor);
    pr_mp_put_uint(o, m->a);
    pr_mp_put_uint(o, m->b);
    pr_mp_put_list(o, m->nadds, m->adds);
    pr_mp_put_list(o, m->ndels, m->dels);
    pr_mp_end(&w);
}

int pr_p_delta_decode(const struct pr_frame *f, struct pr_p_delta *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_DELTA, 6);

    m->topic = pr_mp_topic(&r);
    m->actor = pr_mp_uint(&r);
    m->a = pr_mp_uint(&r);
    m->b = pr_mp_uint(&r);
    m->adds = pr_mp_list(&r, &m->nadds, check_padd);
    m->dels = pr_mp_list(&r, &m->ndels, check_pdel);
    return pr_mp_close(&r);
}

void pr_p_digest_encode(struct pr_outbuf *o, const struct pr_p_digest *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_DIGEST, 3);

    pr_mp_put_uint(o, m->actor);
    pr_mp_put_uint(o, m->hash);
    pr_mp_put_uint(o, m->entries);
    pr_mp_end(&w);
}

int pr_p_digest_decode(const struct pr_frame *f, struct pr_p_digest *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_DIGEST, 3);

    m->actor = pr_mp_uint(&r);
    m->hash = pr_mp_uint(&r);
    m->entries = pr_mp_u32(&r);
    return pr_mp_close(&r);
}

void pr_p_pull_encode(struct pr_outbuf *o, const struct pr_p_pull *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_PULL, 3);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_uint(o, m->actor);
    pr_mp_put_uint(o, m->ctx);
    pr_mp_end(&w);
}

int pr_p_pull_decode(const struct pr_frame *f, struct pr_p_pull *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_PULL, 3);

    m->topic = pr_mp_bin(&r, 0, PR_TOPIC_KEY_MAX);
    m->actor = pr_mp_uint(&r);
    m->ctx = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

void pr_p_view_get_encode(struct pr_outbuf *o, const struct pr_p_view_get *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_VIEW_GET, 1);

    pr_mp_put_bin(o, m->topic);
    pr_mp_end(&w);
}

int pr_p_view_get_decode(const struct pr_frame *f, struct pr_p_view_get *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_VIEW_GET, 1);

    m->topic = pr_mp_topic(&r);
    return pr_mp_close(&r);
}

void pr_p_view_encode(struct pr_outbuf *o, const struct pr_p_view *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_VIEW, 4);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_bool(o, m->first);
    pr_mp_put_bool(o, m->last);
    pr_mp_put_list(o, m->count, m->list);
    pr_mp_end(&w);
}

int pr_p_view_decode(const struct pr_frame *f, struct pr_p_view *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_VIEW, 4);

    m->topic = pr_mp_topic(&r);
    m->first = pr_mp_bool(&r);
    m->last = pr_mp_bool(&r);
    m->list = pr_mp_list(&r, &m->count, check_pshown);
    return pr_mp_close(&r);
}

void pr_p_diff_encode(struct pr_outbuf *o, const struct pr_p_diff *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_DIFF, 3);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_list(o, m->njoins, m->joins);
    pr_mp_put_list(o, m->nleaves, m->leaves);
    pr_mp_end(&w);
}

int pr_p_diff_decode(const struct pr_frame *f, struct pr_p_diff *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_DIFF, 3);

    m->topic = pr_mp_topic(&r);
    m->joins = pr_mp_list(&r, &m->njoins, check_pshown);
    m->leaves = pr_mp_list(&r, &m->nleaves, check_pshown);
    return pr_mp_close(&r);
}

/* Finalizer of MurmurHash3 (Appleby): every bit of the boot reaches the 48 that are shown. */
static uint64_t mix64(uint64_t v)
{
    v ^= v >> 33;
    v *= UINT64_C(0xff51afd7ed558ccd);
    v ^= v >> 33;
    v *= UINT64_C(0xc4ceb9fe1a85ec53);
    v ^= v >> 33;
    return v;
}

static void base64_48(uint64_t v, char out[8])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    for (unsigned i = 0; i < 8; i++) {
        out[i] = digits[v >> (42 - 6 * i) & 63u];
    }
}

void pr_phx_ref(uint64_t actor, uint64_t n, char out[PR_PHX_REF_LEN])
{
    base64_48(mix64(actor), out);
    base64_48(n, out + 8);
}
