/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_frame.h - headers of WebSocket frames from server to client (RFC 6455 5.2): never masked,
 * never fragmented, no extension bits.
 */
#ifndef PROTO_WS_FRAME_H
#define PROTO_WS_FRAME_H

#include "proto/bytes.h"

#define PR_WS_HEAD_MAX 10u
/* Payload of a control frame (RFC 6455 5.5); a close frame's reason has two bytes less. */
#define PR_WS_CONTROL_MAX 125u

enum pr_ws_opcode {
    PR_WS_TEXT = 1,
    PR_WS_BINARY = 2,
    PR_WS_CLOSE = 8,
    PR_WS_PING = 9,
    PR_WS_PONG = 10
};

/* 2, 4 or 10. */
size_t pr_ws_head_len(size_t payload_bytes);
void pr_ws_put_head(struct pr_outbuf *o, enum pr_ws_opcode opcode, size_t payload_bytes);
/* A whole close frame. `reason` is cut at 123 bytes, at the start of a character. */
void pr_ws_put_close(struct pr_outbuf *o, uint16_t code, const char *reason);

#endif
