/* SPDX-License-Identifier: Apache-2.0 */
/* A resolver of our own stands in for libuv's, so that it answers what no real one would here. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/owner/seeds.h"

#define ASKED_MAX   8u
#define ANSWERS_MAX 400u

struct question {
    uv_getaddrinfo_t *req;
    uv_getaddrinfo_cb cb;
    char host[64];
};

struct world {
    struct rt_loop *loop;
    struct rt_log *log;
    int pipe[2]; /* lines of the log come out here */
    struct rt_seeds *seeds;
    uint32_t heard;
    char text[ANSWERS_MAX][PR_ADDR_TEXT_MAX];
    uint32_t stop_at; /* the seeds are stopped inside this call; 0: never */
    struct question asked[ASKED_MAX];
    uint32_t nasked;
    int refuse; /* what the next question is told at once */
    uint32_t freed;
};

static struct world w;

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb, const char *node,
                   const char *service, const struct addrinfo *hints)
{
    struct question *q = &w.asked[w.nasked];

    assert_ptr_equal(loop, rt_loop_uv(w.loop));
    assert_null(service);
    assert_int_equal(hints->ai_family, AF_UNSPEC);
    if (w.refuse != 0) {
        return w.refuse;
    }
    assert_true(w.nasked < ASKED_MAX);
    w.nasked++;
    *q = (struct question){.req = req, .cb = cb};
    (void)snprintf(q->host, sizeof q->host, "%s", node);
    return 0;
}

void uv_freeaddrinfo(struct addrinfo *ai)
{
    (void)ai;
    w.freed++;
}

int uv_cancel(uv_req_t *req)
{
    (void)req;
    return UV_EBUSY; /* it runs already */
}

static void on_address(void *ctx, const struct pr_addr *addr)
{
    assert_ptr_equal(ctx, &w);
    assert_true(w.heard < ANSWERS_MAX);
    (void)pr_addr_format(addr, w.text[w.heard], PR_ADDR_TEXT_MAX);
    w.heard++;
    if (w.heard == w.stop_at) {
        rt_seeds_stop(w.seeds);
        w.seeds = NULL;
    }
}

static int open_world(void **state)
{
    (void)state;
    w = (struct world){.loop = rt_loop_new()};
    assert_int_equal(pipe2(w.pipe, O_NONBLOCK), 0);
    w.log = rt_log_new(w.pipe[1], RT_DEBUG, "n1", "owner");
    return 0;
}

/* Ends the oldest question with these addresses, or with an error. */
static void answer(int status, const char *const *addrs)
{
    static struct addrinfo ai[ANSWERS_MAX];
    static struct sockaddr_in6 six[ANSWERS_MAX];
    struct question q = w.asked[0];
    uint32_t n = 0;

    assert_true(w.nasked > 0);
    w.nasked--;
    memmove(w.asked, w.asked + 1, w.nasked * sizeof q);
    for (; addrs != NULL && addrs[n] != NULL; n++) {
        struct sockaddr_in four = {.sin_family = AF_INET};

        six[n] = (struct sockaddr_in6){.sin6_family = AF_INET6};
        if (inet_pton(AF_INET, addrs[n], &four.sin_addr) == 1) {
            memcpy(&six[n], &four, sizeof four);
        } else {
            assert_int_equal(inet_pton(AF_INET6, addrs[n], &six[n].sin6_addr), 1);
        }
        ai[n] = (struct addrinfo){.ai_addr = (struct sockaddr *)&six[n]};
        if (n > 0) {
            ai[n - 1].ai_next = &ai[n];
        }
    }
    q.cb(q.req, status, n > 0 ? ai : NULL);
}

static int close_world(void **state)
{
    (void)state;
    rt_seeds_stop(w.seeds);
    while (w.nasked > 0) {
        answer(UV_ECANCELED, NULL);
    }
    rt_loop_free(w.loop);
    rt_log_free(w.log);
    (void)close(w.pipe[0]);
    (void)close(w.pipe[1]);
    return 0;
}

static void start(const char *list)
{
    struct rt_seeds_setup setup = {.list = list, .log = w.log, .on_address = on_address, .ctx = &w};

    w.seeds = rt_seeds_start(w.loop, &setup, NULL);
    assert_non_null(w.seeds);
    (void)uv_run(rt_loop_uv(w.loop), UV_RUN_NOWAIT);
}

static void next_round(void)
{
    rt_seeds_now(w.seeds);
    (void)uv_run(rt_loop_uv(w.loop), UV_RUN_NOWAIT);
}

/* The log has said this since the last call, behind its time; NULL: nothing. */
static void assert_logged(const char *want)
{
    char line[2048];
    ssize_t n = read(w.pipe[0], line, sizeof line - 1);

    if (want == NULL) {
        assert_int_equal(n, -1);
        return;
    }
    assert_true(n > 28);
    line[n] = '\0';
    assert_string_equal(line + 28, want);
}

static void all_addresses_of_a_name(void **state)
{
    static const char *const first[] = {"192.0.2.1", "2001:db8::1", "192.0.2.2", NULL};
    static const char *const second[] = {"192.0.2.2", "192.0.2.3", NULL};

    (void)state;
    start("realtime:7946,192.0.2.9:1,other:2");
    assert_int_equal(w.heard, 1); /* the literal one waits for nobody */
    assert_int_equal(w.nasked, 2);
    assert_string_equal(w.asked[0].host, "realtime");
    assert_string_equal(w.asked[1].host, "other");
    answer(0, first);
    assert_int_equal(w.heard, 4);
    assert_string_equal(w.text[1], "192.0.2.1:7946");
    assert_string_equal(w.text[2], "[2001:db8::1]:7946");
    assert_string_equal(w.text[3], "192.0.2.2:7946");
    next_round(); /* later it stands for others; "other" is still being looked up */
    assert_int_equal(w.nasked, 2);
    assert_string_equal(w.asked[0].host, "other");
    assert_string_equal(w.asked[1].host, "realtime");
    answer(0, first);
    answer(0, second);
    assert_int_equal(w.heard, 1 + 3 + 1 + 3 + 2);
    assert_string_equal(w.text[5], "192.0.2.1:2");
    assert_string_equal(w.text[9], "192.0.2.3:7946");
    assert_int_equal(w.freed, 3);
    assert_logged(NULL);
}

static void changes_are_logged_once(void **state)
{
    static const char *const good[] = {"192.0.2.1", "192.0.2.2", NULL};
    static const char *const useless[] = {"fe80::1", NULL};
    static const char unknown[] = "lvl=warn proc=n1/owner ev=seed_failed seed=realtime:7946 "
                                  "err=\"unknown node or service\" "
                                  "hint=\"it is looked up again and again\"\n";
    static const char useless_text[] = "lvl=warn proc=n1/owner ev=seed_failed seed=realtime:7946 "
                                       "err=\"the name has no address that can be used\" "
                                       "hint=\"it is looked up again and again\"\n";
    const struct {
        int status;
        const char *const *addrs;
        const char *logged;
    } rows[] = {
        {0, good, NULL},
        {UV_EAI_NONAME, NULL, unknown},
        {UV_EAI_NONAME, NULL, NULL},
        {UV_EAI_AGAIN, NULL,
         "lvl=warn proc=n1/owner ev=seed_failed seed=realtime:7946 err=\"temporary failure\" "
         "hint=\"it is looked up again and again\"\n"},
        {UV_EAI_NONAME, NULL, unknown},
        {0, useless, useless_text},
        {0, NULL, NULL},
        {0, good, "lvl=info proc=n1/owner ev=seed_resolved seed=realtime:7946 addresses=2\n"},
        {0, good, NULL},
        {0, NULL, useless_text},
    };

    (void)state;
    start("realtime:7946");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        answer(rows[i].status, rows[i].addrs);
        assert_logged(rows[i].logged);
        next_round();
    }
    assert_int_equal(w.heard, 3 * 2);
}

static void refused_at_once(void **state)
{
    (void)state;
    w.refuse = UV_ENOMEM;
    start("a:1");
    assert_logged("lvl=warn proc=n1/owner ev=seed_failed seed=a:1 err=\"not enough memory\" "
                  "hint=\"it is looked up again and again\"\n");
    next_round();
    assert_logged(NULL);
    w.refuse = 0;
    next_round(); /* nothing was left behind as if it ran */
    assert_int_equal(w.nasked, 1);
}

static void too_many_addresses(void **state)
{
    static const char *many[ANSWERS_MAX];

    (void)state;
    for (uint32_t i = 0; i < ANSWERS_MAX - 1; i++) {
        many[i] = "192.0.2.1";
    }
    start("a:1");
    answer(0, many);
    assert_int_equal(w.heard, RT_SEED_ADDRS_MAX);
}

static void stopped_between_addresses(void **state)
{
    static const char *const addrs[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", NULL};

    (void)state;
    w.stop_at = 2;
    start("a:1,b:2");
    answer(0, addrs);
    assert_int_equal(w.heard, 2);
    assert_int_equal(w.freed, 1);
    (void)uv_run(rt_loop_uv(w.loop), UV_RUN_NOWAIT); /* the timer is closed; b still runs */
    answer(0, addrs);                                /* this frees everything */
    assert_int_equal(w.heard, 2);
    assert_logged(NULL);
}

static void an_error_after_the_stop(void **state)
{
    (void)state;
    start("a:1");
    rt_seeds_stop(w.seeds);
    w.seeds = NULL;
    answer(UV_EAI_AGAIN, NULL); /* before the timer has closed */
    (void)uv_run(rt_loop_uv(w.loop), UV_RUN_NOWAIT);
    assert_logged(NULL);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(all_addresses_of_a_name),   IN_WORLD(changes_are_logged_once),
        IN_WORLD(refused_at_once),           IN_WORLD(too_many_addresses),
        IN_WORLD(stopped_between_addresses), IN_WORLD(an_error_after_the_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
