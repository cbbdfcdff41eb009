/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "node/base/alloc.h"
#include "node/db/policy.h"

/*
 * Helpers of schema auth are named if a policy that calls them can be evaluated without Postgres:
 * their bodies, but for white space, are Supabase's or ours (policy.h).
 *
 * Applicable policies are found as Postgres finds them (check_role_for_policy, check_enable_rls):
 * membership that is inherited counts, the right to SET ROLE does not. Permissive ones are tried
 * from the last name to the first, as Postgres does: one that raises is not asked behind one that
 * is true. A condition that vanished while it was read hides everything. Columns that a server of
 * 14 lacks are looked up in the row's JSON. Without a column list, generated columns are published
 * as far as a query can give them.
 */
const char rt_rel_table_sql[] =
    "with rel as ("
    " select c.*, n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    "  where c.oid = $1::oid"
    "), pub as ("
    " select to_jsonb(p) -> 'attnames' as names, not exists ("
    "   select from pg_publication_rel l join pg_publication b on b.oid = l.prpubid"
    "    where b.pubname = $2::name and to_jsonb(l) ->> 'prattrs' is not null"
    "     and (l.prrelid = rel.oid"
    "      or l.prrelid in (select a::oid from pg_partition_ancestors(rel.oid) a))) as whole"
    "  from rel join pg_publication_tables p"
    "   on p.schemaname = rel.nspname and p.tablename = rel.relname"
    "  where p.pubname = $2::name limit 1"
    "), db as ("
    " select case coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')"
    "   when 'c' then d.datcollate in ('C', 'POSIX') when 'b' then true else false end as bytes,"
    "   pg_encoding_to_char(d.encoding) = 'UTF8' as utf8"
    "  from pg_database d where d.datname = current_database()"
    "), att as ("
    " select a.*, exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary"
    "    and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])) as pk,"
    "   exists (select from pg_index i where i.indrelid = a.attrelid and i.indisreplident"
    "    and a.attnum = any ((i.indkey::int2[])[0:i.indnkeyatts - 1])) as ri"
    "  from pg_attribute a where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped"
    ") "
    "select json_build_object("
    " 'schema', rel.nspname, 'table', rel.relname,"
    " 'name', format('%I.%I', rel.nspname, rel.relname),"
    " 'rls', rel.relrowsecurity, 'identity', rel.relreplident::text,"
    " 'sealed', (select b.pubupdate from pg_publication b where b.pubname = $2::name)"
    "  and (select bool_and(p.proleakproof)"
    "   from pg_index i, unnest(i.indclass::oid[]) k join pg_opclass c on c.oid = k"
    "   join pg_amop o on o.amopfamily = c.opcfamily and o.amopmethod = c.opcmethod"
    "     and o.amoplefttype = c.opcintype and o.amoprighttype = c.opcintype and o.amopstrategy = 3"
    "   join pg_operator op on op.oid = o.amopopr join pg_proc p on p.oid = op.oprcode"
    "   where i.indrelid = rel.oid and i.indisprimary),"
    " 'columns', (select json_agg(json_build_object("
    "   'name', a.attname, 'num', a.attnum, 'type', a.atttypid::int8,"
    "   'sql', format_type(a.atttypid, a.atttypmod), 'generated', a.attgenerated <> '',"
    "   'key', a.pk, 'identity', case rel.relreplident when 'd' then a.pk when 'i' then a.ri"
    "     when 'f' then a.attgenerated = '' else false end,"
    "   'text', (select case when not t.exact then 0 when not db.utf8 then 1 when not t.bytes then "
    "2"
    "     else 3 end from db, lateral (select true, db.bytes where k.oid is null or k.oid = 100"
    "     union all select k.collisdeterministic, case k.collprovider"
    "      when 'c' then k.collcollate in ('C', 'POSIX') when 'b' then true else false end"
    "      where k.oid <> 100) t(exact, bytes)),"
    "   'collation', case when k.oid <> 100 then format('%I.%I', kn.nspname, k.collname) end,"
    "   'published', coalesce((select case when a.attgenerated <> '' then"
    "      pub.whole or coalesce(pub.names ? a.attname::text, false)"
    "      else pub.names is null or pub.names ? a.attname::text end from pub), false)"
    "   ) order by a.attnum) from att a left join pg_collation k on k.oid = a.attcollation"
    "    left join pg_namespace kn on kn.oid = k.collnamespace),"
    " 'roles', (select json_agg(json_build_object("
    "   'role', r.rolname, 'usage', has_schema_privilege(r.oid, rel.relnamespace, 'USAGE'),"
    "   'all', r.rolsuper or r.rolbypassrls"
    "     or pg_has_role(r.oid, rel.relowner, 'USAGE') and not rel.relforcerowsecurity,"
    "   'table', has_table_privilege(r.oid, rel.oid, 'SELECT'),"
    "   'columns', (select json_agg(a.attnum) from att a"
    "     where has_column_privilege(r.oid, rel.oid, a.attnum, 'SELECT')),"
    "   'auth', (select json_agg(f.proname) from pg_proc f"
    "     join pg_namespace fn on fn.oid = f.pronamespace and fn.nspname = 'auth',"
    "     lateral (select regexp_replace(f.prosrc, '[[:space:];]', '', 'g'),"
    "       case f.proname when 'uid' then 'sub' else f.proname::text end,"
    "       case f.proname when 'uid' then '::uuid' else '' end) x(body, claim, cast_)"
    "     where f.pronargs = 0 and not f.prosecdef and not f.proretset and f.proconfig is null"
    "      and f.prolang = (select l.oid from pg_language l where l.lanname = 'sql')"
    "      and f.prorettype = case f.proname when 'uid' then 'uuid'::regtype"
    "       when 'jwt' then 'jsonb'::regtype else 'text'::regtype end"
    "      and has_function_privilege(r.oid, f.oid, 'EXECUTE')"
    "      and coalesce(current_setting('request.jwt.claim' ||"
    "       case f.proname when 'jwt' then '' else '.' || x.claim end, true), '') = ''"
    "      and case f.proname when 'jwt' then x.body in ("
    "        $q$selectnullif(current_setting('request.jwt.claims',true),'')::jsonb$q$,"
    "        $q$selectcoalesce(nullif(current_setting('request.jwt.claim',true),''),$q$ ||"
    "        $q$nullif(current_setting('request.jwt.claims',true),''))::jsonb$q$)"
    "       when 'uid' then true when 'role' then true when 'email' then true end"
    "      and (f.proname = 'jwt' or x.body in ("
    "        format($q$selectcoalesce(nullif(current_setting('request.jwt.claim.%s',true),''),$q$ "
    "||"
    "        $q$nullif(current_setting('request.jwt.claims',true),'')::jsonb->>'%s')%s$q$,"
    "        x.claim, x.claim, x.cast_),"
    "        format($q$selectcoalesce(nullif(current_setting('request.jwt.claim.%s',true),''),$q$ "
    "||"
    "        $q$(nullif(current_setting('request.jwt.claims',true),'')::jsonb->>'%s'))%s$q$,"
    "        x.claim, x.claim, x.cast_)))),"
    "   'condition', (select '(' || string_agg(q.e, ' OR ' order by q.polname desc)"
    "       filter (where q.polpermissive) || ')'"
    "      || coalesce(' AND ' || string_agg(q.e, ' AND ' order by q.polname)"
    "       filter (where not q.polpermissive), '')"
    "     from (select p.polpermissive, p.polname,"
    "       '(' || coalesce(pg_get_expr(p.polqual, p.polrelid), 'false') || ')' as e"
    "      from pg_policy p where p.polrelid = rel.oid and p.polcmd in ('*', 'r')"
    "       and p.polqual is not null and exists (select from unnest(p.polroles) x"
    "        where x = 0 or pg_has_role(r.oid, x, 'USAGE'))) q)))"
    "   from pg_roles r where r.rolname in"
    "    (select w::name from jsonb_array_elements_text($3::jsonb) w))"
    ")::text from rel";

/* A column as the catalog has it. */
struct cat {
    struct pr_slice name, sql, collation;
    uint32_t num, type, text;
    bool generated, key, identity, published;
    bool in_stream;
};

/* A column of the relation: where it comes from. */
struct pick {
    const struct cat *cat; /* NULL: gone meanwhile */
    uint32_t type;
    struct pr_slice name;
    bool generated, identity;
};

struct build {
    struct rt_rel_box *box;
    struct rt_arena tmp;
    uint32_t ncats;
    struct cat *cats;
    uint32_t npicks;
    struct pick *picks;
    const json_t *type_list;
};

static void read_cats(struct build *b, const json_t *list)
{
    b->ncats = (uint32_t)json_array_size(list);
    b->cats = rt_arena_take(&b->tmp, b->ncats, sizeof *b->cats);
    for (uint32_t i = 0; i < b->ncats; i++) {
        const json_t *j = json_array_get(list, i);

        b->cats[i] = (struct cat){.name = rt_json_text(j, "name"),
                                  .sql = rt_json_text(j, "sql"),
                                  .num = rt_json_u32(j, "num"),
                                  .type = rt_json_u32(j, "type"),
                                  .generated = rt_json_true(j, "generated"),
                                  .key = rt_json_true(j, "key"),
                                  .collation = rt_json_text(j, "collation"),
                                  .text = rt_json_u32(j, "text"),
                                  .identity = rt_json_true(j, "identity"),
                                  .published = rt_json_true(j, "published")};
    }
}

static struct cat *find_cat(const struct build *b, struct pr_slice name)
{
    for (uint32_t i = 0; i < b->ncats; i++) {
        if (pr_slice_eq(b->cats[i].name, name)) {
            return &b->cats[i];
        }
    }
    return NULL;
}

static void pick_cat(struct build *b, const struct cat *c)
{
    b->picks[b->npicks++] = (struct pick){.cat = c,
                                          .type = c->type,
                                          .name = c->name,
                                          .generated = c->generated,
                                          .identity = c->identity};
}

/* Published generated columns that the stream does not carry, from cats[from] up to cats[to]. */
static void pick_generated(struct build *b, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (b->cats[i].generated && b->cats[i].published && !b->cats[i].in_stream) {
            pick_cat(b, &b->cats[i]);
            b->picks[b->npicks - 1].identity = false;
        }
    }
}

/* The stream's columns rule: its rows are in their order. */
static void pick_stream(struct build *b, const struct rt_rel_want *want)
{
    uint32_t next = 0;

    b->picks = rt_arena_take(&b->tmp, (size_t)b->ncats + want->ncolumns, sizeof *b->picks);
    for (uint32_t i = 0; i < want->ncolumns; i++) {
        struct cat *c = find_cat(b, want->columns[i].name);

        if (c != NULL) {
            c->in_stream = true;
        }
    }
    for (uint32_t i = 0; i < want->ncolumns; i++) {
        const struct rt_stream_column *s = &want->columns[i];
        const struct cat *c = find_cat(b, s->name);

        if (c != NULL && c >= b->cats + next) {
            uint32_t at = (uint32_t)(c - b->cats);

            pick_generated(b, next, at);
            next = at + 1;
        }
        b->picks[b->npicks++] =
            (struct pick){.cat = c, .type = s->type, .name = s->name, .identity = s->identity};
    }
    pick_generated(b, next, b->ncats);
}

static void pick_published(struct build *b)
{
    b->picks = rt_arena_take(&b->tmp, b->ncats, sizeof *b->picks);
    for (uint32_t i = 0; i < b->ncats; i++) {
        if (b->cats[i].published) {
            pick_cat(b, &b->cats[i]);
        }
    }
}

static void put_columns(struct build *b, struct rt_types *types, bool sealed)
{
    struct rt_arena *mem = &b->box->mem;
    struct rt_column *columns = rt_arena_take(mem, b->npicks, sizeof *columns);
    struct pr_slice *sql = rt_arena_take(mem, b->npicks, sizeof *sql);
    struct rt_operand *operands = rt_arena_take(mem, b->npicks, sizeof *operands);
    bool whole = b->npicks == b->ncats;
    bool generated = false;

    for (uint32_t i = 0; i < b->npicks; i++) {
        const struct pick *p = &b->picks[i];
        const json_t *type = rt_types_find(b->type_list, p->type);
        const struct pr_pg_type *of = rt_types_get(types, p->type);
        const json_t *base = rt_types_find(b->type_list, pr_pg_base(of)->oid);
        bool as_cat = p->cat != NULL && p->cat->type == p->type;

        columns[i] = (struct rt_column){.name = rt_arena_copy(mem, p->name),
                                        .typname = rt_arena_copy(mem, rt_json_text(type, "name")),
                                        .type = of,
                                        .identity = p->identity,
                                        .primary_key = p->cat != NULL && p->cat->key,
                                        .generated = p->generated,
                                        .text = as_cat ? (enum pr_text_rule)p->cat->text : 0};
        operands[i].type = rt_arena_copy(mem, rt_json_text(base, "sql"));
        operands[i].schema = rt_arena_copy(mem, rt_json_text(base, "schema"));
        if (as_cat) {
            operands[i].collation = rt_arena_copy(mem, p->cat->collation);
        }
        sql[i] = rt_arena_copy(mem, as_cat ? p->cat->sql : rt_json_text(type, "sql"));
        whole = whole && as_cat && p->cat == &b->cats[i];
        generated = generated || p->generated;
    }
    b->box->rel.ncolumns = b->npicks;
    b->box->rel.columns = columns;
    b->box->sql.types = sql;
    b->box->sql.operands = operands;
    b->box->sql.whole_row = whole;
    b->box->sql.by_key = generated || sealed;
}

/* A part of a key would find other rows: without one of its columns there is no key. */
static void put_keys(struct build *b)
{
    uint32_t *keys = rt_arena_take(&b->box->mem, b->npicks, sizeof *keys);
    uint32_t n = 0, all = 0;

    for (uint32_t i = 0; i < b->ncats; i++) {
        all += b->cats[i].key;
    }
    for (uint32_t i = 0; i < b->npicks; i++) {
        if (b->picks[i].cat != NULL && b->picks[i].cat->key) {
            keys[n++] = i;
        }
    }
    b->box->sql.keys = keys;
    b->box->sql.nkeys = n == all ? n : 0;
}

static bool has_number(const json_t *list, uint32_t num)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (json_integer_value(json_array_get(list, i)) == (json_int_t)num) {
            return true;
        }
    }
    return false;
}

static unsigned helpers_of(const json_t *names)
{
    static const char *const known[] = {"uid", "role", "email", "jwt"}; /* rt_auth_helper */
    unsigned bits = 0;
    size_t i;
    const json_t *name;

    json_array_foreach(names, i, name)
    {
        for (unsigned k = 0; k < 4; k++) {
            bits |= strcmp(json_string_value(name), known[k]) == 0 ? 1u << k : 0;
        }
    }
    return bits;
}

/* Are the columns those of the catalog now? If not, a policy may name another column than the rows
 * do, as after one was renamed. */
static bool as_catalog(const struct build *b)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < b->ncats; i++) {
        const struct cat *c = &b->cats[i];

        if (!c->published) {
            continue;
        }
        if (n == b->npicks || b->picks[n].cat != c || b->picks[n].type != c->type) {
            return false;
        }
        n++;
    }
    return n == b->npicks;
}

/* A generated column is read where a row is asked: then policies are, too. */
static bool has_generated(const struct build *b)
{
    bool any = false;

    for (uint32_t i = 0; i < b->npicks; i++) {
        any = any || b->picks[i].generated;
    }
    return any;
}

static void put_rights(struct build *b, const json_t *roles)
{
    struct rt_arena *mem = &b->box->mem;
    size_t n = json_array_size(roles);
    struct rt_rights *rights = rt_arena_take(mem, n, sizeof *rights);
    struct rt_rel_policy *policies = rt_arena_take(mem, n, sizeof *policies);

    for (size_t i = 0; i < n; i++) {
        const json_t *j = json_array_get(roles, i);
        bool usage = rt_json_true(j, "usage");
        bool *may = rt_arena_take(mem, b->npicks, sizeof *may);

        for (uint32_t k = 0; usage && k < b->npicks; k++) {
            const struct cat *c = b->picks[k].cat;

            may[k] = c != NULL && has_number(json_object_get(j, "columns"), c->num);
        }
        rights[i] = (struct rt_rights){.role = rt_arena_copy(mem, rt_json_text(j, "role")),
                                       .sees_all_rows = usage && rt_json_true(j, "all"),
                                       .selects_table = usage && rt_json_true(j, "table"),
                                       .may_select = may};
        policies[i].role = rights[i].role;
        policies[i].condition = rt_arena_copy(mem, rt_json_text(j, "condition"));
        if (b->box->rel.rls && !has_generated(b) && as_catalog(b)) {
            policies[i].compiled = rt_policy_compile(mem, policies[i].condition, &b->box->rel,
                                                     helpers_of(json_object_get(j, "auth")));
        }
    }
    b->box->rel.nrights = (uint32_t)n;
    b->box->rel.rights = rights;
    b->box->sql.npolicies = b->box->rel.rls ? (uint32_t)n : 0;
    b->box->sql.policies = policies;
}

void rt_rel_build(struct rt_rel_box *box, const struct rt_rel_want *want, const json_t *table,
                  const json_t *type_list, struct rt_types *types)
{
    struct build b = {.box = box, .tmp = {.chunk_bytes = 8192}, .type_list = type_list};
    struct pr_slice identity = rt_json_text(table, "identity");

    read_cats(&b, json_object_get(table, "columns"));
    if (want->ncolumns > 0) {
        pick_stream(&b, want);
    } else {
        pick_published(&b);
    }
    box->rel.oid = want->oid;
    box->rel.schema = rt_arena_copy(&box->mem, rt_json_text(table, "schema"));
    box->rel.table = rt_arena_copy(&box->mem, rt_json_text(table, "table"));
    box->rel.rls = rt_json_true(table, "rls");
    if (want->ncolumns > 0) {
        box->rel.identity = want->identity;
    } else {
        box->rel.identity = identity.n == 1 ? identity.p[0] : 'n';
    }
    box->sql.name = rt_arena_copy(&box->mem, rt_json_text(table, "name"));
    put_columns(&b, types, rt_json_true(table, "sealed"));
    put_keys(&b);
    put_rights(&b, json_object_get(table, "roles"));
    rt_arena_free(&b.tmp);
}
