/* SPDX-License-Identifier: Apache-2.0 */
/* config_in.h - what the files of the settings share. */
#ifndef NODE_BASE_CONFIG_IN_H
#define NODE_BASE_CONFIG_IN_H

#include <netinet/in.h>

#include "node/base/config.h"

enum setting_kind { SET_TEXT = 1, SET_LIST, SET_NUM, SET_FLAG, SET_ONE };

/* A row of RT_SETTINGS. */
struct setting {
    const char *name;
    enum setting_kind kind;
    size_t offset;                        /* of the field in struct rt_config */
    const char *text;                     /* TEXT, ONE: default, or NULL */
    const char *choices;                  /* ONE: separated by '|' */
    uint32_t num, num_supabase, min, max; /* NUM; FLAG: num is 0 or 1 */
    bool show;
    const char *help;
};

/* config.c */
extern const struct setting rt_setting[];
extern const uint32_t rt_setting_count;
/* The i-th setting is one of a project. */
bool rt_setting_of_project(uint32_t i);
/* Index of a name in any case, -1 if there is none. */
int rt_setting_find(const char *name);
/* on/off, true/false, yes/no, 1/0, t/f, y/n in any case; false: it is none of them. */
bool rt_config_flag(const char *text, bool *out);
/* How many things of so many bytes there may be, by default. */
uint32_t rt_config_by_memory(uint64_t memory, uint32_t bytes);
void rt_config_note(struct rt_config_report *r, bool fatal, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * config_sources.c: raw texts per setting, in the order of rt_setting; NULL = not set. All are
 * copies, to be freed by rt_config_raw_free. `from` names the source in messages: static.
 */
struct raw_value {
    char *text;
    const char *from;
};
struct raw_project {
    char *name;            /* of the section; lower case */
    struct raw_value *raw; /* what stands in it */
};
struct raw_settings {
    struct raw_value *node;
    struct raw_project project[RT_PROJECTS_MAX];
    uint32_t count; /* of projects */
};
void rt_config_raw(struct raw_settings *s, char *const *env, const char *path,
                   struct rt_config_report *r);
void rt_config_raw_free(struct raw_settings *s);
/* Value of a variable, borrowed; NULL if it is not set, or empty. */
const char *rt_config_env(char *const *env, const char *name);

/*
 * config_supabase.c: what the environment of Supabase's container says goes to settings that have
 * no value yet; a note for each group of its names that have no effect.
 */
void rt_config_supabase(struct raw_value *raw, char *const *env, struct rt_config_report *r);

/*
 * config_projects.c: fills cfg->projects from the sections, or one from the node's own values.
 * cfg itself is complete by then.
 */
void rt_config_load_projects(struct rt_config *cfg, const struct raw_settings *s,
                             struct rt_config_report *r);

/* config.c: values from texts, one per setting; then what follows from others where it is not set.
 */
void rt_config_values(struct rt_config *cfg, const struct raw_value *raw,
                      struct rt_config_report *r);
void rt_config_complete(struct rt_config *cfg, struct rt_config_report *r);

/* config_check.c: what single values cannot show, of the node and of one project. Adds notes. */
void rt_config_check(const struct rt_config *cfg, struct rt_config_report *r);
void rt_config_check_project(const struct rt_config *cfg, struct rt_config_report *r);
/* 1 to 65535 in digits alone; *port in network order. */
bool rt_config_port(const char *text, in_port_t *port);
/* config_cluster.c: the same for what concerns other nodes. */
void rt_config_check_cluster(const struct rt_config *cfg, struct rt_config_report *r);

#endif
