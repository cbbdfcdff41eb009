/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/heart.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/alloc.h"

struct rt_heart {
    struct rt_timer timer;
    int fd;
};

static void on_beat(void *ctx)
{
    struct rt_heart *h = ctx;

    /* Nobody reads: the supervisor is stopped or gone. Neither is a reason to end. */
    (void)send(h->fd, "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    rt_timer_set(&h->timer, RT_HEART_BEAT_MS);
}

struct rt_heart *rt_heart_start(struct rt_loop *l, int fd)
{
    struct rt_heart *h;

    if (fd == -1) {
        return NULL;
    }
    h = rt_calloc(1, sizeof *h);
    h->fd = fd;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    rt_timer_init(l, &h->timer, on_beat, h);
    rt_timer_set(&h->timer, 0); /* when the loop runs: whatever is set up before it is set up */
    return h;
}

static void on_closed(void *ctx)
{
    struct rt_heart *h = ctx;

    (void)close(h->fd);
    rt_free(h);
}

void rt_heart_stop(struct rt_heart *h)
{
    if (h != NULL) {
        rt_timer_close(&h->timer, on_closed);
    }
}
