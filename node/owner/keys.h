/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h - the keys that the nodes of one cluster share (REALTIME_CLUSTER_KEY).
 *
 * A comma list of base64 keys of 32 bytes. The first one seals and dials, all of them open and
 * accept. So a key is changed without a cut, each step on every node before the next: put the new
 * one second, make it the first, take the old one out.
 *
 * A key is named by the first 2 bytes of its SHA-256, which tell nothing about it: in a datagram as
 * a number, in TLS as the identity "rt1:" and 4 hex digits. Names are unique in a ring; two keys
 * with one name (1 chance in 65536) are refused, so that whoever reads a name knows the key.
 *
 * No key is ever logged, shown or kept in freed memory.
 */
#ifndef NODE_OWNER_KEYS_H
#define NODE_OWNER_KEYS_H

#include <stdint.h>

#include "node/base/errors.h"
#include "proto/bytes.h"

#define RT_KEY_BYTES 32u /* of AES-256 */
/* Rotation needs 2; a few more for one that was left unfinished. */
#define RT_KEYS_MAX 8u
/* "rt1:abcd" and the NUL. */
#define RT_KEY_IDENTITY_MAX 9u
/* The names of all keys of a ring, with commas and a NUL. */
#define RT_KEYS_TEXT_MAX ((size_t)RT_KEYS_MAX * RT_KEY_IDENTITY_MAX)

struct rt_key {
    uint8_t bytes[RT_KEY_BYTES];
    uint16_t id;
    char identity[RT_KEY_IDENTITY_MAX]; /* for TLS; also how it is shown to people */
};

struct rt_keyring {
    struct rt_key key[RT_KEYS_MAX]; /* key[0] seals */
    uint32_t count;                 /* 1..RT_KEYS_MAX */
    uint64_t generation;            /* changes with every reload: what was derived before is void */
};

/*
 * Gives a ring of the keys in `list` (borrowed; blanks around a key are allowed), or NULL with the
 * reason in *err: which key of the list is wrong and how, never its text.
 */
PR_MUST_CHECK struct rt_keyring *rt_keyring_new(const char *list, struct rt_error *err);
/*
 * Takes another list. Returns 1 if the ring has changed, 0 if the list names the same keys in the
 * same order, or RT_ECONFIG, and then the ring is as before.
 */
PR_MUST_CHECK int rt_keyring_reload(struct rt_keyring *ring, const char *list,
                                    struct rt_error *err);
/* Wipes the keys. NULL is allowed. */
void rt_keyring_free(struct rt_keyring *ring);

/* "rt1:a41c,rt1:77e0": the names, the first one is of the key that seals. */
void rt_keyring_ids(const struct rt_keyring *ring, char out[RT_KEYS_TEXT_MAX]);

/* Borrows the key of that name until the next reload; NULL: there is none. */
const struct rt_key *rt_keyring_by_id(const struct rt_keyring *ring, uint16_t id);
const struct rt_key *rt_keyring_by_identity(const struct rt_keyring *ring,
                                            struct pr_slice identity);

#endif
