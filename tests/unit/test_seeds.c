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

#include "node/owner/seeds.h"

/* Ends a test that hangs; nothing waits for it otherwise. */
#define DEADLINE_MS 30000u
#define HEARD_MAX   32u

struct world {
    struct rt_loop *loop;
    struct rt_timer deadline;
    struct rt_log *log;
    int pipe[2]; /* lines of the log come out here */
    struct rt_seeds *seeds;
    uint32_t heard, want; /* stop after so many; 0: never */
    char text[HEARD_MAX][PR_ADDR_TEXT_MAX];
    bool stops;
};

static void on_deadline(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for too long");
}

static void on_address(void *ctx, const struct pr_addr *addr)
{
    struct world *w = ctx;

    assert_true(w->heard < HEARD_MAX);
    (void)pr_addr_format(addr, w->text[w->heard], PR_ADDR_TEXT_MAX);
    w->heard++;
    if (w->stops) {
        rt_seeds_stop(w->seeds);
        w->seeds = NULL;
    }
    if (w->heard == w->want) {
        rt_loop_stop(w->loop);
    }
}

static int open_world(void **state)
{
    static struct world w;

    w = (struct world){.loop = rt_loop_new()};
    assert_int_equal(pipe2(w.pipe, O_NONBLOCK), 0);
    w.log = rt_log_new(w.pipe[1], RT_DEBUG, "n1", "owner");
    rt_timer_init(w.loop, &w.deadline, on_deadline, NULL);
    rt_timer_set(&w.deadline, DEADLINE_MS);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;

    rt_seeds_stop(w->seeds);
    rt_timer_close(&w->deadline, NULL);
    rt_loop_free(w->loop);
    rt_log_free(w->log);
    (void)close(w->pipe[0]);
    (void)close(w->pipe[1]);
    return 0;
}

static struct rt_seeds *start(struct world *w, const char *list, struct rt_error *err)
{
    struct rt_seeds_setup setup = {.list = list, .log = w->log, .on_address = on_address, .ctx = w};

    w->seeds = rt_seeds_start(w->loop, &setup, err);
    return w->seeds;
}

static void run_until(struct world *w, uint32_t heard)
{
    w->want = heard;
    rt_loop_run(w->loop);
    assert_int_equal(w->heard, heard);
}

/* Runs until the log has said something, which `line` then holds without its time. */
static void run_until_logged(struct world *w, char line[1024])
{
    ssize_t n = -1;

    for (int turns = 0; n <= 0; turns++) {
        assert_true(turns < 1000000);
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        n = read(w->pipe[0], line, 1023);
    }
    line[n] = '\0';
    memmove(line, line + 28, strlen(line + 28) + 1);
}

static void assert_log_silent(const struct world *w)
{
    char byte;

    assert_int_equal(read(w->pipe[0], &byte, 1), -1);
}

static void literal_addresses(void **state)
{
    struct world *w = *state;

    assert_non_null(start(w, "192.0.2.1:7946, [2001:db8::1]:7947\t,[::1]:1,127.0.0.1:65535", NULL));
    assert_int_equal(w->heard, 0); /* not from within the start */
    run_until(w, 4);
    assert_string_equal(w->text[0], "192.0.2.1:7946");
    assert_string_equal(w->text[1], "[2001:db8::1]:7947");
    assert_string_equal(w->text[2], "[::1]:1");
    assert_string_equal(w->text[3], "127.0.0.1:65535");
    rt_seeds_now(w->seeds); /* every round tells all again */
    rt_seeds_now(w->seeds);
    assert_int_equal(w->heard, 4);
    run_until(w, 8);
    assert_string_equal(w->text[4], "192.0.2.1:7946");
    assert_log_silent(w);
}

static void a_name(void **state)
{
    struct world *w = *state;

    assert_non_null(start(w, "localhost:7946", NULL));
    w->want = 1;
    rt_loop_run(w->loop);
    assert_true(w->heard >= 1); /* by the hosts file, of one family or both */
    for (uint32_t i = 0; i < w->heard; i++) {
        assert_true(strcmp(w->text[i], "127.0.0.1:7946") == 0 ||
                    strcmp(w->text[i], "[::1]:7946") == 0);
    }
    assert_log_silent(w); /* what works from the start is no news */
}

/* What the second answer is, only test_seeds_lookup can know: a resolver changes its words. */
static void a_name_that_fails(void **state)
{
    struct world *w = *state;
    char line[1024];

    assert_non_null(start(w, "node.invalid:7946,127.0.0.1:1", NULL)); /* RFC 6761 6.4 */
    run_until(w, 1);                                                  /* the other goes on */
    run_until_logged(w, line);
    assert_non_null(strstr(line, "lvl=warn proc=n1/owner ev=seed_failed seed=node.invalid:7946 "
                                 "err="));
    assert_null(strstr(line, "err=\"\""));
    assert_null(strstr(line, "err= "));
    rt_seeds_now(w->seeds);
    run_until(w, 2);
}

/* The clock goes on meanwhile, so only which of the two paces it is can be told. */
static void paces(void **state)
{
    struct world *w = *state;

    assert_non_null(start(w, "127.0.0.1:1", NULL));
    assert_int_equal(rt_seeds_next_ms(w->seeds), 0);
    rt_seeds_alone(w->seeds, false); /* does not put off the first round */
    assert_int_equal(rt_seeds_next_ms(w->seeds), 0);
    run_until(w, 1);
    assert_in_range(rt_seeds_next_ms(w->seeds), RT_SEEDS_ALONE_MS + 1, RT_SEEDS_EVERY_MS);
    rt_seeds_alone(w->seeds, false);
    assert_in_range(rt_seeds_next_ms(w->seeds), RT_SEEDS_ALONE_MS + 1, RT_SEEDS_EVERY_MS);
    rt_seeds_alone(w->seeds, true);
    assert_in_range(rt_seeds_next_ms(w->seeds), 1, RT_SEEDS_ALONE_MS);
    rt_seeds_alone(w->seeds, false);
    assert_in_range(rt_seeds_next_ms(w->seeds), RT_SEEDS_ALONE_MS + 1, RT_SEEDS_EVERY_MS);
    rt_seeds_alone(w->seeds, true);
    rt_seeds_now(w->seeds);
    assert_int_equal(rt_seeds_next_ms(w->seeds), 0);
    run_until(w, 2);
    assert_in_range(rt_seeds_next_ms(w->seeds), 1, RT_SEEDS_ALONE_MS);
}

static void stopped_inside_a_callback(void **state)
{
    struct world *w = *state;

    w->stops = true;
    assert_non_null(start(w, "127.0.0.1:1,127.0.0.1:2,localhost:3", NULL));
    run_until(w, 1);
    assert_null(w->seeds);
}

static void stopped_before_a_lookup_ends(void **state)
{
    struct world *w = *state;

    w->stops = true; /* by the literal one, when the others have begun: more than run at once */
    assert_non_null(start(w,
                          "localhost:3,localhost:4,localhost:5,localhost:6,localhost:7,"
                          "localhost:8,127.0.0.1:1",
                          NULL));
    run_until(w, 1);
    assert_string_equal(w->text[0], "127.0.0.1:1");
    while (rt_loop_uv(w->loop)->active_reqs.count > 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_int_equal(w->heard, 1);
}

static void stopped_inside_a_lookup(void **state)
{
    struct world *w = *state;

    w->stops = true;
    assert_non_null(start(w, "localhost:3,localhost:4", NULL));
    run_until(w, 1);
    assert_null(w->seeds);
    assert_log_silent(w);
}

static void no_seeds(void **state)
{
    struct world *w = *state;
    static const char *const lists[] = {NULL, "", "  "};

    for (size_t i = 0; i < 3; i++) {
        assert_non_null(start(w, lists[i], NULL));
        rt_seeds_now(w->seeds);
        rt_seeds_alone(w->seeds, false);
        rt_seeds_alone(w->seeds, true);
        assert_true(rt_seeds_next_ms(w->seeds) == UINT64_MAX);
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
        rt_seeds_stop(w->seeds);
        w->seeds = NULL;
    }
    rt_seeds_stop(NULL);
}

static void refuses_lists(void **state)
{
#define LABEL_63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk."
    static const struct {
        const char *list, *says;
    } rows[] = {
        {"realtime", "seed 1, \"realtime\", has no port: write host:port"},
        {"127.0.0.1", "seed 1, \"127.0.0.1\", has no port: write host:port"},
        {"a:1,", "seed 2, \"\", is empty"},
        {",a:1", "seed 1, \"\", is empty"},
        {"a:1,,b:1", "seed 2, \"\", is empty"},
        {",", "seed 1, \"\", is empty"},
        {"a:", "seed 1, \"a:\", has no port of 1 to 65535 behind its last colon"},
        {"a:0", "seed 1, \"a:0\", has no port of 1 to 65535"},
        {"a:65536", "seed 1, \"a:65536\", has no port of 1 to 65535"},
        {"a:4294967297", "seed 1, \"a:4294967297\", has no port of 1 to 65535"},
        {"a:99999999999999999999", "seed 1, \"a:99999999999999999999\", has no port of"},
        {"a:-1", "seed 1, \"a:-1\", has no port of 1 to 65535"},
        {"a:79x", "seed 1, \"a:79x\", has no port of 1 to 65535"},
        {"127.0.0.1:0", "seed 1, \"127.0.0.1:0\", has no port of 1 to 65535"},
        {":7946", "seed 1, \":7946\", has neither an IPv4 address nor a host name"},
        {"a b:1", "seed 1, \"a b:1\", has neither an IPv4 address nor a host name"},
        {"http//a:1", "seed 1, \"http//a:1\", has neither"},
        {"a:1;b:2", "seed 1, \"a:1;b:2\", is no IPv6 address in brackets"},
        {"256.1.1.1:1", "seed 1, \"256.1.1.1:1\", has neither an IPv4 address nor a host name"},
        {"10.1:1", "seed 1, \"10.1:1\", has neither"},
        {"10.1.:1", "seed 1, \"10.1.:1\", has neither"},
        {"1:1", "seed 1, \"1:1\", has neither"},
        {"::1:7946", "seed 1, \"::1:7946\", is no IPv6 address in brackets: write [address]:port"},
        {"[::1:7946", "seed 1, \"[::1:7946\", is no IPv6 address in brackets"},
        {"[::1]:", "seed 1, \"[::1]:\", has no port of 1 to 65535"},
        {"[::1]", "seed 1, \"[::1]\", has no port of 1 to 65535"},
        {"[a]:1", "seed 1, \"[a]:1\", is no IPv6 address in brackets"},
        {"[fe80::1%eth0]:1", "seed 1, \"[fe80::1%eth0]:1\", is no IPv6 address in brackets"},
        {"a:1,b:1,c\x80:1", "seed 3, \"c\x80:1\", has neither"},
        {LABEL_63 LABEL_63 LABEL_63 LABEL_63 ":1", "seed 1, \"abcdefghijk"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_error err = {.code = 0};

        assert_null(start(w, rows[i].list, &err));
        assert_int_equal(err.code, RT_ECONFIG);
        assert_memory_equal(err.text, rows[i].says, strlen(rows[i].says));
    }
}

static void takes_names(void **state)
{
    static const char *const lists[] = {
        "a:1",
        "realtime_1:7946",
        "3com.example:7946",
        "1.a:2",
        "xn--mnchen-3ya.example:1",
        "a.example.:7946",
        "n-0.realtime.default.svc.cluster.local:7946",
        "a1:1",
        "10.1.x1:1",
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        assert_non_null(start(w, lists[i], NULL));
        rt_seeds_stop(w->seeds); /* before anything is looked up */
        w->seeds = NULL;
    }
}

static void bounded(void **state)
{
    struct world *w = *state;
    struct rt_error err = {.code = 0};
    char list[(RT_SEEDS_MAX + 1) * 4 + 1] = "";

    for (size_t i = 0; i <= RT_SEEDS_MAX; i++) {
        memcpy(list + 4 * i, "a:1,", 5);
    }
    list[4 * RT_SEEDS_MAX + 3] = '\0';
    assert_null(start(w, list, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    assert_string_equal(err.text, "more than 64 seeds: a name can stand for many");
    list[4 * RT_SEEDS_MAX - 1] = '\0';
    assert_non_null(start(w, list, &err));
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(literal_addresses),
        IN_WORLD(a_name),
        IN_WORLD(a_name_that_fails),
        IN_WORLD(paces),
        IN_WORLD(stopped_inside_a_callback),
        IN_WORLD(stopped_before_a_lookup_ends),
        IN_WORLD(stopped_inside_a_lookup),
        IN_WORLD(no_seeds),
        IN_WORLD(refuses_lists),
        IN_WORLD(takes_names),
        IN_WORLD(bounded),
    };

    /* Where a name server is silent, the one name that does not exist takes a second. */
    (void)setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
