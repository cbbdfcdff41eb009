/* SPDX-License-Identifier: Apache-2.0 */
/* config_cluster.c - settings about other nodes that do not fit each other, or the world. */
#include <ctype.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <string.h>

#include "node/base/config_in.h"
#include "proto/base64url.h"

/* Of a node, a cluster, a zone: short enough for every frame, table and label. */
#define NAME_MAX_BYTES 63u
/* A name in the DNS (RFC 1035 2.3.4). */
#define HOST_MAX_BYTES 253u
/* Of AES-256; in base64 43 characters and, mostly, one '='. */
#define KEY_BYTES 32u
#define KEY_CHARS 43u
#define MAKE_KEY  "make one with: openssl rand -base64 32"

static bool is_name(const char *text, size_t max)
{
    size_t n = strlen(text);

    for (const char *c = text; *c != '\0'; c++) {
        if (isalnum((unsigned char)*c) == 0 && *c != '.' && *c != '_' && *c != '-') {
            return false;
        }
    }
    return n >= 1 && n <= max;
}

bool rt_config_node_name(const char *text)
{
    return is_name(text, NAME_MAX_BYTES);
}

/* The next item of a comma list, without the blanks around it. False: there is none. */
static bool next_item(const char **list, struct pr_slice *item)
{
    const char *at = *list;

    if (at == NULL) {
        return false;
    }
    size_t n = strcspn(at, ",");

    *list = at[n] == ',' ? at + n + 1 : NULL;
    while (n > 0 && isspace((unsigned char)*at) != 0) {
        at++;
        n--;
    }
    while (n > 0 && isspace((unsigned char)at[n - 1]) != 0) {
        n--;
    }
    *item = pr_bytes(at, n);
    return true;
}

static bool is_key(struct pr_slice text)
{
    char url[KEY_CHARS];
    uint8_t key[KEY_BYTES];
    struct pr_outbuf o = pr_outbuf(key, sizeof key);

    if (text.n == KEY_CHARS + 1 && text.p[KEY_CHARS] == '=') {
        text.n--;
    }
    if (text.n != KEY_CHARS) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        char c = (char)text.p[i];

        url[i] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
    }
    bool good = pr_base64url_decode(&o, pr_bytes(url, sizeof url)) == PR_OK && pr_out_ok(&o) &&
                o.len == sizeof key;

    OPENSSL_cleanse(url, sizeof url);
    OPENSSL_cleanse(key, sizeof key);
    return good;
}

static void check_key(const struct rt_config *cfg, struct rt_config_report *r)
{
    const char *list = cfg->cluster_key;
    struct pr_slice item;

    /* Never the text itself: a mistyped key is still nearly one. */
    for (uint32_t nth = 1; next_item(&list, &item); nth++) {
        if (!is_key(item)) {
            rt_config_note(
                r, true,
                "key %u of REALTIME_CLUSTER_KEY has %zu characters and is not %u bytes in "
                "base64; " MAKE_KEY,
                nth, item.n, KEY_BYTES);
        }
    }
    if (cfg->cluster_insecure && cfg->cluster_key != NULL) {
        rt_config_note(r, true,
                       "REALTIME_CLUSTER_KEY is set and REALTIME_CLUSTER_INSECURE is on; take one "
                       "of them out");
    } else if (cfg->cluster_insecure) {
        rt_config_note(r, false,
                       "REALTIME_CLUSTER_INSECURE is on: whoever reaches %s can read and write "
                       "everything; set REALTIME_CLUSTER_KEY instead",
                       cfg->cluster_listen);
    } else if (cfg->cluster_seeds != NULL && cfg->cluster_key == NULL) {
        rt_config_note(r, true,
                       "REALTIME_CLUSTER_SEEDS is set without REALTIME_CLUSTER_KEY; " MAKE_KEY
                       ", and give all nodes the same one");
    }
}

/* NULL, or what is wrong with one seed. */
static const char *seed_trouble(struct pr_slice seed)
{
    struct sockaddr_storage unused;
    char text[HOST_MAX_BYTES + sizeof ":65535"];
    const char *why;
    in_port_t port;

    if (seed.n == 0) {
        return "it is empty";
    }
    if (seed.n >= sizeof text) {
        return "it is too long";
    }
    memcpy(text, seed.p, seed.n);
    text[seed.n] = '\0';
    char *colon = strrchr(text, ':');

    if (colon == NULL) {
        return "it must be host:port, such as realtime:7946";
    }
    if (!rt_config_port(colon + 1, &port)) {
        return "the port must be 1 to 65535, such as in realtime:7946";
    }
    /* Digits and dots alone are never a name: a resolver would make 10.0.0.7 of 10.7. */
    if (text[0] == '[' || text + strspn(text, "0123456789.") == colon) {
        return colon != text && rt_config_address(text, &unused, &why) != 0 ? NULL
                                                                            : "the address is none";
    }
    *colon = '\0';
    return is_name(text, HOST_MAX_BYTES)
               ? NULL
               : "the host must be a name, an IPv4 address, or an IPv6 address in brackets";
}

static void check_seeds(const struct rt_config *cfg, struct rt_config_report *r)
{
    const char *list = cfg->cluster_seeds;
    struct pr_slice item;

    for (uint32_t nth = 1; next_item(&list, &item); nth++) {
        const char *why = seed_trouble(item);

        if (why != NULL) {
            rt_config_note(r, true, "seed %u of REALTIME_CLUSTER_SEEDS is '%.*s'; %s", nth,
                           (int)(item.n < 80 ? item.n : 80), (const char *)item.p, why);
        }
    }
}

static bool is_any(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) {
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr == INADDR_ANY;
    }
    return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static void check_addresses(const struct rt_config *cfg, struct rt_config_report *r)
{
    struct sockaddr_storage mesh, other;
    const char *why;
    const struct {
        const char *name, *text;
    } others[] = {{"REALTIME_LISTEN", cfg->listen}, {"REALTIME_ADMIN_LISTEN", cfg->admin_listen}};

    if (cfg->cluster_advertise != NULL) {
        if (rt_config_address(cfg->cluster_advertise, &other, &why) == 0) {
            rt_config_note(r, true, "REALTIME_CLUSTER_ADVERTISE is '%.80s'; %s",
                           cfg->cluster_advertise, why);
        } else if (is_any(&other)) {
            rt_config_note(r, true,
                           "REALTIME_CLUSTER_ADVERTISE is %s, which nobody can reach; it must be "
                           "this node's own address, such as 10.0.0.5:7946",
                           cfg->cluster_advertise);
        }
    }
    if (rt_config_address(cfg->cluster_listen, &mesh, &why) == 0) {
        rt_config_note(r, true, "REALTIME_CLUSTER_LISTEN is '%.80s'; %s", cfg->cluster_listen, why);
        return;
    }
    for (size_t i = 0; cfg->clustered && i < 2; i++) {
        if (rt_config_address(others[i].text, &other, &why) != 0 &&
            memcmp(&mesh, &other, sizeof mesh) == 0) {
            rt_config_note(r, true, "REALTIME_CLUSTER_LISTEN and %s are both %s; they must differ",
                           others[i].name, others[i].text);
        }
    }
}

static void check_names(const struct rt_config *cfg, struct rt_config_report *r)
{
    const struct {
        const char *name, *text;
    } names[] = {{"REALTIME_NODE", cfg->node},
                 {"REALTIME_CLUSTER_NAME", cfg->cluster_name},
                 {"REALTIME_ZONE", cfg->zone}};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].text != NULL && !is_name(names[i].text, NAME_MAX_BYTES)) {
            rt_config_note(r, true, "%s is '%.80s'; it must be 1 to %u of A-Z a-z 0-9 . _ -",
                           names[i].name, names[i].text, NAME_MAX_BYTES);
        }
    }
}

void rt_config_check_cluster(const struct rt_config *cfg, struct rt_config_report *r)
{
    check_names(cfg, r);
    check_addresses(cfg, r);
    check_seeds(cfg, r);
    check_key(cfg, r);
    if (cfg->cluster_expect > 1 && !cfg->clustered) {
        rt_config_note(r, true,
                       "REALTIME_CLUSTER_EXPECT is %u, but this node is alone; set "
                       "REALTIME_CLUSTER_SEEDS and REALTIME_CLUSTER_KEY",
                       cfg->cluster_expect);
    }
}
