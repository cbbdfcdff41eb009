/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jwt.h"

#include <stdlib.h>
#include <string.h>

#include <jwt.h>

#include "proto/json_scan.h"

#define CLAIMS_MAX 8192u /* so that the token stays under PR_JWT_BYTES_MAX */

/* libjwt's object with these claims and a header with that kid, if it is not NULL; or NULL. */
static jwt_t *new_jwt(struct pr_slice secret, const char *kid, const char *claims)
{
    jwt_t *jwt = NULL;

    if (jwt_new(&jwt) != 0) {
        return NULL;
    }
    if (jwt_add_grants_json(jwt, claims) != 0 ||
        (kid != NULL && jwt_add_header(jwt, "kid", kid) != 0) ||
        jwt_set_alg(jwt, JWT_ALG_HS256, secret.p, (int)secret.n) != 0) {
        jwt_free(jwt);
        return NULL;
    }
    return jwt;
}

int pr_jwt_sign(struct pr_outbuf *o, struct pr_slice secret, const char *kid,
                struct pr_slice claims)
{
    char text[CLAIMS_MAX + 1];
    struct pr_json v;

    if (secret.n == 0 || secret.n > PR_JWT_SECRET_MAX || claims.n > CLAIMS_MAX) {
        return PR_ERANGE;
    }
    if (pr_json_value(claims, &v) != PR_OK || v.type != PR_JSON_OBJECT) {
        return PR_ESYNTAX;
    }
    memcpy(text, claims.p, claims.n);
    text[claims.n] = '\0';
    jwt_t *jwt = new_jwt(secret, kid, text);
    char *token = jwt != NULL ? jwt_encode_str(jwt) : NULL;
    if (token != NULL) {
        pr_put_str(o, token);
        free(token); /* libjwt 1.10 gives it from malloc and has no call of its own for it */
    }
    jwt_free(jwt);
    if (token == NULL) {
        return PR_ESYNTAX;
    }
    return pr_out_ok(o) ? PR_OK : PR_ESHORT;
}
