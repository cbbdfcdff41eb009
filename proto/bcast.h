/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bcast.h - the body of a broadcast on its way between edges (opaque to owner and cluster).
 *
 *   u8 version | u8 form | u64be sender | u16be event_len | u16be meta_len | event | meta | payload
 *
 * Version 2, of a message that the database sent: behind meta_len u64be stream | u64be lsn |
 * u64be seq. Whoever reads the stream next may send it again; by these, members get it once.
 *
 * The publishing edge decodes the client's envelope once and passes the payload on as it came; the
 * receiving edges encode each wire form that their members use once.
 */
#ifndef PROTO_BCAST_H
#define PROTO_BCAST_H

#include "proto/mesh.h"

enum pr_bcast_form {
    PR_BCAST_TEXT =
        1, /* payload is the whole payload object of a text push: {"type":"broadcast",…} */
    PR_BCAST_JSON = 2,  /* kind 3, encoding 1: event, and a JSON value as payload */
    PR_BCAST_BINARY = 3 /* kind 3, encoding 0: event, and bytes */
};

struct pr_bcast {
    uint32_t form;
    uint64_t sender; /* channel id of the sender, unique in its edge (whose boot the event names);
                        0 = nobody (REST, the database) */
    struct pr_slice event; /* PR_BCAST_JSON and _BINARY */
    struct pr_slice meta;  /* JSON object text, or empty */
    uint64_t stream;       /* of the database, never 0; 0: it comes from elsewhere */
    struct pr_pos pos;     /* in that stream */
    struct pr_slice payload;
};

void pr_bcast_encode(struct pr_outbuf *o, const struct pr_bcast *m);
PR_MUST_CHECK int pr_bcast_decode(struct pr_slice in, struct pr_bcast *m);

#endif
