/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/base/config_in.h"

#define SECRET "REALTIME_JWT_SECRET=0123456789abcdef0123456789abcdef"

#define INSECURE "REALTIME_CLUSTER_INSECURE=on"
/* 0, 1, 2 ... 31 with padding; others without, in the other alphabet, and one byte short. */
#define KEY_A  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B  "_v38-_r5-Pf29fTz8vHw7-7t7Ovq6ejn5uXk4-Lh4N8"
#define KEY_C  "/v38+/r5+Pf29fTz8vHw7+7t7Ovq6ejn5uXk4+Lh4N4="
#define KEY_31 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg"

static int load(struct rt_config *cfg, struct rt_config_report *r, const char *const *extra)
{
    char *env[16];
    size_t n = 0;

    for (; *extra != NULL; extra++) {
        env[n] = strdup(*extra);
        n++;
    }
    env[n] = NULL;
    int rv = rt_config_load(cfg, env, NULL, r);

    while (n > 0) {
        n--;
        free(env[n]);
    }
    return rv;
}

static void defaults(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {SECRET, "UNRELATED=1", NULL};

    assert_int_equal(load(&cfg, &r, env), 0);
    assert_int_equal(r.count, 0);
    assert_string_equal(cfg.listen, "0.0.0.0:4000");
    assert_string_equal(cfg.admin_listen, "127.0.0.1:4001");
    assert_string_equal(cfg.runtime_dir, "/run/realtime");
    assert_string_equal(cfg.projects[0].project, "default");
    assert_string_equal(cfg.publication, "supabase_realtime");
    assert_string_equal(cfg.migrate, "on");
    assert_string_equal(cfg.expired_event, "close");
    assert_null(cfg.database_url);
    assert_null(cfg.database_check_url);
    assert_non_null(cfg.node);
    assert_in_range(cfg.edges, 1, 64);
    assert_in_range(cfg.max_topics, 10000, 1000000);
    assert_in_range(cfg.max_presences, 10000, 1000000);
    assert_int_equal(cfg.max_clients, 0);
    assert_int_equal(cfg.idle_timeout_ms, 75000);
    assert_int_equal(cfg.token_grace_ms, 10000);
    assert_false(cfg.limits_supabase);
    assert_false(cfg.delete_rls);
    assert_false(cfg.clustered);
    assert_null(cfg.cluster_seeds);
    assert_null(cfg.cluster_key);
    assert_null(cfg.cluster_advertise);
    assert_null(cfg.zone);
    assert_string_equal(cfg.cluster_listen, "0.0.0.0:7946");
    assert_string_equal(cfg.cluster_name, "realtime");
    assert_int_equal(cfg.cluster_expect, 0);
    assert_int_equal(cfg.weight, 100);
    assert_int_equal(rt_config_log_level(&cfg), RT_INFO);
    rt_config_free(&cfg);
}

static void values(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {SECRET,
                         "REALTIME_EDGES=3",
                         "REALTIME_DELETE_RLS=True",
                         "REALTIME_PRIVATE_ONLY=1",
                         "REALTIME_CHANGES_LSN=off",
                         "REALTIME_SECRET_KEYS= sb_secret_a ,,sb_secret_b,",
                         "REALTIME_DATABASE_URL=postgres://u@h/d",
                         "REALTIME_MIGRATE=PRINT",
                         "REALTIME_LOG_LEVEL=debug",
                         "REALTIME_NODE=",
                         NULL};

    assert_int_equal(load(&cfg, &r, env), 0);
    assert_int_equal(cfg.edges, 3);
    assert_true(cfg.delete_rls);
    assert_true(cfg.private_only);
    assert_false(cfg.changes_lsn);
    assert_int_equal(cfg.secret_keys.count, 2);
    assert_string_equal(cfg.secret_keys.items[0], "sb_secret_a");
    assert_string_equal(cfg.secret_keys.items[1], "sb_secret_b");
    assert_string_equal(cfg.database_check_url, "postgres://u@h/d");
    assert_string_equal(cfg.migrate, "print");
    assert_int_equal(rt_config_log_level(&cfg), RT_DEBUG);
    assert_non_null(cfg.node); /* empty is unset */
    rt_config_free(&cfg);
}

static void supabase_limits(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {SECRET, "REALTIME_LIMITS=Supabase", "REALTIME_MAX_CLIENTS=7", NULL};

    assert_int_equal(load(&cfg, &r, env), 0);
    assert_true(cfg.limits_supabase);
    assert_int_equal(cfg.max_clients, 7);
    assert_int_equal(cfg.max_events_per_second, 100);
    assert_int_equal(cfg.token_grace_ms, 0);
    assert_int_equal(cfg.idle_timeout_ms, 60000);
    rt_config_free(&cfg);
}

static void aliases(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {"API_JWT_SECRET=super-secret-jwt-token-with-at-least-32-characters",
                         "PORT=4100",
                         "DB_HOST=db",
                         "DB_PASSWORD=p@ss/w:rd",
                         "DB_USER=supabase_admin",
                         "JWT_CLAIM_VALIDATORS={}",
                         NULL};

    assert_int_equal(load(&cfg, &r, env), 0);
    assert_string_equal(cfg.listen, "0.0.0.0:4100");
    assert_string_equal(cfg.jwt_secret, "super-secret-jwt-token-with-at-least-32-characters");
    assert_string_equal(cfg.database_url,
                        "postgresql://supabase_admin:p%40ss%2Fw%3Ard@db:5432/postgres");
    assert_string_equal(cfg.jwt_claims, "{}");
    rt_config_free(&cfg);
}

static void own_name_before_alias(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {SECRET, "API_JWT_SECRET=other", "PORT=1", "REALTIME_LISTEN=[::1]:2", NULL};

    assert_int_equal(load(&cfg, &r, env), 0);
    assert_string_equal(cfg.jwt_secret, "0123456789abcdef0123456789abcdef");
    assert_string_equal(cfg.listen, "[::1]:2");
    rt_config_free(&cfg);
}

static void by_memory(void **state)
{
    (void)state;
    assert_int_equal(rt_config_by_memory(0, 1024), 10000);
    assert_int_equal(rt_config_by_memory(UINT64_C(512) << 20, 2048), 65536);
    assert_int_equal(rt_config_by_memory(UINT64_C(64) << 30, 1024), 1000000);
}

/* Each row: two settings that make a node look for others. */
static void clusters(void **state)
{
    (void)state;
    static const struct {
        const char *set, *and;
        uint32_t notes;
    } rows[] = {
        {"REALTIME_CLUSTER_KEY=" KEY_A, NULL, 0},
        {"REALTIME_CLUSTER_KEY=" KEY_B, NULL, 0},
        {"REALTIME_CLUSTER_KEY= " KEY_A " , " KEY_B ",\t" KEY_C, "REALTIME_CLUSTER_EXPECT=3", 0},
        {"REALTIME_CLUSTER_SEEDS=realtime:7946", "REALTIME_CLUSTER_KEY=" KEY_C, 0},
        {"REALTIME_CLUSTER_SEEDS=10.0.0.1:7946, [fd00::1]:1 ,my_host-1.example.org:65535", INSECURE,
         1},
        {"REALTIME_CLUSTER_ADVERTISE=10.0.0.5:7946", INSECURE, 1},
        {"REALTIME_CLUSTER_ADVERTISE=[fd00::5]:7946", "REALTIME_CLUSTER_KEY=" KEY_A, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_config cfg;
        struct rt_config_report r;
        const char *env[] = {SECRET, "REALTIME_NODE=web-1", rows[i].set, rows[i].and, NULL};

        if (load(&cfg, &r, env) != 0) {
            fail_msg("%s: %s", rows[i].set, r.notes[0].text);
        }
        assert_int_equal(r.count, rows[i].notes);
        assert_true(cfg.clustered);
        rt_config_free(&cfg);
    }
}

/* A key that is nearly right is not told to the log. */
static void keys_are_not_shown(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {SECRET, "REALTIME_CLUSTER_KEY=hiddenhiddenhidden", NULL};

    assert_int_equal(load(&cfg, &r, env), RT_ECONFIG);
    assert_null(strstr(r.notes[0].text, "hidden"));
    rt_config_free(&cfg);
}

static void node_names(void **state)
{
    (void)state;
    assert_true(rt_config_node_name("a"));
    assert_true(rt_config_node_name("A-z.0_9"));
    assert_true(
        rt_config_node_name("012345678901234567890123456789012345678901234567890123456789012"));
    assert_false(
        rt_config_node_name("0123456789012345678901234567890123456789012345678901234567890123"));
    assert_false(rt_config_node_name(""));
    assert_false(rt_config_node_name("a:b"));
    assert_false(rt_config_node_name("\xc3\xa9"));
}

/* Each row: two settings that are wrong, and what the text must name. */
static const struct {
    const char *set, *and, *named;
} wrong[] = {
    {"REALTIME_JWT_SECRET=", NULL, "REALTIME_JWT_JWKS"},
    {"REALTIME_JWT_JWKS={not json", NULL, "REALTIME_JWT_JWKS"},
    {"REALTIME_JWT_JWKS=/does/not/exist", NULL, "REALTIME_JWT_JWKS"},
    {"REALTIME_JWT_CLAIMS=iss", NULL, "REALTIME_JWT_CLAIMS"},
    {"REALTIME_JWT_CLAIMS={\"iss\":}", NULL, "REALTIME_JWT_CLAIMS"},
    {"REALTIME_LISTEN=nowhere", NULL, "REALTIME_LISTEN"},
    {"REALTIME_LISTEN=1.2.3.4", NULL, "REALTIME_LISTEN"},
    {"REALTIME_LISTEN=1.2.3.4:", NULL, "REALTIME_LISTEN"},
    {"REALTIME_LISTEN=1.2.3.4:0", NULL, "1 to 65535"},
    {"REALTIME_LISTEN=1.2.3.4:65536", NULL, "1 to 65535"},
    {"REALTIME_LISTEN=1.2.3.4:4e3", NULL, "REALTIME_LISTEN"},
    {"REALTIME_LISTEN=1.2.3.4.5:4", NULL, "REALTIME_LISTEN"},
    {"REALTIME_LISTEN=[::x]:4", NULL, "REALTIME_LISTEN"},
    {"REALTIME_LISTEN=127.0.0.1:4001", NULL, "must differ"},
    {"REALTIME_ADMIN_LISTEN=0.0.0.0:4001", NULL, "REALTIME_ADMIN_TOKEN"},
    {"REALTIME_ADMIN_LISTEN=on", NULL, "REALTIME_ADMIN_LISTEN"},
    {"REALTIME_TLS_CERT=/dev/null", NULL, "without REALTIME_TLS_KEY"},
    {"REALTIME_TLS_KEY=/dev/null", NULL, "without REALTIME_TLS_CERT"},
    {"REALTIME_TLS_KEY=/dev/null", "REALTIME_TLS_CERT=/does/not/exist", "cannot be read"},
    {"REALTIME_EDGES=0", NULL, "from 1 to 64"},
    {"REALTIME_EDGES=65", NULL, "from 1 to 64"},
    {"REALTIME_EDGES=many", NULL, "'many'"},
    {"REALTIME_EDGES= 2", NULL, "REALTIME_EDGES"},
    {"REALTIME_EDGES=4294967298", NULL, "REALTIME_EDGES"},
    {"REALTIME_IDLE_TIMEOUT_MS=-5", NULL, "REALTIME_IDLE_TIMEOUT_MS"},
    {"REALTIME_DELETE_RLS=maybe", NULL, "on or off"},
    {"REALTIME_MIGRATE=yes", NULL, "on|off|print"},
    {"REALTIME_LIMITS=none", NULL, "default|supabase"},
    {"REALTIME_DATABASE_URL=here", NULL, "postgresql://"},
    {"REALTIME_DATABASE_CHECK_URL=postgres://x/y", NULL, "without REALTIME_DATABASE_URL"},
    {"REALTIME_RUNTIME_DIR=run", NULL, "start with /"},
    {"REALTIME_RUNTIME_DIR=/"
     "0123456789012345678901234567890123456789012345678901234567890123456789"
     "012345678901234567890123456789",
     NULL, "REALTIME_RUNTIME_DIR"},
    {"REALTIME_NODE=a b", NULL, "REALTIME_NODE"},
    {"REALTIME_NODE=a/b", NULL, "1 to 63"},
    {"REALTIME_NODE=b\xc3\xbc", NULL, "A-Z a-z 0-9"},
    {"REALTIME_NODE=0123456789012345678901234567890123456789012345678901234567890123", NULL,
     "1 to 63"},
    {"REALTIME_CLUSTER_SEEDS=web-1:7946", NULL, "without REALTIME_CLUSTER_KEY; make one with"},
    {"REALTIME_CLUSTER_SEEDS=web-1", INSECURE, "host:port"},
    {"REALTIME_CLUSTER_SEEDS=web-1:", INSECURE, "1 to 65535"},
    {"REALTIME_CLUSTER_SEEDS=web-1:0", INSECURE, "1 to 65535"},
    {"REALTIME_CLUSTER_SEEDS=web-1:65536", INSECURE, "1 to 65535"},
    {"REALTIME_CLUSTER_SEEDS=web-1:7946,web-2:http", INSECURE, "seed 2"},
    {"REALTIME_CLUSTER_SEEDS=web-1:7946,,web-2:7946", INSECURE, "seed 2"},
    {"REALTIME_CLUSTER_SEEDS=web-1:7946,", INSECURE, "empty"},
    {"REALTIME_CLUSTER_SEEDS=web 1:7946", INSECURE, "must be a name"},
    {"REALTIME_CLUSTER_SEEDS=http://web:7946", INSECURE, "must be a name"},
    {"REALTIME_CLUSTER_SEEDS=::1:7946", INSECURE, "in brackets"},
    {"REALTIME_CLUSTER_SEEDS=[::x]:7946", INSECURE, "address"},
    {"REALTIME_CLUSTER_SEEDS=[::1:7946", INSECURE, "address"},
    {"REALTIME_CLUSTER_SEEDS=10.7:7946", INSECURE, "address"},
    {"REALTIME_CLUSTER_SEEDS=10.0.0.256:7946", INSECURE, "address"},
    {"REALTIME_CLUSTER_SEEDS=:7946", INSECURE, "address"},
    {"REALTIME_CLUSTER_SEEDS=*:7946", INSECURE, "must be a name"},
    {"REALTIME_CLUSTER_KEY=secret", NULL, "key 1 of REALTIME_CLUSTER_KEY has 6 characters"},
    {"REALTIME_CLUSTER_KEY=" KEY_31 "==", NULL, "not 32 bytes in base64"},
    {"REALTIME_CLUSTER_KEY=" KEY_A "A", NULL, "not 32 bytes in base64"},
    {"REALTIME_CLUSTER_KEY=" KEY_A ",", NULL, "key 2"},
    {"REALTIME_CLUSTER_KEY=" KEY_A ",AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8!", NULL, "key 2"},
    {"REALTIME_CLUSTER_KEY=" KEY_A, INSECURE, "take one of them out"},
    {"REALTIME_CLUSTER_INSECURE=perhaps", NULL, "on or off"},
    {"REALTIME_CLUSTER_LISTEN=7946", NULL, "REALTIME_CLUSTER_LISTEN"},
    {"REALTIME_CLUSTER_LISTEN=node:7946", NULL, "address:port"},
    {"REALTIME_CLUSTER_LISTEN=0.0.0.0:4000", INSECURE, "must differ"},
    {"REALTIME_CLUSTER_LISTEN=127.0.0.1:4001", INSECURE, "must differ"},
    {"REALTIME_CLUSTER_ADVERTISE=node-1", NULL, "REALTIME_CLUSTER_ADVERTISE"},
    {"REALTIME_CLUSTER_ADVERTISE=node-1:7946", NULL, "REALTIME_CLUSTER_ADVERTISE"},
    {"REALTIME_CLUSTER_ADVERTISE=0.0.0.0:7946", NULL, "nobody can reach"},
    {"REALTIME_CLUSTER_ADVERTISE=[::]:7946", NULL, "nobody can reach"},
    {"REALTIME_CLUSTER_NAME=my cluster", NULL, "REALTIME_CLUSTER_NAME"},
    {"REALTIME_CLUSTER_EXPECT=3", NULL, "this node is alone"},
    {"REALTIME_CLUSTER_EXPECT=257", INSECURE, "from 0 to 256"},
    {"REALTIME_WEIGHT=0", NULL, "from 1 to 1000"},
    {"REALTIME_WEIGHT=1001", NULL, "from 1 to 1000"},
    {"REALTIME_ZONE=a,b", NULL, "REALTIME_ZONE"},
    {"REALTIME_MAX_QUEUE_BYTES=65536", NULL, "REALTIME_MAX_QUEUE_BYTES"},
};

static void refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct rt_config cfg;
        struct rt_config_report r;
        bool secret = strncmp(wrong[i].set, "REALTIME_JWT_SECRET", 19) != 0;
        const char *env[] = {
            wrong[i].set, wrong[i].and != NULL ? wrong[i].and : "X=", secret ? SECRET : NULL, NULL};
        bool named = false;

        assert_int_equal(load(&cfg, &r, env), RT_ECONFIG);
        for (uint32_t k = 0; k < r.count; k++) {
            named = named || (r.notes[k].fatal && strstr(r.notes[k].text, wrong[i].named) != NULL);
        }
        if (!named) {
            fail_msg("%s: %s not named in: %s", wrong[i].set, wrong[i].named, r.notes[0].text);
        }
        rt_config_free(&cfg);
    }
}

static void warns(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {"REALTIME_JWT_SECRET=short", "REALTIME_MAX_CLEINTS=4", NULL};

    assert_int_equal(load(&cfg, &r, env), 0);
    assert_int_equal(r.count, 2);
    assert_non_null(strstr(r.notes[0].text, "REALTIME_MAX_CLEINTS"));
    assert_non_null(strstr(r.notes[1].text, "5 bytes"));
    assert_null(strstr(r.notes[1].text, "short"));
    rt_config_free(&cfg);
}

static int load_file(const char *text, struct rt_config *cfg, struct rt_config_report *r)
{
    char path[] = "/tmp/realtime-config-XXXXXX";
    int fd = mkstemp(path);
    char env0[] = "REALTIME_EDGES=5";
    char *env[] = {env0, NULL};

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    int rv = rt_config_load(cfg, env, path, r);

    (void)unlink(path);
    return rv;
}

static void file(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    char text[1200];
    char secret[1001];

    memset(secret, 's', sizeof secret - 1);
    secret[sizeof secret - 1] = '\0';
    (void)snprintf(text, sizeof text,
                   "# comment\n; another\nrealtime_edges = 2\nREALTIME_JWT_SECRET = %s\n"
                   "realtime_node = a-b.c_9\nrealtime_jwt_claims = {\"iss\": \"a ;b\"}\n",
                   secret);
    assert_int_equal(load_file(text, &cfg, &r), 0);
    assert_int_equal(cfg.edges, 5); /* the environment goes before the file */
    assert_string_equal(cfg.jwt_secret, secret);
    assert_string_equal(cfg.node, "a-b.c_9");
    assert_string_equal(cfg.jwt_claims, "{\"iss\": \"a ;b\"}");
    rt_config_free(&cfg);
}

static void file_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *named;
    } rows[] = {
        {"realtime_jwt_secret = 0123456789abcdef0123456789abcdef\nrealtime_jwt\n", "line 2"},
        {"realtime_edgse = 2\n", "realtime_edgse"},
        {"[project a]\nrealtime_edges = 2\n", "[project a]"},
        {"[projects]\njwt_secret = x\n", "[project NAME]"},
        {"[project a.b]\njwt_secret = x\n", "[project a.b]"},
        {"[project a]\njwt_secrets = x\n", "jwt_secrets"},
        {"[project a]\njwt_secret = x\nrealtime_jwt_secret = y\n", "twice"},
        {"realtime_edges = 2\nrealtime_edges = 3\n", "twice"},
        {"realtime_jwt_secret =\n", "REALTIME_JWT_SECRET"},
    };
    struct rt_config cfg;
    struct rt_config_report r;
    char *env[] = {NULL};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(load_file(rows[i].text, &cfg, &r), RT_ECONFIG);
        if (strstr(r.notes[0].text, rows[i].named) == NULL) {
            fail_msg("%s not named in: %s", rows[i].named, r.notes[0].text);
        }
        rt_config_free(&cfg);
    }
    assert_int_equal(rt_config_load(&cfg, env, "/does/not/exist", &r), RT_ECONFIG);
    assert_non_null(strstr(r.notes[0].text, "/does/not/exist"));
    rt_config_free(&cfg);
}

static void addresses(void **state)
{
    (void)state;
    struct sockaddr_storage a;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a;
    const char *why;

    assert_int_equal(rt_config_address("*:80", &a, &why), sizeof *v4);
    assert_int_equal(v4->sin_addr.s_addr, 0);
    assert_int_equal(ntohs(v4->sin_port), 80);
    assert_int_equal(rt_config_address(":81", &a, &why), sizeof *v4);
    assert_int_equal(rt_config_address("localhost:82", &a, &why), sizeof *v4);
    assert_int_equal(ntohl(v4->sin_addr.s_addr), 0x7f000001);
    assert_int_equal(rt_config_address("[::1]:83", &a, &why), sizeof *v6);
    assert_int_equal(ntohs(v6->sin6_port), 83);
}

/* Nothing secret is printed by --check. */
static void prints_no_secret(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *env[] = {"REALTIME_JWT_SECRET=the-hidden-word-the-hidden-word-",
                         "REALTIME_DATABASE_URL=postgres://hidden@h/d",
                         "REALTIME_SECRET_KEYS=sb_secret_hidden1,sb_secret_hidden2",
                         "REALTIME_CLUSTER_KEY=" KEY_A, NULL};
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(f);
    assert_int_equal(load(&cfg, &r, env), 0);
    rt_config_print(&cfg, f);
    rt_config_help(f);
    (void)fclose(f);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "REALTIME_JWT_SECRET=(set)\n"));
    assert_non_null(strstr(text, "REALTIME_SECRET_KEYS=(2 set)\n"));
    assert_non_null(strstr(text, "REALTIME_CLUSTER_KEY=(set)\n"));
    assert_null(strstr(text, KEY_A));
    assert_non_null(strstr(text, "REALTIME_MAX_CHANNELS_PER_CLIENT=100"));
    free(text);
    rt_config_free(&cfg);
}

static void jwks_file(void **state)
{
    (void)state;
    static const char set[] =
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZg\"}]}";
    struct rt_config cfg = {.jwt_jwks = NULL};
    struct rt_error err = {0};
    char path[] = "/tmp/realtime-jwks-XXXXXX";
    int fd = mkstemp(path);
    char *text;

    assert_int_equal(rt_config_jwks(&cfg, &text, &err), 0);
    assert_null(text);
    assert_int_equal(write(fd, set, sizeof set - 1), (ssize_t)sizeof set - 1);
    (void)close(fd);
    cfg.jwt_jwks = path;
    assert_int_equal(rt_config_jwks(&cfg, &text, &err), 0);
    assert_string_equal(text, set);
    free(text);
    (void)unlink(path);
    assert_int_not_equal(rt_config_jwks(&cfg, &text, &err), 0);
    assert_non_null(strstr(err.text, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(by_memory),
        cmocka_unit_test(values),
        cmocka_unit_test(supabase_limits),
        cmocka_unit_test(aliases),
        cmocka_unit_test(refuses),
        cmocka_unit_test(own_name_before_alias),
        cmocka_unit_test(warns),
        cmocka_unit_test(file),
        cmocka_unit_test(file_refused),
        cmocka_unit_test(addresses),
        cmocka_unit_test(jwks_file),
        cmocka_unit_test(prints_no_secret),
        cmocka_unit_test(clusters),
        cmocka_unit_test(keys_are_not_shown),
        cmocka_unit_test(node_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
