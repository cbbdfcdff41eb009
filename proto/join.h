/* SPDX-License-Identifier: Apache-2.0 */
/*
 * join.h - what a client asks for with phx_join.
 *
 *   {"access_token":T?, "user_token":T?, "config":{
 *      "broadcast":{"self","ack","replay":{"since","limit"},"replication_ready"},
 *      "presence":{"enabled","key"}, "private", "postgres_changes":[{…},…],
 *      "postgres_changes_options":{"wait","timeout"}}?}
 *
 * Rules: booleans may be strings "true" and "false" in any case; null is as absent; unknown keys
 * are ignored. A wrong type leaves the default and is noted in `bad`, so that the caller can name
 * the field to the client instead of silently doing something else. Source: supabase/realtime,
 * channels/payloads/join.ex, and what SDKs really send.
 */
#ifndef PROTO_JOIN_H
#define PROTO_JOIN_H

#include "proto/bytes.h"
#include "proto/json_scan.h"

#define PR_JOIN_BINDINGS_MAX 100u /* of one channel, as Postgres Changes are limited there too */
#define PR_JOIN_BAD_MAX      16u  /* more than there are fields */

#define PR_JOIN_REPLAY_LIMIT     10u /* rows, when the client names no limit; clamped to 1..MAX */
#define PR_JOIN_REPLAY_LIMIT_MAX 25u
#define PR_JOIN_REPLAY_SINCE_MAX 253402300799999 /* ms: the end of the year 9999 */
#define PR_JOIN_WAIT_MS          15000u
#define PR_JOIN_WAIT_MS_MAX      20000u

/* A field that is not what it must be. Both are static texts. */
struct pr_join_bad {
    const char *field; /* "broadcast.self" */
    const char *want;  /* "a boolean" */
};

struct pr_join {
    struct pr_slice access_token; /* plain text; empty if absent */
    struct pr_slice user_token;
    bool legacy; /* no "config": one subscription to changes, named by the topic */
    bool self;
    bool ack;
    bool replication_ready;
    bool has_replay;
    bool replay_bad; /* since or limit is not an integer, or since is no time */
    int64_t replay_since_ms;
    uint32_t replay_limit;
    bool presence;                /* true if enabled, or if a presence object does not say */
    struct pr_slice presence_key; /* UTF-8; empty: the caller makes one */
    bool is_private;
    bool private_bad; /* wrong type: the join must be refused, never be public */
    bool wait;
    uint32_t wait_ms;
    uint32_t nbindings;       /* objects in it, nulls not counted */
    struct pr_slice bindings; /* array text, empty if none; walk with pr_bindings_* */
    uint32_t nbad;
    struct pr_join_bad bad[PR_JOIN_BAD_MAX];
};

/*
 * Parses a join's payload (JSON text of any type). Borrows it and the memory of `scratch`, of which
 * payload.n bytes are always enough. PR_OK; PR_ESYNTAX, PR_EDEPTH, PR_EUTF8; PR_ESHORT (scratch);
 * PR_ERANGE (more bindings than PR_JOIN_BINDINGS_MAX).
 */
PR_MUST_CHECK int pr_join_parse(struct pr_slice payload, struct pr_outbuf *scratch,
                                struct pr_join *j);
/* "private must be a boolean" */
void pr_join_put_bad(struct pr_outbuf *o, const struct pr_join_bad *bad);

/* One entry of postgres_changes. */
struct pr_binding {
    struct pr_slice raw; /* the object as sent: the reply repeats it, with an id added */
    const char *event;   /* "INSERT", "UPDATE", "DELETE" or "*" */
    bool has_schema;
    bool has_table;         /* neither of both: the subscription must be refused */
    struct pr_slice schema; /* "*" = all; "public" if only a table is given */
    struct pr_slice table;  /* "*" = all */
    bool has_filter;        /* false for null, absent and blank ones */
    struct pr_slice filter; /* plain text */
    bool has_select;
    bool select_bad;        /* not an array of strings */
    struct pr_slice select; /* array text of strings; walk with pr_json_next */
    const char *bad; /* first of event, schema, table, filter that is not a string, or NULL */
    uint32_t id;     /* 1 .. 2^27-1, the same for equal parameters as sent, on every node */
};

/* Starts on the bindings of a parsed join. */
void pr_bindings_open(const struct pr_join *j, struct pr_json_iter *it);
/* Next entry: 1, or 0 at the end. Plain texts go to `scratch` if they were escaped: raw.n bytes are
 * always enough; PR_ESHORT otherwise. */
PR_MUST_CHECK int pr_bindings_next(struct pr_json_iter *it, struct pr_outbuf *scratch,
                                   struct pr_binding *b);
/* The entry for the reply: as sent, with "id":ID as its last member. */
void pr_binding_put_reply(struct pr_outbuf *o, struct pr_slice raw, uint32_t id);

/*
 * The subscription of the legacy API, from a topic without "realtime:": schema[:table[:filter]].
 * False if the topic is empty. Borrows it.
 */
bool pr_binding_legacy(struct pr_slice topic, struct pr_binding *b);

#endif
