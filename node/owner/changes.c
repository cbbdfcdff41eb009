/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/changes.h"

#include <assert.h>
#include <string.h>

#include "node/owner/changes_in.h"

#define SMALL_FRAME 512u

/*
 * `n` asks edge i anew, NULL: our db. What it answers to a question of before, which the end of a
 * link may have cut in two, must not look like the whole answer to this one: a node asks with the
 * same round on each of its links.
 */
static void ask_edge(struct changes *c, uint32_t i, struct change_node *n)
{
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (c->o->edge[i] == NULL) {
        return;
    }
    if (n != NULL) {
        n->earlier[i] = c->due[i];
    }
    c->due[i]++;
    rt_change_put_sync(c, &o, n == NULL ? c->round : n->round);
    assert(pr_out_ok(&o));
    rt_change_to_edge(c, i, pr_bytes(o.p, o.len));
}

static void ask_edges(struct changes *c, struct change_node *n)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        ask_edge(c, i, n);
    }
}

/* The connection of a living edge ended: frames on their way are lost, and nobody waited for it. */
static void tell_missed(struct changes *c, const struct peer *p)
{
    struct pr_chg_sys m = {
        .project = pr_str(c->project), .boot = p->boot, .message = pr_str(RT_CHANGES_MISSED)};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_chg_sys_encode(&o, &m);
    assert(pr_out_ok(&o));
    rt_change_to_edge(c, p->index, pr_bytes(o.p, o.len));
}

void rt_change_edge_up(struct changes *c, struct peer *edge)
{
    bool again = c->ended[edge->index] == edge->boot;

    c->cut &= ~(UINT64_C(1) << edge->index);
    c->paused &= ~(UINT64_C(1) << edge->index);
    c->due[edge->index] = 0;
    rt_changes_name(c, edge->boot);
    if (c->asking) {
        ask_edge(c, edge->index, NULL);
    }
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (c->nodes[i].asks) {
            ask_edge(c, edge->index, &c->nodes[i]);
        }
    }
    if (again) {
        tell_missed(c, edge);
    }
    rt_change_cast_edge_up(c, edge->index);
    rt_changes_check_known(c);
}

void rt_change_edge_down(struct changes *c, const struct peer *edge)
{
    c->ended[edge->index] = edge->boot;
    rt_changes_unname(c, edge->boot);
    rt_change_cast_edge_down(c, edge->index);
}

void rt_change_edge_frame(struct changes *c, struct peer *edge, const struct pr_frame *f)
{
    bool answer = f->type == PR_T_CHG_SYNCED;

    if (c->asking) {
        rt_changes_to_db(c, f->whole);
    }
    c->due[edge->index] -= answer && c->due[edge->index] > 0;
    for (uint32_t i = 0; i < c->nnodes; i++) {
        struct change_node *n = &c->nodes[i];

        if (!n->asks) {
            continue; /* what is not sent is told again when somebody asks */
        }
        if (answer && n->earlier[edge->index] > 0) {
            n->earlier[edge->index]--;
            continue;
        }
        (void)rt_change_node_send(c, n, f->whole);
        if (rt_owner_link_queued(c->o, n->id) > RT_CHANGES_LINK_BYTES) {
            rt_change_edge_pause(c, edge);
        }
    }
}

static uint32_t local_place(const struct changes *c, uint64_t boot)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (c->o->edge[i] != NULL && c->o->edge[i]->boot == boot) {
            return i;
        }
    }
    return RT_CHANGE_NOWHERE;
}

static uint32_t any_place(const struct changes *c, uint64_t boot)
{
    uint32_t place = local_place(c, boot);

    if (place == RT_CHANGE_NOWHERE) {
        place = rt_change_node_of(c, boot);
        place += place == RT_CHANGE_NOWHERE ? 0 : RT_EDGES_MAX;
    }
    return place;
}

/* To the edge or node where `place` says that a boot is. */
static void to_place(struct changes *c, uint32_t place, struct pr_slice frame)
{
    if (place == RT_CHANGE_NOWHERE) {
        return; /* it ended meanwhile */
    }
    if (place < RT_EDGES_MAX) {
        rt_change_to_edge(c, place, frame);
    } else {
        (void)rt_change_node_send(c, &c->nodes[place - RT_EDGES_MAX], frame);
    }
}

/* A part to each place. False: the frame is damaged, and nothing was sent. */
static bool spread(struct changes *c, const struct pr_frame *f, const struct pr_chg *m,
                   uint32_t (*place)(const struct changes *c, uint64_t boot))
{
    if (!rt_change_split(&c->split, m, place, c)) {
        return false;
    }
    for (uint32_t i = 0; i < RT_CHANGE_PLACES; i++) {
        struct pr_slice part = f->whole;

        if ((c->split.places[i / 64] >> (i % 64) & 1u) == 0) {
            continue;
        }
        if (c->split.nplaces > 1) {
            part = rt_change_part(&c->split, m, i);
        }
        if (i < RT_EDGES_MAX) {
            rt_change_to_edge(c, i, part);
        } else {
            rt_change_node_changes(c, &c->nodes[i - RT_EDGES_MAX], part, m->last);
        }
    }
    return true;
}

/* Changes of a reader with this term. */
static bool on_changes(struct changes *c, const struct pr_frame *f, struct change_term term,
                       bool own)
{
    struct pr_chg m;

    if (pr_chg_decode(f, &m) != PR_OK) {
        return false;
    }
    if (term.lsn == 0 || rt_change_term_older(term, c->top)) {
        return true; /* rule 4 of changes.h; and before HELD nothing is promised */
    }
    if (m.nbodies > 0) {
        return spread(c, f, &m, own ? any_place : local_place);
    }
    rt_change_to_edges(c, f->whole);
    for (uint32_t i = 0; own && i < c->nnodes; i++) {
        if (c->nodes[i].ready) {
            rt_change_node_changes(c, &c->nodes[i], f->whole, m.last);
        }
    }
    return true;
}

/* A verdict for one edge, or a message for one or all. */
static bool on_message(struct changes *c, const struct pr_frame *f, bool own)
{
    struct pr_chg_reg_ok reg;
    struct pr_chg_sys sys;
    uint64_t boot;

    if (f->type == PR_T_CHG_REG_OK) {
        if (pr_chg_reg_ok_decode(f, &reg) != PR_OK) {
            return false;
        }
        boot = reg.boot;
    } else {
        if (pr_chg_sys_decode(f, &sys) != PR_OK) {
            return false;
        }
        boot = sys.boot;
        if (own && sys.handle == 0 && rt_change_node_of(c, boot) != RT_CHANGE_NOWHERE) {
            rt_change_missed_by(c, boot);
            return true;
        }
    }
    if (f->type == PR_T_CHG_REG_OK || boot != 0) {
        to_place(c, own ? any_place(c, boot) : local_place(c, boot), f->whole);
        return true;
    }
    rt_change_to_edges(c, f->whole);
    for (uint32_t i = 0; own && i < c->nnodes; i++) {
        (void)rt_change_node_send(c, &c->nodes[i], f->whole);
    }
    return true;
}

/* Whoever holds the slot last is believed. */
static void note_term(struct changes *c, struct change_term term, uint64_t node, bool casts)
{
    if (rt_change_term_older(term, c->top)) {
        rt_log(c->o->args->log, RT_WARN, "reader_of_an_older_term", rt_kv_s("project", c->project),
               rt_kv_x("node", node), rt_kv_u("timeline", term.timeline), rt_kv_x("lsn", term.lsn));
    } else {
        c->top = term;
        rt_change_cast_flow(c, casts);
        rt_log(c->o->args->log, RT_INFO, "changes_reader", rt_kv_s("project", c->project),
               rt_kv_x("node", node), rt_kv_u("timeline", term.timeline), rt_kv_x("lsn", term.lsn));
    }
}

static struct change_term term_of(const struct pr_reader *m)
{
    return (struct change_term){
        .system = m->system, .timeline = m->term_timeline, .lsn = m->term_lsn};
}

static bool on_db_reader(struct changes *c, const struct pr_frame *f)
{
    struct pr_reader m;

    if (pr_reader_decode(f, &m) != PR_OK || m.state != PR_READER_HELD || m.term_lsn == 0) {
        return false;
    }
    if (c->asking) { /* else it was told to stop meanwhile */
        c->held = term_of(&m);
        c->again = false;
        c->held_casts = m.casts != 0;
        note_term(c, c->held, c->o->node_id, c->held_casts);
        rt_change_cast_held(c);
        rt_change_nodes_held(c);
    }
    return true;
}

static bool on_db_sync(struct changes *c, const struct pr_frame *f)
{
    struct pr_chg_sync m;

    if (pr_chg_sync_decode(f, &m) != PR_OK) {
        return false;
    }
    if (rt_changes_is_reader(c)) {
        c->asking = true;
        c->round = m.round;
        ask_edges(c, NULL);
        for (uint32_t i = 0; i < c->nnodes; i++) {
            if (c->nodes[i].named) {
                (void)rt_change_node_send(c, &c->nodes[i], f->whole);
            }
        }
    }
    return true;
}

bool rt_change_db_frame(struct changes *c, const struct pr_frame *f)
{
    bool good = false;

    switch (f->type) {
    case PR_T_CHG:
        good = on_changes(c, f, c->held, true);
        break;
    case PR_T_CHG_REG_OK:
    case PR_T_CHG_SYS:
        good = on_message(c, f, true);
        break;
    case PR_T_CHG_SYNC:
        good = on_db_sync(c, f);
        break;
    case PR_T_CAST:
        good = rt_change_cast(c, f);
        break;
    case PR_T_READER:
        good = on_db_reader(c, f);
        break;
    default:
        break;
    }
    rt_change_queues_check(c);
    return good;
}

static bool on_link_reader(struct changes *c, struct change_node *n, const struct pr_frame *f)
{
    struct pr_reader m;

    if (pr_reader_decode(f, &m) != PR_OK) {
        return false;
    }
    if (m.state == PR_READER_HELD && m.term_lsn != 0) {
        n->term = term_of(&m);
        note_term(c, n->term, n->id, m.casts != 0);
        return true;
    }
    if (m.state == PR_READER_STOP) {
        if (n->term.lsn != 0 && !rt_change_term_older(n->term, c->top)) {
            rt_change_cast_flow(c, false);
        }
        n->asks = false;
        n->term = (struct change_term){0};
        return true;
    }
    return false;
}

static bool on_link_sync(struct changes *c, struct change_node *n, const struct pr_frame *f)
{
    struct pr_chg_sync m;

    if (pr_chg_sync_decode(f, &m) != PR_OK) {
        return false;
    }
    n->asks = true;
    n->round = m.round;
    ask_edges(c, n);
    return true;
}

bool rt_change_link_frame(struct changes *c, uint64_t from, const struct pr_frame *f)
{
    struct change_node *n = rt_change_node(c, from);
    struct pr_chg_ok ok;

    if (n == NULL) {
        return true;
    }
    switch (f->type) {
    case PR_T_CHG:
        return on_changes(c, f, n->term, false);
    case PR_T_CHG_REG_OK:
    case PR_T_CHG_SYS:
        return on_message(c, f, false);
    case PR_T_CHG_SYNC:
        return on_link_sync(c, n, f);
    case PR_T_READER:
        return on_link_reader(c, n, f);
    case PR_T_CHG_REG:
    case PR_T_CHG_UNREG:
    case PR_T_CHG_SYNCED:
    case PR_T_CHG_OK:
        /* Else it has not heard yet that another one reads, or is to be asked. */
        if (c->asking && n->named) {
            rt_changes_to_db(c, f->whole);
            if (f->type == PR_T_CHG_OK && pr_chg_ok_decode(f, &ok) == PR_OK) {
                rt_change_missed_heard(n, ok.boot, ok.pos);
            }
        }
        return true;
    default:
        return false;
    }
}

struct changes *rt_change_new(struct owner *o, struct pr_slice project)
{
    struct changes *c = rt_calloc(1, sizeof *c);

    assert(project.n < sizeof c->project);
    memcpy(c->project, project.p, project.n);
    c->o = o;
    c->caster = RT_EDGES_MAX;
    rt_timer_init(o->loop, &c->timer, rt_change_queues_look, c);
    return c;
}

static void free_changes(void *ctx)
{
    struct changes *c = ctx;

    rt_change_split_free(&c->split);
    rt_free(c->boots);
    rt_free(c);
}

void rt_change_free(struct changes *c)
{
    rt_loop_undefer(c->o->loop, &c->cut_later);
    rt_timer_close(&c->timer, free_changes);
}
