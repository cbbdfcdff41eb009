/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "jwt_help.h"
#include "proto/jwt.h"

#define SECRET "a secret of more than thirty-two bytes"
#define OTHER  "another secret, of thirty-two and more"
#define NOW    1700000000
#define GOOD   "{\"role\":\"anon\",\"exp\":1800000000,\"iat\":1600000000,\"sub\":\"u1\"}"
/* Its key is "secret of the set". */
#define OCT_JWKS "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"o\",\"k\":\"c2VjcmV0IG9mIHRoZSBzZXQ\"}]}"
#define HS256    "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

static uint8_t scratch_mem[PR_JWT_SCRATCH_BYTES];
static uint8_t token_mem[2 * PR_JWT_BYTES_MAX];
static char text[8192];
static struct pr_jwt_keys keys;
static struct pr_jwt jwt;

static enum pr_jwt_result verify(struct pr_slice token, const char *wanted)
{
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);

    return pr_jwt_verify(&keys, token, NOW, pr_str(wanted), &scratch, &jwt);
}

static void set_keys(const char *secret, struct pr_slice jwks)
{
    const char *why = NULL;

    assert_int_equal(pr_jwt_keys_init(&keys, pr_str(secret), jwks, &why), PR_OK);
}

static struct pr_slice hs256(const char *header, const char *claims)
{
    return help_hmac(token_mem, sizeof token_mem, "SHA256", pr_str(SECRET), pr_str(header),
                     pr_str(claims));
}

static void judges_claims(void **state)
{
    static const struct {
        const char *claims;
        enum pr_jwt_result want;
    } rows[] = {
        {GOOD, PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1700000001}", PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1.8e9}", PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1700000000.5}", PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1700000000.4}", PR_JWT_EXP_INVALID},
        {"{\"role\":\"a\",\"exp\":1700000000}", PR_JWT_EXPIRED},
        {"{\"role\":\"a\",\"exp\":1}", PR_JWT_EXPIRED},
        {"{\"role\":\"a\",\"exp\":-1}", PR_JWT_EXPIRED},
        {"{\"exp\":1}", PR_JWT_EXPIRED},
        {"{\"role\":\"a\",\"exp\":\"1800000000\"}", PR_JWT_MALFORMED},
        {"{\"role\":\"a\",\"exp\":true}", PR_JWT_MALFORMED},
        {"{\"role\":\"a\",\"exp\":1e400}", PR_JWT_MALFORMED},
        {"{\"role\":\"a\",\"exp\":1e16}", PR_JWT_MALFORMED},
        {"{\"role\":\"a\",\"exp\":0."
         "00000000000000000000000000000000000000000000000000000000000000001}",
         PR_JWT_MALFORMED},
        {"{\"role\":\"a\"}", PR_JWT_FIELDS},
        {"{\"role\":\"a\",\"exp\":null}", PR_JWT_FIELDS},
        {"{\"exp\":1800000000}", PR_JWT_FIELDS},
        {"{\"role\":null,\"exp\":1800000000}", PR_JWT_FIELDS},
        {"{\"role\":\"\",\"exp\":1800000000}", PR_JWT_FIELDS},
        {"{}", PR_JWT_FIELDS},
        {"{\"role\":5,\"exp\":1800000000}", PR_JWT_MALFORMED},
        {"{\"role\":\"a\\u0000\",\"exp\":1800000000}", PR_JWT_MALFORMED},
        {"{\"role\":\"a\",\"exp\":1800000000,\"nbf\":1700000005}", PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1800000000,\"nbf\":1700000006}", PR_JWT_NOT_YET},
        {"{\"role\":\"a\",\"exp\":1800000000,\"nbf\":\"0\"}", PR_JWT_BAD_CLAIM},
        {"{\"role\":\"a\",\"exp\":1800000000,\"nbf\":null,\"iat\":null}", PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1800000000,\"iat\":\"x\"}", PR_JWT_BAD_CLAIM},
        {"{\"role\":\"a\",\"exp\":1800000000,\"iat\":9e9}", PR_JWT_OK},
        {"{\"role\":\"a\",\"exp\":1800000000,\"sub\":5}", PR_JWT_OK},
        {"[]", PR_JWT_MALFORMED},
        {"\"x\"", PR_JWT_MALFORMED},
        {"{", PR_JWT_MALFORMED},
        {"", PR_JWT_MALFORMED},
    };

    (void)state;
    set_keys(SECRET, pr_bytes(NULL, 0));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum pr_jwt_result r = verify(hs256(HS256, rows[i].claims), "");

        if (r != rows[i].want) {
            fail_msg("%s: %d", rows[i].claims, (int)r);
        }
    }
    assert_int_equal(verify(hs256(HS256, GOOD), ""), PR_JWT_OK);
    assert_true(pr_slice_is(jwt.claims, GOOD) && pr_slice_is(jwt.role, "anon"));
    assert_true(pr_slice_is(jwt.sub, "u1") && jwt.exp_s == 1800000000 && jwt.kid.n == 0);
    (void)verify(hs256(HS256, "{\"role\":\"a'\\\"\\u00e9\",\"sub\":\"\\n\",\"exp\":1800000000}"),
                 "");
    assert_true(pr_slice_is(jwt.role, "a'\"\xc3\xa9") && pr_slice_is(jwt.sub, "\n"));
    pr_jwt_keys_deinit(&keys);
}

static void compares_configured_claims(void **state)
{
    static const struct {
        const char *wanted;
        enum pr_jwt_result want;
    } rows[] = {
        {"{\"sub\":\"u1\"}", PR_JWT_OK},
        {"{\"sub\":\"u1\",\"iat\":1600000000}", PR_JWT_OK},
        {"{}", PR_JWT_OK},
        {"{\"sub\":\"u2\"}", PR_JWT_BAD_CLAIM},
        {"{\"aud\":\"x\"}", PR_JWT_BAD_CLAIM},
        {"{\"iat\":\"1600000000\"}", PR_JWT_BAD_CLAIM},
        {"[]", PR_JWT_BAD_CLAIM},
    };

    (void)state;
    set_keys(SECRET, pr_bytes(NULL, 0));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(verify(hs256(HS256, GOOD), rows[i].wanted), rows[i].want);
    }
    pr_jwt_keys_deinit(&keys);
}

static void judges_headers(void **state)
{
    static const struct {
        const char *header;
        enum pr_jwt_result want;
    } rows[] = {
        {"{\"alg\":\"HS256\"}", PR_JWT_OK},
        {"{\"alg\":\"HS256\",\"kid\":\"anything\"}", PR_JWT_OK},
        {"{\"alg\":\"HS256\",\"kid\":null}", PR_JWT_OK},
        {"{\"alg\":\"HS256\",\"kid\":5}", PR_JWT_NO_KEY},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", PR_JWT_NO_KEY},
        {"{\"alg\":\"HS384\"}", PR_JWT_BAD_SIGNATURE},
        {"{\"alg\":\"none\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"None\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"hs256\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"PS256\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"ES256K\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"RS256\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"RS256\",\"kid\":\"k\"}", PR_JWT_NO_KEY},
        {"{\"alg\":\"\"}", PR_JWT_NO_KEY},
        {"{\"alg\":256}", PR_JWT_NO_KEY},
        {"{}", PR_JWT_NO_KEY},
        {"[]", PR_JWT_MALFORMED},
        {"x", PR_JWT_MALFORMED},
    };

    (void)state;
    set_keys(SECRET, pr_bytes(NULL, 0));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum pr_jwt_result r = verify(hs256(rows[i].header, GOOD), "");

        if (r != rows[i].want) {
            fail_msg("%s: %d", rows[i].header, (int)r);
        }
    }
    pr_jwt_keys_deinit(&keys);
}

static void judges_form(void **state)
{
    static const char *const rows[] = {
        "",         ".",          "..",      "a.b",     "a.b.c",
        "a.b.c.d",  "%",          "%zz.b.c", "e30.e30", "e30.e30.e30.e30",
        "e3=.e30.", "sb_secret_x"};
    struct pr_slice token = hs256(HS256, GOOD);
    uint8_t *last = token_mem + token.n - 1;

    (void)state;
    set_keys(SECRET, pr_bytes(NULL, 0));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(verify(pr_str(rows[i]), ""), PR_JWT_MALFORMED);
    }
    /* Signature: empty, cut, of other characters, too long, of another secret. */
    for (size_t cut = 1; cut <= 43; cut++) {
        assert_int_equal(verify(pr_bytes(token.p, token.n - cut), ""), PR_JWT_BAD_SIGNATURE);
    }
    *last = '!';
    assert_int_equal(verify(token, ""), PR_JWT_BAD_SIGNATURE);
    memset(token_mem + token.n, 'A', 3000);
    *last = 'A';
    assert_int_equal(verify(pr_bytes(token.p, token.n + 3000), ""), PR_JWT_BAD_SIGNATURE);
    token = help_hmac(token_mem, sizeof token_mem, "SHA256", pr_str(OTHER), pr_str(HS256),
                      pr_str(GOOD));
    assert_int_equal(verify(token, ""), PR_JWT_BAD_SIGNATURE);

    memset(token_mem, 'a', sizeof token_mem);
    assert_int_equal(verify(pr_bytes(token_mem, PR_JWT_BYTES_MAX + 1), ""), PR_JWT_MALFORMED);
    struct pr_outbuf small = pr_outbuf(scratch_mem, 100);
    assert_int_equal(pr_jwt_verify(&keys, hs256(HS256, GOOD), NOW, pr_bytes(NULL, 0), &small, &jwt),
                     PR_JWT_MALFORMED);
    pr_jwt_keys_deinit(&keys);
}

static void cleans_tokens(void **state)
{
    static uint8_t dirty[4096];
    struct pr_slice token = hs256(HS256, GOOD);
    struct pr_outbuf o = pr_outbuf(dirty, sizeof dirty);

    (void)state;
    set_keys(SECRET, pr_bytes(NULL, 0));
    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] == '.') {
            pr_put_str(&o, "%2E%20\r\n");
        } else {
            pr_put_u8(&o, token.p[i]);
        }
    }
    pr_put_str(&o, " \t");
    assert_int_equal(verify(pr_bytes(dirty, o.len), ""), PR_JWT_OK);
    pr_jwt_keys_deinit(&keys);
}

/* Each algorithm with its key, by kid and alone; then against every other key. */
static void verifies_asymmetric(void **state)
{
    static const char *const algs[] = {"RS256", "RS384", "RS512",   "ES256", "ES384",
                                       "ES512", "EdDSA", "Ed25519", "Ed448"};

    (void)state;
    for (size_t i = 0; i < sizeof algs / sizeof algs[0]; i++) {
        struct pr_outbuf o = pr_outbuf(text, sizeof text);
        EVP_PKEY *pair = help_key(algs[i]);
        EVP_PKEY *other = help_key(algs[i]);
        char header[64];
        char with_kid[64];
        char with_other[64];

        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\"}", algs[i]);
        (void)snprintf(with_kid, sizeof with_kid, "{\"alg\":\"%s\",\"kid\":\"k\"}", algs[i]);
        (void)snprintf(with_other, sizeof with_other, "{\"alg\":\"%s\",\"kid\":\"o\"}", algs[i]);
        pr_put_str(&o, "{\"keys\":[");
        help_jwk(&o, algs[i], pair, "k");
        size_t one = o.len;
        pr_put_str(&o, "]}");
        set_keys(SECRET, pr_bytes(text, o.len));
        const char *headers[] = {header, with_kid};
        for (size_t k = 0; k < 2; k++) {
            struct pr_slice token = help_sign(token_mem, sizeof token_mem, algs[i], pair,
                                              pr_str(headers[k]), pr_str(GOOD), false);
            assert_int_equal(verify(token, ""), PR_JWT_OK);
            /* One bit of the claims, and of the signature. */
            token_mem[60] ^= 1;
            assert_int_not_equal(verify(token, ""), PR_JWT_OK);
            token_mem[60] ^= 1;
            token_mem[token.n - 20] ^= 1;
            assert_int_not_equal(verify(token, ""), PR_JWT_OK);
        }
        struct pr_slice token = help_sign(token_mem, sizeof token_mem, algs[i], other,
                                          pr_str(with_kid), pr_str(GOOD), false);
        assert_int_equal(verify(token, ""), PR_JWT_BAD_SIGNATURE);
        token = help_sign(token_mem, sizeof token_mem, algs[i], pair, pr_str(with_other),
                          pr_str(GOOD), false);
        assert_int_equal(verify(token, ""), PR_JWT_NO_KEY_FOR_KID);
        assert_true(pr_slice_is(jwt.kid, "o"));
        pr_jwt_keys_deinit(&keys);

        /* Two keys of the type: a kid must say which. */
        o.len = one;
        pr_put_u8(&o, ',');
        help_jwk(&o, algs[i], other, "o");
        pr_put_str(&o, "]}");
        set_keys(SECRET, pr_bytes(text, o.len));
        token = help_sign(token_mem, sizeof token_mem, algs[i], pair, pr_str(header), pr_str(GOOD),
                          false);
        assert_int_equal(verify(token, ""), PR_JWT_NO_KEY);
        pr_jwt_keys_deinit(&keys);
        EVP_PKEY_free(pair);
        EVP_PKEY_free(other);
    }
}

static void refuses_confused_keys(void **state)
{
    struct pr_outbuf o = pr_outbuf(text, sizeof text);
    EVP_PKEY *p256 = help_key("ES256");
    EVP_PKEY *p384 = help_key("ES384");
    uint8_t point[65];
    size_t len = 0;

    (void)state;
    pr_put_str(&o, "{\"keys\":[");
    help_jwk(&o, "ES256", p256, "k");
    pr_put_str(&o, "]}");
    set_keys("", pr_bytes(text, o.len));
    /* DER instead of r || s. */
    assert_int_equal(
        verify(help_sign(token_mem, sizeof token_mem, "ES256", p256,
                         pr_str("{\"alg\":\"ES256\",\"kid\":\"k\"}"), pr_str(GOOD), true),
               ""),
        PR_JWT_BAD_SIGNATURE);
    /* The right kid under another curve. */
    assert_int_equal(
        verify(help_sign(token_mem, sizeof token_mem, "ES384", p384,
                         pr_str("{\"alg\":\"ES384\",\"kid\":\"k\"}"), pr_str(GOOD), false),
               ""),
        PR_JWT_NO_KEY_FOR_KID);
    /* The public key as an HMAC secret: no secret is configured, and no oct key of this kid. */
    assert_int_equal(
        EVP_PKEY_get_octet_string_param(p256, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &len),
        1);
    assert_int_equal(verify(help_hmac(token_mem, sizeof token_mem, "SHA256", pr_bytes(point, len),
                                      pr_str("{\"alg\":\"HS256\",\"kid\":\"k\"}"), pr_str(GOOD)),
                            ""),
                     PR_JWT_NO_KEY_FOR_KID);
    assert_int_equal(verify(help_hmac(token_mem, sizeof token_mem, "SHA256", pr_bytes("", 0),
                                      pr_str(HS256), pr_str(GOOD)),
                            ""),
                     PR_JWT_NO_KEY);
    pr_jwt_keys_deinit(&keys);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
}

static void chooses_oct_keys(void **state)
{
    static const struct {
        const char *secret, *signer, *header;
        enum pr_jwt_result want;
    } rows[] = {
        {SECRET, "secret of the set", "{\"alg\":\"HS512\",\"kid\":\"o\"}", PR_JWT_OK},
        {SECRET, SECRET, "{\"alg\":\"HS512\",\"kid\":\"o\"}", PR_JWT_BAD_SIGNATURE},
        {SECRET, SECRET, "{\"alg\":\"HS512\",\"kid\":\"x\"}", PR_JWT_OK},
        {SECRET, SECRET, "{\"alg\":\"HS512\"}", PR_JWT_OK},
        {SECRET, "secret of the set", "{\"alg\":\"HS512\"}", PR_JWT_BAD_SIGNATURE},
        {"", "secret of the set", "{\"alg\":\"HS512\"}", PR_JWT_OK},
        {"", "secret of the set", "{\"alg\":\"HS512\",\"kid\":\"x\"}", PR_JWT_NO_KEY_FOR_KID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_keys(rows[i].secret, pr_str(OCT_JWKS));
        assert_int_equal(
            verify(help_hmac(token_mem, sizeof token_mem, "SHA512", pr_str(rows[i].signer),
                             pr_str(rows[i].header), pr_str(GOOD)),
                   ""),
            rows[i].want);
        pr_jwt_keys_deinit(&keys);
    }
}

/* What clients match on, word for word. */
static void tells_texts(void **state)
{
    static const struct {
        enum pr_jwt_result r;
        int status;
        const char *connect, *join, *code;
    } rows[] = {
        {PR_JWT_MALFORMED, 401, "{\"error\":\"The token provided is not a valid JWT\"}",
         "MalformedJWT: The token provided is not a valid JWT", "MalformedJWT"},
        {PR_JWT_EXPIRED, 401, "{\"error\":\"Token has expired\"}",
         "InvalidJWTToken: Token has expired 61 seconds ago", "InvalidJWTToken"},
        {PR_JWT_EXP_INVALID, 401, "{\"error\":\"Token has expired\"}",
         "InvalidJWTToken: Token expiration time is invalid", "InvalidJWTToken"},
        {PR_JWT_FIELDS, 401, "{\"error\":\"Fields `role` and `exp` are required in JWT\"}",
         "InvalidJWTToken: Fields `role` and `exp` are required in JWT", "InvalidJWTToken"},
        {PR_JWT_BAD_SIGNATURE, 401, "{\"error\":\"Failed to validate JWT signature\"}",
         "JwtSignatureError: Failed to validate JWT signature", "JwtSignatureError"},
        {PR_JWT_NO_KEY_FOR_KID, 401,
         "{\"error\":\"Failed to generate JWT signer for key ID (kid) \\\"a\\\\b\\\", check your "
         "JWT secret or JWKS configuration\"}",
         "JwtSignerError: Failed to generate JWT signer for key ID (kid) \"a\\b\", check your JWT "
         "secret or JWKS configuration",
         "JwtSignerError"},
        {PR_JWT_NO_KEY, 401,
         "{\"error\":\"Failed to generate JWT signer, check your JWT secret or JWKS "
         "configuration\"}",
         "JwtSignerError: Failed to generate JWT signer, check your JWT secret or JWKS "
         "configuration",
         "JwtSignerError"},
        {PR_JWT_NOT_YET, 500, "{\"error\":\"Error connecting to Realtime\"}",
         "Unknown Error on Channel", "ErrorConnectingToWebsocket"},
        {PR_JWT_BAD_CLAIM, 500, "{\"error\":\"Error connecting to Realtime\"}",
         "Unknown Error on Channel", "ErrorConnectingToWebsocket"},
    };
    struct pr_jwt t = {.kid = pr_str("a\\b"), .exp_s = NOW - 61, .now_s = NOW};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(text, sizeof text);

        assert_int_equal(pr_jwt_connect_error(&o, rows[i].r, &t), rows[i].status);
        assert_true(pr_slice_is(pr_bytes(text, o.len), rows[i].connect));
        o.len = 0;
        pr_jwt_join_reason(&o, rows[i].r, &t);
        assert_true(pr_slice_is(pr_bytes(text, o.len), rows[i].join));
        assert_string_equal(pr_jwt_code(rows[i].r), rows[i].code);
    }
}

static void mints(void **state)
{
    static const char big[9000];
    struct pr_outbuf o = pr_outbuf(text, sizeof text);
    struct pr_outbuf small = pr_outbuf(text, 10);

    (void)state;
    set_keys(SECRET, pr_bytes(NULL, 0));
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_str(GOOD)), PR_OK);
    assert_int_equal(verify(pr_bytes(text, o.len), "{\"sub\":\"u1\"}"), PR_JWT_OK);
    assert_true(pr_slice_is(jwt.role, "anon") && jwt.exp_s == 1800000000);
    pr_jwt_keys_deinit(&keys);

    o.len = 0;
    set_keys("", pr_str(OCT_JWKS));
    assert_int_equal(pr_jwt_sign(&o, pr_str("secret of the set"), "o", pr_str(GOOD)), PR_OK);
    assert_int_equal(verify(pr_bytes(text, o.len), "{\"sub\":\"u1\"}"), PR_JWT_OK);
    pr_jwt_keys_deinit(&keys);

    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), "\xff", pr_str(GOOD)), PR_ESYNTAX);
    assert_int_equal(pr_jwt_sign(&o, pr_str(""), NULL, pr_str(GOOD)), PR_ERANGE);
    assert_int_equal(pr_jwt_sign(&o, pr_bytes(big, 1025), NULL, pr_str(GOOD)), PR_ERANGE);
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_bytes(big, sizeof big)), PR_ERANGE);
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_str("[]")), PR_ESYNTAX);
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_str("{")), PR_ESYNTAX);
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_str("{\"a\":\"\\ud800\"}")),
                     PR_ESYNTAX);
    assert_int_equal(pr_jwt_sign(&small, pr_str(SECRET), NULL, pr_str(GOOD)), PR_ESHORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_claims),         cmocka_unit_test(compares_configured_claims),
        cmocka_unit_test(judges_headers),        cmocka_unit_test(judges_form),
        cmocka_unit_test(cleans_tokens),         cmocka_unit_test(verifies_asymmetric),
        cmocka_unit_test(refuses_confused_keys), cmocka_unit_test(chooses_oct_keys),
        cmocka_unit_test(tells_texts),           cmocka_unit_test(mints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
