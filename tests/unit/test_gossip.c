/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every message and fact survives encode and decode; each way to damage one is refused, and
 * names what was wrong; what a newer build adds is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/mesh_node.h"
#include "proto/mesh_pack.h"
#include "tests/fuzz/gossip_recode.h"

#define CAP     4096u
#define CLUSTER UINT64_C(0x0123456789abcdef)

static uint8_t bytes[CAP], again[CAP];

static struct pr_addr v4(uint8_t last)
{
    struct pr_addr a = {.family = PR_ADDR_V4, .port = 7946};

    a.ip[0] = 10;
    a.ip[3] = last;
    return a;
}

static struct pr_addr v6(void)
{
    struct pr_addr a = {.family = PR_ADDR_V6, .port = 65535};

    memset(a.ip, 0xfe, sizeof a.ip);
    return a;
}

static struct pr_fact plain_fact(void)
{
    struct pr_fact f = {.id = 7, .epoch = 8, .inc = 9, .state = PR_F_ALIVE};

    f.name = pr_str("web-1");
    f.addr = v4(1);
    f.meta = (struct pr_meta){.roles = PR_NODE_OWNER | PR_NODE_EDGE,
                              .ready = true,
                              .weight = 100,
                              .edges = 8,
                              .sockets100 = 123,
                              .proto_min = 1,
                              .proto_max = 2};
    f.meta.build = pr_str("0.1.0");
    f.meta.url = pr_str("wss://a.example/socket");
    f.meta.zone = pr_str("z1");
    return f;
}

/* Everything as long as it may be. */
static struct pr_fact longest_fact(void)
{
    static uint8_t text[256];
    struct pr_fact f = {.id = UINT64_MAX, .epoch = UINT64_MAX, .inc = UINT32_MAX};

    memset(text, 'x', sizeof text);
    f.state = PR_F_LEFT;
    f.name = pr_bytes(text, PR_NODE_NAME_MAX);
    f.addr = v6();
    f.meta = (struct pr_meta){.roles = UINT32_MAX,
                              .ready = true,
                              .draining = true,
                              .weight = PR_WEIGHT_MAX,
                              .edges = UINT32_MAX,
                              .sockets100 = UINT32_MAX,
                              .proto_min = UINT32_MAX,
                              .proto_max = UINT32_MAX};
    f.meta.build = pr_bytes(text, PR_META_BUILD_MAX);
    f.meta.url = pr_bytes(text, PR_META_URL_MAX);
    f.meta.zone = pr_bytes(text, PR_META_ZONE_MAX);
    return f;
}

static void same_fact(const struct pr_fact *a, const struct pr_fact *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->inc, b->inc);
    assert_int_equal(a->state, b->state);
    assert_true(pr_slice_eq(a->name, b->name));
    assert_true(pr_addr_eq(&a->addr, &b->addr));
    assert_int_equal(a->meta.roles, b->meta.roles);
    assert_int_equal(a->meta.ready, b->meta.ready);
    assert_int_equal(a->meta.draining, b->meta.draining);
    assert_int_equal(a->meta.weight, b->meta.weight);
    assert_int_equal(a->meta.edges, b->meta.edges);
    assert_int_equal(a->meta.sockets100, b->meta.sockets100);
    assert_int_equal(a->meta.proto_min, b->meta.proto_min);
    assert_int_equal(a->meta.proto_max, b->meta.proto_max);
    assert_true(pr_slice_eq(a->meta.build, b->meta.build));
    assert_true(pr_slice_eq(a->meta.url, b->meta.url));
    assert_true(pr_slice_eq(a->meta.zone, b->meta.zone));
}

static void facts_survive(void **state)
{
    const struct pr_fact in[] = {plain_fact(), longest_fact(), plain_fact()};
    struct pr_outbuf o = pr_outbuf(bytes, CAP);
    struct pr_outbuf copy = pr_outbuf(again, CAP);
    struct pr_slice list;
    struct pr_fact f;

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        size_t before = o.len;

        pr_fact_put(&o, &in[i]);
        assert_true(pr_out_ok(&o) && o.len - before <= PR_FACT_MAX);
        assert_true(pr_fact_valid(&in[i]));
    }
    assert_int_equal(facts_recode(pr_bytes(bytes, o.len), &copy), 0);
    assert_int_equal(copy.len, o.len);
    assert_memory_equal(bytes, again, o.len);
    list = pr_bytes(bytes, o.len);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pr_fact_next(&list, &f), 1);
        same_fact(&f, &in[i]);
    }
    assert_int_equal(pr_fact_next(&list, &f), 0);
}

/* Each row: one field outside of its bounds. */
static struct pr_fact wrong_fact(unsigned row, const char **what, int *err)
{
    static const char *const names[] = {"id 0",       "state 0",       "state 5",    "no name",
                                        "long name",  "space in name", "no address", "weight 1001",
                                        "proto 2-1",  "build 33",      "url 129",    "zone 33",
                                        "NUL in name"};
    static uint8_t text[256];
    struct pr_fact f = plain_fact();

    memset(text, 'x', sizeof text);
    *what = row < sizeof names / sizeof names[0] ? names[row] : NULL;
    *err = PR_ERANGE;
    f.id = row == 0 ? 0 : f.id;
    f.state = row == 1 ? 0 : row == 2 ? 5 : f.state;
    f.name = row == 3 ? pr_bytes(text, 0) : row == 4 ? pr_bytes(text, 64) : f.name;
    f.name = row == 5 ? pr_str("a b") : row == 12 ? pr_bytes("a\0b", 3) : f.name;
    f.addr.family = row == 6 ? PR_ADDR_NONE : f.addr.family;
    f.meta.weight = row == 7 ? 1001 : f.meta.weight;
    f.meta.proto_min = row == 8 ? 3 : f.meta.proto_min;
    f.meta.build = row == 9 ? pr_bytes(text, 33) : f.meta.build;
    f.meta.url = row == 10 ? pr_bytes(text, 129) : f.meta.url;
    f.meta.zone = row == 11 ? pr_bytes(text, 33) : f.meta.zone;
    *err = row == 5 || row == 12 ? PR_ESYNTAX : PR_ERANGE;
    return f;
}

static void facts_outside_of_bounds_are_refused(void **state)
{
    const char *what = NULL;
    unsigned row = 0;
    int err = 0;

    (void)state;
    for (struct pr_fact f = wrong_fact(0, &what, &err); what != NULL;
         f = wrong_fact(++row, &what, &err)) {
        struct pr_outbuf o = pr_outbuf(bytes, CAP);
        struct pr_slice list;
        struct pr_fact out;

        pr_fact_put(&o, &f);
        list = pr_bytes(bytes, o.len);
        if (pr_fact_valid(&f) || pr_fact_next(&list, &out) != err) {
            fail_msg("%s", what);
        }
    }
}

static struct pr_gossip_msg message(unsigned which)
{
    struct pr_gossip_msg m = {0};

    m.fact = (struct pr_fact){.id = 3, .epoch = UINT64_MAX};
    m.seq = 77;
    switch (which) {
    case 0:
        m.type = PR_G_PING;
        break;
    case 1:
        m.type = PR_G_PING_REQ;
        m.fact.addr = v6();
        break;
    case 2:
        m.type = PR_G_ACK;
        m.fact = (struct pr_fact){0};
        m.view = UINT64_MAX;
        break;
    case 3:
        m.type = PR_G_NACK;
        m.fact = (struct pr_fact){0};
        break;
    case 4:
    case 5:
        m.type = PR_G_ALIVE;
        m.seq = 0;
        m.fact = which == 4 ? plain_fact() : longest_fact();
        m.fact.state = PR_F_ALIVE;
        break;
    default:
        m.type = which == 6 ? PR_G_SUSPECT : PR_G_DEAD;
        m.seq = 0;
        m.from = which == 8 ? 3 : 4;
        m.fact.inc = 5;
        m.fact.state = which == 6 ? PR_F_SUSPECT : which == 7 ? PR_F_DEAD : PR_F_LEFT;
        break;
    }
    return m;
}
#define MESSAGES 9u

static size_t packet_of_all(void)
{
    struct pr_outbuf o = pr_outbuf(bytes, CAP);
    struct pr_gossip_out w = pr_gossip_begin(&o, 1, CLUSTER);

    for (unsigned i = 0; i < MESSAGES; i++) {
        struct pr_gossip_msg m = message(i);
        size_t before = o.len;

        pr_gossip_put(&w, &m);
        assert_int_equal(pr_gossip_size(&m), o.len - before);
    }
    pr_gossip_end(&w);
    assert_true(pr_out_ok(&o));
    return o.len;
}

static void messages_survive(void **state)
{
    struct pr_slice in = pr_bytes(bytes, packet_of_all());
    struct pr_gossip g;
    struct pr_gossip_msg m;

    (void)state;
    assert_int_equal(pr_gossip_open(in, &g), PR_OK);
    assert_int_equal(g.proto, 1);
    assert_int_equal(g.cluster, CLUSTER);
    assert_int_equal(g.nmsgs, MESSAGES);
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct pr_gossip_msg want = message(i);

        assert_int_equal(pr_gossip_next(&g.msgs, &m), 1);
        assert_int_equal(m.type, want.type);
        assert_int_equal(m.seq, want.seq);
        assert_int_equal(m.view, want.view);
        assert_int_equal(m.from, want.from);
        same_fact(&m.fact, &want.fact);
    }
    assert_int_equal(pr_gossip_next(&g.msgs, &m), 0);
}

static void packet_recodes_to_itself(void **state)
{
    size_t n = packet_of_all();
    struct pr_outbuf o = pr_outbuf(again, CAP);

    (void)state;
    assert_int_equal(gossip_recode(pr_bytes(bytes, n), &o), 0);
    assert_int_equal(o.len, n);
    assert_memory_equal(bytes, again, n);
}

/* Cut anywhere, or with anything behind, it is refused as a whole. */
static void property_34_cut_packets_are_refused(void **state)
{
    size_t n = packet_of_all();
    struct pr_gossip g;

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        assert_true(pr_gossip_open(pr_bytes(bytes, cut), &g) < 0);
    }
    bytes[n] = 0;
    assert_int_equal(pr_gossip_open(pr_bytes(bytes, n + 1), &g), PR_ETRAIL);
}

static void small_buffers_are_not_passed(void **state)
{
    struct pr_gossip_msg m = message(5);
    uint8_t small[64];

    (void)state;
    for (size_t cap = 0; cap <= sizeof small; cap++) {
        struct pr_outbuf o = pr_outbuf(small, cap);
        struct pr_gossip_out w = pr_gossip_begin(&o, 1, CLUSTER);

        pr_gossip_put(&w, &m);
        pr_gossip_end(&w);
        assert_false(pr_out_ok(&o));
    }
}

/* By hand: what our own writer cannot make. */
static void put_head(struct pr_outbuf *o, uint64_t proto, uint32_t fields, uint32_t msgs)
{
    *o = pr_outbuf(bytes, CAP);
    pr_mp_put_array(o, fields);
    pr_mp_put_uint(o, proto);
    pr_mp_put_uint(o, CLUSTER);
    pr_mp_put_array(o, msgs);
}

static int open_of(const struct pr_outbuf *o, struct pr_gossip *g)
{
    return pr_gossip_open(pr_bytes(bytes, o->len), g);
}

static void newer_builds_are_understood(void **state)
{
    struct pr_outbuf o;
    struct pr_gossip g;
    struct pr_gossip_msg m;

    (void)state;
    put_head(&o, 1, 4, 3);
    pr_mp_put_array(&o, 3); /* a message of an unknown type, with a list inside */
    pr_mp_put_uint(&o, 99);
    pr_mp_put_array(&o, 2);
    pr_mp_put_uint(&o, 1);
    pr_mp_put_bin(&o, pr_str("x"));
    pr_mp_put_bool(&o, true);
    pr_mp_put_array(&o, 4); /* NACK with two more fields */
    pr_mp_put_uint(&o, PR_G_NACK);
    pr_mp_put_uint(&o, 5);
    pr_mp_put_uint(&o, 6);
    pr_mp_put_bin(&o, pr_str("y"));
    pr_mp_put_array(&o, 1); /* unknown, and empty */
    pr_mp_put_uint(&o, 0);
    pr_mp_put_uint(&o, 1); /* a field behind the messages */
    assert_int_equal(open_of(&o, &g), PR_OK);
    assert_int_equal(g.nmsgs, 3);
    assert_int_equal(pr_gossip_next(&g.msgs, &m), 1);
    assert_int_equal(m.type, PR_G_UNKNOWN);
    assert_int_equal(pr_gossip_next(&g.msgs, &m), 1);
    assert_int_equal(m.type, PR_G_NACK);
    assert_int_equal(m.seq, 5);
    assert_int_equal(pr_gossip_next(&g.msgs, &m), 1);
    assert_int_equal(m.type, PR_G_UNKNOWN);
}

static void other_protocols_are_told_apart(void **state)
{
    struct pr_outbuf o;
    struct pr_gossip g;

    (void)state;
    put_head(&o, PR_PROTO_MAX + 1, 3, 0);
    assert_int_equal(open_of(&o, &g), PR_EVERSION);
    put_head(&o, 0, 3, 0);
    assert_int_equal(open_of(&o, &g), PR_EVERSION);
    put_head(&o, UINT64_C(1) << 32, 3, 0);
    assert_int_equal(open_of(&o, &g), PR_ERANGE);
    put_head(&o, 1, 3, 0);
    assert_int_equal(open_of(&o, &g), PR_OK);
    put_head(&o, 1, 2, 0);
    assert_int_equal(open_of(&o, &g), PR_ESHORT);
}

/* One message of the type with these numbers behind it. */
static void wrong_messages_are_refused(void **state)
{
    static const struct {
        const char *what;
        uint64_t type, n, field[4];
        int err;
    } rows[] = {
        {"PING to nobody", PR_G_PING, 3, {1, 0, 2}, PR_ERANGE},
        {"PING too short", PR_G_PING, 2, {1, 3}, PR_ESHORT},
        {"PING with a large seq", PR_G_PING, 3, {UINT64_C(1) << 32, 3, 2}, PR_ERANGE},
        {"PING_REQ with a number as address", PR_G_PING_REQ, 4, {1, 2, 3, 4}, PR_ETYPE},
        {"ACK too short", PR_G_ACK, 1, {1}, PR_ESHORT},
        {"NACK with nothing", PR_G_NACK, 0, {0}, PR_ESHORT},
        {"ALIVE too short", PR_G_ALIVE, 4, {1, 2, 3, 4}, PR_ESHORT},
        {"SUSPECT of nobody", PR_G_SUSPECT, 4, {0, 1, 1, 4}, PR_ERANGE},
        {"SUSPECT by nobody", PR_G_SUSPECT, 4, {1, 1, 1, 0}, PR_ERANGE},
        {"SUSPECT with a large inc", PR_G_SUSPECT, 4, {1, 1, UINT64_C(1) << 32, 2}, PR_ERANGE},
        {"DEAD too short", PR_G_DEAD, 3, {1, 1, 1}, PR_ESHORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o;
        struct pr_gossip g;

        put_head(&o, 1, 3, 1);
        pr_mp_put_array(&o, (uint32_t)rows[i].n + 1);
        pr_mp_put_uint(&o, rows[i].type);
        for (uint64_t k = 0; k < rows[i].n; k++) {
            pr_mp_put_uint(&o, rows[i].field[k]);
        }
        if (open_of(&o, &g) != rows[i].err) {
            fail_msg("%s: %d", rows[i].what, open_of(&o, &g));
        }
    }
}

static void ping_req_needs_an_address(void **state)
{
    struct pr_gossip_msg m = message(1);
    struct pr_outbuf o = pr_outbuf(bytes, CAP);
    struct pr_gossip_out w = pr_gossip_begin(&o, 1, CLUSTER);
    struct pr_gossip g;

    (void)state;
    m.fact.addr = (struct pr_addr){0};
    pr_gossip_put(&w, &m);
    pr_gossip_end(&w);
    assert_int_equal(open_of(&o, &g), PR_ERANGE);
}

static void property_34_huge_counts_cost_nothing(void **state)
{
    struct pr_outbuf o;
    struct pr_gossip g;

    (void)state;
    put_head(&o, 1, 3, PR_LIST_MAX);
    assert_int_equal(open_of(&o, &g), PR_ESHORT);
    put_head(&o, 1, 3, PR_LIST_MAX + 1);
    assert_int_equal(open_of(&o, &g), PR_ERANGE);
    put_head(&o, 1, 3, 1);
    pr_mp_put_array(&o, PR_LIST_MAX);
    pr_mp_put_uint(&o, 99);
    assert_int_equal(open_of(&o, &g), PR_ESHORT);
}

static void facts_travel_in_sync_frames(void **state)
{
    const struct pr_fact f = longest_fact();
    struct pr_outbuf facts = pr_outbuf(bytes, CAP);
    struct pr_outbuf frame = pr_outbuf(again, CAP);
    struct pr_sync sync = {.want_reply = true, .nfacts = 1};
    struct pr_frame in;
    struct pr_sync got;
    struct pr_fact out;

    (void)state;
    pr_fact_put(&facts, &f);
    sync.facts = pr_bytes(bytes, facts.len);
    pr_sync_encode(&frame, &sync);
    assert_true(pr_frame_next(pr_bytes(again, frame.len), &in) > 0);
    assert_int_equal(pr_sync_decode(&in, &got), PR_OK);
    assert_int_equal(pr_fact_next(&got.facts, &out), 1);
    same_fact(&out, &f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_survive),
        cmocka_unit_test(facts_outside_of_bounds_are_refused),
        cmocka_unit_test(messages_survive),
        cmocka_unit_test(packet_recodes_to_itself),
        cmocka_unit_test(property_34_cut_packets_are_refused),
        cmocka_unit_test(small_buffers_are_not_passed),
        cmocka_unit_test(newer_builds_are_understood),
        cmocka_unit_test(other_protocols_are_told_apart),
        cmocka_unit_test(wrong_messages_are_refused),
        cmocka_unit_test(ping_req_needs_an_address),
        cmocka_unit_test(property_34_huge_counts_cost_nothing),
        cmocka_unit_test(facts_travel_in_sync_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
