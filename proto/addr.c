/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/addr.h"

#include <arpa/inet.h> /* inet_pton, inet_ntop: text only, no socket */
#include <assert.h>
#include <string.h>

#define PORT_MAX 65535u

static size_t ip_bytes(const struct pr_addr *a)
{
    assert(a->family == PR_ADDR_NONE || a->family == PR_ADDR_V4 || a->family == PR_ADDR_V6);
    if (a->family == PR_ADDR_V4) {
        return sizeof(struct in_addr);
    }
    return a->family == PR_ADDR_V6 ? sizeof(struct in6_addr) : 0;
}

bool pr_addr_eq(const struct pr_addr *a, const struct pr_addr *b)
{
    if (a->family != b->family) {
        return false;
    }
    return a->family == PR_ADDR_NONE ||
           (a->port == b->port && memcmp(a->ip, b->ip, ip_bytes(a)) == 0);
}

size_t pr_addr_pack(const struct pr_addr *a, uint8_t out[PR_ADDR_PACKED_MAX])
{
    struct pr_outbuf o = pr_outbuf(out, PR_ADDR_PACKED_MAX);

    if (a->family == PR_ADDR_NONE) {
        return 0;
    }
    pr_put(&o, a->ip, ip_bytes(a));
    pr_put_u16be(&o, a->port);
    return o.len;
}

int pr_addr_unpack(struct pr_slice packed, struct pr_addr *a)
{
    struct pr_cursor c = pr_cursor(packed);
    struct pr_slice ip;

    *a = (struct pr_addr){0};
    if (packed.n == 0) {
        return PR_OK;
    }
    if (packed.n == sizeof(struct in_addr) + sizeof a->port) {
        a->family = PR_ADDR_V4;
    } else if (packed.n == sizeof(struct in6_addr) + sizeof a->port) {
        a->family = PR_ADDR_V6;
    } else {
        return PR_ERANGE;
    }
    ip = pr_get_bytes(&c, ip_bytes(a));
    memcpy(a->ip, ip.p, ip.n);
    a->port = pr_get_u16be(&c);
    return PR_OK;
}

static void put_text(struct pr_outbuf *o, const struct pr_addr *a)
{
    char ip[INET6_ADDRSTRLEN];

    if (a->family == PR_ADDR_NONE) {
        pr_put_str(o, "-");
        return;
    }
    /* Its only errors are an unknown family and too little room. */
    (void)inet_ntop(a->family == PR_ADDR_V6 ? AF_INET6 : AF_INET, a->ip, ip, sizeof ip);
    pr_put_str(o, a->family == PR_ADDR_V6 ? "[" : "");
    pr_put_str(o, ip);
    pr_put_str(o, a->family == PR_ADDR_V6 ? "]:" : ":");
    pr_put_dec(o, a->port);
}

size_t pr_addr_format(const struct pr_addr *a, char *out, size_t cap)
{
    char text[PR_ADDR_TEXT_MAX];
    struct pr_outbuf o = pr_outbuf(text, sizeof text);
    size_t n = 0;

    put_text(&o, a);
    assert(o.len < sizeof text);
    if (cap == 0) {
        return 0;
    }
    n = o.len < cap ? o.len : cap - 1;
    memcpy(out, text, n);
    out[n] = '\0';
    return n;
}

/* Decimal without sign, space or leading zeros, so that one port has one text. */
static int parse_port(struct pr_slice text, uint16_t *port)
{
    uint32_t v = 0;

    if (text.n == 0 || (text.n > 1 && text.p[0] == '0')) {
        return PR_ESYNTAX;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return PR_ESYNTAX;
        }
        v = v > PORT_MAX ? v : v * 10 + (uint32_t)(text.p[i] - '0');
    }
    if (v > PORT_MAX) {
        return PR_ERANGE;
    }
    *port = (uint16_t)v;
    return PR_OK;
}

static int parse_ip(struct pr_slice text, struct pr_addr *a)
{
    char host[INET6_ADDRSTRLEN];
    bool v6 = text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';

    if (v6) {
        text = pr_bytes(text.p + 1, text.n - 2);
    }
    /* A NUL would end the text for inet_pton before its end for us. */
    if (text.n == 0 || text.n >= sizeof host || memchr(text.p, '\0', text.n) != NULL) {
        return PR_ESYNTAX;
    }
    memcpy(host, text.p, text.n);
    host[text.n] = '\0';
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, a->ip) != 1) {
        return PR_ESYNTAX;
    }
    a->family = v6 ? PR_ADDR_V6 : PR_ADDR_V4;
    return PR_OK;
}

int pr_addr_parse(struct pr_slice text, struct pr_addr *a)
{
    struct pr_addr got = {0};
    size_t colon = text.n;
    int rv = PR_ESYNTAX;

    *a = (struct pr_addr){0};
    while (colon > 0 && text.p[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return PR_ESYNTAX;
    }
    rv = parse_ip(pr_bytes(text.p, colon - 1), &got);
    if (rv == PR_OK) {
        rv = parse_port(pr_bytes(text.p + colon, text.n - colon), &got.port);
    }
    if (rv == PR_OK) {
        *a = got;
    }
    return rv;
}
