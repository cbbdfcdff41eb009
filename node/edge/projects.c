/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/projects.h"

#include <stdio.h>
#include <string.h>

#include "node/edge/access.h"
#include "node/edge/casts.h"
#include "node/edge/changes.h"
#include "node/edge/ctl.h"
#include "node/edge/ready.h"
#include "node/edge/registrations.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"

struct rt_settings {
    uint32_t refs; /* the edge, and projects that point into it */
    struct rt_config cfg;
};

static void settings_unref(struct rt_settings *s)
{
    if (s != NULL && --s->refs == 0) {
        rt_config_free(&s->cfg);
        rt_free(s);
    }
}

static void point_to(struct rt_project *p, const struct rt_config *cfg, struct rt_settings *s)
{
    if (s != NULL) {
        s->refs++;
    }
    settings_unref(p->settings);
    p->settings = s;
    p->cfg = cfg;
    rt_limits_start(p);
}

static int add(struct rt_edge *e, const struct rt_config *cfg, struct rt_settings *s,
               const char **why)
{
    struct rt_auth *auth = rt_auth_new(cfg, why);
    struct rt_project *p;

    if (auth == NULL) {
        return -1;
    }
    p = rt_calloc(1, sizeof *p);
    p->edge = e;
    p->id = ++e->last_project;
    p->refs = 1;
    p->auth = auth;
    p->changes = rt_regs_new(e->now_ms);
    p->casts = rt_casts_new();
    point_to(p, cfg, s);
    p->tally = rt_metrics_tally(e->metrics, cfg->project);
    e->projects[e->nprojects++] = p;
    rt_ready_begin(p);
    rt_limits_begin(p);
    if (e->link.up) {
        rt_changes_attached(p);
    }
    return 0;
}

static bool is_configured(const void *cfg, const char *name)
{
    return rt_config_project(cfg, pr_str(name)) != NULL;
}

int rt_projects_start(struct rt_edge *e, const char **why)
{
    int rv = 0;

    rt_metrics_tally_leave(e->metrics, is_configured, e->cfg);
    for (uint32_t i = 0; rv == 0 && i < e->cfg->nprojects; i++) {
        rv = add(e, &e->cfg->projects[i], NULL, why);
    }
    return rv;
}

void rt_project_unref(struct rt_project *p)
{
    if (--p->refs > 0) {
        return;
    }
    rt_access_forget(p);
    rt_ready_free(p);
    rt_regs_free(p->changes);
    rt_casts_free(p);
    rt_auth_free(p->auth);
    settings_unref(p->settings);
    rt_free(p);
}

void rt_projects_free(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->nprojects; i++) {
        rt_project_unref(e->projects[i]);
    }
    e->nprojects = 0;
    settings_unref(e->settings);
}

struct rt_project *rt_project_of(const struct rt_edge *e, struct pr_slice name)
{
    for (uint32_t i = 0; i < e->nprojects; i++) {
        if (pr_slice_is(name, e->projects[i]->cfg->project)) {
            return e->projects[i];
        }
    }
    return NULL;
}

struct rt_project *rt_project_host(const struct rt_edge *e, struct pr_slice host)
{
    const struct rt_config *cfg =
        rt_config_host(e->settings != NULL ? &e->settings->cfg : e->cfg, host);

    return cfg == NULL ? NULL : rt_project_of(e, pr_str(cfg->project));
}

struct rt_project *rt_project_by_id(const struct rt_edge *e, uint32_t id)
{
    for (uint32_t i = 0; i < e->nprojects; i++) {
        if (e->projects[i]->id == id) {
            return e->projects[i];
        }
    }
    return NULL;
}

void rt_projects_names(const struct rt_edge *e, char *out, size_t cap)
{
    size_t n = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < e->nprojects && n < cap; i++) {
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i == 0 ? "" : " ",
                              e->projects[i]->cfg->project);
    }
}

uint64_t rt_project_metric(const struct rt_project *p, enum rt_metric id)
{
    return rt_metrics_get(p->edge->metrics, RT_DB, rt_metrics_db(p->edge->metrics, p->cfg->project),
                          id);
}

struct rt_auth_stats rt_projects_auth_stats(const struct rt_edge *e)
{
    struct rt_auth_stats sum = {0};

    for (uint32_t i = 0; i < e->nprojects; i++) {
        struct rt_auth_stats one = rt_auth_stats(e->projects[i]->auth);

        sum.verified += one.verified;
        sum.cached += one.cached;
    }
    return sum;
}

/* ---- settings that are read again ---- */

static void disconnect(struct rt_socket *s, const char *reason)
{
    struct rt_system sys = {.extension = "system",
                            .ok = true,
                            .message = pr_str("Server requested disconnect"),
                            .bare = true};

    for (struct rt_channel *ch = s->channels; ch != NULL; ch = ch->next) {
        rt_say_system(ch, &sys);
    }
    rt_socket_close(s, 1012, reason);
}

/* Could the socket come in, with all its channels, by the settings of now? */
static bool stands(struct rt_socket *s)
{
    const struct rt_project *p = s->project;
    struct pr_jwt detail;
    bool yes =
        !p->gone && !p->cfg->suspend && rt_auth_holds(p->auth, s->token, &detail) == PR_JWT_OK;

    for (struct rt_channel *ch = s->channels; yes && ch != NULL; ch = ch->next) {
        yes = rt_auth_holds(p->auth, ch->token, &detail) == PR_JWT_OK &&
              (ch->rights != NULL || !p->cfg->private_only);
    }
    return yes;
}

static uint64_t disconnect_some(struct rt_project *p, const char *reason)
{
    uint64_t n = 0;

    for (struct rt_socket *s = p->edge->sockets; s != NULL; s = s->next) {
        if (s->project == p && s->close_code == 0 && !stands(s)) {
            disconnect(s, reason);
            n++;
        }
    }
    return n;
}

static void change(struct rt_project *p, const struct rt_config *cfg, struct rt_settings *s,
                   bool asked)
{
    struct rt_edge *e = p->edge;
    bool closes = (cfg->private_only && !p->cfg->private_only) || cfg->suspend;
    const char *why = "";
    int rv = rt_auth_reload(p->auth, cfg, &why);
    uint64_t closed = 0;

    point_to(p, cfg, s);
    rt_limit_clients_changed(p);
    if (rv < 0) {
        rt_log(e->log, RT_ERROR, "reload_refused", rt_kv_s("project", cfg->project),
               rt_kv_s("err", why), rt_kv_s("hint", "the keys before stay in use"));
    }
    if (rv == 1 || closes) {
        closed = disconnect_some(p, rv == 1 ? "keys changed" : "settings changed");
    }
    if (rv == 1 || closes || (rv == 0 && asked)) {
        rt_log(e->log, RT_INFO, "reloaded", rt_kv_u("keys_changed", rv == 1 ? 1 : 0),
               rt_kv_u("closed", closed), rt_kv_s("project", cfg->project));
    }
}

static void leave(struct rt_edge *e, uint32_t at)
{
    struct rt_project *p = e->projects[at];

    e->nprojects--;
    for (uint32_t i = at; i < e->nprojects; i++) {
        e->projects[i] = e->projects[i + 1];
    }
    p->gone = true;
    rt_tally_leave(p->tally);
    p->tally = NULL;
    rt_observers_leave(p);
    rt_ready_leave(p);
    rt_limits_leave(p);
    rt_regs_leave(p);
    rt_log(e->log, RT_INFO, "project_left", rt_kv_s("project", p->cfg->project),
           rt_kv_u("closed", disconnect_some(p, "project removed")));
    rt_project_unref(p);
}

static void take(struct rt_edge *e, struct rt_settings *s, bool asked)
{
    const char *why = "";

    for (uint32_t i = e->nprojects; i-- > 0;) {
        if (rt_config_project(&s->cfg, pr_str(e->projects[i]->cfg->project)) == NULL) {
            leave(e, i);
        }
    }
    for (uint32_t i = 0; i < s->cfg.nprojects; i++) {
        const struct rt_config *cfg = &s->cfg.projects[i];
        struct rt_project *p = rt_project_of(e, pr_str(cfg->project));

        if (p != NULL) {
            change(p, cfg, s, asked);
        } else if (add(e, cfg, s, &why) == 0) {
            rt_log(e->log, RT_INFO, "project_new", rt_kv_s("project", cfg->project));
        } else {
            rt_log(e->log, RT_ERROR, "project_refused", rt_kv_s("project", cfg->project),
                   rt_kv_s("err", why));
        }
    }
    settings_unref(e->settings);
    e->settings = s;
}

void rt_projects_reload(struct rt_edge *e, bool asked)
{
    struct rt_config_report *report = rt_calloc(1, sizeof *report);
    struct rt_settings *s = rt_calloc(1, sizeof *s);
    uint32_t i = 0;

    s->refs = 1;
    if (rt_config_load(&s->cfg, e->args->env, e->args->config_path, report) == RT_OK) {
        take(e, s, asked);
    } else {
        while (i + 1 < report->count && !report->notes[i].fatal) {
            i++;
        }
        rt_log(e->log, RT_ERROR, "reload_refused", rt_kv_s("err", report->notes[i].text),
               rt_kv_s("hint", "the keys before stay in use"));
        settings_unref(s);
    }
    rt_free(report);
}
