/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/keys.h"

/* Bytes 0..31, 32..63, 64..95; names by sha256sum. */
#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define KEY_C "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="
#define ID_A  0x630d
#define ID_B  0x72db
#define ID_C  0xca2a
/* fb ff fb ff ...: all characters that the two alphabets write differently. */
#define KEY_PLUS "+//7//v/+//7//v/+//7//v/+//7//v/+//7//v/+/8="
#define KEY_URL  "-__7__v_-__7__v_-__7__v_-__7__v_-__7__v_-_8"
#define ID_PLUS  0xd25d

static void reads_lists(void **state)
{
    static const struct {
        const char *list;
        uint32_t count;
        uint16_t id[3];
    } rows[] = {
        {KEY_A, 1, {ID_A}},
        {KEY_A "," KEY_B, 2, {ID_A, ID_B}},
        {KEY_B "," KEY_A "," KEY_C, 3, {ID_B, ID_A, ID_C}},
        {"  " KEY_A "\n", 1, {ID_A}},
        {KEY_A "\t, \r\n" KEY_B " ", 2, {ID_A, ID_B}},
        {KEY_PLUS, 1, {ID_PLUS}},
        {KEY_URL, 1, {ID_PLUS}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_error err = {.code = 0};
        struct rt_keyring *ring = rt_keyring_new(rows[i].list, &err);

        assert_non_null(ring);
        assert_int_equal(ring->count, rows[i].count);
        for (uint32_t k = 0; k < ring->count; k++) {
            assert_int_equal(ring->key[k].id, rows[i].id[k]);
        }
        rt_keyring_free(ring);
    }
    rt_keyring_free(NULL);
}

static void bytes_and_names(void **state)
{
    struct rt_keyring *ring = rt_keyring_new(KEY_A "," KEY_B, NULL);

    (void)state;
    assert_non_null(ring);
    for (uint32_t i = 0; i < 64; i++) {
        assert_int_equal(ring->key[i / 32].bytes[i % 32], i);
    }
    assert_string_equal(ring->key[0].identity, "rt1:630d");
    assert_ptr_equal(rt_keyring_by_id(ring, ID_B), &ring->key[1]);
    assert_null(rt_keyring_by_id(ring, ID_C));
    assert_null(rt_keyring_by_id(ring, 0)); /* unused places have no name */
    assert_ptr_equal(rt_keyring_by_identity(ring, pr_str("rt1:72db")), &ring->key[1]);
    assert_null(rt_keyring_by_identity(ring, pr_str("rt1:ca2a")));
    assert_null(rt_keyring_by_identity(ring, pr_str("rt1:72DB")));
    assert_null(rt_keyring_by_identity(ring, pr_str("rt1:72d")));
    assert_null(rt_keyring_by_identity(ring, pr_str("rt1:72db0")));
    assert_null(rt_keyring_by_identity(ring, pr_str("72db")));
    assert_null(rt_keyring_by_identity(ring, pr_bytes(NULL, 0)));
    rt_keyring_free(ring);
}

static void refuses_lists(void **state)
{
    static const struct {
        const char *list, *says;
    } rows[] = {
        {"", "cluster key 1 is empty"},
        {"  ", "cluster key 1 is empty"},
        {",", "cluster key 1 is empty"},
        {KEY_A ",", "cluster key 2 is empty"},
        {"," KEY_A, "cluster key 1 is empty"},
        {KEY_A ",," KEY_B, "cluster key 2 is empty"},
        {"secret", "cluster key 1 is not 32 bytes"},
        /* 31 and 33 bytes, hexadecimal, one character short, two pads, pads inside */
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "cluster key 1 is not 32 bytes"},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", "cluster key 1 is not 32 bytes"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
         "cluster key 1 is not 32 bytes"},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh=", "cluster key 1 is not 32 bytes"},
        {KEY_A "=", "cluster key 1 is not 32 bytes"},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh==", "cluster key 1 is not 32 bytes"},
        {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd=h8=", "cluster key 1 is not 32 bytes"},
        {"AAECAwQFBgcICQoLDA0ODxAR hMUFRYXGBkaGxwdHh8=", "cluster key 1 is not 32 bytes"},
        {"AAECAwQFBgcICQoLDA0ODxAR\x80hMUFRYXGBkaGxwdHh8=", "cluster key 1 is not 32 bytes"},
        {KEY_A ";" KEY_B, "cluster key 1 is not 32 bytes"},
        {KEY_A " " KEY_B, "cluster key 1 is not 32 bytes"},
        {KEY_A ",x", "cluster key 2 is not 32 bytes"},
        {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "cluster key 1 is one byte repeated"},
        {"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", "cluster key 1 is one byte repeated"},
        {KEY_A "," KEY_B "," KEY_A, "cluster keys 1 and 3 are the same"},
        {KEY_PLUS "," KEY_URL, "cluster keys 1 and 2 are the same"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_error err = {.code = 0};

        assert_null(rt_keyring_new(rows[i].list, &err));
        assert_int_equal(err.code, RT_ECONFIG);
        assert_memory_equal(err.text, rows[i].says, strlen(rows[i].says));
        assert_non_null(strstr(err.text, "openssl rand -base64 32"));
        assert_null(strstr(err.text, "AAECAw")); /* no part of a key, mistyped or not */
        assert_null(strstr(err.text, "secret"));
    }
}

/* Texts of keys 1, 2, 3 ... in a comma list. */
static const char *list_of(uint32_t n)
{
    static char list[(RT_KEYS_MAX + 1) * sizeof KEY_A + 1];

    list[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        char *at = list + strlen(list);

        memcpy(at, "," KEY_A, sizeof "," KEY_A);
        at[1] = (char)('B' + i);
    }
    return list + 1;
}

static void bounded(void **state)
{
    struct rt_error err = {.code = 0};
    struct rt_keyring *ring = rt_keyring_new(list_of(RT_KEYS_MAX), &err);

    (void)state;
    assert_non_null(ring);
    assert_int_equal(ring->count, RT_KEYS_MAX);
    rt_keyring_free(ring);
    assert_null(rt_keyring_new(list_of(RT_KEYS_MAX + 1), &err));
    assert_int_equal(err.code, RT_ECONFIG);
    assert_non_null(strstr(err.text, "more than 8 cluster keys"));
}

static void names_for_people(void **state)
{
    struct rt_keyring *ring = rt_keyring_new(KEY_B "," KEY_A, NULL);
    char ids[RT_KEYS_TEXT_MAX];

    (void)state;
    assert_non_null(ring);
    rt_keyring_ids(ring, ids);
    assert_string_equal(ids, "rt1:72db,rt1:630d");
    rt_keyring_free(ring);
    ring = rt_keyring_new(list_of(RT_KEYS_MAX), NULL);
    assert_non_null(ring);
    rt_keyring_ids(ring, ids);
    assert_int_equal(strlen(ids), RT_KEYS_TEXT_MAX - 1);
    rt_keyring_free(ring);
}

static void reloads(void **state)
{
    struct rt_error err = {.code = 0};
    struct rt_keyring *ring = rt_keyring_new(KEY_A "," KEY_B, NULL);
    struct rt_keyring before;

    (void)state;
    assert_non_null(ring);
    before = *ring;
    assert_int_equal(rt_keyring_reload(ring, " " KEY_A "," KEY_B, &err), 0);
    assert_memory_equal(ring, &before, sizeof before);
    assert_int_equal(rt_keyring_reload(ring, KEY_B ",nonsense", &err), RT_ECONFIG);
    assert_memory_equal(ring, &before, sizeof before);
    assert_int_equal(rt_keyring_reload(ring, "", &err), RT_ECONFIG);
    assert_memory_equal(ring, &before, sizeof before);

    assert_int_equal(rt_keyring_reload(ring, KEY_B "," KEY_A, &err), 1); /* order matters */
    assert_int_equal(ring->key[0].id, ID_B);
    assert_int_equal(ring->generation, before.generation + 1);
    assert_int_equal(rt_keyring_reload(ring, KEY_B, &err), 1);
    assert_int_equal(ring->count, 1);
    assert_int_equal(ring->generation, before.generation + 2);
    assert_null(rt_keyring_by_id(ring, ID_A));
    for (size_t i = 0; i < sizeof ring->key[1]; i++) { /* nothing of it stays */
        assert_int_equal(((const uint8_t *)&ring->key[1])[i], 0);
    }
    rt_keyring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lists),   cmocka_unit_test(bytes_and_names),
        cmocka_unit_test(refuses_lists), cmocka_unit_test(bounded),
        cmocka_unit_test(reloads),       cmocka_unit_test(names_for_people),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
