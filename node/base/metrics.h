/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - counters of all processes of a node in one shared file, RUNTIME_DIR/metrics.
 *
 * One slot per process (role, index), written only by it with plain 64-bit stores, read by any
 * process at any time: /metrics on an edge, `realtimectl status` when nobody answers. Counters go
 * on over a restart of their process; gauges start at 0. A new metric is a new row of the table.
 * What clients do is counted for each project too, in a tally per edge and project.
 */
#ifndef NODE_BASE_METRICS_H
#define NODE_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/errors.h"

enum rt_metric_kind { RT_COUNTER = 1, RT_GAUGE };

/* Which role writes it; shown with the labels node, role and index. */
enum rt_role { RT_SUPERVISOR = 0, RT_OWNER, RT_DB, RT_EDGE };
#define RT_ROLES     4u
#define RT_EDGES_MAX 64u
#define RT_DBS_MAX   64u
#define RT_SLOTS     (2u + RT_EDGES_MAX + RT_DBS_MAX)
/* "supervisor", "owner", "db", "edge". */
const char *rt_role_name(enum rt_role role);
/* False if `name` is none. */
bool rt_role_parse(const char *name, enum rt_role *role);

/* id, role, kind, name (prefix realtime_ is added), help */
#define RT_METRICS(X)                                                                              \
    X(RT_M_RESTARTS, RT_SUPERVISOR, RT_COUNTER, "restarts_total",                                  \
      "Processes started again after they ended by themselves")                                    \
    X(RT_M_HANGS, RT_SUPERVISOR, RT_COUNTER, "hangs_total",                                        \
      "Processes ended because their loop stood still")                                            \
    X(RT_M_NOFILE_MAX, RT_SUPERVISOR, RT_GAUGE, "nofile_max",                                      \
      "Descriptors that one process may open")                                                     \
    X(RT_M_OWNER_PUBLISHED, RT_OWNER, RT_COUNTER, "published_total",                               \
      "Publishes taken and ordered")                                                               \
    X(RT_M_OWNER_EVENTS, RT_OWNER, RT_COUNTER, "events_total", "Ordered events sent to edges")     \
    X(RT_M_OWNER_REPEATS, RT_OWNER, RT_COUNTER, "event_repeat_total",                              \
      "Repeated publishes dropped")                                                                \
    X(RT_M_OWNER_PARKED, RT_OWNER, RT_COUNTER, "publish_parked_total",                             \
      "Publishes that waited for edges to attach")                                                 \
    X(RT_M_OWNER_FULL, RT_OWNER, RT_COUNTER, "publish_full_total",                                 \
      "Publishes refused because a table was full")                                                \
    X(RT_M_OWNER_SUB_REFUSED, RT_OWNER, RT_COUNTER, "subscribe_refused_total",                     \
      "Subscriptions refused because the topic table was full")                                    \
    X(RT_M_OWNER_DIFFS, RT_OWNER, RT_COUNTER, "presence_diffs_total", "Presence diffs made")       \
    X(RT_M_OWNER_PUTS, RT_OWNER, RT_COUNTER, "presence_puts_total", "Presence entries put")        \
    X(RT_M_OWNER_DELS, RT_OWNER, RT_COUNTER, "presence_dels_total", "Presence entries removed")    \
    X(RT_M_OWNER_TOPICS, RT_OWNER, RT_GAUGE, "topics", "Topics with subscribers")                  \
    X(RT_M_OWNER_PRESENCES, RT_OWNER, RT_GAUGE, "presence_entries", "Presence entries held")       \
    X(RT_M_OWNER_LINKS, RT_OWNER, RT_GAUGE, "links", "Links to other nodes that are up")           \
    X(RT_M_OWNER_LINK_BYTES_OUT, RT_OWNER, RT_COUNTER, "link_bytes_out_total",                     \
      "Bytes sent to other nodes over links")                                                      \
    X(RT_M_OWNER_LINK_BYTES_IN, RT_OWNER, RT_COUNTER, "link_bytes_in_total",                       \
      "Bytes received from other nodes over links")                                                \
    X(RT_M_OWNER_LINK_REFUSED, RT_OWNER, RT_COUNTER, "link_refused_total",                         \
      "Connections of the mesh refused or cut for what they said")                                 \
    X(RT_M_OWNER_UDP_BYTES_OUT, RT_OWNER, RT_COUNTER, "gossip_bytes_out_total",                    \
      "Bytes of datagrams sent to other nodes")                                                    \
    X(RT_M_OWNER_UDP_REFUSED, RT_OWNER, RT_COUNTER, "gossip_refused_total",                        \
      "Datagrams refused: not ours, altered, repeated")                                            \
    X(RT_M_OWNER_FORWARDED, RT_OWNER, RT_COUNTER, "publish_forwarded_total",                       \
      "Publishes passed on to the node that owns their topic")                                     \
    X(RT_M_OWNER_GAPS, RT_OWNER, RT_COUNTER, "mesh_gap_total",                                     \
      "Holes seen in the events of other nodes, asked for again")                                  \
    X(RT_M_OWNER_GAP_LOST, RT_OWNER, RT_COUNTER, "mesh_gap_lost_total",                            \
      "Events of other nodes that stayed missing")                                                 \
    X(RT_M_OWNER_VIEWS, RT_OWNER, RT_COUNTER, "views_total", "Changes of who owns what")           \
    X(RT_M_OWNER_SUMS_DIFFER, RT_OWNER, RT_COUNTER, "presence_digest_mismatch_total",              \
      "Times that a node held presence otherwise and told all again")                              \
    X(RT_M_OWNER_CUTS, RT_OWNER, RT_COUNTER, "ipc_cut_total",                                      \
      "Local connections cut for a malformed frame or a full queue")                               \
    X(RT_M_OWNER_CLIENTS_ELSEWHERE, RT_OWNER, RT_GAUGE, "clients_elsewhere",                       \
      "Sockets with a joined channel at linked nodes")                                             \
    X(RT_M_CONNECTIONS, RT_EDGE, RT_GAUGE, "connections", "Open WebSockets")                       \
    X(RT_M_CHANNELS, RT_EDGE, RT_GAUGE, "channels", "Joined channels")                             \
    X(RT_M_CLIENTS, RT_EDGE, RT_GAUGE, "clients", "Sockets with a joined channel")                 \
    X(RT_M_CONNECTS, RT_EDGE, RT_COUNTER, "connects_total", "WebSockets opened")                   \
    X(RT_M_CONNECT_REFUSED, RT_EDGE, RT_COUNTER, "connect_refused_total",                          \
      "WebSocket handshakes answered with an error")                                               \
    X(RT_M_REQUESTS, RT_EDGE, RT_COUNTER, "http_requests_total",                                   \
      "HTTP requests, handshakes excluded")                                                        \
    X(RT_M_JOINS, RT_EDGE, RT_COUNTER, "joins_total", "Channels joined")                           \
    X(RT_M_JOIN_REFUSED, RT_EDGE, RT_COUNTER, "join_refused_total",                                \
      "Joins answered with an error")                                                              \
    X(RT_M_MESSAGES_IN, RT_EDGE, RT_COUNTER, "messages_in_total", "Messages from clients")         \
    X(RT_M_BYTES_IN, RT_EDGE, RT_COUNTER, "bytes_in_total", "Bytes of messages from clients")      \
    X(RT_M_BROADCASTS, RT_EDGE, RT_COUNTER, "broadcasts_total",                                    \
      "Broadcasts taken from clients, REST included")                                              \
    X(RT_M_DELIVERIES, RT_EDGE, RT_COUNTER, "deliveries_total", "Messages queued to clients")      \
    X(RT_M_BYTES_OUT, RT_EDGE, RT_COUNTER, "bytes_out_total", "Bytes queued to clients")           \
    X(RT_M_CHANGES_OUT, RT_EDGE, RT_COUNTER, "changes_delivered_total",                            \
      "Database changes queued to clients")                                                        \
    X(RT_M_CHANGES_PACED, RT_EDGE, RT_COUNTER, "changes_paced_ms_total",                           \
      "Milliseconds that database changes waited for clients to take those before")                \
    X(RT_M_SLOW_CLOSED, RT_EDGE, RT_COUNTER, "slow_consumer_closed_total",                         \
      "Sockets closed with 1013")                                                                  \
    X(RT_M_SLOW_WARNED, RT_EDGE, RT_COUNTER, "slow_consumer_warned_total",                         \
      "Sockets whose queue passed half its bound")                                                 \
    X(RT_M_LIMITED_CLIENTS, RT_EDGE, RT_COUNTER, "limited_clients_total",                          \
      "Connects and joins refused: too many clients")                                              \
    X(RT_M_LIMITED_CHANNELS, RT_EDGE, RT_COUNTER, "limited_channels_total",                        \
      "Joins refused: too many channels of one socket")                                            \
    X(RT_M_LIMITED_JOINS, RT_EDGE, RT_COUNTER, "limited_joins_total",                              \
      "Connects and joins refused: too many joins per second")                                     \
    X(RT_M_LIMITED_EVENTS, RT_EDGE, RT_COUNTER, "limited_events_total",                            \
      "Broadcasts refused, or channels shut: too many messages")                                   \
    X(RT_M_LIMITED_PRESENCE, RT_EDGE, RT_COUNTER, "limited_presence_total",                        \
      "Presence calls refused, or channels shut: too many")                                        \
    X(RT_M_LIMITED_PAYLOAD, RT_EDGE, RT_COUNTER, "limited_payload_total",                          \
      "Broadcasts, tracks and joins refused: too large")                                           \
    X(RT_M_BAD_INPUT, RT_EDGE, RT_COUNTER, "bad_input_total",                                      \
      "Client messages that were malformed")                                                       \
    X(RT_M_EVENT_GAPS, RT_EDGE, RT_COUNTER, "event_gap_total", "Gaps seen in an owner's order")    \
    X(RT_M_UNCONFIRMED, RT_EDGE, RT_GAUGE, "publish_unconfirmed",                                  \
      "Publishes kept until the owner confirms")                                                   \
    X(RT_M_TOKENS_VERIFIED, RT_EDGE, RT_COUNTER, "tokens_verified_total", "Signatures verified")   \
    X(RT_M_TOKENS_CACHED, RT_EDGE, RT_COUNTER, "tokens_cached_total", "Tokens found in the cache") \
    X(RT_M_OWNER_LINK, RT_EDGE, RT_GAUGE, "owner_link_up", "1 while attached to the owner")        \
    X(RT_M_DB_UP, RT_DB, RT_GAUGE, "database_up", "1 while the database answers")                  \
    X(RT_M_DB_STREAMING, RT_DB, RT_GAUGE, "replication_up", "1 while changes are read")            \
    X(RT_M_DB_RECONNECTS, RT_DB, RT_COUNTER, "database_reconnects_total",                          \
      "Connections made again")                                                                    \
    X(RT_M_DB_TRANSACTIONS, RT_DB, RT_COUNTER, "transactions_total", "Transactions decoded")       \
    X(RT_M_DB_CHANGES, RT_DB, RT_COUNTER, "changes_total", "Row changes decoded")                  \
    X(RT_M_DB_ROUTED, RT_DB, RT_COUNTER, "changes_routed_total", "Change bodies sent to edges")    \
    X(RT_M_DB_RLS_CHECKS, RT_DB, RT_COUNTER, "rls_checks_total", "Queries for row-level security") \
    X(RT_M_DB_PLANS_SHARED, RT_DB, RT_GAUGE, "rls_plans_shared",                                   \
      "1 while no function declared IMMUTABLE may read claims")                                    \
    X(RT_M_DB_RLS_COMPILED, RT_DB, RT_COUNTER, "rls_compiled_total",                               \
      "Rows that a compiled policy judged, for one claims set")                                    \
    X(RT_M_DB_RLS_DIFFER, RT_DB, RT_COUNTER, "rls_differ_total",                                   \
      "Rows that REALTIME_RLS_COMPILE=shadow judged otherwise than Postgres")                      \
    X(RT_M_DB_TOO_LARGE, RT_DB, RT_COUNTER, "changes_too_large_total",                             \
      "Changes sent without their values (413)")                                                   \
    X(RT_M_DB_MESSAGES, RT_DB, RT_COUNTER, "messages_total", "Rows of realtime.messages decoded")  \
    X(RT_M_DB_MESSAGES_DROPPED, RT_DB, RT_COUNTER, "messages_dropped_total",                       \
      "Rows of realtime.messages that cannot be broadcast")                                        \
    X(RT_M_DB_STORED, RT_DB, RT_COUNTER, "messages_stored_total",                                  \
      "Broadcasts of clients that were stored")                                                    \
    X(RT_M_DB_SUBSCRIPTIONS, RT_DB, RT_GAUGE, "subscriptions",                                     \
      "Registered subscriptions to changes")                                                       \
    X(RT_M_DB_LAG_BYTES, RT_DB, RT_GAUGE, "slot_lag_bytes", "WAL written but not yet confirmed")   \
    X(RT_M_DB_CONFIRMED, RT_DB, RT_GAUGE, "slot_confirmed_lsn", "Confirmed position of the slot")

enum rt_metric {
#define RT_X(id, role, kind, name, help) id,
    RT_METRICS(RT_X)
#undef RT_X
        RT_METRICS_COUNT
};

struct rt_slot {
    _Atomic uint64_t pid;      /* 0: never started */
    _Atomic uint64_t start_ms; /* unix ms of this life */
    _Atomic uint64_t value[RT_METRICS_COUNT];
    char project[64]; /* of a db process among several, for the label; empty: there is one */
};

/* Of the metrics above, those that an edge also counts for each project. */
#define RT_TALLY_FIRST RT_M_CONNECTIONS
#define RT_TALLY_COUNT (RT_M_BAD_INPUT - RT_TALLY_FIRST + 1u)

struct rt_tally {
    _Atomic uint64_t used; /* 1 while it is of `project` */
    char project[64];
    _Atomic uint64_t value[RT_TALLY_COUNT];
};

/* What the file holds. */
struct rt_metrics_file {
    struct rt_slot slots[RT_SLOTS];
    struct rt_tally tallies[RT_EDGES_MAX][RT_DBS_MAX];
    char node[256]; /* name of the node, NUL at its end */
};

struct rt_metrics {
    struct rt_metrics_file *file; /* mapped, or owned */
    struct rt_slot *slots;        /* RT_SLOTS, of the file */
    const char *node;             /* of the file; empty if not known */
    struct rt_slot *own;          /* NULL for a mere reader */
    struct rt_tally *tallies;     /* RT_DBS_MAX, of an edge; else NULL */
    size_t map_bytes;
};

/* Creates the file with all slots 0 (supervisor); `node` of at most 255 bytes. 0 or an error. */
int rt_metrics_create(const char *runtime_dir, const char *node, struct rt_error *err);
/* Maps it and takes the slot of (role, index): sets pid and start, clears its gauges. */
int rt_metrics_open(struct rt_metrics *m, const char *runtime_dir, enum rt_role role,
                    uint32_t index, struct rt_error *err);
/* The own slot is of this project from now on; one that was another's begins at 0. */
void rt_metrics_of_project(struct rt_metrics *m, const char *project);
/* The process of a slot will not come back (supervisor). */
void rt_metrics_leave(struct rt_metrics *m, enum rt_role role, uint32_t index);
/* Maps it to read. */
int rt_metrics_open_reader(struct rt_metrics *m, const char *runtime_dir, struct rt_error *err);
/* Memory of its own instead of the file, for unit tests. */
void rt_metrics_private(struct rt_metrics *m);
void rt_metrics_close(struct rt_metrics *m);

static inline void rt_count(struct rt_metrics *m, enum rt_metric id, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&m->own->value[id], memory_order_relaxed);
    atomic_store_explicit(&m->own->value[id], v + n, memory_order_relaxed);
}
static inline void rt_gauge(struct rt_metrics *m, enum rt_metric id, uint64_t value)
{
    atomic_store_explicit(&m->own->value[id], value, memory_order_relaxed);
}

/* The own edge's tally of a project of at most 63 bytes. It goes on where it was; gauges begin at
 * 0. NULL: as many others are in use. */
struct rt_tally *rt_metrics_tally(const struct rt_metrics *m, const char *project);
/* The project is gone. NULL is nothing. */
void rt_tally_leave(struct rt_tally *t);
/* Of the own edge, those of projects that are gone since a life before. */
void rt_metrics_tally_leave(const struct rt_metrics *m,
                            bool (*lives)(const void *ctx, const char *project), const void *ctx);
static inline void rt_tally_gauge(struct rt_tally *t, enum rt_metric id, uint64_t value)
{
    atomic_store_explicit(&t->value[id - RT_TALLY_FIRST], value, memory_order_relaxed);
}
static inline void rt_tally_count(struct rt_tally *t, enum rt_metric id, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&t->value[id - RT_TALLY_FIRST], memory_order_relaxed);
    rt_tally_gauge(t, id, v + n);
}

/* Slot of a process, NULL if index is over the bound. */
const struct rt_slot *rt_metrics_slot(const struct rt_metrics *m, enum rt_role role,
                                      uint32_t index);
/* Index of the db process of a project; with one project that is not named by its slot: 0. */
uint32_t rt_metrics_db(const struct rt_metrics *m, const char *project);
/* Place of a process in m->slots, and back. False: there is none. */
bool rt_metrics_place(enum rt_role role, uint32_t index, uint32_t *at);
void rt_metrics_who(uint32_t at, enum rt_role *role, uint32_t *index);
uint64_t rt_metrics_get(const struct rt_metrics *m, enum rt_role role, uint32_t index,
                        enum rt_metric id);
/* Over all processes of the metric's role. */
uint64_t rt_metrics_sum(const struct rt_metrics *m, enum rt_metric id);
/* Whole Prometheus text (version 0.0.4) of all slots in use, labels node, role, index, and of all
 * tallies, named realtime_project_NAME, with the label project. Gives a string, to be freed by
 * rt_free; its length in *len. */
char *rt_metrics_text(const struct rt_metrics *m, const char *node, size_t *len);
/* Static description. */
struct rt_metric_info {
    const char *name, *help;
    enum rt_role role;
    enum rt_metric_kind kind;
};
struct rt_metric_info rt_metric_info(enum rt_metric id);

#endif
