/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"

/* Most topics of --top: so many names fit into one question. */
#define TOP_MAX 1000u

/* Without sections in the settings there is this one alone. */
#define ONE_PROJECT "default"

/* Texts of a row that stand for it, as a key of an object; of all nodes without `node`. */
static char *key_of(const json_t *row, bool node)
{
    const char *topic = rt_ctl_text(row, "topic");
    const char *project = rt_ctl_text(row, "project");
    const char *name = node ? rt_ctl_text(row, "node") : "";
    size_t n = strlen(topic) + strlen(project) + strlen(name) + 8;
    char *key = rt_malloc(n);

    (void)snprintf(key, n, "%s\n%s\n%d\n%s", name, project,
                   json_is_true(json_object_get(row, "private")) ? 1 : 0, topic);
    return key;
}

static void add_int(json_t *row, const char *key, json_int_t n)
{
    (void)json_object_set_new(row, key, json_integer(rt_ctl_int(row, key) + n));
}

static json_t *new_row(const json_t *from)
{
    json_t *row = json_object();

    rt_ctl_copy(row, from, "topic");
    rt_ctl_copy(row, from, "node");
    rt_ctl_copy(row, from, "private");
    (void)json_object_set_new(row, "owner", json_null());
    (void)json_object_set_new(row, "nodes", json_integer(0));
    (void)json_object_set_new(row, "edges", json_integer(0));
    (void)json_object_set_new(row, "members", json_integer(0));
    (void)json_object_set_new(row, "presences", json_integer(0));
    (void)json_object_set_new(row, "seq", json_integer(0));
    (void)json_object_set_new(row, "lost", json_integer(0));
    rt_ctl_copy(row, from, "project");
    return row;
}

/* Rows of edges say how many members, those of owners the rest: one row per node and topic. */
static json_t *join(const struct rt_rows *answer)
{
    json_t *joined = json_object();
    size_t i;
    json_t *from;

    json_array_foreach(answer->list, i, from)
    {
        char *key = key_of(from, true);
        json_t *row = json_object_get(joined, key);

        if (row == NULL) {
            row = new_row(from);
            (void)json_object_set_new(joined, key, row);
        }
        if (json_object_get(from, "members") != NULL) {
            add_int(row, "members", rt_ctl_int(from, "members"));
        } else {
            (void)json_object_update(row, from);
        }
        rt_free(key);
    }
    return joined;
}

/* Sums of the members of each topic over all nodes: key without node -> {topic, members}. */
static json_t *sums_of(const struct rt_rows *answer)
{
    json_t *sums = json_object();
    size_t i;
    json_t *from;

    json_array_foreach(answer->list, i, from)
    {
        char *key = key_of(from, false);
        json_t *sum = json_object_get(sums, key);

        if (sum == NULL) {
            sum = json_object();
            rt_ctl_copy(sum, from, "topic");
            (void)json_object_set_new(sums, key, sum);
        }
        add_int(sum, "members", rt_ctl_int(from, "members"));
        rt_free(key);
    }
    return sums;
}

/* One row, and how many members it has. */
struct ranked {
    json_t *row; /* borrowed */
    json_int_t members;
};

static int more_members(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    int rv = (x->members < y->members) - (x->members > y->members);

    return rv != 0 ? rv : strcmp(rt_ctl_text(x->row, "topic"), rt_ctl_text(y->row, "topic"));
}

/* The rows of an object, largest first; to be freed. */
static struct ranked *by_members(json_t *rows, size_t *count)
{
    struct ranked *list = rt_calloc(json_object_size(rows), sizeof *list);
    const char *key;
    json_t *row;

    *count = 0;
    json_object_foreach(rows, key, row)
    {
        list[(*count)++] = (struct ranked){row, rt_ctl_int(row, "members")};
    }
    qsort(list, *count, sizeof *list, more_members);
    return list;
}

/* Names of the `top` topics with most members; NULL: no answer. */
static json_t *largest(const struct rt_ctl *c, uint32_t top, bool *problem)
{
    struct rt_rows answer;
    json_t *names = NULL;

    rt_rows_init(&answer);
    if (rt_ctl_ask(c, "topics", json_pack("{s:i}", "top", (int)top), &answer, problem)) {
        json_t *sums = sums_of(&answer);
        json_t *seen = json_object();
        size_t n;
        struct ranked *list = by_members(sums, &n);

        names = json_array();
        for (size_t i = 0; i < n && i < top; i++) {
            const char *topic = rt_ctl_text(list[i].row, "topic");

            /* One of two projects is one name, and asked for once: members are added up. */
            if (json_object_get(seen, topic) == NULL) {
                (void)json_object_set_new(seen, topic, json_true());
                (void)json_array_append_new(names, json_string(topic));
            }
        }
        json_decref(seen);
        rt_free(list);
        json_decref(sums);
    }
    rt_rows_deinit(&answer);
    return names;
}

/* One line per topic: what its owner says, and sums over all nodes. */
static void add_to_table(json_t *table, const json_t *row)
{
    char *key = key_of(row, false);
    json_t *line = json_object_get(table, key);

    if (line == NULL) {
        line = json_object();
        rt_ctl_copy(line, row, "topic");
        if (strcmp(rt_ctl_text(row, "project"), ONE_PROJECT) != 0) {
            rt_ctl_copy(line, row, "project");
        }
        rt_ctl_copy(line, row, "owner");
        (void)json_object_set_new(line, "nodes", json_integer(0));
        (void)json_object_set_new(line, "members", json_integer(0));
        (void)json_object_set_new(line, "pres", json_integer(0));
        (void)json_object_set_new(line, "seq", json_integer(0));
        (void)json_object_set_new(line, "lost", json_integer(0));
        (void)json_object_set_new(table, key, line);
    }
    add_int(line, "nodes", 1);
    add_int(line, "members", rt_ctl_int(row, "members"));
    add_int(line, "lost", rt_ctl_int(row, "lost"));
    if (rt_ctl_int(row, "presences") > rt_ctl_int(line, "pres")) {
        (void)json_object_set(line, "pres", json_object_get(row, "presences"));
    }
    if (strcmp(rt_ctl_text(row, "owner"), rt_ctl_text(row, "node")) == 0) {
        rt_ctl_copy(line, row, "owner");
        rt_ctl_copy(line, row, "seq");
    }
    rt_free(key);
}

static void print_topics(const struct rt_ctl *c, const struct rt_rows *answer)
{
    json_t *joined = join(answer);
    json_t *table = json_object();
    struct rt_rows out;
    const char *key;
    json_t *row;
    size_t n;
    struct ranked *list;

    rt_rows_init(&out);
    json_object_foreach(joined, key, row)
    {
        if (c->json) {
            rt_rows_add(&out, json_incref(row));
        } else {
            add_to_table(table, row);
        }
    }
    list = by_members(table, &n);
    for (size_t i = 0; i < n; i++) {
        rt_rows_add(&out, json_incref(list[i].row));
    }
    if (c->json) {
        rt_rows_sort(&out, "topic", "node");
    }
    rt_rows_print(&out, c->json);
    rt_free(list);
    rt_rows_deinit(&out);
    json_decref(table);
    json_decref(joined);
}

int rt_ctl_topics(const struct rt_ctl *c, char **argv)
{
    const char *text = NULL;
    bool has_top = rt_ctl_option(argv, "--top", &text);
    uint32_t top = 0;
    json_t *args = json_object();
    struct rt_rows answer;
    bool problem = false;

    if (*argv != NULL || (has_top && (text == NULL || !rt_ctl_number(text, TOP_MAX, &top)))) {
        json_decref(args);
        return rt_ctl_usage("topics takes --top N, a number from 1 to 1000", *argv);
    }
    if (has_top) {
        json_t *names = largest(c, top, &problem);

        if (names == NULL) {
            json_decref(args);
            return RT_CTL_PROBLEM;
        }
        (void)json_object_set_new(args, "names", names);
    }
    rt_rows_init(&answer);
    if (rt_ctl_ask(c, "topics", args, &answer, &problem)) {
        print_topics(c, &answer);
    }
    rt_rows_deinit(&answer);
    return problem ? RT_CTL_PROBLEM : RT_CTL_OK;
}
