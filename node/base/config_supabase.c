/* SPDX-License-Identifier: Apache-2.0 */
/* config_supabase.c - the environment of Supabase's container: what it means here, and what not. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/base/config_in.h"

/* Bytes of names that one note lists. */
#define NAMES_MAX 256u

static void put_percent(char *out, size_t cap, size_t *n, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *text != '\0' && *n + 4 < cap; text++) {
        unsigned char c = (unsigned char)*text;

        if (isalnum(c) || strchr("-._~", c) != NULL) {
            out[(*n)++] = (char)c;
        } else {
            out[(*n)++] = '%';
            out[(*n)++] = hex[c >> 4];
            out[(*n)++] = hex[c & 15];
        }
    }
    out[*n] = '\0';
}

static void put_plain(char *out, size_t cap, size_t *n, const char *text)
{
    while (*text != '\0' && *n + 1 < cap) {
        out[(*n)++] = *text++;
    }
    out[*n] = '\0';
}

static const char *env_or(char *const *env, const char *name, const char *other)
{
    const char *v = rt_config_env(env, name);

    return v != NULL ? v : other;
}

/* What the database's URL says of TLS; NULL: nothing. */
static const char *ssl_mode(char *const *env, const char **cert, struct rt_config_report *r)
{
    const char *text = rt_config_env(env, "DB_SSL");
    const char *path = rt_config_env(env, "DB_SSL_CA_CERT");
    bool on = false;

    *cert = NULL;
    if (text != NULL && !rt_config_flag(text, &on)) {
        rt_config_note(r, true, "DB_SSL is '%.80s'; it must be true or false", text);
    }
    if (path == NULL) {
        return on ? "require" : NULL;
    }
    if (!on) {
        rt_config_note(r, false, "DB_SSL_CA_CERT has no effect without DB_SSL=true");
        return NULL;
    }
    if (access(path, R_OK) != 0) {
        rt_config_note(r, true, "DB_SSL_CA_CERT must name a file, and %.80s cannot be read: %s",
                       path, strerror(errno));
    }
    *cert = path;
    return "verify-ca";
}

/* Defaults as in Supabase's container. */
static char *url_of_parts(char *const *env, struct rt_config_report *r)
{
    const char *cert;
    const char *mode = ssl_mode(env, &cert, r);
    const struct {
        const char *before, *text;
    } parts[] = {{"postgresql://", env_or(env, "DB_USER", "supabase_admin")},
                 {":", env_or(env, "DB_PASSWORD", "postgres")},
                 {"@", rt_config_env(env, "DB_HOST")},
                 {":", env_or(env, "DB_PORT", "5432")},
                 {"/", env_or(env, "DB_NAME", "postgres")},
                 {"?sslmode=", mode},
                 {"&sslrootcert=", cert}};
    size_t cap = 96;
    size_t n = 0;
    char *out;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        cap += parts[i].text == NULL ? 0 : 3 * strlen(parts[i].text);
    }
    out = rt_malloc(cap);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && parts[i].text != NULL; i++) {
        put_plain(out, cap, &n, parts[i].before);
        put_percent(out, cap, &n, parts[i].text);
    }
    return out;
}

static void set_alias(struct raw_value *raw, const char *name, char *text, const char *from)
{
    int at = rt_setting_find(name);

    if (at >= 0 && raw[at].text == NULL) {
        raw[at].text = text;
        raw[at].from = from;
    } else {
        rt_free(text);
    }
}

/* Other names than these are too common to say whose they are. */
static bool of_supabase(char *const *env)
{
    return rt_config_env(env, "DB_HOST") != NULL || rt_config_env(env, "API_JWT_SECRET") != NULL ||
           rt_config_env(env, "API_JWT_JWKS") != NULL;
}

/* A URL of its own, if there is one, says how the database is reached. */
static void take_database(struct raw_value *raw, char *const *env, struct rt_config_report *r)
{
    int at = rt_setting_find("REALTIME_DATABASE_URL");

    if (raw[at].text == NULL && rt_config_env(env, "DB_HOST") != NULL) {
        raw[at].text = url_of_parts(env, r);
        raw[at].from = "DB_HOST";
    } else if (of_supabase(env) && (rt_config_env(env, "DB_SSL") != NULL ||
                                    rt_config_env(env, "DB_SSL_CA_CERT") != NULL)) {
        rt_config_note(r, false,
                       "DB_SSL and DB_SSL_CA_CERT have an effect with DB_HOST only; add "
                       "?sslmode=require or ?sslmode=verify-ca&sslrootcert=FILE to "
                       "REALTIME_DATABASE_URL");
    }
}

static void take_aliases(struct raw_value *raw, char *const *env)
{
    static const struct {
        const char *alias, *name;
    } same[] = {{"API_JWT_SECRET", "REALTIME_JWT_SECRET"},
                {"API_JWT_JWKS", "REALTIME_JWT_JWKS"},
                {"JWT_CLAIM_VALIDATORS", "REALTIME_JWT_CLAIMS"},
                {"TENANT_MAX_CONCURRENT_USERS", "REALTIME_MAX_CLIENTS"},
                {"TENANT_MAX_CHANNELS_PER_CLIENT", "REALTIME_MAX_CHANNELS_PER_CLIENT"},
                {"TENANT_MAX_JOINS_PER_SECOND", "REALTIME_MAX_JOINS_PER_SECOND"},
                {"TENANT_MAX_EVENTS_PER_SECOND", "REALTIME_MAX_EVENTS_PER_SECOND"},
                {"CLIENT_PRESENCE_MAX_CALLS", "REALTIME_MAX_CLIENT_PRESENCE_EVENTS"},
                {"CLIENT_PRESENCE_WINDOW_MS", "REALTIME_CLIENT_PRESENCE_WINDOW_MS"},
                {"NO_CHANNEL_TIMEOUT_IN_MS", "REALTIME_NO_CHANNEL_TIMEOUT_MS"}};
    const char *port = rt_config_env(env, "PORT");

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        const char *v = rt_config_env(env, same[i].alias);

        if (v != NULL) {
            set_alias(raw, same[i].name, rt_strdup(v), same[i].alias);
        }
    }
    if (port != NULL) {
        size_t n = strlen(port) + sizeof "0.0.0.0:";
        char *text = rt_malloc(n);

        (void)snprintf(text, n, "0.0.0.0:%s", port);
        set_alias(raw, "REALTIME_LISTEN", text, "PORT");
    }
}

/* Is `name` in this list? Names are separated by spaces; one that ends in * stands for all that
 * begin so. */
static bool listed(const char *list, const char *name, size_t len)
{
    while (*list != '\0') {
        size_t n = strcspn(list, " ");

        if (list[n - 1] == '*' ? len >= n - 1 && strncmp(list, name, n - 1) == 0
                               : len == n && strncmp(list, name, n) == 0) {
            return true;
        }
        list += n + (list[n] == ' ' ? 1 : 0);
    }
    return false;
}

/* Set to something; DNS_NODES is two quotes in Supabase's compose file, which is nothing. */
static bool is_set(const char *value)
{
    return *value != '\0' && strcmp(value, "''") != 0;
}

/* Names of a list that are in the environment: one note, or more if there are many. */
static void note_listed(const char *list, const char *instead, char *const *env,
                        struct rt_config_report *r)
{
    static const char text[] = "in the environment, but without effect here: %s; %s";
    char names[NAMES_MAX];
    size_t at = 0;

    for (; *env != NULL; env++) {
        size_t n = strcspn(*env, "=");

        if (n >= NAMES_MAX / 2 || (*env)[n] == '\0' || !is_set(*env + n + 1) ||
            !listed(list, *env, n)) {
            continue;
        }
        if (at > 0 && at + n + sizeof ", " > sizeof names) {
            rt_config_note(r, false, text, names, instead);
            at = 0;
        }
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at == 0 ? "" : ", ", (int)n,
                               *env);
    }
    if (at > 0) {
        rt_config_note(r, false, text, names, instead);
    }
}

/* What Supabase's documentation names and its container reads, but no setting is. */
static void note_unused(char *const *env, struct rt_config_report *r)
{
    static const struct {
        const char *list, *instead;
    } rows[] = {
        {"API_TOKEN_BLOCKLIST",
         "a token is taken until it expires, or until its key is removed from REALTIME_JWT_SECRET "
         "or REALTIME_JWT_JWKS"},
        {"API_JWT_SECRET_NEXT", "REALTIME_JWT_JWKS takes several keys"},
        {"SECURE_CHANNELS", "a token is always asked for"},
        {"METRICS_JWT_SECRET METRICS_TOKEN_BLOCKLIST METRICS_PUSHER_* DASHBOARD_* CF_TEAM_DOMAIN",
         "metrics are read at REALTIME_ADMIN_LISTEN, with REALTIME_ADMIN_TOKEN"},
        {"MAX_CONNECTIONS", "REALTIME_MAX_CLIENTS limits clients"},
        {"NUM_ACCEPTORS", "REALTIME_EDGES sets the processes that serve clients"},
        {"DB_POOL_SIZE", "REALTIME_DB_POOL limits the connections that evaluate policies"},
        {"CLUSTER_STRATEGIES CLUSTER_EPMD_HOSTS DNS_NODES",
         "nodes find each other by REALTIME_CLUSTER_SEEDS and REALTIME_CLUSTER_KEY"},
        {"REGION DB_MASTER_REGION REGION_MAPPING", "REALTIME_ZONE names the place of a node"},
        {"LOG_LEVEL LOGS_ENGINE LOGFLARE_*", "REALTIME_LOG_LEVEL sets what is written to stderr"},
        {"WEBSOCKET_MAX_HEAP_SIZE", "REALTIME_MAX_QUEUE_BYTES limits what waits for one client"},
        {"DB_REPLICA_* DB_HOST_REPLICA_*", "only the primary is connected to"},
        {"SLOT_NAME_SUFFIX", "the slot has a name of its own for each database"},
        {"DB_AFTER_CONNECT_QUERY DB_ENC_* DB_IP_VERSION DB_QUEUE_* SECRET_KEY_BASE ERL_AFLAGS "
         "RLIMIT_NOFILE SEED_SELF_HOST SELF_HOST_TENANT_NAME RUN_JANITOR "
         "DISABLE_HEALTHCHECK_LOGGING MAX_HEADER_LENGTH TENANT_CACHE_* "
         "TENANT_MAX_BYTES_PER_SECOND",
         "nothing here corresponds"},
        {"JANITOR_* GEN_RPC_* MAX_GEN_RPC_* METRICS_CLEANER_* METRICS_RPC_* PRESENCE_POOL_SIZE "
         "PRESENCE_BROADCAST_* PRESENCE_PERMDOWN_* BROADCAST_POOL_SIZE MIGRATION_PARTITION_SLOTS "
         "CONNECT_PARTITION_SLOTS POSTGRES_CDC_SCOPE_SHARDS USERS_SCOPE_SHARDS "
         "CONNECT_ERROR_BACKOFF_MS CHANNEL_ERROR_BACKOFF_MS REBALANCE_CHECK_INTERVAL_IN_MS "
         "NODE_BALANCE_* PROM_POLL_RATE REQUEST_ID_BAGGAGE_KEY",
         "nothing here corresponds"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        note_listed(rows[i].list, rows[i].instead, env, r);
    }
}

void rt_config_supabase(struct raw_value *raw, char *const *env, struct rt_config_report *r)
{
    take_aliases(raw, env);
    take_database(raw, env, r);
    if (of_supabase(env)) {
        note_unused(env, r);
    }
}
