/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_in.h - what the files that answer realtimectl share.
 *
 *   ctl.c           which question it is; connections, channels, topics; pub; sub
 *   ctl_bindings.c  what the channels of a topic asked to hear of the database
 *   ctl_rows.c      rows of an answer
 */
#ifndef NODE_EDGE_CTL_IN_H
#define NODE_EDGE_CTL_IN_H

#include "node/edge/ctl.h"
#include "proto/json_write.h"

/* Rows of one answer in the making. */
struct rt_rows {
    struct rt_edge *edge;
    uint32_t id;
    const struct rt_project *only; /* what the question is about; NULL: all of them */
    struct pr_outbuf o;
    uint32_t collected; /* rows in `o` */
    uint64_t left_out;
};

void rt_rows_begin(struct rt_rows *r, struct rt_edge *e, uint32_t id);
/* What is collected; a row that did not fit is left out. */
void rt_rows_send(struct rt_rows *r, bool last);
void rt_rows_end(struct rt_rows *r);
/* Begin of a row: edge; and connection. */
void rt_row_put_edge(struct rt_rows *r);
void rt_row_put_head(struct rt_rows *r, const struct rt_socket *s);
void rt_row_put_project(struct rt_rows *r, const struct rt_project *project);
void rt_row_put_flag(struct pr_outbuf *o, const char *name, bool value);
/* Rows go when there are enough of them, or are counted as left out if the owner is behind. */
void rt_row_end(struct rt_rows *r);
/* One row {"error": text}, and the end. */
void rt_rows_error(struct rt_edge *e, uint32_t id, const char *text);

/* A text of the arguments that is not empty; of a topic without "realtime:". False: there is none.
 * *out borrows. */
bool rt_ctl_arg(struct pr_slice args, const char *name, struct pr_outbuf *scratch,
                struct pr_slice *out);

/* The one that the arguments name, or the only one. NULL: neither, and the answer says which there
 * are. */
struct rt_project *rt_ctl_project(struct rt_edge *e, const struct pr_ctl *m,
                                  struct pr_outbuf *scratch);

/* Of the channels of "topic", public or private: a row per binding, or one if it has none. */
void rt_ctl_bindings(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch);

#endif
