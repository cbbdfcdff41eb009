/* SPDX-License-Identifier: Apache-2.0 */
/* config_check.c - settings that do not fit each other, or the world. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/base/config_in.h"
#include "proto/json_scan.h"
#include "proto/jwks.h"

/* A key for HMAC-SHA-256 shorter than its output is easier to guess than to forge (RFC 7518 3.2).
 */
#define SECRET_BYTES_MIN 32u
/* Behind sb_secret_, as Supabase makes them: 131 bits in 62 letters. */
#define API_SECRET_MIN 22u
#define KEY_LETTERS    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
/* Longest identifier of Postgres. */
#define IDENTIFIER_MAX 63u

bool rt_config_port(const char *text, in_port_t *port)
{
    uint32_t n = 0;

    if (*text == '\0' || strlen(text) > 5) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        n = n * 10 + (uint32_t)(*text - '0');
    }
    *port = htons((uint16_t)n);
    return n >= 1 && n <= 65535;
}

socklen_t rt_config_address(const char *text, struct sockaddr_storage *out, const char **why)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    const char *colon = strrchr(text, ':');
    char host[64];
    in_port_t port;
    size_t n;

    memset(out, 0, sizeof *out);
    *why = "it must be address:port, such as 0.0.0.0:4000 or [::1]:4000";
    if (colon == NULL || (size_t)(colon - text) >= sizeof host) {
        return 0;
    }
    if (!rt_config_port(colon + 1, &port)) {
        *why = "the port must be 1 to 65535, such as in 0.0.0.0:4000";
        return 0;
    }
    n = (size_t)(colon - text);
    memcpy(host, text, n);
    host[n] = '\0';
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    if (n == 0 || strcmp(host, "*") == 0) {
        return sizeof *v4; /* all addresses: zeros */
    }
    return inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) ==
                   1
               ? sizeof *v4
               : 0;
}

static bool on_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) {
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static void check_listeners(const struct rt_config *cfg, struct rt_config_report *r)
{
    struct sockaddr_storage client, admin;
    const char *why;
    socklen_t n = rt_config_address(cfg->listen, &client, &why);

    if (n == 0) {
        rt_config_note(r, true, "REALTIME_LISTEN is '%.80s'; %s", cfg->listen, why);
    }
    if (strcmp(cfg->admin_listen, "off") == 0) {
        return;
    }
    if (rt_config_address(cfg->admin_listen, &admin, &why) == 0) {
        rt_config_note(r, true, "REALTIME_ADMIN_LISTEN is '%.80s'; %s, or off", cfg->admin_listen,
                       why);
        return;
    }
    if (n != 0 && memcmp(&client, &admin, sizeof client) == 0) {
        rt_config_note(r, true,
                       "REALTIME_ADMIN_LISTEN and REALTIME_LISTEN are both %s; they must differ",
                       cfg->listen);
    }
    if (!on_loopback(&admin) && cfg->admin_token == NULL) {
        rt_config_note(r, true,
                       "REALTIME_ADMIN_LISTEN is %s, which others can reach; set "
                       "REALTIME_ADMIN_TOKEN, or listen on 127.0.0.1",
                       cfg->admin_listen);
    }
}

static void check_tls(const struct rt_config *cfg, struct rt_config_report *r)
{
    const struct {
        const char *name, *path, *other;
    } files[] = {{"REALTIME_TLS_CERT", cfg->tls_cert, cfg->tls_key},
                 {"REALTIME_TLS_KEY", cfg->tls_key, cfg->tls_cert}};

    for (size_t i = 0; i < 2; i++) {
        if (files[i].path == NULL) {
            continue;
        }
        if (files[i].other == NULL) {
            rt_config_note(r, true, "%s is set without %s; TLS needs both", files[i].name,
                           files[1 - i].name);
        }
        if (access(files[i].path, R_OK) != 0) {
            rt_config_note(r, true, "%s names %s, which cannot be read: %s", files[i].name,
                           files[i].path, strerror(errno));
        }
    }
}

/* A set that starts like JSON is one; a file's name never does. */
static bool is_json(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '{';
}

int rt_config_jwks(const struct rt_config *cfg, char **text, struct rt_error *err)
{
    char *bytes;
    size_t n;
    FILE *f;

    *text = NULL;
    if (cfg->jwt_jwks == NULL) {
        return RT_OK;
    }
    if (is_json(cfg->jwt_jwks)) {
        *text = rt_strdup(cfg->jwt_jwks);
        return RT_OK;
    }
    f = fopen(cfg->jwt_jwks, "re");
    if (f == NULL) {
        return rt_error_errno(err, errno,
                              "REALTIME_JWT_JWKS must be a JSON object or a file's name; open %s",
                              strchr(cfg->jwt_jwks, '"') == NULL ? cfg->jwt_jwks : "(not shown)");
    }
    bytes = rt_malloc(PR_JWKS_BYTES_MAX + 2);
    n = fread(bytes, 1, PR_JWKS_BYTES_MAX + 1, f);
    (void)fclose(f);
    bytes[n] = '\0';
    if (n > PR_JWKS_BYTES_MAX || strlen(bytes) != n) {
        rt_free(bytes);
        return rt_error_set(err, RT_ECONFIG, "REALTIME_JWT_JWKS: %s is no JSON of at most %u bytes",
                            cfg->jwt_jwks, PR_JWKS_BYTES_MAX);
    }
    *text = bytes;
    return RT_OK;
}

static void check_keys(const struct rt_config *cfg, struct rt_config_report *r)
{
    struct rt_error err = {.code = RT_OK};
    struct pr_jwt_keys *keys = rt_calloc(1, sizeof *keys);
    const char *why = "";
    char *jwks = NULL;

    if (cfg->jwt_secret == NULL && cfg->jwt_jwks == NULL) {
        rt_config_note(r, true,
                       "neither REALTIME_JWT_SECRET nor REALTIME_JWT_JWKS is set; one is needed to "
                       "verify tokens, for example REALTIME_JWT_SECRET=$(openssl rand -hex 32)");
    } else if (cfg->jwt_secret != NULL && strlen(cfg->jwt_secret) > PR_JWT_SECRET_MAX) {
        rt_config_note(r, true, "REALTIME_JWT_SECRET has %zu bytes, at most %u are allowed",
                       strlen(cfg->jwt_secret), PR_JWT_SECRET_MAX);
    } else if (cfg->jwt_secret != NULL && strlen(cfg->jwt_secret) < SECRET_BYTES_MIN) {
        rt_config_note(
            r, false,
            "REALTIME_JWT_SECRET has %zu bytes; fewer than %u can be guessed from a token",
            strlen(cfg->jwt_secret), SECRET_BYTES_MIN);
    }
    if (rt_config_jwks(cfg, &jwks, &err) != RT_OK) {
        rt_config_note(r, true, "%s", err.text);
    } else if (jwks != NULL) {
        if (pr_jwt_keys_init(keys, pr_bytes(NULL, 0), pr_str(jwks), &why) != PR_OK) {
            rt_config_note(r, true, "REALTIME_JWT_JWKS is no usable key set: %s", why);
        } else {
            pr_jwt_keys_deinit(keys);
        }
    }
    rt_free(jwks);
    rt_free(keys);
    if (cfg->jwt_claims != NULL &&
        (!is_json(cfg->jwt_claims) || pr_json_check(pr_str(cfg->jwt_claims)) < 0)) {
        rt_config_note(r, true,
                       "REALTIME_JWT_CLAIMS must be a JSON object, such as {\"iss\":\"me\"}");
    }
}

/* Clients send these keys also where a token belongs, and are understood by the prefix; it also
 * keeps a publishable key out of the list of secret ones. */
static void check_api_keys(const struct rt_list *keys, const char *name, const char *prefix,
                           size_t rest_min, struct rt_config_report *r)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        const char *key = keys->items[i];
        size_t n = strlen(prefix);

        if (strncmp(key, prefix, n) != 0 || key[n] == '\0') {
            rt_config_note(r, true, "key %u of %s must start with %s and go on behind it", i + 1,
                           name, prefix);
        } else if (strspn(key + n, KEY_LETTERS) != strlen(key + n)) {
            rt_config_note(r, true, "key %u of %s may have A-Z a-z 0-9 _ - only behind %s", i + 1,
                           name, prefix);
        } else if (strlen(key + n) < rest_min) {
            rt_config_note(r, false,
                           "key %u of %s has %zu characters behind %s; fewer than %zu can be "
                           "guessed, make one with echo %s$(openssl rand -hex 16)",
                           i + 1, name, strlen(key + n), prefix, rest_min, prefix);
        }
    }
}

static void check_runtime_dir(const struct rt_config *cfg, struct rt_config_report *r)
{
    struct sockaddr_un un;
    size_t n = strlen(cfg->runtime_dir) + sizeof "/control.sock";
    size_t room = sizeof un.sun_path;

    if (n > room) {
        rt_config_note(r, true, "REALTIME_RUNTIME_DIR has %zu bytes; names of sockets leave %zu",
                       strlen(cfg->runtime_dir), room - sizeof "/control.sock");
    }
    if (cfg->runtime_dir[0] != '/') {
        rt_config_note(r, true, "REALTIME_RUNTIME_DIR is '%.80s'; it must start with /",
                       cfg->runtime_dir);
    }
}

static void check_url(const char *name, const char *url, struct rt_config_report *r)
{
    if (url != NULL && strncmp(url, "postgres://", 11) != 0 &&
        strncmp(url, "postgresql://", 13) != 0 && strchr(url, '=') == NULL) {
        rt_config_note(r, true,
                       "%s is no address of a database; it must be like "
                       "postgresql://user:password@host:5432/postgres",
                       name);
    }
}

static void check_limits(const struct rt_config *cfg, struct rt_config_report *r)
{
    if (cfg->max_frame_bytes / 1000 < cfg->max_payload_kb) {
        rt_config_note(
            r, false,
            "REALTIME_MAX_PAYLOAD_KB is %u but messages end at REALTIME_MAX_FRAME_BYTES=%u",
            cfg->max_payload_kb, cfg->max_frame_bytes);
    }
    if (cfg->max_queue_bytes / 1000 < cfg->max_payload_kb) {
        rt_config_note(r, true,
                       "REALTIME_MAX_QUEUE_BYTES is %u, less than one payload of "
                       "REALTIME_MAX_PAYLOAD_KB=%u: nobody could receive it",
                       cfg->max_queue_bytes, cfg->max_payload_kb);
    }
}

void rt_config_check(const struct rt_config *cfg, struct rt_config_report *r)
{
    check_listeners(cfg, r);
    check_tls(cfg, r);
    check_runtime_dir(cfg, r);
    rt_config_check_cluster(cfg, r);
}

void rt_config_check_project(const struct rt_config *cfg, struct rt_config_report *r)
{
    check_keys(cfg, r);
    check_api_keys(&cfg->publishable_keys, "REALTIME_PUBLISHABLE_KEYS", "sb_publishable_", 0, r);
    check_api_keys(&cfg->secret_keys, "REALTIME_SECRET_KEYS", "sb_secret_", API_SECRET_MIN, r);
    if (strlen(cfg->publication) > IDENTIFIER_MAX) {
        rt_config_note(r, true, "REALTIME_PUBLICATION has %zu bytes, at most %u are allowed",
                       strlen(cfg->publication), IDENTIFIER_MAX);
    }
    check_url("REALTIME_DATABASE_URL", cfg->database_url, r);
    check_url("REALTIME_DATABASE_CHECK_URL", cfg->database_check_url, r);
    if (cfg->database_check_url != NULL && cfg->database_url == NULL) {
        rt_config_note(r, true, "REALTIME_DATABASE_CHECK_URL is set without REALTIME_DATABASE_URL");
    }
    check_limits(cfg, r);
}
