/* SPDX-License-Identifier: Apache-2.0 */
/* config_projects.c - one set of settings per project; which project a host means. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "node/base/alloc.h"
#include "node/base/config_in.h"

/* Of a node without sections, and what every host means there. */
#define ONLY_PROJECT "default"
/* Host label of Supabase's self-hosted stack, for who moves a client from there: the first
 * project, unless one has it as name or alias. */
#define SUPABASE_LABEL "realtime-dev"

/* Who somebody is, or where their data lies: two projects never have these from one place. */
static bool is_own(uint32_t i)
{
    static const char *const own[] = {
        "REALTIME_ALIASES",      "REALTIME_JWT_SECRET",         "REALTIME_JWT_JWKS",
        "REALTIME_DATABASE_URL", "REALTIME_DATABASE_CHECK_URL", "REALTIME_PUBLISHABLE_KEYS",
        "REALTIME_SECRET_KEYS"};

    for (size_t k = 0; k < sizeof own / sizeof own[0]; k++) {
        if (strcmp(rt_setting[i].name, own[k]) == 0) {
            return true;
        }
    }
    return false;
}

/* One set: what `own` has, the node's values behind it. own == NULL: the node's alone. */
static void load(struct rt_config *p, const char *name, const struct raw_value *node,
                 const struct raw_value *own, struct rt_config_report *r)
{
    struct raw_value *raw = rt_calloc(rt_setting_count, sizeof *raw);
    struct rt_config_report ignored = {.count = 0};

    for (uint32_t i = 0; i < rt_setting_count; i++) {
        if (own != NULL && rt_setting_of_project(i) && (own[i].text != NULL || is_own(i))) {
            raw[i] = own[i];
        } else {
            raw[i] = node[i];
        }
    }
    /* What is wrong with the node's values has been said, if these are all there is. */
    rt_config_values(p, raw, own == NULL ? &ignored : r);
    rt_config_complete(p, &ignored);
    (void)snprintf(p->project, sizeof p->project, "%s", name);
    rt_config_check_project(p, r);
    rt_free(raw);
}

/* What has a place in every section only. */
static void warn_unused(const struct raw_value *node, struct rt_config_report *r)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        if (is_own(i) && node[i].text != NULL) {
            rt_config_note(r, false,
                           "%s (%s) is not used: with sections [project NAME] each has its own",
                           rt_setting[i].name, node[i].from);
        }
    }
}

static bool has_alias(const struct rt_config *p, struct pr_slice label)
{
    for (uint32_t i = 0; i < p->aliases.count; i++) {
        if (pr_slice_is_nocase(label, p->aliases.items[i])) {
            return true;
        }
    }
    return false;
}

/* One slot per database: two readers would take it from each other. */
static void check_databases(const struct rt_config *a, const struct rt_config *b,
                            struct rt_config_report *r)
{
    if (a->database_url != NULL && b->database_url != NULL &&
        strcmp(a->database_url, b->database_url) == 0) {
        rt_config_note(r, true,
                       "REALTIME_DATABASE_URL is that of project %s too; each needs a database of "
                       "its own",
                       a->project);
    }
}

static void check_aliases(const struct rt_config *a, const struct rt_config *b,
                          struct rt_config_report *r)
{
    for (uint32_t i = 0; i < b->aliases.count; i++) {
        const char *alias = b->aliases.items[i];

        if (strcasecmp(alias, a->project) == 0 || has_alias(a, pr_str(alias))) {
            rt_config_note(r, true, "REALTIME_ALIASES has %.63s, which already means project %s",
                           alias, a->project);
        }
    }
}

void rt_config_load_projects(struct rt_config *cfg, const struct raw_settings *s,
                             struct rt_config_report *r)
{
    cfg->nprojects = s->count == 0 ? 1 : s->count;
    cfg->projects = rt_calloc(cfg->nprojects, sizeof *cfg->projects);
    if (s->count == 0) {
        load(&cfg->projects[0], ONLY_PROJECT, s->node, NULL, r);
        return;
    }
    cfg->sections = true;
    warn_unused(s->node, r);
    for (uint32_t i = 0; i < s->count; i++) {
        r->project = s->project[i].name;
        load(&cfg->projects[i], r->project, s->node, s->project[i].raw, r);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        r->project = s->project[i].name;
        for (uint32_t k = 0; k < s->count; k++) {
            if (k < i) {
                check_databases(&cfg->projects[k], &cfg->projects[i], r);
            }
            if (k != i) {
                check_aliases(&cfg->projects[k], &cfg->projects[i], r);
            }
        }
    }
    r->project = NULL;
}

const struct rt_config *rt_config_project(const struct rt_config *cfg, struct pr_slice name)
{
    for (uint32_t i = 0; i < cfg->nprojects; i++) {
        if (pr_slice_is(name, cfg->projects[i].project)) {
            return &cfg->projects[i];
        }
    }
    return NULL;
}

const struct rt_config *rt_config_host(const struct rt_config *cfg, struct pr_slice host)
{
    struct pr_slice label = {.p = host.p, .n = 0};

    if (cfg->nprojects == 1) {
        return &cfg->projects[0];
    }
    while (label.n < host.n && host.p[label.n] != '.' && host.p[label.n] != ':') {
        label.n++;
    }
    for (uint32_t i = 0; i < cfg->nprojects; i++) {
        if (pr_slice_is_nocase(label, cfg->projects[i].project)) {
            return &cfg->projects[i];
        }
    }
    for (uint32_t i = 0; i < cfg->nprojects; i++) {
        if (has_alias(&cfg->projects[i], label)) {
            return &cfg->projects[i];
        }
    }
    return pr_slice_is(label, SUPABASE_LABEL) ? &cfg->projects[0] : NULL;
}
