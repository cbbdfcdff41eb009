/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: each way to damage a length, a field, a number or a list is refused, and how; the bytes are
 * made by hand. All messages there are: test_mesh.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/mesh.h"

static struct pr_frame f;

static void test_frame_next(void **state)
{
    static const struct {
        const char *name;
        uint8_t in[16];
        uint8_t n;
        long want;
    } cases[] = {
        {"nothing", {0}, 0, 0},
        {"half a length", {0, 0}, 2, 0},
        {"half a head", {0, 0, 0, 9, 7, 1}, 6, 0},
        {"half a body", {0, 0, 0, 9, 7, 1, 0, 0, 0x90}, 9, 0},
        {"whole", {0, 0, 0, 5, 7, 1, 0, 0, 0x90}, 9, 9},
        {"whole and more", {0, 0, 0, 5, 7, 1, 0, 0, 0x90, 1, 1}, 11, 9},
        {"no body", {0, 0, 0, 4, 7, 1, 0, 0}, 8, 8},
        {"too short", {0, 0, 0, 3, 7, 1, 0}, 7, PR_ERANGE},
        {"too short, known early", {0, 0, 0, 0}, 4, PR_ERANGE},
        {"the longest", {0, 0x81, 0, 0, 7, 1, 0, 0}, 8, 0},
        {"too long, known early", {0, 0x81, 0, 1}, 4, PR_ERANGE},
        {"huge", {0xff, 0xff, 0xff, 0xff}, 4, PR_ERANGE},
        {"class 0", {0, 0, 0, 5, 7, 0, 0, 0, 0x90}, 9, PR_EVERSION},
        {"class 5", {0, 0, 0, 5, 7, 5, 0, 0, 0x90}, 9, PR_EVERSION},
    };

    (void)state;
    assert_int_equal(PR_FRAME_MAX, 0x810000);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        long rv = pr_frame_next(pr_bytes(cases[i].in, cases[i].n), &f);

        if (rv != cases[i].want) {
            fail_msg("%s: %ld, expected %ld", cases[i].name, rv, cases[i].want);
        }
    }
    assert_int_equal(pr_frame_next(pr_bytes(cases[4].in, 9), &f), 9);
    assert_true(f.type == 7 && f.cls == 1 && f.flags == 0 && f.body.n == 1 && f.whole.n == 9);
}

static void test_wrong_fields(void **state)
{
    static const struct {
        const char *name;
        uint8_t body[16];
        uint8_t n;
        int want;
    } cases[] = {
        {"as it should be", {0x91, 0xc4, 1, 'x'}, 4, PR_OK},
        {"no array", {0xc4, 1, 'x'}, 3, PR_ETYPE},
        {"map", {0x81, 0xc4, 1, 'x', 1}, 5, PR_ETYPE},
        {"empty array", {0x90}, 1, PR_ESHORT},
        {"nothing", {0}, 0, PR_ESHORT},
        {"topic is a number", {0x91, 1}, 2, PR_ETYPE},
        {"topic is text", {0x91, 0xa1, 'x'}, 3, PR_ETYPE},
        {"topic is nil", {0x91, 0xc0}, 2, PR_ETYPE},
        {"topic is empty", {0x91, 0xc4, 0}, 3, PR_ERANGE},
        {"topic is too long", {0x91, 0xc5, 0x08, 0x01, 'x'}, 5, PR_ERANGE},
        {"topic is huge", {0x91, 0xc6, 0xff, 0xff, 0xff, 0xff, 'x'}, 7, PR_ERANGE},
        {"topic is longer than the frame", {0x91, 0xc4, 9, 'x'}, 4, PR_ESHORT},
        {"topic's length is cut", {0x91, 0xc6, 0, 0}, 4, PR_ESHORT},
        {"array over the limit", {0xdd, 0, 1, 0, 1, 0xc4, 1, 'x'}, 8, PR_ERANGE},
        {"huge array", {0xdd, 0xff, 0xff, 0xff, 0xff, 0xc4, 1, 'x'}, 8, PR_ERANGE},
        {"more fields than bytes", {0x94, 0xc4, 1, 'x', 0xc0}, 5, PR_ESHORT},
        {"extra field of a type nobody has", {0x92, 0xc4, 1, 'x', 0xc1}, 5, PR_ETYPE},
        {"extra field is a huge map", {0x92, 0xc4, 1, 'x', 0xdf, 255, 255, 255, 255}, 9, PR_ESHORT},
        {"extra field is huge text", {0x92, 0xc4, 1, 'x', 0xdb, 255, 255, 255, 255}, 9, PR_ESHORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_unsub m;
        int rv = 0;

        f = (struct pr_frame){.type = PR_T_UNSUB, .cls = PR_C_CONTROL};
        f.body = pr_bytes(cases[i].body, cases[i].n);
        rv = pr_unsub_decode(&f, &m);
        if (rv != cases[i].want) {
            fail_msg("%s: %d, expected %d", cases[i].name, rv, cases[i].want);
        }
    }
}

static void test_wrong_numbers(void **state)
{
    static const struct {
        const char *name;
        uint8_t body[24];
        uint8_t n;
        int want;
    } cases[] = {
        {"small", {0x93, 1, 2, 3}, 4, PR_OK},
        {"longer forms", {0x93, 0xcc, 1, 0xcd, 0, 2, 0xce, 0, 0, 0, 3}, 11, PR_OK},
        {"negative", {0x93, 0xff, 2, 3}, 4, PR_ETYPE},
        {"int 8", {0x93, 0xd0, 1, 2, 3}, 5, PR_ETYPE},
        {"float", {0x93, 0xca, 0, 0, 0, 0, 2, 3}, 8, PR_ETYPE},
        {"true", {0x93, 0xc3, 2, 3}, 4, PR_ETYPE},
        {"over 32 bits", {0x93, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 2, 3}, 12, PR_ERANGE},
        {"64 bits where they may be", {0x93, 1, 0xcf, 1, 0, 0, 0, 0, 0, 0, 0, 3}, 12, PR_OK},
        {"cut", {0x93, 1, 2, 0xcd, 1}, 5, PR_ESHORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_pub_ok m;
        int rv = 0;

        f = (struct pr_frame){.type = PR_T_PUB_OK, .cls = PR_C_BROADCAST};
        f.body = pr_bytes(cases[i].body, cases[i].n);
        rv = pr_pub_ok_decode(&f, &m);
        if (rv != cases[i].want) {
            fail_msg("%s: %d, expected %d", cases[i].name, rv, cases[i].want);
        }
    }
}

/* A place in the owner's count was added later. */
static void test_place_of_owner(void **state)
{
    static const struct {
        const char *name;
        uint8_t body[24];
        uint8_t n;
        int want;
        uint64_t seq;
    } cases[] = {
        {"of an older sender", {0x95, 0xc4, 1, 'x', 1, 2, 3, 4}, 8, PR_OK, 0},
        {"cut short", {0x97, 0xc4, 1, 'x', 1, 2, 3, 4, 5, 6}, 10, PR_OK, 0},
        {"whole", {0x99, 0xc4, 1, 'x', 1, 2, 3, 4, 5, 6, 7, 8}, 12, PR_OK, 8},
        {"and more", {0x9a, 0xc4, 1, 'x', 1, 2, 3, 4, 5, 6, 7, 8, 0xc0}, 13, PR_OK, 8},
        {"not a number", {0x99, 0xc4, 1, 'x', 1, 2, 3, 4, 5, 6, 7, 0xc0}, 12, PR_ETYPE, 0},
        {"missing bytes", {0x99, 0xc4, 1, 'x', 1, 2, 3, 4, 5, 6, 7}, 11, PR_ESHORT, 0},
        {"count over 32 bits",
         {0x99, 0xc4, 1, 'x', 1, 2, 3, 4, 5, 6, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 8},
         20,
         PR_ERANGE,
         0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_sub_ok m;
        int rv = 0;

        f = (struct pr_frame){.type = PR_T_SUB_OK, .cls = PR_C_CONTROL};
        f.body = pr_bytes(cases[i].body, cases[i].n);
        rv = pr_sub_ok_decode(&f, &m);
        if (rv != cases[i].want || (rv == PR_OK && m.origin.seq != cases[i].seq)) {
            fail_msg("%s: %d, expected %d", cases[i].name, rv, cases[i].want);
        }
    }
}

static void test_damaged_lists(void **state)
{
    static const uint8_t no_array[] = {0x01};
    static const uint8_t too_few[] = {0x91, 0x01};
    static const uint8_t text[] = {0xa1, 'x'};
    struct pr_pent e;
    struct pr_pshown p;
    struct pr_chg_body b;
    uint64_t n = 0;
    uint32_t handle = 0;
    struct pr_slice s = pr_bytes(no_array, 1);
    struct pr_slice str;

    (void)state;
    assert_true(pr_padds_next(&s, &e) < 0);
    assert_true(pr_pshown_next(&s, &p) < 0);
    assert_true(pr_chg_bodies_next(&s, &b) < 0);
    assert_true(pr_chg_targets_next(&s, &n, &handle) < 0);
    s = pr_bytes(too_few, 2);
    assert_int_equal(pr_padds_next(&s, &e), PR_ESHORT);
    s = pr_bytes(text, 2);
    assert_int_equal(pr_pdels_next(&s, &n), PR_ETYPE);
    assert_int_equal(pr_strs_next(&s, &str), PR_ETYPE);
    assert_int_equal(s.n, 2); /* where it stood */
}

static void test_phx_ref(void **state)
{
    char a[PR_PHX_REF_LEN];
    char b[PR_PHX_REF_LEN];

    (void)state;
    pr_phx_ref(1, 1, a);
    pr_phx_ref(1, 2, b);
    assert_memory_equal(a, b, 8);
    assert_memory_not_equal(a, b, PR_PHX_REF_LEN);
    assert_memory_equal(a + 8, "AAAAAAAB", 8);
    pr_phx_ref(2, 1, b);
    assert_memory_not_equal(a, b, 8);
    pr_phx_ref(UINT64_MAX, UINT64_MAX, b);
    assert_memory_equal(b + 8, "________", 8);
}

static void test_positions(void **state)
{
    const struct pr_pos a = {1, 9};
    const struct pr_pos b = {2, 0};
    const struct pr_pos c = {2, 1};

    (void)state;
    assert_true(pr_pos_cmp(a, b) < 0 && pr_pos_cmp(b, a) > 0);
    assert_true(pr_pos_cmp(b, c) < 0 && pr_pos_cmp(c, b) > 0);
    assert_int_equal(pr_pos_cmp(c, c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_fields),   cmocka_unit_test(test_wrong_numbers),
        cmocka_unit_test(test_place_of_owner), cmocka_unit_test(test_frame_next),
        cmocka_unit_test(test_damaged_lists),  cmocka_unit_test(test_phx_ref),
        cmocka_unit_test(test_positions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
