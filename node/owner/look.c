/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/look.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cluster/hash.h"
#include "node/owner/events.h"
#include "node/owner/nodes.h"

/* Events that are told if nobody says how many. */
#define EVENTS_TOLD 20

static json_t *text_json(struct pr_slice s)
{
    return s.n == 0 ? json_string("") : json_stringn_nocheck((const char *)s.p, s.n);
}

static json_t *hex_json(uint64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)v);
    return json_string(text);
}

/* NULL for "not known". */
static json_t *ms_json(uint32_t ms)
{
    return ms == UINT32_MAX ? json_null() : json_integer(ms);
}

static json_t *addr_json(const struct pr_addr *a)
{
    char text[PR_ADDR_TEXT_MAX];

    if (a->family == 0) {
        return json_null();
    }
    (void)pr_addr_format(a, text, sizeof text);
    return json_string(text);
}

/* ---- names ---- */

struct naming {
    uint64_t id;
    struct rt_node_name name;
};

static void find_name(void *ctx, const struct cl_member_row *row)
{
    struct naming *n = ctx;

    if (row->id == n->id) {
        (void)snprintf(n->name.text, sizeof n->name.text, "%.*s", (int)row->name.n,
                       (const char *)row->name.p);
    }
}

struct rt_node_name rt_look_name(const struct owner *o, uint64_t id)
{
    struct naming n = {.id = id};

    if (id == o->node_id) {
        (void)snprintf(n.name.text, sizeof n.name.text, "%s", o->cfg->node);
    } else {
        (void)snprintf(n.name.text, sizeof n.name.text, "%016llx", (unsigned long long)id);
        cl_inspect_members(o->cl, find_name, &n);
    }
    return n.name;
}

/* ---- processes ---- */

static bool attached(const struct owner *o, enum rt_role role, uint32_t index)
{
    switch (role) {
    case RT_EDGE:
        return o->edge[index] != NULL;
    case RT_DB:
        return o->db[index] != NULL;
    case RT_SUPERVISOR:
    case RT_OWNER:
        break;
    }
    return true;
}

static json_t *process_row(const struct owner *o, enum rt_role role, uint32_t index)
{
    const struct rt_slot *slot = rt_metrics_slot(o->args->metrics, role, index);
    uint64_t pid = slot == NULL ? 0 : atomic_load_explicit(&slot->pid, memory_order_relaxed);
    uint64_t start;
    uint64_t now = rt_wall_ms();
    const char *state = "alive";

    if (pid == 0) {
        return NULL;
    }
    start = atomic_load_explicit(&slot->start_ms, memory_order_relaxed);
    if (kill((pid_t)pid, 0) != 0 && errno != EPERM) {
        state = "dead";
    } else if (!attached(o, role, index)) {
        state = "detached"; /* it runs, and is not connected to the owner */
    }
    return json_pack("{s:s, s:i, s:I, s:s, s:I}", "role", rt_role_name(role), "index", (int)index,
                     "pid", (json_int_t)pid, "state", state, "up_s",
                     (json_int_t)(start != 0 && now > start ? (now - start) / 1000u : 0));
}

/* Of several projects each under its name. */
static json_t *limits_json(const struct rt_config *cfg)
{
    json_t *limits = json_object();
    const char *name = NULL;
    uint32_t value = 0;

    for (uint32_t k = 0; k < cfg->nprojects; k++) {
        const struct rt_config *p = &cfg->projects[k];

        for (uint32_t i = 0; rt_config_limit(p, i, &name, &value); i++) {
            char key[RT_PROJECT_NAME_MAX + 80];

            (void)snprintf(key, sizeof key, "%s%s%s", cfg->sections ? p->project : "",
                           cfg->sections ? " " : "", name);
            (void)json_object_set_new(limits, key, json_integer(value));
        }
    }
    return limits;
}

/* Says how many there are that ever ran. */
static uint32_t add_processes(const struct owner *o, json_t *list, enum rt_role role, uint32_t max)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < max; i++) {
        json_t *row = process_row(o, role, i);

        count += row != NULL;
        if (row != NULL && role == RT_DB && o->db[i] != NULL) {
            (void)json_object_set_new(row, "project", json_string(o->db[i]->project));
        }
        if (row != NULL) {
            (void)json_array_append_new(list, row);
        }
    }
    return count;
}

void rt_look_status(struct ask *q, const json_t *args)
{
    const struct owner *o = q->owner;
    json_t *processes = json_array();
    uint32_t dbs_run, dbs = 0;
    struct cl_stats s;
    int edges = 0;

    (void)args;
    (void)add_processes(o, processes, RT_SUPERVISOR, 1);
    (void)add_processes(o, processes, RT_OWNER, 1);
    dbs_run = add_processes(o, processes, RT_DB, RT_DBS_MAX);
    (void)add_processes(o, processes, RT_EDGE, o->cfg->edges);
    for (uint32_t i = 0; i < o->cfg->edges; i++) {
        edges += o->edge[i] != NULL;
    }
    for (uint32_t i = 0; i < RT_DBS_MAX; i++) {
        dbs += o->db[i] != NULL;
    }
    cl_stats(o->cl, &s);
    rt_ask_row(q, json_pack("{s:s, s:i, s:b, s:b, s:I, s:I, s:I, s:o, s:o}", "owner", "answers",
                            "edges_attached", edges, "db_attached", dbs > 0 && dbs >= dbs_run,
                            "joined", cl_joined(o->cl), "topics", (json_int_t)s.topics, "presences",
                            (json_int_t)s.presences, "events", (json_int_t)s.events, "processes",
                            processes, "limits", limits_json(rt_settings_now(o))));
}

/* ---- this node ---- */

static json_t *keys_json(const struct nodes *n)
{
    const struct rt_keyring *ring = n == NULL ? NULL : rt_nodes_keys(n);
    json_t *keys = json_array();

    for (uint32_t i = 0; ring != NULL && i < ring->count; i++) {
        (void)json_array_append_new(keys, json_string(ring->key[i].identity));
    }
    return keys;
}

/* Datagrams, and those that were refused by reason. */
static json_t *udp_json(const struct nodes *n)
{
    struct rt_mesh_udp_counts c;
    json_t *refused = json_object();
    uint64_t failed;

    if (n == NULL) {
        json_decref(refused);
        return json_null();
    }
    c = rt_mesh_udp_counts(rt_nodes_udp(n));
    failed = c.send_failed + c.send_full;
    for (int v = RT_SEAL_TAKEN + 1; v < RT_SEAL_VERDICTS; v++) {
        if (c.seal.opened[v] > 0) {
            (void)json_object_set_new(refused, rt_seal_verdict_name((enum rt_seal_verdict)v),
                                      json_integer((json_int_t)c.seal.opened[v]));
        }
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "sent", (json_int_t)c.sent, "sent_bytes",
                     (json_int_t)c.sent_bytes, "received", (json_int_t)c.received, "received_bytes",
                     (json_int_t)c.received_bytes, "send_failed", (json_int_t)failed, "refused",
                     refused);
}

static json_t *probes_json(const struct cl_stats *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "sent", (json_int_t)s->probes, "direct",
                     (json_int_t)s->acks_direct, "helped", (json_int_t)s->acks_helped, "link",
                     (json_int_t)s->acks_link, "failed", (json_int_t)s->probes_failed);
}

struct self {
    const struct owner *o;
    json_t *row;
    uint64_t topics;
};

static void self_member(void *ctx, const struct cl_member_row *m)
{
    struct self *s = ctx;

    if (m->self) {
        (void)json_object_set_new(s->row, "state", json_string(m->state));
        (void)json_object_set_new(s->row, "epoch", hex_json(m->epoch));
        (void)json_object_set_new(s->row, "health", json_integer(m->health));
        (void)json_object_set_new(s->row, "addr", addr_json(&m->addr));
    }
}

static void count_owned(void *ctx, const struct cl_topic_row *row)
{
    struct self *s = ctx;

    s->topics += row->owner == s->o->node_id;
}

/* "down" if the database of any project is. */
static const char *database_state(const struct owner *o)
{
    const struct rt_config *now = rt_settings_now(o);
    const struct rt_metrics *m = o->args->metrics;
    const char *state = "none";

    for (uint32_t i = 0; i < now->nprojects; i++) {
        const struct rt_config *p = &now->projects[i];

        if (p->database_url == NULL) {
            continue;
        }
        if (rt_metrics_get(m, RT_DB, rt_metrics_db(m, p->project), RT_M_DB_UP) == 0) {
            return "down";
        }
        state = "up";
    }
    return state;
}

static json_t *projects_json(const struct owner *o)
{
    const struct rt_config *now = rt_settings_now(o);
    json_t *list = json_array();

    for (uint32_t i = 0; i < now->nprojects; i++) {
        (void)json_array_append_new(list, json_string(now->projects[i].project));
    }
    return list;
}

void rt_look_self(struct ask *q, bool count_topics)
{
    const struct owner *o = q->owner;
    struct self self = {.o = o};
    struct cl_stats s;
    int edges = 0;

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        edges += o->edge[i] != NULL;
    }
    cl_stats(o->cl, &s);
    self.row = json_pack(
        "{s:s, s:s, s:o, s:i, s:o, s:i, s:i, s:I, s:o, s:s, s:s?, s:o, s:I, s:I, s:s, s:I, s:I, "
        "s:I, s:o, s:o, s:o}",
        "row", "self", "state", cl_joined(o->cl) ? "alive" : "joining", "epoch", hex_json(o->epoch),
        "health", 0, "addr", json_null(), "weight", (int)o->cfg->weight, "edges", edges, "sockets",
        (json_int_t)rt_metrics_sum(o->args->metrics, RT_M_CONNECTIONS), "view",
        hex_json(cl_view(o->cl)), "build", RT_BUILD, "zone", o->cfg->zone, "keys",
        keys_json(o->nodes), "wall_ms", (json_int_t)rt_wall_ms(), "up_ms",
        (json_int_t)(rt_wall_ms() - (o->epoch >> 12)), "database", database_state(o), "published",
        (json_int_t)s.published, "events", (json_int_t)s.events, "lost", (json_int_t)s.gap_lost,
        "probes", probes_json(&s), "udp", udp_json(o->nodes), "projects", projects_json(o));
    cl_inspect_members(o->cl, self_member, &self);
    if (count_topics) {
        cl_inspect_topics(o->cl, count_owned, &self);
        (void)json_object_set_new(self.row, "topics", json_integer((json_int_t)self.topics));
    }
    rt_ask_row(q, self.row);
}

/* ---- the others, as seen from here ---- */

struct telling {
    struct ask *q;
    const char *why; /* NULL, or the one that is asked about */
};

static void tell_member(void *ctx, const struct cl_member_row *m)
{
    struct telling *t = ctx;
    const struct owner *o = t->q->owner;
    uint64_t now = rt_now_ms(o->loop);
    struct pr_slice why = rt_events_last(o->events, RT_EVT_MEMBER, m->name);
    bool suspect = m->dead_at != UINT64_MAX;
    json_t *row;

    if (t->why != NULL && !pr_slice_is(m->name, t->why)) {
        return;
    }
    row = json_pack(
        "{s:s, s:o, s:s, s:o, s:I, s:o, s:i, s:i, s:o, s:i, s:o, s:o, s:o, s:b, s:b, s:I}", "row",
        "member", "name", text_json(m->name), "state", m->state, "addr", addr_json(&m->addr),
        "incarnation", (json_int_t)m->inc, "epoch", hex_json(m->epoch), "weight", (int)m->weight,
        "partitions", (int)m->partitions, "rtt_ms", ms_json(m->rtt_ms), "udp_missed",
        (int)m->udp_missed, "build", text_json(m->build), "zone", text_json(m->zone), "view",
        hex_json(m->view), "linked", m->linked, "self", m->self, "since_ms",
        (json_int_t)(now > m->since ? now - m->since : 0));
    if (suspect) {
        (void)json_object_set_new(
            row, "dead_in_ms", json_integer((json_int_t)(m->dead_at > now ? m->dead_at - now : 0)));
        (void)json_object_set_new(row, "confirms", json_integer(m->confirms));
        (void)json_object_set_new(row, "confirms_of", json_integer(m->confirms_of));
    }
    (void)json_object_set_new(row, "why", why.n == 0 ? json_null() : text_json(why));
    rt_ask_row(t->q, row);
}

/* A node without peers is a cluster of one. */
static void tell_alone(struct ask *q)
{
    const struct owner *o = q->owner;
    uint64_t age_ms = rt_wall_ms() - (o->epoch >> 12);
    struct cl_member_row m = {.id = o->node_id,
                              .epoch = o->epoch,
                              .name = pr_str(o->cfg->node),
                              .build = pr_str(RT_BUILD),
                              .zone = pr_str(o->cfg->zone == NULL ? "" : o->cfg->zone),
                              .state = cl_joined(o->cl) ? "alive" : "joining",
                              .weight = o->cfg->weight,
                              .partitions = CL_PARTITIONS,
                              .rtt_ms = UINT32_MAX,
                              .since = rt_now_ms(o->loop) - age_ms,
                              .dead_at = UINT64_MAX,
                              .view = cl_view(o->cl),
                              .self = true};
    struct telling t = {.q = q};

    tell_member(&t, &m);
}

void rt_look_member_rows(struct ask *q)
{
    struct telling t = {.q = q};

    if (q->owner->nodes == NULL) {
        tell_alone(q);
    } else {
        cl_inspect_members(q->owner->cl, tell_member, &t);
    }
}

/* Figures by class, without the unused first one. */
static json_t *classes_json(const uint64_t figures[RT_LANES_CLASSES])
{
    static const char *const names[RT_LANES_CLASSES] = {NULL, "control", "changes", "presence",
                                                        "broadcast"};
    json_t *o = json_object();

    for (size_t i = 1; i < RT_LANES_CLASSES; i++) {
        (void)json_object_set_new(o, names[i], json_integer((json_int_t)figures[i]));
    }
    return o;
}

static void tell_link(void *ctx, const struct rt_mesh_link_info *l)
{
    struct ask *q = ctx;
    uint64_t now = rt_now_ms(q->owner->loop);
    uint64_t waiting[RT_LANES_CLASSES];

    for (size_t i = 0; i < RT_LANES_CLASSES; i++) {
        waiting[i] = l->lanes->bytes[i];
    }
    rt_ask_row(
        q, json_pack("{s:s, s:o, s:I, s:s, s:s, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}",
                     "row", "link", "peer", text_json(l->peer.name), "since_ms",
                     (json_int_t)(now - l->since_ms), "tls", l->key[0] == '\0' ? "off" : "psk",
                     "key", l->key, "proto", (int)l->peer.proto, "dialled", l->dialled, "bytes_in",
                     (json_int_t)l->bytes_in, "bytes_out", (json_int_t)l->bytes_out, "frames_in",
                     (json_int_t)l->frames_in, "frames_out", (json_int_t)l->frames_out, "rtt_us",
                     (json_int_t)l->rtt_us, "silent_ms", (json_int_t)(now - l->heard_ms), "queue",
                     classes_json(waiting), "dropped", classes_json(l->lanes->counts.dropped)));
}

void rt_look_members(struct ask *q, const json_t *args)
{
    const char *why = json_string_value(json_object_get(args, "why"));
    struct telling t = {.q = q};

    rt_look_self(q, false);
    if (why != NULL && strcmp(why, q->owner->cfg->node) != 0) {
        t.why = why;
        cl_inspect_members(q->owner->cl, tell_member, &t);
    } else if (q->asker != NULL || why != NULL || json_is_true(json_object_get(args, "pairs"))) {
        rt_look_member_rows(q);
    }
    if (json_is_true(json_object_get(args, "links")) && q->owner->nodes != NULL) {
        rt_mesh_each(rt_nodes_mesh(q->owner->nodes), tell_link, q);
    }
}

static void tell_event(void *ctx, struct pr_slice row)
{
    rt_ask_text(ctx, row);
}

void rt_look_events(struct ask *q, const json_t *args)
{
    const json_t *n = json_object_get(args, "n");
    json_int_t count = json_is_integer(n) ? json_integer_value(n) : EVENTS_TOLD;

    count = count < 0 ? 0 : count;
    rt_events_each(q->owner->events, count > RT_EVENTS_MAX ? RT_EVENTS_MAX : (uint32_t)count,
                   tell_event, q);
}
