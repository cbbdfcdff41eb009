/* SPDX-License-Identifier: Apache-2.0 */
/* projects.c - changes.h for all projects: to which of them a frame or an event belongs. */
#include <assert.h>
#include <string.h>

#include "node/owner/changes_in.h"
#include "proto/mesh_cast.h"

struct rt_projects {
    struct changes *at[RT_PROJECTS_MAX];
    uint32_t count;
    bool full_told;
};

struct changes *rt_change_of(const struct owner *o, struct pr_slice name)
{
    const struct rt_projects *s = o->projects;

    for (uint32_t i = 0; i < s->count; i++) {
        if (pr_slice_is(name, s->at[i]->project)) {
            return s->at[i];
        }
    }
    return NULL;
}

struct changes *rt_change_at(const struct owner *o, uint32_t i)
{
    return i < o->projects->count ? o->projects->at[i] : NULL;
}

/* Of no project of the settings, and neither here nor elsewhere is a db that needs it. */
static bool idle(const struct owner *o, const struct changes *c)
{
    const struct rt_config *now = rt_settings_now(o);

    assert(c != NULL);
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (c->nodes[i].asks && !c->nodes[i].gone) {
            return false;
        }
    }
    return c->db == NULL && rt_config_project(now, pr_str(c->project)) == NULL;
}

/* Where a new one may be: behind all others, or instead of one that is idle. The end of the table:
 * nowhere. */
static uint32_t place(const struct owner *o)
{
    const struct rt_projects *s = o->projects;
    uint32_t i = s->count;

    if (s->count == RT_PROJECTS_MAX) {
        i = 0;
        while (i < s->count && !idle(o, s->at[i])) {
            i++;
        }
    }
    return i;
}

/* NULL: it cannot be one of ours, or there are too many. */
static struct changes *get(struct owner *o, struct pr_slice name)
{
    struct rt_projects *s = o->projects;
    struct changes *c = rt_change_of(o, name);
    uint32_t at;

    if (c != NULL || name.n == 0 || name.n > RT_PROJECT_NAME_MAX) {
        return c;
    }
    at = place(o);
    if (at == RT_PROJECTS_MAX) {
        if (!s->full_told) {
            rt_log(o->args->log, RT_ERROR, "too_many_projects", rt_kv_b("project", name),
                   rt_kv_u("max", RT_PROJECTS_MAX));
        }
        s->full_told = true;
        return NULL;
    }
    c = rt_change_new(o, name);
    if (s->count > 0) {
        rt_change_nodes_like(c, s->at[0]);
    }
    if (at < s->count) {
        rt_change_free(s->at[at]);
    } else {
        s->count++;
    }
    s->at[at] = c;
    rt_change_reader(c, cl_reader(o->cl, name));
    return c;
}

void rt_changes_init(struct owner *o)
{
    o->projects = rt_calloc(1, sizeof *o->projects);
    for (uint32_t i = 0; i < o->cfg->nprojects; i++) {
        (void)get(o, pr_str(o->cfg->projects[i].project));
    }
}

void rt_changes_free(struct owner *o)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_free(o->projects->at[i]);
    }
    rt_free(o->projects);
}

const char *rt_changes_project(const struct owner *o, uint32_t i)
{
    const struct changes *c;

    for (uint32_t k = 0; (c = rt_change_at(o, k)) != NULL; k++) {
        if (!idle(o, c) && i-- == 0) {
            return c->project;
        }
    }
    return NULL;
}

struct peer *rt_changes_db(const struct owner *o, struct pr_slice project)
{
    const struct changes *c = rt_change_of(o, project);

    return c == NULL ? NULL : c->db;
}

void rt_changes_edge_up(struct owner *o, struct peer *edge)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_edge_up(o->projects->at[i], edge);
    }
}

void rt_changes_edge_down(struct owner *o, const struct peer *edge)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_edge_down(o->projects->at[i], edge);
    }
}

/* NULL: it is not the db of its project. */
static struct changes *of_db(const struct owner *o, const struct peer *db)
{
    struct changes *c = rt_change_of(o, pr_str(db->project));

    return c != NULL && c->db == db ? c : NULL;
}

bool rt_changes_db_up(struct owner *o, struct peer *db)
{
    struct changes *c = get(o, pr_str(db->project));

    if (c == NULL) {
        return false;
    }
    if (c->db != NULL) {
        rt_owner_cut(c->db, "another process attached in its place");
    }
    rt_change_reader(c, cl_reader(o->cl, pr_str(db->project)));
    rt_change_db_up(c, db);
    return true;
}

void rt_changes_db_down(struct owner *o, const struct peer *db)
{
    struct changes *c = of_db(o, db);

    if (c != NULL) {
        rt_change_db_down(c);
    }
}

/* Whose a frame of an edge or db is. False: it is damaged. */
static bool name_of(const struct pr_frame *f, struct pr_slice *name)
{
    struct pr_cast_ok ok;
    struct pr_cast cast;
    int rv;

    if (f->type == PR_T_CAST) {
        rv = pr_cast_decode(f, &cast);
        *name = cast.project;
    } else if (f->type == PR_T_CAST_OK) {
        rv = pr_cast_ok_decode(f, &ok);
        *name = ok.project;
    } else {
        rv = pr_chg_project(f, name);
    }
    return rv == PR_OK;
}

bool rt_changes_on_edge_frame(struct owner *o, struct peer *edge, const struct pr_frame *f)
{
    struct pr_slice name;
    struct changes *c;

    if (!name_of(f, &name)) {
        return false;
    }
    c = get(o, name);
    if (c != NULL && f->type == PR_T_CAST_OK) {
        rt_change_cast_ok(c, edge, f->whole);
    } else if (c != NULL) {
        rt_change_edge_frame(c, edge, f);
    }
    return true;
}

bool rt_changes_on_db_frame(struct owner *o, const struct peer *db, const struct pr_frame *f)
{
    struct changes *c = of_db(o, db);
    struct pr_slice name;

    return c != NULL && name_of(f, &name) && pr_slice_is(name, c->project) &&
           rt_change_db_frame(c, f);
}

void rt_changes_elect(struct owner *o)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        struct changes *c = o->projects->at[i];

        if (!idle(o, c)) { /* else when its db is back */
            rt_change_reader(c, cl_reader(o->cl, pr_str(c->project)));
        }
    }
}

void rt_changes_node_here(struct owner *o, uint64_t id)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_node_here(o->projects->at[i], id);
    }
}

void rt_changes_link_up(struct owner *o, uint64_t id)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_link_up(o->projects->at[i], id);
    }
}

void rt_changes_actors(struct owner *o, uint64_t id, const uint64_t *boots, uint32_t count)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_actors(o->projects->at[i], id, boots, count);
    }
}

void rt_changes_node_gone(struct owner *o, uint64_t id)
{
    for (uint32_t i = 0; i < o->projects->count; i++) {
        rt_change_node_gone(o->projects->at[i], id);
    }
}

bool rt_changes_on_link_frame(struct owner *o, uint64_t from, const struct pr_frame *f)
{
    struct pr_slice name;
    struct changes *c;

    if (pr_chg_project(f, &name) != PR_OK) {
        return false;
    }
    c = get(o, name);
    return c == NULL || rt_change_link_frame(c, from, f);
}
