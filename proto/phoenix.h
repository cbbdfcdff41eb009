/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phoenix.h - messages of clients: Phoenix channels, serializers 1.0.0 and 2.0.0, and the binary
 * kinds 3 and 4 that realtime-js adds.
 *
 *   1.0.0 text    {"topic":T,"event":E,"payload":P,"ref":R,"join_ref":J}   server: no join_ref
 *   2.0.0 text    [J,R,T,E,P]
 *   2.0.0 binary  0 push:  u8 J_len R_len T_len E_len | J R T E data                    c->s
 *                 3 user broadcast push: u8 J_len R_len T_len E_len M_len encoding | J R T E M data
 *                                                                                       c->s
 *                 4 user broadcast: u8 T_len E_len M_len encoding | T E M data          s->c
 *
 * Sources: phoenixframework/phoenix lib/phoenix/socket/serializers, supabase/realtime-js
 * lib/serializer. All topics here are whole ones ("realtime:room"). Nothing is allocated.
 */
#ifndef PROTO_PHOENIX_H
#define PROTO_PHOENIX_H

#include "proto/bcast.h"
#include "proto/bytes.h"
#include "proto/json_scan.h"

#define PR_PHX_REF_MAX   255u  /* bytes of a ref or join_ref as sent, quotes included */
#define PR_PHX_TOPIC_MAX 1024u /* bytes; fits a topic key (mesh.h) with any project name */
#define PR_PHX_EVENT_MAX 255u
/* What pr_phx_decode needs at most: topic and event without escapes, or Latin-1 as UTF-8. */
#define PR_PHX_SCRATCH_BYTES (PR_PHX_TOPIC_MAX + 2u * PR_PHX_EVENT_MAX)

enum pr_vsn { PR_VSN_1 = 1, PR_VSN_2 = 2 };
/* Value of the query parameter `vsn` (absent = 1.0.0, the caller's rule). "1.0.N" and "2.0.N";
 * anything else is PR_EVERSION. */
PR_MUST_CHECK int pr_vsn_parse(struct pr_slice text, enum pr_vsn *vsn);

/*
 * A ref or join_ref, opaque, echoed as it came. Zeros are null. To keep one beyond its message,
 * copy the bytes (at most PR_PHX_REF_MAX) and the flag.
 */
struct pr_phx_ref {
    struct pr_slice bytes; /* token: the JSON text, string or number; else the plain text */
    bool token;
};
bool pr_phx_ref_is_null(struct pr_phx_ref ref);
/* Same text, however it was written: "6" in a text frame is 6 in a binary one. Null is empty. */
bool pr_phx_ref_eq(struct pr_phx_ref a, struct pr_phx_ref b);
/* As JSON: the token, the text as a JSON string, or null. */
void pr_phx_put_ref(struct pr_outbuf *o, struct pr_phx_ref ref);

enum pr_phx_kind {
    PR_PHX_TEXT = 1, /* payload is JSON of any type */
    PR_PHX_PUSH,     /* binary kind 0: payload is bytes; we support no event in this form */
    PR_PHX_BROADCAST /* binary kind 3: event is the user's event */
};

struct pr_phx_msg {
    enum pr_phx_kind kind;
    struct pr_phx_ref join_ref;
    struct pr_phx_ref ref;
    struct pr_slice topic; /* PR_PHX_BROADCAST: maybe not UTF-8, see pr_phx_topic_is_latin1 */
    struct pr_slice event; /* always UTF-8 without NUL */
    struct pr_slice payload;
    enum pr_json_type payload_type; /* PR_PHX_TEXT */
    bool json; /* payload is JSON text: PR_PHX_TEXT, or kind 3 with encoding other than 0 */
    /* kind 3 with JSON: PR_OK, or what is wrong with it (PR_ESYNTAX, PR_EUTF8, PR_EDEPTH); such a
     * message must be dropped, and answered if the channel asked for acks. */
    int payload_error;
    struct pr_slice metadata; /* kind 3: as sent, not checked, never to be passed on */
};

/*
 * Decodes one message. Borrows `in` and the memory of `scratch` (PR_PHX_SCRATCH_BYTES are always
 * enough) for the life of *m. Errors: PR_ESYNTAX, PR_EUTF8, PR_EDEPTH, PR_ETYPE (a field of the
 * wrong type), PR_ESHORT (fields missing, or lengths over the frame), PR_ERANGE (ref, topic or
 * event too long), PR_EVERSION (unknown binary kind, or binary on 1.0.0). A NUL in topic or event
 * is PR_ESYNTAX, since neither topic keys nor Postgres can carry it. Array elements after the fifth
 * and unknown members are checked, then ignored.
 */
PR_MUST_CHECK int pr_phx_decode(enum pr_vsn vsn, struct pr_slice in, bool text,
                                struct pr_outbuf *scratch, struct pr_phx_msg *m);

/* The serializers behind pr_phx_decode. */
PR_MUST_CHECK int pr_phx_v1_decode(struct pr_slice in, struct pr_outbuf *scratch,
                                   struct pr_phx_msg *m);
PR_MUST_CHECK int pr_phx_v2_decode_text(struct pr_slice in, struct pr_outbuf *scratch,
                                        struct pr_phx_msg *m);
PR_MUST_CHECK int pr_phx_v2_decode_binary(struct pr_slice in, struct pr_outbuf *scratch,
                                          struct pr_phx_msg *m);

/*
 * realtime-js 2.81 to 2.110.8 write the low byte of each UTF-16 unit into the header of kind 3. Are
 * the bytes `sent` what they make of `topic` (UTF-8)?
 */
bool pr_phx_topic_is_latin1(struct pr_slice sent, struct pr_slice topic);

/* Where a server message belongs. */
struct pr_phx_addr {
    struct pr_phx_ref join_ref; /* of the message that is answered, or of the channel */
    struct pr_phx_ref ref;      /* of the message that is answered; unused by others */
    struct pr_slice topic;
};

/* phx_reply. `status` is "ok" or "error"; `response` is JSON text ({} when there is nothing). */
void pr_phx_put_reply(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                      const char *status, struct pr_slice response);
/* A push with a null ref; with the join_ref of `to` in 2.0.0 (zeros: null). payload: JSON text. */
void pr_phx_put_push(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                     const char *event, struct pr_slice payload);
/* phx_close: final for the client. The join_ref stands in `ref` too: clients compare it. */
void pr_phx_put_close(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to);
/* phx_error {"reason":R}: the client joins again. */
void pr_phx_put_error(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                      const char *reason);

/*
 * One broadcast as the members of one version get it. `topic` is the same for all of them, so are
 * the bytes. Tells the form of what it appended: NONE (nothing was) for bytes to 1.0.0, and for
 * bytes with a topic, event or metadata over 255 bytes, which pr_phx_bcast_fits() tells a sender.
 */
enum pr_phx_form { PR_PHX_FORM_NONE = 0, PR_PHX_FORM_TEXT, PR_PHX_FORM_BINARY };
enum pr_phx_form pr_phx_bcast_form(enum pr_vsn vsn, struct pr_slice topic,
                                   const struct pr_bcast *b);
enum pr_phx_form pr_phx_put_bcast(struct pr_outbuf *o, enum pr_vsn vsn, struct pr_slice topic,
                                  const struct pr_bcast *b);
/* A stored one, to one member: JSON is text with the join_ref of `to`, bytes are as above. */
enum pr_phx_form pr_phx_replay_form(enum pr_vsn vsn, struct pr_slice topic,
                                    const struct pr_bcast *b);
void pr_phx_put_replay(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                       const struct pr_bcast *b);
bool pr_phx_bcast_fits(struct pr_slice topic, const struct pr_bcast *b);

/* Shared by the serializers: a JSON value as ref, as topic or event of at most `max` bytes. */
PR_MUST_CHECK int pr_phx_take_ref(const struct pr_json *v, struct pr_phx_ref *ref);
PR_MUST_CHECK int pr_phx_take_name(const struct pr_json *v, size_t max, struct pr_outbuf *scratch,
                                   struct pr_slice *name);
/* A text message up to where its payload starts; one closing bracket ends it. */
void pr_phx_v1_begin(struct pr_outbuf *o, const struct pr_phx_addr *to, const char *event);
void pr_phx_v2_begin(struct pr_outbuf *o, const struct pr_phx_addr *to, const char *event);
/* Kind 4. Topic, event and metadata are at most 255 bytes each. */
void pr_phx_v2_put_broadcast(struct pr_outbuf *o, struct pr_slice topic, const struct pr_bcast *b);

#endif
