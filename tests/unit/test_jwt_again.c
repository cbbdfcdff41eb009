/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a token that verified once is judged by other keys as if it were verified anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "jwt_help.h"
#include "proto/jwt.h"

#define NOW    1700000000
#define CLAIMS "{\"role\":\"anon\",\"exp\":1800000000,\"iss\":\"me\"}"
#define SECRET "a secret of more than thirty-two bytes"
#define OTHER  "another secret, of thirty-two and more"

/* Pairs of every type; a letter of a key set is the kid, and says which. */
static const char *const algs[] = {"RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed448"};
enum { ALGS = sizeof algs / sizeof algs[0] };
static EVP_PKEY *first[ALGS], *second[ALGS];

/*
 * Builds keys. Letters: a, b a pair of the algorithm under that kid; A the second pair under the
 * kid a; o, O an oct key under the kid a, of SECRET and of OTHER; s, S the secret SECRET or OTHER.
 */
static void build(struct pr_jwt_keys *k, size_t alg, const char *letters)
{
    uint8_t memory[8192];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    const char *secret = "";
    const char *why = NULL;
    size_t n = 0;

    pr_put_str(&o, "{\"keys\":[");
    for (; *letters != '\0'; letters++) {
        if (*letters == 's' || *letters == 'S') {
            secret = *letters == 's' ? SECRET : OTHER;
            continue;
        }
        pr_put_str(&o, n++ > 0 ? "," : "");
        if (*letters == 'o' || *letters == 'O') {
            pr_put_str(&o, "{\"kty\":\"oct\",\"kid\":\"a\"");
            help_member(&o, "k", pr_str(*letters == 'o' ? SECRET : OTHER));
            pr_put_str(&o, "}");
        } else {
            help_jwk(&o, algs[alg], *letters == 'a' ? first[alg] : second[alg],
                     *letters == 'b' ? "b" : "a");
        }
    }
    pr_put_str(&o, "]}");
    assert_int_equal(pr_jwt_keys_init(k, pr_str(secret), pr_bytes(memory, n > 0 ? o.len : 0), &why),
                     PR_OK);
}

struct row {
    const char *kid, *before, *after; /* kid NULL: none in the header */
    enum pr_jwt_result want;
};

/* What pr_jwt_again says must be what pr_jwt_verify says. */
static void check(size_t alg, bool hmac, const struct row *row)
{
    static uint8_t scratch[2][PR_JWT_SCRATCH_BYTES];
    static struct pr_jwt_keys before, after;
    struct pr_outbuf o[2] = {pr_outbuf(scratch[0], sizeof scratch[0]),
                             pr_outbuf(scratch[1], sizeof scratch[1])};
    struct pr_jwt then, now;
    struct pr_slice token;
    uint8_t memory[4096];
    char header[64];

    (void)snprintf(header, sizeof header, "{\"alg\":\"%s\"%s%s%s}", hmac ? "HS256" : algs[alg],
                   row->kid != NULL ? ",\"kid\":\"" : "", row->kid != NULL ? row->kid : "",
                   row->kid != NULL ? "\"" : "");
    token = hmac ? help_hmac(memory, sizeof memory, "SHA256", pr_str(SECRET), pr_str(header),
                             pr_str(CLAIMS))
                 : help_sign(memory, sizeof memory, algs[alg], first[alg], pr_str(header),
                             pr_str(CLAIMS), false);
    build(&before, alg, row->before);
    build(&after, alg, row->after);
    assert_int_equal(pr_jwt_verify(&before, token, NOW, pr_str(""), &o[0], &then), PR_JWT_OK);
    if (pr_jwt_again(&after, &then, pr_str("")) != row->want) {
        fail_msg("%s %s: %s to %s", header, algs[alg], row->before, row->after);
    }
    assert_int_equal(pr_jwt_verify(&after, token, NOW, pr_str(""), &o[1], &now), row->want);
    pr_jwt_keys_deinit(&before);
    pr_jwt_keys_deinit(&after);
}

static void pairs(void **state)
{
    static const struct row rows[] = {
        {"a", "a", "a", PR_JWT_OK},
        {"a", "a", "ab", PR_JWT_OK},
        {"a", "a", "bas", PR_JWT_OK},
        {"a", "a", "b", PR_JWT_NO_KEY_FOR_KID},
        {"a", "a", "A", PR_JWT_BAD_SIGNATURE},
        {"a", "as", "s", PR_JWT_NO_KEY},
        {NULL, "a", "a", PR_JWT_OK},
        {NULL, "a", "A", PR_JWT_BAD_SIGNATURE},
        {NULL, "a", "ab", PR_JWT_NO_KEY}, /* nobody says any more which of the two */
    };

    (void)state;
    for (size_t alg = 0; alg < ALGS; alg++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            check(alg, false, &rows[i]);
        }
    }
}

static void secrets(void **state)
{
    static const struct row rows[] = {
        {NULL, "s", "s", PR_JWT_OK},
        {NULL, "s", "sa", PR_JWT_OK},
        {NULL, "s", "S", PR_JWT_BAD_SIGNATURE},
        {NULL, "s", "a", PR_JWT_NO_KEY},
        {NULL, "s", "o", PR_JWT_OK}, /* the same bytes, and the only one */
        {"a", "s", "s", PR_JWT_OK},
        {"a", "s", "sO", PR_JWT_BAD_SIGNATURE}, /* the set comes before the secret */
        {"a", "o", "O", PR_JWT_BAD_SIGNATURE},
        {"a", "o", "b", PR_JWT_NO_KEY_FOR_KID},
        {"a", "oS", "S", PR_JWT_BAD_SIGNATURE},
        {"a", "o", "s", PR_JWT_OK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(0, true, &rows[i]);
    }
}

static void claims(void **state)
{
    static struct pr_jwt_keys k;
    struct pr_jwt t = {.alg = pr_str("HS256"), .claims = pr_str(CLAIMS)};

    (void)state;
    build(&k, 0, "s");
    memcpy(t.key_id, k.secret_id, sizeof t.key_id);
    assert_int_equal(pr_jwt_again(&k, &t, pr_str("")), PR_JWT_OK);
    assert_int_equal(pr_jwt_again(&k, &t, pr_str("{\"iss\":\"me\"}")), PR_JWT_OK);
    assert_int_equal(pr_jwt_again(&k, &t, pr_str("{\"iss\":\"you\"}")), PR_JWT_BAD_CLAIM);
    pr_jwt_keys_deinit(&k);
}

static int make_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALGS; i++) {
        first[i] = help_key(algs[i]);
        second[i] = help_key(algs[i]);
    }
    return 0;
}

static int free_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ALGS; i++) {
        EVP_PKEY_free(first[i]);
        EVP_PKEY_free(second[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs),
        cmocka_unit_test(secrets),
        cmocka_unit_test(claims),
    };

    return cmocka_run_group_tests(tests, make_pairs, free_pairs);
}
