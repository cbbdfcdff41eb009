/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/base/errors.h"
#include "node/base/log.h"

/* Lines of a log come out of a pipe, which holds more than any test writes. */
static struct rt_log *open_log(int pair[2], enum rt_log_level level)
{
    assert_int_equal(pipe2(pair, O_NONBLOCK), 0);
    return rt_log_new(pair[1], level, "n1", "edge.2");
}

static const char *taken(int pair[2], char *text, size_t cap)
{
    ssize_t n = read(pair[0], text, cap - 1);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void close_log(struct rt_log *log, int pair[2])
{
    rt_log_free(log);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

static void line(void **state)
{
    (void)state;
    int pair[2];
    char text[4096];
    struct rt_log *log = open_log(pair, RT_INFO);

    rt_log(log, RT_WARN, "slow_reader_closed", rt_kv_b("topic", pr_str("room:1")),
           rt_kv_x("conn", 0x8f3a), rt_kv_u("frames", 256), rt_kv_i("delta", -5),
           rt_kv_s("hint", "reads \"slow\""));
    taken(pair, text, sizeof text);
    /* ts=2025-03-04T10:11:12.345Z */
    assert_memory_equal(text, "ts=2", 4);
    assert_int_equal(text[13], 'T');
    assert_int_equal(text[26], 'Z');
    assert_string_equal(text + 27, " lvl=warn proc=n1/edge.2 ev=slow_reader_closed topic=room:1"
                                   " conn=8f3a frames=256 delta=-5 hint=\"reads \\\"slow\\\"\"\n");
    close_log(log, pair);
}

static void quotes(void **state)
{
    (void)state;
    static const struct {
        const char *value, *written;
    } rows[] = {
        {"plain", "v=plain\n"},
        {"", "v=\"\"\n"},
        {NULL, "v=\"\"\n"},
        {"a b", "v=\"a b\"\n"},
        {"a=b", "v=\"a=b\"\n"},
        {"a\nts=1 lvl=error", "v=\"a\\nts=1 lvl=error\"\n"},
        {"\x1b[2J", "v=\"\\u001b[2J\"\n"},
        {"back\\slash", "v=\"back\\\\slash\"\n"},
        {"\xc3\xa9", "v=\xc3\xa9\n"},
    };
    int pair[2];
    char text[4096];
    struct rt_log *log = open_log(pair, RT_INFO);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rt_log(log, RT_INFO, "q", rt_kv_s("v", rows[i].value));
        assert_non_null(strstr(taken(pair, text, sizeof text), rows[i].written));
    }
    close_log(log, pair);
}

static void levels(void **state)
{
    (void)state;
    int pair[2];
    char text[4096];
    struct rt_log *log = open_log(pair, RT_WARN);

    rt_log_plain(log, RT_DEBUG, "a");
    rt_log_plain(log, RT_INFO, "b");
    assert_string_equal(taken(pair, text, sizeof text), "");
    assert_false(rt_log_on(log, RT_INFO));
    assert_true(rt_log_on(log, RT_ERROR));
    rt_log_plain(log, RT_ERROR, "c");
    assert_non_null(strstr(taken(pair, text, sizeof text), " lvl=error proc=n1/edge.2 ev=c\n"));
    close_log(log, pair);
}

static void long_values_are_cut(void **state)
{
    (void)state;
    int pair[2];
    char text[8192];
    char big[4000];
    struct rt_log *log = open_log(pair, RT_INFO);

    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    rt_log(log, RT_INFO, "big", rt_kv_s("a", big), rt_kv_s("b", "after"));
    taken(pair, text, sizeof text);
    assert_non_null(strstr(text, "xxx...\" b=after\n"));
    rt_log(log, RT_INFO, "big", rt_kv_s("a", big), rt_kv_s("b", big), rt_kv_s("c", big),
           rt_kv_s("d", big), rt_kv_s("e", big));
    taken(pair, text, sizeof text);
    assert_int_equal(strlen(text), RT_LOG_LINE_MAX);
    assert_int_equal(text[RT_LOG_LINE_MAX - 1], '\n');
    close_log(log, pair);
}

static void repeats_are_held_back(void **state)
{
    (void)state;
    int pair[2];
    char text[65536];
    struct rt_log *log = open_log(pair, RT_INFO);
    uint32_t lines = 0;

    for (uint32_t i = 0; i < 3 * RT_LOG_BURST; i++) {
        rt_log(log, RT_INFO, "again", rt_kv_u("n", i));
    }
    rt_log(log, RT_INFO, "other", rt_kv_u("n", 1));
    taken(pair, text, sizeof text);
    for (const char *p = text; (p = strstr(p, "ev=again")) != NULL; p++) {
        lines++;
    }
    /* A second may have turned over on the way. */
    assert_in_range(lines, RT_LOG_BURST, 2 * RT_LOG_BURST);
    assert_non_null(strstr(text, "ev=other n=1\n"));
    close_log(log, pair);
}

/* More names than are counted apart still come through, and a log without a reader does no harm. */
static void many_events(void **state)
{
    (void)state;
    int pair[2];
    char text[65536];
    static char names[200][8];
    struct rt_log *log = open_log(pair, RT_INFO);

    for (uint32_t i = 0; i < 200; i++) {
        (void)snprintf(names[i], sizeof names[i], "e%u", i);
        rt_log_plain(log, RT_INFO, names[i]);
    }
    taken(pair, text, sizeof text);
    assert_non_null(strstr(text, "ev=e0\n"));
    assert_non_null(strstr(text, "ev=e126\n"));
    close_log(log, pair);
    log = rt_log_new(-1, RT_INFO, "n", "p");
    rt_log_plain(log, RT_INFO, "nowhere");
    rt_log_free(log);
    rt_log_free(NULL);
}

static void errors(void **state)
{
    (void)state;
    struct rt_error err = {0};

    assert_int_equal(rt_error_set(&err, RT_EBUSY, "port %d", 4), RT_EBUSY);
    assert_int_equal(err.code, RT_EBUSY);
    assert_string_equal(err.text, "port 4");
    assert_int_equal(rt_error_errno(&err, 2, "open %s", "x"), RT_ESYSTEM);
    assert_string_equal(err.text, "open x: No such file or directory");
    assert_int_equal(rt_error_set(NULL, RT_EPEER, "x"), RT_EPEER);
    assert_int_equal(rt_error_errno(NULL, 2, "x"), RT_ESYSTEM);
    assert_string_equal(rt_error_name(RT_OK), "ok");
    assert_string_equal(rt_error_name(RT_ETIMEOUT), "timeout");
    assert_string_equal(rt_error_name(99), "unknown");
    (void)rt_error_set(&err, RT_EPEER, "%0600d", 1);
    assert_int_equal(strlen(err.text), RT_ERROR_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line),
        cmocka_unit_test(quotes),
        cmocka_unit_test(levels),
        cmocka_unit_test(long_values_are_cut),
        cmocka_unit_test(repeats_are_held_back),
        cmocka_unit_test(many_events),
        cmocka_unit_test(errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
