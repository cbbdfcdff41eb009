/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is there. The one that was dialled decides: it answers HELLO with HELLO_OK or BYE, or holds
 * the connection until it knows. Two connections to one peer end as one like this:
 *
 *   a link is up, the newcomer's epoch is higher   the peer has a new life: the old link goes
 *   a link is up, the epochs are equal             the peer may have lost the old one, or not know
 *                                                  yet that it has it (a seed by another address):
 *                                                  hold, and ask on the old one. It answers: the
 *                                                  newcomer goes. It ends, or is silent for
 *                                                  rival_ms: the newcomer comes up
 *   we are dialling it, and have said HELLO        the smaller id holds, the larger one answers
 *                                                  and gives its own dial up: both ends keep what
 *                                                  the smaller dialled
 *   we are dialling it, but are not that far       answer, and give up the dial: it may well be
 *                                                  that only one of the two ways is open
 *
 * Before that, and before HELLO_OK is believed, the owner is asked whether the peer may have a link
 * at all: its name may be in use. That can take a second, in which the connection is ASKED.
 *
 * Two seeds that dial each other by addresses nobody knows can both be answered; then the dialler
 * of each, on HELLO_OK, keeps what the smaller id dialled.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/owner/mesh_in.h"

void rt_mesh_greet_hello(struct rt_mesh_link *l)
{
    const struct rt_mesh *m = l->m;
    uint8_t space[RT_MESH_HELLO_MAX];
    struct pr_outbuf o = pr_outbuf(space, sizeof space);
    const struct pr_node_hello hello = {.cluster = m->cfg.cluster_hash,
                                        .from_id = m->cfg.id,
                                        .to_id = l->dial_id,
                                        .epoch = m->cfg.epoch,
                                        .proto_min = m->cfg.proto_min,
                                        .proto_max = m->cfg.proto_max,
                                        .name = pr_str(m->cfg.name),
                                        .build = pr_str(m->cfg.build),
                                        .addr = m->cfg.advertise,
                                        .client_url = pr_str(m->cfg.url)};

    pr_node_hello_encode(&o, &hello);
    (void)rt_mesh_push(l, &o);
}

/* Says BYE because of what the peer said. */
static void refuse(struct rt_mesh_link *l, enum pr_bye_code code, const char *text)
{
    if (code == PR_BYE_SELF) {
        rt_mesh_link_bye(l, code, text, RT_MESH_CLOSED); /* a seed list may name all nodes */
        return;
    }
    l->m->counts.refused_hello++;
    rt_mesh_link_bye(l, code, text, RT_MESH_PROTO);
}

static void refuse_second(struct rt_mesh_link *l, const char *text)
{
    l->m->counts.duplicate++;
    rt_mesh_link_bye(l, PR_BYE_REPLACED, text, RT_MESH_CLOSED);
}

static struct rt_mesh_link *held_for(const struct rt_mesh *m, uint64_t id,
                                     const struct rt_mesh_link *not_this)
{
    struct rt_mesh_link *l = m->nheld > 0 ? m->first : NULL;

    while (l != NULL && (l->state != RT_MESH_HELD || l->id != id || l == not_this)) {
        l = l->next;
    }
    return l;
}

struct rt_mesh_peer rt_mesh_peer_of(const struct rt_mesh_link *l)
{
    return (struct rt_mesh_peer){.id = l->id,
                                 .epoch = l->epoch,
                                 .name = pr_str(l->name),
                                 .addr = l->addr,
                                 .build = pr_str(l->build),
                                 .url = pr_str(l->url),
                                 .view = l->view,
                                 .proto = l->proto};
}

/* Into the table and up. */
static void bring_up(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    struct rt_mesh_link *rival = rt_mesh_dial_of(m, l->id, &l->addr);
    const struct rt_mesh_peer peer = rt_mesh_peer_of(l);

    if (rival != NULL && rival != l) {
        m->counts.duplicate++;
        rt_mesh_link_drop(rival);
    }
    rival = held_for(m, l->id, l);
    if (rival != NULL) {
        refuse_second(rival, "another link of these two nodes came up");
    }
    rt_mesh_notify(m);
    if (!rt_mesh_can_speak(l)) {
        return; /* somebody who heard of the old link's end wanted this one closed */
    }
    if (!rt_mesh_table_add(m, l)) {
        refuse(l, PR_BYE_OVERFLOW, "the cluster has more nodes than this build links to");
        return;
    }
    m->nheld -= l->state == RT_MESH_HELD;
    if (l->dialled) {
        rt_mesh_dial_done(l, true);
    }
    m->counts.up++;
    rt_mesh_link_up(l);
    m->cfg.ev->link_up(m->cfg.ctx, &peer);
}

/* Answers HELLO. */
static void answer(struct rt_mesh_link *l)
{
    const struct rt_mesh *m = l->m;
    uint8_t space[PR_FRAME_HEAD + PR_ID_MAX + 64];
    struct pr_outbuf o = pr_outbuf(space, sizeof space);
    const struct pr_node_hello_ok ok = {.proto = l->proto,
                                        .from_id = m->cfg.id,
                                        .to_id = l->id,
                                        .epoch = m->cfg.epoch,
                                        .view_hash = m->view,
                                        .name = pr_str(m->cfg.name)};

    pr_node_hello_ok_encode(&o, &ok);
    (void)rt_mesh_push(l, &o); /* before anything else that is sent */
    bring_up(l);
}

static void hold(struct rt_mesh_link *l, struct rt_mesh_link *up)
{
    struct rt_mesh *m = l->m;
    struct rt_mesh_link *older = held_for(m, l->id, NULL);

    if (older != NULL) {
        refuse_second(older, "the same node has dialled again");
    }
    l->state = RT_MESH_HELD;
    m->nheld++;
    rt_timer_set(&l->timer, m->cfg.times.rival_ms);
    if (up != NULL) {
        rt_mesh_link_ping(up);
    }
}

/* We have said HELLO there, and its answer has not made a link yet. */
static bool has_said_hello(const struct rt_mesh_link *dial)
{
    return dial != NULL && (dial->state == RT_MESH_GREET || dial->state == RT_MESH_ASKED);
}

/* The newcomer has passed all checks of its own. */
static void meet_rivals(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    struct rt_mesh_link *up = rt_mesh_find(m, l->id);
    const struct rt_mesh_link *dial = rt_mesh_dial_of(m, l->id, &l->addr);

    if (up != NULL && l->epoch < up->epoch) {
        refuse_second(l, "a younger process of this node is linked");
    } else if (up != NULL && l->epoch > up->epoch) {
        rt_mesh_link_bye(up, PR_BYE_REPLACED, "a younger process of this node is here",
                         RT_MESH_CLOSED);
        answer(l);
    } else if (up != NULL) {
        hold(l, up);
    } else if (has_said_hello(dial) && m->cfg.id < l->id) {
        hold(l, NULL);
    } else {
        answer(l);
    }
}

static void set_text(char **to, struct pr_slice text)
{
    rt_free(*to);
    *to = rt_strndup(text.p, text.n);
}

/* What an address means to whom we are: 0, or the code and the text of a BYE. */
static uint32_t judge_ids(const struct rt_mesh_link *l, const struct pr_node_hello *h, char *text,
                          size_t cap)
{
    const struct rt_mesh_config *cfg = &l->m->cfg;
    const struct rt_mesh_link *up = rt_mesh_find(l->m, h->from_id);
    char addr[PR_ADDR_TEXT_MAX];

    if (h->from_id == cfg->id &&
        (h->epoch == cfg->epoch || pr_addr_eq(&h->addr, &cfg->advertise))) {
        (void)snprintf(text, cap, "this is %s itself", cfg->name);
        return PR_BYE_SELF;
    }
    if ((h->from_id == cfg->id && l->m->cfg.ev->admit == NULL) ||
        (up != NULL && !pr_slice_is(h->name, up->name))) {
        const struct pr_addr *theirs = h->from_id == cfg->id ? &cfg->advertise : &up->addr;

        (void)pr_addr_format(theirs, addr, sizeof addr);
        (void)snprintf(text, cap, "node name %.*s is used by %s; set REALTIME_NODE",
                       (int)(h->name.n < 80 ? h->name.n : 80), (const char *)h->name.p, addr);
        return PR_BYE_NAME;
    }
    if (h->to_id != 0 && h->to_id != cfg->id) {
        (void)snprintf(text, cap, "this is %s, another node was meant", cfg->name);
        return PR_BYE_TARGET;
    }
    return 0;
}

static uint32_t judge(struct rt_mesh_link *l, const struct pr_node_hello *h, char *text, size_t cap)
{
    const struct rt_mesh_config *cfg = &l->m->cfg;

    if (h->cluster != cfg->cluster_hash) {
        (void)snprintf(text, cap, "%s belongs to another cluster; see REALTIME_CLUSTER_NAME",
                       cfg->name);
        return PR_BYE_CLUSTER;
    }
    if (h->from_id == 0) {
        (void)snprintf(text, cap, "HELLO without an id");
        return PR_BYE_PROTO;
    }
    l->proto = h->proto_max < cfg->proto_max ? h->proto_max : cfg->proto_max;
    if (l->proto < h->proto_min || l->proto < cfg->proto_min) {
        (void)snprintf(text, cap, "%s speaks protocols %u to %u, the caller %u to %u", cfg->name,
                       cfg->proto_min, cfg->proto_max, h->proto_min, h->proto_max);
        return PR_BYE_VERSION;
    }
    return judge_ids(l, h, text, cap);
}

static void on_hello(struct rt_mesh_link *l, const struct pr_frame *f)
{
    struct pr_node_hello h;
    char text[PR_ID_MAX + 1];
    uint32_t code;

    if (pr_node_hello_decode(f, &h) != PR_OK) {
        refuse(l, PR_BYE_PROTO, "HELLO cannot be read");
        return;
    }
    code = judge(l, &h, text, sizeof text);
    if (code != 0) {
        refuse(l, (enum pr_bye_code)code, text);
        return;
    }
    l->id = h.from_id;
    l->epoch = h.epoch;
    l->addr = h.addr;
    set_text(&l->name, h.name);
    set_text(&l->build, h.build);
    set_text(&l->url, h.client_url);
    rt_mesh_greet_ask(l);
}

/* The answer to our HELLO may meet a link that came up meanwhile. False: that one stays. */
static bool beats(struct rt_mesh_link *l, struct rt_mesh_link *up)
{
    if (l->epoch != up->epoch) {
        return l->epoch > up->epoch;
    }
    /* Of two that we dialled, the other end has kept the one that it answered last. */
    return up->dialled || l->m->cfg.id < l->id;
}

static void on_hello_ok(struct rt_mesh_link *l, const struct pr_frame *f)
{
    const struct rt_mesh *m = l->m;
    struct pr_node_hello_ok ok;

    if (pr_node_hello_ok_decode(f, &ok) != PR_OK) {
        refuse(l, PR_BYE_PROTO, "HELLO_OK cannot be read");
        return;
    }
    if (ok.from_id == 0 || ok.from_id == m->cfg.id || ok.to_id != m->cfg.id ||
        (l->dial_id != 0 && ok.from_id != l->dial_id)) {
        refuse(l, PR_BYE_TARGET, "HELLO_OK of another node than was dialled, or for another");
        return;
    }
    if (ok.proto < m->cfg.proto_min || ok.proto > m->cfg.proto_max) {
        refuse(l, PR_BYE_VERSION, "HELLO_OK with a protocol that was not offered");
        return;
    }
    l->id = ok.from_id;
    l->epoch = ok.epoch;
    l->view = ok.view_hash;
    l->proto = ok.proto;
    l->addr = l->remote;
    set_text(&l->name, ok.name);
    rt_mesh_greet_ask(l);
}

/* What we dialled has answered and may be a link. */
static void meet_up(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    struct rt_mesh_link *up = rt_mesh_find(m, l->id);

    if (up != NULL && !beats(l, up)) {
        m->counts.duplicate++;
        rt_mesh_link_drop(l);
        return;
    }
    if (up != NULL) {
        m->counts.duplicate++;
        rt_mesh_link_bye(up, PR_BYE_REPLACED, "another link of these two nodes came up",
                         RT_MESH_CLOSED);
    }
    bring_up(l);
}

static void ask_later(struct rt_mesh_link *l)
{
    const struct rt_mesh_times *t = &l->m->cfg.times;
    uint64_t lived = rt_now_ms(l->m->cfg.loop) - l->began_ms;

    if (lived >= t->hello_ms) {
        l->m->counts.hello_timeout++;
        rt_mesh_link_bye(l, PR_BYE_TIMEOUT, "it took too long to find out who has this name",
                         RT_MESH_TIMEOUT);
        return;
    }
    l->state = RT_MESH_ASKED;
    rt_mesh_link_watch(l);
    rt_timer_set(&l->timer, t->hello_ms - lived < t->admit_ms ? t->hello_ms - lived : t->admit_ms);
}

void rt_mesh_greet_ask(struct rt_mesh_link *l)
{
    const struct rt_mesh_config *cfg = &l->m->cfg;
    const struct rt_mesh_peer peer = rt_mesh_peer_of(l);
    bool put_off = l->dialled && l->state == RT_MESH_ASKED;
    char text[PR_ID_MAX + 1] = "";
    uint32_t verdict = RT_MESH_YES;

    if (cfg->ev->admit != NULL) {
        verdict = cfg->ev->admit(cfg->ctx, &peer, text, sizeof text);
    }
    if (!rt_mesh_can_speak(l)) {
        return; /* the owner has closed it */
    }
    assert(l->id != cfg->id || (verdict != RT_MESH_YES && verdict != RT_MESH_LATER));
    if (verdict == RT_MESH_LATER) {
        ask_later(l);
        return;
    }
    if (verdict != RT_MESH_YES) {
        refuse(l, (enum pr_bye_code)verdict, text);
        return;
    }
    l->state = RT_MESH_GREET;
    if (l->dialled) {
        meet_up(l);
    } else {
        meet_rivals(l);
    }
    if (put_off) {
        rt_mesh_read_on(l);
    }
}

void rt_mesh_greet_frame(struct rt_mesh_link *l, const struct pr_frame *f)
{
    if (l->state == RT_MESH_GREET && !l->dialled && f->type == PR_T_NODE_HELLO) {
        on_hello(l, f);
    } else if (l->state == RT_MESH_GREET && l->dialled && f->type == PR_T_NODE_HELLO_OK) {
        on_hello_ok(l, f);
    } else {
        l->m->counts.malformed++;
        refuse(l, PR_BYE_PROTO, "a frame that may not come before the link is up");
    }
}

void rt_mesh_greet_overdue(struct rt_mesh_link *l)
{
    struct rt_mesh_link *up = rt_mesh_find(l->m, l->id);

    if (up != NULL) {
        l->m->counts.silent++;
        rt_mesh_link_bye(up, PR_BYE_REPLACED, "did not answer, and the same node has dialled anew",
                         RT_MESH_TIMEOUT);
    }
    answer(l);
}

void rt_mesh_greet_answered(struct rt_mesh_link *l)
{
    struct rt_mesh_link *held = held_for(l->m, l->id, NULL);

    if (held != NULL) {
        refuse_second(held, "the link of these two nodes is up and answers");
    }
}

void rt_mesh_greet_settle(struct rt_mesh *m)
{
    struct rt_mesh_link *l = m->nheld > 0 ? m->first : NULL;

    while (l != NULL) {
        const struct rt_mesh_link *dial;

        if (l->state == RT_MESH_HELD && rt_mesh_find(m, l->id) == NULL) {
            dial = rt_mesh_dial_of(m, l->id, &l->addr);
            if (!has_said_hello(dial)) {
                answer(l);
                rt_mesh_kick(m, 0); /* the list has changed: begin anew in the next turn */
                return;
            }
        }
        l = l->next;
    }
}
