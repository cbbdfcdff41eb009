/* SPDX-License-Identifier: Apache-2.0 */
/* change_reader.c - what the db of this node is told: whether it reads, and whose edges live. */
#include <assert.h>

#include "node/owner/changes_in.h"
#include "node/owner/tell.h"

#define SMALL_FRAME 512u

bool rt_changes_is_reader(const struct changes *c)
{
    return c->reader == c->o->node_id && c->db != NULL;
}

void rt_changes_to_db(struct changes *c, struct pr_slice frame)
{
    struct peer *db = c->db;

    if (db != NULL && !rt_ipc_send(db->ipc, frame)) {
        rt_owner_cut(db, "its queue is full: it does not read");
    }
}

static void put_to_db(struct changes *c, const struct pr_outbuf *o)
{
    assert(pr_out_ok(o));
    rt_changes_to_db(c, pr_bytes(o->p, o->len));
}

void rt_changes_tell_db(struct changes *c, enum pr_reader_state state)
{
    struct pr_reader m = {.project = pr_str(c->project), .node = c->o->node_id, .state = state};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_reader_encode(&o, &m);
    put_to_db(c, &o);
}

void rt_changes_name(struct changes *c, uint64_t boot)
{
    struct pr_chg_synced m = {.project = pr_str(c->project), .boot = boot};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (rt_changes_is_reader(c)) {
        pr_chg_synced_encode(&o, &m);
        put_to_db(c, &o);
    }
}

void rt_changes_unname(struct changes *c, uint64_t boot)
{
    struct pr_chg_gone m = {.boot = boot};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (rt_changes_is_reader(c)) {
        pr_chg_gone_encode(&o, &m);
        put_to_db(c, &o);
    }
}

void rt_changes_check_known(struct changes *c)
{
    if (c->known || !rt_changes_is_reader(c)) {
        return;
    }
    for (uint32_t i = 0; i < c->o->cfg->edges; i++) {
        if (c->o->edge[i] == NULL) {
            return;
        }
    }
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (!c->nodes[i].gone && !c->nodes[i].heard) {
            return;
        }
    }
    c->known = true;
    rt_changes_tell_db(c, PR_READER_KNOWN);
}

/* db may begin: it is told so, and who lives. It asks them all by CHG_SYNC. */
static void begin(struct changes *c)
{
    c->known = false;
    rt_changes_tell_db(c, PR_READER_START);
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (c->o->edge[i] != NULL) {
            rt_changes_name(c, c->o->edge[i]->boot);
        }
    }
    for (uint32_t i = 0; i < c->nboots; i++) {
        rt_changes_name(c, c->boots[i].boot);
    }
    rt_changes_check_known(c);
}

/* Nothing of what db said holds any more. */
static void forget_db(struct changes *c)
{
    if (c->held.lsn != 0 && !rt_change_term_older(c->held, c->top)) {
        rt_change_cast_flow(c, false);
    }
    c->known = false;
    c->asking = false;
    c->again = false;
    c->held = (struct change_term){0};
    rt_change_nodes_reset(c);
}

void rt_change_reader(struct changes *c, uint64_t id)
{
    bool was = rt_changes_is_reader(c);
    bool asked = c->asking;

    if (id == c->reader) {
        return;
    }
    c->reader = id;
    rt_tell_reader(c->o, c->project, id);
    if (rt_changes_is_reader(c)) {
        begin(c);
    } else if (was) {
        struct pr_reader m = {
            .project = pr_str(c->project), .node = c->o->node_id, .state = PR_READER_STOP};
        uint8_t bytes[SMALL_FRAME];
        struct pr_outbuf out = pr_outbuf(bytes, sizeof bytes);

        forget_db(c);
        rt_changes_tell_db(c, PR_READER_STOP);
        pr_reader_encode(&out, &m);
        assert(pr_out_ok(&out));
        for (uint32_t i = 0; asked && i < c->nnodes; i++) {
            (void)rt_change_node_send(c, &c->nodes[i], pr_bytes(out.p, out.len));
        }
    }
}

void rt_change_db_up(struct changes *c, struct peer *db)
{
    c->db = db;
    rt_ipc_set_bound(db->ipc, RT_CHANGES_DB_BYTES);
    if (rt_changes_is_reader(c)) {
        begin(c);
    } else {
        rt_changes_tell_db(c, PR_READER_STOP);
    }
}

void rt_change_db_down(struct changes *c)
{
    c->db = NULL;
    c->stopped = false;
    forget_db(c);
}
