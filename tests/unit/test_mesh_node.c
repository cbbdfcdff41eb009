/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every message between nodes survives encode and decode with all its fields, and a frame
 * that is shorter, of a wrong type or with a length out of bounds is refused by its reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/mesh_recode.h"

#define CAP 1024u

static uint8_t bytes[CAP], again[CAP], list[256];
static struct pr_frame f;

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint8_t key[] = {'p', 0, '0', 'r', 0xff};
static const struct pr_epoch epoch = {UINT64_MAX, 0x1234567890u, 77};

static struct pr_slice topic(void)
{
    return pr_bytes(key, sizeof key);
}

static struct pr_slice actors(void)
{
    struct pr_outbuf o = pr_outbuf(list, sizeof list);

    pr_actor_put(&o, 0, 1);
    pr_actor_put(&o, UINT32_MAX, UINT64_MAX);
    return pr_bytes(list, o.len);
}

static void make_node_hello(struct pr_outbuf *o)
{
    const struct pr_node_hello m = {
        .cluster = 1,
        .from_id = 2,
        .to_id = UINT64_MAX,
        .epoch = 4,
        .proto_min = 5,
        .proto_max = UINT32_MAX,
        .name = pr_str("web-1"),
        .build = pr_str("0.1.0 (debug)"),
        .addr = {PR_ADDR_V6, 7946, {0xfe, 0x80, [15] = 9}},
        .client_url = pr_str("ws://web-1:4000"),
    };

    pr_node_hello_encode(o, &m);
}

static void make_node_hello_ok(struct pr_outbuf *o)
{
    const struct pr_node_hello_ok m = {1, UINT64_MAX, 3, 4, 5, pr_str("web-2")};

    pr_node_hello_ok_encode(o, &m);
}

static void make_ping(struct pr_outbuf *o)
{
    const struct pr_ping m = {UINT64_MAX};

    pr_ping_encode(o, &m);
}

static void make_pong(struct pr_outbuf *o)
{
    const struct pr_ping m = {300};

    pr_pong_encode(o, &m);
}

static void make_bye(struct pr_outbuf *o)
{
    const struct pr_bye m = {PR_BYE_NAME, pr_str("another node is called web-1")};

    pr_bye_encode(o, &m);
}

static void make_mark(struct pr_outbuf *o)
{
    const struct pr_mark m = {70001, true};

    pr_mark_encode(o, &m);
}

static void make_link_ack(struct pr_outbuf *o)
{
    const struct pr_link_ack m = {70000};

    pr_link_ack_encode(o, &m);
}

static void make_sync_hash(struct pr_outbuf *o)
{
    const struct pr_sync_hash m = {UINT64_MAX, true};

    pr_sync_hash_encode(o, &m);
}

/* Items of any type: what a fact looks like is not known here. */
static const uint8_t facts[] = {0x93, 1, 0xc4, 1, 'x', 0x90, 7, 0x81, 0xa1, 'k', 0xc0};

static void make_sync(struct pr_outbuf *o)
{
    const struct pr_sync m = {true, 3, pr_bytes(facts, sizeof facts)};

    pr_sync_encode(o, &m);
}

static void make_actors(struct pr_outbuf *o)
{
    const struct pr_actors m = {5, 2, actors()};

    pr_actors_encode(o, &m);
}

static void make_cluster(struct pr_outbuf *o)
{
    const struct pr_cluster m = {true, UINT32_MAX};

    pr_cluster_encode(o, &m);
}

static void make_clients(struct pr_outbuf *o)
{
    const struct pr_clients m = {UINT64_MAX, pr_str("p")};

    pr_clients_encode(o, &m);
}

static void make_view(struct pr_outbuf *o)
{
    const struct pr_view m = {UINT64_MAX};

    pr_view_encode(o, &m);
}

static void make_sub_all(struct pr_outbuf *o)
{
    const struct pr_sub_all m = {200};

    pr_sub_all_encode(o, &m);
}

static void make_not_owner(struct pr_outbuf *o)
{
    const struct pr_not_owner m = {4095, UINT64_MAX};

    pr_not_owner_encode(o, &m);
}

static void make_again(struct pr_outbuf *o)
{
    const struct pr_again m = {3};

    pr_again_encode(o, &m);
}

static void make_again_ok(struct pr_outbuf *o)
{
    const struct pr_again m = {4};

    pr_again_ok_encode(o, &m);
}

static void make_resync(struct pr_outbuf *o)
{
    const struct pr_resync m = {topic(), epoch, 1000};

    pr_resync_encode(o, &m);
}

static void make_p_sum(struct pr_outbuf *o)
{
    const struct pr_p_sum m = {2, UINT64_MAX, 100000};

    pr_p_sum_encode(o, &m);
}

static void make_reader(struct pr_outbuf *o)
{
    const struct pr_reader m = {pr_str("default"), 3, UINT64_MAX, 9, PR_READER_HELD, 77, 1};

    pr_reader_encode(o, &m);
}

static const struct {
    uint8_t type;
    enum pr_class cls;
    void (*make)(struct pr_outbuf *o);
} all[] = {
    {0x2c, PR_C_CONTROL, make_mark},          {0x03, PR_C_CONTROL, make_ping},
    {0x04, PR_C_CONTROL, make_pong},          {0x05, PR_C_CONTROL, make_link_ack},
    {0x06, PR_C_CONTROL, make_bye},           {0x08, PR_C_CONTROL, make_node_hello},
    {0x09, PR_C_CONTROL, make_node_hello_ok}, {0x10, PR_C_CONTROL, make_sync_hash},
    {0x11, PR_C_CONTROL, make_sync},          {0x12, PR_C_CONTROL, make_actors},
    {0x23, PR_C_CONTROL, make_sub_all},       {0x24, PR_C_CONTROL, make_not_owner},
    {0x25, PR_C_CONTROL, make_view},          {0x28, PR_C_CONTROL, make_resync},
    {0x2a, PR_C_CONTROL, make_again},         {0x2b, PR_C_CONTROL, make_again_ok},
    {0x54, PR_C_PRESENCE, make_p_sum},        {0x63, PR_C_CHANGES, make_reader},
    {0x13, PR_C_CONTROL, make_cluster},       {0x14, PR_C_CONTROL, make_clients},
};

static size_t make(void (*fn)(struct pr_outbuf *o))
{
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    fn(&o);
    assert_true(pr_out_ok(&o));
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), (long)o.len);
    return o.len;
}

static int recode(size_t *n)
{
    struct pr_outbuf o = pr_outbuf(again, sizeof again);
    int rv = mesh_recode(&f, &o);

    *n = o.len;
    return rv;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        size_t n = make(all[i].make);
        size_t back = 0;

        assert_int_equal(f.type, all[i].type);
        assert_int_equal(f.cls, all[i].cls);
        assert_int_equal(recode(&back), PR_OK);
        assert_int_equal(back, n);
        assert_memory_equal(bytes, again, n);
    }
}

static void test_size_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        struct pr_outbuf o = pr_outbuf(NULL, 0);

        all[i].make(&o);
        assert_int_equal(o.len, make(all[i].make));
    }
}

/* A newer build's frame has more fields; a damaged one ends early or goes on. */
static void test_longer_and_shorter(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        size_t n = make(all[i].make);
        size_t back = 0;

        for (size_t cut = 1; cut <= n - PR_FRAME_HEAD; cut++) {
            f.body.n = n - PR_FRAME_HEAD - cut;
            assert_int_equal(recode(&back), PR_ESHORT);
        }
        f.body.n = n - PR_FRAME_HEAD + 1;
        bytes[n] = 7;
        assert_int_equal(recode(&back), PR_ETRAIL);
        bytes[PR_FRAME_HEAD]++;
        assert_int_equal(recode(&back), PR_OK);
        assert_int_equal(back, n);
        bytes[PR_FRAME_HEAD] = (uint8_t)(bytes[PR_FRAME_HEAD] - 2);
        f.body.n = n - PR_FRAME_HEAD;
        /* READER and CLIENTS got their last field later. */
        assert_int_equal(recode(&back), all[i].make == make_reader || all[i].make == make_clients
                                            ? PR_ETRAIL
                                            : PR_ESHORT);
    }
}

/* Only its own type in its own class; all others are refused before a byte of the body is read. */
static void test_wrong_type_or_class(void **state)
{
    struct pr_ping ping;
    struct pr_again a;
    size_t back = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(all); i++) {
        (void)make(all[i].make);
        f.cls = (uint8_t)(all[i].cls % PR_C_BROADCAST + 1);
        assert_int_equal(recode(&back), PR_EVERSION);
    }
    (void)make(make_ping);
    assert_int_equal(pr_pong_decode(&f, &ping), PR_EVERSION);
    assert_int_equal(pr_ping_decode(&f, &ping), PR_OK);
    (void)make(make_again_ok);
    assert_int_equal(pr_again_decode(&f, &a), PR_EVERSION);
    assert_int_equal(pr_again_ok_decode(&f, &a), PR_OK);
    assert_int_equal(a.gen, 4);
}

static void test_fields_of_hello(void **state)
{
    const struct pr_addr addr = {PR_ADDR_V6, 7946, {0xfe, 0x80, [15] = 9}};
    struct pr_node_hello h;
    struct pr_node_hello_ok ok;
    struct pr_bye bye;

    (void)state;
    (void)make(make_node_hello);
    assert_int_equal(pr_node_hello_decode(&f, &h), PR_OK);
    assert_true(h.cluster == 1 && h.from_id == 2 && h.to_id == UINT64_MAX && h.epoch == 4);
    assert_true(h.proto_min == 5 && h.proto_max == UINT32_MAX && pr_addr_eq(&h.addr, &addr));
    assert_true(pr_slice_is(h.name, "web-1") && pr_slice_is(h.build, "0.1.0 (debug)"));
    assert_true(pr_slice_is(h.client_url, "ws://web-1:4000"));
    (void)make(make_node_hello_ok);
    assert_int_equal(pr_node_hello_ok_decode(&f, &ok), PR_OK);
    assert_true(ok.proto == 1 && ok.from_id == UINT64_MAX && ok.to_id == 3 && ok.epoch == 4);
    assert_true(ok.view_hash == 5 && pr_slice_is(ok.name, "web-2"));
    (void)make(make_bye);
    assert_int_equal(pr_bye_decode(&f, &bye), PR_OK);
    assert_int_equal(bye.code, PR_BYE_NAME);
}

static void test_fields_of_lists(void **state)
{
    struct pr_sync s;
    struct pr_actors a;
    uint32_t index = 1;
    uint64_t boot = 0;

    (void)state;
    (void)make(make_sync);
    assert_int_equal(pr_sync_decode(&f, &s), PR_OK);
    assert_true(s.want_reply && s.nfacts == 3);
    assert_true(pr_slice_eq(s.facts, pr_bytes(facts, sizeof facts)));
    (void)make(make_actors);
    assert_int_equal(pr_actors_decode(&f, &a), PR_OK);
    assert_true(a.epoch == 5 && a.nactors == 2);
    assert_int_equal(pr_actors_next(&a.actors, &index, &boot), 1);
    assert_true(index == 0 && boot == 1);
    assert_int_equal(pr_actors_next(&a.actors, &index, &boot), 1);
    assert_true(index == UINT32_MAX && boot == UINT64_MAX);
    assert_int_equal(pr_actors_next(&a.actors, &index, &boot), 0);
}

static void test_fields_of_others(void **state)
{
    struct pr_resync rs;
    struct pr_not_owner no;
    struct pr_p_sum sum;
    struct pr_reader rd;
    struct pr_sync_hash sh;
    struct pr_cluster c;

    (void)state;
    (void)make(make_cluster);
    assert_int_equal(pr_cluster_decode(&f, &c), PR_OK);
    assert_true(c.joined && c.members == UINT32_MAX);
    (void)make(make_resync);
    assert_int_equal(pr_resync_decode(&f, &rs), PR_OK);
    assert_true(pr_slice_eq(rs.topic, topic()) && pr_epoch_eq(rs.epoch, epoch) && rs.from == 1000);
    (void)make(make_not_owner);
    assert_int_equal(pr_not_owner_decode(&f, &no), PR_OK);
    assert_true(no.part == 4095 && no.view == UINT64_MAX);
    (void)make(make_p_sum);
    assert_int_equal(pr_p_sum_decode(&f, &sum), PR_OK);
    assert_true(sum.kind == 2 && sum.hash == UINT64_MAX && sum.entries == 100000);
    (void)make(make_reader);
    assert_int_equal(pr_reader_decode(&f, &rd), PR_OK);
    assert_true(pr_slice_is(rd.project, "default") && rd.term_timeline == 3 && rd.node == 9);
    assert_true(rd.term_lsn == UINT64_MAX && rd.state == PR_READER_HELD && rd.system == 77);
    assert_int_equal(rd.casts, 1);
    bytes[PR_FRAME_HEAD]--; /* an older peer does not know it */
    f.body.n--;
    assert_int_equal(pr_reader_decode(&f, &rd), PR_OK);
    assert_int_equal(rd.casts, 0);
    (void)make(make_sync_hash);
    assert_int_equal(pr_sync_hash_decode(&f, &sh), PR_OK);
    assert_true(sh.hash == UINT64_MAX && sh.want_reply);
}

/* PUB_OK got a field: both an older and a newer peer's frame are taken. */
static void test_pub_ok_of_an_older_peer(void **state)
{
    static const struct {
        uint8_t body[16];
        uint8_t n;
        int want;
        uint64_t boot;
    } cases[] = {
        {{0x93, 1, 2, 3}, 4, PR_OK, 0},
        {{0x94, 1, 2, 3, 9}, 5, PR_OK, 9},
        {{0x94, 1, 2, 3, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255}, 13, PR_OK, UINT64_MAX},
        {{0x95, 1, 2, 3, 9, 0xc0}, 6, PR_OK, 9},
        {{0x92, 1, 2}, 3, PR_ESHORT, 0},
        {{0x94, 1, 2, 3}, 4, PR_ESHORT, 0},
        {{0x94, 1, 2, 3, 0xc0}, 5, PR_ETYPE, 0},
        {{0x94, 1, 2, 3, 0xcd, 1}, 6, PR_ESHORT, 0},
        {{0x93, 1, 2, 3, 9}, 5, PR_ETRAIL, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pr_pub_ok m;

        f = (struct pr_frame){.type = PR_T_PUB_OK, .cls = PR_C_BROADCAST};
        f.body = pr_bytes(cases[i].body, cases[i].n);
        assert_int_equal(pr_pub_ok_decode(&f, &m), cases[i].want);
        if (cases[i].want == PR_OK) {
            assert_true(m.part == 1 && m.oseq == 2 && m.result == 3 && m.boot == cases[i].boot);
        }
    }
}

static void test_wrong_bodies(void **state)
{
    static const struct {
        const char *name;
        uint8_t type;
        uint8_t body[24];
        uint8_t n;
        int want;
    } cases[] = {
        {"ping: text", PR_T_PING, {0x91, 0xa1, 'x'}, 3, PR_ETYPE},
        {"ping: negative", PR_T_PING, {0x91, 0xff}, 2, PR_ETYPE},
        {"ping: no array", PR_T_PING, {7}, 1, PR_ETYPE},
        {"ping: nothing", PR_T_PING, {0}, 0, PR_ESHORT},
        {"view: bin", PR_T_VIEW, {0x91, 0xc4, 1, 'x'}, 4, PR_ETYPE},
        {"bye: code over 32 bits", PR_T_BYE, {0x92, 0xcf, [5] = 1, [10] = 0xc4}, 12, PR_ERANGE},
        {"bye: text is str", PR_T_BYE, {0x92, 1, 0xa1, 'x'}, 4, PR_ETYPE},
        {"bye: text over its bound", PR_T_BYE, {0x92, 1, 0xc5, 1, 0}, 5, PR_ERANGE},
        {"bye: huge text", PR_T_BYE, {0x92, 1, 0xc6, 255, 255, 255, 255}, 7, PR_ERANGE},
        {"not_owner: part over 32 bits", PR_T_NOT_OWNER, {0x92, 0xcf, [5] = 1}, 11, PR_ERANGE},
        {"sync_hash: number for bool", PR_T_SYNC_HASH, {0x92, 1, 1}, 3, PR_ETYPE},
        {"sync: no facts", PR_T_SYNC, {0x92, 0xc2, 0x90}, 3, PR_OK},
        {"sync: facts are a map", PR_T_SYNC, {0x92, 0xc2, 0x80}, 3, PR_ETYPE},
        {"sync: fewer than said", PR_T_SYNC, {0x92, 0xc2, 0x92, 1}, 4, PR_ESHORT},
        {"sync: more than said", PR_T_SYNC, {0x92, 0xc2, 0x91, 1, 1}, 5, PR_ETRAIL},
        {"sync: an item nobody has", PR_T_SYNC, {0x92, 0xc2, 0x91, 0xc1}, 4, PR_ETYPE},
        {"sync: an item cut", PR_T_SYNC, {0x92, 0xc2, 0x91, 0x92, 1}, 5, PR_ESHORT},
        {"sync: huge item", PR_T_SYNC, {0x92, 0xc2, 0x91, 0xdb, 255, 255, 255, 255}, 8, PR_ESHORT},
        {"sync: huge map", PR_T_SYNC, {0x92, 0xc2, 0x91, 0xdf, 255, 255, 255, 255}, 8, PR_ESHORT},
        {"sync: huge list", PR_T_SYNC, {0x92, 0xc2, 0xdd, 255, 255, 255, 255}, 7, PR_ERANGE},
        {"sync: list over its bound", PR_T_SYNC, {0x92, 0xc2, 0xdd, 0, 1, 0, 1}, 7, PR_ERANGE},
        {"actors: none", PR_T_ACTORS, {0x92, 1, 0x90}, 3, PR_OK},
        {"actors: one with a new field", PR_T_ACTORS, {0x92, 1, 0x91, 0x93, 1, 2, 3}, 7, PR_OK},
        {"actors: no pair", PR_T_ACTORS, {0x92, 1, 0x91, 0x91, 1}, 5, PR_ESHORT},
        {"actors: numbers", PR_T_ACTORS, {0x92, 1, 0x91, 1}, 4, PR_ETYPE},
        {"actors: index is bin", PR_T_ACTORS, {0x92, 1, 0x91, 0x92, 0xc4, 0, 1}, 7, PR_ETYPE},
        {"actors: index over 32 bits",
         PR_T_ACTORS,
         {0x92, 1, 0x91, 0x92, 0xcf, [8] = 1},
         14,
         PR_ERANGE},
        {"actors: fewer than said", PR_T_ACTORS, {0x92, 1, 0x92, 0x92, 1, 2}, 6, PR_ESHORT},
        {"actors: huge list", PR_T_ACTORS, {0x92, 1, 0xdd, 255, 255, 255, 255}, 7, PR_ERANGE},
        {"cluster: number for bool", PR_T_CLUSTER, {0x92, 1, 1}, 3, PR_ETYPE},
        {"cluster: members over 32 bits", PR_T_CLUSTER, {0x92, 0xc3, 0xcf, [6] = 1}, 11, PR_ERANGE},
        {"resync: empty topic", PR_T_RESYNC, {0x95, 0xc4, 0, 1, 1, 1, 1}, 7, PR_ERANGE},
        {"resync: long topic", PR_T_RESYNC, {0x95, 0xc5, 8, 1, 1, 1, 1, 1}, 8, PR_ERANGE},
        {"resync: count over 32 bits",
         PR_T_RESYNC,
         {0x95, 0xc4, 1, 'x', 1, 1, 0xcf, [10] = 1, 1},
         16,
         PR_ERANGE},
        {"p_sum: entries over 32 bits", PR_T_P_SUM, {0x93, 1, 1, 0xcf, [7] = 1}, 12, PR_ERANGE},
        {"reader: project is text", PR_T_READER, {0x96, 0xa1, 'x', 1, 1, 1, 1, 1}, 8, PR_ETYPE},
        {"reader: timeline over 32 bits",
         PR_T_READER,
         {0x96, 0xc4, 0, 0xcf, [7] = 1},
         15,
         PR_ERANGE},
        {"hello_ok: empty name", PR_T_NODE_HELLO_OK, {0x96, 1, 2, 3, 4, 5, 0xc4, 0}, 8, PR_ERANGE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t back = 0;
        int rv = 0;

        f = (struct pr_frame){.type = cases[i].type, .cls = PR_C_CONTROL};
        f.cls = f.type == PR_T_P_SUM    ? PR_C_PRESENCE
                : f.type == PR_T_READER ? PR_C_CHANGES
                                        : PR_C_CONTROL;
        f.body = pr_bytes(cases[i].body, cases[i].n);
        rv = recode(&back);
        if (rv != cases[i].want) {
            fail_msg("%s: %d, expected %d", cases[i].name, rv, cases[i].want);
        }
    }
}

static void test_bounds_of_hello(void **state)
{
    static uint8_t text[PR_TEXT_MAX + 1];
    static uint8_t big[2 * PR_TEXT_MAX];
    static const struct {
        size_t name, build, url;
        int want;
    } cases[] = {
        {1, 0, 0, PR_OK},
        {PR_ID_MAX, PR_ID_MAX, PR_TEXT_MAX, PR_OK},
        {0, 0, 0, PR_ERANGE},
        {PR_ID_MAX + 1, 0, 0, PR_ERANGE},
        {1, PR_ID_MAX + 1, 0, PR_ERANGE},
        {1, 0, PR_TEXT_MAX + 1, PR_ERANGE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pr_outbuf o = pr_outbuf(big, sizeof big);
        struct pr_node_hello m = {
            .name = pr_bytes(text, cases[i].name),
            .build = pr_bytes(text, cases[i].build),
            .client_url = pr_bytes(text, cases[i].url),
        };

        pr_node_hello_encode(&o, &m);
        assert_true(pr_frame_next(pr_bytes(big, o.len), &f) > 0);
        assert_int_equal(pr_node_hello_decode(&f, &m), cases[i].want);
    }
}

/* Only nothing, IPv4 with port and IPv6 with port are addresses. */
static void test_address_of_hello(void **state)
{
    (void)state;
    for (uint8_t n = 0; n <= PR_ADDR_PACKED_MAX + 1; n++) {
        uint8_t body[64] = {0x9a, 1, 2, 3, 4, 5, 6, 0xc4, 1, 'x', 0xc4, 0, 0xc4, n};
        struct pr_node_hello m;
        bool fits = n == 0 || n == 6 || n == 18;

        body[14u + n] = 0xc4; /* client_url, empty */
        f = (struct pr_frame){.type = PR_T_NODE_HELLO, .cls = PR_C_CONTROL};
        f.body = pr_bytes(body, 16u + n);
        assert_int_equal(pr_node_hello_decode(&f, &m), fits ? PR_OK : PR_ERANGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),         cmocka_unit_test(test_size_pass),
        cmocka_unit_test(test_longer_and_shorter), cmocka_unit_test(test_wrong_type_or_class),
        cmocka_unit_test(test_fields_of_hello),    cmocka_unit_test(test_fields_of_lists),
        cmocka_unit_test(test_fields_of_others),   cmocka_unit_test(test_pub_ok_of_an_older_peer),
        cmocka_unit_test(test_wrong_bodies),       cmocka_unit_test(test_bounds_of_hello),
        cmocka_unit_test(test_address_of_hello),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
