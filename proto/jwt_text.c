/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/jwt.h"

#include "proto/json_write.h"

/* The parts around the kid, where the signer text has one. */
static const char KID_BEFORE[] = "Failed to generate JWT signer for key ID (kid) \"";
static const char KID_AFTER[] = "\", check your JWT secret or JWKS configuration";

struct text {
    int status;          /* at connect */
    const char *code;    /* of a join's refusal; NULL: the text stands alone */
    const char *connect; /* NULL: the same as `join` */
    const char *join;    /* NULL: made of parts */
};

static struct text text_of(enum pr_jwt_result r)
{
    static const struct text unforeseen = {500, NULL, "Error connecting to Realtime",
                                           "Unknown Error on Channel"};

    switch (r) {
    case PR_JWT_MALFORMED:
        return (struct text){401, "MalformedJWT", NULL, "The token provided is not a valid JWT"};
    case PR_JWT_EXPIRED:
        return (struct text){401, "InvalidJWTToken", "Token has expired", NULL};
    case PR_JWT_EXP_INVALID:
        return (struct text){401, "InvalidJWTToken", "Token has expired",
                             "Token expiration time is invalid"};
    case PR_JWT_FIELDS:
        return (struct text){401, "InvalidJWTToken", NULL,
                             "Fields `role` and `exp` are required in JWT"};
    case PR_JWT_BAD_SIGNATURE:
        return (struct text){401, "JwtSignatureError", NULL, "Failed to validate JWT signature"};
    case PR_JWT_NO_KEY_FOR_KID:
        return (struct text){401, "JwtSignerError", NULL, NULL};
    case PR_JWT_NO_KEY:
        return (struct text){
            401, "JwtSignerError", NULL,
            "Failed to generate JWT signer, check your JWT secret or JWKS configuration"};
    case PR_JWT_OK:
    case PR_JWT_NOT_YET:
    case PR_JWT_BAD_CLAIM:
        break;
    }
    return unforeseen;
}

int pr_jwt_connect_error(struct pr_outbuf *o, enum pr_jwt_result r, const struct pr_jwt *t)
{
    struct text text = text_of(r);

    pr_put_str(o, "{\"error\":\"");
    if (r == PR_JWT_NO_KEY_FOR_KID) {
        pr_put_json_escaped(o, pr_str(KID_BEFORE));
        pr_put_json_escaped(o, t->kid);
        pr_put_json_escaped(o, pr_str(KID_AFTER));
    } else {
        pr_put_json_escaped(o, pr_str(text.connect != NULL ? text.connect : text.join));
    }
    pr_put_str(o, "\"}");
    return text.status;
}

void pr_jwt_system_text(struct pr_outbuf *o, enum pr_jwt_result r, const struct pr_jwt *t)
{
    struct text text = text_of(r);

    if (text.join != NULL) {
        pr_put_str(o, text.join);
    } else if (r == PR_JWT_NO_KEY_FOR_KID) {
        pr_put_str(o, KID_BEFORE);
        pr_put_slice(o, t->kid);
        pr_put_str(o, KID_AFTER);
    } else {
        pr_put_str(o, "Token has expired ");
        pr_put_json_int(o, t->now_s - t->exp_s);
        pr_put_str(o, " seconds ago");
    }
}

void pr_jwt_join_reason(struct pr_outbuf *o, enum pr_jwt_result r, const struct pr_jwt *t)
{
    const char *code = text_of(r).code;

    if (code != NULL) {
        pr_put_str(o, code);
        pr_put_str(o, ": ");
    }
    pr_jwt_system_text(o, r, t);
}

const char *pr_jwt_code(enum pr_jwt_result r)
{
    const char *code = text_of(r).code;

    return code != NULL ? code : "ErrorConnectingToWebsocket";
}
