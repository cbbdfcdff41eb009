/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jwks.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "proto/json_scan.h"

#define RSA_BYTES_MIN 256u /* 2048 bits: below is broken, RFC 7518 3.3 */
#define RSA_BYTES_MAX                                                                              \
    1024u /* 8192 bits: a verification above costs an attacker nothing, us much                    \
           */
#define RSA_E_MAX     8u
#define EC_BYTES_MAX  66u /* of a P-521 coordinate */
#define OKP_BYTES_MAX 57u /* of an Ed448 key */

enum field { KTY = 0, USE, KID, CRV, K, N, E, X, Y, FIELDS };

/* Text of a member; empty if it is absent, false if it is not a string without escapes. */
static bool text_of(const struct pr_json *v, struct pr_slice *text)
{
    *text = pr_bytes(NULL, 0);
    if (v->raw.n == 0) {
        return true;
    }
    if (v->type != PR_JSON_STRING) {
        return false;
    }
    *text = pr_json_str(v);
    return text->n == 0 || memchr(text->p, '\\', text->n) == NULL;
}

/* Bytes of a base64url member; false if it is absent, damaged or longer than `max`. */
static bool bytes_of(const struct pr_json *v, struct pr_outbuf *o)
{
    struct pr_slice text;

    return text_of(v, &text) && text.n > 0 && pr_base64url_decode(o, text) == PR_OK && pr_out_ok(o);
}

static EVP_PKEY *from_params(const char *name, OSSL_PARAM_BLD *build)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, name, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY *pkey = NULL;

    if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static EVP_PKEY *rsa_key(const struct pr_json f[FIELDS])
{
    uint8_t n_bytes[RSA_BYTES_MAX];
    uint8_t e_bytes[RSA_E_MAX];
    struct pr_outbuf n_out = pr_outbuf(n_bytes, sizeof n_bytes);
    struct pr_outbuf e_out = pr_outbuf(e_bytes, sizeof e_bytes);
    EVP_PKEY *pkey = NULL;

    if (!bytes_of(&f[N], &n_out) || !bytes_of(&f[E], &e_out) || n_out.len < RSA_BYTES_MIN) {
        return NULL;
    }
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(n_bytes, (int)n_out.len, NULL);
    BIGNUM *e = BN_bin2bn(e_bytes, (int)e_out.len, NULL);
    if (build != NULL && n != NULL && e != NULL && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e) &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        pkey = from_params("RSA", build);
    }
    if (pkey != NULL && EVP_PKEY_get_bits(pkey) < (int)(8 * RSA_BYTES_MIN)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

/* Both coordinates have the full length of the field, RFC 7518 6.2.1. */
static EVP_PKEY *ec_key(const struct pr_json f[FIELDS], const char *group, size_t coordinate_len)
{
    uint8_t point[1 + 2 * EC_BYTES_MAX] = {4 /* uncompressed */};
    struct pr_outbuf x = pr_outbuf(point + 1, coordinate_len);
    struct pr_outbuf y = pr_outbuf(point + 1 + coordinate_len, coordinate_len);
    EVP_PKEY *pkey = NULL;

    if (!bytes_of(&f[X], &x) || !bytes_of(&f[Y], &y) || x.len != coordinate_len ||
        y.len != coordinate_len) {
        return NULL;
    }
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         1 + 2 * coordinate_len) == 1) {
        pkey = from_params("EC", build);
    }
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

static EVP_PKEY *okp_key(const struct pr_json f[FIELDS], int id, size_t len)
{
    uint8_t x[OKP_BYTES_MAX];
    struct pr_outbuf o = pr_outbuf(x, sizeof x);

    if (!bytes_of(&f[X], &o) || o.len != len) {
        return NULL;
    }
    return EVP_PKEY_new_raw_public_key(id, NULL, x, len);
}

static bool set_oct(struct pr_jwk *key, const struct pr_json f[FIELDS])
{
    struct pr_outbuf o = pr_outbuf(key->oct, sizeof key->oct);

    if (!bytes_of(&f[K], &o)) {
        return false;
    }
    key->oct_len = (uint32_t)o.len;
    return true;
}

/* Type by kty and crv; 0 if we do not know it. */
static int type_of(struct pr_slice kty, struct pr_slice crv)
{
    static const struct {
        const char *kty, *crv;
        enum pr_jwk_type type;
    } known[] = {
        {"oct", NULL, PR_JWK_OCT},      {"RSA", NULL, PR_JWK_RSA},
        {"EC", "P-256", PR_JWK_P256},   {"EC", "P-384", PR_JWK_P384},
        {"EC", "P-521", PR_JWK_P521},   {"OKP", "Ed25519", PR_JWK_ED25519},
        {"OKP", "Ed448", PR_JWK_ED448},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (pr_slice_is(kty, known[i].kty) &&
            (known[i].crv == NULL || pr_slice_is(crv, known[i].crv))) {
            return (int)known[i].type;
        }
    }
    return 0;
}

static bool set_key(struct pr_jwk *key, const struct pr_json f[FIELDS])
{
    switch (key->type) {
    case PR_JWK_OCT:
        return set_oct(key, f);
    case PR_JWK_RSA:
        key->pkey = rsa_key(f);
        break;
    case PR_JWK_P256:
        key->pkey = ec_key(f, "P-256", 32);
        break;
    case PR_JWK_P384:
        key->pkey = ec_key(f, "P-384", 48);
        break;
    case PR_JWK_P521:
        key->pkey = ec_key(f, "P-521", EC_BYTES_MAX);
        break;
    case PR_JWK_ED25519:
        key->pkey = okp_key(f, EVP_PKEY_ED25519, 32);
        break;
    case PR_JWK_ED448:
        key->pkey = okp_key(f, EVP_PKEY_ED448, OKP_BYTES_MAX);
        break;
    }
    return key->pkey != NULL;
}

static bool set_id(struct pr_jwk *key)
{
    unsigned char *der = NULL;
    int n = 0;

    if (key->pkey == NULL) {
        (void)SHA256(key->oct, key->oct_len, key->id);
        return true;
    }
    n = i2d_PUBKEY(key->pkey, &der);
    if (n > 0) {
        (void)SHA256(der, (size_t)n, key->id);
    }
    OPENSSL_free(der);
    return n > 0;
}

static bool is_known(const struct pr_jwt_keys *k, enum pr_jwk_type type, struct pr_slice kid)
{
    for (uint32_t i = 0; i < k->nkeys; i++) {
        if (k->keys[i].type == type &&
            pr_slice_eq(pr_bytes(k->keys[i].kid, k->keys[i].kid_len), kid)) {
            return true;
        }
    }
    return false;
}

/* Adds or skips one element of "keys". NULL, or why the set is refused. */
static const char *add_key(struct pr_jwt_keys *k, const struct pr_json *v)
{
    static const char *const names[FIELDS] = {"kty", "use", "kid", "crv", "k", "n", "e", "x", "y"};
    struct pr_json f[FIELDS];
    struct pr_slice kty;
    struct pr_slice use;
    struct pr_slice kid;
    struct pr_slice crv;

    if (pr_json_pick(v->raw, names, FIELDS, f) != PR_OK) {
        return "a key is not an object";
    }
    if (!text_of(&f[KTY], &kty) || !text_of(&f[USE], &use) || !text_of(&f[KID], &kid) ||
        !text_of(&f[CRV], &crv)) {
        return "kty, use, kid and crv of a key must be plain strings";
    }
    int type = type_of(kty, crv);
    if (type == 0 || (use.n > 0 && !pr_slice_is(use, "sig"))) {
        k->nskipped++;
        return NULL;
    }
    if (k->nkeys == PR_JWKS_KEYS_MAX) {
        return "too many keys";
    }
    if (kid.n > PR_JWK_KID_MAX) {
        return "a kid is too long";
    }
    if (kid.n > 0 && is_known(k, (enum pr_jwk_type)type, kid)) {
        return "two keys have the same type and kid";
    }
    struct pr_jwk *key = &k->keys[k->nkeys];
    key->type = (enum pr_jwk_type)type;
    key->kid_len = (uint32_t)kid.n;
    if (kid.n > 0) {
        memcpy(key->kid, kid.p, kid.n);
    }
    if (!set_key(key, f) || !set_id(key)) {
        EVP_PKEY_free(key->pkey);
        key->pkey = NULL;
        return "a key is damaged, or too short";
    }
    k->nkeys++;
    return NULL;
}

static const char *add_keys(struct pr_jwt_keys *k, struct pr_slice jwks)
{
    struct pr_json list;
    struct pr_json key;
    struct pr_json_iter it;
    const char *why = NULL;

    if (jwks.n > PR_JWKS_BYTES_MAX) {
        return "the JWKS is too large";
    }
    if (pr_json_member(jwks, "keys", &list) != 1 || list.type != PR_JSON_ARRAY) {
        return "the JWKS is not a JSON object with an array \"keys\"";
    }
    int rc = pr_json_open(&it, list.raw);
    while (why == NULL && rc >= 0 && (rc = pr_json_next(&it, NULL, &key)) > 0) {
        why = add_key(k, &key);
    }
    k->has_jwks = true;
    return why;
}

int pr_jwt_keys_init(struct pr_jwt_keys *k, struct pr_slice secret, struct pr_slice jwks,
                     const char **why)
{
    memset(k, 0, sizeof *k);
    *why = NULL;
    if (secret.n > PR_JWT_SECRET_MAX) {
        *why = "the secret is too long";
        return PR_ERANGE;
    }
    if (secret.n > 0) {
        memcpy(k->secret, secret.p, secret.n);
        k->secret_len = secret.n;
        (void)SHA256(k->secret, k->secret_len, k->secret_id);
    }
    if (jwks.n > 0) {
        *why = add_keys(k, jwks);
    }
    ERR_clear_error();
    if (*why != NULL) {
        pr_jwt_keys_deinit(k);
        return PR_ESYNTAX;
    }
    return PR_OK;
}

void pr_jwt_keys_deinit(struct pr_jwt_keys *k)
{
    for (uint32_t i = 0; i < k->nkeys; i++) {
        EVP_PKEY_free(k->keys[i].pkey);
    }
    OPENSSL_cleanse(k, sizeof *k);
}
