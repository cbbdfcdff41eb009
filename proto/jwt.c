/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jwt.h"

#include <string.h>

#include <jansson.h>

#include "proto/json_scan.h"
#include "proto/jwt_alg.h"
#include "proto/mesh.h"
#include "proto/url.h"

#define NUMBER_LEN_MAX 64u  /* characters of exp, nbf, iat */
#define TIME_MAX       1e15 /* seconds; far above any date, far below what a double counts */

struct parts {
    struct pr_slice header;    /* JSON */
    struct pr_slice claims;    /* JSON */
    struct pr_slice signature; /* base64url */
    struct pr_slice signed_text;
};

/* Appends the token without percent-encoding and white space. */
static int put_clean(struct pr_outbuf *o, struct pr_slice token, struct pr_slice *clean)
{
    size_t start = o->len;

    if (token.n > PR_JWT_BYTES_MAX) {
        return PR_ERANGE;
    }
    int rc = pr_url_decode(o, token, PR_URL_PATH);
    if (rc != PR_OK || !pr_out_ok(o)) {
        return rc != PR_OK ? rc : PR_ESHORT;
    }
    size_t end = o->len;
    o->len = start;
    for (size_t i = start; i < end; i++) {
        uint8_t c = o->p[i];

        if (c != ' ' && (c < '\t' || c > '\r')) {
            o->p[o->len++] = c;
        }
    }
    *clean = pr_bytes(o->p + start, o->len - start);
    return PR_OK;
}

/* Takes bytes up to a dot, which is dropped. False: there is none. */
static bool take_part(struct pr_slice *in, struct pr_slice *part)
{
    const uint8_t *at = in->n > 0 ? memchr(in->p, '.', in->n) : NULL;

    if (at == NULL) {
        return false;
    }
    *part = pr_bytes(in->p, (size_t)(at - in->p));
    *in = pr_bytes(at + 1, in->n - part->n - 1);
    return true;
}

/* Decodes base64url that must be a JSON object. */
static bool take_object(struct pr_slice text, struct pr_outbuf *o, struct pr_slice *json)
{
    struct pr_json v;
    size_t start = o->len;

    if (pr_base64url_decode(o, text) != PR_OK || !pr_out_ok(o)) {
        return false;
    }
    *json = pr_bytes(o->p + start, o->len - start);
    return pr_json_value(*json, &v) == PR_OK && v.type == PR_JSON_OBJECT;
}

static bool split(struct pr_slice token, struct pr_outbuf *o, struct parts *out)
{
    struct pr_slice clean;
    struct pr_slice rest;
    struct pr_slice header;
    struct pr_slice claims;

    if (put_clean(o, token, &clean) != PR_OK) {
        return false;
    }
    rest = clean;
    if (!take_part(&rest, &header) || !take_part(&rest, &claims) ||
        (rest.n > 0 && memchr(rest.p, '.', rest.n) != NULL)) {
        return false;
    }
    out->signature = rest;
    out->signed_text = pr_bytes(clean.p, header.n + 1 + claims.n);
    return take_object(header, o, &out->header) && take_object(claims, o, &out->claims);
}

/* A JSON number as a double; false if it is none, or absurd. */
static bool number_of(const struct pr_json *v, double *out)
{
    if (v->type != PR_JSON_NUMBER || v->raw.n > NUMBER_LEN_MAX) {
        return false;
    }
    json_t *json = json_loadb((const char *)v->raw.p, v->raw.n,
                              JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    if (json == NULL) {
        return false;
    }
    *out = json_number_value(json);
    json_decref(json);
    return *out >= -TIME_MAX && *out <= TIME_MAX;
}

static bool is_absent(const struct pr_json *v)
{
    return v->raw.n == 0 || v->type == PR_JSON_NULL;
}

static int64_t round_to_second(double t)
{
    return (int64_t)(t < 0 ? t - 0.5 : t + 0.5);
}

static enum pr_jwt_result check_exp(const struct pr_json *v, struct pr_jwt *out)
{
    double exp = 0;

    if (is_absent(v)) {
        return PR_JWT_FIELDS;
    }
    if (!number_of(v, &exp)) {
        return PR_JWT_MALFORMED;
    }
    out->exp_s = round_to_second(exp);
    if (exp <= (double)out->now_s) {
        return PR_JWT_EXPIRED;
    }
    return out->exp_s <= out->now_s ? PR_JWT_EXP_INVALID : PR_JWT_OK;
}

/* Do all members of `wanted` stand in the claims with equal values? Empty: yes. */
static bool claims_match(struct pr_slice claims, struct pr_slice wanted)
{
    json_t *have;
    json_t *want;
    const char *key;
    json_t *value;
    bool ok;

    if (wanted.n == 0) {
        return true;
    }
    have = json_loadb((const char *)claims.p, claims.n, JSON_ALLOW_NUL, NULL);
    want = json_loadb((const char *)wanted.p, wanted.n, JSON_ALLOW_NUL, NULL);
    ok = have != NULL && json_is_object(want);
    if (ok) {
        json_object_foreach(want, key, value)
        {
            ok = ok && json_equal(json_object_get(have, key), value) == 1;
        }
    }
    json_decref(have);
    json_decref(want);
    return ok;
}

static enum pr_jwt_result check_times(const struct pr_json *nbf, const struct pr_json *iat,
                                      int64_t now_s)
{
    double t = 0;

    if (!is_absent(nbf)) {
        if (!number_of(nbf, &t)) {
            return PR_JWT_BAD_CLAIM;
        }
        if (t > (double)(now_s + PR_JWT_NBF_SLACK_S)) {
            return PR_JWT_NOT_YET;
        }
    }
    return is_absent(iat) || number_of(iat, &t) ? PR_JWT_OK : PR_JWT_BAD_CLAIM;
}

/* Role and sub as plain text. A role is a name in Postgres: no NUL, and not endless. */
static enum pr_jwt_result take_names(const struct pr_json *role, const struct pr_json *sub,
                                     struct pr_outbuf *o, struct pr_jwt *out)
{
    if (is_absent(role)) {
        return PR_JWT_FIELDS;
    }
    if (pr_json_text(role, o, &out->role) != PR_OK || out->role.n > PR_ID_MAX ||
        (out->role.n > 0 && memchr(out->role.p, 0, out->role.n) != NULL)) {
        return PR_JWT_MALFORMED;
    }
    if (out->role.n == 0) {
        return PR_JWT_FIELDS;
    }
    if (sub->raw.n > 0 && sub->type == PR_JSON_STRING && pr_json_text(sub, o, &out->sub) != PR_OK) {
        return PR_JWT_MALFORMED;
    }
    return PR_JWT_OK;
}

/*
 * A missing exp or role is told last, after what a client can heal by itself; a wrong one at its
 * place.
 */
static enum pr_jwt_result check_claims(struct pr_slice claims, struct pr_slice wanted,
                                       struct pr_outbuf *o, struct pr_jwt *out)
{
    enum { EXP, NBF, IAT, ROLE, SUB, FIELDS };
    static const char *const names[FIELDS] = {"exp", "nbf", "iat", "role", "sub"};
    struct pr_json f[FIELDS];

    if (pr_json_pick(claims, names, FIELDS, f) != PR_OK) {
        return PR_JWT_MALFORMED;
    }
    enum pr_jwt_result exp = check_exp(&f[EXP], out);
    if (exp != PR_JWT_OK && exp != PR_JWT_FIELDS) {
        return exp;
    }
    enum pr_jwt_result r = check_times(&f[NBF], &f[IAT], out->now_s);
    if (r == PR_JWT_OK && !claims_match(claims, wanted)) {
        r = PR_JWT_BAD_CLAIM;
    }
    if (r == PR_JWT_OK) {
        r = take_names(&f[ROLE], &f[SUB], o, out);
    }
    return r == PR_JWT_OK ? exp : r;
}

/* The header's alg and kid. False: no alg, or one that is no plain string. */
static bool take_header(struct pr_slice header, struct pr_outbuf *o, struct pr_jwt *out)
{
    enum { ALG, KID, CRIT, FIELDS };
    static const char *const names[FIELDS] = {"alg", "kid", "crit"};
    struct pr_json f[FIELDS];

    /* "crit" names extensions that must be understood (RFC 7515 4.1.11); we know none. */
    if (pr_json_pick(header, names, FIELDS, f) != PR_OK || f[CRIT].raw.n > 0 ||
        pr_json_text(&f[ALG], o, &out->alg) != PR_OK) {
        return false;
    }
    return is_absent(&f[KID]) || pr_json_text(&f[KID], o, &out->kid) == PR_OK;
}

enum pr_jwt_result pr_jwt_verify(const struct pr_jwt_keys *keys, struct pr_slice token,
                                 int64_t now_s, struct pr_slice claims_wanted,
                                 struct pr_outbuf *scratch, struct pr_jwt *out)
{
    struct parts parts;
    const uint8_t *key_id = NULL;

    *out = (struct pr_jwt){.now_s = now_s};
    if (!split(token, scratch, &parts)) {
        return PR_JWT_MALFORMED;
    }
    if (!take_header(parts.header, scratch, out)) {
        return PR_JWT_NO_KEY;
    }
    enum pr_jwt_result r =
        pr_jwt_check_signature(keys, out, parts.signed_text, parts.signature, &key_id);
    if (r != PR_JWT_OK) {
        return r;
    }
    memcpy(out->key_id, key_id, sizeof out->key_id);
    out->claims = parts.claims;
    return check_claims(parts.claims, claims_wanted, scratch, out);
}

enum pr_jwt_result pr_jwt_again(const struct pr_jwt_keys *keys, const struct pr_jwt *t,
                                struct pr_slice claims_wanted)
{
    const uint8_t *key_id = NULL;
    enum pr_jwt_result r = pr_jwt_key_id(keys, t, &key_id);

    if (r == PR_JWT_OK && memcmp(key_id, t->key_id, sizeof t->key_id) != 0) {
        r = PR_JWT_BAD_SIGNATURE;
    }
    if (r == PR_JWT_OK && !claims_match(t->claims, claims_wanted)) {
        r = PR_JWT_BAD_CLAIM;
    }
    return r;
}
