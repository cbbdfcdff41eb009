/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: every form of an address that settings allow is understood, and the one that others are
 * told of is one that they can reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/nodes_in.h"

static void test_forms(void **state)
{
    static const struct {
        const char *text, *expect; /* NULL: none */
    } cases[] = {
        {"10.0.0.5:7946", "10.0.0.5:7946"},
        {"0.0.0.0:7946", "0.0.0.0:7946"},
        {":7946", "0.0.0.0:7946"},
        {"*:7946", "0.0.0.0:7946"},
        {"localhost:1", "127.0.0.1:1"},
        {"[::1]:65535", "[::1]:65535"},
        {"[::]:7946", "[::]:7946"},
        {"[::ffff:10.0.0.5]:7946", "10.0.0.5:7946"},
        {"", NULL},
        {"*", NULL},
        {"10.0.0.5", NULL},
        {"10.0.0.5:", NULL},
        {"10.0.0.5:0", NULL},
        {"10.0.0.5:65536", NULL},
        {"web-1:7946", NULL},
        {"::1:7946", NULL},
        {"[fe80::1]:7946", NULL}, /* means nothing without its interface */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_addr a;
        char text[PR_ADDR_TEXT_MAX] = "";
        bool good = rt_nodes_address(cases[i].text, &a);

        if (good) {
            (void)pr_addr_format(&a, text, sizeof text);
        }
        if (good != (cases[i].expect != NULL) || (good && strcmp(text, cases[i].expect) != 0)) {
            fail_msg("'%s' gives '%s'", cases[i].text, text);
        }
    }
}

static void test_own_address(void **state)
{
    static const struct {
        const char *advertise, *listen, *seeds;
        const char *expect;
    } cases[] = {
        {NULL, "10.1.2.3:7946", NULL, "10.1.2.3:7946"},
        {NULL, "10.1.2.3:7946", "127.0.0.1:7000", "10.1.2.3:7946"},
        {"192.168.1.2:9000", "10.1.2.3:7946", NULL, "192.168.1.2:9000"},
        {"192.168.1.2:9000", "*:7946", "127.0.0.1:7000", "192.168.1.2:9000"},
        /* the interface towards the first seed, and the port that listens */
        {NULL, "*:7946", "127.0.0.1:7000", "127.0.0.1:7946"},
        {NULL, "0.0.0.0:7946", "127.0.0.1:7000,10.9.9.9:1", "127.0.0.1:7946"},
        {NULL, ":7946", "127.0.0.1:7000", "127.0.0.1:7946"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char advertise[64], listen[64], seeds[64], text[PR_ADDR_TEXT_MAX];
        struct rt_config cfg = {.cluster_listen = listen};
        struct rt_error err = {0};
        struct pr_addr a;

        (void)snprintf(listen, sizeof listen, "%s", cases[i].listen);
        if (cases[i].advertise != NULL) {
            (void)snprintf(advertise, sizeof advertise, "%s", cases[i].advertise);
            cfg.cluster_advertise = advertise;
        }
        if (cases[i].seeds != NULL) {
            (void)snprintf(seeds, sizeof seeds, "%s", cases[i].seeds);
            cfg.cluster_seeds = seeds;
        }
        assert_int_equal(rt_nodes_own_address(&cfg, &a, &err), RT_OK);
        (void)pr_addr_format(&a, text, sizeof text);
        assert_string_equal(text, cases[i].expect);
    }
}

static void test_wrong_address(void **state)
{
    char listen[] = "nowhere";
    struct rt_config cfg = {.cluster_listen = listen};
    struct rt_error err = {0};
    struct pr_addr a;

    (void)state;
    assert_int_equal(rt_nodes_own_address(&cfg, &a, &err), RT_ECONFIG);
    assert_non_null(strstr(err.text, "nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_own_address),
        cmocka_unit_test(test_wrong_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
