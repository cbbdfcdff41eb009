/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/alloc.h"
#include "node/base/frame.h"

static void lives_as_long_as_a_reference(void **state)
{
    (void)state;
    struct rt_frame *f = rt_frame_new(5);

    memcpy(f->bytes, "hello", 5);
    assert_int_equal(f->len, 5);
    assert_ptr_equal(rt_frame_ref(f), f);
    assert_int_equal(f->refs, 2);
    rt_frame_unref(f);
    assert_memory_equal(f->bytes, "hello", 5);
    rt_frame_unref(f);
    rt_frame_unref(NULL);
}

static void empty_one(void **state)
{
    (void)state;
    rt_frame_unref(rt_frame_new(0));
}

/* The budget of the cluster core refuses instead of aborting. */
static void pool_refuses(void **state)
{
    (void)state;
    struct rt_pool pool;
    void *a, *b;

    rt_pool_init(&pool, 100);
    a = pool.alloc.get(pool.alloc.ctx, 60);
    assert_non_null(a);
    assert_null(pool.alloc.get(pool.alloc.ctx, 41));
    assert_null(pool.alloc.get(pool.alloc.ctx, SIZE_MAX));
    b = pool.alloc.get(pool.alloc.ctx, 40);
    assert_non_null(b);
    pool.alloc.put(pool.alloc.ctx, a, 60);
    pool.alloc.put(pool.alloc.ctx, NULL, 0);
    assert_int_equal(pool.used, 40);
    pool.alloc.put(pool.alloc.ctx, b, 40);
    assert_int_equal(pool.used, 0);
}

static void copies(void **state)
{
    (void)state;
    char *s = rt_strdup("text");
    char *t = rt_strndup("text", 2);
    void *n = rt_malloc(0);
    uint8_t *z = rt_calloc(3, 4);

    assert_string_equal(s, "text");
    assert_string_equal(t, "te");
    assert_int_equal(z[11], 0);
    s = rt_realloc(s, 100);
    assert_string_equal(s, "text");
    rt_free(s);
    rt_free(t);
    rt_free(n);
    rt_free(z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lives_as_long_as_a_reference),
        cmocka_unit_test(empty_one),
        cmocka_unit_test(pool_refuses),
        cmocka_unit_test(copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
