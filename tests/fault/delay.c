/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delay.c - a slow line between network namespaces: a TUN device in each, and packets that are
 * passed on after a time drawn anew for each, so that they also overtake each other.
 *
 * Usage: delay MIN_MS MAX_MS SEED PID:ADDRESS...
 *
 * PID is any process in the namespace, ADDRESS what its side of the line is called; a packet goes
 * to the namespace whose address it is sent to. Who uses the line is decided by routes to the
 * device `far0`. Prints "ready" when all devices are up, ends when its standard input does, and
 * then prints how many packets it passed on and how many it had no room for.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SIDES_MAX   8
#define PACKETS_MAX 1024
#define MTU         1500
#define US_PER_MS   1000u

struct side {
    int fd;
    struct in_addr address;
};

struct packet {
    const struct side *to;
    size_t len;
    uint8_t bytes[MTU];
};

static struct side side[SIDES_MAX];
static int sides;
static struct packet packet[PACKETS_MAX];
static uint64_t due_us[PACKETS_MAX]; /* of the packet with this index; 0: unused */
static uint64_t chance;              /* state of xorshift64 */
static uint64_t min_us, max_us;
static unsigned long passed, dropped;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static uint64_t draw(uint64_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance % below;
}

/* Makes the device in the namespace of the process; it stays there when this one goes on to the
 * next. */
static void open_side(const char *arg)
{
    struct ifreq want = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "far0"};
    struct side *s = &side[sides];
    char path[64], *colon;
    long pid = strtol(arg, &colon, 10);
    int ns, ctl;

    if (sides == SIDES_MAX || *colon != ':' || inet_pton(AF_INET, colon + 1, &s->address) != 1) {
        (void)fprintf(stderr, "'%s' is not PID:ADDRESS, or there are too many\n", arg);
        exit(2);
    }
    (void)snprintf(path, sizeof path, "/proc/%ld/ns/net", pid);
    ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0) {
        die(path);
    }
    (void)close(ns);
    s->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (s->fd < 0 || ioctl(s->fd, TUNSETIFF, &want) != 0) {
        die("/dev/net/tun");
    }
    ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    want.ifr_flags = IFF_UP | IFF_RUNNING | IFF_NOARP;
    if (ctl < 0 || ioctl(ctl, SIOCSIFFLAGS, &want) != 0) {
        die("far0");
    }
    (void)close(ctl);
    sides++;
}

/* The index of an unused packet, PACKETS_MAX if there is none. */
static int room(void)
{
    int i = 0;

    while (i < PACKETS_MAX && due_us[i] != 0) {
        i++;
    }
    return i;
}

/* To whom the IPv4 packet goes; NULL for what the kernel sends by itself (IPv6). */
static const struct side *receiver(const uint8_t *bytes, size_t len)
{
    for (int i = 0; i < sides && len >= 20 && bytes[0] >> 4 == 4; i++) {
        if (memcmp(bytes + 16, &side[i].address, 4) == 0) {
            return &side[i];
        }
    }
    return NULL;
}

static void take(const struct side *from, uint64_t now)
{
    static uint8_t lost[MTU];

    for (;;) {
        int i = room();
        uint8_t *bytes = i < PACKETS_MAX ? packet[i].bytes : lost;
        ssize_t n = read(from->fd, bytes, MTU);
        const struct side *to;

        if (n <= 0) {
            return;
        }
        to = receiver(bytes, (size_t)n);
        if (to != NULL && i < PACKETS_MAX) {
            packet[i].to = to;
            packet[i].len = (size_t)n;
            due_us[i] = now + min_us + draw(max_us - min_us + 1);
        } else if (to != NULL) {
            dropped++;
        }
    }
}

/* Passes on what is due, in the order of its time; says when the next one is, UINT64_MAX: none
 * waits. */
static uint64_t pass(uint64_t now)
{
    for (;;) {
        int first = -1;

        for (int i = 0; i < PACKETS_MAX; i++) {
            if (due_us[i] != 0 && (first == -1 || due_us[i] < due_us[first])) {
                first = i;
            }
        }
        if (first == -1 || due_us[first] > now) {
            return first == -1 ? UINT64_MAX : due_us[first];
        }
        if (write(packet[first].to->fd, packet[first].bytes, packet[first].len) > 0) {
            passed++;
        } else {
            dropped++;
        }
        due_us[first] = 0;
    }
}

static void run(void)
{
    struct pollfd fds[SIDES_MAX + 1];
    uint64_t next = UINT64_MAX;

    for (int i = 0; i < sides; i++) {
        fds[i] = (struct pollfd){.fd = side[i].fd, .events = POLLIN};
    }
    fds[sides] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        uint64_t now = now_us(), wait_us = next > now ? next - now : 0;
        struct timespec wait = {(time_t)(wait_us / 1000000u), (long)(wait_us % 1000000u) * 1000};

        if (ppoll(fds, (nfds_t)sides + 1, next == UINT64_MAX ? NULL : &wait, NULL) < 0) {
            die("ppoll");
        }
        if (fds[sides].revents != 0) {
            return;
        }
        now = now_us();
        for (int i = 0; i < sides; i++) {
            take(&side[i], now);
        }
        next = pass(now);
    }
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        (void)fprintf(stderr, "usage: delay MIN_MS MAX_MS SEED PID:ADDRESS PID:ADDRESS...\n");
        return 2;
    }
    min_us = strtoull(argv[1], NULL, 10) * US_PER_MS;
    max_us = strtoull(argv[2], NULL, 10) * US_PER_MS;
    chance = strtoull(argv[3], NULL, 10) | 1u;
    if (max_us < min_us) {
        (void)fprintf(stderr, "MAX_MS is less than MIN_MS\n");
        return 2;
    }
    for (int i = 4; i < argc; i++) {
        open_side(argv[i]);
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    run();
    (void)printf("%lu passed on, %lu dropped\n", passed, dropped);
    return 0;
}
