/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh_rights.h"

#include "proto/mesh_pack.h"

void pr_rights_ask_encode(struct pr_outbuf *o, const struct pr_rights_ask *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_RIGHTS_ASK, 10);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_bin(o, m->topic);
    pr_mp_put_bin(o, m->role);
    pr_mp_put_bin(o, m->claims);
    pr_mp_put_bin(o, m->sub);
    pr_mp_put_bin(o, m->headers);
    pr_mp_put_uint(o, m->read);
    pr_mp_put_uint(o, m->write);
    pr_mp_end(&w);
}

int pr_rights_ask_decode(const struct pr_frame *f, struct pr_rights_ask *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_RIGHTS_ASK, 10);

    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->topic = pr_mp_bin(&r, 1, PR_TOPIC_KEY_MAX);
    m->role = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->claims = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->sub = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->headers = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->read = pr_mp_u32(&r);
    m->write = pr_mp_u32(&r);
    return pr_mp_close(&r);
}

void pr_rights_encode(struct pr_outbuf *o, const struct pr_rights *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_RIGHTS, 8);

    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_uint(o, m->status);
    pr_mp_put_uint(o, m->read);
    pr_mp_put_uint(o, m->write);
    pr_mp_put_uint(o, m->raised);
    pr_mp_put_bin(o, m->text);
    pr_mp_put_bin(o, m->project);
    pr_mp_end(&w);
}

int pr_rights_decode(const struct pr_frame *f, struct pr_rights *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_RIGHTS, 8);

    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->status = pr_mp_u32(&r);
    m->read = pr_mp_u32(&r);
    m->write = pr_mp_u32(&r);
    m->raised = pr_mp_u32(&r);
    m->text = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    return pr_mp_close(&r);
}

void pr_replay_ask_encode(struct pr_outbuf *o, const struct pr_replay_ask *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_REPLAY_ASK, 6);

    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_bin(o, m->topic);
    pr_mp_put_uint(o, m->since_ms);
    pr_mp_put_uint(o, m->limit);
    pr_mp_put_bin(o, m->project);
    pr_mp_end(&w);
}

int pr_replay_ask_decode(const struct pr_frame *f, struct pr_replay_ask *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_REPLAY_ASK, 6);
    int rv = PR_OK;

    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->topic = pr_mp_topic(&r);
    m->since_ms = pr_mp_uint(&r);
    m->limit = pr_mp_u32(&r);
    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    rv = pr_mp_close(&r);
    if (rv == PR_OK && (m->limit == 0 || m->limit > PR_REPLAY_ROWS)) {
        rv = PR_ERANGE;
    }
    return rv;
}

void pr_replay_encode(struct pr_outbuf *o, const struct pr_replay *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_REPLAY, 3);

    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_uint(o, m->status);
    pr_put_slice(o, m->rows);
    pr_mp_end(&w);
}

static int check_rows(struct pr_slice rows)
{
    struct pr_slice body;
    uint32_t count = 0;
    int rv = pr_replay_next(&rows, &body);

    while (rv == 1 && count < PR_REPLAY_ROWS) {
        count++;
        rv = pr_replay_next(&rows, &body);
    }
    return rv == 1 ? PR_ERANGE : rv;
}

int pr_replay_decode(const struct pr_frame *f, struct pr_replay *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_REPLAY, 3);
    int rv = PR_OK;

    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->status = pr_mp_u32(&r);
    rv = pr_mp_close_payload(&r, &m->rows);
    return rv == PR_OK ? check_rows(m->rows) : rv;
}

void pr_replay_put_row(struct pr_outbuf *o, struct pr_slice body)
{
    pr_put_u32be(o, (uint32_t)body.n);
    pr_put_slice(o, body);
}

int pr_replay_next(struct pr_slice *rows, struct pr_slice *body)
{
    struct pr_cursor c = pr_cursor(*rows);
    size_t n = 0;

    if (rows->n == 0) {
        return 0;
    }
    if (rows->n < 4) {
        return PR_ESHORT;
    }
    n = pr_get_u32be(&c);
    if (n > rows->n - 4) {
        return PR_ESHORT;
    }
    *body = pr_bytes(rows->p + 4, n);
    *rows = pr_bytes(rows->p + 4 + n, rows->n - 4 - n);
    return 1;
}

void pr_store_ask_encode(struct pr_outbuf *o, const struct pr_store_ask *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_STORE_ASK, 12);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_bin(o, m->topic);
    pr_mp_put_bin(o, m->role);
    pr_mp_put_bin(o, m->claims);
    pr_mp_put_bin(o, m->sub);
    pr_mp_put_bin(o, m->headers);
    pr_mp_put_bin(o, m->message);
    pr_mp_put_uint(o, m->ttl_s);
    pr_mp_put_bool(o, m->binary);
    pr_mp_put_bin(o, m->event);
    pr_put_slice(o, m->payload);
    pr_mp_end(&w);
}

int pr_store_ask_decode(const struct pr_frame *f, struct pr_store_ask *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_STORE_ASK, 12);
    int rv = PR_OK;

    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->topic = pr_mp_topic(&r);
    m->role = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->claims = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->sub = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->headers = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->message = pr_mp_bin(&r, PR_UUID_LEN, PR_UUID_LEN);
    m->ttl_s = pr_mp_u32(&r);
    m->binary = pr_mp_bool(&r);
    m->event = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    rv = pr_mp_close_payload(&r, &m->payload);
    return rv == PR_OK && m->ttl_s > PR_STORE_TTL_MAX ? PR_ERANGE : rv;
}

void pr_store_encode(struct pr_outbuf *o, const struct pr_store *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_STORE, 5);

    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_uint(o, m->status);
    pr_mp_put_bool(o, m->stored);
    pr_mp_put_bin(o, m->text);
    pr_mp_end(&w);
}

int pr_store_decode(const struct pr_frame *f, struct pr_store *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_STORE, 5);

    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->status = pr_mp_u32(&r);
    m->stored = pr_mp_bool(&r);
    m->text = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    return pr_mp_close(&r);
}
