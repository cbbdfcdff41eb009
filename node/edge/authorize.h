/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authorize.h - what a token is worth: claims, or the reason why not.
 *
 * Good tokens are kept by the SHA-256 of their text until they expire, at most
 * RT_AUTH_TOKENS_MAX of them (the least used go first), so that a reconnecting crowd costs one
 * signature check per token. Bad ones are not kept: they would push out the good.
 */
#ifndef NODE_EDGE_AUTHORIZE_H
#define NODE_EDGE_AUTHORIZE_H

#include "node/base/config.h"
#include "proto/jwt.h"

/* About 700 bytes each: 14 MB when full. */
#define RT_AUTH_TOKENS_MAX 20000u
/* exp of what never expires: an API key. */
#define RT_AUTH_NEVER INT64_MAX

/* A verified token, shared. All slices live as long as it. */
struct rt_token {
    uint32_t refs;
    bool cached;
    uint32_t generation; /* of the keys, when it was last found good */
    uint8_t sha[32];
    int64_t exp_s; /* unix seconds */
    struct pr_slice role, sub, claims;
    struct pr_slice alg, kid; /* of the JWT's header; alg is empty for an API key */
    uint8_t key_id[PR_KEY_ID_BYTES];
    struct rt_token *chain;         /* of the cache's hash table */
    struct rt_token *newer, *older; /* order of use */
    uint8_t text[];
};

struct rt_auth;
struct rt_auth_stats {
    uint64_t verified, cached;
};

/* Gives the keys of the settings. NULL with *why if they cannot be used; `why` names what is wrong,
 * static or from the crypto library. `cfg` is borrowed for the call. */
struct rt_auth *rt_auth_new(const struct rt_config *cfg, const char **why);
void rt_auth_free(struct rt_auth *a);
/*
 * Takes keys from other settings. 1: they changed, and who holds a token from before asks
 * rt_auth_holds; 0: the same; -1: they cannot be used (*why), the old ones stay.
 */
int rt_auth_reload(struct rt_auth *a, const struct rt_config *cfg, const char **why);

/*
 * Verifies a token or an API key as sent. PR_JWT_OK gives a reference in *out. Otherwise *detail
 * tells more for pr_jwt_join_reason and kin; it is valid until the next call.
 */
PR_MUST_CHECK enum pr_jwt_result rt_auth_verify(struct rt_auth *a, struct pr_slice token,
                                                int64_t now_s, struct rt_token **out,
                                                struct pr_jwt *detail);
/* Would a token that verified once verify with the keys of now? Whether it expired is not looked
 * at. Costs a comparison, unless the keys have changed since it was asked last. */
enum pr_jwt_result rt_auth_holds(const struct rt_auth *a, struct rt_token *t,
                                 struct pr_jwt *detail);
/* The same, and has it not expired? The verdicts and texts of rt_auth_verify, as of now. */
enum pr_jwt_result rt_auth_again(const struct rt_auth *a, struct rt_token *t, int64_t now_s,
                                 struct pr_jwt *detail);
struct rt_token *rt_token_ref(struct rt_token *t);
/* NULL is allowed. */
void rt_token_unref(struct rt_token *t);
/* Does the text stand for this token? */
bool rt_token_is(const struct rt_token *t, struct pr_slice text);
struct rt_auth_stats rt_auth_stats(const struct rt_auth *a);

#endif
