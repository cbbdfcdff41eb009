/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_status.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "node/base/alloc.h"
#include "node/base/control.h"
#include "node/base/metrics.h"

/* How long the owner may take to say that it lives; a person is waiting. */
#define OWNER_MS 1000u

static bool keep_row(void *ctx, struct pr_slice text)
{
    json_t **row = ctx;

    json_decref(*row);
    *row = json_loadb((const char *)text.p, text.n, 0, NULL);
    return true;
}

/* What the owner says of itself, NULL if it does not answer. */
static json_t *ask_owner(const char *socket_path)
{
    struct rt_error err = {0};
    struct rt_loop *loop = rt_loop_new();
    json_t *row = NULL;
    struct rt_control_question q = {.path = socket_path,
                                    .cmd = "status",
                                    .args = pr_str("{\"local\":true}"),
                                    .timeout_ms = OWNER_MS,
                                    .on_row = keep_row,
                                    .ctx = &row};

    if (rt_control_ask(loop, &q, &err) != 0) {
        json_decref(row);
        row = NULL;
    }
    rt_loop_free(loop);
    return row;
}

/* The figures of a process that tell most at one look. */
static void add_figures(json_t *row, const struct rt_slot *slot, enum rt_role role)
{
    static const struct {
        enum rt_role role;
        enum rt_metric id;
        const char *name;
    } figures[] = {
        {RT_EDGE, RT_M_CONNECTIONS, "connections"},
        {RT_EDGE, RT_M_CHANNELS, "channels"},
        {RT_EDGE, RT_M_CLIENTS, "clients"},
        {RT_EDGE, RT_M_DELIVERIES, "deliveries"},
        {RT_OWNER, RT_M_OWNER_TOPICS, "topics"},
        {RT_OWNER, RT_M_OWNER_EVENTS, "events"},
        {RT_DB, RT_M_DB_UP, "database_up"},
        {RT_DB, RT_M_DB_STREAMING, "streaming"},
        {RT_DB, RT_M_DB_SUBSCRIPTIONS, "subscriptions"},
    };

    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (figures[i].role == role) {
            uint64_t v = atomic_load_explicit(&slot->value[figures[i].id], memory_order_relaxed);

            (void)json_object_set_new(row, figures[i].name, json_integer((json_int_t)v));
        }
    }
}

/* Takes a decimal number of at most nine digits off *at. */
static bool take_number(const char **at, uint32_t *out)
{
    size_t n = strspn(*at, "0123456789");

    *out = 0;
    for (size_t i = 0; i < n && n <= 9; i++) {
        *out = *out * 10 + (uint32_t)((*at)[i] - '0');
    }
    *at += n;
    return n > 0 && n <= 9;
}

/* ROLE INDEX PID */
static bool parse_line(const char *line, enum rt_role *role, uint32_t *index, int *pid)
{
    size_t n = strcspn(line, " ");
    const char *at = line + n;
    char name[16];
    uint32_t number;

    if (n >= sizeof name) {
        return false;
    }
    memcpy(name, line, n);
    name[n] = '\0';
    if (!rt_role_parse(name, role) || *at != ' ') {
        return false;
    }
    at++;
    if (!take_number(&at, index) || *at != ' ') {
        return false;
    }
    at++;
    if (!take_number(&at, &number)) {
        return false;
    }
    *pid = (int)number;
    return true;
}

static json_t *process_row(const struct rt_metrics *m, enum rt_role role, uint32_t index, int pid,
                           bool *missing)
{
    json_t *row;
    const struct rt_slot *slot;
    bool alive;

    alive = pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
    *missing = *missing || !alive;
    row = json_pack("{s:s, s:i, s:i, s:s}", "role", rt_role_name(role), "index", (int)index, "pid",
                    pid, "state", alive ? "alive" : "dead");
    slot = m->slots != NULL ? rt_metrics_slot(m, role, index) : NULL;
    if (slot != NULL) {
        uint64_t start = atomic_load_explicit(&slot->start_ms, memory_order_relaxed);
        uint64_t now = rt_wall_ms();

        (void)json_object_set_new(
            row, "up_s",
            json_integer(start != 0 && now > start ? (json_int_t)((now - start) / 1000u) : 0));
        add_figures(row, slot, role);
    }
    return row;
}

/* Processes that ran since the supervisor started and are not in its list wait to be started again.
 */
static void add_waiting(json_t *list, const struct rt_metrics *m, const bool *listed, bool *missing)
{
    for (uint32_t i = 0; m->slots != NULL && i < RT_SLOTS; i++) {
        uint64_t pid = atomic_load_explicit(&m->slots[i].pid, memory_order_relaxed);
        enum rt_role role;
        uint32_t index;

        rt_metrics_who(i, &role, &index);
        if (pid != 0 && !listed[i]) {
            *missing = true;
            (void)json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:s}", "role",
                                                        rt_role_name(role), "index", (int)index,
                                                        "pid", (json_int_t)pid, "state", "ended"));
        }
    }
}

/* NULL if the directory has no list of pids. */
static json_t *processes(const char *dir, const struct rt_metrics *m, bool *missing)
{
    char path[600], line[128];
    bool listed[RT_SLOTS] = {false};
    json_t *list;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/pids", dir);
    f = fopen(path, "re");
    if (f == NULL) {
        return NULL;
    }
    list = json_array();
    while (fgets(line, sizeof line, f) != NULL) {
        enum rt_role role;
        uint32_t index, at;
        int pid;

        if (parse_line(line, &role, &index, &pid) && rt_metrics_place(role, index, &at)) {
            listed[at] = true;
            (void)json_array_append_new(list, process_row(m, role, index, pid, missing));
        }
    }
    (void)fclose(f);
    add_waiting(list, m, listed, missing);
    return list;
}

static void print_limits(json_t *limits)
{
    struct rt_rows r;
    const char *name;
    json_t *value;

    rt_rows_init(&r);
    json_object_foreach(limits, name, value)
    {
        rt_rows_add(&r, json_pack("{s:s, s:O}", "limit", name, "value", value));
    }
    rt_rows_print_table(&r);
    rt_rows_deinit(&r);
}

static void print_table(json_t *status, bool own)
{
    struct rt_rows r;
    const char *node = json_string_value(json_object_get(status, "node"));
    json_t *row;
    size_t i;

    (void)printf("node %s   owner %s\n", node != NULL ? node : "-",
                 json_string_value(json_object_get(status, "owner")));
    rt_rows_init(&r);
    json_array_foreach(json_object_get(status, "processes"), i, row)
    {
        static const char *const columns[] = {"role", "index", "pid", "state", "up_s"};
        json_t *short_row = json_object();
        json_t *figures = json_copy(row);
        char *text;

        for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
            (void)json_object_set(short_row, columns[c], json_object_get(row, columns[c]));
            (void)json_object_del(figures, columns[c]);
        }
        if (own) { /* the other nodes do not tell them */
            text = json_dumps(figures, JSON_COMPACT);
            (void)json_object_set_new(short_row, "figures", json_string(text));
            rt_free(text);
        }
        json_decref(figures);
        rt_rows_add(&r, short_row);
    }
    rt_rows_print_table(&r);
    rt_rows_deinit(&r);
    if (own) {
        print_limits(json_object_get(status, "limits"));
    }
}

static void print_status(json_t *status, bool json, bool own)
{
    if (json) {
        char *text = json_dumps(status, JSON_COMPACT);

        (void)puts(text);
        rt_free(text);
    } else {
        print_table(status, own);
    }
}

/* Processes that the owner of another node knows of; true if one of them is not as it should be. */
static bool any_missing(const json_t *status)
{
    size_t i;
    json_t *row;

    json_array_foreach(json_object_get(status, "processes"), i, row)
    {
        if (strcmp(rt_ctl_text(row, "state"), "alive") != 0) {
            return true;
        }
    }
    return false;
}

/* All other nodes, through this one. False: trouble. */
static bool print_others(const struct rt_ctl *c, const char *own)
{
    struct rt_rows rows;
    bool problem = false;
    size_t i;
    json_t *row;

    rt_rows_init(&rows);
    (void)rt_ctl_ask(c, "status", NULL, &rows, &problem);
    rt_rows_sort(&rows, "node", "owner");
    json_array_foreach(rows.list, i, row)
    {
        if (strcmp(rt_ctl_text(row, "node"), own) != 0) {
            problem = any_missing(row) || problem;
            print_status(row, c->json, false);
        }
    }
    rt_rows_deinit(&rows);
    return !problem;
}

/* The node of this machine, of which more can be told: also if its owner does not answer. */
static int own_status(const struct rt_ctl *c, const char *dir)
{
    bool missing = false;
    struct rt_metrics m = {0};
    struct rt_error err = {0};
    json_t *list, *owner, *status;

    if (rt_metrics_open_reader(&m, dir, &err) != 0) {
        (void)fprintf(stderr, "realtimectl: %s\n", err.text);
    }
    list = processes(dir, &m, &missing);
    if (list == NULL) {
        rt_metrics_close(&m);
        (void)fprintf(stderr, "realtimectl: no node runs in %s: %s/pids cannot be read\n", dir,
                      dir);
        return RT_CTL_PROBLEM;
    }
    owner = ask_owner(c->socket_path);
    status = json_pack("{s:s?, s:s, s:o}", "node", m.node, "owner",
                       owner != NULL ? "answers" : "silent", "processes", list);
    if (owner != NULL) {
        (void)json_object_set(status, "limits", json_object_get(owner, "limits"));
    }
    print_status(status, c->json, true);
    if (owner != NULL && !c->local && !print_others(c, rt_ctl_text(owner, "node"))) {
        missing = true;
    }
    json_decref(status);
    rt_metrics_close(&m);
    missing = missing || owner == NULL;
    json_decref(owner);
    return missing ? RT_CTL_PROBLEM : RT_CTL_OK;
}

int rt_ctl_status(const struct rt_ctl *c, char **argv)
{
    char dir[512];
    char *slash;

    if (*argv != NULL) {
        return rt_ctl_usage("status takes no argument", *argv);
    }
    if (c->at != NULL) {
        return print_others(c, "") ? RT_CTL_OK : RT_CTL_PROBLEM;
    }
    (void)snprintf(dir, sizeof dir, "%s", c->socket_path);
    slash = strrchr(dir, '/');
    (void)snprintf(slash != NULL ? slash : dir, 2, "%s", slash != NULL ? "" : ".");
    return own_status(c, dir);
}
