/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt.h - verifies the tokens of clients: compact JWS (RFC 7515) with a JSON object as claims.
 *
 * Order of the checks: form, algorithm and key, signature, exp, nbf, iat, configured claims,
 * presence of role and exp. Nothing of the claims is believed before the signature is good.
 *
 *   HS256/384/512   the oct key of the header's kid if the set has it, else the secret
 *   RS*, ES*, EdDSA the key of that type and kid; without a kid the only key of that type
 *   all else        refused ("none" too)
 */
#ifndef PROTO_JWT_H
#define PROTO_JWT_H

#include "proto/bytes.h"
#include "proto/jwks.h"

/* A token also travels in a request head, so it cannot be longer than one. */
#define PR_JWT_BYTES_MAX 16384u
/* Always enough for pr_jwt_verify: the clean token, its decoded parts, and role and sub. */
#define PR_JWT_SCRATCH_BYTES (3u * PR_JWT_BYTES_MAX)
#define PR_JWT_NBF_SLACK_S   5

enum pr_jwt_result {
    PR_JWT_OK = 0,
    PR_JWT_MALFORMED,   /* not a JWT; also exp or role of the wrong type, or too long */
    PR_JWT_EXPIRED,     /* exp <= now */
    PR_JWT_EXP_INVALID, /* exp > now, but not any more when rounded to a second */
    PR_JWT_FIELDS,      /* role or exp missing */
    PR_JWT_BAD_SIGNATURE,
    PR_JWT_NO_KEY_FOR_KID,
    PR_JWT_NO_KEY,   /* the algorithm is refused, or has no key without a kid */
    PR_JWT_NOT_YET,  /* nbf in the future */
    PR_JWT_BAD_CLAIM /* iat is not a number, or a configured claim differs */
};

struct pr_jwt {
    struct pr_slice claims;          /* JSON object text */
    struct pr_slice role;            /* plain text, not empty, without NUL */
    struct pr_slice sub;             /* plain text; empty if absent or not a string */
    struct pr_slice kid;             /* set whenever the header has one, also on errors */
    struct pr_slice alg;             /* of the header, plain text */
    uint8_t key_id[PR_KEY_ID_BYTES]; /* of the key that verified; set with `claims` */
    int64_t exp_s;                   /* rounded; set from PR_JWT_EXPIRED on */
    int64_t now_s;                   /* as given */
};

/*
 * Verifies a token as sent: percent-encoded or not, white space anywhere. `claims_wanted` is a JSON
 * object whose members must equal those of the token, or empty. Everything in *out borrows the
 * memory of `scratch` (cap >= PR_JWT_SCRATCH_BYTES), nothing else. OpenSSL and jansson allocate
 * inside the call only.
 */
PR_MUST_CHECK enum pr_jwt_result pr_jwt_verify(const struct pr_jwt_keys *keys,
                                               struct pr_slice token, int64_t now_s,
                                               struct pr_slice claims_wanted,
                                               struct pr_outbuf *scratch, struct pr_jwt *out);

/*
 * Would these keys verify a token that verified before? Of `t` are read alg, kid, key_id and
 * claims. The key that is chosen now must be the one of then. PR_JWT_OK; PR_JWT_NO_KEY,
 * PR_JWT_NO_KEY_FOR_KID; PR_JWT_BAD_SIGNATURE: another key took its place; PR_JWT_BAD_CLAIM. Time
 * is not looked at.
 */
PR_MUST_CHECK enum pr_jwt_result
pr_jwt_again(const struct pr_jwt_keys *keys, const struct pr_jwt *t, struct pr_slice claims_wanted);

/*
 * Appends the body of the answer at connect, {"error":…}, and returns its HTTP status. 401 only
 * where trying again cannot heal. `r` must not be PR_JWT_OK.
 */
int pr_jwt_connect_error(struct pr_outbuf *o, enum pr_jwt_result r, const struct pr_jwt *t);
/* Appends the plain text of a join's refusal: "InvalidJWTToken: Token has expired 5 seconds ago" */
void pr_jwt_join_reason(struct pr_outbuf *o, enum pr_jwt_result r, const struct pr_jwt *t);
/* The same without the code before the colon: texts of `system` messages. */
void pr_jwt_system_text(struct pr_outbuf *o, enum pr_jwt_result r, const struct pr_jwt *t);
/* Name for the log: "InvalidJWTToken". Static. */
const char *pr_jwt_code(enum pr_jwt_result r);

/*
 * Mints a token: HS256 over the claims (JSON object text) with a secret; kid (UTF-8; NULL: none)
 * names the key in a JWKS. PR_ESYNTAX: claims are not an object, or kid is not UTF-8. PR_ERANGE: no
 * secret, or too long. PR_ESHORT: does not fit.
 */
PR_MUST_CHECK int pr_jwt_sign(struct pr_outbuf *o, struct pr_slice secret, const char *kid,
                              struct pr_slice claims);

#endif
