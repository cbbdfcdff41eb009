/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/url.h"

static void decodes(void **state)
{
    static const struct {
        const char *in;
        enum pr_url_part part;
        const char *out; /* NULL: refused */
    } rows[] = {
        {"", PR_URL_PATH, ""},
        {"room%3A1", PR_URL_PATH, "room:1"},
        {"a%2fb", PR_URL_PATH, "a/b"},
        {"a+b", PR_URL_PATH, "a+b"},
        {"a+b%2B", PR_URL_QUERY, "a b+"},
        {"%C3%A9", PR_URL_PATH, "\xc3\xa9"},
        {"%", PR_URL_PATH, NULL},
        {"a%4", PR_URL_PATH, NULL},
        {"%4g", PR_URL_PATH, NULL},
        {"%g4", PR_URL_QUERY, NULL},
        {"%%41", PR_URL_PATH, NULL},
    };
    uint8_t buf[32];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);
        int rc = pr_url_decode(&o, pr_str(rows[i].in), rows[i].part);

        assert_int_equal(rc, rows[i].out != NULL ? PR_OK : PR_ESYNTAX);
        if (rc == PR_OK) {
            assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].out));
        }
    }
}

static void finds_parameters(void **state)
{
    static const struct {
        const char *query, *name, *value; /* value NULL: not there */
    } rows[] = {
        {"apikey=k&vsn=2.0.0", "apikey", "k"},
        {"apikey=k&vsn=2.0.0", "vsn", "2.0.0"},
        {"vsn", "vsn", ""},
        {"vsn=", "vsn", ""},
        {"a=1&a=2", "a", "1"},
        {"a=b=c", "a", "b=c"},
        {"a=%41", "a", "%41"},
        {"persist%5Bttl%5D=60", "persist[ttl]", "60"},
        {"&&a=1&", "a", "1"},
        {"", "a", NULL},
        {"xa=1", "a", NULL},
        {"ab=1", "a", NULL},
        {"a%00=1", "a", NULL},
        {"%zz=1", "a", NULL},
        {"A=1", "a", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_slice value;
        bool found = pr_query_find(pr_str(rows[i].query), rows[i].name, &value);

        assert_int_equal(found, rows[i].value != NULL);
        if (found) {
            assert_true(pr_slice_is(value, rows[i].value));
        }
    }
}

static void walks_paths(void **state)
{
    struct pr_slice path = pr_str("//api/broadcast//a%2Fb/");
    struct pr_slice segment;

    (void)state;
    assert_true(pr_path_next(&path, &segment) && pr_slice_is(segment, "api"));
    assert_true(pr_path_next(&path, &segment) && pr_slice_is(segment, "broadcast"));
    assert_true(pr_path_next(&path, &segment) && pr_slice_is(segment, "a%2Fb"));
    assert_false(pr_path_next(&path, &segment));
    path = pr_str("/");
    assert_false(pr_path_next(&path, &segment));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes),
        cmocka_unit_test(finds_parameters),
        cmocka_unit_test(walks_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
