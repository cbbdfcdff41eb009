/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: one address has one text and one packed form, and anything else is refused by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/addr.h"

static const struct {
    const char *text;
    struct pr_addr addr;
    size_t packed;
} good[] = {
    {"1.2.3.4:7946", {4, 7946, {1, 2, 3, 4}}, 6},
    {"0.0.0.0:0", {4, 0, {0}}, 6},
    {"255.255.255.255:65535", {4, 65535, {255, 255, 255, 255}}, 6},
    {"[::]:0", {6, 0, {0}}, 18},
    {"[::1]:7946", {6, 7946, {[15] = 1}}, 18},
    {"[2001:db8::a:1]:1", {6, 1, {0x20, 1, 0xd, 0xb8, [13] = 0xa, [15] = 1}}, 18},
    {"[1:0:0:2::3]:80", {6, 80, {0, 1, 0, 0, 0, 0, 0, 2, [15] = 3}}, 18},
    {"[::ffff:10.0.0.1]:80", {6, 80, {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1}}, 18},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
     {6, 65535, {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
     18},
};
#define GOOD (sizeof good / sizeof good[0])

static void test_text(void **state)
{
    char text[PR_ADDR_TEXT_MAX];
    struct pr_addr a;

    (void)state;
    for (size_t i = 0; i < GOOD; i++) {
        memset(&a, 0xff, sizeof a);
        assert_int_equal(pr_addr_parse(pr_str(good[i].text), &a), PR_OK);
        assert_true(pr_addr_eq(&a, &good[i].addr));
        assert_memory_equal(a.ip, good[i].addr.ip, sizeof a.ip);
        assert_int_equal(pr_addr_format(&a, text, sizeof text), strlen(good[i].text));
        assert_string_equal(text, good[i].text);
    }
}

/* Written otherwise, but the same address. */
static void test_other_texts(void **state)
{
    static const struct {
        const char *text;
        const char *shown;
    } cases[] = {
        {"[2001:DB8:0:0:0:0:A:1]:1", "[2001:db8::a:1]:1"},
        {"[0000:0000:0000:0000:0000:0000:0000:0001]:1", "[::1]:1"},
        {"[::ffff:a00:1]:80", "[::ffff:10.0.0.1]:80"},
        {"[0000:0000:0000:0000:0000:ffff:255.255.255.255]:80", "[::ffff:255.255.255.255]:80"},
    };
    char text[PR_ADDR_TEXT_MAX];
    struct pr_addr a;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pr_addr_parse(pr_str(cases[i].text), &a), PR_OK);
        (void)pr_addr_format(&a, text, sizeof text);
        assert_string_equal(text, cases[i].shown);
    }
}

static void test_bad_text(void **state)
{
    static const struct {
        struct pr_slice text;
        int want;
    } cases[] = {
#define T(literal) {.p = (const uint8_t *)(literal), .n = sizeof(literal) - 1}
        {T(""), PR_ESYNTAX},
        {T(":"), PR_ESYNTAX},
        {T("-"), PR_ESYNTAX},
        {T("1.2.3.4"), PR_ESYNTAX},
        {T("1.2.3.4:"), PR_ESYNTAX},
        {T(":7946"), PR_ESYNTAX},
        {T("1.2.3:7946"), PR_ESYNTAX},
        {T("1.2.3.4.5:7946"), PR_ESYNTAX},
        {T("1.2.3.256:7946"), PR_ESYNTAX},
        {T("01.2.3.4:7946"), PR_ESYNTAX},
        {T("0x1.2.3.4:7946"), PR_ESYNTAX},
        {T("1.2.3.4:+1"), PR_ESYNTAX},
        {T("1.2.3.4:-1"), PR_ESYNTAX},
        {T("1.2.3.4: 1"), PR_ESYNTAX},
        {T("1.2.3.4:1 "), PR_ESYNTAX},
        {T(" 1.2.3.4:1"), PR_ESYNTAX},
        {T("1.2.3.4:01"), PR_ESYNTAX},
        {T("1.2.3.4:00"), PR_ESYNTAX},
        {T("1.2.3.4:7946x"), PR_ESYNTAX},
        {T("1.2.3.4:0x10"), PR_ESYNTAX},
        {T("1.2.3.4\0:1"), PR_ESYNTAX},
        {T("1.2.3.4:1\0"), PR_ESYNTAX},
        {T("1.2.3.4:65536"), PR_ERANGE},
        {T("1.2.3.4:99999999999999999999"), PR_ERANGE},
        {T("host:7946"), PR_ESYNTAX},
        {T("localhost:7946"), PR_ESYNTAX},
        {T("::1:7946"), PR_ESYNTAX},
        {T("[::1]"), PR_ESYNTAX},
        {T("[::1]7946"), PR_ESYNTAX},
        {T("[::1:7946"), PR_ESYNTAX},
        {T("::1]:7946"), PR_ESYNTAX},
        {T("[]:7946"), PR_ESYNTAX},
        {T("[:7946"), PR_ESYNTAX},
        {T("]:7946"), PR_ESYNTAX},
        {T("[1.2.3.4]:7946"), PR_ESYNTAX},
        {T("[[::1]]:7946"), PR_ESYNTAX},
        {T("[::1%lo]:7946"), PR_ESYNTAX},
        {T("[1::2::3]:7946"), PR_ESYNTAX},
        {T("[1:2:3:4:5:6:7]:7946"), PR_ESYNTAX},
        {T("[1:2:3:4:5:6:7:8:9]:7946"), PR_ESYNTAX},
        {T("[12345::]:7946"), PR_ESYNTAX},
        {T("[00000000000000000000000000000000000000000000000001::]:1"), PR_ESYNTAX},
#undef T
    };
    const struct pr_addr none = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_addr a = good[0].addr;
        int rv = pr_addr_parse(cases[i].text, &a);

        if (rv != cases[i].want || !pr_addr_eq(&a, &none)) {
            fail_msg("%s: %d, expected %d", (const char *)cases[i].text.p, rv, cases[i].want);
        }
    }
}

static void test_cut_text(void **state)
{
    char out[PR_ADDR_TEXT_MAX];
    const struct pr_addr none = {0};

    (void)state;
    assert_int_equal(pr_addr_format(&none, out, sizeof out), 1);
    assert_string_equal(out, "-");
    for (size_t cap = 0; cap < sizeof out; cap++) {
        size_t whole = strlen(good[0].text);
        size_t want = cap == 0 ? 0 : cap - 1 < whole ? cap - 1 : whole;

        memset(out, '#', sizeof out);
        assert_int_equal(pr_addr_format(&good[0].addr, out, cap), want);
        assert_memory_equal(out, good[0].text, want);
        assert_int_equal(out[want], cap == 0 ? '#' : '\0');
        assert_int_equal(out[sizeof out - 1], '#');
    }
}

static void test_packed(void **state)
{
    uint8_t packed[PR_ADDR_PACKED_MAX] = {0};
    const struct pr_addr none = {0};
    struct pr_addr a;

    (void)state;
    assert_int_equal(pr_addr_pack(&none, packed), 0);
    for (size_t i = 0; i < GOOD; i++) {
        size_t n = pr_addr_pack(&good[i].addr, packed);

        assert_int_equal(n, good[i].packed);
        memset(&a, 0xff, sizeof a);
        assert_int_equal(pr_addr_unpack(pr_bytes(packed, n), &a), PR_OK);
        assert_true(pr_addr_eq(&a, &good[i].addr));
        assert_memory_equal(a.ip, good[i].addr.ip, sizeof a.ip);
    }
    (void)pr_addr_pack(&good[0].addr, packed);
    assert_memory_equal(packed, "\x01\x02\x03\x04\x1f\x0a", 6); /* 7946 = 0x1f0a */
    for (size_t n = 0; n <= PR_ADDR_PACKED_MAX; n++) {
        bool fits = n == 0 || n == 6 || n == 18;

        a = good[0].addr;
        assert_int_equal(pr_addr_unpack(pr_bytes(packed, n), &a), fits ? PR_OK : PR_ERANGE);
        assert_int_equal(a.family, n == 6 ? PR_ADDR_V4 : n == 18 ? PR_ADDR_V6 : PR_ADDR_NONE);
    }
}

static void test_eq(void **state)
{
    struct pr_addr a = good[0].addr;
    struct pr_addr b = a;
    const struct pr_addr none = {.port = 1};
    const struct pr_addr other_none = {.port = 2, .ip = {1}};

    (void)state;
    for (size_t i = 0; i < GOOD; i++) {
        for (size_t k = 0; k < GOOD; k++) {
            assert_int_equal(pr_addr_eq(&good[i].addr, &good[k].addr), i == k);
        }
    }
    b.ip[4] = 9; /* not in use by family 4 */
    assert_true(pr_addr_eq(&a, &b));
    b.port++;
    assert_false(pr_addr_eq(&a, &b));
    assert_true(pr_addr_eq(&none, &other_none));
    a = good[3].addr;
    b = a;
    b.ip[15] = 1;
    assert_false(pr_addr_eq(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),     cmocka_unit_test(test_other_texts),
        cmocka_unit_test(test_bad_text), cmocka_unit_test(test_cut_text),
        cmocka_unit_test(test_packed),   cmocka_unit_test(test_eq),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
