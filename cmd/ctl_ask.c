/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_ask.c - one question to a node, and its rows; arguments and figures of the commands. */
#include <stdio.h>
#include <string.h>

#include "cmd/ctl.h"
#include "node/base/alloc.h"
#include "node/base/control.h"

/* The owner gives those it asks RT_CONTROL_TIMEOUT_MS; what it then says must still arrive. */
#define ASK_MS (RT_CONTROL_TIMEOUT_MS + 1000u)

struct asking {
    const char *socket_path;
    struct rt_rows *rows; /* NULL: rows are printed as they come */
    uint64_t asked_ms;
    bool problem;
};

/* {"node", "error"} goes to stderr. */
static void print_error(const json_t *row)
{
    const char *node = rt_ctl_text(row, "node");

    (void)fprintf(stderr, "realtimectl: %s%s%s\n", node, *node != '\0' ? ": " : "",
                  rt_ctl_text(row, "error"));
}

static void print_line(const json_t *row)
{
    char *text = json_dumps(row, JSON_COMPACT);

    if (text != NULL) {
        (void)puts(text);
        (void)fflush(stdout);
        rt_free(text);
    }
}

/* The answer was on its way for half of the time at most. */
static void add_offset(const struct asking *a, json_t *row)
{
    uint64_t now = rt_wall_ms();
    json_int_t doubt = now > a->asked_ms ? (json_int_t)(now - a->asked_ms) / 2 : 0;
    json_int_t then = (json_int_t)a->asked_ms + doubt;

    (void)json_object_set_new(row, "offset_ms", json_integer(rt_ctl_int(row, "wall_ms") - then));
    (void)json_object_set_new(row, "doubt_ms", json_integer(doubt));
}

static bool on_row(void *ctx, struct pr_slice text)
{
    struct asking *a = ctx;
    json_t *row = json_loadb((const char *)text.p, text.n, 0, NULL);

    if (row == NULL) {
        return true; /* not ours: a row is always a JSON object */
    }
    if (json_is_string(json_object_get(row, "error"))) {
        print_error(row);
        a->problem = true;
    } else if (a->rows == NULL) {
        print_line(row);
    } else {
        if (json_object_get(row, "wall_ms") != NULL) {
            add_offset(a, row);
        }
        rt_rows_add(a->rows, row);
        return true;
    }
    json_decref(row);
    return true;
}

static bool run(const struct rt_ctl *c, const char *cmd, json_t *args, struct asking *a)
{
    struct rt_error err = {0};
    struct rt_loop *loop = rt_loop_new();
    struct rt_control_question q = {.path = c->socket_path,
                                    .cmd = cmd,
                                    .timeout_ms = a->rows == NULL ? 0 : ASK_MS,
                                    .on_row = on_row,
                                    .ctx = a};
    char *text;
    int rv;

    args = args != NULL ? args : json_object();
    if (c->local) {
        (void)json_object_set_new(args, "local", json_true());
    }
    if (c->at != NULL) {
        (void)json_object_set_new(args, "at", json_string(c->at));
    }
    if (c->project != NULL) {
        (void)json_object_set_new(args, "project", json_string(c->project));
    }
    text = json_dumps(args, JSON_COMPACT);
    q.args = pr_str(text);
    a->asked_ms = rt_wall_ms();
    rv = rt_control_ask(loop, &q, &err);
    if (rv != 0) {
        (void)fprintf(stderr, "realtimectl: %s\n", err.text);
    }
    rt_free(text);
    json_decref(args);
    rt_loop_free(loop);
    return rv == 0;
}

bool rt_ctl_ask(const struct rt_ctl *c, const char *cmd, json_t *args, struct rt_rows *rows,
                bool *problem)
{
    struct asking a = {.rows = rows};
    bool ok = run(c, cmd, args, &a);

    *problem = *problem || a.problem || !ok;
    return ok;
}

int rt_ctl_stream(const struct rt_ctl *c, const char *cmd, json_t *args)
{
    struct asking a = {.rows = NULL};

    return run(c, cmd, args, &a) && !a.problem ? RT_CTL_OK : RT_CTL_PROBLEM;
}

/* ---- arguments ---- */

static void take_out(char **at, size_t n)
{
    size_t i = 0;

    do {
        at[i] = at[i + n];
    } while (at[i++] != NULL);
}

bool rt_ctl_flag(char **argv, const char *name)
{
    for (; *argv != NULL; argv++) {
        if (strcmp(*argv, name) == 0) {
            take_out(argv, 1);
            return true;
        }
    }
    return false;
}

bool rt_ctl_option(char **argv, const char *name, const char **value)
{
    for (; *argv != NULL; argv++) {
        if (strcmp(*argv, name) == 0) {
            *value = argv[1];
            take_out(argv, argv[1] == NULL ? 1 : 2);
            return true;
        }
    }
    return false;
}

bool rt_ctl_number(const char *text, uint32_t max, uint32_t *out)
{
    uint32_t n = 0;

    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || n > max / 10) {
            return false;
        }
        n = n * 10 + (uint32_t)(*p - '0');
    }
    *out = n;
    return n >= 1 && n <= max;
}

/* ---- rows ---- */

const char *rt_ctl_text(const json_t *row, const char *key)
{
    const char *text = json_string_value(json_object_get(row, key));

    return text == NULL ? "" : text;
}

json_int_t rt_ctl_int(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

json_t *rt_ctl_find(const json_t *list, const char *key, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *row = json_array_get(list, i);

        if (json_is_string(json_object_get(row, key)) && strcmp(rt_ctl_text(row, key), text) == 0) {
            return row;
        }
    }
    return NULL;
}

void rt_ctl_copy(json_t *to, const json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);

    if (value == NULL) {
        (void)json_object_set_new(to, key, json_null());
    } else {
        (void)json_object_set(to, key, value);
    }
}

struct rt_ctl_figure rt_ctl_age(json_int_t ms)
{
    struct rt_ctl_figure f;
    long long s = (long long)ms / 1000;

    if (ms < 1000) {
        (void)snprintf(f.text, sizeof f.text, "%lldms", (long long)ms);
    } else if (s < 60) {
        (void)snprintf(f.text, sizeof f.text, "%llds", s);
    } else if (s < 3600) {
        (void)snprintf(f.text, sizeof f.text, "%lldm%llds", s / 60, s % 60);
    } else if (s < 86400) {
        (void)snprintf(f.text, sizeof f.text, "%lldh%lldm", s / 3600, s / 60 % 60);
    } else {
        (void)snprintf(f.text, sizeof f.text, "%lldd%lldh", s / 86400, s / 3600 % 24);
    }
    return f;
}

struct rt_ctl_figure rt_ctl_size(json_int_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    struct rt_ctl_figure f;
    double v = (double)bytes;
    size_t u = 0;

    while (v >= 1024.0 && u + 1 < sizeof units / sizeof units[0]) {
        v /= 1024.0;
        u++;
    }
    (void)snprintf(f.text, sizeof f.text, u == 0 || v >= 100.0 ? "%.0f%s" : "%.1f%s", v, units[u]);
    return f;
}
