/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_alg.h - from a token's algorithm and kid to a key, and the signature check (RFC 7518, 8037).
 */
#ifndef PROTO_JWT_ALG_H
#define PROTO_JWT_ALG_H

#include "proto/jwt.h"

/*
 * Picks the key for t->alg and t->kid, by type first, then kid; its name of PR_KEY_ID_BYTES in *id,
 * borrowed from `keys`. PR_JWT_OK, PR_JWT_NO_KEY or PR_JWT_NO_KEY_FOR_KID.
 */
PR_MUST_CHECK enum pr_jwt_result pr_jwt_key_id(const struct pr_jwt_keys *keys,
                                               const struct pr_jwt *t, const uint8_t **id);
/*
 * The same, and verifies: also PR_JWT_BAD_SIGNATURE. `signature` is base64url. HMACs are compared
 * in constant time. ECDSA signatures are r || s of full length, not DER.
 */
PR_MUST_CHECK enum pr_jwt_result
pr_jwt_check_signature(const struct pr_jwt_keys *keys, const struct pr_jwt *t,
                       struct pr_slice signed_text, struct pr_slice signature, const uint8_t **id);

#endif
