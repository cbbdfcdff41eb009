/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change_cast.c - broadcasts that our db reads from the database: to one edge, which publishes
 * them.
 *
 * The edge is chosen when db begins to read, and not changed while it does: its frames are one
 * sequence. When it ends, db is asked to read again from the confirmed position, and what it still
 * sends of the old reading goes nowhere.
 */
#include <assert.h>

#include "node/owner/changes_in.h"
#include "proto/mesh_cast.h"

#define SMALL_FRAME 512u

/* db reads anew, as soon as somebody is there to publish. */
static void ask_again(struct changes *c)
{
    bool somebody = false;

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        somebody = somebody || c->o->edge[i] != NULL;
    }
    if (somebody && c->held.lsn != 0 && !c->again) {
        c->again = true;
        rt_changes_tell_db(c, PR_READER_START);
    }
}

void rt_change_cast_held(struct changes *c)
{
    c->caster = 0;
    while (c->caster < RT_EDGES_MAX && c->o->edge[c->caster] == NULL) {
        c->caster++;
    }
}

static struct pr_outbuf put_flow(const struct changes *c, uint8_t *bytes)
{
    struct pr_reader m = {.project = pr_str(c->project),
                          .state = c->casting ? PR_READER_HELD : PR_READER_STOP,
                          .casts = c->casting};
    struct pr_outbuf o = pr_outbuf(bytes, SMALL_FRAME);

    pr_reader_encode(&o, &m);
    assert(pr_out_ok(&o));
    return o;
}

void rt_change_cast_flow(struct changes *c, bool on)
{
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o;

    if (on != c->casting) {
        c->casting = on;
        o = put_flow(c, bytes);
        rt_change_to_edges(c, pr_bytes(o.p, o.len));
    }
}

void rt_change_cast_edge_up(struct changes *c, uint32_t edge)
{
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = put_flow(c, bytes);

    if (c->casting) {
        rt_change_to_edge(c, edge, pr_bytes(o.p, o.len));
    }
    if (c->caster == RT_EDGES_MAX) {
        ask_again(c);
    }
}

void rt_change_cast_edge_down(struct changes *c, uint32_t edge)
{
    if (c->caster == edge) {
        c->caster = RT_EDGES_MAX;
        ask_again(c);
    }
}

bool rt_change_cast(struct changes *c, const struct pr_frame *f)
{
    struct pr_cast m;

    if (pr_cast_decode(f, &m) != PR_OK) {
        return false;
    }
    /* As with changes: before HELD nothing is promised, and an older term is another history. */
    if (c->held.lsn != 0 && !rt_change_term_older(c->held, c->top) && c->caster < RT_EDGES_MAX) {
        rt_change_to_edge(c, c->caster, f->whole);
    }
    return true;
}

void rt_change_cast_ok(struct changes *c, const struct peer *edge, struct pr_slice frame)
{
    if (c->asking && edge->index == c->caster) {
        rt_changes_to_db(c, frame);
    }
}
