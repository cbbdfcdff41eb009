/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/phoenix.h"

#include <string.h>

#include "proto/json_write.h"

enum field { JOIN_REF = 0, REF, TOPIC, EVENT, PAYLOAD, FIELDS };

enum kind { KIND_PUSH = 0, KIND_BROADCAST_PUSH = 3, KIND_BROADCAST = 4 };

/* The first five elements; what follows is checked only. */
static int read_fields(struct pr_slice in, struct pr_json fields[FIELDS])
{
    struct pr_json_iter it;
    struct pr_json v;
    size_t count = 0;
    int rc = pr_json_open(&it, in);

    if (rc != PR_OK || it.object) {
        return rc != PR_OK ? rc : PR_ETYPE;
    }
    while ((rc = pr_json_next(&it, NULL, &v)) > 0) {
        if (count < FIELDS) {
            fields[count++] = v;
        }
    }
    if (rc != PR_OK) {
        return rc;
    }
    return count == FIELDS ? PR_OK : PR_ESHORT;
}

int pr_phx_v2_decode_text(struct pr_slice in, struct pr_outbuf *scratch, struct pr_phx_msg *m)
{
    struct pr_json fields[FIELDS];
    int rc = read_fields(in, fields);

    if (rc != PR_OK) {
        return rc;
    }
    *m = (struct pr_phx_msg){.kind = PR_PHX_TEXT, .json = true};
    m->payload = fields[PAYLOAD].raw;
    m->payload_type = fields[PAYLOAD].type;
    rc = pr_phx_take_ref(&fields[JOIN_REF], &m->join_ref);
    if (rc == PR_OK) {
        rc = pr_phx_take_ref(&fields[REF], &m->ref);
    }
    if (rc == PR_OK) {
        rc = pr_phx_take_name(&fields[TOPIC], PR_PHX_TOPIC_MAX, scratch, &m->topic);
    }
    if (rc == PR_OK) {
        rc = pr_phx_take_name(&fields[EVENT], PR_PHX_EVENT_MAX, scratch, &m->event);
    }
    return rc;
}

/* Bytes as Latin-1, written as UTF-8. */
static int latin1(struct pr_slice in, struct pr_outbuf *scratch, struct pr_slice *out)
{
    size_t start = scratch->len;

    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];

        if (c < 0x80) {
            pr_put_u8(scratch, c);
        } else {
            pr_put_u8(scratch, (uint8_t)(0xc0 | c >> 6));
            pr_put_u8(scratch, (uint8_t)(0x80 | (c & 0x3f)));
        }
    }
    if (!pr_out_ok(scratch)) {
        return PR_ESHORT;
    }
    *out = pr_bytes(scratch->p + start, scratch->len - start);
    return PR_OK;
}

static bool has_nul(struct pr_slice s)
{
    return s.n > 0 && memchr(s.p, 0, s.n) != NULL;
}

int pr_phx_v2_decode_binary(struct pr_slice in, struct pr_outbuf *scratch, struct pr_phx_msg *m)
{
    struct pr_cursor c = pr_cursor(in);
    uint8_t kind = pr_get_u8(&c);
    size_t metadata_len = 0;

    if (c.failed) {
        return PR_ESHORT;
    }
    if (kind != KIND_PUSH && kind != KIND_BROADCAST_PUSH) {
        return PR_EVERSION;
    }
    *m = (struct pr_phx_msg){.kind = kind == KIND_PUSH ? PR_PHX_PUSH : PR_PHX_BROADCAST};
    size_t join_ref_len = pr_get_u8(&c);
    size_t ref_len = pr_get_u8(&c);
    size_t topic_len = pr_get_u8(&c);
    size_t event_len = pr_get_u8(&c);
    if (kind == KIND_BROADCAST_PUSH) {
        metadata_len = pr_get_u8(&c);
        m->json = pr_get_u8(&c) != 0;
    }
    m->join_ref.bytes = pr_get_bytes(&c, join_ref_len);
    m->ref.bytes = pr_get_bytes(&c, ref_len);
    m->topic = pr_get_bytes(&c, topic_len);
    m->event = pr_get_bytes(&c, event_len);
    m->metadata = pr_get_bytes(&c, metadata_len);
    if (c.failed) {
        return PR_ESHORT;
    }
    m->payload = pr_get_bytes(&c, c.left);
    if (has_nul(m->topic) || has_nul(m->event)) {
        return PR_ESYNTAX;
    }
    if (m->json) {
        m->payload_error = pr_json_check(m->payload);
    }
    return pr_utf8_ok(m->event) ? PR_OK : latin1(m->event, scratch, &m->event);
}

/* Takes one character off valid UTF-8 as one or two UTF-16 units. */
static size_t take_utf16(struct pr_cursor *c, uint32_t units[2])
{
    uint32_t first = pr_get_u8(c);
    uint32_t v = first;
    size_t more = 0;

    if (first >= 0xf0) {
        v = first & 0x07;
        more = 3;
    } else if (first >= 0xe0) {
        v = first & 0x0f;
        more = 2;
    } else if (first >= 0xc0) {
        v = first & 0x1f;
        more = 1;
    }
    while (more-- > 0) {
        v = v << 6 | (pr_get_u8(c) & 0x3fu);
    }
    if (v < 0x10000) {
        units[0] = v;
        return 1;
    }
    units[0] = 0xd800 + ((v - 0x10000) >> 10);
    units[1] = 0xdc00 + ((v - 0x10000) & 0x3ff);
    return 2;
}

bool pr_phx_topic_is_latin1(struct pr_slice sent, struct pr_slice topic)
{
    struct pr_cursor a = pr_cursor(sent);
    struct pr_cursor b = pr_cursor(topic);

    while (b.left > 0 && !a.failed) {
        uint32_t units[2];
        size_t n = take_utf16(&b, units);

        for (size_t i = 0; i < n; i++) {
            if (pr_get_u8(&a) != (units[i] & 0xff)) {
                return false;
            }
        }
    }
    return a.left == 0 && !a.failed && !b.failed;
}

void pr_phx_v2_begin(struct pr_outbuf *o, const struct pr_phx_addr *to, const char *event)
{
    pr_put_u8(o, '[');
    pr_phx_put_ref(o, to->join_ref);
    pr_put_u8(o, ',');
    pr_phx_put_ref(o, to->ref);
    pr_put_u8(o, ',');
    pr_put_json_str(o, to->topic);
    pr_put_u8(o, ',');
    pr_put_json_cstr(o, event);
    pr_put_u8(o, ',');
}

void pr_phx_v2_put_broadcast(struct pr_outbuf *o, struct pr_slice topic, const struct pr_bcast *b)
{
    pr_put_u8(o, KIND_BROADCAST);
    pr_put_u8(o, (uint8_t)topic.n);
    pr_put_u8(o, (uint8_t)b->event.n);
    pr_put_u8(o, (uint8_t)b->meta.n);
    pr_put_u8(o, b->form == PR_BCAST_JSON ? 1 : 0);
    pr_put_slice(o, topic);
    pr_put_slice(o, b->event);
    pr_put_slice(o, b->meta);
    pr_put_slice(o, b->payload);
}
