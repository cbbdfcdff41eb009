/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a reservation is all that can fail; order, growth, bounds, rollback, reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/out.h"

static size_t outstanding;
static bool refuse;

static void *get(void *ctx, size_t n)
{
    (void)ctx;
    outstanding += refuse ? 0 : n;
    return refuse ? NULL : malloc(n);
}

static void put(void *ctx, void *p, size_t n)
{
    (void)ctx;
    outstanding -= n;
    free(p);
}

static const struct cl_alloc mem = {.get = get, .put = put};

struct item {
    size_t at, n;
};

static void push(struct cl_out *o, const char *text)
{
    struct item *it = NULL;
    struct pr_outbuf w;

    assert_int_equal(cl_out_reserve(o, strlen(text), 1), CL_OK);
    w = cl_out_writer(o);
    pr_put_str(&w, text);
    it = cl_out_push(o);
    it->n = w.len;
    it->at = cl_out_written(o, &w);
}

static void expect(struct cl_out *o, const char *text)
{
    const struct item *it = cl_out_take(o);

    assert_non_null(it);
    assert_true(pr_slice_is(cl_out_bytes(o, it->at, it->n), text));
}

static void test_order(void **state)
{
    struct cl_out o;

    (void)state;
    cl_out_init(&o, &mem, sizeof(struct item), 1000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 500; i++) {
            push(&o, i % 2 ? "a longer piece of text" : "short");
        }
        for (int i = 0; i < 500; i++) {
            expect(&o, i % 2 ? "a longer piece of text" : "short");
        }
        assert_null(cl_out_take(&o));
    }
    cl_out_deinit(&o);
    assert_int_equal(outstanding, 0);
}

static void test_bounds(void **state)
{
    struct cl_out o;

    (void)state;
    cl_out_init(&o, &mem, sizeof(struct item), 2);
    assert_int_equal(cl_out_reserve(&o, 0, 3), CL_EAGAIN);
    assert_int_equal(cl_out_reserve(&o, (size_t)CL_OUT_BYTES_MAX + 1, 1), CL_EAGAIN);
    push(&o, "a");
    push(&o, "b");
    assert_int_equal(cl_out_reserve(&o, 0, 1), CL_EAGAIN);
    expect(&o, "a");
    assert_int_equal(cl_out_reserve(&o, 0, 1), CL_EAGAIN); /* until all are taken */
    expect(&o, "b");
    push(&o, "c");
    expect(&o, "c");
    cl_out_deinit(&o);
}

static void test_refused(void **state)
{
    struct cl_out o;

    (void)state;
    cl_out_init(&o, &mem, sizeof(struct item), 1000);
    refuse = true;
    assert_int_equal(cl_out_reserve(&o, 0, 1), CL_ENOMEM);
    refuse = false;
    push(&o, "a");
    refuse = true;
    assert_int_equal(cl_out_reserve(&o, 100000, 1), CL_ENOMEM);
    assert_int_equal(cl_out_reserve(&o, 1, 500), CL_ENOMEM);
    push(&o, "b"); /* fits in what is there */
    refuse = false;
    expect(&o, "a");
    expect(&o, "b");
    cl_out_deinit(&o);
    assert_int_equal(outstanding, 0);
}

static void test_rollback(void **state)
{
    struct cl_out o;
    struct cl_out_mark m;

    (void)state;
    cl_out_init(&o, &mem, sizeof(struct item), 1000);
    push(&o, "a");
    m = cl_out_mark(&o);
    push(&o, "b");
    push(&o, "c");
    cl_out_rollback(&o, m);
    push(&o, "d");
    expect(&o, "a");
    expect(&o, "d");
    assert_null(cl_out_take(&o));
    m = cl_out_mark(&o);
    assert_int_equal(cl_out_reserve(&o, 1, 1), CL_OK); /* starts anew */
    cl_out_rollback(&o, m);
    assert_null(cl_out_take(&o));
    cl_out_deinit(&o);
}

static void test_gives_large_memory_back(void **state)
{
    struct cl_out o;

    (void)state;
    cl_out_init(&o, &mem, sizeof(struct item), 1000);
    assert_int_equal(cl_out_reserve(&o, 1u << 20, 1), CL_OK);
    assert_true(outstanding >= 1u << 20);
    assert_int_equal(cl_out_reserve(&o, 1, 1), CL_OK);
    assert_true(outstanding < 1u << 20);
    cl_out_deinit(&o);
    assert_int_equal(outstanding, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_gives_large_memory_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
