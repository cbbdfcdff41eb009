/* SPDX-License-Identifier: Apache-2.0 */
/* config_sources.c - where texts of settings come from: environment and INI file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ini.h>

#include "node/base/alloc.h"
#include "node/base/config_in.h"

/* A line of the file: a JWKS in one line fits. */
#define LINE_MAX_BYTES 131072
#define FROM_FILE      "file"
#define PREFIX         "REALTIME_"

const char *rt_config_env(char *const *env, const char *name)
{
    size_t n = strlen(name);

    for (; *env != NULL; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=') {
            /* An empty one is as good as none: compose files pass unset variables on as empty. */
            return (*env)[n + 1] == '\0' ? NULL : *env + n + 1;
        }
    }
    return NULL;
}

struct file_state {
    struct raw_settings *raw;
    struct rt_config_report *report;
    const char *path;
};

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c;
}

/* [project NAME]; names are labels of host names, which have no case. */
static bool project_name(const char *section, char *name)
{
    static const char word[] = "project";
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t n = strlen(word);

    if (strncmp(section, word, n) != 0 || strspn(section + n, " \t") == 0) {
        return false;
    }
    section += n + strspn(section + n, " \t");
    n = strspn(section, letters);
    if (n == 0 || n > RT_PROJECT_NAME_MAX || section[n] != '\0') {
        return false;
    }
    for (size_t i = 0; i <= n; i++) {
        name[i] = lower(section[i]);
    }
    return true;
}

/* Where the values of a section go; NULL after a note. */
static struct raw_value *values_of(struct file_state *st, const char *section)
{
    char name[RT_PROJECT_NAME_MAX + 1] = "";
    struct raw_project *new;

    if (*section == '\0') {
        return st->raw->node;
    }
    if (!project_name(section, name)) {
        rt_config_note(st->report, true,
                       "%s has a section [%.80s]; sections are [project NAME], NAME 1 to %u of "
                       "A-Z a-z 0-9 - _",
                       st->path, section, RT_PROJECT_NAME_MAX);
        return NULL;
    }
    for (uint32_t i = 0; i < st->raw->count; i++) {
        if (strcmp(st->raw->project[i].name, name) == 0) {
            return st->raw->project[i].raw;
        }
    }
    if (st->raw->count == RT_PROJECTS_MAX) {
        rt_config_note(st->report, true, "%s has more than %u projects", st->path, RT_PROJECTS_MAX);
        return NULL;
    }
    new = &st->raw->project[st->raw->count++];
    new->name = rt_strdup(name);
    new->raw = rt_calloc(rt_setting_count, sizeof *new->raw);
    return new->raw;
}

/* In a section the prefix REALTIME_ may be left out. */
static int find_in(const char *section, const char *name)
{
    char whole[80];
    int at = rt_setting_find(name);

    if (at < 0 && *section != '\0' && strlen(name) < sizeof whole - sizeof PREFIX) {
        (void)snprintf(whole, sizeof whole, "%s%s", PREFIX, name);
        at = rt_setting_find(whole);
    }
    return at;
}

static int on_pair(void *user, const char *section, const char *name, const char *value)
{
    struct file_state *st = user;
    int at = find_in(section, name);
    struct raw_value *raw = values_of(st, section);

    if (raw == NULL) {
        return 1;
    }
    if (at < 0) {
        rt_config_note(st->report, true,
                       "%s sets '%.80s', which is no setting; see realtimed --help", st->path,
                       name);
    } else if (*section != '\0' && !rt_setting_of_project((uint32_t)at)) {
        rt_config_note(st->report, true,
                       "%s sets %s in [%.80s], but it is the same for the whole node; it belongs "
                       "above the first section",
                       st->path, rt_setting[at].name, section);
    } else if (raw[at].text != NULL) {
        rt_config_note(st->report, true, "%s sets %s twice", st->path, rt_setting[at].name);
    } else if (*value != '\0') {
        raw[at].text = rt_strdup(value);
        raw[at].from = FROM_FILE;
    }
    return 1;
}

static void read_file(const char *path, struct raw_settings *raw, struct rt_config_report *r)
{
    struct file_state st = {.raw = raw, .report = r, .path = path};
    FILE *f = fopen(path, "re");
    int rv;

    if (f == NULL) {
        rt_config_note(r, true, "--config %s cannot be read: %s", path, strerror(errno));
        return;
    }
    /* The library's own bound of 200 bytes per line would cut keys and URLs in two. */
    ini_use_stack = false;
    ini_allow_realloc = true;
    ini_max_line = LINE_MAX_BYTES;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false; /* a secret may hold " ;" */
    rv = ini_parse_file(f, on_pair, &st);
    (void)fclose(f);
    if (rv != 0) {
        rt_config_note(r, true, "%s, line %d: it must be 'name = value', or a comment after # or ;",
                       path, rv);
    }
}

/* A misspelt name would otherwise be found only when its setting is missed. */
static void warn_unknown(char *const *env, struct rt_config_report *r)
{
    for (; *env != NULL; env++) {
        size_t n = strcspn(*env, "=");
        char name[80];

        if (strncmp(*env, PREFIX, sizeof PREFIX - 1) != 0 || n >= sizeof name) {
            continue;
        }
        memcpy(name, *env, n);
        name[n] = '\0';
        if (rt_setting_find(name) < 0) {
            rt_config_note(
                r, false, "%s is in the environment but is no setting; see realtimed --help", name);
        }
    }
}

void rt_config_raw(struct raw_settings *s, char *const *env, const char *path,
                   struct rt_config_report *r)
{
    memset(s, 0, sizeof *s);
    s->node = rt_calloc(rt_setting_count, sizeof *s->node);
    if (path != NULL) {
        read_file(path, s, r);
    }
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        const char *v = rt_config_env(env, rt_setting[i].name);

        if (v != NULL) {
            rt_free(s->node[i].text);
            s->node[i].text = rt_strdup(v);
            s->node[i].from = "environment";
        }
    }
    rt_config_supabase(s->node, env, r);
    warn_unknown(env, r);
}

static void free_values(struct raw_value *raw)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        rt_free(raw[i].text);
    }
    rt_free(raw);
}

void rt_config_raw_free(struct raw_settings *s)
{
    free_values(s->node);
    for (uint32_t i = 0; i < s->count; i++) {
        free_values(s->project[i].raw);
        rt_free(s->project[i].name);
    }
}
