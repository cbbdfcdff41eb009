/* SPDX-License-Identifier: Apache-2.0 */
/*
 * messages.h - broadcasts from SQL: a row inserted into realtime.messages becomes a frame for the
 * edge that publishes it.
 *
 * The rows come in the stream of all changes, in its order, from whichever partition they were
 * inserted into. What cannot be a broadcast is dropped with a line in the log and a count, since it
 * would be no better when it is read again.
 *
 * Bound: what the edge has not acknowledged is at most RT_MESSAGES_BYTES and RT_MESSAGES_ROWS when
 * the next batch is sent; above, the batch waits, and with it the stream. Nothing is confirmed to
 * the server before it was acknowledged.
 */
#ifndef NODE_DB_MESSAGES_H
#define NODE_DB_MESSAGES_H

#include "proto/mesh_cast.h"
#include "proto/pgoutput.h"

#define RT_MESSAGES_BYTES ((size_t)2 * 1024 * 1024)
#define RT_MESSAGES_ROWS  2048u

/* The publication that the rows come from; its name is fixed, Supabase's own. */
#define RT_MESSAGES_PUBLICATION "supabase_realtime_messages_publication"

struct rt_db;

/* Columns of realtime.messages that a broadcast is made of. */
enum rt_message_column {
    RT_MESSAGE_TOPIC = 0,
    RT_MESSAGE_EVENT,
    RT_MESSAGE_PRIVATE,
    RT_MESSAGE_PAYLOAD,
    RT_MESSAGE_BINARY,
    RT_MESSAGE_ID,
    RT_MESSAGE_INSERTED_AT,
    RT_MESSAGE_EXTENSION,
    RT_MESSAGE_COLUMNS
};

/* Extension of a client's broadcast that was stored, deploy/sql/0007_store.sql. */
#define RT_MESSAGE_STORED "persistence"

/* Where a partition of realtime.messages has them among the columns of the stream. */
struct rt_message_map {
    bool known; /* false: the table is not one of them */
    uint32_t at[RT_MESSAGE_COLUMNS];
};

/* A partition may have any name in the schema; it is known by its columns. */
struct rt_message_map rt_message_map(const struct pr_pgo_relation *m);

/* What a row says; slices of it, NULL columns as .p == NULL. */
struct rt_message_row {
    struct pr_slice column[RT_MESSAGE_COLUMNS];
    bool replayed; /* members are told so */
};

/*
 * The body of a broadcast (proto/bcast.h) and its topic key, appended to `key` and `body`, which
 * may only count. `payload_max` in bytes, inclusive. NULL, or why it cannot be one: a static text.
 */
const char *rt_message_make(const struct rt_message_row *row, const struct pr_cast *at,
                            const char *project, size_t payload_max, struct pr_outbuf *key,
                            struct pr_outbuf *body);

/* Sent and not acknowledged. */
struct rt_messages {
    struct rt_message_sent {
        struct pr_pos pos;
        size_t bytes;
    } * sent; /* ring */
    uint32_t head, count, cap;
    size_t bytes;
    uint64_t stalled_ms; /* when something was acknowledged last, or the first was sent */
};

/* An INSERT of a table with a map, at the stream's position: goes into the batch. */
void rt_messages_row(struct rt_db *d, const struct rt_message_map *map,
                     const struct pr_pgo_tuple *tuple);
/* Sends a frame to the owner; it borrows. */
void rt_messages_send(struct rt_db *d, struct pr_pos pos, struct pr_slice frame);
/* Nothing more may be sent for now. */
bool rt_messages_full(const struct rt_db *d);
/* All up to this position were acknowledged. */
bool rt_messages_done(const struct rt_db *d, struct pr_pos pos);
/* The edge has published everything up to here. */
void rt_messages_acked(struct rt_db *d, struct pr_pos pos);
/* Logs if nothing is acknowledged for long. */
void rt_messages_check(struct rt_db *d);
/* The stream ended: what was sent is sent again by the next. */
void rt_messages_reset(struct rt_db *d);
void rt_messages_free(struct rt_db *d);

#endif
