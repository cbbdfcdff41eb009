/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what Supabase's container reads from its environment is taken, or it is said that it is
 * not; nobody else hears of its names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/config.h"

#define SECRET "API_JWT_SECRET=super-secret-jwt-token-with-at-least-32-characters"
#define OURS   "REALTIME_JWT_SECRET=0123456789abcdef0123456789abcdef"
#define URL    "postgresql://supabase_admin:postgres@db:5432/postgres"
#define CERT   "/proc/self/status" /* a file that is there */

/* Loads up to four variables; each is copied, as those of a process are. */
static int load(struct rt_config *cfg, struct rt_config_report *r, const char *const *set)
{
    static char text[4][512];
    char *env[5] = {NULL};

    for (size_t i = 0; i < 4 && set[i] != NULL; i++) {
        (void)snprintf(text[i], sizeof text[i], "%s", set[i]);
        env[i] = text[i];
    }
    return rt_config_load(cfg, env, NULL, r);
}

/* Notes in which `text` stands. */
static uint32_t said(const struct rt_config_report *r, const char *text)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->count; i++) {
        n += strstr(r->notes[i].text, text) != NULL ? 1 : 0;
    }
    return n;
}

static void tls_of_the_database(void **state)
{
    (void)state;
    static const struct {
        const char *set[2];
        const char *url, *note; /* note NULL: nothing is said */
        bool fatal;
    } rows[] = {
        {{"DB_SSL=true"}, URL "?sslmode=require", NULL, false},
        {{"DB_SSL=True"}, URL "?sslmode=require", NULL, false},
        {{"DB_SSL=false"}, URL, NULL, false},
        {{"DB_SSL="}, URL, NULL, false},
        {{"DB_SSL=maybe"}, URL, "DB_SSL is 'maybe'", true},
        {{"DB_SSL=true", "DB_SSL_CA_CERT=" CERT},
         URL "?sslmode=verify-ca&sslrootcert=%2Fproc%2Fself%2Fstatus",
         NULL,
         false},
        {{"DB_SSL=true", "DB_SSL_CA_CERT=/nowhere/ca.pem"},
         URL "?sslmode=verify-ca&sslrootcert=%2Fnowhere%2Fca.pem",
         "DB_SSL_CA_CERT must name a file",
         true},
        {{"DB_SSL_CA_CERT=" CERT}, URL, "no effect without DB_SSL=true", false},
        {{"DB_SSL=true", "REALTIME_DATABASE_URL=postgres://u@h/d"},
         "postgres://u@h/d",
         "to REALTIME_DATABASE_URL",
         false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_config cfg;
        struct rt_config_report r;
        const char *set[] = {SECRET, "DB_HOST=db", rows[i].set[0], rows[i].set[1]};

        assert_int_equal(load(&cfg, &r, set), rows[i].fatal ? RT_ECONFIG : RT_OK);
        assert_string_equal(cfg.database_url, rows[i].url);
        assert_string_equal(cfg.database_check_url, rows[i].url);
        assert_int_equal(r.count, rows[i].note == NULL ? 0 : 1);
        assert_int_equal(rows[i].note == NULL ? 0 : said(&r, rows[i].note), r.count);
        rt_config_free(&cfg);
    }
}

static void limits(void **state)
{
    (void)state;
    struct rt_config cfg;
    struct rt_config_report r;
    const char *tenant[] = {OURS, "TENANT_MAX_CONCURRENT_USERS=7", "TENANT_MAX_EVENTS_PER_SECOND=8",
                            "TENANT_MAX_JOINS_PER_SECOND=9"};
    const char *client[] = {OURS, "TENANT_MAX_CHANNELS_PER_CLIENT=3", "CLIENT_PRESENCE_MAX_CALLS=4",
                            "CLIENT_PRESENCE_WINDOW_MS=5000"};
    const char *both[] = {OURS, "REALTIME_MAX_CLIENTS=1", "TENANT_MAX_CONCURRENT_USERS=7",
                          "NO_CHANNEL_TIMEOUT_IN_MS=5000"};
    const char *bad[] = {OURS, "TENANT_MAX_CHANNELS_PER_CLIENT=many", NULL};

    assert_int_equal(load(&cfg, &r, tenant), RT_OK);
    assert_int_equal(cfg.max_clients, 7);
    assert_int_equal(cfg.max_events_per_second, 8);
    assert_int_equal(cfg.max_joins_per_second, 9);
    rt_config_free(&cfg);
    assert_int_equal(load(&cfg, &r, client), RT_OK);
    assert_int_equal(cfg.max_channels_per_client, 3);
    assert_int_equal(cfg.max_client_presence_events, 4);
    assert_int_equal(cfg.client_presence_window_ms, 5000);
    rt_config_free(&cfg);
    assert_int_equal(load(&cfg, &r, both), RT_OK);
    assert_int_equal(cfg.max_clients, 1);
    assert_int_equal(cfg.no_channel_timeout_ms, 5000);
    rt_config_free(&cfg);
    assert_int_equal(load(&cfg, &r, bad), RT_ECONFIG);
    assert_int_equal(said(&r, "'many' (TENANT_MAX_CHANNELS_PER_CLIENT)"), 1);
    rt_config_free(&cfg);
}

/* Each name, and what its note says instead. */
static void names_without_effect(void **state)
{
    (void)state;
    static const struct {
        const char *set, *instead;
    } rows[] = {
        {"API_TOKEN_BLOCKLIST=hidden", "a token is taken until it expires"},
        {"SECURE_CHANNELS=false", "a token is always asked for"},
        {"METRICS_JWT_SECRET=hidden", "REALTIME_ADMIN_TOKEN"},
        {"MAX_CONNECTIONS=hidden", "REALTIME_MAX_CLIENTS"},
        {"NUM_ACCEPTORS=hidden", "REALTIME_EDGES"},
        {"DB_POOL_SIZE=hidden", "REALTIME_DB_POOL"},
        {"DNS_NODES=hidden", "REALTIME_CLUSTER_SEEDS"},
        {"REGION=hidden", "REALTIME_ZONE"},
        {"LOG_LEVEL=hidden", "REALTIME_LOG_LEVEL"},
        {"GEN_RPC_SOCKET_IP=hidden", "nothing here corresponds"},
        {"DNS_NODES=''", NULL},
        {"REGION=", NULL},
        {"APP_NAME=realtime", NULL},
        {"DB_POOL_SIZES=1", NULL},
        {"PATH=/bin", NULL},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_config cfg;
        struct rt_config_report r;
        const char *set[] = {SECRET, rows[i].set, NULL};
        const char *elsewhere[] = {OURS, rows[i].set, NULL};
        char name[64];

        (void)snprintf(name, sizeof name, "here: %.*s; ", (int)strcspn(rows[i].set, "="),
                       rows[i].set);
        assert_int_equal(load(&cfg, &r, set), RT_OK);
        assert_int_equal(r.count, rows[i].instead == NULL ? 0 : 1);
        if (rows[i].instead != NULL) {
            assert_int_equal(said(&r, name), 1);
            assert_int_equal(said(&r, rows[i].instead), 1);
        }
        assert_int_equal(said(&r, "hidden"), 0);
        rt_config_free(&cfg);
        assert_int_equal(load(&cfg, &r, elsewhere), RT_OK);
        assert_int_equal(r.count, 0);
        rt_config_free(&cfg);
    }
}

/* More names than one note holds: each is named, and none is cut. */
static void many_names(void **state)
{
    (void)state;
    static char text[41][64];
    char *env[42] = {NULL};
    struct rt_config cfg;
    struct rt_config_report r;

    (void)snprintf(text[0], sizeof text[0], "%s",
                   "API_JWT_SECRET=0123456789abcdef0123456789abcdef");
    env[0] = text[0];
    for (uint32_t i = 1; i < 41; i++) {
        (void)snprintf(text[i], sizeof text[i], "GEN_RPC_NUMBER_%u_OF_MANY_NAMES=1", i);
        env[i] = text[i];
    }
    assert_int_equal(rt_config_load(&cfg, env, NULL, &r), RT_OK);
    for (uint32_t i = 1; i < 41; i++) {
        char name[48];

        (void)snprintf(name, sizeof name, " GEN_RPC_NUMBER_%u_OF_MANY_NAMES", i);
        assert_int_equal(said(&r, name), 1);
    }
    assert_in_range(r.count, 2, 10);
    assert_int_equal(said(&r, "; nothing here corresponds"), r.count);
    rt_config_free(&cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_of_the_database),
        cmocka_unit_test(limits),
        cmocka_unit_test(names_without_effect),
        cmocka_unit_test(many_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
