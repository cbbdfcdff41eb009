/* SPDX-License-Identifier: Apache-2.0 */
/* Sections of the file: a set of settings for each project. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/base/config.h"

static int load_file(const char *text, struct rt_config *cfg, struct rt_config_report *r)
{
    char path[] = "/tmp/config-XXXXXX";
    char *env[] = {NULL};
    int fd = mkstemp(path);
    int rv;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    rv = rt_config_load(cfg, env, path, r);
    (void)unlink(path);
    return rv;
}

#define SECTIONS                                                                                   \
    "realtime_max_channels_per_client = 7\nrealtime_jwt_secret = unused\n"                         \
    "[project Red]\njwt_secret = 0123456789abcdef0123456789abcdef\nmax_clients = 3\n"              \
    "[project blue]\njwt_secret = fedcba9876543210fedcba9876543210\nlimits = supabase\n"           \
    "aliases = navy, SEA\nrealtime_max_client_presence_events = 9\n"

/* Goal: each project has its own values, those of the node behind them, and never another's keys.
 */
static void projects(void **state)
{
    struct rt_config cfg;
    struct rt_config_report r;
    const struct rt_config *red, *blue;

    (void)state;
    assert_int_equal(load_file(SECTIONS, &cfg, &r), 0);
    assert_int_equal(cfg.nprojects, 2);
    assert_true(cfg.sections);
    red = rt_config_project(&cfg, pr_str("red"));
    blue = rt_config_project(&cfg, pr_str("blue"));
    assert_string_equal(red->jwt_secret, "0123456789abcdef0123456789abcdef");
    assert_int_equal(red->max_channels_per_client, 7);
    assert_int_equal(red->max_clients, 3);
    assert_false(red->limits_supabase);
    assert_true(blue->limits_supabase);
    assert_int_equal(blue->max_clients, 200);
    assert_int_equal(blue->max_channels_per_client, 7);
    assert_int_equal(blue->max_client_presence_events, 9);
    assert_int_equal(red->edges, cfg.edges);
    assert_int_equal(r.count, 1); /* the secret above the sections */
    assert_non_null(strstr(r.notes[0].text, "REALTIME_JWT_SECRET (file) is not used"));
    assert_null(rt_config_project(&cfg, pr_str("default")));
    rt_config_free(&cfg);
}

static void hosts(void **state)
{
    static const struct {
        const char *host, *project;
    } rows[] = {{"red", "red"},
                {"RED.example.com:80", "red"},
                {"navy.blue", "blue"},
                {"sea", "blue"},
                {"realtime-dev.x", "red"},
                {"redx", NULL},
                {"localhost", NULL},
                {"", NULL},
                {"[::1]:4000", NULL},
                {"127.0.0.1:1", NULL},
                {".red", NULL}};
    struct rt_config cfg;
    struct rt_config_report r;

    (void)state;
    assert_int_equal(load_file(SECTIONS, &cfg, &r), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct rt_config *p = rt_config_host(&cfg, pr_str(rows[i].host));

        if ((p == NULL) != (rows[i].project == NULL) ||
            (p != NULL && strcmp(p->project, rows[i].project) != 0)) {
            fail_msg("%s means %s", rows[i].host, p == NULL ? "nothing" : p->project);
        }
    }
    rt_config_free(&cfg);
    assert_int_equal(
        load_file("realtime_jwt_secret = 0123456789abcdef0123456789abcdef\n", &cfg, &r), 0);
    assert_string_equal(rt_config_host(&cfg, pr_str("nope"))->project, "default");
    rt_config_free(&cfg);
}

static void projects_that_collide(void **state)
{
    static const struct {
        const char *text, *named;
    } rows[] = {
        {"[project a]\njwt_secret = 0123456789abcdef0123456789abcdef\ndatabase_url = host=x\n"
         "[project b]\njwt_secret = 0123456789abcdef0123456789abcdef\ndatabase_url = host=x\n",
         "[project b] REALTIME_DATABASE_URL is that of project a too"},
        {"[project a]\njwt_secret = 0123456789abcdef0123456789abcdef\naliases = B\n"
         "[project b]\njwt_secret = 0123456789abcdef0123456789abcdef\n",
         "[project a] REALTIME_ALIASES has B, which already means project b"},
        {"[project a]\nmax_clients = 1\n", "[project a] neither REALTIME_JWT_SECRET nor"},
    };
    struct rt_config cfg;
    struct rt_config_report r;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(load_file(rows[i].text, &cfg, &r), RT_ECONFIG);
        if (strstr(r.notes[0].text, rows[i].named) == NULL) {
            fail_msg("%s not in: %s", rows[i].named, r.notes[0].text);
        }
        rt_config_free(&cfg);
    }
}

/* Goal: what makes a db process start anew, what the node, and what neither. */
static void differences(void **state)
{
    static const struct {
        const char *line, *db, *node;
    } rows[] = {{"database_url = host=x", "REALTIME_DATABASE_URL", NULL},
                {"rls_claims = sub", "REALTIME_RLS_CLAIMS", NULL},
                {"max_payload_kb = 5", "REALTIME_MAX_PAYLOAD_KB", NULL},
                {"max_clients = 9", NULL, NULL},
                {"", NULL, NULL}};
    struct rt_config was, is;
    struct rt_config_report r;
    char text[1024];

    (void)state;
    assert_int_equal(load_file(SECTIONS, &was, &r), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *db;

        (void)snprintf(text, sizeof text, "%s%s\n", SECTIONS, rows[i].line);
        assert_int_equal(load_file(text, &is, &r), 0);
        db = rt_config_differs(&was.projects[1], &is.projects[1], RT_PART_DB);
        assert_int_equal(db == NULL, rows[i].db == NULL);
        assert_true(db == NULL || strcmp(db, rows[i].db) == 0);
        assert_null(rt_config_differs(&was.projects[0], &is.projects[0], RT_PART_DB));
        assert_null(rt_config_differs(&was, &is, RT_PART_NODE));
        rt_config_free(&is);
    }
    assert_int_equal(load_file("realtime_zone = z\nrealtime_cluster_key = k\n" SECTIONS, &is, &r),
                     RT_ECONFIG); /* the key is none, but that is compared nowhere */
    assert_string_equal(rt_config_differs(&was, &is, RT_PART_NODE), "REALTIME_ZONE");
    rt_config_free(&is);
    rt_config_free(&was);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projects),
        cmocka_unit_test(hosts),
        cmocka_unit_test(projects_that_collide),
        cmocka_unit_test(differences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
