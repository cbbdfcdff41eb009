/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a list of API keys that is wrong is refused by its place, and no key is ever shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/config.h"

#define SECRET "REALTIME_JWT_SECRET=0123456789abcdef0123456789abcdef"
#define LONG   "hidden0123456789abcdefghij"

static const struct {
    const char *set, *named; /* NULL: nothing is said */
    bool fatal;
} rows[] = {
    {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_x", NULL, false},
    {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_hidden, sb_publishable_A-z_09", NULL, false},
    {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_", "key 1 of REALTIME_PUBLISHABLE_KEYS", true},
    {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_x,hidden", "key 2 of REALTIME_PUBLISHABLE_KEYS",
     true},
    {"REALTIME_PUBLISHABLE_KEYS=sb_secret_" LONG, "must start with sb_publishable_", true},
    {"REALTIME_PUBLISHABLE_KEYS=SB_PUBLISHABLE_hidden", "must start with sb_publishable_", true},
    {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_hidden hidden", "A-Z a-z 0-9 _ -", true},
    {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_hidden%20", "A-Z a-z 0-9 _ -", true},
    {"REALTIME_SECRET_KEYS=sb_secret_" LONG, NULL, false},
    {"REALTIME_SECRET_KEYS=sb_secret_hidden", "openssl rand", false},
    {"REALTIME_SECRET_KEYS=sb_secret_" LONG ",sb_publishable_" LONG,
     "key 2 of REALTIME_SECRET_KEYS must start with sb_secret_", true},
};

static void api_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char env[3][160];
        char *const envp[] = {env[0], env[1], env[2], NULL};
        struct rt_config cfg;
        struct rt_config_report r;
        int rv = 0;

        (void)snprintf(env[0], sizeof env[0], "%s", SECRET);
        (void)snprintf(env[1], sizeof env[1], "%s", rows[i].set);
        (void)snprintf(env[2], sizeof env[2], "REALTIME_NODE=n");
        rv = rt_config_load(&cfg, envp, NULL, &r);
        assert_int_equal(rv, rows[i].fatal ? RT_ECONFIG : RT_OK);
        assert_int_equal(r.count, rows[i].named != NULL ? 1 : 0);
        if (r.count > 0 &&
            (r.notes[0].fatal != rows[i].fatal || strstr(r.notes[0].text, rows[i].named) == NULL ||
             strstr(r.notes[0].text, "hidden") != NULL)) {
            fail_msg("%s: %s", rows[i].set, r.notes[0].text);
        }
        rt_config_free(&cfg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(api_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
