/* SPDX-License-Identifier: Apache-2.0 */
/* regs.c - registrations of the edges: kept, checked when the database is there, told how they
 * stand. */
#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/db/regs_in.h"
#include "node/db/sqltext.h"
#include "proto/json_scan.h"

static uint64_t hash_of(uint64_t boot, uint32_t handle)
{
    return XXH3_64bits_withSeed(&handle, sizeof handle, boot);
}

struct rt_reg *rt_db_reg_find(struct rt_db *d, uint64_t boot, uint32_t handle)
{
    struct rt_link *l = rt_chains_find(&d->regs, hash_of(boot, handle));

    for (; l != NULL; l = rt_chains_next(l)) {
        struct rt_reg *r = RT_LINKED(l, struct rt_reg, link);

        if (r->boot == boot && r->handle == handle) {
            return r;
        }
    }
    return NULL;
}

static bool unsettled(enum rt_reg_state state)
{
    return state == RT_REG_NEW || state == RT_REG_CHECKING;
}

void rt_db_reg_state(struct rt_reg *r, enum rt_reg_state state)
{
    r->db->unsettled += unsettled(state) ? 1u : 0u;
    r->db->unsettled -= unsettled(r->state) ? 1u : 0u;
    r->state = state;
}

static void tell(struct rt_reg *r, enum pr_chg_status status, const char *message)
{
    if (r->told && r->told_status == status && strcmp(r->told_message, message) == 0) {
        return;
    }
    rt_free(r->told_message);
    r->told_message = rt_strdup(message);
    r->told = true;
    r->told_status = status;
    rt_db_link_reg_ok(r->db, &r->m, status, message);
}

/* How it stands, if that is known. */
static void tell_state(struct rt_reg *r)
{
    struct rt_db *d = r->db;

    if (d->cfg->database_url == NULL) {
        tell(r, PR_CHG_WAIT, RT_TEXT_NO_DATABASE);
    } else if (r->state == RT_REG_REFUSED) {
        tell(r, r->cancelled ? PR_CHG_CANCELLED : PR_CHG_REFUSED, r->refusal);
    } else if (d->stream.trouble != NULL) {
        tell(r, PR_CHG_WAIT, d->stream.trouble);
    } else if (r->state == RT_REG_VALID && d->stream.state == RT_STREAM_ON) {
        tell(r, PR_CHG_LIVE, "");
    }
}

static void kick(struct rt_reg *r)
{
    struct rt_db *d = r->db;

    if (r->state == RT_REG_NEW && d->up && d->check != NULL && d->control != NULL && r->out == 0) {
        rt_db_reg_state(r, RT_REG_CHECKING);
        r->again = false;
        r->cancelled = false;
        r->slow = false;
        rt_db_reg_check(r);
    } else {
        tell_state(r);
    }
}

/* Calls fn for all; fn may remove the one it is called for. */
static void each(struct rt_db *d, void (*fn)(struct rt_reg *r, const void *ctx), const void *ctx)
{
    for (size_t i = 0; i < d->regs.size; i++) {
        struct rt_link *l = d->regs.heads[i];

        while (l != NULL) {
            struct rt_link *next = l->next;

            fn(RT_LINKED(l, struct rt_reg, link), ctx);
            l = next;
        }
    }
}

static void kick_one(struct rt_reg *r, const void *ctx)
{
    (void)ctx;
    kick(r);
}

void rt_db_regs_kick(struct rt_db *d)
{
    each(d, kick_one, NULL);
}

bool rt_db_regs_settled(const struct rt_db *d)
{
    return d->unsettled == 0;
}

static void tell_missing(struct rt_reg *r, const void *ctx)
{
    (void)ctx;
    if (unsettled(r->state) && r->noids == 0) { /* else it has its rows while it is looked at */
        rt_db_link_sys_to(r->db, r->boot, r->handle, RT_TEXT_UNCHECKED);
    }
}

void rt_db_regs_begin_without(struct rt_db *d)
{
    each(d, tell_missing, NULL);
}

static bool attached(const struct rt_reg *r, uint32_t oid)
{
    for (uint32_t i = 0; i < r->noids; i++) {
        if (r->oids[i] == oid) {
            return true;
        }
    }
    return false;
}

bool rt_db_reg_wants(const struct rt_reg *r, const struct rt_table *t)
{
    return t->published && (pr_slice_is(r->m.schema, "*") || pr_slice_is(r->m.schema, t->schema)) &&
           (pr_slice_is(r->m.table, "*") || pr_slice_is(r->m.table, t->name));
}

static bool concerned(const struct rt_reg *r, const struct rt_table *t)
{
    if (t != NULL) {
        return attached(r, t->oid) && (r->m.has_filter || r->m.has_select);
    }
    if (r->unpublished || pr_slice_is(r->m.schema, "*") || pr_slice_is(r->m.table, "*")) {
        return true;
    }
    for (uint32_t i = 0; i < r->noids; i++) {
        const struct rt_table *mine = rt_tables_of(r->db, r->oids[i]);

        if (mine == NULL || !rt_db_reg_wants(r, mine)) {
            return true;
        }
    }
    return false;
}

static void again_one(struct rt_reg *r, const void *ctx)
{
    if (!concerned(r, ctx)) {
        return;
    }
    if (r->state == RT_REG_CHECKING) {
        r->again = true;
    } else {
        rt_db_reg_state(r, RT_REG_NEW);
        kick(r);
    }
}

void rt_db_regs_again(struct rt_db *d, const struct rt_table *t)
{
    each(d, again_one, t);
}

void rt_db_reg_set_tables(struct rt_reg *r, uint32_t *oids, uint32_t count)
{
    /* By OID: a table that is made again, or renamed, has the name of another one. */
    rt_subs_retain(r->db->subs, r->boot, r->handle, oids, count);
    rt_free(r->oids);
    r->oids = oids;
    r->noids = count;
}

void rt_db_reg_checked(struct rt_reg *r, char *refusal, bool unpublished)
{
    rt_free(r->refusal);
    r->refusal = refusal;
    r->unpublished = unpublished;
    if (refusal != NULL) {
        rt_db_reg_set_tables(r, NULL, 0);
    }
    if (r->again) {
        rt_db_reg_state(r, RT_REG_NEW);
        kick(r);
        return;
    }
    rt_db_reg_state(r, refusal != NULL ? RT_REG_REFUSED : RT_REG_VALID);
    tell_state(r);
    if (r->db->stream.pg == NULL) {
        rt_stream_kick(r->db); /* it may be the last that the stream waited for */
    }
}

bool rt_db_reg_reap(struct rt_reg *r)
{
    if (!r->gone || r->out > 0) {
        return false;
    }
    rt_db_reg_check_drop(r);
    rt_free(r->refusal);
    rt_free(r->told_message);
    rt_free(r->oids);
    rt_free(r);
    return true;
}

void rt_db_reg_remove(struct rt_reg *r)
{
    struct rt_db *d = r->db;

    *r->at = r->next;
    if (r->next != NULL) {
        r->next->at = r->at;
    }
    rt_chains_remove(&d->regs, &r->link);
    (void)rt_subs_remove(d->subs, r->boot, r->handle);
    d->nregs--;
    d->unsettled -= unsettled(r->state) ? 1u : 0u;
    rt_gauge(d->metrics, RT_M_DB_SUBSCRIPTIONS, d->nregs);
    r->gone = true;
    (void)rt_db_reg_reap(r);
}

static struct pr_slice copy(uint8_t **at, struct pr_slice s)
{
    uint8_t *p = *at;

    if (s.n > 0) {
        memcpy(p, s.p, s.n);
    }
    *at = p + s.n;
    return pr_bytes(p, s.n);
}

static void add(struct rt_db *d, const struct pr_chg_reg *m)
{
    struct rt_reg *r = rt_db_reg_find(d, m->boot, m->handle);
    size_t n = m->project.n + m->event.n + m->schema.n + m->table.n + m->filter.n + m->select.n +
               m->role.n + m->claims.n;
    struct rt_boot *b = rt_boots_add(d, m->boot);
    uint8_t *at;

    if (r != NULL) { /* told again after a new connection: so is the answer */
        r->m.life = m->life;
        r->told = false;
        kick(r);
        return;
    }
    if (b == NULL || rt_subs_add(d->subs, m) != 0) {
        rt_db_link_reg_ok(d, m, PR_CHG_WAIT, "Too many subscriptions");
        return;
    }
    r = rt_calloc(1, sizeof *r + n);
    at = r->text;
    r->db = d;
    r->boot = m->boot;
    r->handle = m->handle;
    rt_db_reg_state(r, RT_REG_NEW);
    r->m = *m;
    r->m.project = copy(&at, m->project);
    r->m.event = copy(&at, m->event);
    r->m.schema = copy(&at, m->schema);
    r->m.table = copy(&at, m->table);
    r->m.filter = copy(&at, m->filter);
    r->m.select = copy(&at, m->select);
    r->m.role = copy(&at, m->role);
    r->m.claims = copy(&at, m->claims);
    r->next = b->regs;
    r->at = &b->regs;
    if (r->next != NULL) {
        r->next->at = &r->next;
    }
    b->regs = r;
    rt_chains_add(&d->regs, &r->link, hash_of(r->boot, r->handle));
    d->nregs++;
    rt_gauge(d->metrics, RT_M_DB_SUBSCRIPTIONS, d->nregs);
    if (d->nregs == 1 && d->up) {
        rt_tables_poll(d); /* nobody has looked while there was none */
        d->polls_needed = d->polls_started + d->tables_again;
    }
    kick(r);
}

static bool is_passed(const struct rt_list *names, struct pr_slice key)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (pr_json_str_is(key, names->items[i])) {
            return true;
        }
    }
    return false;
}

/* The members of these names, as the token has them. */
static void put_claims(struct rt_text *t, const struct rt_list *names, struct pr_slice claims)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json v;
    int rv = pr_json_open(&it, claims);

    rt_text_puts(t, "{");
    while (rv == PR_OK && pr_json_next(&it, &key, &v) == 1) {
        if (is_passed(names, key)) {
            rt_text_puts(t, t->len > 1 ? ",\"" : "\"");
            rt_text_slice(t, key);
            rt_text_puts(t, "\":");
            rt_text_slice(t, v.raw);
        }
    }
    rt_text_puts(t, "}");
}

/* What is not passed to policies is forgotten here, so that nothing behind can depend on it, and
 * who differs in it alone is of one group. The role is beside the claims. */
void rt_db_regs_add(struct rt_db *d, const struct pr_chg_reg *m)
{
    struct pr_chg_reg reg = *m;
    struct rt_text claims = {0};

    if (d->cfg->rls_claims.count > 0) {
        put_claims(&claims, &d->cfg->rls_claims, m->claims);
        reg.claims = pr_bytes(claims.p, claims.len);
    }
    add(d, &reg);
    rt_free(claims.p);
}

void rt_db_regs_remove(struct rt_db *d, uint64_t boot, uint32_t handle)
{
    struct rt_reg *r = rt_db_reg_find(d, boot, handle);

    if (r != NULL) {
        rt_db_reg_remove(r);
    }
}

void rt_db_regs_free(struct rt_db *d)
{
    struct rt_link *l;

    while ((l = rt_chains_any(&d->regs)) != NULL) {
        struct rt_reg *r = RT_LINKED(l, struct rt_reg, link);

        r->out = 0; /* the connections are closed: nobody answers any more */
        rt_db_reg_remove(r);
    }
    rt_chains_free(&d->regs);
}
