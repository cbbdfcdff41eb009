/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - the settings table at work: values from texts, defaults, help. */
#include "node/base/config.h"

#include <assert.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/base/config_in.h"
#include "node/base/machine.h"

/* What a topic and a presence may take in the owner and in an edge that has subscribers of it, by
 * the budgets of both, and how many fit by default: into a quarter of the memory, each. */
#define TOPIC_BYTES    1024u
#define PRESENCE_BYTES 2048u
#define BY_MEMORY_MIN  10000u
#define BY_MEMORY_MAX  1000000u

const struct setting rt_setting[] = {
#define RT_TEXT(field, label, def, may_show, about)                                                \
    {.name = (label),                                                                              \
     .kind = SET_TEXT,                                                                             \
     .offset = offsetof(struct rt_config, field),                                                  \
     .text = (def),                                                                                \
     .show = (may_show),                                                                           \
     .help = (about)},
#define RT_LIST(field, label, may_show, about)                                                     \
    {.name = (label),                                                                              \
     .kind = SET_LIST,                                                                             \
     .offset = offsetof(struct rt_config, field),                                                  \
     .show = (may_show),                                                                           \
     .help = (about)},
#define RT_NUM(field, label, def, supabase, least, most, about)                                    \
    {.name = (label),                                                                              \
     .kind = SET_NUM,                                                                              \
     .offset = offsetof(struct rt_config, field),                                                  \
     .num = (def),                                                                                 \
     .num_supabase = (supabase),                                                                   \
     .min = (least),                                                                               \
     .max = (most),                                                                                \
     .show = true,                                                                                 \
     .help = (about)},
#define RT_FLAG(field, label, def, about)                                                          \
    {.name = (label),                                                                              \
     .kind = SET_FLAG,                                                                             \
     .offset = offsetof(struct rt_config, field),                                                  \
     .num = (def),                                                                                 \
     .show = true,                                                                                 \
     .help = (about)},
#define RT_ONE(field, label, among, def, about)                                                    \
    {.name = (label),                                                                              \
     .kind = SET_ONE,                                                                              \
     .offset = offsetof(struct rt_config, field),                                                  \
     .text = (def),                                                                                \
     .choices = (among),                                                                           \
     .show = true,                                                                                 \
     .help = (about)},
    RT_SETTINGS(RT_TEXT, RT_LIST, RT_NUM, RT_FLAG, RT_ONE)
#undef RT_TEXT
#undef RT_LIST
#undef RT_NUM
#undef RT_FLAG
#undef RT_ONE
};
const uint32_t rt_setting_count = sizeof rt_setting / sizeof rt_setting[0];

int rt_setting_find(const char *name)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        if (strcasecmp(rt_setting[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

bool rt_setting_of_project(uint32_t i)
{
    return (int)i >= rt_setting_find("REALTIME_ALIASES") &&
           (int)i < rt_setting_find("REALTIME_MAX_FRAME_BYTES");
}

void rt_config_note(struct rt_config_report *r, bool fatal, const char *fmt, ...)
{
    struct rt_config_note *n;
    size_t at = 0;
    va_list ap;

    r->fatal += fatal ? 1u : 0u;
    if (r->count == RT_CONFIG_NOTES_MAX) {
        return; /* enough to repair; the number of fatal ones is still right */
    }
    n = &r->notes[r->count];
    n->fatal = fatal;
    if (r->project != NULL) {
        at = (size_t)snprintf(n->text, sizeof n->text, "[project %s] ", r->project);
    }
    va_start(ap, fmt);
    (void)vsnprintf(n->text + at, sizeof n->text - at, fmt, ap);
    va_end(ap);
    r->count++;
}

/* Fields are named by the table, so their types are known by the kind. */
static void *field_of(struct rt_config *cfg, const struct setting *s)
{
    return (char *)cfg + s->offset;
}

static const void *field_in(const struct rt_config *cfg, const struct setting *s)
{
    return (const char *)cfg + s->offset;
}

static bool parse_num(const char *text, uint32_t *out)
{
    uint64_t n = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(*text - '0');
        if (n > UINT32_MAX) {
            return false;
        }
    }
    *out = (uint32_t)n;
    return true;
}

bool rt_config_flag(const char *text, bool *out)
{
    static const char *const yes[] = {"on", "true", "yes", "1", "t", "y"};
    static const char *const no[] = {"off", "false", "no", "0", "f", "n"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *out = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

/* Gives the choice as the table writes it, NULL if `text` is none. */
static char *parse_one(const char *text, const char *choices)
{
    for (const char *at = choices; *at != '\0';) {
        size_t n = strcspn(at, "|");

        if (strlen(text) == n && strncasecmp(text, at, n) == 0) {
            return rt_strndup(at, n);
        }
        at += n + (at[n] == '|' ? 1 : 0);
    }
    return NULL;
}

static void parse_list(const char *text, struct rt_list *out)
{
    while (*text != '\0') {
        size_t n = strcspn(text, ",");
        size_t from = strspn(text, " \t");
        size_t to = n;

        while (to > from && (text[to - 1] == ' ' || text[to - 1] == '\t')) {
            to--;
        }
        if (from < to) {
            out->items = rt_realloc(out->items, (out->count + 1) * sizeof *out->items);
            out->items[out->count] = rt_strndup(text + from, to - from);
            out->count++;
        }
        text += n + (text[n] == ',' ? 1 : 0);
    }
}

static void set_num(struct rt_config *cfg, const struct setting *s, const struct raw_value *raw,
                    struct rt_config_report *r)
{
    uint32_t *field = field_of(cfg, s);

    *field = cfg->limits_supabase ? s->num_supabase : s->num;
    if (raw->text == NULL) {
        return;
    }
    if (!parse_num(raw->text, field) || *field < s->min || *field > s->max) {
        rt_config_note(r, true, "%s is '%.80s' (%s); it must be a number from %u to %u", s->name,
                       raw->text, raw->from, s->min, s->max);
        *field = s->num;
    }
}

static void set_value(struct rt_config *cfg, const struct setting *s, const struct raw_value *raw,
                      struct rt_config_report *r)
{
    switch (s->kind) {
    case SET_TEXT:
        if (raw->text != NULL || s->text != NULL) {
            *(char **)field_of(cfg, s) = rt_strdup(raw->text != NULL ? raw->text : s->text);
        }
        break;
    case SET_LIST:
        if (raw->text != NULL) {
            parse_list(raw->text, field_of(cfg, s));
        }
        break;
    case SET_NUM:
        set_num(cfg, s, raw, r);
        break;
    case SET_FLAG:
        *(bool *)field_of(cfg, s) = s->num != 0;
        if (raw->text != NULL && !rt_config_flag(raw->text, field_of(cfg, s))) {
            rt_config_note(r, true, "%s is '%.80s' (%s); it must be on or off", s->name, raw->text,
                           raw->from);
        }
        break;
    case SET_ONE: {
        char *found = parse_one(raw->text != NULL ? raw->text : s->text, s->choices);

        if (found == NULL) {
            rt_config_note(r, true, "%s is '%.80s' (%s); it must be one of %s", s->name, raw->text,
                           raw->from, s->choices);
            found = rt_strdup(s->text);
        }
        *(char **)field_of(cfg, s) = found;
        break;
    }
    }
}

uint32_t rt_config_by_memory(uint64_t memory, uint32_t bytes)
{
    uint64_t n = memory / 4 / bytes;

    if (n < BY_MEMORY_MIN) {
        return BY_MEMORY_MIN;
    }
    return n > BY_MEMORY_MAX ? BY_MEMORY_MAX : (uint32_t)n;
}

static void size_to_machine(struct rt_config *cfg)
{
    uint32_t cores = rt_machine_cores();
    uint64_t memory = rt_machine_memory();

    if (cfg->edges == 0) {
        cfg->edges = cores > RT_EDGES_MAX ? RT_EDGES_MAX : cores;
    }
    if (cfg->max_topics == 0) {
        cfg->max_topics = rt_config_by_memory(memory, TOPIC_BYTES);
    }
    if (cfg->max_presences == 0) {
        cfg->max_presences = rt_config_by_memory(memory, PRESENCE_BYTES);
    }
}

void rt_config_complete(struct rt_config *cfg, struct rt_config_report *r)
{
    char host[256];

    cfg->clustered =
        cfg->cluster_seeds != NULL || cfg->cluster_key != NULL || cfg->cluster_insecure;
    size_to_machine(cfg);
    if (cfg->node == NULL) {
        if (gethostname(host, sizeof host) != 0) {
            (void)snprintf(host, sizeof host, "localhost");
        }
        host[sizeof host - 1] = '\0';
        cfg->node = rt_strdup(host);
        if (cfg->clustered && !rt_config_node_name(host)) {
            rt_config_note(r, true,
                           "the host is called '%.80s', which cannot name a node of a cluster; set "
                           "REALTIME_NODE to 1 to 63 of A-Z a-z 0-9 . _ -",
                           host);
        }
    }
    if (cfg->database_check_url == NULL && cfg->database_url != NULL) {
        cfg->database_check_url = rt_strdup(cfg->database_url);
    }
}

void rt_config_values(struct rt_config *cfg, const struct raw_value *raw,
                      struct rt_config_report *r)
{
    int limits = rt_setting_find("REALTIME_LIMITS");

    /* First, since it decides the defaults of others. */
    cfg->limits_supabase =
        raw[limits].text != NULL && strcasecmp(raw[limits].text, "supabase") == 0;
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        set_value(cfg, &rt_setting[i], &raw[i], r);
    }
}

int rt_config_load(struct rt_config *cfg, char *const *env, const char *path,
                   struct rt_config_report *report)
{
    struct raw_settings raw;

    memset(cfg, 0, sizeof *cfg);
    memset(report, 0, sizeof *report);
    rt_config_raw(&raw, env, path, report);
    rt_config_values(cfg, raw.node, report);
    rt_config_complete(cfg, report);
    rt_config_check(cfg, report);
    rt_config_load_projects(cfg, &raw, report);
    rt_config_raw_free(&raw);
    return report->fatal == 0 ? RT_OK : RT_ECONFIG;
}

void rt_config_free(struct rt_config *cfg)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        const struct setting *s = &rt_setting[i];

        if (s->kind == SET_TEXT || s->kind == SET_ONE) {
            rt_free(*(char **)field_of(cfg, s));
        } else if (s->kind == SET_LIST) {
            struct rt_list *l = field_of(cfg, s);

            for (uint32_t k = 0; k < l->count; k++) {
                rt_free(l->items[k]);
            }
            rt_free(l->items);
        }
    }
    for (uint32_t i = 0; i < cfg->nprojects; i++) {
        rt_config_free(&cfg->projects[i]);
    }
    rt_free(cfg->projects);
    memset(cfg, 0, sizeof *cfg);
}

static void print_default(const struct setting *s, FILE *out)
{
    switch (s->kind) {
    case SET_TEXT:
    case SET_ONE:
        if (s->text != NULL) {
            (void)fprintf(out, "%s", s->text);
        }
        break;
    case SET_LIST:
        break;
    case SET_NUM:
        if (s->num >= s->min) { /* else the default is not a number */
            (void)fprintf(out, "%u", s->num);
        }
        break;
    case SET_FLAG:
        (void)fprintf(out, "%s", s->num != 0 ? "on" : "off");
        break;
    }
}

void rt_config_help(FILE *out)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        const struct setting *s = &rt_setting[i];

        (void)fprintf(out, "  %s=", s->name);
        print_default(s, out);
        if (s->kind == SET_ONE) {
            (void)fprintf(out, "  (%s)", s->choices);
        } else if (s->kind == SET_NUM) {
            (void)fprintf(out, "  (%u to %u", s->min, s->max);
            if (s->num_supabase != s->num) {
                (void)fprintf(out, "; with REALTIME_LIMITS=supabase: %u", s->num_supabase);
            }
            (void)fprintf(out, ")");
        }
        (void)fprintf(out, "\n      %s\n", s->help);
    }
}

static void print_list(const struct rt_list *l, bool show, FILE *out)
{
    if (!show) {
        (void)fprintf(out, "(%u set)", l->count);
        return;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        (void)fprintf(out, "%s%s", i == 0 ? "" : ",", l->items[i]);
    }
}

static void print_value(const struct rt_config *cfg, const struct setting *s, FILE *out)
{
    const void *field = field_in(cfg, s);

    (void)fprintf(out, "%s=", s->name);
    switch (s->kind) {
    case SET_TEXT:
    case SET_ONE: {
        const char *text = *(char *const *)field;

        (void)fprintf(out, "%s", text == NULL ? "" : s->show ? text : "(set)");
        break;
    }
    case SET_LIST:
        print_list(field, s->show, out);
        break;
    case SET_NUM:
        (void)fprintf(out, "%u", *(const uint32_t *)field);
        break;
    case SET_FLAG:
        (void)fprintf(out, "%s", *(const bool *)field ? "on" : "off");
        break;
    }
    (void)fprintf(out, "\n");
}

void rt_config_print(const struct rt_config *cfg, FILE *out)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        if (!cfg->sections || !rt_setting_of_project(i)) {
            print_value(cfg, &rt_setting[i], out);
        }
    }
    for (uint32_t k = 0; cfg->sections && k < cfg->nprojects; k++) {
        (void)fprintf(out, "[project %s]\n", cfg->projects[k].project);
        for (uint32_t i = 0; i < rt_setting_count; i++) {
            if (rt_setting_of_project(i)) {
                print_value(&cfg->projects[k], &rt_setting[i], out);
            }
        }
    }
}

bool rt_config_limit(const struct rt_config *cfg, uint32_t i, const char **name, uint32_t *value)
{
    uint32_t first = 0;

    while (strcmp(rt_setting[first].name, "REALTIME_LIMITS") != 0) {
        first++;
    }
    if (i >= rt_setting_count - first - 1) {
        return false;
    }
    *name = rt_setting[first + 1 + i].name;
    assert(rt_setting[first + 1 + i].kind == SET_NUM);
    *value =
        *(const uint32_t *)(const void *)((const char *)cfg + rt_setting[first + 1 + i].offset);
    return true;
}

enum rt_log_level rt_config_log_level(const struct rt_config *cfg)
{
    static const struct {
        const char *name;
        enum rt_log_level level;
    } levels[] = {{"debug", RT_DEBUG}, {"info", RT_INFO}, {"warn", RT_WARN}, {"error", RT_ERROR}};

    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(cfg->log_level, levels[i].name) == 0) {
            return levels[i].level;
        }
    }
    assert(false);
    return RT_INFO;
}

int rt_config_path(const struct rt_config *cfg, const char *name, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s/%s", cfg->runtime_dir, name);

    return n < 0 || (size_t)n >= cap ? RT_ECONFIG : RT_OK;
}
