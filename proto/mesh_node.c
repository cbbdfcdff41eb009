/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh_node.h"

#include "proto/mesh_pack.h"

/* Several messages are one number. */
static void encode_uint(struct pr_outbuf *o, enum pr_type type, uint64_t v)
{
    struct pr_mp_out w = pr_mp_begin(o, type, 1);

    pr_mp_put_uint(o, v);
    pr_mp_end(&w);
}

static int decode_uint(const struct pr_frame *f, enum pr_type type, uint64_t *v)
{
    struct pr_mp_in r = pr_mp_open(f, type, 1);

    *v = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

void pr_node_hello_encode(struct pr_outbuf *o, const struct pr_node_hello *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_NODE_HELLO, 10);

    pr_mp_put_uint(o, m->cluster);
    pr_mp_put_uint(o, m->from_id);
    pr_mp_put_uint(o, m->to_id);
    pr_mp_put_uint(o, m->epoch);
    pr_mp_put_uint(o, m->proto_min);
    pr_mp_put_uint(o, m->proto_max);
    pr_mp_put_bin(o, m->name);
    pr_mp_put_bin(o, m->build);
    pr_mp_put_addr(o, &m->addr);
    pr_mp_put_bin(o, m->client_url);
    pr_mp_end(&w);
}

int pr_node_hello_decode(const struct pr_frame *f, struct pr_node_hello *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_NODE_HELLO, 10);

    m->cluster = pr_mp_uint(&r);
    m->from_id = pr_mp_uint(&r);
    m->to_id = pr_mp_uint(&r);
    m->epoch = pr_mp_uint(&r);
    m->proto_min = pr_mp_u32(&r);
    m->proto_max = pr_mp_u32(&r);
    m->name = pr_mp_bin(&r, 1, PR_ID_MAX);
    m->build = pr_mp_bin(&r, 0, PR_ID_MAX);
    m->addr = pr_mp_addr(&r);
    m->client_url = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    return pr_mp_close(&r);
}

void pr_node_hello_ok_encode(struct pr_outbuf *o, const struct pr_node_hello_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_NODE_HELLO_OK, 6);

    pr_mp_put_uint(o, m->proto);
    pr_mp_put_uint(o, m->from_id);
    pr_mp_put_uint(o, m->to_id);
    pr_mp_put_uint(o, m->epoch);
    pr_mp_put_uint(o, m->view_hash);
    pr_mp_put_bin(o, m->name);
    pr_mp_end(&w);
}

int pr_node_hello_ok_decode(const struct pr_frame *f, struct pr_node_hello_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_NODE_HELLO_OK, 6);

    m->proto = pr_mp_u32(&r);
    m->from_id = pr_mp_uint(&r);
    m->to_id = pr_mp_uint(&r);
    m->epoch = pr_mp_uint(&r);
    m->view_hash = pr_mp_uint(&r);
    m->name = pr_mp_bin(&r, 1, PR_ID_MAX);
    return pr_mp_close(&r);
}

void pr_ping_encode(struct pr_outbuf *o, const struct pr_ping *m)
{
    encode_uint(o, PR_T_PING, m->token);
}

int pr_ping_decode(const struct pr_frame *f, struct pr_ping *m)
{
    return decode_uint(f, PR_T_PING, &m->token);
}

void pr_pong_encode(struct pr_outbuf *o, const struct pr_ping *m)
{
    encode_uint(o, PR_T_PONG, m->token);
}

int pr_pong_decode(const struct pr_frame *f, struct pr_ping *m)
{
    return decode_uint(f, PR_T_PONG, &m->token);
}

void pr_bye_encode(struct pr_outbuf *o, const struct pr_bye *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_BYE, 2);

    pr_mp_put_uint(o, m->code);
    pr_mp_put_bin(o, m->text);
    pr_mp_end(&w);
}

int pr_bye_decode(const struct pr_frame *f, struct pr_bye *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_BYE, 2);

    m->code = pr_mp_u32(&r);
    m->text = pr_mp_bin(&r, 0, PR_ID_MAX);
    return pr_mp_close(&r);
}

void pr_mark_encode(struct pr_outbuf *o, const struct pr_mark *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_MARK, 2);

    pr_mp_put_uint(o, m->mark);
    pr_mp_put_bool(o, m->now);
    pr_mp_end(&w);
}

int pr_mark_decode(const struct pr_frame *f, struct pr_mark *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_MARK, 2);

    m->mark = pr_mp_uint(&r);
    m->now = pr_mp_bool(&r);
    return pr_mp_close(&r);
}

void pr_link_ack_encode(struct pr_outbuf *o, const struct pr_link_ack *m)
{
    encode_uint(o, PR_T_LINK_ACK, m->mark);
}

int pr_link_ack_decode(const struct pr_frame *f, struct pr_link_ack *m)
{
    return decode_uint(f, PR_T_LINK_ACK, &m->mark);
}

void pr_sync_hash_encode(struct pr_outbuf *o, const struct pr_sync_hash *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_SYNC_HASH, 2);

    pr_mp_put_uint(o, m->hash);
    pr_mp_put_bool(o, m->want_reply);
    pr_mp_end(&w);
}

int pr_sync_hash_decode(const struct pr_frame *f, struct pr_sync_hash *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_SYNC_HASH, 2);

    m->hash = pr_mp_uint(&r);
    m->want_reply = pr_mp_bool(&r);
    return pr_mp_close(&r);
}

void pr_sync_encode(struct pr_outbuf *o, const struct pr_sync *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_SYNC, 2);

    pr_mp_put_bool(o, m->want_reply);
    pr_mp_put_list(o, m->nfacts, m->facts);
    pr_mp_end(&w);
}

int pr_sync_decode(const struct pr_frame *f, struct pr_sync *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_SYNC, 2);

    m->want_reply = pr_mp_bool(&r);
    m->facts = pr_mp_list(&r, &m->nfacts, pr_mp_skip_item);
    return pr_mp_close(&r);
}

void pr_actor_put(struct pr_outbuf *o, uint32_t index, uint64_t boot)
{
    pr_mp_put_array(o, 2);
    pr_mp_put_uint(o, index);
    pr_mp_put_uint(o, boot);
}

int pr_actors_next(struct pr_slice *list, uint32_t *index, uint64_t *boot)
{
    struct pr_mp_in r;

    if (list->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*list, 2);
    *index = pr_mp_u32(&r);
    *boot = pr_mp_uint(&r);
    return pr_mp_close_element(&r, list);
}

static int check_actor(struct pr_slice *list)
{
    uint32_t index = 0;
    uint64_t boot = 0;

    return pr_actors_next(list, &index, &boot);
}

void pr_actors_encode(struct pr_outbuf *o, const struct pr_actors *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_ACTORS, 2);

    pr_mp_put_uint(o, m->epoch);
    pr_mp_put_list(o, m->nactors, m->actors);
    pr_mp_end(&w);
}

int pr_actors_decode(const struct pr_frame *f, struct pr_actors *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_ACTORS, 2);

    m->epoch = pr_mp_uint(&r);
    m->actors = pr_mp_list(&r, &m->nactors, check_actor);
    return pr_mp_close(&r);
}

void pr_cluster_encode(struct pr_outbuf *o, const struct pr_cluster *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CLUSTER, 2);

    pr_mp_put_bool(o, m->joined);
    pr_mp_put_uint(o, m->members);
    pr_mp_end(&w);
}

int pr_cluster_decode(const struct pr_frame *f, struct pr_cluster *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CLUSTER, 2);

    m->joined = pr_mp_bool(&r);
    m->members = pr_mp_u32(&r);
    return pr_mp_close(&r);
}

void pr_clients_encode(struct pr_outbuf *o, const struct pr_clients *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CLIENTS, 2);

    pr_mp_put_uint(o, m->count);
    pr_mp_put_bin(o, m->project);
    pr_mp_end(&w);
}

int pr_clients_decode(const struct pr_frame *f, struct pr_clients *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CLIENTS, 1);

    m->count = pr_mp_uint(&r);
    m->project = pr_mp_bin_or_none(&r, PR_ID_MAX);
    return pr_mp_close(&r);
}

void pr_view_encode(struct pr_outbuf *o, const struct pr_view *m)
{
    encode_uint(o, PR_T_VIEW, m->view);
}

int pr_view_decode(const struct pr_frame *f, struct pr_view *m)
{
    return decode_uint(f, PR_T_VIEW, &m->view);
}

void pr_sub_all_encode(struct pr_outbuf *o, const struct pr_sub_all *m)
{
    encode_uint(o, PR_T_SUB_ALL, m->view);
}

int pr_sub_all_decode(const struct pr_frame *f, struct pr_sub_all *m)
{
    return decode_uint(f, PR_T_SUB_ALL, &m->view);
}

void pr_not_owner_encode(struct pr_outbuf *o, const struct pr_not_owner *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_NOT_OWNER, 2);

    pr_mp_put_uint(o, m->part);
    pr_mp_put_uint(o, m->view);
    pr_mp_end(&w);
}

int pr_not_owner_decode(const struct pr_frame *f, struct pr_not_owner *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_NOT_OWNER, 2);

    m->part = pr_mp_u32(&r);
    m->view = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

void pr_again_encode(struct pr_outbuf *o, const struct pr_again *m)
{
    encode_uint(o, PR_T_AGAIN, m->gen);
}

int pr_again_decode(const struct pr_frame *f, struct pr_again *m)
{
    return decode_uint(f, PR_T_AGAIN, &m->gen);
}

void pr_again_ok_encode(struct pr_outbuf *o, const struct pr_again *m)
{
    encode_uint(o, PR_T_AGAIN_OK, m->gen);
}

int pr_again_ok_decode(const struct pr_frame *f, struct pr_again *m)
{
    return decode_uint(f, PR_T_AGAIN_OK, &m->gen);
}

void pr_resync_encode(struct pr_outbuf *o, const struct pr_resync *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_RESYNC, 5);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_epoch(o, m->epoch);
    pr_mp_put_uint(o, m->from);
    pr_mp_end(&w);
}

int pr_resync_decode(const struct pr_frame *f, struct pr_resync *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_RESYNC, 5);

    m->topic = pr_mp_topic(&r);
    m->epoch = pr_mp_epoch(&r);
    m->from = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

void pr_p_sum_encode(struct pr_outbuf *o, const struct pr_p_sum *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_P_SUM, 3);

    pr_mp_put_uint(o, m->kind);
    pr_mp_put_uint(o, m->hash);
    pr_mp_put_uint(o, m->entries);
    pr_mp_end(&w);
}

int pr_p_sum_decode(const struct pr_frame *f, struct pr_p_sum *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_P_SUM, 3);

    m->kind = pr_mp_u32(&r);
    m->hash = pr_mp_uint(&r);
    m->entries = pr_mp_u32(&r);
    return pr_mp_close(&r);
}

void pr_reader_encode(struct pr_outbuf *o, const struct pr_reader *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_READER, 7);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->term_timeline);
    pr_mp_put_uint(o, m->term_lsn);
    pr_mp_put_uint(o, m->node);
    pr_mp_put_uint(o, m->state);
    pr_mp_put_uint(o, m->system);
    pr_mp_put_uint(o, m->casts);
    pr_mp_end(&w);
}

int pr_reader_decode(const struct pr_frame *f, struct pr_reader *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_READER, 6);

    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    m->term_timeline = pr_mp_u32(&r);
    m->term_lsn = pr_mp_uint(&r);
    m->node = pr_mp_uint(&r);
    m->state = pr_mp_u32(&r);
    m->system = pr_mp_uint(&r);
    m->casts = pr_mp_uint_or(&r, 0) != 0;
    return pr_mp_close(&r);
}
