/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket (RFC 6455): frames and messages from the client, the close handshake. No extension.
 */
#include "node/base/alloc.h"

#include <assert.h>
#include <openssl/sha.h>
#include <string.h>

#include "node/edge/transport_in.h"
#include "proto/utf8.h"
#include "proto/ws_frame.h"

/* Frames up to this size are handled when they are there as a whole, in place; larger ones move to
 * the message's buffer as they come, so that no byte is copied twice. */
#define WHOLE_MAX 4096u
#define FIN       0x80u
#define RESERVED  0x70u
#define CONTROL   0x08u
#define MASKED    0x80u
#define MASK_LEN  4u

struct frame_head {
    bool final, control;
    uint8_t opcode;
    uint8_t head_len; /* with the mask */
    uint64_t len;
    const uint8_t *mask;
};

static void unmask(uint8_t *p, size_t n, const uint8_t mask[MASK_LEN], uint64_t pos)
{
    uint8_t turned[8];
    uint64_t key;
    size_t i = 0;

    for (size_t k = 0; k < sizeof turned; k++) {
        turned[k] = mask[(pos + k) % MASK_LEN];
    }
    memcpy(&key, turned, sizeof key);
    for (; n - i >= sizeof key; i += sizeof key) {
        uint64_t word;

        memcpy(&word, p + i, sizeof word);
        word ^= key;
        memcpy(p + i, &word, sizeof word);
    }
    for (; i < n; i++) {
        p[i] ^= turned[i % sizeof turned];
    }
}

/* 1 complete, 0 more bytes needed, or -code to close with. */
static int read_head(const struct rt_conn *c, struct pr_slice in, struct frame_head *h)
{
    struct pr_cursor at = pr_cursor(in);
    uint8_t b0 = pr_get_u8(&at);
    uint8_t b1 = pr_get_u8(&at);

    if (at.failed) {
        return 0;
    }
    h->final = (b0 & FIN) != 0;
    h->opcode = b0 & 0x0f;
    h->control = (h->opcode & CONTROL) != 0;
    h->len = b1 & ~MASKED & 0xffu;
    if ((b0 & RESERVED) != 0 || (b1 & MASKED) == 0) {
        return -1002;
    }
    if (h->control ? h->opcode > PR_WS_PONG || !h->final || h->len > PR_WS_CONTROL_MAX
                   : h->opcode > PR_WS_BINARY || (h->opcode == 0) != (c->opcode != 0)) {
        return -1002;
    }
    uint64_t least = 0;

    if (h->len == 126) {
        h->len = pr_get_u16be(&at);
        least = 126;
    } else if (h->len == 127) {
        h->len = pr_get_u64be(&at);
        least = UINT16_MAX + UINT64_C(1);
    }
    if (at.failed) {
        return 0;
    }
    if (h->len < least || h->len > INT64_MAX) {
        return -1002; /* not the shortest form, or the top bit set: RFC 6455 5.2 */
    }
    if (!h->control && h->len > c->t->limits.message_bytes_max - c->message.len) {
        return -1009;
    }
    if (!h->control && c->fragments >= c->t->limits.fragments_max) {
        return -1008;
    }
    h->mask = pr_get_bytes(&at, MASK_LEN).p;
    h->head_len = (uint8_t)(in.n - at.left);
    return at.failed ? 0 : 1;
}

static void fail(struct rt_conn *c, int code)
{
    const char *reason = code == 1009   ? "message too big"
                         : code == 1008 ? "too many fragments"
                         : code == 1007 ? "text is not UTF-8"
                                        : "protocol error";

    rt_conn_close(c, (uint16_t)code, reason);
}

static void deliver(struct rt_conn *c, struct pr_slice message, uint8_t opcode)
{
    bool text = opcode == PR_WS_TEXT;

    if (text && !pr_utf8_ok(message)) {
        fail(c, 1007);
        return;
    }
    c->busy = true;
    c->t->ev->on_message(c->t->ctx, c, message, text);
    c->busy = false;
}

/* The last frame of a message in parts is here. */
static void deliver_collected(struct rt_conn *c)
{
    struct rt_bytes message = c->message;
    uint8_t opcode = c->opcode;

    c->message = (struct rt_bytes){.p = NULL};
    c->opcode = 0;
    c->fragments = 0;
    deliver(c, pr_bytes(message.p + message.off, message.len), opcode);
    rt_bytes_free(&message);
}

static bool close_code_ok(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* Answers the client's close frame with its code, and lets it go. */
static void on_peer_close(struct rt_conn *c, struct pr_slice payload)
{
    uint8_t frame[PR_WS_HEAD_MAX + PR_WS_CONTROL_MAX];
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);

    if (payload.n > 0) {
        struct pr_cursor at = pr_cursor(payload);
        uint16_t code = pr_get_u16be(&at);

        if (at.failed || !close_code_ok(code)) {
            fail(c, 1002);
            return;
        }
        if (!pr_utf8_ok(pr_bytes(payload.p + 2, payload.n - 2))) {
            fail(c, 1007);
            return;
        }
        pr_ws_put_close(&o, code, "");
    } else {
        pr_ws_put_head(&o, PR_WS_CLOSE, 0);
    }
    rt_conn_write(c, frame, o.len);
    rt_conn_finish(c, RT_CLOSE_LINGER_MS);
}

static void on_control(struct rt_conn *c, uint8_t opcode, struct pr_slice payload)
{
    if (opcode == PR_WS_CLOSE) {
        on_peer_close(c, payload);
        return;
    }
    if (opcode == PR_WS_PING) {
        rt_conn_pong(c, payload);
    }
    c->busy = true;
    c->t->ev->on_alive(c->t->ctx, c);
    c->busy = false;
}

/* A frame that is here as a whole, payload at p. */
static void on_whole_frame(struct rt_conn *c, const struct frame_head *h, uint8_t *p)
{
    size_t n = (size_t)h->len;

    unmask(p, n, h->mask, 0);
    if (h->control) {
        on_control(c, h->opcode, pr_bytes(p, n));
        return;
    }
    if (h->final && h->opcode != 0) {
        deliver(c, pr_bytes(p, n), h->opcode);
        return;
    }
    c->opcode = h->opcode != 0 ? h->opcode : c->opcode;
    c->fragments++;
    rt_bytes_add(&c->message, p, n);
    if (h->final) {
        deliver_collected(c);
    }
}

/* Bytes of a large frame. Returns how many were its. */
static size_t on_frame_bytes(struct rt_conn *c, uint8_t *p, size_t n)
{
    n = n < c->frame_left ? n : (size_t)c->frame_left;
    unmask(p, n, c->mask, c->frame_pos);
    rt_bytes_add(&c->message, p, n);
    c->frame_pos += n;
    c->frame_left -= n;
    if (c->frame_left == 0) {
        c->in_frame = false;
        if (c->final) {
            deliver_collected(c);
        }
    }
    return n;
}

static void begin_frame(struct rt_conn *c, const struct frame_head *h)
{
    c->in_frame = true;
    c->final = h->final;
    c->opcode = h->opcode != 0 ? h->opcode : c->opcode;
    c->fragments++;
    c->frame_left = h->len;
    c->frame_pos = 0;
    memcpy(c->mask, h->mask, MASK_LEN);
}

size_t rt_ws_input(struct rt_conn *c, uint8_t *p, size_t n)
{
    struct frame_head h;

    if (c->close_due) {
        return n; /* nothing counts any more */
    }
    if (c->in_frame) {
        return on_frame_bytes(c, p, n);
    }
    int r = read_head(c, pr_bytes(p, n), &h);

    if (r < 0) {
        fail(c, -r);
        return n;
    }
    if (r == 0) {
        return 0;
    }
    if (n - h.head_len >= h.len) {
        on_whole_frame(c, &h, p + h.head_len);
        return h.head_len + (size_t)h.len;
    }
    if (h.len <= WHOLE_MAX) {
        return 0;
    }
    begin_frame(c, &h);
    return h.head_len;
}

void rt_conn_close(struct rt_conn *c, uint16_t code, const char *reason)
{
    switch ((enum rt_conn_state)c->state) {
    case RT_CONN_OPENING:
    case RT_CONN_WS:
        break;
    case RT_CONN_TLS:
    case RT_CONN_HEAD:
    case RT_CONN_BODY:
    case RT_CONN_WAIT:
    case RT_CONN_ANSWER:
        rt_conn_kill(c);
        return;
    case RT_CONN_CLOSING:
    case RT_CONN_DEAD:
        return;
    }
    if (!c->close_due) {
        c->close_due = true;
        c->close_code = code;
        c->close_reason = rt_strdup(reason);
        rt_conn_work(c);
    }
}

void rt_ws_send_close(struct rt_conn *c)
{
    uint8_t frame[PR_WS_HEAD_MAX + PR_WS_CONTROL_MAX];
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);

    pr_ws_put_close(&o, c->close_code, c->close_reason);
    assert(pr_out_ok(&o));
    c->close_due = false;
    rt_conn_write(c, frame, o.len);
    rt_conn_finish(c, RT_CLOSE_LINGER_MS);
}

/* The first subprotocol the client offers: browsers give up if none of theirs is answered. */
static struct pr_slice first_protocol(const struct pr_http_head *h)
{
    struct pr_slice s = pr_http_header(h, "sec-websocket-protocol");
    size_t n = 0;

    while (n < s.n && s.p[n] != ',' && s.p[n] != ' ' && s.p[n] != '\t') {
        n++;
    }
    return pr_bytes(s.p, n);
}

/* RFC 6455 4.2.2: base64 of SHA-1 of the key and a fixed text. */
static void put_accept(struct pr_outbuf *o, struct pr_slice key)
{
    static const char fixed[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t joined[64];
    uint8_t hash[SHA_DIGEST_LENGTH];
    uint8_t text[32];
    struct pr_outbuf in = pr_outbuf(joined, sizeof joined);

    pr_put_slice(&in, key);
    pr_put_str(&in, fixed);
    assert(pr_out_ok(&in));
    (void)SHA1(joined, in.len, hash);
    int n = EVP_EncodeBlock(text, hash, sizeof hash);

    pr_put(o, text, (size_t)n);
}

static void put_answer(struct pr_outbuf *o, const struct pr_http_head *h)
{
    struct pr_slice protocol = first_protocol(h);

    pr_put_str(o, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n"
                  "connection: Upgrade\r\nsec-websocket-accept: ");
    put_accept(o, h->websocket_key);
    if (protocol.n > 0) {
        pr_put_str(o, "\r\nsec-websocket-protocol: ");
        pr_put_slice(o, protocol);
    }
    pr_put_str(o, "\r\n\r\n");
}

char *rt_ws_answer(const struct pr_http_head *h)
{
    struct pr_outbuf o = pr_outbuf(NULL, 0);

    put_answer(&o, h);
    o = pr_outbuf(rt_malloc(o.len + 1), o.len);
    put_answer(&o, h);
    assert(pr_out_ok(&o));
    o.p[o.len] = 0;
    return (char *)o.p;
}
