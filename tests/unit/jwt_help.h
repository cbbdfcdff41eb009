/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_help.h - key pairs, their JWKs and tokens signed with them, for the tests of jwks and jwt.
 */
#ifndef TESTS_JWT_HELP_H
#define TESTS_JWT_HELP_H

#include <assert.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proto/base64url.h"
#include "proto/bytes.h"
#include "proto/json_write.h"

struct help_alg {
    const char *alg, *digest, *kty, *crv;
    size_t coordinate_len; /* 0: not an EC key */
};

static inline const struct help_alg *help_alg(const char *alg)
{
    static const struct help_alg algs[] = {
        {"HS256", "SHA256", "oct", NULL, 0},    {"HS384", "SHA384", "oct", NULL, 0},
        {"HS512", "SHA512", "oct", NULL, 0},    {"RS256", "SHA256", "RSA", NULL, 0},
        {"RS384", "SHA384", "RSA", NULL, 0},    {"RS512", "SHA512", "RSA", NULL, 0},
        {"ES256", "SHA256", "EC", "P-256", 32}, {"ES384", "SHA384", "EC", "P-384", 48},
        {"ES512", "SHA512", "EC", "P-521", 66}, {"EdDSA", NULL, "OKP", "Ed25519", 0},
        {"Ed25519", NULL, "OKP", "Ed25519", 0}, {"Ed448", NULL, "OKP", "Ed448", 0},
    };

    size_t i = 0;

    while (strcmp(algs[i].alg, alg) != 0) {
        i++;
        assert(i < sizeof algs / sizeof algs[0]);
    }
    return &algs[i];
}

static inline EVP_PKEY *help_key(const char *alg)
{
    const struct help_alg *a = help_alg(alg);

    if (strcmp(a->kty, "RSA") == 0) {
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    }
    if (strcmp(a->kty, "EC") == 0) {
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", a->crv);
    }
    return EVP_PKEY_Q_keygen(NULL, NULL, strcmp(a->crv, "Ed448") == 0 ? "ED448" : "ED25519");
}

static inline void help_member(struct pr_outbuf *o, const char *name, struct pr_slice bytes)
{
    pr_put_u8(o, ',');
    pr_put_json_cstr(o, name);
    pr_put_str(o, ":\"");
    pr_base64url_put(o, bytes);
    pr_put_u8(o, '"');
}

static inline void help_bn(struct pr_outbuf *o, EVP_PKEY *key, const char *param, const char *name)
{
    uint8_t bytes[512];
    BIGNUM *n = NULL;
    int rc = EVP_PKEY_get_bn_param(key, param, &n);

    assert(rc == 1);
    help_member(o, name, pr_bytes(bytes, (size_t)BN_bn2bin(n, bytes)));
    BN_free(n);
}

/* Appends the public key of `key` as a JWK. */
static inline void help_jwk(struct pr_outbuf *o, const char *alg, EVP_PKEY *key, const char *kid)
{
    const struct help_alg *a = help_alg(alg);
    uint8_t point[140];
    size_t len = sizeof point;

    pr_put_str(o, "{\"kty\":");
    pr_put_json_cstr(o, a->kty);
    if (kid != NULL) {
        pr_put_str(o, ",\"kid\":");
        pr_put_json_cstr(o, kid);
    }
    if (a->crv != NULL) {
        pr_put_str(o, ",\"crv\":");
        pr_put_json_cstr(o, a->crv);
    }
    if (strcmp(a->kty, "RSA") == 0) {
        help_bn(o, key, OSSL_PKEY_PARAM_RSA_N, "n");
        help_bn(o, key, OSSL_PKEY_PARAM_RSA_E, "e");
    } else if (a->coordinate_len > 0) {
        (void)EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point,
                                              &len);
        help_member(o, "x", pr_bytes(point + 1, a->coordinate_len));
        help_member(o, "y", pr_bytes(point + 1 + a->coordinate_len, a->coordinate_len));
    } else {
        (void)EVP_PKEY_get_raw_public_key(key, point, &len);
        help_member(o, "x", pr_bytes(point, len));
    }
    pr_put_u8(o, '}');
}

/* DER to r || s; or not, to have a signature of the wrong form. */
static inline size_t help_raw(uint8_t *sig, size_t len, size_t coordinate_len)
{
    const uint8_t *p = sig;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &p, (long)len);

    (void)BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, (int)coordinate_len);
    (void)BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + coordinate_len, (int)coordinate_len);
    ECDSA_SIG_free(pair);
    return 2 * coordinate_len;
}

static inline struct pr_outbuf help_token_start(void *mem, size_t cap, struct pr_slice header,
                                                struct pr_slice claims)
{
    struct pr_outbuf o = pr_outbuf(mem, cap);

    pr_base64url_put(&o, header);
    pr_put_u8(&o, '.');
    pr_base64url_put(&o, claims);
    return o;
}

/* A token with this header, signed as `alg` says, by a key pair. `der`: ECDSA stays DER. */
static inline struct pr_slice help_sign(void *mem, size_t cap, const char *alg, EVP_PKEY *key,
                                        struct pr_slice header, struct pr_slice claims, bool der)
{
    const struct help_alg *a = help_alg(alg);
    struct pr_outbuf o = help_token_start(mem, cap, header, claims);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[600];
    size_t len = sizeof sig;
    int rc = EVP_DigestSignInit_ex(ctx, NULL, a->digest, NULL, NULL, key, NULL);

    rc = rc == 1 ? EVP_DigestSign(ctx, sig, &len, mem, o.len) : rc;
    assert(rc == 1);
    EVP_MD_CTX_free(ctx);
    if (a->coordinate_len > 0 && !der) {
        len = help_raw(sig, len, a->coordinate_len);
    }
    pr_put_u8(&o, '.');
    pr_base64url_put(&o, pr_bytes(sig, len));
    assert(pr_out_ok(&o));
    return pr_bytes(mem, o.len);
}

/* The same by a secret. */
static inline struct pr_slice help_hmac(void *mem, size_t cap, const char *digest,
                                        struct pr_slice secret, struct pr_slice header,
                                        struct pr_slice claims)
{
    struct pr_outbuf o = help_token_start(mem, cap, header, claims);
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    (void)HMAC(EVP_get_digestbyname(digest), secret.p, (int)secret.n, mem, o.len, mac, &len);
    pr_put_u8(&o, '.');
    pr_base64url_put(&o, pr_bytes(mac, len));
    assert(pr_out_ok(&o));
    return pr_bytes(mem, o.len);
}

#endif
