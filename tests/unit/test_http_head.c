/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/http_head.h"

#define HOST "Host: x\r\n"
#define KEY  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13  "Sec-WebSocket-Version: 13\r\n"
#define UP   "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define GET  "GET /s?a=1 HTTP/1.1\r\n"

static struct pr_http_head h;

static long parse(struct pr_slice in)
{
    memset(&h, 0, sizeof h);
    return pr_http_head_parse(in, &h);
}

static void accepts_upgrades(void **state)
{
    static const char *const rows[] = {
        GET HOST UP KEY V13 "\r\n",
        GET HOST "upgrade: WebSocket\r\nconnection: UPGRADE\r\n" KEY V13 "\r\n",
        GET HOST "Upgrade:websocket\r\nConnection: close\r\nConnection: upgrade\r\n" KEY V13 "\r\n",
        GET HOST UP "Sec-WebSocket-Key: +/+/+/+/+/+/+/+/+/+/+w==\r\n" V13 "\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(parse(pr_str(rows[i])), (long)strlen(rows[i]));
        assert_true(h.websocket);
        assert_int_equal(h.websocket_key.n, 24);
        assert_true(pr_slice_is(h.path, "/s") && pr_slice_is(h.query, "a=1"));
        assert_true(pr_slice_is(pr_http_header(&h, "HOST"), "x"));
        assert_int_equal(pr_http_header(&h, "none").n, 0);
    }
}

static void accepts_requests(void **state)
{
    static const char body[] = "POST /a HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n{}";
    static const char chunked[] =
        "POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\nExpect: 100-continue\r\n\r\n";

    (void)state;
    assert_int_equal(parse(pr_str(body)), (long)sizeof body - 3);
    assert_true(h.has_length && h.length_bytes == 12 && !h.chunked && h.keep_alive);
    assert_true(!h.websocket && pr_slice_is(h.method, "POST") && h.query.n == 0);
    assert_int_equal(parse(pr_str(chunked)), (long)sizeof chunked - 1);
    assert_true(h.chunked && !h.has_length && h.expect_continue);

    assert_true(parse(pr_str("GET / HTTP/1.0\r\n\r\n")) > 0);
    assert_true(h.http10 && !h.keep_alive);
    assert_true(parse(pr_str("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n")) > 0);
    assert_true(h.keep_alive);
    assert_true(parse(pr_str(GET HOST "Connection: close\r\n\r\n")) > 0);
    assert_false(h.keep_alive);
    assert_true(parse(pr_str("OPTIONS * HTTP/1.1\r\n" HOST "\r\n")) > 0);
    assert_true(parse(pr_str(GET HOST "A: \t b c \t\r\nEmpty:\r\n\r\n")) > 0);
    assert_true(pr_slice_is(pr_http_header(&h, "a"), "b c"));
    assert_true(parse(pr_str(GET HOST "A: \xc3\xa9\r\n\r\n")) > 0);
}

static void refuses(void **state)
{
    static const struct {
        const char *in;
        long want;
    } rows[] = {
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -505},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", -505},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", -505},
        {"GET / HTTP/x.1\r\n" HOST "\r\n", -400},
        {"GET / http/1.1\r\n" HOST "\r\n", -400},
        {"GET /\r\n\r\n", -400},
        {"GET\r\n\r\n", -400},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", -400},
        {"GE(T / HTTP/1.1\r\n" HOST "\r\n", -400},
        {"BREW / HTTP/1.1\r\n" HOST "\r\n", -405},
        {"CONNECT x:1 HTTP/1.1\r\n" HOST "\r\n", -405},
        {"GET x HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET http://x/ HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET /#a HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET /\xff HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET ? HTTP/1.1\r\n" HOST "\r\n", -400},
        {"GET / HTTP/1.1\r\n\r\n", -400},
        {GET HOST HOST "\r\n", -400},
        {GET "Host : x\r\n\r\n", -400},
        {GET HOST "A\r\n\r\n", -400},
        {GET HOST ": b\r\n\r\n", -400},
        {GET HOST "A: b\r\n c\r\n\r\n", -400},
        {GET HOST "A: b\n\r\n", -400},
        {GET HOST "A: b\rc\r\n\r\n", -400},
        {GET HOST "A: \x01\r\n\r\n", -400},
        {GET HOST "A: \x7f\r\n\r\n", -400},
        {"\r\n" GET HOST "\r\n", -400},
        {"\x16\x03\x01", -400},
        {" ", -400},
        {GET HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", -400},
        {GET HOST "Content-Length: +1\r\n\r\n", -400},
        {GET HOST "Content-Length: 1, 1\r\n\r\n", -400},
        {GET HOST "Content-Length:\r\n\r\n", -400},
        {GET HOST "Content-Length: 1234567890123456789\r\n\r\n", -400},
        {GET HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", -400},
        {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", -400},
        {GET HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", -501},
        {GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", -400},
        {GET HOST "Authorization: a\r\nAuthorization: b\r\n\r\n", -400},
        {GET HOST "Expect: fish\r\n\r\n", -417},
        {GET HOST "Upgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n\r\n", -400},
        {GET HOST "HTTP2-Settings: x\r\n\r\n", -400},
        {GET HOST "Upgrade: websocket, h2c\r\nConnection: upgrade\r\n" KEY V13 "\r\n", -400},
        {GET HOST "Connection: upgrade\r\n\r\n", -400},
        {GET HOST "Upgrade: websocket\r\n" KEY V13 "\r\n", -400},
        {GET HOST UP V13 "\r\n", -400},
        {GET HOST UP KEY KEY V13 "\r\n", -400},
        {GET HOST UP KEY "\r\n", -426},
        {GET HOST UP KEY "Sec-WebSocket-Version: 8\r\n\r\n", -426},
        {GET HOST UP V13 "Sec-WebSocket-Key: short==\r\n\r\n", -400},
        {GET HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ-==\r\n\r\n", -400},
        {GET HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBs!SBub25jZQ==\r\n\r\n", -400},
        {GET HOST UP V13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n\r\n", -400},
        {"POST / HTTP/1.1\r\n" HOST UP KEY V13 "\r\n", -400},
        {"GET / HTTP/1.0\r\n" HOST UP KEY V13 "\r\n", -400},
        {GET HOST UP KEY V13 "Content-Length: 5\r\n\r\n", -400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        long rc = parse(pr_str(rows[i].in));

        if (rc != rows[i].want) {
            fail_msg("%s: %ld", rows[i].in, rc);
        }
    }
    assert_int_equal(parse(pr_bytes("GET / \0", 7)), -400);
}

/* Byte by byte: nothing before the last byte, and the same verdict. */
static void waits_for_more(void **state)
{
    static const char head[] = GET HOST UP KEY V13 "\r\n";

    (void)state;
    memset(&h, 0, sizeof h);
    for (size_t n = 0; n < sizeof head - 1; n++) {
        assert_int_equal(pr_http_head_parse(pr_bytes(head, n), &h), 0);
        assert_int_equal(h.scanned, n);
    }
    assert_int_equal(pr_http_head_parse(pr_str(head), &h), (long)sizeof head - 1);
}

static void bounds_size(void **state)
{
    static char head[40000];
    struct pr_outbuf o = pr_outbuf(head, sizeof head);

    (void)state;
    pr_put_str(&o, GET HOST);
    for (int i = 0; i < 63; i++) {
        pr_put_str(&o, "A: b\r\n");
    }
    size_t len = o.len;
    pr_put_str(&o, "\r\n");
    assert_int_equal(parse(pr_bytes(head, o.len)), (long)o.len);
    o.len = len;
    pr_put_str(&o, "A: b\r\n\r\n");
    assert_int_equal(parse(pr_bytes(head, o.len)), -431);

    memset(head, 'a', sizeof head);
    memcpy(head, "GET /", 5);
    assert_int_equal(parse(pr_bytes(head, PR_HTTP_HEAD_MAX - 1)), 0);
    assert_int_equal(parse(pr_bytes(head, PR_HTTP_HEAD_MAX)), -431);
    assert_int_equal(parse(pr_bytes(head, sizeof head)), -431);

    /* A head of exactly the limit is good. */
    memcpy(head + PR_HTTP_HEAD_MAX - 22, " HTTP/1.1\r\n" HOST "\r\n", 22);
    assert_int_equal(parse(pr_bytes(head, sizeof head)), PR_HTTP_HEAD_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_upgrades), cmocka_unit_test(accepts_requests),
        cmocka_unit_test(refuses),          cmocka_unit_test(waits_for_more),
        cmocka_unit_test(bounds_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
