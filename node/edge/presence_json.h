/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_json.h - presence entries as the JSON that clients know.
 *
 *   state  {KEY:{"metas":[{…,"phx_ref":R},…]},…}
 *   diff   {"joins":{…},"leaves":{…}}         joins of an update also carry "phx_ref_prev"
 */
#ifndef NODE_EDGE_PRESENCE_JSON_H
#define NODE_EDGE_PRESENCE_JSON_H

#include "proto/mesh.h"

/* Entries of a packed list, ordered by key. */
struct rt_shown {
    struct pr_pshown *at;
    uint32_t count;
};
/* Gives the entries of `list`, which they borrow from; at most `count` of them. */
struct rt_shown rt_shown_unpack(struct pr_slice list, uint32_t count);
void rt_shown_free(struct rt_shown *s);

/* The object of keys. */
void rt_shown_put(struct pr_outbuf *o, const struct rt_shown *s);

struct rt_shown_diff {
    struct rt_shown joins, leaves;
};
void rt_shown_put_diff(struct pr_outbuf *o, const void *diff);

/*
 * Appends a client's object without its own "phx_ref" and "phx_ref_prev", which are ours.
 * PR_ETYPE if it is no object.
 */
PR_MUST_CHECK int rt_meta_put(struct pr_outbuf *o, struct pr_slice object);

#endif
