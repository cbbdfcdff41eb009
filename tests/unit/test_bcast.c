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
    } rows[] = {
        {PR_BCAST_TEXT, "", "", "{\"type\":\"broadcast\"}"},
        {PR_BCAST_JSON, "x", "{\"id\":\"u\"}", "{\"a\":1}"},
        {PR_BCAST_BINARY, "x", "", ""},
    };
    uint8_t buf[128];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_bcast m = {.form = rows[i].form,
                             .sender = 0x0102030405060708u,
                             .event = pr_str(rows[i].event),
                             .meta = pr_str(rows[i].meta),
                             .payload = pr_str(rows[i].payload)};
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
        for (size_t n = 0; n < o.len - m.payload.n; n++) {
            assert_int_equal(pr_bcast_decode(pr_bytes(buf, n), &back), PR_ESHORT);
        }
    }
}

static void refuses_versions_and_forms(void **state)
{
    uint8_t buf[14] = {1, 1};
    struct pr_bcast m;

    (void)state;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_OK);
    buf[0] = 2;
    assert_int_equal(pr_bcast_decode(pr_bytes(buf, sizeof buf), &m), PR_EVERSION);
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
