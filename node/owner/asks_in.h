/* SPDX-License-Identifier: Apache-2.0 */
/* asks_in.h - inside of asks.h: asks.c (the table, the way of rows), ask_who.c (who is asked). */
#ifndef NODE_OWNER_ASKS_IN_H
#define NODE_OWNER_ASKS_IN_H

#include "node/owner/asks.h"

#define RT_ASKS_MAX (RT_CONTROL_ASKERS_MAX + RT_ASKS_FAR_MAX)
/* Rows leave when they pass RT_CONTROL_ROWS_BYTES; a row that does not fit behind goes alone. */
#define RT_ASKS_BUF_BYTES ((size_t)2 * RT_CONTROL_ROWS_BYTES)

struct asks {
    struct owner *owner;
    struct ask at[RT_ASKS_MAX];
    uint32_t next_id;
    uint32_t open_timers;
    char prefix[PR_ID_MAX + 16]; /* {"node":"n1" */
    size_t prefix_len;
    uint8_t *buf; /* rows of one question; whoever put some in flushes before he returns */
    size_t buf_len;
};

/* asks.c */
/* Whole rows that say whose they are to whoever asked, if there is room. */
void rt_asks_give(struct ask *q, struct pr_slice rows);
void rt_asks_flush(struct ask *q);
/* Trouble with another node. */
void rt_asks_node_error(struct ask *q, const char *name, const char *text);
/* The end of the answer; the same if nobody has to answer any more. */
void rt_asks_finish(struct ask *q);
void rt_asks_settle(struct ask *q);

/* ask_who.c: the time is over. */
void rt_asks_on_timeout(void *ctx);

#endif
