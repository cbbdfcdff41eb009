/* SPDX-License-Identifier: Apache-2.0 */
/* dbs.c - which db processes run: one per project of the settings. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/supervisor/supervisor_in.h"

extern char **environ;

static struct child *dbs(struct supervisor *s)
{
    return &s->child[RT_CHILD_EDGES + s->cfg->edges];
}

static uint32_t places(const struct supervisor *s)
{
    return s->nchildren - RT_CHILD_EDGES - s->cfg->edges;
}

/* A place that is free, or a new one; NULL: processes of projects that have left still end. */
static struct child *place(struct supervisor *s)
{
    struct child *c = dbs(s);
    uint32_t i = 0;

    while (i < places(s) && c[i].project[0] != '\0') {
        i++;
    }
    if (i == RT_PROJECTS_MAX) {
        return NULL;
    }
    if (i == places(s)) {
        rt_child_init(s, &c[i], RT_DB, i);
        s->nchildren++;
    }
    return &c[i];
}

static struct child *child_of(struct supervisor *s, const char *project)
{
    struct child *c = dbs(s);

    for (uint32_t i = 0; i < places(s); i++) {
        if (strcmp(c[i].project, project) == 0 && !c[i].leaving) {
            return &c[i];
        }
    }
    return NULL;
}

static struct child *add(struct supervisor *s, const char *project)
{
    struct child *c = place(s);

    if (c == NULL) {
        rt_log(s->log, RT_ERROR, "project_not_started", rt_kv_s("project", project),
               rt_kv_s("err", "processes of projects that were removed have not ended yet"),
               rt_kv_s("hint", "send SIGHUP again"));
        return NULL;
    }
    (void)snprintf(c->project, sizeof c->project, "%s", project);
    return c;
}

void rt_dbs_init(struct supervisor *s)
{
    for (uint32_t i = 0; i < s->cfg->nprojects; i++) {
        (void)add(s, s->cfg->projects[i].project);
    }
}

static void take(struct supervisor *s, const struct rt_config *was, const struct rt_config *is)
{
    struct child *c = dbs(s);

    for (uint32_t i = 0; i < places(s); i++) {
        if (c[i].project[0] != '\0' && rt_config_project(is, pr_str(c[i].project)) == NULL) {
            rt_child_leave(&c[i]);
        }
    }
    for (uint32_t i = 0; i < is->nprojects; i++) {
        const struct rt_config *p = &is->projects[i];
        const struct rt_config *old = rt_config_project(was, pr_str(p->project));
        struct child *db = child_of(s, p->project);

        if (db == NULL) {
            db = add(s, p->project);
            if (db != NULL) {
                rt_log(s->log, RT_INFO, "project_new", rt_kv_s("project", p->project));
                rt_child_start(db);
            }
        } else if (old != NULL && rt_config_differs(old, p, RT_PART_DB) != NULL) {
            rt_child_renew(db);
        }
    }
}

void rt_dbs_reload(struct supervisor *s)
{
    const struct rt_config *was = s->has_again ? &s->again : s->cfg;
    struct rt_config is;
    struct rt_config_report report;
    const char *fixed;

    if (rt_config_load(&is, environ, s->config_path, &report) != RT_OK) {
        for (uint32_t i = 0; i < report.count; i++) {
            rt_log(s->log, report.notes[i].fatal ? RT_ERROR : RT_WARN, "settings_not_taken",
                   rt_kv_s("err", report.notes[i].text));
        }
        rt_config_free(&is);
        return;
    }
    fixed = rt_config_differs(s->cfg, &is, RT_PART_NODE);
    if (fixed != NULL) {
        rt_log(s->log, RT_WARN, "setting_needs_restart", rt_kv_s("setting", fixed));
    }
    take(s, was, &is);
    if (s->has_again) {
        rt_config_free(&s->again);
    }
    s->again = is;
    s->has_again = true;
}
