/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_token.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "node/base/alloc.h"
#include "node/base/loop.h"
#include "proto/jwt.h"

/* Longest life of a token: 100 years, so that no clock arithmetic anywhere can overflow. */
#define EXP_MAX_S INT64_C(3155760000)

#define USAGE "token --role R [--sub S] [--exp D] [--kid K]"

static int bad(const char *what)
{
    (void)fprintf(stderr, "realtimectl token: %s\n", what);
    return 2;
}

/* "90s", "15m", "12h", "365d", or seconds. Negative: not a duration within EXP_MAX_S. */
static int64_t duration_s(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    int64_t n = 0;

    if (!isdigit((unsigned char)*text)) {
        return -1;
    }
    for (; isdigit((unsigned char)*text); text++) {
        n = n * 10 + (*text - '0');
        if (n > EXP_MAX_S) {
            return -1;
        }
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (*text == units[i].unit && (*text == '\0' || text[1] == '\0')) {
            n *= units[i].seconds;
            return n <= EXP_MAX_S ? n : -1;
        }
    }
    return -1;
}

static int mint(const char *role, const char *sub, const char *kid, int64_t life_s)
{
    const char *secret = getenv("REALTIME_JWT_SECRET");
    int64_t now_s = (int64_t)(rt_wall_ms() / 1000u);
    json_t *claims;
    char *text;
    uint8_t token[PR_JWT_BYTES_MAX];
    struct pr_outbuf o = pr_outbuf(token, sizeof token);
    int rv;

    if (secret == NULL || *secret == '\0') {
        return bad("REALTIME_JWT_SECRET is not set; it must hold the secret of the server");
    }
    claims = json_pack("{s:s, s:I, s:I}", "role", role, "iat", (json_int_t)now_s, "exp",
                       (json_int_t)now_s + (json_int_t)life_s);
    if (claims == NULL) {
        return bad("--role is not UTF-8");
    }
    if (sub != NULL && json_object_set_new(claims, "sub", json_string(sub)) != 0) {
        json_decref(claims);
        return bad("--sub is not UTF-8");
    }
    text = json_dumps(claims, JSON_COMPACT);
    rv = pr_jwt_sign(&o, pr_str(secret), kid, pr_str(text));
    rt_free(text);
    json_decref(claims);
    if (rv == PR_ESYNTAX) {
        return bad("--kid is not UTF-8");
    }
    if (rv != PR_OK) {
        return bad("the claims are too long");
    }
    (void)printf("%.*s\n", (int)o.len, (const char *)token);
    return 0;
}

int rt_ctl_token(char **argv)
{
    const char *role = NULL, *sub = NULL, *kid = NULL, *life = "1h";
    int64_t life_s;

    for (; *argv != NULL; argv += 2) {
        if (argv[1] == NULL) {
            return bad("an option lacks its value; usage: " USAGE);
        }
        if (strcmp(argv[0], "--role") == 0) {
            role = argv[1];
        } else if (strcmp(argv[0], "--sub") == 0) {
            sub = argv[1];
        } else if (strcmp(argv[0], "--kid") == 0) {
            kid = argv[1];
        } else if (strcmp(argv[0], "--exp") == 0) {
            life = argv[1];
        } else {
            return bad("unknown option; usage: " USAGE);
        }
    }
    if (role == NULL || *role == '\0') {
        return bad("--role is missing, such as --role anon");
    }
    life_s = duration_s(life);
    if (life_s <= 0) {
        return bad("--exp must be a duration up to 36525d, such as 90s, 12h or 365d");
    }
    return mint(role, sub, kid, life_s);
}
