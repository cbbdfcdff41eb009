/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the settings of a node, read once from the environment and the file of --config.
 *
 * Precedence: environment, then file, then the names of Supabase's container (config_supabase.c),
 * then the default.
 * Every role reads them anew from its own environment; nobody changes them afterwards.
 */
#ifndef NODE_BASE_CONFIG_H
#define NODE_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <sys/socket.h>

#include "node/base/loop.h"
#include "node/base/log.h"
#include "node/base/metrics.h"
#include "node/base/settings.h"
#include "proto/bytes.h"

struct rt_list {
    uint32_t count;
    char **items; /* trimmed, not empty */
};

/* Each has a db process on each node, so few; names are labels of a host name. */
#define RT_PROJECTS_MAX     RT_DBS_MAX
#define RT_PROJECT_NAME_MAX 63u

struct rt_config {
    /* Texts are NULL if unset and without a default; numbers and flags always have a value. After
     * rt_config_load: edges is 1..RT_EDGES_MAX, node is set, database_check_url is set if
     * database_url is; if clustered, there is a key or cluster_insecure. */
#define RT_TEXT(field, ...) char *field;
#define RT_LIST(field, ...) struct rt_list field;
#define RT_NUM(field, ...)  uint32_t field;
#define RT_FLAG(field, ...) bool field;
    RT_SETTINGS(RT_TEXT, RT_LIST, RT_NUM, RT_FLAG, RT_TEXT)
#undef RT_TEXT
#undef RT_LIST
#undef RT_NUM
#undef RT_FLAG
    bool limits_supabase; /* limits is "supabase" */
    bool clustered;       /* other nodes may exist: seeds or a key are set, or insecure is on */
    /*
     * The projects, at least one. Each is a whole set of settings with its own values in those that
     * a section [project NAME] may set (settings.h) and the node's in all others; of the node's own
     * set only those others mean anything. Without sections there is one, named "default", which
     * every host maps to. A project's own set has none.
     */
    struct rt_config *projects;
    uint32_t nprojects;
    bool sections;                         /* the projects are those of sections */
    char project[RT_PROJECT_NAME_MAX + 1]; /* of a project's set: its name */
};

/*
 * Exit code of an owner whom no restart would help, because another node has its name: the whole
 * node ends with it. EX_CONFIG of sysexits.h.
 */
#define RT_EXIT_FATAL 78

/*
 * What the main of a role gets beside the settings:
 *   int rt_edge_main(const struct rt_config *cfg, const struct rt_role_args *args);
 * node/edge/edge.h int rt_owner_main(const struct rt_config *cfg, const struct rt_role_args *args);
 * node/owner/owner.h int rt_db_main(const struct rt_config *cfg, const struct rt_role_args *args);
 * node/db/db.h
 *
 * A main makes its own loop (rt_loop_new), starts rt_heart_start(loop, args->heart_fd) at once,
 * ends after SIGTERM or SIGINT with everything freed, and returns the exit code of the process:
 * 0, 1 if it cannot go on (the supervisor starts it again, with backoff), or RT_EXIT_FATAL. SIGHUP:
 * read the keys again; no role ends by it. `cfg` and `args` live longer than the main.
 * The edge closes its clients with 1012 at SIGTERM and must be gone within cfg->stop_ms.
 */
struct rt_role_args {
    enum rt_role role;
    uint32_t index;             /* of the edge; 0 for others */
    uint64_t boot;              /* random name of this process life, never 0 */
    int listen_fd;              /* edge: client listener, listening, non-blocking; else -1 */
    int admin_fd;               /* edge 0: admin listener, the same; else -1 */
    int heart_fd;               /* for rt_heart_start; -1 if started by hand */
    struct rt_log *log;         /* borrowed; "NODE/edge.2" */
    struct rt_metrics *metrics; /* borrowed; own slot taken */
    char *const *env;           /* for rt_config_load at SIGHUP */
    const char *config_path;    /* the same; NULL if there is no file */
};

/* Trouble found in settings, one sentence each: what is wrong and what would be right. */
#define RT_CONFIG_NOTES_MAX 32u
struct rt_config_note {
    bool fatal; /* else a warning */
    char text[RT_ERROR_TEXT_MAX];
};
struct rt_config_report {
    const char *project;   /* which the next notes are about; NULL: the node, or the only one */
    uint32_t count, fatal; /* of notes kept; fatal ones among them */
    struct rt_config_note notes[RT_CONFIG_NOTES_MAX];
};

/*
 * Reads, checks and completes the settings. `env` as of environ(7); `path` of an INI file, or NULL.
 * 0, or RT_ECONFIG if the report has a fatal note. rt_config_free in both cases.
 */
int rt_config_load(struct rt_config *cfg, char *const *env, const char *path,
                   struct rt_config_report *report);
void rt_config_free(struct rt_config *cfg);
/* The project of this name, NULL if there is none. */
const struct rt_config *rt_config_project(const struct rt_config *cfg, struct pr_slice name);
/*
 * The project that a Host header means: its first label is the name of a project, or is among its
 * REALTIME_ALIASES; with a single project it is that one, whatever the host. NULL: none.
 */
const struct rt_config *rt_config_host(const struct rt_config *cfg, struct pr_slice host);
/* All settings with defaults and help, for --help. */
void rt_config_help(FILE *out);
/* All values in effect, secrets as "(set)", for --check. */
/* Name and value of the i-th limit: the numbers from REALTIME_LIMITS on. False: there is none. */
bool rt_config_limit(const struct rt_config *cfg, uint32_t i, const char **name, uint32_t *value);
void rt_config_print(const struct rt_config *cfg, FILE *out);
/* What a process has to be started anew for: settings of the node, or those of a project that its
 * db process reads. */
enum rt_config_part { RT_PART_NODE = 1, RT_PART_DB };
/* Name of the first setting of that part that two sets have otherwise, static; NULL: there is none.
 */
const char *rt_config_differs(const struct rt_config *a, const struct rt_config *b,
                              enum rt_config_part part);
enum rt_log_level rt_config_log_level(const struct rt_config *cfg);
/* Text of the key set: the setting itself, or the file that it names. 0 with *text (rt_free; NULL
 * if there is none), or an error. */
int rt_config_jwks(const struct rt_config *cfg, char **text, struct rt_error *err);
/* "1.2.3.4:80", "[::1]:80", "localhost:80", ":80" or "*:80" (all addresses). Length of the address,
 * or 0 with *why (static). */
socklen_t rt_config_address(const char *text, struct sockaddr_storage *out, const char **why);
/* Whether text can name a node: 1 to 63 of A-Z a-z 0-9 . _ - */
bool rt_config_node_name(const char *text);
/* RUNTIME_DIR/NAME. 0, or RT_ECONFIG if it does not fit. */
int rt_config_path(const struct rt_config *cfg, const char *name, char *out, size_t cap);

#endif
