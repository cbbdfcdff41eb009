/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams, against a ring of two keys. The first byte says what the rest is:
 *
 *   0  a datagram for a node with keys
 *   1  what to seal by hand: u8 key, u64 sender, u64 salt, u64 counter, u16 which byte to alter,
 *      u8 how, payload; so that the fuzzer reaches what lies behind the tag
 *   2  a datagram for a node without keys
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/seal_help.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SELF 0x0102030405060708u
#define BOOT 0x1112131415161718u

static struct rt_keyring *ring;
static uint8_t packet[RT_SEAL_PACKET_MAX];
static uint8_t plain[RT_SEAL_PAYLOAD_MAX];

static enum rt_seal_verdict opened(struct rt_seal *s, struct pr_slice in, struct pr_slice *payload,
                                   uint64_t *sender)
{
    enum rt_seal_verdict v;
    uint64_t before = 0, total = 0;

    for (int i = 0; i < RT_SEAL_VERDICTS; i++) {
        before += rt_seal_counts(s)->opened[i];
    }
    v = rt_seal_open(s, in, plain, payload, sender);
    assert(v < RT_SEAL_VERDICTS);
    assert(in.n <= RT_SEAL_PACKET_MAX || v == RT_SEAL_OVERSIZE);
    assert(in.n >= RT_SEAL_HEADER_BYTES || v == RT_SEAL_SHORT);
    for (int i = 0; i < RT_SEAL_VERDICTS; i++) {
        total += rt_seal_counts(s)->opened[i];
    }
    assert(total == before + 1); /* each one is counted, once */
    return v;
}

/* Who opens it must have got what sealing by hand gives, and takes it once. */
static void check_taken(struct rt_seal *s, struct pr_slice in, struct pr_slice payload,
                        uint64_t sender)
{
    static uint8_t text[RT_SEAL_PAYLOAD_MAX];
    struct pr_cursor c = pr_cursor(in);
    struct help_packet p = {.sender = 0};
    const struct rt_key *key;

    (void)pr_get_u16be(&c);
    key = rt_keyring_by_id(ring, pr_get_u16be(&c));
    p.sender = pr_get_u64be(&c);
    p.salt = pr_get_u64be(&c);
    p.counter = pr_get_u64be(&c);
    assert(key != NULL && p.sender == sender);
    memcpy(text, payload.p, payload.n);
    p.payload = pr_bytes(text, payload.n);
    assert(help_seal(key, &p, packet) == in.n);
    assert(memcmp(packet, in.p, in.n) == 0);
    assert(opened(s, in, &payload, NULL) == RT_SEAL_REPLAY);
}

static void sealed(struct pr_slice in)
{
    struct rt_seal *s = rt_seal_new(ring, SELF, BOOT);
    struct pr_slice payload;
    uint64_t sender;

    if (opened(s, in, &payload, &sender) == RT_SEAL_TAKEN) {
        check_taken(s, in, payload, sender);
    }
    rt_seal_free(s);
}

static void made(struct pr_slice in)
{
    static uint8_t whole[RT_SEAL_PACKET_MAX];
    struct rt_seal *s = rt_seal_new(ring, SELF, BOOT);
    struct pr_cursor c = pr_cursor(in);
    const struct rt_key *key = &ring->key[pr_get_u8(&c) % ring->count];
    struct help_packet p = {.sender = 0};
    struct pr_slice payload;
    uint64_t sender;
    size_t at, n;
    uint8_t how;
    bool own;

    p.sender = pr_get_u64be(&c);
    p.salt = pr_get_u64be(&c);
    p.counter = pr_get_u64be(&c);
    at = pr_get_u16be(&c);
    how = pr_get_u8(&c);
    p.payload = pr_get_bytes(&c, c.left < RT_SEAL_PAYLOAD_MAX ? c.left : RT_SEAL_PAYLOAD_MAX);
    n = help_seal(key, &p, whole);
    own = p.sender == SELF && p.salt == BOOT;

    whole[at % n] ^= how;
    if (how != 0) { /* altered: refused, and the true one is as new as before */
        assert(opened(s, pr_bytes(whole, n), &payload, NULL) != RT_SEAL_TAKEN);
        whole[at % n] ^= how;
    }
    assert(opened(s, pr_bytes(whole, n), &payload, &sender) == (own ? RT_SEAL_OWN : RT_SEAL_TAKEN));
    if (!own) {
        assert(pr_slice_eq(payload, p.payload));
        check_taken(s, pr_bytes(whole, n), payload, sender);
    }
    rt_seal_free(s);
}

static void unsealed(struct pr_slice in)
{
    struct rt_seal *s = rt_seal_new(NULL, SELF, BOOT);
    struct pr_slice payload;

    if (opened(s, in, &payload, NULL) == RT_SEAL_TAKEN) {
        assert(in.p[0] == 1 && in.p[1] == 0);
        assert(pr_slice_eq(payload,
                           pr_bytes(in.p + RT_SEAL_HEADER_BYTES, in.n - RT_SEAL_HEADER_BYTES)));
        assert(opened(s, in, &payload, NULL) == RT_SEAL_REPLAY);
    }
    rt_seal_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ring == NULL) {
        ring = rt_keyring_new(KEY_A "," KEY_B, NULL);
        assert(ring != NULL);
    }
    if (size == 0) {
        return 0;
    }
    switch (data[0] % 3) {
    case 0:
        sealed(pr_bytes(data + 1, size - 1));
        break;
    case 1:
        made(pr_bytes(data + 1, size - 1));
        break;
    default:
        unsealed(pr_bytes(data + 1, size - 1));
        break;
    }
    return 0;
}
