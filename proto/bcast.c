/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/bcast.h"

#include <assert.h>

#define VERSION    1u
#define VERSION_DB 2u

void pr_bcast_encode(struct pr_outbuf *o, const struct pr_bcast *m)
{
    assert(m->event.n <= UINT16_MAX && m->meta.n <= UINT16_MAX);
    pr_put_u8(o, m->stream != 0 ? VERSION_DB : VERSION);
    pr_put_u8(o, (uint8_t)m->form);
    pr_put_u64be(o, m->sender);
    pr_put_u16be(o, (uint16_t)m->event.n);
    pr_put_u16be(o, (uint16_t)m->meta.n);
    if (m->stream != 0) {
        pr_put_u64be(o, m->stream);
        pr_put_u64be(o, m->pos.lsn);
        pr_put_u64be(o, m->pos.seq);
    }
    pr_put_slice(o, m->event);
    pr_put_slice(o, m->meta);
    pr_put_slice(o, m->payload);
}

int pr_bcast_decode(struct pr_slice in, struct pr_bcast *m)
{
    struct pr_cursor c = pr_cursor(in);
    uint8_t version = pr_get_u8(&c);

    m->form = pr_get_u8(&c);
    m->sender = pr_get_u64be(&c);
    size_t event_len = pr_get_u16be(&c);
    size_t meta_len = pr_get_u16be(&c);
    m->stream = version == VERSION_DB ? pr_get_u64be(&c) : 0;
    m->pos.lsn = version == VERSION_DB ? pr_get_u64be(&c) : 0;
    m->pos.seq = version == VERSION_DB ? pr_get_u64be(&c) : 0;
    m->event = pr_get_bytes(&c, event_len);
    m->meta = pr_get_bytes(&c, meta_len);
    m->payload = pr_get_bytes(&c, c.left);
    if (c.failed) {
        return PR_ESHORT;
    }
    if ((version != VERSION && version != VERSION_DB) ||
        (version == VERSION_DB && m->stream == 0) || m->form < PR_BCAST_TEXT ||
        m->form > PR_BCAST_BINARY) {
        return PR_EVERSION;
    }
    return PR_OK;
}
