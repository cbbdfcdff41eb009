/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh.h"

#include "proto/mesh_pack.h"

static struct pr_slice project_of(struct pr_mp_in *r)
{
    return pr_mp_bin(r, 0, PR_ID_MAX);
}

int pr_chg_project(const struct pr_frame *f, struct pr_slice *project)
{
    struct pr_mp_in r = pr_mp_open(f, (enum pr_type)f->type, 1);

    *project = project_of(&r);
    return r.err;
}

void pr_str_put(struct pr_outbuf *o, struct pr_slice s)
{
    pr_mp_put_bin(o, s);
}

int pr_strs_next(struct pr_slice *list, struct pr_slice *s)
{
    struct pr_mp_in r = {.c = pr_cursor(*list), .extra = 0, .err = PR_OK};

    if (list->n == 0) {
        return 0;
    }
    *s = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    return pr_mp_close_element(&r, list);
}

static int check_str(struct pr_slice *list)
{
    struct pr_slice s;

    return pr_strs_next(list, &s);
}

void pr_chg_reg_encode(struct pr_outbuf *o, const struct pr_chg_reg *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_REG, 13);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->handle);
    pr_mp_put_bin(o, m->event);
    pr_mp_put_bin(o, m->schema);
    pr_mp_put_bin(o, m->table);
    pr_mp_put_bool(o, m->has_filter);
    pr_mp_put_bin(o, m->filter);
    pr_mp_put_bool(o, m->has_select);
    pr_mp_put_list(o, m->nselect, m->select);
    pr_mp_put_bin(o, m->role);
    pr_mp_put_bin(o, m->claims);
    pr_mp_put_uint(o, m->life);
    pr_mp_end(&w);
}

int pr_chg_reg_decode(const struct pr_frame *f, struct pr_chg_reg *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_REG, 12);

    m->project = project_of(&r);
    m->boot = pr_mp_uint(&r);
    m->handle = pr_mp_u32(&r);
    m->event = pr_mp_bin(&r, 0, PR_ID_MAX);
    m->schema = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->table = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->has_filter = pr_mp_bool(&r);
    m->filter = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->has_select = pr_mp_bool(&r);
    m->select = pr_mp_list(&r, &m->nselect, check_str);
    m->role = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->claims = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->life = pr_mp_uint_or(&r, 0);
    return pr_mp_close(&r);
}

void pr_chg_unreg_encode(struct pr_outbuf *o, const struct pr_chg_unreg *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_UNREG, 3);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->handle);
    pr_mp_end(&w);
}

int pr_chg_unreg_decode(const struct pr_frame *f, struct pr_chg_unreg *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_UNREG, 3);

    m->project = project_of(&r);
    m->boot = pr_mp_uint(&r);
    m->handle = pr_mp_u32(&r);
    return pr_mp_close(&r);
}

void pr_chg_reg_ok_encode(struct pr_outbuf *o, const struct pr_chg_reg_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_REG_OK, 6);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->handle);
    pr_mp_put_uint(o, m->status);
    pr_mp_put_bin(o, m->message);
    pr_mp_put_uint(o, m->life);
    pr_mp_end(&w);
}

int pr_chg_reg_ok_decode(const struct pr_frame *f, struct pr_chg_reg_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_REG_OK, 5);

    m->project = project_of(&r);
    m->boot = pr_mp_uint(&r);
    m->handle = pr_mp_u32(&r);
    m->status = pr_mp_u32(&r);
    m->message = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    m->life = pr_mp_uint_or(&r, 0);
    return pr_mp_close(&r);
}

void pr_chg_sync_encode(struct pr_outbuf *o, const struct pr_chg_sync *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_SYNC, 2);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->round);
    pr_mp_end(&w);
}

int pr_chg_sync_decode(const struct pr_frame *f, struct pr_chg_sync *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_SYNC, 2);

    m->project = project_of(&r);
    m->round = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

void pr_chg_synced_encode(struct pr_outbuf *o, const struct pr_chg_synced *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_SYNCED, 3);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->round);
    pr_mp_end(&w);
}

int pr_chg_synced_decode(const struct pr_frame *f, struct pr_chg_synced *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_SYNCED, 3);

    m->project = project_of(&r);
    m->boot = pr_mp_uint(&r);
    m->round = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

void pr_chg_sys_encode(struct pr_outbuf *o, const struct pr_chg_sys *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_SYS, 5);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->handle);
    pr_mp_put_bool(o, m->ok);
    pr_mp_put_bin(o, m->message);
    pr_mp_end(&w);
}

int pr_chg_sys_decode(const struct pr_frame *f, struct pr_chg_sys *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_SYS, 5);

    m->project = project_of(&r);
    m->boot = pr_mp_uint(&r);
    m->handle = pr_mp_u32(&r);
    m->ok = pr_mp_bool(&r);
    m->message = pr_mp_bin(&r, 0, PR_TEXT_MAX);
    return pr_mp_close(&r);
}

void pr_chg_gone_encode(struct pr_outbuf *o, const struct pr_chg_gone *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_GONE, 1);

    pr_mp_put_uint(o, m->boot);
    pr_mp_end(&w);
}

int pr_chg_gone_decode(const struct pr_frame *f, struct pr_chg_gone *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_GONE, 1);

    m->boot = pr_mp_uint(&r);
    return pr_mp_close(&r);
}

static void put_pos(struct pr_outbuf *o, struct pr_pos p)
{
    pr_mp_put_uint(o, p.lsn);
    pr_mp_put_uint(o, p.seq);
}

static struct pr_pos pos_of(struct pr_mp_in *r)
{
    struct pr_pos p = {0};

    p.lsn = pr_mp_uint(r);
    p.seq = pr_mp_uint(r);
    return p;
}

int pr_pos_cmp(struct pr_pos a, struct pr_pos b)
{
    if (a.lsn != b.lsn) {
        return a.lsn < b.lsn ? -1 : 1;
    }
    if (a.seq != b.seq) {
        return a.seq < b.seq ? -1 : 1;
    }
    return 0;
}

void pr_chg_target_put(struct pr_outbuf *o, uint64_t boot, uint32_t handle)
{
    pr_mp_put_array(o, 2);
    pr_mp_put_uint(o, boot);
    pr_mp_put_uint(o, handle);
}

int pr_chg_targets_next(struct pr_slice *list, uint64_t *boot, uint32_t *handle)
{
    struct pr_mp_in r;

    if (list->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*list, 2);
    *boot = pr_mp_uint(&r);
    *handle = pr_mp_u32(&r);
    return pr_mp_close_element(&r, list);
}

static int check_target(struct pr_slice *list)
{
    uint64_t boot = 0;
    uint32_t handle = 0;

    return pr_chg_targets_next(list, &boot, &handle);
}

void pr_chg_body_put(struct pr_outbuf *o, const struct pr_chg_body *b)
{
    pr_mp_put_array(o, 5);
    put_pos(o, b->pos);
    pr_mp_put_uint(o, b->kind);
    pr_mp_put_bin(o, b->data);
    pr_mp_put_list(o, b->ntargets, b->targets);
}

int pr_chg_bodies_next(struct pr_slice *list, struct pr_chg_body *b)
{
    struct pr_mp_in r;

    if (list->n == 0) {
        return 0;
    }
    r = pr_mp_open_element(*list, 5);
    b->pos = pos_of(&r);
    b->kind = pr_mp_u32(&r);
    b->data = pr_mp_bin(&r, 0, PR_FRAME_MAX);
    b->targets = pr_mp_list(&r, &b->ntargets, check_target);
    return pr_mp_close_element(&r, list);
}

static int check_body(struct pr_slice *list)
{
    struct pr_chg_body b;

    return pr_chg_bodies_next(list, &b);
}

void pr_chg_encode(struct pr_outbuf *o, const struct pr_chg *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG, 7);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->stream);
    put_pos(o, m->first);
    put_pos(o, m->last);
    pr_mp_put_list(o, m->nbodies, m->bodies);
    pr_mp_end(&w);
}

int pr_chg_decode(const struct pr_frame *f, struct pr_chg *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG, 7);

    m->project = project_of(&r);
    m->stream = pr_mp_uint(&r);
    m->first = pos_of(&r);
    m->last = pos_of(&r);
    m->bodies = pr_mp_list(&r, &m->nbodies, check_body);
    return pr_mp_close(&r);
}

void pr_chg_ok_encode(struct pr_outbuf *o, const struct pr_chg_ok *m)
{
    struct pr_mp_out w = pr_mp_begin(o, PR_T_CHG_OK, 5);

    pr_mp_put_bin(o, m->project);
    pr_mp_put_uint(o, m->boot);
    pr_mp_put_uint(o, m->stream);
    put_pos(o, m->pos);
    pr_mp_end(&w);
}

int pr_chg_ok_decode(const struct pr_frame *f, struct pr_chg_ok *m)
{
    struct pr_mp_in r = pr_mp_open(f, PR_T_CHG_OK, 5);

    m->project = project_of(&r);
    m->boot = pr_mp_uint(&r);
    m->stream = pr_mp_uint(&r);
    m->pos = pos_of(&r);
    return pr_mp_close(&r);
}
