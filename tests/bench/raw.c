/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw.c - the least a server can do on this machine: an epoll loop that answers every handshake and
 * every text message with canned bytes, and sends the payload of every binary message to all other
 * sockets with one send() each. The baseline of the fan-out, join and memory benchmarks.
 *
 * Usage: raw PORT [joined]   (joined: what arrives in one turn leaves in one send() per socket)
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX   20000
#define IN_MAX    65536
#define FRAME_MAX 8192

static struct {
    bool open;
    bool upgraded;
    bool member;
} peer[FDS_MAX];
static int top;
static uint8_t out[1 << 20];
static size_t out_len;
static bool joined;
static int publisher; /* gets nothing of its own; there is one at a time */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void send_all(int fd, const void *p, size_t n)
{
    if (send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n && errno != EPIPE && errno != ECONNRESET) {
        die("send");
    }
}

static void flush(void)
{
    for (int fd = 0; fd <= top && out_len > 0; fd++) {
        if (peer[fd].member && fd != publisher) {
            send_all(fd, out, out_len);
        }
    }
    out_len = 0;
}

/* A kind 3 frame in, the kind 4 frame that members get out. */
static void publish(const uint8_t *p, size_t n)
{
    size_t skip = 7u + p[1] + p[2];
    size_t keep = n - skip;
    size_t body = 5 + keep;
    uint8_t *o = out + out_len;

    if (body > FRAME_MAX || out_len + body + 4 > sizeof out) {
        return;
    }
    *o++ = 0x82;
    if (body < 126) {
        *o++ = (uint8_t)body;
    } else {
        *o++ = 126;
        *o++ = (uint8_t)(body >> 8);
        *o++ = (uint8_t)body;
    }
    *o++ = 4;
    *o++ = p[3];
    *o++ = p[4];
    *o++ = p[5];
    *o++ = p[6];
    memcpy(o, p + skip, keep);
    out_len = (size_t)(o + keep - out);
    if (!joined) {
        flush();
    }
}

static void on_frame(int fd, uint8_t *p, size_t n, uint8_t opcode)
{
    static const char ok[] = "[\"1\",\"1\",\"realtime:bench\",\"phx_reply\",{\"status\":\"ok\","
                             "\"response\":{\"postgres_changes\":[]}}]";
    uint8_t reply[2 + sizeof ok - 1] = {0x81, sizeof ok - 1};

    if (opcode == 2) {
        publisher = fd;
        publish(p, n);
    } else if (opcode == 1) {
        memcpy(reply + 2, ok, sizeof ok - 1);
        send_all(fd, reply, sizeof reply);
        peer[fd].member = true;
    }
}

static void on_bytes(int fd, uint8_t *p, size_t n)
{
    static const char hello[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\n\r\n";

    if (!peer[fd].upgraded) {
        uint8_t *end = memmem(p, n, "\r\n\r\n", 4);

        if (end == NULL) {
            return;
        }
        peer[fd].upgraded = true;
        send_all(fd, hello, sizeof hello - 1);
        n -= (size_t)(end + 4 - p);
        p = end + 4;
    }
    while (n >= 6) { /* the load client never splits a frame of this size over two reads */
        size_t len = p[1] & 127u;
        size_t head = len == 126 ? 8 : 6;

        if (len == 126) {
            len = (size_t)p[2] << 8 | p[3];
        }
        if (n < head + len) {
            return;
        }
        for (size_t i = 0; i < len; i++) {
            p[head + i] ^= p[head - 4 + i % 4];
        }
        on_frame(fd, p + head, len, p[0] & 15u);
        p += head + len;
        n -= head + len;
    }
}

static void accept_all(int listener, int ep)
{
    int on = 1;
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

        if (fd >= FDS_MAX || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
            epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0) {
            die("accept");
        }
        memset(&peer[fd], 0, sizeof peer[fd]);
        peer[fd].open = true;
        top = fd > top ? fd : top;
    }
}

static void serve(int listener, int ep)
{
    static uint8_t in[IN_MAX];
    struct epoll_event ev[256];

    for (;;) {
        int n = epoll_wait(ep, ev, 256, -1);

        for (int i = 0; i < n; i++) {
            int fd = ev[i].data.fd;
            ssize_t got;

            if (fd == listener) {
                accept_all(listener, ep);
                continue;
            }
            got = read(fd, in, sizeof in);
            if (got <= 0 && errno != EAGAIN) {
                memset(&peer[fd], 0, sizeof peer[fd]);
                close(fd);
            } else if (got > 0) {
                on_bytes(fd, in, (size_t)got);
            }
        }
        flush();
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit lim;
    struct epoll_event ev = {.events = EPOLLIN};
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int ep = epoll_create1(0);

    if (argc < 2 || listener < 0 || ep < 0) {
        die("usage: raw PORT [joined]");
    }
    joined = argc > 2;
    getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
    a.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) != 0 || listen(listener, 4096) != 0) {
        die("listen");
    }
    ev.data.fd = listener;
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
    serve(listener, ep);
    return 0;
}
