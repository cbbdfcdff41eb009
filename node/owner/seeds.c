/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/seeds.h"

#include <assert.h>
#include <netdb.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/owner/sockaddr.h"

#define NAME_MAX_BYTES 253u /* RFC 1035 2.3.4, as text */
/* As much of a wrong item as its error shows. */
#define SHOW_BYTES 80

struct seed {
    struct rt_seeds *owner;
    char *text; /* host:port, for people */
    char *host; /* NULL: `literal` is the address */
    struct pr_addr literal;
    uint16_t port;
    uv_getaddrinfo_t lookup;
    bool busy;  /* the lookup runs */
    int status; /* how the last lookup ended; 0 before the first */
};

struct rt_seeds {
    struct rt_loop *loop;
    struct rt_log *log;
    void (*on_address)(void *ctx, const struct pr_addr *addr);
    void *ctx;
    struct rt_timer timer;
    uint64_t round_ms, due_ms; /* start of the last round, of the next one */
    bool alone;
    bool started; /* there was a round */
    bool stopped;
    bool timer_closed;
    uint32_t busy; /* lookups that run */
    uint32_t count;
    struct seed seed[RT_SEEDS_MAX];
};

static void forget(struct rt_seeds *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        rt_free(s->seed[i].text);
        rt_free(s->seed[i].host);
    }
    rt_free(s);
}

static void free_if_ended(struct rt_seeds *s)
{
    if (s->stopped && s->timer_closed && s->busy == 0) {
        forget(s);
    }
}

/* ---- the list ---- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(uint8_t c)
{
    /* Names of compose services have underscores. */
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_';
}

/* A host whose last label is a number is a mistyped address and no name (RFC 3696 2). */
static bool ends_in_number(struct pr_slice host)
{
    size_t end = host.n > 0 && host.p[host.n - 1] == '.' ? host.n - 1 : host.n;
    size_t at = end;

    while (at > 0 && is_digit(host.p[at - 1])) {
        at--;
    }
    return at < end && (at == 0 || host.p[at - 1] == '.');
}

static bool is_name(struct pr_slice host)
{
    for (size_t i = 0; i < host.n; i++) {
        if (!is_name_char(host.p[i])) {
            return false;
        }
    }
    return host.n > 0 && host.n <= NAME_MAX_BYTES && !ends_in_number(host);
}

/* 1..65535, or 0 if it is none. */
static uint16_t port_of(struct pr_slice text)
{
    uint32_t port = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (!is_digit(text.p[i]) || port > UINT16_MAX) {
            return 0;
        }
        port = port * 10 + (uint32_t)(text.p[i] - '0');
    }
    return port > UINT16_MAX ? 0 : (uint16_t)port;
}

/* Text of what is wrong with an item, or NULL and the seed is filled. */
static const char *read_item(struct seed *seed, struct pr_slice item)
{
    const uint8_t *colon = item.n == 0 ? NULL : memrchr(item.p, ':', item.n);
    struct pr_slice host;

    if (item.n == 0) {
        return "is empty";
    }
    if (colon == NULL) {
        return "has no port: write host:port";
    }
    host = pr_bytes(item.p, (size_t)(colon - item.p));
    seed->port = port_of(pr_bytes(colon + 1, item.n - host.n - 1));
    if (seed->port == 0) {
        return "has no port of 1 to 65535 behind its last colon";
    }
    if (pr_addr_parse(item, &seed->literal) == PR_OK) {
        return NULL;
    }
    if (memchr(host.p, ':', host.n) != NULL || item.p[0] == '[') {
        return "is no IPv6 address in brackets: write [address]:port";
    }
    if (!is_name(host)) {
        return "has neither an IPv4 address nor a host name before its port";
    }
    seed->host = rt_strndup(host.p, host.n);
    return NULL;
}

static struct pr_slice trim(struct pr_slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = pr_bytes(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

static int read_list(struct rt_seeds *s, const char *list, struct rt_error *err)
{
    struct pr_slice left = pr_str(list == NULL ? "" : list);

    if (trim(left).n == 0) {
        return RT_OK;
    }
    for (;;) {
        const uint8_t *comma = memchr(left.p, ',', left.n);
        size_t n = comma == NULL ? left.n : (size_t)(comma - left.p);
        struct pr_slice item = trim(pr_bytes(left.p, n));
        struct seed *seed = &s->seed[s->count];
        const char *wrong;

        if (s->count == RT_SEEDS_MAX) {
            return rt_error_set(err, RT_ECONFIG, "more than %u seeds: a name can stand for many",
                                RT_SEEDS_MAX);
        }
        wrong = read_item(seed, item);
        if (wrong != NULL) {
            return rt_error_set(err, RT_ECONFIG, "seed %u, \"%.*s\", %s", s->count + 1,
                                item.n > SHOW_BYTES ? SHOW_BYTES : (int)item.n,
                                (const char *)item.p, wrong);
        }
        seed->owner = s;
        seed->text = rt_strndup(item.p, item.n);
        s->count++;
        if (comma == NULL) {
            return RT_OK;
        }
        left = pr_bytes(left.p + n + 1, left.n - n - 1);
    }
}

/* ---- looking up ---- */

static void note_status(struct seed *seed, int status, uint32_t addrs)
{
    struct rt_seeds *s = seed->owner;

    if (status != seed->status && status != 0) {
        rt_log(s->log, RT_WARN, "seed_failed", rt_kv_s("seed", seed->text),
               rt_kv_s("err", status == UV_EAI_NODATA ? "the name has no address that can be used"
                                                      : uv_strerror(status)),
               rt_kv_s("hint", "it is looked up again and again"));
    } else if (status != seed->status) {
        rt_log(s->log, RT_INFO, "seed_resolved", rt_kv_s("seed", seed->text),
               rt_kv_u("addresses", addrs));
    }
    seed->status = status;
}

/* Addresses of an answer that can be used. The callee may have stopped everything. */
static uint32_t tell_all(struct seed *seed, const struct addrinfo *answer)
{
    struct rt_seeds *s = seed->owner;
    uint32_t told = 0;

    for (const struct addrinfo *ai = answer; ai != NULL && told < RT_SEED_ADDRS_MAX;
         ai = ai->ai_next) {
        struct pr_addr addr;

        if (s->stopped) {
            break;
        }
        if (rt_sockaddr_read(ai->ai_addr, &addr)) {
            addr.port = seed->port;
            told++;
            s->on_address(s->ctx, &addr);
        }
    }
    return told;
}

static void on_lookup(uv_getaddrinfo_t *lookup, int status, struct addrinfo *answer)
{
    struct seed *seed = lookup->data;
    struct rt_seeds *s = seed->owner;
    uint32_t told = 0;

    seed->busy = false;
    s->busy--;
    if (!s->stopped && status == 0) {
        told = tell_all(seed, answer);
        status = told == 0 ? UV_EAI_NODATA : 0;
    }
    uv_freeaddrinfo(answer);
    if (!s->stopped) {
        note_status(seed, status, told);
    }
    free_if_ended(s);
}

static void look_up(struct seed *seed)
{
    /* One kind of socket, so that each address comes once. */
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct rt_seeds *s = seed->owner;
    int rv;

    if (seed->busy) {
        return;
    }
    seed->lookup.data = seed;
    rv = uv_getaddrinfo(rt_loop_uv(s->loop), &seed->lookup, on_lookup, seed->host, NULL, &hints);
    if (rv != 0) {
        note_status(seed, rv, 0);
        return;
    }
    seed->busy = true;
    s->busy++;
}

static void set_due(struct rt_seeds *s, uint64_t at_ms)
{
    uint64_t now_ms = rt_now_ms(s->loop);

    if (s->stopped) {
        return;
    }
    s->due_ms = at_ms < now_ms ? now_ms : at_ms;
    rt_timer_set(&s->timer, s->due_ms - now_ms);
}

static uint64_t pace_ms(const struct rt_seeds *s)
{
    return s->alone ? RT_SEEDS_ALONE_MS : RT_SEEDS_EVERY_MS;
}

static void on_round(void *ctx)
{
    struct rt_seeds *s = ctx;

    s->started = true;
    s->round_ms = rt_now_ms(s->loop);
    set_due(s, s->round_ms + pace_ms(s));
    for (uint32_t i = 0; i < s->count && !s->stopped; i++) {
        struct seed *seed = &s->seed[i];

        if (seed->host != NULL) {
            look_up(seed);
        } else {
            s->on_address(s->ctx, &seed->literal);
        }
    }
}

struct rt_seeds *rt_seeds_start(struct rt_loop *l, const struct rt_seeds_setup *setup,
                                struct rt_error *err)
{
    struct rt_seeds *s = rt_calloc(1, sizeof *s);

    s->loop = l;
    s->log = setup->log;
    s->on_address = setup->on_address;
    s->ctx = setup->ctx;
    s->alone = true;
    if (read_list(s, setup->list, err) != RT_OK) {
        forget(s);
        return NULL;
    }
    rt_timer_init(l, &s->timer, on_round, s);
    if (s->count > 0) {
        set_due(s, rt_now_ms(l));
    }
    return s;
}

void rt_seeds_alone(struct rt_seeds *s, bool alone)
{
    if (s->alone == alone) {
        return;
    }
    s->alone = alone;
    if (s->started) {
        set_due(s, s->round_ms + pace_ms(s));
    }
}

void rt_seeds_now(struct rt_seeds *s)
{
    if (s->count > 0) {
        set_due(s, rt_now_ms(s->loop));
    }
}

uint64_t rt_seeds_next_ms(const struct rt_seeds *s)
{
    uint64_t now_ms = rt_now_ms(s->loop);

    if (s->count == 0) {
        return UINT64_MAX;
    }
    return s->due_ms > now_ms ? s->due_ms - now_ms : 0;
}

static void on_timer_closed(void *ctx)
{
    struct rt_seeds *s = ctx;

    s->timer_closed = true;
    free_if_ended(s);
}

void rt_seeds_stop(struct rt_seeds *s)
{
    if (s == NULL || s->stopped) {
        return;
    }
    s->stopped = true;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->seed[i].busy) {
            (void)uv_cancel((uv_req_t *)&s->seed[i].lookup); /* only one that still waits ends */
        }
    }
    rt_timer_close(&s->timer, on_timer_closed);
}
