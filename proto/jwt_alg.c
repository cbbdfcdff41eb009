/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jwt_alg.h"

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>

#define SIGNATURE_MAX 1024u /* of RSA with the largest key we take */
#define DER_MAX       160u  /* of ECDSA on P-521: two integers of 67 bytes, and headers */

struct alg {
    const char *name;
    enum pr_jwk_type type;
    enum pr_jwk_type other_type; /* of EdDSA, which names two curves; else the same */
    const char *digest;          /* NULL: the algorithm has its own */
    size_t coordinate_len;       /* ECDSA: of r and of s */
};

static const struct alg algs[] = {
    {"HS256", PR_JWK_OCT, PR_JWK_OCT, "SHA256", 0},
    {"HS384", PR_JWK_OCT, PR_JWK_OCT, "SHA384", 0},
    {"HS512", PR_JWK_OCT, PR_JWK_OCT, "SHA512", 0},
    {"RS256", PR_JWK_RSA, PR_JWK_RSA, "SHA256", 0},
    {"RS384", PR_JWK_RSA, PR_JWK_RSA, "SHA384", 0},
    {"RS512", PR_JWK_RSA, PR_JWK_RSA, "SHA512", 0},
    {"ES256", PR_JWK_P256, PR_JWK_P256, "SHA256", 32},
    {"ES384", PR_JWK_P384, PR_JWK_P384, "SHA384", 48},
    {"ES512", PR_JWK_P521, PR_JWK_P521, "SHA512", 66},
    {"EdDSA", PR_JWK_ED25519, PR_JWK_ED448, NULL, 0},
    {"Ed25519", PR_JWK_ED25519, PR_JWK_ED25519, NULL, 0},
    {"Ed448", PR_JWK_ED448, PR_JWK_ED448, NULL, 0},
};

static const struct alg *find_alg(struct pr_slice name)
{
    for (size_t i = 0; i < sizeof algs / sizeof algs[0]; i++) {
        if (pr_slice_is(name, algs[i].name)) {
            return &algs[i];
        }
    }
    return NULL;
}

static bool fits(const struct pr_jwk *key, const struct alg *alg)
{
    return key->type == alg->type || key->type == alg->other_type;
}

/* The key of this kid; without a kid the only key of the type. */
static const struct pr_jwk *find_key(const struct pr_jwt_keys *keys, const struct alg *alg,
                                     struct pr_slice kid)
{
    const struct pr_jwk *found = NULL;
    uint32_t count = 0;

    for (uint32_t i = 0; i < keys->nkeys; i++) {
        const struct pr_jwk *key = &keys->keys[i];

        if (fits(key, alg) && (kid.n == 0 || pr_slice_eq(kid, pr_bytes(key->kid, key->kid_len)))) {
            found = key;
            count++;
        }
    }
    return count == 1 ? found : NULL;
}

static bool hmac_ok(struct pr_slice secret, const char *digest, struct pr_slice text,
                    struct pr_slice signature)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    return HMAC(EVP_get_digestbyname(digest), secret.p, (int)secret.n, text.p, text.n, mac, &len) !=
               NULL &&
           signature.n == len && CRYPTO_memcmp(mac, signature.p, len) == 0;
}

/* r || s as the DER that OpenSSL wants. Returns its length, 0 if it cannot be made. */
static size_t der_of(struct pr_slice raw, uint8_t der[DER_MAX])
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int half = (int)(raw.n / 2);
    BIGNUM *r = BN_bin2bn(raw.p, half, NULL);
    BIGNUM *s = BN_bin2bn(raw.p + half, half, NULL);
    int len = 0;

    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        len = i2d_ECDSA_SIG(sig, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return len > 0 ? (size_t)len : 0;
}

static bool pkey_ok(EVP_PKEY *pkey, const char *digest, struct pr_slice text,
                    struct pr_slice signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL &&
              EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, pkey, NULL) == 1 &&
              EVP_DigestVerify(ctx, signature.p, signature.n, text.p, text.n) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

static bool signed_by(const struct pr_jwk *key, const struct alg *alg, struct pr_slice text,
                      struct pr_slice signature)
{
    uint8_t der[DER_MAX];

    if (key->type == PR_JWK_OCT) {
        return hmac_ok(pr_bytes(key->oct, key->oct_len), alg->digest, text, signature);
    }
    if (alg->coordinate_len > 0) {
        if (signature.n != 2 * alg->coordinate_len) {
            return false;
        }
        signature = pr_bytes(der, der_of(signature, der));
    }
    return signature.n > 0 && pkey_ok(key->pkey, alg->digest, text, signature);
}

/* *key stays NULL where the secret verifies. */
static enum pr_jwt_result choose(const struct pr_jwt_keys *keys, const struct alg *alg,
                                 struct pr_slice kid, const struct pr_jwk **key)
{
    *key = NULL;
    if (alg == NULL) {
        return PR_JWT_NO_KEY;
    }
    bool secret_may = alg->type == PR_JWK_OCT && keys->secret_len > 0;
    if (kid.n > 0 || !secret_may) {
        *key = find_key(keys, alg, kid);
    }
    if (*key == NULL && !secret_may) {
        return kid.n > 0 && keys->has_jwks ? PR_JWT_NO_KEY_FOR_KID : PR_JWT_NO_KEY;
    }
    return PR_JWT_OK;
}

enum pr_jwt_result pr_jwt_key_id(const struct pr_jwt_keys *keys, const struct pr_jwt *t,
                                 const uint8_t **id)
{
    const struct pr_jwk *key = NULL;
    enum pr_jwt_result r = choose(keys, find_alg(t->alg), t->kid, &key);

    *id = key != NULL ? key->id : keys->secret_id;
    return r;
}

enum pr_jwt_result pr_jwt_check_signature(const struct pr_jwt_keys *keys, const struct pr_jwt *t,
                                          struct pr_slice signed_text, struct pr_slice signature,
                                          const uint8_t **id)
{
    uint8_t bytes[SIGNATURE_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    const struct alg *alg = find_alg(t->alg);
    const struct pr_jwk *key = NULL;
    enum pr_jwt_result r = choose(keys, alg, t->kid, &key);

    if (r != PR_JWT_OK) {
        return r;
    }
    if (pr_base64url_decode(&o, signature) != PR_OK || !pr_out_ok(&o)) {
        return PR_JWT_BAD_SIGNATURE;
    }
    struct pr_slice sig = pr_bytes(bytes, o.len);
    bool ok = key != NULL ? signed_by(key, alg, signed_text, sig)
                          : hmac_ok(pr_bytes(keys->secret, keys->secret_len), alg->digest,
                                    signed_text, sig);
    *id = key != NULL ? key->id : keys->secret_id;
    return ok ? PR_JWT_OK : PR_JWT_BAD_SIGNATURE;
}
