/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal.h - datagrams between nodes, sealed with a key of the cluster.
 *
 *   0  u8 version = 1 | u8 flags (1 = sealed) | u16 key id
 *   4  u64 sender id | 12 u64 salt of the sender's boot | 20 u64 counter
 *   28 payload, encrypted | 16 bytes tag                                       (all big endian)
 *
 * AES-256-GCM (NIST SP 800-38D); bytes 0-27 are authenticated too. The key is made for one boot of
 * one sender: HKDF-SHA256 (RFC 5869) of the ring's key with salt = boot salt and sender id, info =
 * "rt udp 1". The nonce is 4 zero bytes and the counter. The salt is new with every start of the
 * process and the counter only grows, over changes of the ring too, so no (key, nonce) is ever used
 * twice.
 *
 * Nothing is decoded, answered or remembered before the tag is right. A datagram with a valid tag
 * is taken once: a window of RT_WINDOW counters per (sender, salt), for the RT_SEAL_PEERS last
 * heard. What is older than all of those windows could be repeated by an eavesdropper; it carries
 * facts that are ordered by their own epoch and incarnation, so a repeat says nothing new.
 */
#ifndef NODE_OWNER_SEAL_H
#define NODE_OWNER_SEAL_H

#include "node/owner/keys.h"
#include "proto/bytes.h"

#define RT_SEAL_HEADER_BYTES 28u
#define RT_SEAL_TAG_BYTES    16u
/* What one Ethernet frame carries: 1500 - 20 (IPv4) - 8 (UDP). More is never ours. */
#define RT_SEAL_PACKET_MAX  1472u
#define RT_SEAL_PAYLOAD_MAX (RT_SEAL_PACKET_MAX - RT_SEAL_HEADER_BYTES - RT_SEAL_TAG_BYTES)
/* Boots of senders that are remembered: two for each of the 256 nodes of the largest cluster. */
#define RT_SEAL_PEERS 512u

/* Why a datagram was refused: code, name in metrics. */
#define RT_SEAL_REASONS(X)                                                                         \
    X(RT_SEAL_SHORT, "short")       /* shorter than header and tag */                              \
    X(RT_SEAL_OVERSIZE, "oversize") /* longer than RT_SEAL_PACKET_MAX */                           \
    X(RT_SEAL_VERSION, "version")   /* another version, or flags nobody knows */                   \
    X(RT_SEAL_UNSEALED, "unsealed") /* not sealed, and we have keys; or the other way round */     \
    X(RT_SEAL_OWN, "own")           /* sent by this very process */                                \
    X(RT_SEAL_KEY, "unknown_key")   /* sealed with a key that is not in the ring */                \
    X(RT_SEAL_TAG, "bad_tag")       /* altered, or sealed with another key of the same name */     \
    X(RT_SEAL_REPLAY, "replay")     /* taken before, or older than the window */

enum rt_seal_verdict {
    RT_SEAL_TAKEN = 0,
#define RT_X(code, name) code,
    RT_SEAL_REASONS(RT_X)
#undef RT_X
        RT_SEAL_VERDICTS /* how many */
};
/* "taken", "short", ... */
const char *rt_seal_verdict_name(enum rt_seal_verdict v);

struct rt_seal_counts {
    uint64_t sealed;                   /* datagrams made */
    uint64_t opened[RT_SEAL_VERDICTS]; /* datagrams looked at, by verdict */
};

struct rt_seal;

/*
 * Gives the sealing side and the opening side of one process.
 *
 * keys   borrowed, must outlive it; may be reloaded at any time. NULL: nothing is sealed and
 * nothing sealed is taken (REALTIME_CLUSTER_INSECURE, for tests alone); the rest works the same
 * self   id of this node
 * salt   random, fresh with every start of the process
 */
struct rt_seal *rt_seal_new(const struct rt_keyring *keys, uint64_t self, uint64_t salt);
/* Wipes what it derived. NULL is allowed. */
void rt_seal_free(struct rt_seal *s);

/* Writes the datagram of `payload` (at most RT_SEAL_PAYLOAD_MAX bytes); returns its length. */
size_t rt_seal_pack(struct rt_seal *s, struct pr_slice payload, uint8_t out[RT_SEAL_PACKET_MAX]);
/*
 * Opens one. RT_SEAL_TAKEN: *payload lies in `out`, and *sender (NULL is allowed) is the id of the
 * node that sealed it. Otherwise the reason, `out` holds nothing of use and nothing has changed but
 * a counter.
 */
PR_MUST_CHECK enum rt_seal_verdict rt_seal_open(struct rt_seal *s, struct pr_slice datagram,
                                                uint8_t out[RT_SEAL_PAYLOAD_MAX],
                                                struct pr_slice *payload, uint64_t *sender);
const struct rt_seal_counts *rt_seal_counts(const struct rt_seal *s);

#endif
