/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens against a fixed secret. An input that starts with '{' is a header, a line feed and claims,
 * which are signed here, so that the fuzzer reaches what lies behind the signature; any other is a
 * whole token.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "proto/json_scan.h"
#include "proto/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char SECRET[] = "a secret of thirty-two characters";
static const char JWKS[] = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"e\",\"x\":"
                           "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
#define NOW 1700000000

static uint8_t token_mem[3 * PR_JWT_BYTES_MAX];
static uint8_t scratch_mem[PR_JWT_SCRATCH_BYTES];
static struct pr_jwt_keys keys;

static struct pr_slice sign(struct pr_slice header, struct pr_slice claims)
{
    struct pr_outbuf o = pr_outbuf(token_mem, sizeof token_mem);
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    pr_base64url_put(&o, header);
    pr_put_u8(&o, '.');
    pr_base64url_put(&o, claims);
    assert(pr_out_ok(&o));
    (void)HMAC(EVP_sha256(), SECRET, sizeof SECRET - 1, token_mem, o.len, mac, &len);
    pr_put_u8(&o, '.');
    pr_base64url_put(&o, pr_bytes(mac, len));
    return pr_bytes(token_mem, o.len);
}

static void check_texts(enum pr_jwt_result r, const struct pr_jwt *jwt)
{
    static uint8_t text[6 * PR_JWT_BYTES_MAX + 256];
    struct pr_outbuf o = pr_outbuf(text, sizeof text);
    int status = pr_jwt_connect_error(&o, r, jwt);

    assert(status == 401 || status == 500);
    assert(pr_out_ok(&o) && pr_json_check(pr_bytes(text, o.len)) == PR_OK);
    o.len = 0;
    pr_jwt_join_reason(&o, r, jwt);
    assert(pr_out_ok(&o) && o.len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_slice token = pr_bytes(data, size);
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    struct pr_jwt jwt;
    struct pr_json alg;
    const char *why = NULL;

    if (keys.secret_len == 0) {
        int rc = pr_jwt_keys_init(&keys, pr_str(SECRET), pr_str(JWKS), &why);
        assert(rc == PR_OK);
    }
    bool made = size > 0 && size < PR_JWT_BYTES_MAX && data[0] == '{' && line != NULL;
    struct pr_slice header = pr_bytes(data, made ? (size_t)(line - data) : 0);
    if (made) {
        token = sign(header, pr_bytes(line + 1, size - header.n - 1));
    }
    enum pr_jwt_result r = pr_jwt_verify(&keys, token, NOW, pr_bytes(NULL, 0), &scratch, &jwt);
    assert(token.n > PR_JWT_BYTES_MAX || pr_out_ok(&scratch));
    if (r != PR_JWT_OK) {
        check_texts(r, &jwt);
        return 0;
    }
    assert(jwt.role.n > 0 && jwt.role.n <= 255 && pr_utf8_ok(jwt.role) && pr_utf8_ok(jwt.sub));
    assert(jwt.exp_s > NOW && pr_json_check(jwt.claims) == PR_OK);
    if (made) {
        assert(pr_json_member(header, "alg", &alg) == 1 &&
               pr_json_str_is(pr_json_str(&alg), "HS256"));
    }
    return 0;
}
