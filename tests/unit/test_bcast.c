/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/bcast.h"

static void comes_back(void **state)
{
    static const struct {
        uint32_t form;
        const char *event, *meta, *payload;
        uint64_t stream;
    } rows[] = {
        {PR_BCAST_TEXT, "", "", "{\"type\":\"broadcast\"}", 0},
        {PR_BCAST_JSON, "x", "{\"id\":\"u\"}", "{\"a\":1}", 0},
        {PR_BCAST_BINARY, "x", "", "", 0},
        {PR_BCAST_TEXT, "", "", "{}", 1},
        {PR_BCAST_BINARY, "x", "{}", "\xff", UINT64_MAX},
    };
    uint8_t buf[128];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_bcast m = {.form = rows[i].form,
                             .sender = 0x0102030405060708u,
                             .event = pr_str(rows[i].event),
                             .meta = pr_str(rows[i].meta),
                             .payload = pr_str(rows[i].payload),
                             .stream = rows[i].stream,
                             .pos = {rows[i].stream, rows[i].stream / 2}};
        struct pr_bcast back;
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        pr_bcast_encode(&o, &m);
        assert_true(pr_out_ok(&o));
        assert_int_equal(pr_bcast_decode(pr_bytes(buf, o.len), &back), PR_OK);
        assert_int_equal(back.form, m.form);
        assert_true(back.sender == m.sender);
        assert_true(pr_slice_eq(back.event, m.event));
        assert_true(pr_slice_eq(back.meta, m.meta));
        assert_true(pr_slice_eq(back.payload, m.payload));
        assert_true(back.stream == m.stream && pr_pos_cmp(back.pos, m.pos) == 0);
        for (size_t n = 0; n < o.len - m.payload.n; n++) {
            assert_int_equal(pr_bcast_decode(pr_bytes(buf, n), &back), PR_ESHORT);
        }
    }
}

static void refuses_versions_and_forms(void **state)
{
    uint8_t buf[38] = {1, 1};
    struct pr_bcast m;

    (void)state;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_OK);
    buf[0] = 3;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_EVERSION);
    buf[0] = 2; /* of the database, but of no stream */
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_EVERSION);
    buf[14] = 1;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_OK);
    assert_true(m.stream == UINT64_C(1) << 56 && m.pos.lsn == 0 && m.payload.n == 0);
    buf[0] = 1;
    buf[1] = 0;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_EVERSION);
    buf[1] = 4;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_EVERSION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(refuses_versions_and_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
