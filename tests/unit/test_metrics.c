/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/base/alloc.h"
#include "node/base/metrics.h"

struct dir {
    char path[40];
};

static int make_dir(void **state)
{
    struct dir *d = rt_calloc(1, sizeof *d);

    (void)snprintf(d->path, sizeof d->path, "/tmp/realtime-metrics-XXXXXX");
    *state = d;
    return mkdtemp(d->path) == NULL;
}

static int drop_dir(void **state)
{
    struct dir *d = *state;
    char file[60];

    (void)snprintf(file, sizeof file, "%s/metrics", d->path);
    (void)unlink(file);
    (void)rmdir(d->path);
    rt_free(d);
    return 0;
}

static void processes_share_the_file(void **state)
{
    const struct dir *d = *state;
    struct rt_metrics edge0, edge1, owner, reader;
    struct rt_error err = {0};

    assert_int_equal(rt_metrics_create(d->path, "n1", &err), 0);
    assert_int_equal(rt_metrics_open(&edge0, d->path, RT_EDGE, 0, &err), 0);
    assert_int_equal(rt_metrics_open(&edge1, d->path, RT_EDGE, RT_EDGES_MAX - 1, &err), 0);
    assert_int_equal(rt_metrics_open(&owner, d->path, RT_OWNER, 0, &err), 0);
    assert_int_equal(rt_metrics_open_reader(&reader, d->path, &err), 0);
    assert_string_equal(reader.node, "n1");
    rt_count(&edge0, RT_M_JOINS, 2);
    rt_count(&edge1, RT_M_JOINS, 3);
    rt_gauge(&edge1, RT_M_CONNECTIONS, 7);
    rt_count(&owner, RT_M_OWNER_EVENTS, 11);
    assert_int_equal(rt_metrics_get(&reader, RT_EDGE, 0, RT_M_JOINS), 2);
    assert_int_equal(rt_metrics_sum(&reader, RT_M_JOINS), 5);
    assert_int_equal(rt_metrics_sum(&edge0, RT_M_OWNER_EVENTS), 11);
    assert_int_equal(rt_metrics_get(&reader, RT_EDGE, RT_EDGES_MAX, RT_M_JOINS), 0);
    assert_null(rt_metrics_slot(&reader, RT_OWNER, 1));
    assert_int_equal(rt_metrics_slot(&reader, RT_DB, 0)->pid, 0);
    assert_int_equal(rt_metrics_slot(&reader, RT_EDGE, 0)->pid, getpid());
    /* A process that starts again goes on counting; what it holds now begins at nothing. */
    rt_metrics_close(&edge1);
    assert_int_equal(rt_metrics_open(&edge1, d->path, RT_EDGE, RT_EDGES_MAX - 1, &err), 0);
    assert_int_equal(rt_metrics_get(&reader, RT_EDGE, RT_EDGES_MAX - 1, RT_M_JOINS), 3);
    assert_int_equal(rt_metrics_get(&reader, RT_EDGE, RT_EDGES_MAX - 1, RT_M_CONNECTIONS), 0);
    rt_metrics_close(&edge0);
    rt_metrics_close(&edge1);
    rt_metrics_close(&owner);
    rt_metrics_close(&reader);
}

static void refuses(void **state)
{
    const struct dir *d = *state;
    struct rt_metrics m;
    struct rt_error err = {0};
    char file[60];
    char longer[600];
    FILE *f;

    assert_int_not_equal(rt_metrics_open(&m, d->path, RT_EDGE, 0, &err), 0); /* not created */
    assert_int_not_equal(rt_metrics_open(&m, d->path, RT_EDGE, RT_EDGES_MAX, &err), 0);
    assert_int_not_equal(rt_metrics_open(&m, d->path, RT_DB, 1, &err), 0);
    assert_int_not_equal(rt_metrics_create("/does/not/exist", "n", &err), 0);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(rt_metrics_create(longer, "n", &err), RT_ECONFIG);
    (void)snprintf(file, sizeof file, "%s/metrics", d->path);
    f = fopen(file, "we");
    assert_non_null(f);
    (void)fputs("short", f);
    (void)fclose(f);
    assert_int_equal(rt_metrics_open(&m, d->path, RT_EDGE, 0, &err), RT_EPEER);
    assert_non_null(strstr(err.text, "another version"));
    rt_metrics_close(&m);
}

static void prometheus_text(void **state)
{
    (void)state;
    struct rt_metrics m;
    size_t len;
    char *text;

    rt_metrics_private(&m);
    m.own->pid = 1;
    rt_count(&m, RT_M_JOINS, 42);
    text = rt_metrics_text(&m, "a\"b\\c\nd", &len);
    assert_int_equal(strlen(text), len);
    assert_non_null(strstr(text, "# HELP realtime_joins_total Channels joined\n"
                                 "# TYPE realtime_joins_total counter\n"
                                 "realtime_joins_total{node=\"a\\\"b\\\\c\\nd\",role=\"edge\","
                                 "index=\"0\"} 42\n"));
    assert_non_null(strstr(text, "# TYPE realtime_connections gauge\n"));
    assert_null(strstr(text, "index=\"1\"")); /* never started */
    assert_int_equal(text[len - 1], '\n');
    rt_free(text);
    rt_metrics_close(&m);
}

#define TALLY(name, project, value)                                                                \
    "realtime_project_" name "{node=\"n1\",role=\"edge\",index=\"0\",project=\"" project           \
    "\"} " value "\n"

static bool shows(const struct rt_metrics *m, const char *line)
{
    size_t len;
    char *text = rt_metrics_text(m, "n1", &len);
    bool found = strstr(text, line) != NULL;

    rt_free(text);
    return found;
}

/* Goal: figures of a project outlive its edge process, and end with the project. */
static void projects_have_their_own(void **state)
{
    const struct dir *d = *state;
    struct rt_metrics edge, owner;
    struct rt_tally *red, *blue;
    struct rt_error err = {0};

    assert_int_equal(rt_metrics_create(d->path, "n1", &err), 0);
    assert_int_equal(rt_metrics_open(&edge, d->path, RT_EDGE, 0, &err), 0);
    assert_int_equal(rt_metrics_open(&owner, d->path, RT_OWNER, 0, &err), 0);
    red = rt_metrics_tally(&edge, "red");
    blue = rt_metrics_tally(&edge, "blue");
    rt_tally_count(red, RT_M_JOINS, 2);
    rt_tally_gauge(red, RT_M_CLIENTS, 1);
    rt_tally_count(blue, RT_M_BAD_INPUT, 3);
    assert_true(shows(&owner,
                      "# HELP realtime_project_joins_total Channels joined, of one project\n"
                      "# TYPE realtime_project_joins_total counter\n"));
    assert_true(shows(&owner, TALLY("joins_total", "red", "2") TALLY("joins_total", "blue", "0")));
    assert_true(shows(&owner, TALLY("bad_input_total", "blue", "3")));
    rt_metrics_close(&edge);
    assert_int_equal(rt_metrics_open(&edge, d->path, RT_EDGE, 0, &err), 0);
    assert_int_equal(rt_metrics_tally(&edge, "blue") - rt_metrics_tally(&edge, "red"), 1);
    assert_true(shows(&owner, TALLY("joins_total", "red", "2")));
    assert_true(shows(&owner, TALLY("clients", "red", "0")));
    rt_tally_leave(rt_metrics_tally(&edge, "red"));
    rt_tally_leave(NULL);
    assert_false(shows(&owner, "project=\"red\""));
    (void)rt_metrics_tally(&edge, "green"); /* in its place, from nothing */
    assert_true(
        shows(&owner, TALLY("joins_total", "green", "0") TALLY("joins_total", "blue", "0")));
    for (uint32_t i = 2; i < RT_DBS_MAX; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "p%u", i);
        assert_non_null(rt_metrics_tally(&edge, name));
    }
    assert_null(rt_metrics_tally(&edge, "more"));
    rt_metrics_close(&edge);
    rt_metrics_close(&owner);
}

static void names(void **state)
{
    (void)state;
    enum rt_role role;

    for (uint32_t i = 0; i < RT_ROLES; i++) {
        assert_true(rt_role_parse(rt_role_name((enum rt_role)i), &role));
        assert_int_equal(role, i);
    }
    assert_false(rt_role_parse("Edge", &role));
    assert_false(rt_role_parse("", &role));
    for (uint32_t i = 0; i < RT_METRICS_COUNT; i++) {
        struct rt_metric_info a = rt_metric_info((enum rt_metric)i);
        bool total = strlen(a.name) > 6 && strcmp(a.name + strlen(a.name) - 6, "_total") == 0;

        assert_int_equal(a.kind == RT_COUNTER, total);
        assert_memory_equal(a.name, "realtime_", 9);
        for (uint32_t k = 0; k < i; k++) {
            assert_string_not_equal(a.name, rt_metric_info((enum rt_metric)k).name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(processes_share_the_file, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(refuses, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(projects_have_their_own, make_dir, drop_dir),
        cmocka_unit_test(prometheus_text),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
