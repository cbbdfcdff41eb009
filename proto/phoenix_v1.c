/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/phoenix.h"

#include "proto/json_write.h"

enum field { TOPIC = 0, EVENT, PAYLOAD, REF, JOIN_REF, FIELDS };

int pr_phx_v1_decode(struct pr_slice in, struct pr_outbuf *scratch, struct pr_phx_msg *m)
{
    static const char *const names[FIELDS] = {"topic", "event", "payload", "ref", "join_ref"};
    struct pr_json fields[FIELDS];
    int rc = pr_json_pick(in, names, FIELDS, fields);

    if (rc != PR_OK) {
        return rc;
    }
    for (int i = 0; i < JOIN_REF; i++) {
        if (fields[i].raw.n == 0) {
            return PR_ESHORT;
        }
    }
    *m = (struct pr_phx_msg){.kind = PR_PHX_TEXT, .json = true};
    m->payload = fields[PAYLOAD].raw;
    m->payload_type = fields[PAYLOAD].type;
    rc = pr_phx_take_ref(&fields[REF], &m->ref);
    if (rc == PR_OK && fields[JOIN_REF].raw.n > 0) {
        rc = pr_phx_take_ref(&fields[JOIN_REF], &m->join_ref);
    }
    if (rc == PR_OK) {
        rc = pr_phx_take_name(&fields[TOPIC], PR_PHX_TOPIC_MAX, scratch, &m->topic);
    }
    if (rc == PR_OK) {
        rc = pr_phx_take_name(&fields[EVENT], PR_PHX_EVENT_MAX, scratch, &m->event);
    }
    return rc;
}

void pr_phx_v1_begin(struct pr_outbuf *o, const struct pr_phx_addr *to, const char *event)
{
    pr_put_str(o, "{\"ref\":");
    pr_phx_put_ref(o, to->ref);
    pr_put_str(o, ",\"topic\":");
    pr_put_json_str(o, to->topic);
    pr_put_str(o, ",\"event\":");
    pr_put_json_cstr(o, event);
    pr_put_str(o, ",\"payload\":");
}
