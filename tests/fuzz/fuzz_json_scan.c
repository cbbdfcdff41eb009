/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner against jansson: both must take, or both refuse, but for
 *   nesting: jansson allows more, so texts deeper than our limit are only ours to refuse;
 *   lone surrogate escapes: we take them, jansson does not (texts with \ud or \uD are not compared
 *   where we say yes);
 *   a NUL byte behind the value: jansson stops reading there, we refuse it;
 *   keys with "\u0000", which jansson's C strings cannot hold;
 *   numbers too large for a C double or long long: jansson refuses, we never compute them. Big
 *   integers are read as doubles, and what is left is recognised by jansson's error code.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "proto/json_scan.h"
#include "proto/json_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_surrogate(struct pr_slice s)
{
    for (size_t i = 0; i + 2 < s.n; i++) {
        if (s.p[i] == '\\' && s.p[i + 1] == 'u' && (s.p[i + 2] == 'd' || s.p[i + 2] == 'D')) {
            return true;
        }
    }
    return false;
}

static void compare(struct pr_slice text, int rc)
{
    json_error_t error;
    json_t *tree = json_loadb((const char *)text.p, text.n,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);

    if (rc == PR_OK && tree == NULL) {
        enum json_error_code code = json_error_code(&error);

        assert(has_surrogate(text) || code == json_error_numeric_overflow ||
               code == json_error_null_byte_in_key);
    }
    if (rc != PR_OK && tree != NULL) {
        assert(rc == PR_EDEPTH || memchr(text.p, 0, text.n) != NULL);
    }
    json_decref(tree);
}

/* Plain text written as JSON and read again is the same; lone surrogates have become U+FFFD. */
static void round_trip(struct pr_slice escaped)
{
    uint8_t *plain = malloc(escaped.n + 1);
    uint8_t *again = malloc(escaped.n + 1);
    uint8_t *json = malloc(6 * escaped.n + 2);
    struct pr_outbuf p = pr_outbuf(plain, escaped.n + 1);
    struct pr_outbuf a = pr_outbuf(again, escaped.n + 1);
    struct pr_outbuf j = pr_outbuf(json, 6 * escaped.n + 2);
    struct pr_json v;

    pr_json_unescape(&p, escaped);
    assert(p.len <= escaped.n && pr_utf8_ok(pr_bytes(plain, p.len)));
    pr_put_json_str(&j, pr_bytes(plain, p.len));
    assert(pr_out_ok(&j));
    assert(pr_json_value(pr_bytes(json, j.len), &v) == PR_OK && v.type == PR_JSON_STRING);
    pr_json_unescape(&a, pr_json_str(&v));
    assert(pr_slice_eq(pr_bytes(plain, p.len), pr_bytes(again, a.len)));
    free(plain);
    free(again);
    free(json);
}

/* Iterating to the end has checked as much as pr_json_check, but for one level of nesting. */
static void iterate(struct pr_slice text, int whole)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json v;
    int rc = pr_json_open(&it, text);

    if (rc != PR_OK) {
        return;
    }
    while ((rc = pr_json_next(&it, &key, &v)) > 0) {
        assert(v.raw.n > 0 && pr_json_check(v.raw) == PR_OK);
        round_trip(key);
        if (v.type == PR_JSON_STRING) {
            round_trip(pr_json_str(&v));
        }
    }
    assert(rc == whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_slice text = pr_bytes(data, size);
    int rc = pr_json_check(text);

    compare(text, rc);
    iterate(text, rc);
    return 0;
}
