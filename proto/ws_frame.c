/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ws_frame.h"

#include <assert.h>
#include <string.h>

#define FIN      0x80u
#define LEN_U16  126u
#define LEN_U64  127u
#define CODE_LEN 2u

size_t pr_ws_head_len(size_t payload_bytes)
{
    if (payload_bytes < LEN_U16) {
        return 2;
    }
    return payload_bytes <= UINT16_MAX ? 4 : PR_WS_HEAD_MAX;
}

void pr_ws_put_head(struct pr_outbuf *o, enum pr_ws_opcode opcode, size_t payload_bytes)
{
    assert(opcode < PR_WS_CLOSE || payload_bytes <= PR_WS_CONTROL_MAX);
    pr_put_u8(o, (uint8_t)(FIN | (unsigned)opcode));
    if (payload_bytes < LEN_U16) {
        pr_put_u8(o, (uint8_t)payload_bytes);
    } else if (payload_bytes <= UINT16_MAX) {
        pr_put_u8(o, LEN_U16);
        pr_put_u16be(o, (uint16_t)payload_bytes);
    } else {
        pr_put_u8(o, LEN_U64);
        pr_put_u64be(o, payload_bytes);
    }
}

void pr_ws_put_close(struct pr_outbuf *o, uint16_t code, const char *reason)
{
    size_t n = strlen(reason);

    if (n > PR_WS_CONTROL_MAX - CODE_LEN) {
        n = PR_WS_CONTROL_MAX - CODE_LEN;
        while (n > 0 && ((uint8_t)reason[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    pr_ws_put_head(o, PR_WS_CLOSE, CODE_LEN + n);
    pr_put_u16be(o, code);
    pr_put(o, reason, n);
}
