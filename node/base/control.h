/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - questions of realtimectl: request, rows, end.
 *
 * realtimectl connects to RUNTIME_DIR/control.sock (owner, mode 0600) and sends one CTL frame
 * {id, cmd, args}; args is a JSON object. Rows come back in CTL_REPLY frames, one JSON object per
 * line; `last` ends the answer. A row {"error": "text"} is trouble to be shown, exit code 1.
 *
 * The owner answers what it knows and passes the rest on as CTL frames, with an id of its own:
 *   to edges: connections {}, channels {}, topics {}, pub {topic, event, payload}, sub {topic}
 *   to db:    slots {}, doctor {}
 *   to nodes: the same command, for all that is about the whole cluster; but not if the arguments
 *             have "local": true, and only to that one with "at": "NODE". A node so asked asks no
 *             others. Every row has the name of its node in `node`.
 * Who is asked answers with one or more CTL_REPLY of that id, the last one with last = true, within
 * RT_CONTROL_TIMEOUT_MS; else the owner ends the answer with an error row that names the process
 * or node. `sub` and `tail` stream and have no time limit: rows until a CTL frame with cmd "cancel"
 * and the same id comes (the asker went away; no answer is expected), or the edge ends it by last =
 * true. `pub`, `sub` and `tail` go to one edge of a node.
 */
#ifndef NODE_BASE_CONTROL_H
#define NODE_BASE_CONTROL_H

#include "node/base/errors.h"
#include "node/base/ipc.h"

#define RT_CONTROL_TIMEOUT_MS 2000u
#define RT_CONTROL_CANCEL     "cancel"
#define RT_CONTROL_ASKERS_MAX 64u
/* Rows of one CTL_REPLY frame, in bytes: send what is collected when it passes this. */
#define RT_CONTROL_ROWS_BYTES 60000u

/* Sends one CTL_REPLY over `ipc`. False: over the queue's bound, nothing was sent. */
bool rt_control_reply(struct rt_ipc *ipc, uint32_t id, struct pr_slice rows, bool last);

/* One question at the server. Gone after rt_asker_end, or when on_gone was called. */
struct rt_asker;
struct rt_control_server;
struct rt_control_events {
    /* `cmd` and `args` borrow during the call. */
    void (*on_request)(void *ctx, struct rt_asker *a, struct pr_slice cmd, struct pr_slice args);
    /* The asker went away before its answer ended. */
    void (*on_gone)(void *ctx, struct rt_asker *a);
};
/* NULL and *err filled on failure. */
struct rt_control_server *rt_control_listen(struct rt_loop *l, const char *path,
                                            const struct rt_control_events *ev, void *ctx,
                                            struct rt_error *err);
void rt_control_close(struct rt_control_server *s);
/* Rows to the asker. One that does not read is cut (on_gone is called from a later turn). */
void rt_asker_rows(struct rt_asker *a, struct pr_slice rows);
void rt_asker_end(struct rt_asker *a);
/* Bytes that wait for it. */
size_t rt_asker_queued(const struct rt_asker *a);
void rt_asker_set_user(struct rt_asker *a, void *user);
void *rt_asker_user(const struct rt_asker *a);

/* The client's side: asks and runs the loop until the answer ended. */
struct rt_control_question {
    const char *path; /* of the socket */
    const char *cmd;
    struct pr_slice args;                           /* JSON object */
    uint64_t timeout_ms;                            /* for the first row; 0 = none (streams) */
    bool (*on_row)(void *ctx, struct pr_slice row); /* one JSON object; false stops */
    void *ctx;
};
/* 0, or a code of enum rt_err with *err filled (RT_EPEER: nobody listens; RT_ETIMEOUT). */
int rt_control_ask(struct rt_loop *l, const struct rt_control_question *q, struct rt_error *err);

#endif
