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
    struct pr_mp_out w = pr_mp_begin(o, PR_T_RIGHTS, 7);

    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->id);
    pr_mp_put_uint(o, m->status);
    pr_mp_put_uint(o, m->read);
    pr_mp_put_uint(o, m->write);
    pr_mp_put_uint(o, m->raised);
    pr_mp_put_bin(o, m->text);
    pr_mp_end(&w);
}

int pr_rights_decode(const struct pr_frame *f, struct pr_rights *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_RIGHTS, 7);

    m->boot = pr_mp_uint(&r);
    m->id = pr_mp_uint(&r);
    m->status = pr_mp_u32(&r);
    m->read = pr_mp_u32(&r);
    m->write = pr_mp_u32(&r);
    m->raised = pr_mp_u32(&r);
    m->text = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    return pr_mp_close(&r);
}
