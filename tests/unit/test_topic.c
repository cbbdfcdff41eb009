/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: subscribers and counters of topics; a counter never goes back; limits and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/topic.h"

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
static struct cl_topics t;

static struct cl_topic *make(cl_ms now, const char *key)
{
    struct cl_topic *topic = NULL;

    assert_int_equal(cl_topics_get(&t, now, pr_str(key), &topic), CL_OK);
    return topic;
}

static void check(uint64_t up)
{
    const char *what = NULL;

    if (!cl_topics_check(&t, up, &what)) {
        fail_msg("%s", what);
    }
}

static void test_subscribers(void **state)
{
    struct cl_topic *a = NULL;

    (void)state;
    cl_topics_init(&t, &mem, 10, 1 << 20, 1);
    assert_null(cl_topics_find(&t, pr_str("a")));
    a = make(0, "a");
    assert_ptr_equal(make(0, "a"), a);
    assert_ptr_equal(cl_topics_find(&t, pr_str("a")), a);
    cl_topics_sub(&t, a, 3, true);
    cl_topics_sub(&t, a, 63, false);
    assert_true(a->edges == (UINT64_C(1) << 63 | 8) && a->presence_edges == 8);
    cl_topics_sub(&t, a, 3, false); /* again, with another wish */
    assert_true(a->presence_edges == 0);
    cl_topics_unsub(&t, 0, a, 5); /* was none */
    cl_topics_unsub(&t, 0, a, 3);
    check(UINT64_C(1) << 63);
    cl_topics_unsub(&t, 5, a, 63);
    check(0);
    assert_int_equal(cl_topics_deadline(&t), 5 + CL_TOPIC_KEEP_MS);
    cl_topics_deinit(&t);
    assert_int_equal(outstanding, 0);
}

static void test_counter_never_goes_back(void **state)
{
    struct cl_topic *a = NULL;

    (void)state;
    cl_topics_init(&t, &mem, 10, 1 << 20, 1);
    a = make(0, "a");
    a->seq = 17;
    cl_topics_expire(&t, CL_TOPIC_KEEP_MS - 1);
    assert_ptr_equal(cl_topics_find(&t, pr_str("a")), a);
    cl_topics_expire(&t, CL_TOPIC_KEEP_MS);
    assert_null(cl_topics_find(&t, pr_str("a")));
    assert_true(cl_topics_deadline(&t) == UINT64_MAX);
    assert_int_equal(make(0, "a")->seq, 17);
    cl_topics_deinit(&t);
    assert_int_equal(outstanding, 0);
}

static void test_limit(void **state)
{
    struct cl_topic *out = NULL;

    (void)state;
    cl_topics_init(&t, &mem, 2, 1 << 20, 1);
    cl_topics_sub(&t, make(0, "a"), 0, false);
    (void)make(0, "b");
    (void)make(0, "c"); /* "b" had no subscribers and goes */
    assert_null(cl_topics_find(&t, pr_str("b")));
    cl_topics_sub(&t, make(0, "c"), 0, false);
    assert_int_equal(cl_topics_get(&t, 0, pr_str("d"), &out), CL_ERANGE);
    assert_null(out);
    check(1);
    cl_topics_deinit(&t);
}

static void test_refused(void **state)
{
    struct cl_topic *out = NULL;

    (void)state;
    cl_topics_init(&t, &mem, 2, 1 << 20, 1);
    refuse = true;
    assert_int_equal(cl_topics_get(&t, 0, pr_str("a"), &out), CL_ENOMEM);
    refuse = false;
    check(0);
    assert_int_equal(outstanding, 0);
    cl_topics_deinit(&t);
}

static void test_many(void **state)
{
    uint32_t at = 0;
    unsigned count = 0;
    char key[16];

    (void)state;
    cl_topics_init(&t, &mem, 5000, 1 << 20, 1);
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof key, "k%u", i);
        cl_topics_sub(&t, make(0, key), i % 64, i % 2 == 0);
    }
    for (unsigned i = 0; i < 5000; i += 3) {
        (void)snprintf(key, sizeof key, "k%u", i);
        cl_topics_unsub(&t, 0, cl_topics_find(&t, pr_str(key)), i % 64);
    }
    check(UINT64_MAX);
    cl_topics_expire(&t, CL_TOPIC_KEEP_MS);
    while (cl_topics_next(&t, &at) != NULL) {
        count++;
    }
    assert_int_equal(count, 5000 - 1667);
    cl_topics_deinit(&t);
    assert_int_equal(outstanding, 0);
}

static void test_check_sees(void **state)
{
    struct cl_topic *a = NULL;
    const char *what = NULL;

    (void)state;
    cl_topics_init(&t, &mem, 10, 1 << 20, 1);
    a = make(0, "a");
    cl_topics_sub(&t, a, 0, true);
    assert_false(cl_topics_check(&t, 0, &what)); /* of an edge that is not up */
    a->presence_edges = 2;
    assert_false(cl_topics_check(&t, 3, &what));
    a->presence_edges = 1;
    a->part ^= 1;
    assert_false(cl_topics_check(&t, 1, &what));
    a->part ^= 1;
    check(1);
    cl_topics_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscribers), cmocka_unit_test(test_counter_never_goes_back),
        cmocka_unit_test(test_limit),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_check_sees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
