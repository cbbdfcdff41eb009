/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh_cast.h"

#include "proto/mesh_pack.h"

void pr_cast_encode(struct pr_outbuf *o, const struct pr_cast *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CAST, 5);

    pr_mp_put_uint(o, m->stream);
    pr_mp_put_uint(o, m->pos.lsn);
    pr_mp_put_uint(o, m->pos.seq);
    pr_mp_put_bin(o, m->topic);
    pr_mp_put_bin(o, m->project);
    pr_put_slice(o, m->body);
    pr_mp_end(&w);
}

int pr_cast_decode(const struct pr_frame *f, struct pr_cast *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CAST, 5);

    m->stream = pr_mp_uint(&r);
    m->pos.lsn = pr_mp_uint(&r);
    m->pos.seq = pr_mp_uint(&r);
    m->topic = pr_mp_topic(&r);
    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    return pr_mp_close_payload(&r, &m->body);
}

void pr_cast_ok_encode(struct pr_outbuf *o, const struct pr_cast_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CAST_OK, 4);

    pr_mp_put_uint(o, m->stream);
    pr_mp_put_uint(o, m->pos.lsn);
    pr_mp_put_uint(o, m->pos.seq);
    pr_mp_put_bin(o, m->project);
    pr_mp_end(&w);
}

int pr_cast_ok_decode(const struct pr_frame *f, struct pr_cast_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CAST_OK, 4);

    m->stream = pr_mp_uint(&r);
    m->pos.lsn = pr_mp_uint(&r);
    m->pos.seq = pr_mp_uint(&r);
    m->project = pr_mp_bin(&r, 0, PR_ID_MAX);
    return pr_mp_close(&r);
}
