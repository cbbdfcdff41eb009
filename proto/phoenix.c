/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/phoenix.h"

#include <string.h>

#include "proto/json_write.h"

int pr_vsn_parse(struct pr_slice text, enum pr_vsn *vsn)
{
    if (text.n < 5 || (text.p[0] != '1' && text.p[0] != '2') || memcmp(text.p + 1, ".0.", 3) != 0) {
        return PR_EVERSION;
    }
    for (size_t i = 4; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return PR_EVERSION;
        }
    }
    *vsn = text.p[0] == '1' ? PR_VSN_1 : PR_VSN_2;
    return PR_OK;
}

bool pr_phx_ref_is_null(struct pr_phx_ref ref)
{
    return ref.bytes.n == 0;
}

/* Without the quotes of a token. */
static struct pr_slice ref_text(struct pr_phx_ref ref)
{
    if (ref.token && ref.bytes.n >= 2 && ref.bytes.p[0] == '"') {
        return pr_bytes(ref.bytes.p + 1, ref.bytes.n - 2);
    }
    return ref.bytes;
}

bool pr_phx_ref_eq(struct pr_phx_ref a, struct pr_phx_ref b)
{
    return pr_slice_eq(ref_text(a), ref_text(b));
}

void pr_phx_put_ref(struct pr_outbuf *o, struct pr_phx_ref ref)
{
    if (pr_phx_ref_is_null(ref)) {
        pr_put_str(o, "null");
    } else if (ref.token) {
        pr_put_slice(o, ref.bytes);
    } else {
        pr_put_json_str(o, ref.bytes);
    }
}

int pr_phx_take_ref(const struct pr_json *v, struct pr_phx_ref *ref)
{
    ref->bytes = pr_bytes(NULL, 0);
    ref->token = false;
    if (v->type == PR_JSON_NULL) {
        return PR_OK;
    }
    if (v->type != PR_JSON_STRING && v->type != PR_JSON_NUMBER) {
        return PR_ETYPE;
    }
    if (v->raw.n > PR_PHX_REF_MAX) {
        return PR_ERANGE;
    }
    ref->bytes = v->raw;
    ref->token = true;
    return PR_OK;
}

int pr_phx_take_name(const struct pr_json *v, size_t max, struct pr_outbuf *scratch,
                     struct pr_slice *name)
{
    int rc = pr_json_text(v, scratch, name);

    if (rc == PR_ESHORT || (rc == PR_OK && name->n > max)) {
        return PR_ERANGE;
    }
    if (rc == PR_OK && name->n > 0 && memchr(name->p, 0, name->n) != NULL) {
        return PR_ESYNTAX;
    }
    return rc;
}

int pr_phx_decode(enum pr_vsn vsn, struct pr_slice in, bool text, struct pr_outbuf *scratch,
                  struct pr_phx_msg *m)
{
    if (vsn == PR_VSN_1) {
        return text ? pr_phx_v1_decode(in, scratch, m) : PR_EVERSION;
    }
    return text ? pr_phx_v2_decode_text(in, scratch, m) : pr_phx_v2_decode_binary(in, scratch, m);
}

/* Everything of a text message before its payload. */
static void begin(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                  const char *event)
{
    if (vsn == PR_VSN_1) {
        pr_phx_v1_begin(o, to, event);
    } else {
        pr_phx_v2_begin(o, to, event);
    }
}

static void end(struct pr_outbuf *o, enum pr_vsn vsn)
{
    pr_put_u8(o, vsn == PR_VSN_1 ? '}' : ']');
}

void pr_phx_put_reply(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                      const char *status, struct pr_slice response)
{
    begin(o, vsn, to, "phx_reply");
    pr_put_str(o, "{\"status\":");
    pr_put_json_cstr(o, status);
    pr_put_str(o, ",\"response\":");
    pr_put_slice(o, response);
    pr_put_u8(o, '}');
    end(o, vsn);
}

void pr_phx_put_push(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                     const char *event, struct pr_slice payload)
{
    struct pr_phx_addr push = {.join_ref = to->join_ref, .topic = to->topic};

    begin(o, vsn, &push, event);
    pr_put_slice(o, payload);
    end(o, vsn);
}

void pr_phx_put_close(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to)
{
    struct pr_phx_addr both = {.join_ref = to->join_ref, .ref = to->join_ref, .topic = to->topic};

    begin(o, vsn, &both, "phx_close");
    pr_put_str(o, "{}");
    end(o, vsn);
}

void pr_phx_put_error(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                      const char *reason)
{
    struct pr_phx_addr both = {.join_ref = to->join_ref, .ref = to->join_ref, .topic = to->topic};

    begin(o, vsn, &both, "phx_error");
    pr_put_str(o, "{\"reason\":");
    pr_put_json_cstr(o, reason);
    pr_put_u8(o, '}');
    end(o, vsn);
}

bool pr_phx_bcast_fits(struct pr_slice topic, const struct pr_bcast *b)
{
    return topic.n <= UINT8_MAX && b->event.n <= UINT8_MAX && b->meta.n <= UINT8_MAX;
}

enum pr_phx_form pr_phx_bcast_form(enum pr_vsn vsn, struct pr_slice topic, const struct pr_bcast *b)
{
    if (b->form == PR_BCAST_TEXT) {
        return PR_PHX_FORM_TEXT;
    }
    if (vsn == PR_VSN_2 && pr_phx_bcast_fits(topic, b)) {
        return PR_PHX_FORM_BINARY;
    }
    return b->form == PR_BCAST_JSON ? PR_PHX_FORM_TEXT : PR_PHX_FORM_NONE;
}

static void put_text_payload(struct pr_outbuf *o, const struct pr_bcast *b)
{
    if (b->form == PR_BCAST_TEXT) {
        pr_put_slice(o, b->payload);
        return;
    }
    pr_put_str(o, "{\"event\":");
    pr_put_json_str(o, b->event);
    if (b->meta.n > 0) {
        pr_put_str(o, ",\"meta\":");
        pr_put_slice(o, b->meta);
    }
    pr_put_str(o, ",\"payload\":");
    pr_put_slice(o, b->payload);
    pr_put_str(o, ",\"type\":\"broadcast\"}");
}

enum pr_phx_form pr_phx_put_bcast(struct pr_outbuf *o, enum pr_vsn vsn, struct pr_slice topic,
                                  const struct pr_bcast *b)
{
    struct pr_phx_addr to = {.topic = topic};
    enum pr_phx_form form = pr_phx_bcast_form(vsn, topic, b);

    switch (form) {
    case PR_PHX_FORM_NONE:
        break;
    case PR_PHX_FORM_BINARY:
        pr_phx_v2_put_broadcast(o, topic, b);
        break;
    case PR_PHX_FORM_TEXT:
        begin(o, vsn, &to, "broadcast");
        put_text_payload(o, b);
        end(o, vsn);
        break;
    }
    return form;
}

enum pr_phx_form pr_phx_replay_form(enum pr_vsn vsn, struct pr_slice topic,
                                    const struct pr_bcast *b)
{
    return b->form == PR_BCAST_JSON ? PR_PHX_FORM_TEXT : pr_phx_bcast_form(vsn, topic, b);
}

void pr_phx_put_replay(struct pr_outbuf *o, enum pr_vsn vsn, const struct pr_phx_addr *to,
                       const struct pr_bcast *b)
{
    if (b->form != PR_BCAST_JSON) {
        (void)pr_phx_put_bcast(o, vsn, to->topic, b);
        return;
    }
    begin(o, vsn, to, "broadcast");
    put_text_payload(o, b);
    end(o, vsn);
}
