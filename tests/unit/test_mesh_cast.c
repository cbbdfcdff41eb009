/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a broadcast of the database and its acknowledgement survive encode and decode with all
 * fields, and a frame that is shorter, longer or out of bounds is refused by its reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fuzz/mesh_recode.h"

static uint8_t bytes[8192], again[8192], text[PR_TOPIC_KEY_MAX + 1];
static struct pr_frame f;

static size_t put_cast(size_t topic, const char *body)
{
    struct pr_cast m = {.stream = UINT64_MAX,
                        .pos = {.lsn = UINT64_MAX - 1, .seq = 3},
                        .topic = pr_bytes(text, topic),
                        .body = pr_str(body)};
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_cast_encode(&o, &m);
    assert_true(pr_out_ok(&o));
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
    return o.len;
}

static void test_cast(void **state)
{
    struct pr_cast m;

    (void)state;
    (void)put_cast(7, "a body");
    assert_int_equal(f.type, PR_T_CAST);
    assert_int_equal(f.cls, PR_C_CHANGES);
    assert_int_equal(pr_cast_decode(&f, &m), PR_OK);
    assert_true(m.stream == UINT64_MAX && m.pos.lsn == UINT64_MAX - 1 && m.pos.seq == 3);
    assert_true(m.topic.n == 7 && pr_slice_is(m.body, "a body"));
    (void)put_cast(1, "");
    assert_int_equal(pr_cast_decode(&f, &m), PR_OK);
    assert_int_equal(m.body.n, 0);
}

static void test_ok(void **state)
{
    const struct pr_cast_ok m = {.stream = 1, .pos = {.lsn = UINT64_MAX, .seq = UINT64_MAX}};
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_cast_ok back;

    (void)state;
    pr_cast_ok_encode(&o, &m);
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
    assert_int_equal(f.cls, PR_C_CHANGES);
    assert_int_equal(pr_cast_ok_decode(&f, &back), PR_OK);
    assert_true(back.stream == 1 && pr_pos_cmp(back.pos, m.pos) == 0);
    f.body.n--;
    assert_int_equal(pr_cast_ok_decode(&f, &back), PR_ESHORT);
    bytes[o.len] = 0;
    f.body.n += 2;
    assert_int_equal(pr_cast_ok_decode(&f, &back), PR_ETRAIL);
}

static void test_bounds(void **state)
{
    struct pr_cast m;

    (void)state;
    (void)put_cast(0, "x");
    assert_int_equal(pr_cast_decode(&f, &m), PR_ERANGE);
    (void)put_cast(PR_TOPIC_KEY_MAX, "x");
    assert_int_equal(pr_cast_decode(&f, &m), PR_OK);
    (void)put_cast(PR_TOPIC_KEY_MAX + 1, "x");
    assert_int_equal(pr_cast_decode(&f, &m), PR_ERANGE);
}

/* What stands behind the array is the body, so only the array can be too short. */
static void test_cut(void **state)
{
    struct pr_outbuf o = pr_outbuf(again, sizeof again);
    size_t n = put_cast(3, "");
    struct pr_cast m;

    (void)state;
    for (size_t cut = 1; cut <= n - PR_FRAME_HEAD; cut++) {
        f.body.n = n - PR_FRAME_HEAD - cut;
        assert_int_equal(pr_cast_decode(&f, &m), PR_ESHORT);
    }
    f.body.n = n - PR_FRAME_HEAD;
    assert_int_equal(mesh_recode(&f, &o), PR_OK);
    assert_int_equal(o.len, n);
    bytes[PR_FRAME_HEAD] = 0x93; /* an array of three */
    assert_int_equal(pr_cast_decode(&f, &m), PR_ESHORT);
    bytes[PR_FRAME_HEAD] = 0xc1;
    assert_int_equal(pr_cast_decode(&f, &m), PR_ETYPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cast),
        cmocka_unit_test(test_ok),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
