/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/http_head.h"

#include <assert.h>
#include <string.h>

#include "proto/base64url.h"

/* Statuses of refusals, negative as pr_http_head_parse returns them. */
enum refusal {
    GO_ON = 0,
    BAD_REQUEST = -400,
    BAD_METHOD = -405,
    BAD_EXPECT = -417,
    BAD_WS_VERSION = -426,
    TOO_LARGE = -431,
    BAD_CODING = -501,
    BAD_VERSION = -505
};

#define WS_KEY_LEN   24u /* base64 of 16 bytes */
#define WS_KEY_BYTES 16u

static bool is_token_char(uint8_t c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) {
        return true;
    }
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(struct pr_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_token_char(s.p[i])) {
            return false;
        }
    }
    return s.n > 0;
}

/*
 * Looks for the empty line that ends the head, from h->scanned on. Returns the head's length, 0 if
 * it is not there yet, or a refusal for bytes that no head may have.
 */
static long find_end(struct pr_slice in, struct pr_http_head *h)
{
    size_t n = in.n < PR_HTTP_HEAD_MAX ? in.n : PR_HTTP_HEAD_MAX;

    if (n > 0 && !is_token_char(in.p[0])) {
        return BAD_REQUEST;
    }
    for (size_t i = h->scanned; i < n; i++) {
        uint8_t c = in.p[i];
        bool after_cr = i > 0 && in.p[i - 1] == '\r';

        if ((c == '\n') != after_cr || (c < 0x20 && c != '\r' && c != '\n' && c != '\t') ||
            c == 0x7f) {
            return BAD_REQUEST;
        }
        if (c == '\n' && i >= 3 && in.p[i - 2] == '\n') {
            return (long)i + 1;
        }
    }
    h->scanned = n;
    return n == PR_HTTP_HEAD_MAX ? TOO_LARGE : 0;
}

/* Takes a line off the head, without its CRLF. */
static struct pr_slice take_line(struct pr_slice *in)
{
    const uint8_t *end = memchr(in->p, '\r', in->n);

    assert(end != NULL); /* find_end saw it */
    struct pr_slice line = pr_bytes(in->p, (size_t)(end - in->p));
    *in = pr_bytes(end + 2, in->n - line.n - 2);
    return line;
}

/* Takes bytes up to `separator`, which is dropped. False: there is none. */
static bool take_until(struct pr_slice *in, uint8_t separator, struct pr_slice *out)
{
    const uint8_t *at = in->n > 0 ? memchr(in->p, separator, in->n) : NULL;

    if (at == NULL) {
        return false;
    }
    *out = pr_bytes(in->p, (size_t)(at - in->p));
    *in = pr_bytes(at + 1, in->n - out->n - 1);
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static enum refusal parse_version(struct pr_slice v, struct pr_http_head *h)
{
    if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || !is_digit(v.p[5]) || v.p[6] != '.' ||
        !is_digit(v.p[7])) {
        return BAD_REQUEST;
    }
    h->http10 = v.p[7] == '0';
    return v.p[5] == '1' && (v.p[7] == '0' || v.p[7] == '1') ? GO_ON : BAD_VERSION;
}

static bool method_known(struct pr_slice method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (pr_slice_is(method, known[i])) {
            return true;
        }
    }
    return false;
}

static bool parse_target(struct pr_slice target, struct pr_http_head *h)
{
    for (size_t i = 0; i < target.n; i++) {
        if (target.p[i] <= 0x20 || target.p[i] >= 0x7f || target.p[i] == '#') {
            return false;
        }
    }
    h->query = target;
    if (!take_until(&h->query, '?', &h->path)) {
        h->path = target;
        h->query = pr_bytes(NULL, 0);
    }
    return (h->path.n > 0 && h->path.p[0] == '/') ||
           (pr_slice_is(target, "*") && pr_slice_is(h->method, "OPTIONS"));
}

static enum refusal parse_request_line(struct pr_slice line, struct pr_http_head *h)
{
    struct pr_slice target;

    if (!take_until(&line, ' ', &h->method) || !is_token(h->method) ||
        !take_until(&line, ' ', &target)) {
        return BAD_REQUEST;
    }
    enum refusal r = parse_version(line, h);
    if (r != GO_ON) {
        return r;
    }
    if (!method_known(h->method)) {
        return BAD_METHOD;
    }
    return parse_target(target, h) ? GO_ON : BAD_REQUEST;
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

/* A line that starts with white space folds the one before: it has no name, and is refused. */
static enum refusal parse_headers(struct pr_slice in, struct pr_http_head *h)
{
    for (;;) {
        struct pr_slice line = take_line(&in);
        struct pr_slice name;

        if (line.n == 0) {
            return GO_ON;
        }
        if (h->nheaders == PR_HTTP_HEADERS_MAX) {
            return TOO_LARGE;
        }
        if (!take_until(&line, ':', &name) || !is_token(name)) {
            return BAD_REQUEST;
        }
        h->headers[h->nheaders].name = name;
        h->headers[h->nheaders].value = trim(line);
        h->nheaders++;
    }
}

/* Headers of which two could mean two things to two readers. */
static bool singles_are_single(const struct pr_http_head *h)
{
    static const char *const single[] = {
        "host",          "content-length", "transfer-encoding", "content-type",
        "authorization", "apikey",         "x-api-key",         "expect",
        "origin",        "upgrade",        "sec-websocket-key", "sec-websocket-version",
    };

    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        uint32_t count = 0;

        for (uint32_t k = 0; k < h->nheaders; k++) {
            count += pr_slice_is_nocase(h->headers[k].name, single[i]) ? 1 : 0;
        }
        if (count > 1) {
            return false;
        }
    }
    return true;
}

static const struct pr_http_header *find(const struct pr_http_head *h, const char *name)
{
    for (uint32_t i = 0; i < h->nheaders; i++) {
        if (pr_slice_is_nocase(h->headers[i].name, name)) {
            return &h->headers[i];
        }
    }
    return NULL;
}

struct pr_slice pr_http_header(const struct pr_http_head *h, const char *name)
{
    const struct pr_http_header *header = find(h, name);

    return header != NULL ? header->value : pr_bytes(NULL, 0);
}

/* Does any Connection header list this option? */
static bool connection_has(const struct pr_http_head *h, const char *option)
{
    for (uint32_t i = 0; i < h->nheaders; i++) {
        struct pr_slice rest = h->headers[i].value;
        struct pr_slice part;

        if (!pr_slice_is_nocase(h->headers[i].name, "connection")) {
            continue;
        }
        while (take_until(&rest, ',', &part)) {
            if (pr_slice_is_nocase(trim(part), option)) {
                return true;
            }
        }
        if (pr_slice_is_nocase(trim(rest), option)) {
            return true;
        }
    }
    return false;
}

static bool parse_length(struct pr_slice value, uint64_t *length)
{
    *length = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (!is_digit(value.p[i])) {
            return false;
        }
        *length = *length * 10 + (uint64_t)(value.p[i] - '0');
    }
    return value.n > 0 && value.n <= 18; /* below 2^63 */
}

static enum refusal parse_body(struct pr_http_head *h)
{
    const struct pr_http_header *length = find(h, "content-length");
    const struct pr_http_header *coding = find(h, "transfer-encoding");
    const struct pr_http_header *expect = find(h, "expect");

    if (length != NULL) {
        h->has_length = parse_length(length->value, &h->length_bytes);
        if (!h->has_length || coding != NULL) {
            return BAD_REQUEST;
        }
    }
    if (coding != NULL) {
        if (h->http10) {
            return BAD_REQUEST;
        }
        if (!pr_slice_is_nocase(coding->value, "chunked")) {
            return BAD_CODING;
        }
        h->chunked = true;
    }
    if (expect != NULL) {
        h->expect_continue = pr_slice_is_nocase(expect->value, "100-continue");
        return h->expect_continue ? GO_ON : BAD_EXPECT;
    }
    return GO_ON;
}

/* Base64 with padding of 16 bytes: checked as base64url, which differs in two characters only. */
static bool is_ws_key(struct pr_slice key)
{
    uint8_t url[WS_KEY_LEN];
    uint8_t bytes[WS_KEY_BYTES + 2];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (key.n != WS_KEY_LEN || key.p[22] != '=' || key.p[23] != '=') {
        return false;
    }
    for (size_t i = 0; i < WS_KEY_LEN; i++) {
        uint8_t c = key.p[i];

        if (c == '-' || c == '_') {
            return false;
        }
        url[i] = c == '+' ? '-' : c == '/' ? '_' : c;
    }
    return pr_base64url_decode(&o, pr_bytes(url, WS_KEY_LEN - 2)) == PR_OK;
}

static enum refusal parse_upgrade(struct pr_http_head *h)
{
    const struct pr_http_header *upgrade = find(h, "upgrade");

    if (find(h, "http2-settings") != NULL) {
        return BAD_REQUEST;
    }
    if (upgrade == NULL) {
        return connection_has(h, "upgrade") ? BAD_REQUEST : GO_ON;
    }
    if (!pr_slice_is_nocase(upgrade->value, "websocket") || !connection_has(h, "upgrade") ||
        h->http10 || !pr_slice_is(h->method, "GET") || h->chunked || h->length_bytes > 0) {
        return BAD_REQUEST;
    }
    h->websocket_key = pr_http_header(h, "sec-websocket-key");
    if (!is_ws_key(h->websocket_key)) {
        return BAD_REQUEST;
    }
    h->websocket = pr_slice_is(pr_http_header(h, "sec-websocket-version"), "13");
    return h->websocket ? GO_ON : BAD_WS_VERSION;
}

static enum refusal parse(struct pr_slice head, struct pr_http_head *h)
{
    struct pr_slice line = take_line(&head);
    enum refusal r = parse_request_line(line, h);

    if (r == GO_ON) {
        r = parse_headers(head, h);
    }
    if (r == GO_ON && (!singles_are_single(h) || (!h->http10 && find(h, "host") == NULL))) {
        r = BAD_REQUEST;
    }
    if (r == GO_ON) {
        r = parse_body(h);
    }
    if (r == GO_ON) {
        h->keep_alive = h->http10 ? connection_has(h, "keep-alive") : !connection_has(h, "close");
        r = parse_upgrade(h);
    }
    return r;
}

long pr_http_head_parse(struct pr_slice in, struct pr_http_head *h)
{
    long len = find_end(in, h);

    if (len <= 0) {
        return len;
    }
    enum refusal r = parse(pr_bytes(in.p, (size_t)len), h);
    return r == GO_ON ? len : (long)r;
}
