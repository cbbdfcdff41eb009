/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/changes.h"

#include <assert.h>
#include <string.h>

#include "node/edge/linger.h"
#include "node/edge/link.h"
#include "node/edge/pending.h"
#include "node/edge/projects.h"
#include "node/edge/registrations.h"

void rt_changes_moved(const struct rt_reg_user *user, uint32_t pos)
{
    struct rt_binding *b = &user->channel->changes->at[user->index];

    *(user->old ? &b->old_pos : &b->pos) = pos;
}

/* ["a","b"] as packed strings. The texts are unescaped into `scratch`. */
static uint32_t pack_select(struct pr_outbuf *o, struct pr_slice array, struct pr_outbuf *scratch)
{
    struct pr_json_iter it;
    struct pr_slice text;
    struct pr_json v;
    uint32_t n = 0;

    if (pr_json_open(&it, array) != PR_OK) {
        return 0;
    }
    while (pr_json_next(&it, NULL, &v) == 1 && pr_json_text(&v, scratch, &text) == PR_OK) {
        pr_str_put(o, text);
        n++;
    }
    return n;
}

/* What is wrong with an entry as far as it can be seen without a database; NULL: nothing. */
static const char *fault_of(const struct pr_binding *b)
{
    if (b->select_bad) {
        return "Error parsing `select` params: expected a list of column name strings, e.g. "
               "select: [\"col1\", \"col2\"]";
    }
    if (!b->has_schema && !b->has_table) {
        return "No subscription params provided. Please provide at least a `schema` or `table` to "
               "subscribe to: ";
    }
    if (b->bad != NULL) {
        return "Unable to subscribe to changes with given parameters. event, schema, table and "
               "filter must be texts: ";
    }
    if (b->has_select && (pr_slice_is(b->schema, "*") || pr_slice_is(b->table, "*"))) {
        return "Column selection is not supported for wildcard subscriptions. Provide an explicit "
               "schema and table name.";
    }
    if (b->filter.n > PR_TEXT_MAX || b->schema.n > PR_TEXT_MAX || b->table.n > PR_TEXT_MAX ||
        b->select.n > PR_TEXT_MAX) {
        return "Unable to subscribe to changes with given parameters. A text is longer than 65535 "
               "bytes.";
    }
    return NULL;
}

/* A fault that ends with ": " is followed by what was sent, cut to a readable length. */
static void refuse(struct rt_bindings *v, uint32_t index, const char *fault, struct pr_slice raw)
{
    size_t n = strlen(fault);
    size_t shown = raw.n < 512 ? raw.n : 512;
    char *text;

    if (fault[n - 1] != ' ') {
        shown = 0;
    }
    text = rt_malloc(n + shown + 1);
    memcpy(text, fault, n);
    memcpy(text + n, raw.p, shown);
    text[n + shown] = '\0';
    v->at[index].fault = text;
    v->refused = true;
}

/* The client's id of a binding: equal ones have equal ids; different ones that collide do not. */
static void set_id(struct rt_bindings *v, uint32_t index, uint32_t id)
{
    for (uint32_t i = 0; i < index;) {
        bool other = v->at[i].reg != NULL && v->at[i].reg != v->at[index].reg;

        if (v->at[i].id == id && other) {
            id = id % ((1u << 27) - 1) + 1;
            i = 0;
            continue;
        }
        i++;
    }
    v->at[index].id = id;
}

static bool repeats(const struct rt_bindings *v, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (v->at[i].reg == v->at[index].reg && v->at[i].id == v->at[index].id) {
            return true;
        }
    }
    return false;
}

static void add(struct rt_channel *ch, const struct pr_binding *b, uint32_t index)
{
    struct rt_project *project = ch->socket->project;
    struct rt_bindings *v = ch->changes;
    struct rt_reg_user user = {.channel = ch, .index = index};
    struct pr_outbuf select = pr_outbuf(NULL, 0);
    struct pr_outbuf scratch = pr_outbuf(NULL, 0);
    struct rt_params p = {.event = pr_str(b->event),
                          .schema = b->schema,
                          .table = b->table,
                          .filter = b->filter,
                          .has_filter = b->has_filter,
                          .has_select = b->has_select};

    if (b->has_select) {
        /* A packed text has at most five bytes before it; a JSON one has at least quotes. */
        select = pr_outbuf(rt_malloc(b->select.n * 4 + 16), b->select.n * 4 + 16);
        scratch = pr_outbuf(rt_malloc(b->select.n), b->select.n);
        p.nselect = pack_select(&select, b->select, &scratch);
        p.select = pr_bytes(select.p, select.len);
    }
    v->at[index].reg = rt_reg_use(project, &p, ch->token, user, &v->at[index].pos);
    set_id(v, index, b->id);
    if (repeats(v, index)) {
        rt_reg_unuse(project, v->at[index].reg, v->at[index].pos);
        v->at[index].reg = NULL;
    }
    rt_free(select.p);
    rt_free(scratch.p);
}

static void drop_all(struct rt_channel *ch)
{
    struct rt_bindings *v = ch->changes;

    for (uint32_t i = 0; i < v->count; i++) {
        if (v->at[i].reg != NULL) {
            rt_reg_unuse(ch->socket->project, v->at[i].reg, v->at[i].pos);
            v->at[i].reg = NULL;
        }
    }
}

/* Walks the bindings of a join; calls for each what `ch` or `echo` ask for. */
static void walk(struct rt_channel *ch, const struct pr_join *j, struct pr_outbuf *echo)
{
    struct pr_outbuf scratch = pr_outbuf(rt_malloc(j->bindings.n), j->bindings.n);
    struct pr_json_iter it;
    struct pr_binding b;
    uint32_t i = 0;

    pr_bindings_open(j, &it);
    while (i < j->nbindings && pr_bindings_next(&it, &scratch, &b) == 1) {
        const char *fault = fault_of(&b);

        if (echo != NULL) {
            pr_put_str(echo, i == 0 ? "" : ",");
            pr_binding_put_reply(echo, b.raw, ch->changes->at[i].id);
        } else if (fault != NULL) {
            refuse(ch->changes, i, fault, b.raw);
            set_id(ch->changes, i, b.id);
        } else {
            add(ch, &b, i);
        }
        i++;
    }
    if (echo == NULL) {
        ch->changes->count = i;
    }
    rt_free(scratch.p);
}

static void make_echo(struct rt_channel *ch, const struct pr_join *j)
{
    /* An id is at most 9 digits, with its key and quotes below 24 bytes. */
    size_t cap = j->bindings.n + (size_t)j->nbindings * 24 + 16;
    struct pr_outbuf o = pr_outbuf(rt_malloc(cap + 1), cap);

    walk(ch, j, &o);
    assert(pr_out_ok(&o));
    o.p[o.len] = '\0';
    ch->changes->echo = (char *)o.p;
}

/* Bindings of `bytes` as sent, an upper bound of their texts. */
static size_t cost(size_t bytes, uint32_t count, const struct rt_token *token)
{
    return bytes + count * (token->role.n + token->claims.n);
}

static size_t cost_of_all(const struct rt_socket *s)
{
    size_t sum = 0;

    for (const struct rt_channel *ch = s->channels; ch != NULL; ch = ch->next) {
        if (ch->changes != NULL && !ch->changes->refused) {
            sum += cost(ch->changes->bytes, ch->changes->count, ch->token);
        }
    }
    return sum;
}

const char *rt_changes_refusal(const struct rt_socket *s, const struct pr_join *j,
                               const struct rt_token *token)
{
    uint32_t count = j->legacy ? 1 : j->nbindings;
    size_t more = cost(j->bindings.n, count, token);

    if (count == 0) {
        return NULL;
    }
    if (more + cost_of_all(s) > RT_REGS_SOCKET_BYTES) {
        return "ChannelRateLimitReached: Too large postgres_changes of one connection";
    }
    if (more + s->project->changes->bytes > RT_REGS_PROJECT_BYTES) {
        return "ChannelRateLimitReached: Too large postgres_changes of all connections";
    }
    return NULL;
}

bool rt_changes_over(const struct rt_socket *s)
{
    return cost_of_all(s) > RT_REGS_SOCKET_BYTES;
}

void rt_changes_prepare(struct rt_channel *ch, const struct pr_join *j)
{
    struct pr_binding b;

    if (ch->legacy && pr_binding_legacy(rt_topic_sub(ch->topic), &b)) {
        ch->changes = rt_calloc(1, sizeof *ch->changes + sizeof(struct rt_binding));
        ch->changes->count = 1;
        add(ch, &b, 0);
        return;
    }
    if (j->nbindings == 0) {
        return;
    }
    ch->changes = rt_calloc(1, sizeof *ch->changes + j->nbindings * sizeof(struct rt_binding));
    ch->changes->bytes = j->bindings.n;
    walk(ch, j, NULL);
    make_echo(ch, j);
    if (ch->changes->refused) {
        drop_all(ch);
    }
}

void rt_changes_put_reply(struct pr_outbuf *o, const void *channel)
{
    const struct rt_channel *ch = channel;

    pr_put_str(o, "{\"postgres_changes\":[");
    if (ch->changes != NULL && ch->changes->echo != NULL) {
        pr_put_str(o, ch->changes->echo);
    }
    pr_put_str(o, "]}");
}

void rt_changes_joined(struct rt_channel *ch)
{
    if (ch->changes != NULL) {
        rt_free(ch->changes->echo);
        ch->changes->echo = NULL;
        rt_changes_tell_verdict(ch);
    }
}

void rt_changes_refresh(struct rt_channel *ch, const struct rt_token *old)
{
    struct rt_project *project = ch->socket->project;
    struct rt_bindings *v = ch->changes;

    if (v == NULL) {
        return;
    }
    if (!rt_linger_same(old, ch->token)) {
        rt_linger_end(ch);
    }
    for (uint32_t i = 0; i < v->count; i++) {
        struct rt_reg_user user = {.channel = ch, .index = i};
        struct rt_binding b = v->at[i];

        if (b.reg != NULL) {
            struct rt_reg *r = rt_reg_use(project, &b.reg->params, ch->token, user, &v->at[i].pos);

            v->at[i].reg = r;
            if (r != b.reg && rt_linger_same(old, ch->token)) {
                rt_linger_keep(ch, i, b.reg, b.pos);
            } else {
                /* The old place may have moved by now only if both are one registration. */
                rt_reg_unuse(project, b.reg, b.pos);
            }
        }
    }
    if (!v->refused) {
        rt_changes_tell_anew(v);
    }
    if (ch->pending == NULL) {
        rt_changes_tell_verdict(ch);
    }
}

void rt_changes_leave(struct rt_channel *ch)
{
    if (ch->changes == NULL) {
        return;
    }
    rt_linger_end(ch);
    drop_all(ch);
    rt_free(ch->changes->echo);
    for (uint32_t i = 0; i < ch->changes->count; i++) {
        rt_free(ch->changes->at[i].fault);
    }
    rt_free(ch->changes);
    ch->changes = NULL;
}

/* Calls for every channel that uses the registration. A call may end channels, and with them the
 * registration: names are taken first. */
static void each_user(struct rt_edge *e, const struct rt_reg *r, void (*fn)(struct rt_channel *))
{
    uint32_t n = r->nusers;
    uint64_t *ids = rt_malloc(n * sizeof *ids);

    for (uint32_t i = 0; i < n; i++) {
        ids[i] = r->users[i].channel->id;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct rt_channel *ch = rt_slots_get(&e->channels, ids[i]);

        if (ch != NULL) {
            fn(ch);
        }
    }
    rt_free(ids);
}

static void on_news(struct rt_channel *ch)
{
    if (ch->pending != NULL) {
        rt_pending_verdict(ch);
    } else {
        rt_changes_tell_verdict(ch);
    }
}

static int on_reg_ok(struct rt_project *project, const struct pr_frame *f)
{
    struct rt_edge *e = project->edge;
    struct pr_chg_reg_ok m;
    struct rt_reg *r = NULL;
    int rv = pr_chg_reg_ok_decode(f, &m);

    if (rv != PR_OK || m.boot != e->args->boot) {
        return rv;
    }
    r = rt_reg_of(project->changes, m.handle);
    if (r == NULL) {
        return PR_OK; /* ended meanwhile */
    }
    if (m.life != project->changes->life) {
        return PR_OK; /* of a registration that the reader may have forgotten since */
    }
    r->answered = true;
    r->status = m.status;
    rt_free(r->message);
    r->message = m.message.n == 0 ? NULL : rt_strndup(m.message.p, m.message.n);
    if (m.status == PR_CHG_REFUSED) {
        rt_log(e->log, RT_WARN, "changes_refused",
               rt_kv_s("code", "RealtimeDisabledForConfiguration"), rt_kv_b("err", m.message),
               rt_kv_s("project", project->cfg->project));
    }
    each_user(e, r, on_news);
    return PR_OK;
}

static int on_sys(struct rt_project *project, const struct pr_frame *f)
{
    const struct rt_edge *e = project->edge;
    struct pr_chg_sys m;
    int rv = pr_chg_sys_decode(f, &m);

    if (rv != PR_OK || (m.boot != 0 && m.boot != e->args->boot)) {
        return rv;
    }
    for (uint32_t i = 0; i < e->channels.count; i++) {
        struct rt_channel *ch = e->channels.at[i].p;
        /* Who was never live has missed nothing. */
        bool concerned = ch != NULL && ch->socket->project == project && ch->changes != NULL &&
                         ch->pending == NULL && !ch->changes->refused && ch->changes->was_live;

        for (uint32_t k = 0; concerned && m.handle != 0; k++) {
            if (k == ch->changes->count) {
                concerned = false;
            } else if (ch->changes->at[k].reg != NULL &&
                       ch->changes->at[k].reg->handle == m.handle) {
                break;
            }
        }
        if (concerned) { /* what was, and then how it stands */
            (void)rt_changes_tell(ch, m.ok, m.message);
            ch->changes->told_hash = 0; /* the same once more is another loss */
            rt_changes_tell_verdict(ch);
        }
    }
    return PR_OK;
}

void rt_changes_attached(struct rt_project *project)
{
    project->changes->life++;
    rt_regs_unanswered(project);
}

/* A reader asks for all registrations. On a new link the owner passes on what was asked before it.
 * `project` is NULL if there is none of that name: it has none. */
static int on_sync(struct rt_edge *e, struct rt_project *project, const struct pr_frame *f)
{
    struct pr_chg_sync m;
    int rv = pr_chg_sync_decode(f, &m);

    if (rv == PR_OK && project == NULL) {
        rt_regs_synced(e, m.project, m.round);
    } else if (rv == PR_OK && !rt_regs_sync(project, m.round)) {
        rv = PR_ERANGE;
    }
    return rv;
}

int rt_changes_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_project *project;
    struct pr_slice name;
    int rv = pr_chg_project(f, &name);

    if (rv != PR_OK) {
        return rv;
    }
    project = rt_project_of(e, name);
    if (project == NULL) {
        return f->type == PR_T_CHG_SYNC ? on_sync(e, NULL, f) : rt_changes_pass(e, f);
    }
    switch (f->type) {
    case PR_T_CHG:
        return rt_changes_fan(project, f);
    case PR_T_CHG_REG_OK:
        return on_reg_ok(project, f);
    case PR_T_CHG_SYS:
        return on_sys(project, f);
    case PR_T_CHG_SYNC:
        return on_sync(e, project, f);
    default:
        return PR_EVERSION;
    }
}
