/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_explain.h"

#include <stdio.h>
#include <string.h>

#include "node/base/alloc.h"

/* Bindings that are walked; more are to be chosen from. */
#define WALKS_MAX 50u

struct walk {
    const struct rt_ctl *c;
    const json_t *binding; /* row of an edge */
    const char *schema, *table;
    const char *event; /* asked about; NULL: those that the binding hears */
    json_t *key;       /* {column: value}, NULL: no row is named */
    struct rt_rows out;
    bool stopped; /* something on the way drops it */
};

/* A step of this binding. */
static void step(struct walk *w, const char *name, const char *result, const char *detail,
                 const char *fix)
{
    json_t *row = json_object();
    const json_t *b = w->binding;
    char text[256];
    const char *event = rt_ctl_text(b, "event");
    const char *filter = rt_ctl_text(b, "filter");

    (void)snprintf(text, sizeof text, "%s %s.%s%s%s", event, rt_ctl_text(b, "schema"),
                   rt_ctl_text(b, "table"), *filter != '\0' ? " " : "", filter);
    rt_ctl_copy(row, b, "node");
    rt_ctl_copy(row, b, "conn");
    (void)json_object_set_new(row, "binding", json_string(*event != '\0' ? text : ""));
    (void)json_object_set_new(row, "step", json_string(name));
    (void)json_object_set_new(row, "result", json_string(result));
    (void)json_object_set_new(row, "detail", json_string(detail));
    (void)json_object_set_new(row, "fix", fix == NULL ? json_null() : json_string(fix));
    rt_rows_add(&w->out, row);
    w->stopped = w->stopped || strcmp(result, "drops") == 0 || strcmp(result, "error") == 0;
}

static bool covers(const char *binding, const char *name)
{
    return strcmp(binding, "*") == 0 || strcmp(binding, name) == 0;
}

/* One binding that is refused silences all of its channel. */
static void walk_channel(struct walk *w)
{
    const char *refused = rt_ctl_text(w->binding, "refused");
    char detail[1200];

    if (*refused != '\0') {
        (void)snprintf(detail, sizeof detail, "another binding of the channel is refused: %s",
                       refused);
        step(w, "channel", "drops", detail, "mend or remove that binding: it silences all others");
    }
}

/* What the edge says: has the channel joined, is this table meant, is the socket slow? */
static bool walk_edge(struct walk *w)
{
    const json_t *b = w->binding;
    const char *state = rt_ctl_text(b, "state");
    json_int_t queued = rt_ctl_int(b, "queued_bytes");
    char detail[128];

    if (!json_is_true(json_object_get(b, "joined"))) {
        step(w, "join", "drops", "the join is not answered yet", NULL);
    }
    if (strcmp(state, "none") == 0) {
        step(w, "binding", "drops", "the channel asked for no changes of the database",
             ".on('postgres_changes', ...) before .subscribe()");
        return false;
    }
    if (json_object_get(b, "handle") == NULL) {
        step(w, "binding", "drops", rt_ctl_text(b, "message"), NULL);
        return false;
    }
    if (!covers(rt_ctl_text(b, "schema"), w->schema) ||
        !covers(rt_ctl_text(b, "table"), w->table)) {
        step(w, "binding", "drops", "it is about another table", NULL);
        return false;
    }
    walk_channel(w);
    if (queued > 0) {
        (void)snprintf(detail, sizeof detail, "%s wait: the client reads slowly",
                       rt_ctl_size(queued).text);
        step(w, "socket", "note", detail, "above REALTIME_MAX_QUEUE_BYTES it is closed");
    }
    return true;
}

/* What the node that reads says of the registration behind the binding. False: no answer. */
static bool walk_reader(struct walk *w, bool *problem)
{
    struct rt_rows answer;
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:s, s:s*, s:O*}", "boot", rt_ctl_text(w->binding, "boot"),
                  "handle", rt_ctl_text(w->binding, "handle"), "schema", w->schema, "table",
                  w->table, "event", w->event, "key", w->key);
    bool ok;
    size_t i;
    json_t *row;

    rt_rows_init(&answer);
    ok = rt_ctl_ask(w->c, "explain", args, &answer, problem);
    json_array_foreach(answer.list, i, row)
    {
        const char *fix = rt_ctl_text(row, "fix");

        step(w, rt_ctl_text(row, "step"), rt_ctl_text(row, "result"), rt_ctl_text(row, "detail"),
             *fix == '\0' ? NULL : fix);
    }
    if (ok && json_array_size(answer.list) == 0) {
        step(w, "stream", "drops", "no node reads the changes", "realtimectl slots; doctor");
    }
    rt_rows_deinit(&answer);
    return ok;
}

static void print_all(const struct walk *w)
{
    const char *conn = "", *binding = "";
    size_t i;
    json_t *row;

    if (w->c->json) {
        rt_rows_print_json(&w->out);
        return;
    }
    json_array_foreach(w->out.list, i, row)
    {
        const char *fix = rt_ctl_text(row, "fix");

        if (i == 0 || strcmp(conn, rt_ctl_text(row, "conn")) != 0 ||
            strcmp(binding, rt_ctl_text(row, "binding")) != 0) {
            conn = rt_ctl_text(row, "conn");
            binding = rt_ctl_text(row, "binding");
            (void)printf("%s%s on %s: %s\n", i == 0 ? "" : "\n", conn, rt_ctl_text(row, "node"),
                         *binding != '\0' ? binding : "(no binding)");
        }
        (void)printf("  %-7s %-13s %s\n", rt_ctl_text(row, "result"), rt_ctl_text(row, "step"),
                     rt_ctl_text(row, "detail"));
        if (*fix != '\0') {
            (void)printf("%23s fix: %s\n", "", fix);
        }
    }
}

/* Splits COLUMN=VALUE; false if it is not. */
static bool take_pair(json_t *key, const char *arg)
{
    const char *eq = strchr(arg, '=');
    char *column;
    bool ok;

    if (eq == NULL || eq == arg) {
        return false;
    }
    column = rt_strndup(arg, (size_t)(eq - arg));
    ok = json_object_set_new(key, column, json_string(eq + 1)) == 0; /* -1: not UTF-8 */
    rt_free(column);
    return ok;
}

static int walk_all(struct walk *w, const char *topic, const char *conn)
{
    struct rt_rows bindings;
    bool problem = false;
    uint32_t walks = 0;
    size_t i;
    json_t *row;
    bool ok;

    rt_rows_init(&bindings);
    ok = rt_ctl_ask(w->c, "bindings", json_pack("{s:s}", "topic", topic), &bindings, &problem);
    rt_rows_sort(&bindings, "node", "conn");
    json_array_foreach(bindings.list, i, row)
    {
        if (!ok || (conn != NULL && strcmp(conn, rt_ctl_text(row, "conn")) != 0)) {
            continue;
        }
        if (walks++ == WALKS_MAX) {
            (void)fprintf(stderr, "realtimectl: more than %u bindings: name one with --conn ID\n",
                          WALKS_MAX);
            problem = true;
            break;
        }
        w->binding = row;
        if (walk_edge(w)) {
            ok = walk_reader(w, &problem);
        }
    }
    print_all(w);
    if (ok && walks == 0) {
        (void)fprintf(stderr, "realtimectl: nobody has joined %s%s%s\n", topic,
                      conn != NULL ? " as " : "", conn != NULL ? conn : "");
        problem = true;
    }
    rt_rows_deinit(&bindings);
    return ok && !problem && !w->stopped ? RT_CTL_OK : RT_CTL_PROBLEM;
}

static bool is_event(const char *text)
{
    return strcmp(text, "INSERT") == 0 || strcmp(text, "UPDATE") == 0 ||
           strcmp(text, "DELETE") == 0;
}

int rt_ctl_explain(const struct rt_ctl *c, char **argv)
{
    struct walk w = {.c = c, .schema = "public"};
    const char *conn = NULL;
    bool named = rt_ctl_option(argv, "--conn", &conn);
    bool told = rt_ctl_option(argv, "--event", &w.event);
    char *schema = NULL;
    const char *dot;
    int rv = RT_CTL_OK;

    if (argv[0] == NULL || argv[1] == NULL || (named && conn == NULL)) {
        return rt_ctl_usage("explain takes TOPIC, TABLE, then COLUMN=VALUE of a row, --event, "
                            "--conn ID",
                            NULL);
    }
    if (told && (w.event == NULL || !is_event(w.event))) {
        return rt_ctl_usage("--event is INSERT, UPDATE or DELETE", w.event);
    }
    dot = strchr(argv[1], '.');
    w.table = dot == NULL ? argv[1] : dot + 1;
    if (dot != NULL) {
        schema = rt_strndup(argv[1], (size_t)(dot - argv[1]));
        w.schema = schema;
    }
    w.key = argv[2] == NULL ? NULL : json_object();
    for (char **arg = argv + 2; *arg != NULL && rv == RT_CTL_OK; arg++) {
        if (!take_pair(w.key, *arg)) {
            rv = rt_ctl_usage("a row is named by COLUMN=VALUE", *arg);
        }
    }
    rt_rows_init(&w.out);
    if (rv == RT_CTL_OK) {
        rv = walk_all(&w, argv[0], conn);
    }
    rt_rows_deinit(&w.out);
    json_decref(w.key);
    rt_free(schema);
    return rv;
}
