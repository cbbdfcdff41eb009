/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/rights.h"

#include "node/owner/changes.h"

#define SMALL_FRAME 64u

static void send_to(struct peer *p, struct pr_slice frame)
{
    if (p != NULL && !rt_ipc_send(p->ipc, frame)) {
        rt_owner_cut(p, "its queue is full: it does not read");
    }
}

static void say_away(struct peer *edge, uint64_t id, struct pr_slice project)
{
    struct pr_rights m = {
        .boot = edge->boot, .id = id, .status = PR_RIGHTS_AWAY, .project = project};
    uint8_t bytes[SMALL_FRAME + PR_ID_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_rights_encode(&o, &m);
    send_to(edge, pr_bytes(o.p, o.len));
}

static void say_replay_away(struct peer *edge, uint64_t id)
{
    struct pr_replay m = {.boot = edge->boot, .id = id, .status = PR_RIGHTS_AWAY};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_replay_encode(&o, &m);
    send_to(edge, pr_bytes(o.p, o.len));
}

void rt_rights_ask(struct peer *edge, const struct pr_frame *f)
{
    struct owner *o = edge->owner;
    struct pr_rights_ask m;
    struct peer *db;

    if (pr_rights_ask_decode(f, &m) != PR_OK || m.boot != edge->boot) {
        rt_owner_cut(edge, "malformed question of rights");
        return;
    }
    db = rt_changes_db(o, m.project);
    if (db == NULL) {
        say_away(edge, m.id, m.project);
    } else {
        send_to(db, f->whole);
    }
}

void rt_rights_answer(struct peer *db, const struct pr_frame *f)
{
    struct owner *o = db->owner;
    struct pr_rights m;

    if (pr_rights_decode(f, &m) != PR_OK || !pr_slice_is(m.project, db->project)) {
        rt_owner_cut(db, "malformed answer of rights");
        return;
    }
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (o->edge[i] != NULL && (m.boot == 0 || o->edge[i]->boot == m.boot)) {
            send_to(o->edge[i], f->whole);
        }
    }
}

void rt_replay_ask(struct peer *edge, const struct pr_frame *f)
{
    struct owner *o = edge->owner;
    struct pr_replay_ask m;
    struct peer *db;

    if (pr_replay_ask_decode(f, &m) != PR_OK || m.boot != edge->boot) {
        rt_owner_cut(edge, "malformed question of replay");
        return;
    }
    db = rt_changes_db(o, m.project);
    if (db == NULL) {
        say_replay_away(edge, m.id);
    } else {
        send_to(db, f->whole);
    }
}

/* An answer for the edge of this boot, if it still lives. */
static void to_edge(struct owner *o, uint64_t boot, const struct pr_frame *f)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (o->edge[i] != NULL && o->edge[i]->boot == boot) {
            send_to(o->edge[i], f->whole);
        }
    }
}

void rt_replay_answer(struct peer *db, const struct pr_frame *f)
{
    struct pr_replay m;

    if (pr_replay_decode(f, &m) != PR_OK) {
        rt_owner_cut(db, "malformed answer of replay");
        return;
    }
    to_edge(db->owner, m.boot, f);
}

static void say_store_away(struct peer *edge, uint64_t id)
{
    struct pr_store m = {.boot = edge->boot, .id = id, .status = PR_RIGHTS_AWAY};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_store_encode(&o, &m);
    send_to(edge, pr_bytes(o.p, o.len));
}

void rt_store_ask(struct peer *edge, const struct pr_frame *f)
{
    struct pr_store_ask m;
    struct peer *db;

    if (pr_store_ask_decode(f, &m) != PR_OK || m.boot != edge->boot) {
        rt_owner_cut(edge, "malformed message to be stored");
        return;
    }
    db = rt_changes_db(edge->owner, m.project);
    if (db == NULL) {
        say_store_away(edge, m.id);
    } else {
        send_to(db, f->whole);
    }
}

void rt_store_answer(struct peer *db, const struct pr_frame *f)
{
    struct pr_store m;

    if (pr_store_decode(f, &m) != PR_OK) {
        rt_owner_cut(db, "malformed answer of a message to be stored");
        return;
    }
    to_edge(db->owner, m.boot, f);
}

void rt_rights_db_down(struct owner *o, struct pr_slice project)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (o->edge[i] != NULL) {
            say_away(o->edge[i], 0, project);
        }
    }
}
