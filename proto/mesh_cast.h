/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_cast.h - broadcasts that the database sends: from the db process that reads its stream to
 * the one edge of its node that publishes them, and how far that edge has come.
 *
 * Same frame, same rules as mesh.h. These never travel between nodes: what the edge publishes does.
 */
#ifndef PROTO_MESH_CAST_H
#define PROTO_MESH_CAST_H

#include "proto/mesh.h"

/* One row of realtime.messages, in order of position. */
struct pr_cast {
    uint64_t stream;       /* as in struct pr_chg */
    struct pr_pos pos;     /* of the row */
    struct pr_slice topic; /* key, 1 .. PR_TOPIC_KEY_MAX bytes */
    struct pr_slice body;  /* as proto/bcast.h has it, with stream and pos */
    struct pr_slice project;
};
/* Everything up to `pos` was ordered by the owners of its topics. */
struct pr_cast_ok {
    uint64_t stream;
    struct pr_pos pos;
    struct pr_slice project;
};

/* Appends one whole frame. Never fails by itself: look at pr_out_ok(). */
void pr_cast_encode(struct pr_outbuf *o, const struct pr_cast *m);
void pr_cast_ok_encode(struct pr_outbuf *o, const struct pr_cast_ok *m);

/* PR_OK or an error of enum pr_err; on error *m is unspecified. */
PR_MUST_CHECK int pr_cast_decode(const struct pr_frame *f, struct pr_cast *m);
PR_MUST_CHECK int pr_cast_ok_decode(const struct pr_frame *f, struct pr_cast_ok *m);

#endif
