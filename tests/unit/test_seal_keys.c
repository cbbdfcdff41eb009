/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "seal_world.h"

/* Two boots of one node that send the very same, and one that changes its keys to and fro. */
static void property_32_no_key_and_nonce_twice(void **state)
{
    struct world *w = *state;
    struct rt_seal *again = rt_seal_new(w->alice_keys, ALICE, BOOT_2);
    static uint8_t other[RT_SEAL_PACKET_MAX];
    uint64_t next = 0;

    for (int i = 0; i < 10; i++) {
        size_t n = rt_seal_pack(w->alice, pr_str("the same words"), packet);

        assert_int_equal(rt_seal_pack(again, pr_str("the same words"), other), n);
        assert_memory_equal(packet + 20, other + 20, 8);      /* one counter, so one nonce */
        assert_memory_not_equal(packet + 28, other + 28, 14); /* but another key */
        assert_opens(w->bob, n, "the same words", ALICE);
        memcpy(packet, other, n); /* no replay of the first boot, though the counter is known */
        assert_opens(w->bob, n, "the same words", ALICE);
        memcpy(packet + 12, &(uint64_t){0}, 8);
        assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAG);
    }
    next = 10;
    for (int i = 0; i < 10; i++) {
        struct pr_cursor c;

        assert_int_equal(rt_keyring_reload(w->alice_keys, i % 2 == 0 ? KEY_B : KEY_A, NULL), 1);
        (void)rt_seal_pack(w->alice, pr_str("x"), packet);
        c = pr_cursor(pr_bytes(packet + 20, 8));
        assert_true(pr_get_u64be(&c) == next);
        next++;
    }
    rt_seal_free(again);
}

static void foreign_keys(void **state)
{
    struct world *w = *state;
    struct rt_keyring *ring = ring_of(KEY_C);
    struct rt_seal *eve = rt_seal_new(ring, ALICE, BOOT_1);
    size_t n = rt_seal_pack(eve, pr_str("let me in"), packet);

    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_KEY);
    packet[2] = 0x63; /* the name of a key does not make the key */
    packet[3] = 0x0d;
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAG);
    rt_seal_free(eve);
    rt_keyring_free(ring);
}

/* Another key with the name of `of`: counts up until the names meet, after 65536 on average. */
static struct rt_key same_name(const struct rt_key *of)
{
    struct rt_key key = {.id = of->id};
    uint8_t hash[32];

    for (uint32_t i = 0; i < 10000000; i++) {
        memcpy(key.bytes, &i, sizeof i);
        key.bytes[31] = 1;
        assert_int_equal(EVP_Digest(key.bytes, 32, hash, NULL, EVP_sha256(), NULL), 1);
        if ((hash[0] << 8 | hash[1]) == of->id) {
            return key;
        }
    }
    fail_msg("no key of that name");
    return key;
}

static void base64(const struct rt_key *key, char text[45])
{
    assert_int_equal(EVP_EncodeBlock((uint8_t *)text, key->bytes, RT_KEY_BYTES), 44);
}

/* What was derived from a key goes with it, also if its successor has the same name. */
static void two_keys_of_one_name(void **state)
{
    struct world *w = *state;
    struct rt_key key = same_name(&w->bob_keys->key[0]);
    char list[45 + sizeof KEY_A] = "";
    struct rt_error err = {.code = 0};
    size_t n = rt_seal_pack(w->alice, pr_str("one"), packet);

    base64(&key, list);
    assert_opens(w->bob, n, "one", ALICE);
    assert_int_equal(rt_keyring_reload(w->bob_keys, list, NULL), 1);
    n = rt_seal_pack(w->alice, pr_str("two"), packet);
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAG);
    assert_int_equal(rt_keyring_reload(w->alice_keys, list, NULL), 1);
    n = rt_seal_pack(w->alice, pr_str("three"), packet);
    assert_opens(w->bob, n, "three", ALICE);

    memcpy(list + 44, "," KEY_A, sizeof "," KEY_A);
    assert_int_equal(rt_keyring_reload(w->bob_keys, list, &err), RT_ECONFIG);
    assert_non_null(strstr(err.text, "cluster keys 1 and 2 have the same name by chance"));
}

static void assert_hears(struct world *w, bool want)
{
    size_t n = rt_seal_pack(w->alice, pr_str("a"), packet);

    assert_int_equal(verdict(w->bob, packet, n), want ? RT_SEAL_TAKEN : RT_SEAL_KEY);
    n = rt_seal_pack(w->bob, pr_str("b"), packet);
    assert_int_equal(verdict(w->alice, packet, n), want ? RT_SEAL_TAKEN : RT_SEAL_KEY);
}

static void property_37_rotation(void **state)
{
    static const char *const steps[] = {KEY_A, KEY_A "," KEY_B, KEY_B "," KEY_A, KEY_B};
    struct world *w = *state;
    static uint8_t old[RT_SEAL_PACKET_MAX];
    size_t old_n = rt_seal_pack(w->alice, pr_str("old"), old);

    assert_int_equal(verdict(w->bob, old, old_n), RT_SEAL_TAKEN);
    for (size_t i = 1; i < 4; i++) { /* one node after the other takes each step */
        assert_hears(w, true);
        assert_int_equal(rt_keyring_reload(w->alice_keys, steps[i], NULL), 1);
        assert_hears(w, true);
        assert_int_equal(verdict(w->bob, old, old_n), RT_SEAL_REPLAY);
        assert_int_equal(rt_keyring_reload(w->bob_keys, steps[i], NULL), 1);
        assert_hears(w, true);
        /* The window is that of the sender, whatever keys it uses; without the key there is
         * nothing to look at. */
        assert_int_equal(verdict(w->bob, old, old_n), i < 3 ? RT_SEAL_REPLAY : RT_SEAL_KEY);
    }
    assert_int_equal(rt_keyring_reload(w->bob_keys, KEY_A, NULL), 1); /* one that stayed behind */
    assert_hears(w, false);
    assert_int_equal(rt_keyring_reload(w->bob_keys, KEY_A "," KEY_B, NULL), 1);
    assert_int_equal(verdict(w->bob, old, old_n), RT_SEAL_REPLAY); /* remembered all the while */
}

/* All pairs of rings: whoever has the key that seals, opens. */
static void rings_that_differ(void **state)
{
    static const struct {
        const char *seals, *opens;
        enum rt_seal_verdict want;
    } rows[] = {
        {KEY_A, KEY_A, RT_SEAL_TAKEN},
        {KEY_A, KEY_A "," KEY_B, RT_SEAL_TAKEN},
        {KEY_A, KEY_B "," KEY_A, RT_SEAL_TAKEN},
        {KEY_A, KEY_B, RT_SEAL_KEY},
        {KEY_A "," KEY_B, KEY_A, RT_SEAL_TAKEN},
        {KEY_A "," KEY_B, KEY_B "," KEY_A, RT_SEAL_TAKEN},
        {KEY_A "," KEY_B, KEY_B, RT_SEAL_KEY},
        {KEY_B "," KEY_A, KEY_A, RT_SEAL_KEY},
        {KEY_B "," KEY_A, KEY_A "," KEY_B, RT_SEAL_TAKEN},
        {KEY_B "," KEY_A, KEY_B, RT_SEAL_TAKEN},
        {KEY_B, KEY_A, RT_SEAL_KEY},
        {KEY_B, KEY_A "," KEY_B, RT_SEAL_TAKEN},
        {KEY_B, KEY_C "," KEY_A, RT_SEAL_KEY},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_keyring *seals = ring_of(rows[i].seals);
        struct rt_keyring *opens = ring_of(rows[i].opens);
        struct rt_seal *from = rt_seal_new(seals, ALICE, BOOT_1);
        struct rt_seal *to = rt_seal_new(opens, BOB, BOOT_1);

        for (int k = 0; k < 3; k++) {
            size_t n = rt_seal_pack(from, pr_str("x"), packet);

            assert_int_equal(verdict(to, packet, n), rows[i].want);
        }
        rt_seal_free(from);
        rt_seal_free(to);
        rt_keyring_free(seals);
        rt_keyring_free(opens);
    }
}

static void without_keys(void **state)
{
    struct world *w = *state;
    struct rt_seal *carl = rt_seal_new(NULL, 7, BOOT_1);
    struct rt_seal *dora = rt_seal_new(NULL, 8, BOOT_1);
    static uint8_t text[RT_SEAL_PAYLOAD_MAX];
    struct pr_slice payload;
    size_t n = rt_seal_pack(carl, pr_str("in the open"), packet);

    assert_int_equal(n, 28 + 11);
    assert_memory_equal(packet, "\x01\x00\x00\x00", 4);
    assert_memory_equal(packet + 28, "in the open", 11);
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_UNSEALED);
    assert_int_equal(verdict(carl, packet, n), RT_SEAL_OWN);
    assert_opens(dora, n, "in the open", 7);
    assert_int_equal(verdict(dora, packet, n), RT_SEAL_REPLAY);
    for (size_t i = 0; i < 28; i++) {
        assert_int_equal(verdict(dora, packet, i), RT_SEAL_SHORT);
    }
    n = rt_seal_pack(carl, pr_bytes(text, sizeof text), packet);
    assert_int_equal(verdict(dora, packet, n + 1), RT_SEAL_OVERSIZE);
    assert_int_equal(rt_seal_open(dora, pr_bytes(packet, n), plain, &payload, NULL), RT_SEAL_TAKEN);
    assert_int_equal(payload.n, sizeof text);
    n = rt_seal_pack(w->alice, pr_str("sealed"), packet);
    assert_int_equal(verdict(dora, packet, n), RT_SEAL_UNSEALED);
    packet[1] = 0; /* the flag alone makes it nothing but noise with a header */
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_UNSEALED);
    rt_seal_free(carl);
    rt_seal_free(dora);
    rt_seal_free(NULL);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(property_32_no_key_and_nonce_twice),
        IN_WORLD(foreign_keys),
        IN_WORLD(two_keys_of_one_name),
        IN_WORLD(property_37_rotation),
        cmocka_unit_test(rings_that_differ),
        IN_WORLD(without_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
