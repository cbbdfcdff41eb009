/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_head.h - checks the head of an HTTP/1.1 request before any library sees it.
 *
 * Strict by RFC 9112 where doubt would let two readers see two requests: CRLF only, no folded
 * headers, no space before the colon, no control bytes, one Host, one Content-Length of plain
 * digits, no Transfer-Encoding but a single "chunked" and never beside a Content-Length. HTTP/2 is
 * refused in both its forms: the preface, and any Upgrade but "websocket".
 *
 * Linear time: `scanned` lets the search for the end go on where it stopped.
 */
#ifndef PROTO_HTTP_HEAD_H
#define PROTO_HTTP_HEAD_H

#include "proto/bytes.h"

#define PR_HTTP_HEADERS_MAX 64u
/* Request line and headers. A JWT with many claims travels in the query string. */
#define PR_HTTP_HEAD_MAX 16384u

struct pr_http_header {
    struct pr_slice name;  /* as sent: compare with pr_slice_is_nocase */
    struct pr_slice value; /* without white space around */
};

/* Zero it before the first call for a request. Borrows the buffer of the call that succeeded. */
struct pr_http_head {
    size_t scanned; /* bytes known to hold no end of the head; kept between calls */
    struct pr_slice method;
    struct pr_slice path;  /* as sent, without the query; begins with "/", or is "*" */
    struct pr_slice query; /* without "?", not decoded */
    bool http10;
    bool keep_alive;
    bool websocket; /* a well-formed WebSocket upgrade, RFC 6455 4.2.1 */
    struct pr_slice websocket_key;
    bool chunked;
    bool expect_continue; /* the client waits for "100 Continue" before it sends the body */
    bool has_length;
    uint64_t length_bytes;
    uint32_t nheaders;
    struct pr_http_header headers[PR_HTTP_HEADERS_MAX];
};

/*
 * Reads the head at the start of `in`, which holds everything received so far. Returns its length
 * (> 0), 0 if more bytes are needed, or -status of the answer after which the connection closes:
 *   400 malformed, or an Upgrade to anything but a well-formed WebSocket
 *   405 a method other than GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
 *   417 an Expect other than 100-continue
 *   426 a WebSocket version other than 13 (answer with Sec-WebSocket-Version: 13)
 *   431 over PR_HTTP_HEAD_MAX bytes or PR_HTTP_HEADERS_MAX headers
 *   501 a transfer coding we do not know     505 not HTTP/1.0 or 1.1
 */
PR_MUST_CHECK long pr_http_head_parse(struct pr_slice in, struct pr_http_head *h);
/* Value of the first header of this name (any case), empty if there is none. */
struct pr_slice pr_http_header(const struct pr_http_head *h, const char *name);

#endif
