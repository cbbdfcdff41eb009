/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/supervisor/supervisor_in.h"

struct world {
    char top[40], dir[60], lock[70];
    struct rt_config cfg;
    struct supervisor *s;
};

static int open_world(void **state)
{
    struct world *w = rt_calloc(1, sizeof *w);

    (void)snprintf(w->top, sizeof w->top, "/tmp/realtime-runtime-XXXXXX");
    if (mkdtemp(w->top) == NULL) {
        return -1;
    }
    (void)snprintf(w->dir, sizeof w->dir, "%s/a/b", w->top);
    (void)snprintf(w->lock, sizeof w->lock, "%s/lock", w->dir);
    w->cfg.runtime_dir = w->dir;
    w->s = rt_calloc(1, sizeof *w->s);
    w->s->cfg = &w->cfg;
    w->s->lock_fd = -1;
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;
    char parent[60];

    if (w->s->lock_fd != -1) {
        (void)close(w->s->lock_fd);
    }
    (void)snprintf(parent, sizeof parent, "%s/a", w->top);
    (void)unlink(w->lock);
    (void)rmdir(w->dir);
    (void)rmdir(parent);
    (void)rmdir(w->top);
    rt_free(w->s);
    rt_free(w);
    return 0;
}

static void made_and_locked(void **state)
{
    struct world *w = *state;
    struct supervisor *second = rt_calloc(1, sizeof *second);
    struct rt_error err = {0};
    struct stat st;

    assert_int_equal(rt_runtime_dir(w->s, &err), RT_OK);
    assert_int_equal(stat(w->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(fcntl(w->s->lock_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    second->cfg = &w->cfg;
    assert_int_equal(rt_runtime_dir(second, &err), RT_EBUSY);
    assert_non_null(strstr(err.text, w->dir));
    (void)close(second->lock_fd);
    /* The lock goes with its holder. */
    (void)close(w->s->lock_fd);
    assert_int_equal(rt_runtime_dir(w->s, &err), RT_OK);
    rt_free(second);
}

static void keeps_the_mode_of_what_was_there(void **state)
{
    struct world *w = *state;
    struct rt_error err = {0};
    struct stat st;

    assert_int_equal(rt_runtime_dir(w->s, &err), RT_OK);
    (void)close(w->s->lock_fd);
    assert_int_equal(chmod(w->dir, 0755), 0);
    assert_int_equal(rt_runtime_dir(w->s, &err), RT_OK);
    assert_int_equal(stat(w->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
}

static void refuses_a_shared_directory(void **state)
{
    struct world *w = *state;
    struct rt_error err = {0};
    char longer[600];

    assert_int_equal(rt_runtime_dir(w->s, &err), RT_OK);
    (void)close(w->s->lock_fd);
    w->s->lock_fd = -1;
    assert_int_equal(chmod(w->dir, 0777), 0);
    assert_int_equal(rt_runtime_dir(w->s, &err), RT_ECONFIG);
    assert_non_null(strstr(err.text, "0700"));
    assert_int_equal(chmod(w->dir, 0700), 0);

    w->cfg.runtime_dir = w->lock; /* a file */
    assert_int_equal(rt_runtime_dir(w->s, &err), RT_ESYSTEM);
    memset(longer, 'x', sizeof longer);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    w->cfg.runtime_dir = longer;
    assert_int_equal(rt_runtime_dir(w->s, &err), RT_ESYSTEM);
}

/* A port that was free a moment ago. */
static void address_of_free_port(char *out, size_t cap)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)close(fd);
    (void)snprintf(out, cap, "127.0.0.1:%u", ntohs(a.sin_port));
}

static void listens(void **state)
{
    (void)state;
    struct rt_error err = {0};
    char address[40];
    int a, b, on = 0;
    socklen_t len = sizeof on;

    address_of_free_port(address, sizeof address);
    assert_int_equal(rt_address_free("X", address, &err), RT_OK);
    a = rt_listen_tcp(address, true, &err);
    b = rt_listen_tcp(address, true, &err);
    assert_true(a >= 0 && b >= 0); /* one per edge */
    assert_int_equal(getsockopt(a, SOL_SOCKET, SO_ACCEPTCONN, &on, &len), 0);
    assert_int_equal(on, 1);
    assert_true((fcntl(a, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(a, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(rt_listen_tcp(address, false, &err), RT_ESYSTEM); /* not beside others */
    (void)close(a);
    (void)close(b);
    assert_int_equal(rt_listen_tcp("nowhere", true, &err), RT_ECONFIG);
    assert_int_equal(rt_address_free("X", "192.0.2.1:4000", &err), RT_ESYSTEM); /* not ours */
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(made_and_locked),
        IN_WORLD(keeps_the_mode_of_what_was_there),
        IN_WORLD(refuses_a_shared_directory),
        cmocka_unit_test(listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
