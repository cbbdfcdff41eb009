/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_alg.h - from a token's algorithm and kid to a key, and the signature check (RFC 7518, 8037).
 */
#ifndef PROTO_JWT_ALG_H
#define PROTO_JWT_ALG_H

#include "proto/jwt.h"

/*
 * Picks the key by type first, then kid, and verifies. `signature` is base64url. PR_JWT_OK,
 * PR_JWT_BAD_SIGNATURE, PR_JWT_NO_KEY or PR_JWT_NO_KEY_FOR_KID. HMACs are compared in constant
 * time. ECDSA signatures are r || s of full length, not DER.
 */
PR_MUST_CHECK enum pr_jwt_result pr_jwt_check_signature(const struct pr_jwt_keys *keys,
                                                        struct pr_slice alg, struct pr_slice kid,
                                                        struct pr_slice signed_text,
                                                        struct pr_slice signature);

#endif
