/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/window.h"
#include "seal_world.h"

static uint8_t digit(char c)
{
    return (uint8_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
}

static void from_hex(const char *hex, uint8_t *out)
{
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        out[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    }
}

/* RFC 5869 A.1 and A.3; AES-256-GCM: McGrew and Viega, test case 16. Of the helpers, which then
 * stand for the words of seal.h. */
static void helpers_know_the_vectors(void **state)
{
    uint8_t ikm[22], salt[13], info[10], okm[42], want[128], got[128];
    uint8_t key[32], nonce[12], aad[20], text[60];

    (void)state;
    memset(ikm, 0x0b, sizeof ikm);
    from_hex("000102030405060708090a0b0c", salt);
    from_hex("f0f1f2f3f4f5f6f7f8f9", info);
    from_hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
             want);
    help_hkdf(pr_bytes(ikm, sizeof ikm), pr_bytes(salt, sizeof salt), pr_bytes(info, sizeof info),
              okm, sizeof okm);
    assert_memory_equal(okm, want, sizeof okm);
    from_hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
             want);
    help_hkdf(pr_bytes(ikm, sizeof ikm), pr_str(""), pr_str(""), okm, sizeof okm);
    assert_memory_equal(okm, want, sizeof okm);

    from_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", key);
    from_hex("cafebabefacedbaddecaf888", nonce);
    from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
    from_hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf"
             "0e2449a6b525b16aedf5aa0de657ba637b39",
             text);
    from_hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b0"
             "8b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
             want);
    help_gcm(key, nonce, pr_bytes(aad, sizeof aad), pr_bytes(text, sizeof text), got);
    assert_memory_equal(got, want, sizeof text + 16);
}

/* Frozen: another arithmetic would be another protocol. Made with another library. */
static void packets_are_these(void **state)
{
    static const struct {
        const char *payload, *hex;
    } rows[] = {
        {"hello", "0101630d112233445566778899aabbccddeeff0000000000000000000f57e51e9b632a0e8bf48cf9"
                  "1b72aaa47efa3017d4"},
        {"", "0101630d112233445566778899aabbccddeeff000000000000000001780b2d5f51438ace5ad006040b3f"
             "d4cc"},
    };
    struct world *w = *state;
    uint8_t want[64];

    for (size_t i = 0; i < 2; i++) {
        size_t n = rt_seal_pack(w->alice, pr_str(rows[i].payload), packet);

        from_hex(rows[i].hex, want);
        assert_int_equal(n, strlen(rows[i].hex) / 2);
        assert_memory_equal(packet, want, n);
        assert_opens(w->bob, n, rows[i].payload, ALICE);
    }
}

static void packets_follow_the_words(void **state)
{
    struct world *w = *state;
    static uint8_t text[RT_SEAL_PAYLOAD_MAX], want[RT_SEAL_PACKET_MAX];

    for (uint64_t i = 0; i < 300; i++) {
        struct help_packet p = {.sender = ALICE,
                                .salt = BOOT_1,
                                .counter = i,
                                .payload = pr_bytes(text, (size_t)i * 37 % (sizeof text + 1))};
        size_t n;

        memset(text, (int)i, sizeof text);
        n = rt_seal_pack(w->alice, p.payload, packet);
        assert_int_equal(n, p.payload.n + 44);
        assert_int_equal(help_seal(&w->alice_keys->key[0], &p, want), n);
        assert_memory_equal(packet, want, n);
    }
}

static void altered_anywhere(void **state)
{
    struct world *w = *state;
    size_t n = rt_seal_pack(w->alice, pr_str("something to say"), packet);
    const struct rt_seal_counts *c = rt_seal_counts(w->bob);
    uint64_t refused = 0;

    assert_int_equal(n, 60);
    for (size_t at = 0; at < n; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            enum rt_seal_verdict v, want = RT_SEAL_TAG;

            if (at == 0 || (at == 1 && bit > 0)) {
                want = RT_SEAL_VERSION;
            } else if (at == 1) {
                want = RT_SEAL_UNSEALED;
            } else if (at < 4) {
                want = RT_SEAL_KEY;
            }
            packet[at] ^= (uint8_t)(1u << bit);
            v = verdict(w->bob, packet, n);
            packet[at] ^= (uint8_t)(1u << bit);
            assert_int_equal(v, want);
            refused++;
        }
    }
    /* All were counted, and none of them has changed anything: the true one is still new. */
    assert_int_equal(c->opened[RT_SEAL_VERSION] + c->opened[RT_SEAL_UNSEALED] +
                         c->opened[RT_SEAL_KEY] + c->opened[RT_SEAL_TAG],
                     refused);
    assert_opens(w->bob, n, "something to say", ALICE);
    assert_int_equal(c->opened[RT_SEAL_TAKEN], 1);
}

static void refusal_shows_no_text(void **state)
{
    struct world *w = *state;
    size_t n = rt_seal_pack(w->alice, pr_str("something to say"), packet);
    static const uint8_t nothing[16];

    memset(plain, 0xee, sizeof plain);
    packet[n - 1] ^= 1;
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAG);
    assert_memory_equal(plain, nothing, sizeof nothing);
}

static void any_other_length(void **state)
{
    struct world *w = *state;
    static uint8_t text[RT_SEAL_PAYLOAD_MAX];
    size_t n = rt_seal_pack(w->alice, pr_str("something"), packet);
    struct pr_slice payload;

    for (size_t i = 0; i < n; i++) {
        assert_int_equal(verdict(w->bob, i == 0 ? NULL : packet, i),
                         i < 44 ? RT_SEAL_SHORT : RT_SEAL_TAG);
    }
    for (size_t i = n + 1; i < sizeof packet; i++) {
        assert_int_equal(verdict(w->bob, packet, i),
                         i > RT_SEAL_PACKET_MAX ? RT_SEAL_OVERSIZE : RT_SEAL_TAG);
    }
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAKEN);
    n = rt_seal_pack(w->alice, pr_bytes(text, sizeof text), packet); /* the longest */
    assert_int_equal(n, RT_SEAL_PACKET_MAX);
    assert_int_equal(rt_seal_open(w->bob, pr_bytes(packet, n), plain, &payload, NULL),
                     RT_SEAL_TAKEN);
    assert_int_equal(payload.n, sizeof text);
}

static void property_32_each_once_in_any_order(void **state)
{
    struct world *w = *state;
    static uint8_t sent[RT_WINDOW + 2][64]; /* header, a number, tag */
    size_t n = 0;

    for (size_t i = 0; i < RT_WINDOW + 2; i++) {
        n = rt_seal_pack(w->alice, pr_bytes(&i, sizeof i), packet);
        memcpy(sent[i], packet, n);
    }
    assert_int_equal(verdict(w->bob, sent[RT_WINDOW], n), RT_SEAL_TAKEN);
    assert_int_equal(verdict(w->bob, sent[0], n), RT_SEAL_REPLAY); /* behind the window */
    assert_int_equal(verdict(w->bob, sent[1], n), RT_SEAL_TAKEN);  /* the last inside */
    assert_int_equal(verdict(w->bob, sent[RT_WINDOW + 1], n), RT_SEAL_TAKEN);
    assert_int_equal(verdict(w->bob, sent[1], n), RT_SEAL_REPLAY);
    for (size_t i = RT_WINDOW - 1; i >= 2; i--) { /* the others, backwards */
        assert_int_equal(verdict(w->bob, sent[i], n), RT_SEAL_TAKEN);
    }
    for (size_t i = 0; i < RT_WINDOW + 2; i++) {
        assert_int_equal(verdict(w->bob, sent[i], n), RT_SEAL_REPLAY);
    }
    assert_int_equal(rt_seal_counts(w->bob)->opened[RT_SEAL_TAKEN], RT_WINDOW + 1);
    assert_int_equal(rt_seal_counts(w->bob)->opened[RT_SEAL_REPLAY], RT_WINDOW + 4);
    assert_int_equal(rt_seal_counts(w->alice)->sealed, RT_WINDOW + 2);
}

/* A forged counter far ahead would shut the true sender out, were it believed. */
static void window_moves_by_valid_ones_alone(void **state)
{
    struct world *w = *state;
    size_t n = rt_seal_pack(w->alice, pr_str("one"), packet);

    packet[20] = 0xff;
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAG);
    packet[20] = 0;
    assert_opens(w->bob, n, "one", ALICE);
}

static void own_datagrams(void **state)
{
    struct world *w = *state;
    struct rt_seal *before = rt_seal_new(w->alice_keys, ALICE, BOOT_2);
    size_t n = rt_seal_pack(w->alice, pr_str("echo"), packet);

    assert_int_equal(verdict(w->alice, packet, n), RT_SEAL_OWN);
    /* Another process of our name is news: somebody has to notice that two have it. */
    n = rt_seal_pack(before, pr_str("echo"), packet);
    assert_opens(w->alice, n, "echo", ALICE);
    rt_seal_free(before);
}

/* The datagram of a boot of Alice, with its salt as number. */
static size_t of_boot(const struct world *w, uint64_t salt)
{
    struct help_packet p = {.sender = ALICE, .salt = salt, .payload = {(const uint8_t *)"x", 1}};

    return help_seal(&w->alice_keys->key[0], &p, packet);
}

static void remembers_so_many_boots(void **state)
{
    struct world *w = *state;

    for (uint64_t i = 0; i < RT_SEAL_PEERS; i++) {
        assert_int_equal(verdict(w->bob, packet, of_boot(w, i)), RT_SEAL_TAKEN);
    }
    /* Forged boots need no place; a repeat does not make a boot younger. */
    for (uint64_t i = 0; i < UINT64_C(2) * RT_SEAL_PEERS; i++) {
        size_t n = of_boot(w, 1000000 + i);

        packet[n - 1] ^= 1;
        assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAG);
    }
    for (uint64_t i = 0; i < RT_SEAL_PEERS; i++) {
        uint64_t salt = RT_SEAL_PEERS - 1 - i;

        assert_int_equal(verdict(w->bob, packet, of_boot(w, salt)), RT_SEAL_REPLAY);
    }
    /* One more takes the place of the one not heard for longest, and of no other. */
    assert_int_equal(verdict(w->bob, packet, of_boot(w, RT_SEAL_PEERS)), RT_SEAL_TAKEN);
    for (uint64_t i = 1; i <= RT_SEAL_PEERS; i++) {
        assert_int_equal(verdict(w->bob, packet, of_boot(w, i)), RT_SEAL_REPLAY);
    }
    assert_int_equal(verdict(w->bob, packet, of_boot(w, 0)), RT_SEAL_TAKEN);
    assert_int_equal(verdict(w->bob, packet, of_boot(w, 1)), RT_SEAL_TAKEN);
    assert_int_equal(verdict(w->bob, packet, of_boot(w, 3)), RT_SEAL_REPLAY);
}

/* The numbers of nobody in particular are as good as any: zero is no sign of a free place. */
static void sender_and_salt_zero(void **state)
{
    struct world *w = *state;
    struct help_packet p = {.payload = {(const uint8_t *)"x", 1}};
    size_t n = help_seal(&w->alice_keys->key[0], &p, packet);

    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_TAKEN);
    assert_int_equal(verdict(w->bob, packet, n), RT_SEAL_REPLAY);
}

static void verdicts_have_names(void **state)
{
    (void)state;
    assert_string_equal(rt_seal_verdict_name(RT_SEAL_TAKEN), "taken");
    assert_string_equal(rt_seal_verdict_name(RT_SEAL_TAG), "bad_tag");
    assert_string_equal(rt_seal_verdict_name(RT_SEAL_VERDICTS), "unknown");
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helpers_know_the_vectors),
        IN_WORLD(packets_are_these),
        IN_WORLD(packets_follow_the_words),
        IN_WORLD(altered_anywhere),
        IN_WORLD(refusal_shows_no_text),
        IN_WORLD(any_other_length),
        IN_WORLD(property_32_each_once_in_any_order),
        IN_WORLD(window_moves_by_valid_ones_alone),
        IN_WORLD(own_datagrams),
        IN_WORLD(remembers_so_many_boots),
        IN_WORLD(sender_and_salt_zero),
        cmocka_unit_test(verdicts_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
