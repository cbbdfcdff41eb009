/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every message survives encode and decode; each of them cut, of a wrong type, or with more
 * behind it is refused; longer arrays of a newer build are accepted. Bytes by hand:
 * test_mesh_fields.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/mesh_recode.h"

#define CAP 4096u

static uint8_t bytes[CAP], again[CAP], lists[8][256];
static struct pr_frame f;

static const struct pr_epoch epoch = {UINT64_MAX, 0x1234567890u, 77};
static const uint8_t key[] = {'p', 0, '0', 'r', 0xff};
#define TOPIC                                                                                      \
    {                                                                                              \
        .p = key, .n = sizeof key                                                                  \
    }

static void make_control(struct pr_outbuf *o, unsigned which)
{
    const struct pr_hello hello = {1, 2, PR_ROLE_DB, 63, UINT64_MAX, pr_str("p")};
    const struct pr_hello_ok hello_ok = {1, 5, 1u << 31, pr_str("web-1")};
    const struct pr_sub sub = {TOPIC, true, epoch, 1000, {epoch, UINT64_MAX}};
    const struct pr_sub_ok sub_ok = {TOPIC, epoch, 0, {epoch, 1}};
    const struct pr_unsub unsub = {TOPIC};
    const struct pr_pub pub = {4095, TOPIC, 200, 70000, PR_PUB_ACK, pr_str("{\"a\":1}")};
    const struct pr_pub_ok pub_ok = {4095, 70000, PR_PUB_FULL, UINT64_MAX};
    const struct pr_event ev = {TOPIC, epoch, 1, 2, 3, 4, 5, pr_str(""), {epoch, 7}};
    const struct pr_ctl ctl = {9, pr_str("topics"), pr_str("{}")};
    const struct pr_ctl_reply reply = {9, true, pr_str("{}\n{}\n")};

    switch (which) {
    case 0:
        pr_hello_encode(o, &hello);
        break;
    case 1:
        pr_hello_ok_encode(o, &hello_ok);
        break;
    case 2:
        pr_sub_encode(o, &sub);
        break;
    case 3:
        pr_sub_ok_encode(o, &sub_ok);
        break;
    case 4:
        pr_unsub_encode(o, &unsub);
        break;
    case 5:
        pr_pub_encode(o, &pub);
        break;
    case 6:
        pr_pub_ok_encode(o, &pub_ok);
        break;
    case 7:
        pr_event_encode(o, &ev);
        break;
    case 8:
        pr_ctl_encode(o, &ctl);
        break;
    case 9:
        pr_ctl_reply_encode(o, &reply);
        break;
    default:
        pr_attached_encode(o);
        break;
    }
}

static struct pr_slice pack(unsigned slot, void (*fill)(struct pr_outbuf *o))
{
    struct pr_outbuf o = pr_outbuf(lists[slot], sizeof lists[slot]);

    fill(&o);
    assert_true(pr_out_ok(&o));
    return pr_bytes(lists[slot], o.len);
}

static void fill_adds(struct pr_outbuf *o)
{
    const struct pr_pent a = {7, 1, pr_str("ann"), pr_str("{}")};
    const struct pr_pent b = {UINT64_MAX, UINT32_MAX, pr_str(""), pr_str("")};

    pr_padd_put(o, &a);
    pr_padd_put(o, &b);
}

static void fill_dels(struct pr_outbuf *o)
{
    pr_pdel_put(o, 3);
    pr_pdel_put(o, 300);
    pr_pdel_put(o, UINT64_MAX);
}

static void fill_shown(struct pr_outbuf *o)
{
    const struct pr_pshown a = {pr_str("ann"), pr_str("{}"), 1, 2, 3};

    pr_pshown_put(o, &a);
}

static void fill_strs(struct pr_outbuf *o)
{
    pr_str_put(o, pr_str("id"));
    pr_str_put(o, pr_str(""));
}

static void fill_targets(struct pr_outbuf *o)
{
    pr_chg_target_put(o, 1, 2);
    pr_chg_target_put(o, UINT64_MAX, UINT32_MAX);
}

static void fill_bodies(struct pr_outbuf *o)
{
    const struct pr_chg_body b = {
        .pos = {5, 6},
        .kind = PR_K_UPDATE,
        .data = pr_str("{\"type\":\"UPDATE\"}"),
        .ntargets = 2,
        .targets = pack(7, fill_targets),
    };

    pr_chg_body_put(o, &b);
    pr_chg_body_put(o, &b);
}

static void make_presence(struct pr_outbuf *o, unsigned which)
{
    const struct pr_p_delta delta = {TOPIC, 5, 6, 7, 2, 3, pack(0, fill_adds), pack(1, fill_dels)};
    const struct pr_p_digest digest = {1, UINT64_MAX, 3};
    const struct pr_p_pull pull = {{0}, 5, 6};
    const struct pr_p_view_get get = {TOPIC};
    const struct pr_p_view view = {TOPIC, true, false, 1, pack(2, fill_shown)};
    const struct pr_p_diff diff = {TOPIC, 1, 1, pack(3, fill_shown), pack(4, fill_shown)};

    switch (which) {
    case 0:
        pr_p_delta_encode(o, &delta);
        break;
    case 1:
        pr_p_digest_encode(o, &digest);
        break;
    case 2:
        pr_p_pull_encode(o, &pull);
        break;
    case 3:
        pr_p_view_get_encode(o, &get);
        break;
    case 4:
        pr_p_view_encode(o, &view);
        break;
    default:
        pr_p_diff_encode(o, &diff);
        break;
    }
}

static void make_changes(struct pr_outbuf *o, unsigned which)
{
    const struct pr_chg_reg reg = {
        .project = pr_str("default"),
        .boot = 1,
        .handle = 2,
        .event = pr_str("*"),
        .schema = pr_str("public"),
        .table = pr_str("t"),
        .has_filter = true,
        .filter = pr_str("id=eq.1"),
        .has_select = true,
        .nselect = 2,
        .select = pack(5, fill_strs),
        .role = pr_str("anon"),
        .claims = pr_str("{}"),
    };
    const struct pr_chg_unreg unreg = {pr_str("default"), 1, 2};
    const struct pr_chg_reg_ok ok = {pr_str("default"), 1, 2, PR_CHG_REFUSED, pr_str("no"), 9};
    const struct pr_chg_sync sync = {pr_str("default"), 3};
    const struct pr_chg_synced synced = {pr_str("default"), 1, 3};
    const struct pr_chg_sys sys = {pr_str("default"), 0, 0, false, pr_str("gone")};
    const struct pr_chg_gone gone = {99};
    const struct pr_chg chg = {pr_str("default"), 8, {1, 2},
                               {3, UINT64_MAX},   2, pack(6, fill_bodies)};
    const struct pr_chg_ok chg_ok = {pr_str("default"), 1, 8, {3, 4}};

    switch (which) {
    case 0:
        pr_chg_reg_encode(o, &reg);
        break;
    case 1:
        pr_chg_unreg_encode(o, &unreg);
        break;
    case 2:
        pr_chg_reg_ok_encode(o, &ok);
        break;
    case 3:
        pr_chg_sync_encode(o, &sync);
        break;
    case 4:
        pr_chg_synced_encode(o, &synced);
        break;
    case 5:
        pr_chg_sys_encode(o, &sys);
        break;
    case 6:
        pr_chg_gone_encode(o, &gone);
        break;
    case 7:
        pr_chg_encode(o, &chg);
        break;
    default:
        pr_chg_ok_encode(o, &chg_ok);
        break;
    }
}

#define CONTROL  11u
#define PRESENCE 6u
#define CHANGES  9u
#define ALL      (CONTROL + PRESENCE + CHANGES)

static size_t make(unsigned which)
{
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (which < CONTROL) {
        make_control(&o, which);
    } else if (which < CONTROL + PRESENCE) {
        make_presence(&o, which - CONTROL);
    } else {
        make_changes(&o, which - CONTROL - PRESENCE);
    }
    assert_true(pr_out_ok(&o));
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), (long)o.len);
    return o.len;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALL; i++) {
        size_t n = make(i);
        struct pr_outbuf o = pr_outbuf(again, sizeof again);

        if (mesh_recode(&f, &o) != PR_OK || o.len != n || memcmp(bytes, again, n) != 0) {
            fail_msg("message %u (type %02x) does not come back", i, f.type);
        }
    }
}

/* What was encoded is what is decoded: the fields of the largest messages, one by one. */
static void test_fields(void **state)
{
    struct pr_event ev;
    struct pr_p_delta d;
    struct pr_pent e;
    struct pr_chg c;
    struct pr_chg_body b;
    uint64_t n = 0;
    uint32_t handle = 0;

    (void)state;
    (void)make(7);
    assert_int_equal(pr_event_decode(&f, &ev), PR_OK);
    assert_true(pr_epoch_eq(ev.epoch, epoch));
    assert_true(ev.seq == 1 && ev.boot == 2 && ev.part == 3 && ev.oseq == 4 && ev.flags == 5);
    (void)make(CONTROL);
    assert_int_equal(pr_p_delta_decode(&f, &d), PR_OK);
    assert_true(d.actor == 5 && d.a == 6 && d.b == 7 && d.nadds == 2 && d.ndels == 3);
    assert_int_equal(pr_padds_next(&d.adds, &e), 1);
    assert_true(e.n == 7 && e.slot == 1 && pr_slice_is(e.key, "ann") && pr_slice_is(e.meta, "{}"));
    assert_int_equal(pr_padds_next(&d.adds, &e), 1);
    assert_true(e.n == UINT64_MAX && e.slot == UINT32_MAX);
    assert_int_equal(pr_padds_next(&d.adds, &e), 0);
    assert_int_equal(pr_pdels_next(&d.dels, &n), 1);
    assert_int_equal(pr_pdels_next(&d.dels, &n), 1);
    assert_int_equal(n, 300);
    (void)make(CONTROL + PRESENCE + 7);
    assert_int_equal(pr_chg_decode(&f, &c), PR_OK);
    assert_int_equal(pr_chg_bodies_next(&c.bodies, &b), 1);
    assert_true(b.pos.lsn == 5 && b.pos.seq == 6 && b.kind == PR_K_UPDATE && b.ntargets == 2);
    assert_int_equal(pr_chg_targets_next(&b.targets, &n, &handle), 1);
    assert_int_equal(pr_chg_targets_next(&b.targets, &n, &handle), 1);
    assert_true(n == UINT64_MAX && handle == UINT32_MAX);
    assert_int_equal(pr_chg_targets_next(&b.targets, &n, &handle), 0);
    assert_int_equal(pr_chg_bodies_next(&c.bodies, &b), 1);
    assert_int_equal(pr_chg_bodies_next(&c.bodies, &b), 0);
}

static bool has_payload(void)
{
    return f.type == PR_T_PUB || f.type == PR_T_EVENT || f.type == PR_T_CTL ||
           f.type == PR_T_CTL_REPLY;
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALL; i++) {
        size_t n = make(i);
        size_t payload = i == 5 ? 7 : i == 8 ? 2 : i == 9 ? 6 : 0;

        for (size_t cut = 1; cut <= n - PR_FRAME_HEAD; cut++) {
            struct pr_outbuf o = pr_outbuf(again, sizeof again);
            int rv = 0;

            f.body.n = n - PR_FRAME_HEAD - cut;
            rv = mesh_recode(&f, &o);
            if ((rv == PR_OK) != (cut <= payload)) {
                fail_msg("message %u cut by %zu: %d", i, cut, rv);
            }
        }
    }
}

static void test_trailing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ALL; i++) {
        size_t n = make(i);
        struct pr_outbuf o = pr_outbuf(again, sizeof again);

        bytes[n] = 0;
        f.body.n++;
        assert_int_equal(mesh_recode(&f, &o), has_payload() ? PR_OK : PR_ETRAIL);
    }
}

/* A newer build appends fields, of any type and depth: they are skipped. */
static void test_longer_array(void **state)
{
    static const uint8_t extra[] = {
        0x93, 0x01, 0xff, 0x81, 0xa1, 'k',  0x92, 0xc0, 0xc2, /* [1, -1, {"k": [nil, false]}] */
        0xc4, 2,    9,    9,    0xc5, 0,    1,    9,    0xc6, 0,    0, 0, 1,   9, /* bin 8, 16, 32
                                                                                   */
        0xc7, 1,    5,    9,    0xc8, 0,    1,    5,    9,    0xc9, 0, 0, 0,   1, 5,
        9, /* ext 8, 16, 32 */
        0xca, 0,    0,    0,    0,    0xcb, 0,    0,    0,    0,    0, 0, 0,   0, /* float, double
                                                                                   */
        0xcc, 9,    0xcd, 9,    9,    0xce, 9,    9,    9,    9,               /* uint 8, 16, 32 */
        0xd0, 9,    0xd1, 9,    9,    0xd2, 9,    9,    9,    9,               /* int 8, 16, 32 */
        0xd4, 1,    9,    0xd5, 1,    9,    9,    0xd6, 1,    9,    9, 9, 9,   /* fixext 1, 2, 4 */
        0xd9, 1,    'x',  0xda, 0,    1,    'x',  0xdb, 0,    0,    0, 1, 'x', /* str 8, 16, 32 */
        0xdc, 0,    1,    0xc3, 0xdd, 0,    0,    0,    1,    0xc3,            /* array 16, 32 */
        0xde, 0,    1,    1,    2,    0xdf, 0,    0,    0,    1,    1, 2,      /* map 16, 32 */
    };
    const uint8_t items = 1 + 3 + 3 + 2 + 3 + 3 + 3 + 3 + 2 + 2;

    (void)state;
    for (unsigned i = 0; i < ALL; i++) {
        size_t n = make(i);
        struct pr_outbuf o = pr_outbuf(again, sizeof again);
        uint8_t fields = bytes[PR_FRAME_HEAD] & 0x0f;
        static uint8_t longer[CAP];

        if (has_payload()) {
            continue; /* fields cannot be put in front of the payload this way */
        }
        longer[0] = 0xdc;
        longer[1] = 0;
        longer[2] = (uint8_t)(fields + items);
        memcpy(longer + 3, bytes + PR_FRAME_HEAD + 1, n - PR_FRAME_HEAD - 1);
        memcpy(longer + 3 + n - PR_FRAME_HEAD - 1, extra, sizeof extra);
        f.body = pr_bytes(longer, 3 + n - PR_FRAME_HEAD - 1 + sizeof extra);
        assert_int_equal(mesh_recode(&f, &o), PR_OK);
        assert_int_equal(o.len, n);
        assert_memory_equal(again, bytes, n);
        for (size_t cut = 1; cut < sizeof extra; cut++) {
            f.body.n--;
            assert_int_not_equal(mesh_recode(&f, &o), PR_OK);
        }
    }
}

static void test_wrong_type_or_class(void **state)
{
    struct pr_unsub m;

    (void)state;
    (void)make(4);
    assert_int_equal(pr_unsub_decode(&f, &m), PR_OK);
    f.cls = PR_C_BROADCAST;
    assert_int_equal(pr_unsub_decode(&f, &m), PR_EVERSION);
    f.cls = PR_C_CONTROL;
    f.type = PR_T_SUB;
    assert_int_equal(pr_unsub_decode(&f, &m), PR_EVERSION);
}

/* One size pass and one write pass need the same code. */
static void test_size_pass(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONTROL; i++) {
        struct pr_outbuf o = pr_outbuf(NULL, 0);

        make_control(&o, i);
        assert_false(pr_out_ok(&o));
        assert_int_equal(o.len, make(i));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_fields),
        cmocka_unit_test(test_cut_anywhere), cmocka_unit_test(test_trailing),
        cmocka_unit_test(test_longer_array), cmocka_unit_test(test_wrong_type_or_class),
        cmocka_unit_test(test_size_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
