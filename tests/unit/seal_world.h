/* SPDX-License-Identifier: Apache-2.0 */
/* seal_world.h - two nodes that seal and open, for test_seal and test_seal_keys. */
#ifndef TESTS_UNIT_SEAL_WORLD_H
#define TESTS_UNIT_SEAL_WORLD_H

#include "seal_help.h"

#define ALICE 0x1122334455667788u
#define BOB   0x0000000000000b0bu
/* Salts of boots. */
#define BOOT_1 0x99aabbccddeeff00u
#define BOOT_2 0x99aabbccddeeff01u

/* The datagram on its way; what was opened. */
static uint8_t packet[RT_SEAL_PACKET_MAX + 8];
static uint8_t plain[RT_SEAL_PAYLOAD_MAX];

/* Alice seals, Bob opens. */
struct world {
    struct rt_keyring *alice_keys, *bob_keys;
    struct rt_seal *alice, *bob;
};

static inline struct rt_keyring *ring_of(const char *list)
{
    struct rt_keyring *ring = rt_keyring_new(list, NULL);

    assert_non_null(ring);
    return ring;
}

static inline int open_world(void **state)
{
    static struct world w;

    w.alice_keys = ring_of(KEY_A);
    w.bob_keys = ring_of(KEY_A);
    w.alice = rt_seal_new(w.alice_keys, ALICE, BOOT_1);
    w.bob = rt_seal_new(w.bob_keys, BOB, BOOT_1);
    *state = &w;
    return 0;
}

static inline int close_world(void **state)
{
    struct world *w = *state;

    rt_seal_free(w->alice);
    rt_seal_free(w->bob);
    rt_keyring_free(w->alice_keys);
    rt_keyring_free(w->bob_keys);
    return 0;
}

/* Verdict over n bytes. */
static inline enum rt_seal_verdict verdict(struct rt_seal *s, const void *p, size_t n)
{
    struct pr_slice payload = {0};

    return rt_seal_open(s, pr_bytes(p, n), plain, &payload, NULL);
}

/* The first n bytes of `packet` are from that node and say this. */
static inline void assert_opens(struct rt_seal *s, size_t n, const char *want, uint64_t from)
{
    struct pr_slice payload = {0};
    uint64_t sender = 0;

    assert_int_equal(rt_seal_open(s, pr_bytes(packet, n), plain, &payload, &sender), RT_SEAL_TAKEN);
    assert_ptr_equal(payload.p, plain);
    assert_true(pr_slice_is(payload, want));
    assert_true(sender == from);
}

#endif
