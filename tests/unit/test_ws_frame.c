/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/ws_frame.h"

static void writes_heads(void **state)
{
    static const struct {
        enum pr_ws_opcode opcode;
        size_t len;
        uint8_t want[10];
        size_t want_len;
    } rows[] = {
        {PR_WS_TEXT, 0, {0x81, 0}, 2},
        {PR_WS_TEXT, 125, {0x81, 125}, 2},
        {PR_WS_BINARY, 126, {0x82, 126, 0, 126}, 4},
        {PR_WS_BINARY, 65535, {0x82, 126, 0xff, 0xff}, 4},
        {PR_WS_TEXT, 65536, {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}, 10},
        {PR_WS_PING, 0, {0x89, 0}, 2},
        {PR_WS_PONG, 4, {0x8a, 4}, 2},
    };
    uint8_t buf[PR_WS_HEAD_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        pr_ws_put_head(&o, rows[i].opcode, rows[i].len);
        assert_int_equal(o.len, rows[i].want_len);
        assert_int_equal(pr_ws_head_len(rows[i].len), rows[i].want_len);
        assert_memory_equal(buf, rows[i].want, rows[i].want_len);
    }
}

static void writes_close(void **state)
{
    uint8_t buf[256];
    char reason[300];
    struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

    (void)state;
    pr_ws_put_close(&o, 1013, "slow");
    assert_int_equal(o.len, 8);
    assert_memory_equal(buf, "\x88\x06\x03\xf5slow", 8);

    /* Cut in front of the character that does not fit. */
    memset(reason, 'r', sizeof reason);
    memcpy(reason + 122, "\xc3\xa9", 2);
    reason[299] = '\0';
    o.len = 0;
    pr_ws_put_close(&o, 1000, reason);
    assert_int_equal(o.len, 2 + 2 + 122);
    assert_int_equal(buf[1], 124);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_heads),
        cmocka_unit_test(writes_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
