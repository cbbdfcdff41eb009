/* SPDX-License-Identifier: Apache-2.0 */
/* realtimectl: asks one question over a node's control socket and prints the rows. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "cmd/ctl_print.h"
#include "cmd/ctl_status.h"
#include "cmd/ctl_token.h"
#include "node/base/alloc.h"
#include "node/base/control.h"

/* Exit codes, stable for scripts. */
enum { EXIT_OK = 0, EXIT_PROBLEM = 1, EXIT_USAGE = 2 };

/* The owner gives its processes RT_CONTROL_TIMEOUT_MS; what it then says must still arrive. */
#define ASK_MS (RT_CONTROL_TIMEOUT_MS + 1000u)

static const char usage_text[] =
    "realtimectl [--socket PATH] [--json] COMMAND\n"
    "\n"
    "  status                    processes of the node and their counters\n"
    "  connections               client sockets\n"
    "  channels                  channels joined by client sockets\n"
    "  topics                    topics that the owner orders\n"
    "  presence TOPIC            who is present in a topic\n"
    "  slots                     who reads the WAL, and how far it is confirmed\n"
    "  sub TOPIC                 print the broadcasts of a topic until interrupted\n"
    "  pub TOPIC EVENT JSON      broadcast to a topic\n"
    "  token --role R [--sub S] [--exp D]\n"
    "                            mint a JWT with REALTIME_JWT_SECRET; D such as 90s, 12h, 365d\n"
    "\n"
    "  --socket PATH   control socket of the node; default $REALTIME_RUNTIME_DIR/control.sock, "
    "else\n"
    "                  /run/realtime/control.sock\n"
    "  --json          one JSON object per line instead of a table\n"
    "\n"
    "TOPIC is the name without realtime:. Exit code: 0 ok, 1 a problem was found, 2 usage.\n";

struct ask {
    struct rt_rows rows;
    bool stream, problem;
};

static int usage(const char *what, const char *arg)
{
    (void)fprintf(stderr, "realtimectl: %s%s%s\n\n%s", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "", usage_text);
    return EXIT_USAGE;
}

static bool on_row(void *ctx, struct pr_slice text)
{
    struct ask *a = ctx;
    json_t *row = json_loadb((const char *)text.p, text.n, 0, NULL);
    const char *error = json_string_value(json_object_get(row, "error"));

    if (error != NULL) {
        (void)fprintf(stderr, "realtimectl: %s\n", error);
        a->problem = true;
        json_decref(row);
        return true;
    }
    if (row == NULL) {
        return true; /* not ours: a row is always a JSON object */
    }
    if (a->stream) {
        char *line = json_dumps(row, JSON_COMPACT);

        (void)puts(line);
        (void)fflush(stdout);
        rt_free(line);
        json_decref(row);
    } else {
        rt_rows_add(&a->rows, row);
    }
    return true;
}

static int ask(const char *socket_path, const char *cmd, json_t *args, struct ask *a)
{
    struct rt_error err = {0};
    struct rt_loop *loop = rt_loop_new();
    char *text = json_dumps(args, JSON_COMPACT);
    struct rt_control_question q = {.path = socket_path,
                                    .cmd = cmd,
                                    .args = pr_str(text),
                                    .timeout_ms = a->stream ? 0 : ASK_MS,
                                    .on_row = on_row,
                                    .ctx = a};
    int rv = rt_control_ask(loop, &q, &err);

    if (rv != 0) {
        (void)fprintf(stderr, "realtimectl: %s\n", err.text);
    }
    rt_free(text);
    rt_loop_free(loop);
    return rv;
}

static int show(const char *socket_path, const char *cmd, json_t *args, bool json)
{
    struct ask a = {.stream = strcmp(cmd, "sub") == 0};
    int rv;

    rt_rows_init(&a.rows);
    rv = ask(socket_path, cmd, args, &a);
    if (rv == 0 && !a.stream && !a.problem) {
        if (json) {
            rt_rows_print_json(&a.rows);
        } else {
            rt_rows_print_table(&a.rows);
        }
    }
    rt_rows_deinit(&a.rows);
    return rv == 0 && !a.problem ? EXIT_OK : EXIT_PROBLEM;
}

/* Commands and the names of their arguments; all arguments are required. */
static const struct command {
    const char *name;
    const char *args[3];
} commands[] = {
    {"connections", {NULL}},
    {"channels", {NULL}},
    {"topics", {NULL}},
    {"slots", {NULL}},
    {"presence", {"topic"}},
    {"sub", {"topic"}},
    {"pub", {"topic", "event", "payload"}},
};

static int run_command(const struct command *c, const char *socket_path, char **argv, bool json)
{
    json_t *args = json_object();
    int rv;

    for (size_t i = 0; i < 3 && c->args[i] != NULL; i++) {
        json_t *value;

        if (argv[i] == NULL) {
            json_decref(args);
            return usage("missing argument", c->args[i]);
        }
        if (strcmp(c->args[i], "payload") == 0) {
            value = json_loads(argv[i], JSON_DECODE_ANY, NULL);
        } else {
            value = json_string(argv[i]);
        }
        if (value == NULL) {
            json_decref(args);
            return usage(strcmp(c->args[i], "payload") == 0 ? "the payload is not JSON"
                                                            : "not UTF-8",
                         argv[i]);
        }
        (void)json_object_set_new(args, c->args[i], value);
    }
    rv = show(socket_path, c->name, args, json);
    json_decref(args);
    return rv;
}

int main(int argc, char **argv)
{
    const char *dir = getenv("REALTIME_RUNTIME_DIR");
    char path[512];
    bool json = false;
    int i = 1;

    (void)snprintf(path, sizeof path, "%s/control.sock", dir != NULL ? dir : "/run/realtime");
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc) {
            (void)snprintf(path, sizeof path, "%s", argv[++i]);
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            (void)fputs(usage_text, stdout);
            return EXIT_OK;
        } else {
            return usage("unknown option, or its value is missing", argv[i]);
        }
    }
    if (i == argc) {
        return usage("no command given", NULL);
    }
    if (strcmp(argv[i], "token") == 0) {
        return rt_ctl_token(argv + i + 1);
    }
    if (strcmp(argv[i], "status") == 0) {
        return rt_ctl_status(path, json);
    }
    for (size_t c = 0; c < sizeof commands / sizeof commands[0]; c++) {
        if (strcmp(argv[i], commands[c].name) == 0) {
            return run_command(&commands[c], path, argv + i + 1, json);
        }
    }
    return usage("unknown command", argv[i]);
}
