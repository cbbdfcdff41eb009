/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "jwt_help.h"
#include "proto/jwks.h"

static struct pr_jwt_keys keys;
static char text[70000];

static int init(const char *secret, const char *jwks, const char **why)
{
    return pr_jwt_keys_init(&keys, pr_str(secret), pr_str(jwks), why);
}

static void takes_secret_alone(void **state)
{
    const char *why = NULL;

    (void)state;
    assert_int_equal(init("s", "", &why), PR_OK);
    assert_null(why);
    assert_true(keys.secret_len == 1 && !keys.has_jwks && keys.nkeys == 0);
    pr_jwt_keys_deinit(&keys);
    assert_int_equal(keys.secret_len, 0);
}

static void takes_every_type(void **state)
{
    static const struct {
        const char *alg;
        enum pr_jwk_type type;
    } rows[] = {{"RS256", PR_JWK_RSA},  {"ES256", PR_JWK_P256},      {"ES384", PR_JWK_P384},
                {"ES512", PR_JWK_P521}, {"Ed25519", PR_JWK_ED25519}, {"Ed448", PR_JWK_ED448}};
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(text, sizeof text);
        EVP_PKEY *pair = help_key(rows[i].alg);

        pr_put_str(&o, "{\"keys\":[");
        help_jwk(&o, rows[i].alg, pair, "k1");
        pr_put_str(&o, "]}");
        assert_int_equal(pr_jwt_keys_init(&keys, pr_bytes(NULL, 0), pr_bytes(text, o.len), &why),
                         PR_OK);
        assert_int_equal(keys.nkeys, 1);
        assert_int_equal(keys.keys[0].type, rows[i].type);
        assert_int_equal(EVP_PKEY_eq(keys.keys[0].pkey, pair), 1);
        assert_true(pr_slice_is(pr_bytes(keys.keys[0].kid, keys.keys[0].kid_len), "k1"));
        pr_jwt_keys_deinit(&keys);
        EVP_PKEY_free(pair);
    }
}

static void skips_unknown_keys(void **state)
{
    const char *why = NULL;

    (void)state;
    assert_int_equal(init("",
                          "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"secp256k1\"},{\"kty\":\"x\"},{},"
                          "{\"kty\":\"oct\",\"use\":\"enc\",\"k\":\"AA\"},"
                          "{\"kty\":\"oct\",\"use\":\"sig\",\"kid\":\"a\",\"k\":\"AQID\"}]}",
                          &why),
                     PR_OK);
    assert_int_equal(keys.nskipped, 4);
    assert_int_equal(keys.nkeys, 1);
    assert_int_equal(keys.keys[0].oct_len, 3);
    assert_memory_equal(keys.keys[0].oct, "\x01\x02\x03", 3);
    pr_jwt_keys_deinit(&keys);
    assert_int_equal(init("", "{\"keys\":[]}", &why), PR_OK);
    assert_true(keys.has_jwks);
}

static void refuses(void **state)
{
    /* 32 bytes that are no point of the curve with themselves, and a key of Ed25519 one short. */
    static const char *const rows[] = {
        "{",
        "[]",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":[1]}",
        "{\"keys\":[{\"kty\":1}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":7,\"k\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"\\u0061\",\"k\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"oct\"}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"\"}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"A\"}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA==\"}]}",
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AA\"},"
        "{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"BB\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
        "\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\","
        "\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed448\"}]}",
    };
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (init("s", rows[i], &why) != PR_ESYNTAX) {
            fail_msg("%s", rows[i]);
        }
        assert_non_null(why);
        assert_true(keys.secret_len == 0 && keys.nkeys == 0);
    }
}

/* RSA keys of even modulus, of exponent one, and of leading zeros that hide a short one. */
static void refuses_weak_rsa(void **state)
{
    static uint8_t n[256];
    static const char *const exponents[] = {"AQAB", "AQ", "AQAB"};
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pr_outbuf o = pr_outbuf(text, sizeof text);

        memset(n, 0xff, sizeof n);
        n[255] = i == 0 ? 0xfe : 0xff;
        memset(n, i == 2 ? 0 : 0xff, 200);
        pr_put_str(&o, "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"");
        pr_put_str(&o, exponents[i]);
        pr_put_str(&o, "\",\"n\":\"");
        pr_base64url_put(&o, pr_bytes(n, sizeof n));
        pr_put_str(&o, "\"}]}");
        assert_int_equal(pr_jwt_keys_init(&keys, pr_bytes(NULL, 0), pr_bytes(text, o.len), &why),
                         PR_ESYNTAX);
    }
}

static void bounds(void **state)
{
    struct pr_outbuf o = pr_outbuf(text, sizeof text);
    const char *why = NULL;

    (void)state;
    memset(text, ' ', sizeof text);
    assert_int_equal(pr_jwt_keys_init(&keys, pr_bytes(text, 1025), pr_bytes(NULL, 0), &why),
                     PR_ERANGE);
    assert_int_equal(pr_jwt_keys_init(&keys, pr_bytes(NULL, 0), pr_bytes(text, 65537), &why),
                     PR_ESYNTAX);
    pr_put_str(&o, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}");
    for (int i = 0; i < 32; i++) {
        pr_put_str(&o, ",{\"kty\":\"oct\",\"k\":\"AA\"}");
    }
    pr_put_str(&o, "]}");
    assert_int_equal(pr_jwt_keys_init(&keys, pr_bytes(NULL, 0), pr_bytes(text, o.len), &why),
                     PR_ESYNTAX);
    assert_string_equal(why, "too many keys");
    o.len = 0;
    pr_put_str(&o, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\",\"kid\":\"");
    for (int i = 0; i < 256; i++) {
        pr_put_u8(&o, 'k');
    }
    pr_put_str(&o, "\"}]}");
    assert_int_equal(pr_jwt_keys_init(&keys, pr_bytes(NULL, 0), pr_bytes(text, o.len), &why),
                     PR_ESYNTAX);
    assert_string_equal(why, "a kid is too long");
}

static void converts_base64url(void **state)
{
    static const struct {
        const char *bytes, *base64;
    } rows[] = {{"", ""},        {"f", "Zg"},        {"fo", "Zm8"},
                {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"\xfb\xff\xfe", "-__-"}};
    static const char *const bad[] = {"A", "AAAAA", "AA==", "A+", "A/", "A A", "\xff\xff"};
    uint8_t buf[16];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        assert_int_equal(pr_base64url_decode(&o, pr_str(rows[i].base64)), PR_OK);
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].bytes));
        o.len = 0;
        pr_base64url_put(&o, pr_str(rows[i].bytes));
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].base64));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        assert_int_equal(pr_base64url_decode(&o, pr_str(bad[i])), PR_ESYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_secret_alone), cmocka_unit_test(takes_every_type),
        cmocka_unit_test(skips_unknown_keys), cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_weak_rsa),   cmocka_unit_test(bounds),
        cmocka_unit_test(converts_base64url),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
