/* SPDX-License-Identifier: Apache-2.0 */
/*
 * say.h - messages to one client: replies, pushes, closes, `system` texts, refusals.
 *
 * Everything is queued at the socket and leaves at the end of the loop turn.
 */
#ifndef NODE_EDGE_SAY_H
#define NODE_EDGE_SAY_H

#include "node/edge/edge_in.h"
#include "proto/ws_frame.h"

/* Writes a text; called twice, once to measure. */
typedef void (*rt_put_fn)(struct pr_outbuf *o, const void *arg);

/* Gives a frame: WebSocket header and what `put` writes. */
struct rt_frame *rt_frame_make(enum pr_ws_opcode opcode, rt_put_fn put, const void *arg);
/* Text in the edge's scratch memory, valid until the next call. */
struct pr_slice rt_scratch_text(struct rt_edge *e, rt_put_fn put, const void *arg);

/* Copies; gives back with rt_ref_free. */
void rt_ref_keep(struct rt_ref *to, struct pr_phx_ref from);
/* Borrows from `r`. */
struct pr_phx_ref rt_ref_get(const struct rt_ref *r);
void rt_ref_free(struct rt_ref *r);

/* Address of messages of a channel: its join_ref, no ref. Borrows from it. */
struct pr_phx_addr rt_channel_addr(const struct rt_channel *ch);
/* Address of the answer to a message. Borrows from it. */
struct pr_phx_addr rt_answer_addr(const struct pr_phx_msg *m);

/* `response`: JSON text. */
void rt_say_reply(struct rt_socket *s, const struct pr_phx_addr *to, const char *status,
                  struct pr_slice response);
void rt_say_ok(struct rt_socket *s, const struct pr_phx_addr *to);
/* Reply with status error and {"reason":…}. */
void rt_say_reason(struct rt_socket *s, const struct pr_phx_addr *to, struct pr_slice reason);
#define RT_TOO_MANY_WAIT "too many messages are waiting, try again"
/* "unmatched topic"; with a null join_ref whatever came. */
void rt_say_unmatched(struct rt_socket *s, const struct pr_phx_addr *to);
void rt_say_push(struct rt_socket *s, const struct pr_phx_addr *to, const char *event,
                 struct pr_slice payload);
/* phx_close or, if `rejoin`, phx_error: the client then joins again by itself. */
void rt_say_close(struct rt_socket *s, const struct pr_phx_addr *to, bool rejoin);

/* {"extension","status","message","channel"}; a NULL channel's topic is left out by `bare`. */
struct rt_system {
    const char *extension; /* "system" or "postgres_changes" */
    bool ok;
    struct pr_slice message;
    bool bare; /* without "channel" */
};
void rt_say_system(struct rt_channel *ch, const struct rt_system *sys);

/*
 * Refusal of a join. The first free_refusals in RT_REFUSALS_MS are said at once, later ones of
 * the socket after RT_REFUSAL_DELAY_MS by timer, so that a client that tries again at once does not
 * spin; everything else of the socket goes on meanwhile. Below the client's join timeout of 10 s.
 *
 * Bound: RT_LATE_MAX refusals wait, and one more for each channel that a client may have, since who
 * awaits his answers has one join per channel under way. Overflow: rt_say_too_many_joins. The joins
 * per second of one socket let in less during the delay (450 by default); without that limit this
 * one stands alone.
 */
#define RT_REFUSALS_MS      10000u
#define RT_REFUSAL_DELAY_MS 5000u
#define RT_LATE_MAX         512u
void rt_say_refusal(struct rt_socket *s, const struct pr_phx_addr *to, struct pr_slice reason);
/* Refused at once, however many there were, and the socket is closed behind it (1001). */
void rt_say_too_many_joins(struct rt_socket *s, const struct pr_phx_addr *to);
/* Forgets those not yet said. */
void rt_late_free(struct rt_socket *s);

#endif
