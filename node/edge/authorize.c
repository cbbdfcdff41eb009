/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/authorize.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/base/alloc.h"

#define BUCKETS 16384u /* a power of two; about one token each when full */

struct api_key {
    uint8_t sha[32]; /* compared instead of the text, so that time tells nothing about it */
    struct rt_token *token;
};

struct rt_auth {
    uint32_t generation; /* one more with every change of the keys */
    struct pr_jwt_keys *keys;
    char *claims_wanted;
    uint32_t napi_keys;
    struct api_key *api_keys;
    uint32_t ntokens;
    struct rt_token *bucket[BUCKETS];
    struct rt_token *newest, *oldest;
    struct rt_auth_stats stats;
    uint8_t scratch[PR_JWT_SCRATCH_BYTES];
};

static void sha_of(struct pr_slice text, uint8_t out[32])
{
    (void)SHA256(text.p, text.n, out);
}

static struct pr_slice copy(uint8_t **at, struct pr_slice s)
{
    struct pr_slice out = pr_bytes(*at, s.n);

    if (s.n > 0) {
        memcpy(*at, s.p, s.n);
        *at += s.n;
    }
    return out;
}

static struct rt_token *token_make(const struct pr_jwt *jwt, const uint8_t sha[32],
                                   uint32_t generation)
{
    size_t n = jwt->role.n + jwt->sub.n + jwt->claims.n + jwt->alg.n + jwt->kid.n;
    struct rt_token *t = rt_calloc(1, sizeof *t + n);
    uint8_t *at = t->text;

    t->refs = 1;
    t->generation = generation;
    memcpy(t->sha, sha, sizeof t->sha);
    memcpy(t->key_id, jwt->key_id, sizeof t->key_id);
    t->exp_s = jwt->exp_s;
    t->role = copy(&at, jwt->role);
    t->sub = copy(&at, jwt->sub);
    t->claims = copy(&at, jwt->claims);
    t->alg = copy(&at, jwt->alg);
    t->kid = copy(&at, jwt->kid);
    return t;
}

struct rt_token *rt_token_ref(struct rt_token *t)
{
    t->refs++;
    return t;
}

void rt_token_unref(struct rt_token *t)
{
    if (t == NULL) {
        return;
    }
    assert(t->refs > 0);
    t->refs--;
    if (t->refs == 0) {
        rt_free(t);
    }
}

bool rt_token_is(const struct rt_token *t, struct pr_slice text)
{
    uint8_t sha[32];

    sha_of(text, sha);
    return memcmp(sha, t->sha, sizeof sha) == 0;
}

static struct rt_token **bucket_of(struct rt_auth *a, const uint8_t sha[32])
{
    uint32_t h = 0;

    memcpy(&h, sha, sizeof h);
    return &a->bucket[h & (BUCKETS - 1)];
}

static void order_leave(struct rt_auth *a, struct rt_token *t)
{
    *(t->newer == NULL ? &a->newest : &t->newer->older) = t->older;
    *(t->older == NULL ? &a->oldest : &t->older->newer) = t->newer;
}

static void order_first(struct rt_auth *a, struct rt_token *t)
{
    t->newer = NULL;
    t->older = a->newest;
    *(a->newest == NULL ? &a->oldest : &a->newest->newer) = t;
    a->newest = t;
}

static void drop(struct rt_auth *a, struct rt_token *t)
{
    struct rt_token **at = bucket_of(a, t->sha);

    while (*at != t) {
        at = &(*at)->chain;
    }
    *at = t->chain;
    order_leave(a, t);
    t->cached = false;
    a->ntokens--;
    rt_token_unref(t);
}

static struct rt_token *find(struct rt_auth *a, const uint8_t sha[32])
{
    struct rt_token *t = *bucket_of(a, sha);

    while (t != NULL && memcmp(t->sha, sha, sizeof t->sha) != 0) {
        t = t->chain;
    }
    return t;
}

static void keep(struct rt_auth *a, struct rt_token *t)
{
    struct rt_token **at = bucket_of(a, t->sha);

    if (a->ntokens == RT_AUTH_TOKENS_MAX) {
        drop(a, a->oldest);
    }
    t->chain = *at;
    *at = rt_token_ref(t);
    t->cached = true;
    order_first(a, t);
    a->ntokens++;
}

static void keys_free(struct rt_auth *a)
{
    for (uint32_t i = 0; i < a->napi_keys; i++) {
        rt_token_unref(a->api_keys[i].token);
    }
    rt_free(a->api_keys);
    rt_free(a->claims_wanted);
    if (a->keys != NULL) {
        pr_jwt_keys_deinit(a->keys);
        rt_free(a->keys);
    }
}

static void add_api_keys(struct rt_auth *a, const struct rt_list *list, const char *role)
{
    char claims[64];
    struct pr_jwt jwt = {.role = pr_str(role), .exp_s = RT_AUTH_NEVER};
    int n = snprintf(claims, sizeof claims, "{\"role\":\"%s\"}", role);

    jwt.claims = pr_bytes(claims, (size_t)n);
    for (uint32_t i = 0; i < list->count; i++) {
        struct api_key *k = &a->api_keys[a->napi_keys++];

        sha_of(pr_str(list->items[i]), k->sha);
        k->token = token_make(&jwt, k->sha, 0);
    }
}

static int load(struct rt_auth *a, const struct rt_config *cfg, const char **why)
{
    uint32_t nkeys = cfg->publishable_keys.count + cfg->secret_keys.count;
    struct rt_error err;
    char *jwks = NULL;
    int rv = 0;

    if (rt_config_jwks(cfg, &jwks, &err) != RT_OK) {
        *why = "REALTIME_JWT_JWKS cannot be read";
        return -1;
    }
    a->keys = rt_calloc(1, sizeof *a->keys);
    rv = pr_jwt_keys_init(a->keys, pr_str(cfg->jwt_secret == NULL ? "" : cfg->jwt_secret),
                          pr_str(jwks == NULL ? "" : jwks), why);
    rt_free(jwks);
    if (rv != PR_OK) {
        rt_free(a->keys);
        a->keys = NULL;
        return -1;
    }
    a->claims_wanted = rt_strdup(cfg->jwt_claims == NULL ? "" : cfg->jwt_claims);
    a->api_keys = rt_calloc(nkeys + 1, sizeof *a->api_keys);
    add_api_keys(a, &cfg->publishable_keys, "anon");
    add_api_keys(a, &cfg->secret_keys, "service_role");
    return 0;
}

struct rt_auth *rt_auth_new(const struct rt_config *cfg, const char **why)
{
    struct rt_auth *a = rt_calloc(1, sizeof *a);

    if (load(a, cfg, why) != 0) {
        keys_free(a);
        rt_free(a);
        return NULL;
    }
    return a;
}

static void forget_tokens(struct rt_auth *a)
{
    while (a->oldest != NULL) {
        drop(a, a->oldest);
    }
}

void rt_auth_free(struct rt_auth *a)
{
    if (a == NULL) {
        return;
    }
    forget_tokens(a);
    keys_free(a);
    rt_free(a);
}

static bool same_key(const struct pr_jwk *x, const struct pr_jwk *y)
{
    return x->type == y->type && x->kid_len == y->kid_len &&
           memcmp(x->kid, y->kid, x->kid_len) == 0 && memcmp(x->id, y->id, sizeof x->id) == 0;
}

static bool same(const struct rt_auth *x, const struct rt_auth *y)
{
    if (x->keys->secret_len != y->keys->secret_len || x->keys->nkeys != y->keys->nkeys ||
        x->napi_keys != y->napi_keys || strcmp(x->claims_wanted, y->claims_wanted) != 0 ||
        memcmp(x->keys->secret_id, y->keys->secret_id, sizeof x->keys->secret_id) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < x->keys->nkeys; i++) {
        if (!same_key(&x->keys->keys[i], &y->keys->keys[i])) {
            return false;
        }
    }
    for (uint32_t i = 0; i < x->napi_keys; i++) {
        if (memcmp(x->api_keys[i].sha, y->api_keys[i].sha, 32) != 0 ||
            !pr_slice_eq(x->api_keys[i].token->role, y->api_keys[i].token->role)) {
            return false;
        }
    }
    return true;
}

int rt_auth_reload(struct rt_auth *a, const struct rt_config *cfg, const char **why)
{
    struct rt_auth *fresh = rt_auth_new(cfg, why);
    bool changed = false;

    if (fresh == NULL) {
        return -1;
    }
    changed = !same(a, fresh);
    if (changed) {
        struct rt_auth old = {.keys = a->keys,
                              .claims_wanted = a->claims_wanted,
                              .napi_keys = a->napi_keys,
                              .api_keys = a->api_keys};

        forget_tokens(a);
        a->generation++;
        a->keys = fresh->keys;
        a->claims_wanted = fresh->claims_wanted;
        a->napi_keys = fresh->napi_keys;
        a->api_keys = fresh->api_keys;
        fresh->keys = old.keys;
        fresh->claims_wanted = old.claims_wanted;
        fresh->napi_keys = old.napi_keys;
        fresh->api_keys = old.api_keys;
    }
    rt_auth_free(fresh);
    return changed ? 1 : 0;
}

/* Borrowed. */
static struct rt_token *find_api_key(const struct rt_auth *a, const uint8_t sha[32])
{
    for (uint32_t i = 0; i < a->napi_keys; i++) {
        if (CRYPTO_memcmp(a->api_keys[i].sha, sha, 32) == 0) {
            return a->api_keys[i].token;
        }
    }
    return NULL;
}

enum pr_jwt_result rt_auth_verify(struct rt_auth *a, struct pr_slice token, int64_t now_s,
                                  struct rt_token **out, struct pr_jwt *detail)
{
    struct pr_outbuf scratch = pr_outbuf(a->scratch, sizeof a->scratch);
    enum pr_jwt_result r = PR_JWT_OK;
    struct rt_token *t = NULL;
    uint8_t sha[32];

    *out = NULL;
    *detail = (struct pr_jwt){.now_s = now_s};
    sha_of(token, sha);
    t = find_api_key(a, sha);
    if (t != NULL) {
        *out = rt_token_ref(t);
        return PR_JWT_OK;
    }
    t = find(a, sha);
    if (t != NULL && t->exp_s > now_s) {
        a->stats.cached++;
        order_leave(a, t);
        order_first(a, t);
        *out = rt_token_ref(t);
        return PR_JWT_OK;
    }
    if (t != NULL) {
        drop(a, t);
    }
    a->stats.verified++;
    r = pr_jwt_verify(a->keys, token, now_s, pr_str(a->claims_wanted), &scratch, detail);
    if (r == PR_JWT_OK) {
        *out = token_make(detail, sha, a->generation);
        keep(a, *out);
    }
    return r;
}

static enum pr_jwt_result api_key_holds(const struct rt_auth *a, const struct rt_token *t)
{
    const struct rt_token *now = find_api_key(a, t->sha);

    return now != NULL && pr_slice_eq(now->role, t->role) ? PR_JWT_OK : PR_JWT_MALFORMED;
}

enum pr_jwt_result rt_auth_holds(const struct rt_auth *a, struct rt_token *t, struct pr_jwt *detail)
{
    enum pr_jwt_result r = PR_JWT_OK;

    *detail = (struct pr_jwt){.alg = t->alg, .kid = t->kid, .claims = t->claims, .exp_s = t->exp_s};
    if (t->generation == a->generation) {
        return PR_JWT_OK;
    }
    memcpy(detail->key_id, t->key_id, sizeof t->key_id);
    r = t->alg.n == 0 ? api_key_holds(a, t)
                      : pr_jwt_again(a->keys, detail, pr_str(a->claims_wanted));
    if (r == PR_JWT_OK) {
        t->generation = a->generation;
    }
    return r;
}

enum pr_jwt_result rt_auth_again(const struct rt_auth *a, struct rt_token *t, int64_t now_s,
                                 struct pr_jwt *detail)
{
    enum pr_jwt_result r = rt_auth_holds(a, t, detail);

    detail->now_s = now_s;
    if (r == PR_JWT_OK && t->exp_s <= now_s) {
        r = PR_JWT_EXPIRED;
    }
    return r;
}

struct rt_auth_stats rt_auth_stats(const struct rt_auth *a)
{
    return a->stats;
}
