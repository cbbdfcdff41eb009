/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/owner/sockaddr.h"
#include "node/owner/udp.h"

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
/* Ends a test that hangs; nothing waits for it otherwise. */
#define DEADLINE_MS 20000u

/* One socket of the mesh and what it heard. */
struct node {
    struct world *world;
    struct rt_mesh_udp *udp;
    uint32_t heard;
    struct pr_addr from; /* of the last one */
    uint8_t text[RT_SEAL_PAYLOAD_MAX];
    size_t len;
    bool answers, closes;
};

struct world {
    struct rt_loop *loop;
    struct rt_timer deadline;
    struct rt_keyring *keys;
    struct node a, b;
    uint32_t want; /* stop after so many at both */
    int raw;       /* a stranger's socket */
};

static void on_deadline(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for too long");
}

static void on_packet(void *ctx, const struct pr_addr *from, struct pr_slice payload)
{
    struct node *n = ctx;
    struct world *w = n->world;

    n->heard++;
    n->from = *from;
    memcpy(n->text, payload.p, payload.n);
    n->len = payload.n;
    if (n->answers) {
        rt_mesh_udp_send(n->udp, from, payload);
    }
    if (n->closes) {
        rt_mesh_udp_close(n->udp);
        rt_mesh_udp_send(n->udp, from, payload); /* goes nowhere */
        n->udp = NULL;
    }
    if (w->a.heard + w->b.heard >= w->want) {
        rt_loop_stop(w->loop);
    }
}

static struct pr_addr addr_of(const char *text)
{
    struct pr_addr a;

    assert_int_equal(pr_addr_parse(pr_str(text), &a), PR_OK);
    return a;
}

static struct rt_mesh_udp *open_at(struct node *n, const char *listen, uint64_t self,
                                   struct rt_error *err)
{
    struct rt_mesh_udp_setup setup = {.listen = addr_of(listen),
                                      .keys = n->world->keys,
                                      .self = self,
                                      .on_packet = on_packet,
                                      .ctx = n};

    n->udp = rt_mesh_udp_open(n->world->loop, &setup, err);
    return n->udp;
}

static int open_world(void **state)
{
    static struct world w;

    w = (struct world){.loop = rt_loop_new(), .keys = rt_keyring_new(KEY_A, NULL), .raw = -1};
    w.a.world = &w;
    w.b.world = &w;
    assert_non_null(w.keys);
    rt_timer_init(w.loop, &w.deadline, on_deadline, NULL);
    rt_timer_set(&w.deadline, DEADLINE_MS);
    assert_non_null(open_at(&w.a, "127.0.0.1:0", 1, NULL));
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;

    rt_mesh_udp_close(w->a.udp);
    rt_mesh_udp_close(w->b.udp);
    rt_timer_close(&w->deadline, NULL);
    rt_loop_free(w->loop);
    rt_keyring_free(w->keys);
    if (w->raw != -1) {
        (void)close(w->raw);
    }
    return 0;
}

/* Runs until both together have heard `n` more. */
static void run_for(struct world *w, uint32_t n)
{
    w->want = w->a.heard + w->b.heard + n;
    rt_loop_run(w->loop);
    assert_int_equal(w->a.heard + w->b.heard, w->want);
}

static void say(const struct node *from, const struct node *to, const char *text)
{
    struct pr_addr addr = rt_mesh_udp_addr(to->udp);

    rt_mesh_udp_send(from->udp, &addr, pr_str(text));
}

static void assert_heard(const struct node *n, const char *text, const struct node *from)
{
    struct pr_addr addr = rt_mesh_udp_addr(from->udp);

    assert_true(pr_slice_is(pr_bytes(n->text, n->len), text));
    assert_true(pr_addr_eq(&n->from, &addr));
}

static void there_and_back(void **state)
{
    struct world *w = *state;
    struct rt_mesh_udp_counts a, b;

    assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
    assert_true(rt_mesh_udp_addr(w->a.udp).port != 0);
    w->b.answers = true;
    say(&w->a, &w->b, "are you there");
    run_for(w, 2);
    assert_heard(&w->b, "are you there", &w->a);
    assert_heard(&w->a, "are you there", &w->b);
    a = rt_mesh_udp_counts(w->a.udp);
    b = rt_mesh_udp_counts(w->b.udp);
    assert_int_equal(a.sent, 1);
    assert_int_equal(a.sent_bytes, 13 + 44);
    assert_int_equal(a.seal.sealed, 1);
    assert_int_equal(b.received, 1);
    assert_int_equal(b.received_bytes, 13 + 44);
    assert_int_equal(b.seal.opened[RT_SEAL_TAKEN], 1);
    assert_int_equal(b.sent, 1);
    assert_int_equal(a.received, 1);
}

static void longest_and_many(void **state)
{
    struct world *w = *state;
    static uint8_t text[RT_SEAL_PAYLOAD_MAX];
    struct pr_addr to;

    assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
    to = rt_mesh_udp_addr(w->b.udp);
    for (int i = 0; i < 50; i++) { /* more than one turn of the loop takes */
        memset(text, i, sizeof text);
        rt_mesh_udp_send(w->a.udp, &to, pr_bytes(text, sizeof text));
    }
    run_for(w, 50);
    assert_int_equal(w->b.len, sizeof text);
    assert_memory_equal(w->b.text, text, sizeof text);
}

/* A socket of nobody: sends to `n` and says where it sits. */
static struct sockaddr_in stranger(struct world *w)
{
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof me;

    w->raw = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(w->raw, (const struct sockaddr *)&me, sizeof me), 0);
    assert_int_equal(getsockname(w->raw, (struct sockaddr *)&me, &len), 0);
    return me;
}

static void throw(const struct world *w, const void *p, size_t n)
{
    struct sockaddr_storage to;
    struct pr_addr addr = rt_mesh_udp_addr(w->a.udp);
    socklen_t len = rt_sockaddr_of(&addr, AF_INET, &to);

    assert_int_equal(sendto(w->raw, p, n, 0, (const struct sockaddr *)&to, len), n);
}

static size_t caught(const struct world *w, uint8_t out[2048])
{
    ssize_t n = recv(w->raw, out, 2048, 0);

    assert_true(n > 0);
    return (size_t)n;
}

/* A stranger hears a true datagram, and throws it back altered, cut, twice; and noise. Nothing of
 * that is heard or answered, all of it is counted. */
static void property_31_strangers(void **state)
{
    static uint8_t noise[9000], taken[2048], own[2048];
    struct world *w = *state;
    struct sockaddr_in me = stranger(w);
    struct rt_mesh_udp_counts c;
    struct pr_addr back;
    size_t n;

    assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
    assert_true(rt_sockaddr_read((const struct sockaddr *)&me, &back));
    rt_mesh_udp_send(w->a.udp, &back, pr_str("mine"));
    assert_int_equal(caught(w, own), 4 + 44);
    rt_mesh_udp_send(w->b.udp, &back, pr_str("secret words"));
    n = caught(w, taken);
    assert_int_equal(n, 12 + 44);
    assert_null(memmem(taken, n, "secret", 6));
    w->a.answers = true;

    throw(w, own, 4 + 44);  /* reflected */
    throw(w, taken, 0);     /* empty */
    throw(w, taken, 43);    /* shorter than anything */
    throw(w, taken, n - 1); /* cut */
    throw(w, noise, 100);   /* version 0 */
    throw(w, noise, RT_SEAL_PACKET_MAX + 1);
    throw(w, noise, sizeof noise);
    taken[n - 1] ^= 1;
    throw(w, taken, n); /* altered */
    taken[n - 1] ^= 1;
    taken[2] ^= 1;
    throw(w, taken, n); /* a key nobody has */
    taken[2] ^= 1;
    taken[1] = 0;
    throw(w, taken, n); /* says it is not sealed */
    taken[1] = 1;
    throw(w, taken, n); /* the true one, and whoever brings it first is heard */
    throw(w, taken, n); /* replayed */
    say(&w->b, &w->a, "last");
    run_for(w, 2 + 1); /* the true one, the last one, and at b the answer to that */

    assert_true(pr_slice_is(pr_bytes(w->a.text, w->a.len), "last"));
    c = rt_mesh_udp_counts(w->a.udp);
    assert_int_equal(c.received, 13);
    assert_int_equal(c.sent, 1 + 2);
    assert_int_equal(c.seal.opened[RT_SEAL_TAKEN], 2);
    assert_int_equal(c.seal.opened[RT_SEAL_OWN], 1);
    assert_int_equal(c.seal.opened[RT_SEAL_SHORT], 2);
    assert_int_equal(c.seal.opened[RT_SEAL_VERSION], 1);
    assert_int_equal(c.seal.opened[RT_SEAL_OVERSIZE], 2);
    assert_int_equal(c.seal.opened[RT_SEAL_TAG], 2);
    assert_int_equal(c.seal.opened[RT_SEAL_KEY], 1);
    assert_int_equal(c.seal.opened[RT_SEAL_UNSEALED], 1);
    assert_int_equal(c.seal.opened[RT_SEAL_REPLAY], 1);
    assert_int_equal(recv(w->raw, taken, sizeof taken, MSG_DONTWAIT), 12 + 44); /* one answer */
    assert_int_equal(recv(w->raw, taken, sizeof taken, MSG_DONTWAIT), -1);
}

/* A process that starts again under its name has another salt. */
static void property_32_salt_per_boot(void **state)
{
    struct world *w = *state;
    struct sockaddr_in me = stranger(w);
    uint8_t salt[3][8], bytes[2048];
    struct pr_addr back;

    assert_true(rt_sockaddr_read((const struct sockaddr *)&me, &back));
    for (int i = 0; i < 3; i++) {
        rt_mesh_udp_close(w->b.udp);
        assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
        rt_mesh_udp_send(w->b.udp, &back, pr_str("x"));
        assert_int_equal(caught(w, bytes), 1 + 44);
        memcpy(salt[i], bytes + 12, 8);
        for (int k = 0; k < i; k++) {
            assert_memory_not_equal(salt[i], salt[k], 8);
        }
    }
}

static void both_families(void **state)
{
    struct world *w = *state;
    struct pr_addr six = addr_of("[::1]:1"), b;
    struct rt_error err;

    if (open_at(&w->b, "[::]:0", 2, &err) == NULL) {
        print_message("no IPv6 here: %s\n", err.text);
        skip();
    }
    /* From IPv4, and back to it. */
    b = addr_of("127.0.0.1:0");
    b.port = rt_mesh_udp_addr(w->b.udp).port;
    rt_mesh_udp_send(w->a.udp, &b, pr_str("four"));
    run_for(w, 1);
    assert_heard(&w->b, "four", &w->a);
    assert_int_equal(w->b.from.family, PR_ADDR_V4);
    say(&w->b, &w->a, "back");
    run_for(w, 1);
    assert_true(pr_addr_eq(&w->a.from, &b));
    /* An IPv4 socket cannot reach IPv6: dropped and counted, nothing sealed for it. */
    rt_mesh_udp_send(w->a.udp, &six, pr_str("six"));
    assert_int_equal(rt_mesh_udp_counts(w->a.udp).send_failed, 1);
    /* From IPv6 to IPv6. */
    rt_mesh_udp_close(w->a.udp);
    assert_non_null(open_at(&w->a, "[::1]:0", 1, NULL));
    six.port = b.port;
    rt_mesh_udp_send(w->a.udp, &six, pr_str("six"));
    run_for(w, 1);
    assert_heard(&w->b, "six", &w->a);
    assert_int_equal(w->b.from.family, PR_ADDR_V6);
}

static void what_cannot_be_sent(void **state)
{
    struct world *w = *state;
    static const char *const nowhere[] = {"0.0.0.0:0", "255.255.255.255:9", "127.0.0.1:0"};
    struct pr_addr none = {.family = PR_ADDR_NONE};

    for (size_t i = 0; i < 3; i++) { /* no port, a broadcast, which this socket may not */
        struct pr_addr to = addr_of(nowhere[i]);

        rt_mesh_udp_send(w->a.udp, &to, pr_str("x"));
        assert_int_equal(rt_mesh_udp_counts(w->a.udp).send_failed, i + 1);
    }
    rt_mesh_udp_send(w->a.udp, &none, pr_str("x"));
    assert_int_equal(rt_mesh_udp_counts(w->a.udp).send_failed, 4);
    assert_int_equal(rt_mesh_udp_counts(w->a.udp).sent, 0);
}

static void closed_inside_a_callback(void **state)
{
    struct world *w = *state;

    assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
    w->a.closes = true;
    say(&w->b, &w->a, "one");
    say(&w->b, &w->a, "two"); /* nobody hears it */
    run_for(w, 1);
    assert_null(w->a.udp);
    rt_mesh_udp_close(NULL);
}

static void keys_change_under_it(void **state)
{
    struct world *w = *state;

    assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
    say(&w->a, &w->b, "old key");
    run_for(w, 1);
    assert_int_equal(rt_keyring_reload(w->keys, KEY_B, NULL), 1);
    say(&w->a, &w->b, "new key");
    run_for(w, 1);
    assert_heard(&w->b, "new key", &w->a);
}

static void without_keys(void **state)
{
    struct world *w = *state;
    struct rt_keyring *keys = w->keys;

    w->keys = NULL;
    rt_mesh_udp_close(w->a.udp);
    assert_non_null(open_at(&w->a, "127.0.0.1:0", 1, NULL));
    assert_non_null(open_at(&w->b, "127.0.0.1:0", 2, NULL));
    say(&w->a, &w->b, "in the open");
    run_for(w, 1);
    assert_heard(&w->b, "in the open", &w->a);
    w->keys = keys;
}

static void cannot_open(void **state)
{
    struct world *w = *state;
    struct rt_error err = {.code = 0};
    struct pr_addr taken = rt_mesh_udp_addr(w->a.udp);
    struct rt_mesh_udp_setup setup = {.keys = w->keys, .self = 2, .on_packet = on_packet};
    char text[PR_ADDR_TEXT_MAX];

    (void)pr_addr_format(&taken, text, sizeof text);
    assert_null(open_at(&w->b, text, 2, &err));
    assert_int_equal(err.code, RT_EBUSY);
    assert_non_null(strstr(err.text, text));                /* names the address */
    assert_null(open_at(&w->b, "192.0.2.1:7946", 2, &err)); /* RFC 5737: nobody's */
    assert_int_equal(err.code, RT_ESYSTEM);
    assert_non_null(strstr(err.text, "192.0.2.1:7946"));
    assert_null(rt_mesh_udp_open(w->loop, &setup, &err));
    assert_int_equal(err.code, RT_ECONFIG);
}

static void addresses_of_the_system(void **state)
{
    static const struct {
        const char *system, *want; /* IPv6 as the kernel shows it; NULL: none */
    } rows[] = {
        {"::ffff:192.0.2.7", "192.0.2.7:7946"},
        {"2001:db8::1", "[2001:db8::1]:7946"},
        {"::1", "[::1]:7946"},
        {"::", "[::]:7946"},
        {"fe80::1", NULL},
        {"febf::1", NULL},
        {"fec0::1", "[fec0::1]:7946"},
    };
    struct sockaddr_storage out;
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct pr_addr a, b;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(7946)};
        bool ok;

        assert_int_equal(inet_pton(AF_INET6, rows[i].system, &in.sin6_addr), 1);
        ok = rt_sockaddr_read((const struct sockaddr *)&in, &a);
        assert_int_equal(ok, rows[i].want != NULL);
        if (!ok) {
            assert_int_equal(a.family, PR_ADDR_NONE);
            continue;
        }
        b = addr_of(rows[i].want);
        assert_true(pr_addr_eq(&a, &b));
        assert_int_equal(rt_sockaddr_of(&a, AF_INET6, &out), sizeof in);
        assert_memory_equal(&out, &in, sizeof in);
        assert_int_equal(rt_sockaddr_of(&a, AF_INET, &out),
                         a.family == PR_ADDR_V4 ? sizeof(struct sockaddr_in) : 0);
    }
    assert_false(rt_sockaddr_read(&other, &a));
    assert_int_equal(rt_sockaddr_of(&a, AF_UNSPEC, &out), 0);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(there_and_back),
        IN_WORLD(longest_and_many),
        IN_WORLD(property_31_strangers),
        IN_WORLD(property_32_salt_per_boot),
        IN_WORLD(both_families),
        IN_WORLD(what_cannot_be_sent),
        IN_WORLD(closed_inside_a_callback),
        IN_WORLD(keys_change_under_it),
        IN_WORLD(without_keys),
        IN_WORLD(cannot_open),
        cmocka_unit_test(addresses_of_the_system),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
