/* SPDX-License-Identifier: Apache-2.0 */
/*
 * render.h - the JSON object `data` of one change, as one kind of reader sees it.
 *
 * Keys: schema, table, type, commit_timestamp, columns, record (not DELETE), old_record (not
 * INSERT), errors; with_position: lsn, seq. What stands in them is what walrus
 * (github.com/supabase/walrus) sends, but for values that it breaks.
 */
#ifndef NODE_DB_RENDER_H
#define NODE_DB_RENDER_H

#include "node/db/change.h"
#include "node/db/subscriptions.h"

/* Memory that grows and is used again. */
struct rt_buffer {
    uint8_t *p;
    size_t len, cap;
};
/* Room for `cap` bytes in all; keeps what is there. */
void rt_buffer_reserve(struct rt_buffer *b, size_t cap);

struct rt_render {
    bool with_position;
    size_t body_max; /* record + old_record + columns above this: error 413 */
    struct rt_buffer data, scratch;
};

/*
 * Renders for readers of the columns with `columns[i]` (not asked if error is not RT_MATCH_OK);
 * `old_hidden`: those who may know no more than the primary key of the row that an UPDATE changed.
 * The result stands in r->data until the next call. *too_large: it became an error 413.
 */
struct pr_slice rt_render(struct rt_render *r, const struct rt_change *c, enum rt_match_error error,
                          const bool *columns, bool old_hidden, bool *too_large);

#endif
