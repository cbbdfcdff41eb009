/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh.h"

#include "proto/mesh_pack.h"

#define FRAME_LENGTH_BYTES 4u

long pr_frame_next(struct pr_slice in, struct pr_frame *out)
{
    struct pr_cursor c = pr_cursor(in);
    uint32_t length = 0;

    if (in.n < FRAME_LENGTH_BYTES) {
        return 0;
    }
    length = pr_get_u32be(&c);
    if (length > PR_FRAME_MAX || length < PR_FRAME_HEAD - FRAME_LENGTH_BYTES) {
        return PR_ERANGE;
    }
    if (in.n < PR_FRAME_HEAD) {
        return 0;
    }
    out->type = pr_get_u8(&c);
    out->cls = pr_get_u8(&c);
    out->flags = pr_get_u16be(&c);
    if (out->cls < PR_C_CONTROL || out->cls > PR_C_BROADCAST) {
        return PR_EVERSION;
    }
    if (in.n - FRAME_LENGTH_BYTES < length) {
        return 0;
    }
    out->whole = (struct pr_slice){.p = in.p, .n = FRAME_LENGTH_BYTES + (size_t)length};
    out->body = (struct pr_slice){.p = in.p + PR_FRAME_HEAD, .n = out->whole.n - PR_FRAME_HEAD};
    return (long)out->whole.n;
}

bool pr_epoch_eq(struct pr_epoch a, struct pr_epoch b)
{
    return a.node == b.node && a.boot == b.boot && a.count == b.count;
}

void pr_hello_encode(struct pr_outbuf *o, const struct pr_hello *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_HELLO, 6);

    pr_mp_put_uint(o, m->proto_min);
    pr_mp_put_uint(o, m->proto_max);
    pr_mp_put_uint(o, m->role);
    pr_mp_put_uint(o, m->index);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_bin(o, m->project);
    pr_mp_end(&w);
}

int pr_hello_decode(const struct pr_frame *f, struct pr_hello *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_HELLO, 6);

    m->proto_min = pr_mp_u32(&r);
    m->proto_max = pr_mp_u32(&r);
    m->role = pr_mp_u32(&r);
    m->index = pr_mp_u32(&r);
    m->boot = pr_mp_uint(&r);
    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    return pr_mp_close(&r);
}

void pr_hello_ok_encode(struct pr_outbuf *o, const struct pr_hello_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_HELLO_OK, 4);

    pr_mp_put_uint(o, m->proto);
    pr_mp_put_uint(o, m->node);
    pr_mp_put_uint(o, m->epoch);
    pr_mp_put_bin(o, m->name);
    pr_mp_end(&w);
}

int pr_hello_ok_decode(const struct pr_frame *f, struct pr_hello_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_HELLO_OK, 4);

    m->proto = pr_mp_u32(&r);
    m->node = pr_mp_uint(&r);
    m->epoch = pr_mp_uint(&r);
    m->name = pr_mp_bin(&r, 0, PR_ID_MAX);
    return pr_mp_close(&r);
}

void pr_attached_encode(struct pr_outbuf *o)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_ATTACHED, 0);

    pr_mp_end(&w);
}

int pr_attached_decode(const struct pr_frame *f)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_ATTACHED, 0);

    return pr_mp_close(&r);
}

void pr_sub_encode(struct pr_outbuf *o, const struct pr_sub *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_SUB, 10);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_bool(o, m->presence);
    pr_mp_put_epoch(o, m->epoch);
    pr_mp_put_uint(o, m->seq);
    pr_mp_put_place(o, m->origin);
    pr_mp_end(&w);
}

int pr_sub_decode(const struct pr_frame *f, struct pr_sub *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_SUB, 6);

    m->topic = pr_mp_topic(&r);
    m->presence = pr_mp_bool(&r);
    m->epoch = pr_mp_epoch(&r);
    m->seq = pr_mp_uint(&r);
    m->origin = pr_mp_place_or_none(&r);
    return pr_mp_close(&r);
}

void pr_sub_ok_encode(struct pr_outbuf *o, const struct pr_sub_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_SUB_OK, 9);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_epoch(o, m->epoch);
    pr_mp_put_uint(o, m->seq);
    pr_mp_put_place(o, m->origin);
    pr_mp_end(&w);
}

int pr_sub_ok_decode(const struct pr_frame *f, struct pr_sub_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_SUB_OK, 5);

    m->topic = pr_mp_topic(&r);
    m->epoch = pr_mp_epoch(&r);
    m->seq = pr_mp_uint(&r);
    m->origin = pr_mp_place_or_none(&r);
    return pr_mp_close(&r);
}

void pr_unsub_encode(struct pr_outbuf *o, const struct pr_unsub *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_UNSUB, 1);

    pr_mp_put_bin(o, m->topic);
    pr_mp_end(&w);
}

int pr_unsub_decode(const struct pr_frame *f, struct pr_unsub *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_UNSUB, 1);

    m->topic = pr_mp_topic(&r);
    return pr_mp_close(&r);
}

void pr_pub_encode(struct pr_outbuf *o, const struct pr_pub *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_PUB, 5);

    pr_mp_put_uint(o, m->part);
    pr_mp_put_bin(o, m->topic);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->oseq);
    pr_mp_put_uint(o, m->flags);
    pr_put_slice(o, m->payload);
    pr_mp_end(&w);
}

int pr_pub_decode(const struct pr_frame *f, struct pr_pub *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_PUB, 5);

    m->part = pr_mp_u32(&r);
    m->topic = pr_mp_topic(&r);
    m->boot = pr_mp_uint(&r);
    m->oseq = pr_mp_uint(&r);
    m->flags = pr_mp_u32(&r);
    return pr_mp_close_payload(&r, &m->payload);
}

void pr_pub_ok_encode(struct pr_outbuf *o, const struct pr_pub_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_PUB_OK, 4);

    pr_mp_put_uint(o, m->part);
    pr_mp_put_uint(o, m->oseq);
    pr_mp_put_uint(o, m->result);
    pr_mp_put_uint(o, m->boot);
    pr_mp_end(&w);
}

int pr_pub_ok_decode(const struct pr_frame *f, struct pr_pub_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_PUB_OK, 3);

    m->part = pr_mp_u32(&r);
    m->oseq = pr_mp_uint(&r);
    m->result = pr_mp_u32(&r);
    m->boot = pr_mp_uint_or(&r, 0);
    return pr_mp_close(&r);
}

void pr_event_encode(struct pr_outbuf *o, const struct pr_event *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_EVENT, 13);

    pr_mp_put_bin(o, m->topic);
    pr_mp_put_epoch(o, m->epoch);
    pr_mp_put_uint(o, m->seq);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->part);
    pr_mp_put_uint(o, m->oseq);
    pr_mp_put_uint(o, m->flags);
    pr_mp_put_place(o, m->origin);
    pr_put_slice(o, m->payload);
    pr_mp_end(&w);
}

int pr_event_decode(const struct pr_frame *f, struct pr_event *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_EVENT, 9);

    m->topic = pr_mp_topic(&r);
    m->epoch = pr_mp_epoch(&r);
    m->seq = pr_mp_uint(&r);
    m->boot = pr_mp_uint(&r);
    m->part = pr_mp_u32(&r);
    m->oseq = pr_mp_uint(&r);
    m->flags = pr_mp_u32(&r);
    m->origin = pr_mp_place_or_none(&r);
    return pr_mp_close_payload(&r, &m->payload);
}

void pr_ctl_encode(struct pr_outbuf *o, const struct pr_ctl *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CTL, 2);

    pr_mp_put_uint(o, m->id);
    pr_mp_put_bin(o, m->cmd);
    pr_put_slice(o, m->args);
    pr_mp_end(&w);
}

int pr_ctl_decode(const struct pr_frame *f, struct pr_ctl *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CTL, 2);

    m->id = pr_mp_u32(&r);
    m->cmd = pr_mp_bin(&r, 1, PR_ID_MAX);
    return pr_mp_close_payload(&r, &m->args);
}

void pr_ctl_reply_encode(struct pr_outbuf *o, const struct pr_ctl_reply *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CTL_REPLY, 2);

    pr_mp_put_uint(o, m->id);
    pr_mp_put_bool(o, m->last);
    pr_put_slice(o, m->rows);
    pr_mp_end(&w);
}

int pr_ctl_reply_decode(const struct pr_frame *f, struct pr_ctl_reply *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CTL_REPLY, 2);

    m->id = pr_mp_u32(&r);
    m->last = pr_mp_bool(&r);
    return pr_mp_close_payload(&r, &m->rows);
}
