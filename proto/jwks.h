/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwks.h - the keys that may have signed a token: one secret, and a JSON Web Key Set (RFC 7517,
 * 7518, 8037).
 *
 * A key's type decides which algorithms it may verify, before a signature is looked at; what the
 * token's header says only selects among keys of that type. OpenSSL holds the parsed keys, since
 * parsing a PEM at each call costs five times the verification (measured with libjwt 1.10).
 */
#ifndef PROTO_JWKS_H
#define PROTO_JWKS_H

#include <openssl/evp.h>

#include "proto/base64url.h"
#include "proto/bytes.h"

#define PR_JWKS_KEYS_MAX  32u
#define PR_JWK_KID_MAX    255u
#define PR_JWT_SECRET_MAX 1024u /* bytes, also of an oct key */
#define PR_JWKS_BYTES_MAX 65536u
#define PR_KEY_ID_BYTES   32u

enum pr_jwk_type {
    PR_JWK_OCT = 1, /* HS256 HS384 HS512 */
    PR_JWK_RSA,     /* RS256 RS384 RS512; 2048 to 8192 bits */
    PR_JWK_P256,    /* ES256 */
    PR_JWK_P384,    /* ES384 */
    PR_JWK_P521,    /* ES512 */
    PR_JWK_ED25519, /* EdDSA, Ed25519 */
    PR_JWK_ED448    /* EdDSA, Ed448 */
};

struct pr_jwk {
    enum pr_jwk_type type;
    uint32_t kid_len;
    uint32_t oct_len;
    uint8_t kid[PR_JWK_KID_MAX];
    uint8_t oct[PR_JWT_SECRET_MAX];
    EVP_PKEY *pkey;              /* owned; NULL for oct */
    uint8_t id[PR_KEY_ID_BYTES]; /* SHA-256 of the secret, or of the public key as DER */
};

struct pr_jwt_keys {
    uint8_t secret[PR_JWT_SECRET_MAX];
    size_t secret_len; /* 0: no secret */
    uint8_t secret_id[PR_KEY_ID_BYTES];
    bool has_jwks;
    uint32_t nkeys;
    uint32_t nskipped; /* keys of a type or use we do not know */
    struct pr_jwk keys[PR_JWKS_KEYS_MAX];
};

/*
 * Fills *k from a secret and the text of a JWKS file; either may be empty. Copies both. Keys of
 * unknown type, and with "use" other than "sig", are counted and skipped; a key that is damaged
 * fails the whole set, and so does a second one with the same type and kid. PR_OK or an error, with
 * a static text in *why; after an error *k is empty and needs no deinit.
 */
PR_MUST_CHECK int pr_jwt_keys_init(struct pr_jwt_keys *k, struct pr_slice secret,
                                   struct pr_slice jwks, const char **why);
/* Frees what OpenSSL holds and wipes the secrets. */
void pr_jwt_keys_deinit(struct pr_jwt_keys *k);

#endif
