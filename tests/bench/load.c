/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - the load client of the benchmarks: up to 15 000 WebSocket clients of one channel in one
 * process, counting what arrives and reading what the server's processes spent on it.
 *
 * Usage: load MODE PORTS TOKEN N PIDS SECONDS [K [RATE]]
 *   fanout  N subscribers, one publisher, bursts of K messages of 200 bytes: closed loop, then at
 * RATE/s join    N connects and joins as fast as they are answered memory  N joined clients, idle
 * Prints one line of `name value` pairs. PORTS: comma list, clients go round them; PIDS: of the
 * server's processes.
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
#include <time.h>
#include <unistd.h>

#define N_MAX        15000
#define PIDS_MAX     80
#define PORTS_MAX    16
#define PAYLOAD      200
#define LATENCY_MAX  4000000
#define CONNECTS_NOW 256 /* handshakes in flight: below the server's backlog */

struct client {
    int fd;
    bool upgraded;
    bool member;
    uint32_t have;
    uint8_t in[1024]; /* start of a frame that is not complete */
};

static struct client clients[N_MAX + 1];
static int ep;
static uint16_t ports[PORTS_MAX];
static int nports;
static const char *token;
static int pids[PIDS_MAX];
static int npids;
static uint64_t delivered;
static uint64_t joined;
static uint64_t latency_us[LATENCY_MAX];
static uint64_t nlatency;
static bool measure_latency;

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CPU time of all tasks of the server's processes: first field of schedstat, ns. */
static uint64_t cpu_ns(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < npids; i++) {
        char path[64];
        unsigned long long v = 0;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/schedstat", pids[i]);
        f = fopen(path, "r");
        if (f == NULL || fscanf(f, "%llu", &v) != 1) {
            die(path);
        }
        fclose(f);
        sum += v;
    }
    return sum;
}

static uint64_t private_dirty(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < npids; i++) {
        char path[64], line[256];
        unsigned long long v;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pids[i]);
        f = fopen(path, "r");
        if (f == NULL) {
            die(path);
        }
        while (fgets(line, sizeof line, f) != NULL) {
            if (sscanf(line, "Private_Dirty: %llu kB", &v) == 1) {
                sum += v * 1024u;
            }
        }
        fclose(f);
    }
    return sum;
}

static void put(int fd, const void *p, size_t n)
{
    if (send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n) {
        die("send");
    }
}

/* One masked client frame (mask 0: the bytes stay readable). */
static size_t frame(uint8_t *o, uint8_t opcode, const uint8_t *p, size_t n)
{
    size_t at = 2;

    o[0] = (uint8_t)(0x80 | opcode);
    if (n < 126) {
        o[1] = (uint8_t)(0x80 | n);
    } else {
        o[1] = 0x80 | 126;
        o[2] = (uint8_t)(n >> 8);
        o[3] = (uint8_t)n;
        at = 4;
    }
    memset(o + at, 0, 4);
    memcpy(o + at + 4, p, n);
    return at + 4 + n;
}

static void start(struct client *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(ports[(c - clients) % nports]),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    char head[4096];
    int on = 1;
    int n = snprintf(head, sizeof head,
                     "GET /socket/websocket?apikey=%s&vsn=2.0.0 HTTP/1.1\r\nHost: bench\r\n"
                     "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     token);

    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
        die("connect");
    }
    put(c->fd, head, (size_t)n);
}

static void join(struct client *c)
{
    static const char text[] = "[\"1\",\"1\",\"realtime:bench\",\"phx_join\",{\"config\":{}}]";
    uint8_t o[128];

    put(c->fd, o, frame(o, 1, (const uint8_t *)text, sizeof text - 1));
}

static void on_delivery(const uint8_t *p, size_t n)
{
    unsigned long long sent;
    char hex[17] = {0};
    size_t at = 5u + p[1] + p[2] + p[3] + 6; /* {"t":" */

    delivered++;
    if (measure_latency && n >= at + 16 && nlatency < LATENCY_MAX) {
        memcpy(hex, p + at, 16);
        sent = strtoull(hex, NULL, 16);
        latency_us[nlatency++] = (now_ns() - sent) / 1000u;
    }
}

static void on_server_frame(struct client *c, uint8_t opcode, const uint8_t *p, size_t n)
{
    if (opcode == 2) {
        on_delivery(p, n);
    } else if (opcode == 1 && !c->member) {
        if (memmem(p, n, "\"status\":\"ok\"", 13) == NULL) {
            fprintf(stderr, "load: join refused: %.*s\n", (int)n, (const char *)p);
            exit(1);
        }
        c->member = true;
        joined++;
    } else if (opcode == 8) {
        fprintf(stderr, "load: closed by the server\n");
        exit(1);
    }
}

/* Takes whole frames off p; returns what is left over. */
static size_t take(struct client *c, const uint8_t *p, size_t n)
{
    if (!c->upgraded) {
        const uint8_t *end = memmem(p, n, "\r\n\r\n", 4);

        if (end == NULL) {
            return n;
        }
        if (memcmp(p, "HTTP/1.1 101", 12) != 0) {
            fprintf(stderr, "load: refused: %.*s\n", (int)n, (const char *)p);
            exit(1);
        }
        c->upgraded = true;
        n -= (size_t)(end + 4 - p);
        p = end + 4;
        join(c);
    }
    while (n >= 2) {
        size_t len = p[1] & 127u;
        size_t head = 2;

        if (len == 126) {
            if (n < 4) {
                break;
            }
            len = (size_t)p[2] << 8 | p[3];
            head = 4;
        }
        if (n < head + len) {
            break;
        }
        on_server_frame(c, p[0] & 15u, p + head, len);
        p += head + len;
        n -= head + len;
    }
    if (n > sizeof c->in) {
        fprintf(stderr, "load: frame too large\n");
        exit(1);
    }
    memmove(c->in, p, n);
    return n;
}

static void poll_once(int ms)
{
    static uint8_t in[262144];
    struct epoll_event ev[512];
    int n = epoll_wait(ep, ev, 512, ms);

    for (int i = 0; i < n; i++) {
        struct client *c = ev[i].data.ptr;
        ssize_t got;

        memcpy(in, c->in, c->have);
        got = recv(c->fd, in + c->have, sizeof in - c->have, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            die("connection ended");
        }
        if (got > 0) {
            c->have = (uint32_t)take(c, in, c->have + (size_t)got);
        }
    }
}

static void connect_all(int n)
{
    int started = 0;
    uint64_t last = now_ns();

    while (joined < (uint64_t)n) {
        uint64_t before = joined;

        while (started < n && (uint64_t)started - joined < CONNECTS_NOW) {
            start(&clients[started++]);
        }
        poll_once(100);
        if (joined != before) {
            last = now_ns();
        } else if (now_ns() - last > 10000000000u) {
            errno = ETIMEDOUT;
            die("no join was answered for 10 s");
        }
    }
}

static void publish(struct client *c, int k)
{
    uint8_t o[(PAYLOAD + 64) * 64], body[PAYLOAD + 64];
    size_t len = 0;

    for (int i = 0; i < k; i++) {
        static char fill[PAYLOAD];

        memset(fill, 'x', sizeof fill);
        /* kind 3: join_ref "1", ref one digit, topic, event "e", no metadata, JSON */
        memcpy(body, "\003\001\001\016\001\000\0011", 8);
        body[8] = (uint8_t)('0' + i % 10);
        memcpy(body + 9, "realtime:benche", 15);
        snprintf((char *)body + 24, PAYLOAD, "{\"t\":\"%016llx\",\"p\":\"",
                 (unsigned long long)now_ns());
        memcpy(body + 24 + 29, fill, PAYLOAD - 31);
        memcpy(body + 24 + PAYLOAD - 2, "\"}", 2);
        len += frame(o + len, 2, body, 24 + PAYLOAD);
    }
    put(c->fd, o, len);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void wait_for(uint64_t count)
{
    uint64_t end = now_ns() + 20000000000u;

    while (delivered < count) {
        poll_once(1000);
        if (now_ns() > end) {
            errno = ETIMEDOUT;
            die("deliveries are missing");
        }
    }
}

static void fanout(int n, double seconds, int k, double rate)
{
    struct client *pub = &clients[n];
    uint64_t base, t0, t1, c0, c1, sent = 0;

    connect_all(n + 1);
    base = delivered;
    /* The publisher is a member too; with self off it gets nothing, so n deliveries per message. */
    for (t0 = now_ns(); now_ns() - t0 < 500000000u;) {
        publish(pub, k);
        sent += (uint64_t)k;
        wait_for(base + sent * (uint64_t)n);
    }
    base = delivered;
    sent = 0;
    c0 = cpu_ns();
    t0 = now_ns();
    while ((double)(now_ns() - t0) < seconds * 1e9) {
        publish(pub, k);
        sent += (uint64_t)k;
        wait_for(base + sent * (uint64_t)n);
    }
    t1 = now_ns();
    c1 = cpu_ns();
    printf("ns_per_delivery %.0f deliveries_per_s %.0f",
           (double)(c1 - c0) / (double)(delivered - base),
           (double)(delivered - base) * 1e9 / (double)(t1 - t0));
    if (rate > 0) {
        measure_latency = true;
        t0 = now_ns();
        sent = 0;
        base = delivered;
        while ((double)(now_ns() - t0) < seconds * 1e9) {
            if ((double)(now_ns() - t0) * rate / 1e9 >= (double)sent) {
                publish(pub, 1);
                sent++;
            }
            poll_once(1);
        }
        wait_for(base + sent * (uint64_t)n);
        qsort(latency_us, nlatency, sizeof latency_us[0], by_value);
        printf(" p50_us %llu p99_us %llu", (unsigned long long)latency_us[nlatency / 2],
               (unsigned long long)latency_us[nlatency * 99 / 100]);
    }
    printf("\n");
}

static void join_rate(int n)
{
    uint64_t c0 = cpu_ns(), t0 = now_ns();

    connect_all(n);
    printf("ns_per_join %.0f joins_per_s %.0f\n", (double)(cpu_ns() - c0) / n,
           (double)n * 1e9 / (double)(now_ns() - t0));
}

static void memory(int n, double seconds)
{
    uint64_t before, after, end;

    connect_all(n / 10); /* what the process needs once is not counted */
    before = private_dirty();
    joined = 0;
    {
        int started = n / 10;
        int first = started;

        while (joined < (uint64_t)(n - first)) {
            while (started < n && (uint64_t)(started - first) - joined < CONNECTS_NOW) {
                start(&clients[started++]);
            }
            poll_once(100);
        }
    }
    for (end = now_ns() + (uint64_t)(seconds * 1e9); now_ns() < end;) {
        poll_once(50);
    }
    after = private_dirty();
    printf("bytes_per_client %.0f\n", (double)(after - before) / (n - n / 10));
}

int main(int argc, char **argv)
{
    struct rlimit lim;
    int n;
    double seconds;

    if (argc < 7) {
        fprintf(stderr, "usage: load fanout|join|memory PORTS TOKEN N PIDS SECONDS [K [RATE]]\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
    for (char *p = argv[2]; *p != '\0' && nports < PORTS_MAX;) {
        ports[nports++] = (uint16_t)strtoul(p, &p, 10);
        p += *p == ',';
    }
    token = argv[3];
    n = (int)strtol(argv[4], NULL, 10);
    seconds = strtod(argv[6], NULL);
    for (char *p = argv[5]; *p != '\0' && npids < PIDS_MAX;) {
        pids[npids++] = (int)strtol(p, &p, 10);
        p += *p == ',';
    }
    if (n < 1 || n > N_MAX) {
        fprintf(stderr, "load: N is %d, it must be 1 to %d\n", n, N_MAX);
        return 2;
    }
    ep = epoll_create1(0);
    if (strcmp(argv[1], "fanout") == 0) {
        fanout(n, seconds, argc > 7 ? (int)strtol(argv[7], NULL, 10) : 1,
               argc > 8 ? strtod(argv[8], NULL) : 0);
    } else if (strcmp(argv[1], "join") == 0) {
        join_rate(n);
    } else {
        memory(n, seconds);
    }
    return 0;
}
