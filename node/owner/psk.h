/* SPDX-License-Identifier: Apache-2.0 */
/*
 * psk.h - TLS 1.3 with a key of the ring as external pre-shared key, from bytes to bytes: no socket
 * in here.
 *
 * RFC 8446 2.2, 4.2.9: psk_dhe_ke alone, suite TLS_AES_256_GCM_SHA384, no tickets, no early data.
 * Neither end has a certificate, so there is nothing to verify, and that has a trap: a client whose
 * server ignores its key and shows a certificate instead completes the handshake too. Both ends
 * therefore ask, once the handshake is done, whether the pre-shared key was used (OpenSSL calls
 * that a reused session). That question is the authentication.
 *
 * Both ends know the same secret, so a handshake can be led back to its sender ("Selfie", Drucker
 * and Gueron, 2019). TLS cannot see that; NODE_HELLO names both ends.
 */
#ifndef NODE_OWNER_PSK_H
#define NODE_OWNER_PSK_H

#include <sys/types.h>

#include "node/owner/keys.h"

/* Most bytes that one rt_psk_write makes: 16 KiB of text in one record and what TLS puts around. */
#define RT_PSK_TEXT_MAX   16384u
#define RT_PSK_RECORD_MAX (RT_PSK_TEXT_MAX + 256u)

struct rt_psk_side; /* what all connections of a process share */
struct rt_psk;      /* one end of one connection */

/* Borrows the ring for its life; it may be reloaded at any time, which handshakes in flight see and
 * finished ones do not. */
struct rt_psk_side *rt_psk_side_new(const struct rt_keyring *keys);
/* NULL is allowed. After all its connections. */
void rt_psk_side_free(struct rt_psk_side *s);

struct rt_psk *rt_psk_new(struct rt_psk_side *s, bool client);
/* NULL is allowed. */
void rt_psk_free(struct rt_psk *p);

/* Gives bytes that came from the peer; all are taken. */
void rt_psk_feed(struct rt_psk *p, struct pr_slice in);
/*
 * Goes on with the handshake. 1: done, and the peer knows our key. 0: needs bytes of the peer.
 * -1: failed, see rt_psk_why; what rt_psk_take still gives is the alert that tells the peer.
 */
int rt_psk_handshake(struct rt_psk *p);
/* After the handshake. Returns bytes read, 0: none yet, -1: damaged, or the peer has ended. */
ssize_t rt_psk_read(struct rt_psk *p, uint8_t *out, size_t n);
/* After the handshake; n = 1 .. RT_PSK_TEXT_MAX, all are taken. False: it failed. */
bool rt_psk_write(struct rt_psk *p, const uint8_t *in, size_t n);
/* Bytes that wait to be sent to the peer, and moves up to `n` of them out. */
size_t rt_psk_pending(const struct rt_psk *p);
size_t rt_psk_take(struct rt_psk *p, uint8_t *out, size_t n);

/* Key it came up with: id and identity; 0 and "" before. */
uint16_t rt_psk_key_id(const struct rt_psk *p);
const char *rt_psk_identity(const struct rt_psk *p);
/* Reason of the last failure, for logs. Never holds a secret. Borrowed until the next call. */
const char *rt_psk_why(const struct rt_psk *p);

#endif
