/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - the one table of settings: field, name, kind, default, bounds, help.
 *
 * `realtimed --help`, the parser, the checks and the fields of struct rt_config come from it. A new
 * setting is a new row. Names are of the environment; in the file of --config the same in lower
 * case.
 *
 * TEXT(field, name, default or NULL, show, help)        show = false: a secret, never printed
 * LIST(field, name, show, help)                         comma list
 * NUM(field, name, default, supabase, min, max, help)   `supabase`: default of
 * REALTIME_LIMITS=supabase FLAG(field, name, default, help)                      on/off,
 * true/false, yes/no, 1/0, any case ONE(field, name, choices, default, help)              choices
 * separated by '|'
 */
#ifndef NODE_BASE_SETTINGS_H
#define NODE_BASE_SETTINGS_H

/* clang-format off */
#define RT_SETTINGS(TEXT, LIST, NUM, FLAG, ONE)                                                    \
    /* What runs, and where. */                                                                    \
    TEXT(listen, "REALTIME_LISTEN", "0.0.0.0:4000", true,                                          \
        "address:port for clients, REST and health")                                               \
    TEXT(admin_listen, "REALTIME_ADMIN_LISTEN", "127.0.0.1:4001", true,                            \
        "address:port for metrics; off = none")                                                    \
    TEXT(admin_token, "REALTIME_ADMIN_TOKEN", NULL, false,                                         \
        "bearer token of the admin listener; needed if it is not on loopback")                     \
    TEXT(tls_cert, "REALTIME_TLS_CERT", NULL, true,                                                \
        "PEM file of the certificate chain: TLS on the client listener")                           \
    TEXT(tls_key, "REALTIME_TLS_KEY", NULL, true, "PEM file of its private key")                   \
    NUM(edges, "REALTIME_EDGES", 0, 0, 1, 64, "edge processes; default: one per core")             \
    TEXT(node, "REALTIME_NODE", NULL, true, "name of the node, unique; default: the host's name")  \
    TEXT(runtime_dir, "REALTIME_RUNTIME_DIR", "/run/realtime", true,                               \
        "directory of sockets, pids and counters")                                                 \
    ONE(log_level, "REALTIME_LOG_LEVEL", "debug|info|warn|error", "info", "least level written")   \
    NUM(stop_ms, "REALTIME_STOP_MS", 10000, 10000, 100, 600000,                                    \
        "at SIGTERM, time for processes to end before they are killed")                              /* Other nodes. Without seeds and key there are none, and no port of the mesh is opened. */    \
    TEXT(cluster_listen, "REALTIME_CLUSTER_LISTEN", "0.0.0.0:7946", true,                          \
        "address:port for other nodes, UDP and TCP")                                               \
    TEXT(cluster_seeds, "REALTIME_CLUSTER_SEEDS", NULL, true,                                      \
        "comma list of host:port where other nodes are; a name stands for all its addresses")      \
    TEXT(cluster_key, "REALTIME_CLUSTER_KEY", NULL, false,                                         \
        "32 bytes in base64, the same on all nodes; comma list while it is changed")               \
    FLAG(cluster_insecure, "REALTIME_CLUSTER_INSECURE", false,                                     \
        "on: nodes talk without a key, for tests alone")                                           \
    TEXT(cluster_name, "REALTIME_CLUSTER_NAME", "realtime", true,                                  \
        "nodes of another name are not talked to")                                                 \
    TEXT(cluster_advertise, "REALTIME_CLUSTER_ADVERTISE", NULL, true,                              \
        "address:port where other nodes reach this one; default: as seen from the first seed")     \
    NUM(cluster_expect, "REALTIME_CLUSTER_EXPECT", 0, 0, 0, 256,                                   \
        "/readyz says no while fewer nodes are alive; 0 = a node alone is ready too")              \
    NUM(weight, "REALTIME_WEIGHT", 100, 100, 1, 1000,                                              \
        "share of the topics ordered here, beside the weights of the other nodes")                 \
    TEXT(zone, "REALTIME_ZONE", NULL, true, "rack or data centre, for operators to see")           \
    NUM(keys_recheck_s, "REALTIME_KEYS_RECHECK", 300, 300, 0, 86400,                               \
        "seconds after which keys are read again; 0 = at SIGHUP only")                             \
    /* A project: all from here on to the limits of the node may stand in a section. */            \
    LIST(aliases, "REALTIME_ALIASES", true,                                                        \
        "other first labels of a host that mean this project")                                     \
    /* Who may come in. */                                                                         \
    TEXT(jwt_secret, "REALTIME_JWT_SECRET", NULL, false,                                           \
        "secret of HS256, HS384, HS512 tokens, 32 bytes or more; this or the next is required")    \
    TEXT(jwt_jwks, "REALTIME_JWT_JWKS", NULL, false,                                               \
        "JWKS as JSON or as name of a file, for RS256, ES256, EdDSA and more")                     \
    TEXT(jwt_claims, "REALTIME_JWT_CLAIMS", NULL, true,                                            \
        "JSON object of claims that a token must have with exactly these values")                  \
    LIST(publishable_keys, "REALTIME_PUBLISHABLE_KEYS", false,                                     \
        "comma list of sb_publishable_ keys, taken as role anon")                                  \
    LIST(secret_keys, "REALTIME_SECRET_KEYS", false,                                               \
        "comma list of sb_secret_ keys, taken as role service_role")                               \
    NUM(token_grace_ms, "REALTIME_TOKEN_GRACE_MS", 10000, 0, 0, 600000,                            \
        "how long an authorized channel lives on after its token expired")                         \
    NUM(token_warn_ms, "REALTIME_TOKEN_WARN_MS", 60000, 0, 0, 3600000,                             \
        "how long before its end a channel is told that its token expires; 0 = not told")          \
    ONE(expired_event, "REALTIME_EXPIRED_EVENT", "close|error", "close",                           \
        "a channel whose token expired gets phx_close, or phx_error so that it rejoins")           \
    ONE(presence_update, "REALTIME_PRESENCE_UPDATE", "single|split", "single",                     \
        "split: a changed presence as two diffs, for realtime-js 2.100 to 2.110.8")                \
    FLAG(private_only, "REALTIME_PRIVATE_ONLY", false, "refuse public channels")                   \
    FLAG(suspend, "REALTIME_SUSPEND", false, "refuse all clients of this project")                 \
    /* Postgres. */                                                                                \
    TEXT(database_url, "REALTIME_DATABASE_URL", NULL, false,                                       \
        "libpq URL; without it Postgres Changes answer a clear error")                             \
    TEXT(database_check_url, "REALTIME_DATABASE_CHECK_URL", NULL, false,                           \
        "login that evaluates policies and owns nothing; default: REALTIME_DATABASE_URL")          \
    TEXT(publication, "REALTIME_PUBLICATION", "supabase_realtime", true,                           \
        "publication whose tables can be subscribed to")                                           \
    ONE(migrate, "REALTIME_MIGRATE", "on|off|print", "on",                                         \
        "bring the schema realtime up to date, check only, or print the SQL")                      \
    FLAG(broadcast_from_database, "REALTIME_BROADCAST_FROM_DATABASE", true,                        \
         "send what is inserted into realtime.messages, as realtime.send() does")                  \
    FLAG(auth_helpers, "REALTIME_AUTH_HELPERS", false,                                             \
        "create auth.uid(), auth.role() and kin where they are missing")                           \
    NUM(db_pool, "REALTIME_DB_POOL", 4, 4, 1, 64, "connections that evaluate policies")            \
    NUM(auth_cache_ms, "REALTIME_AUTH_CACHE_MS", 1000, 1000, 0, 60000,                             \
        "how long equal questions about private channels get the same answer")                     \
    NUM(auth_recheck_s, "REALTIME_AUTH_RECHECK", 300, 0, 0, 86400,                                 \
        "seconds after which a private channel's rights are looked at again; 0 = never")           \
    LIST(rls_claims, "REALTIME_RLS_CLAIMS", true,                                                  \
        "claims passed to policies of tables; default: all")                                       \
    ONE(rls_compile, "REALTIME_RLS_COMPILE", "on|off|shadow", "on",                                \
        "evaluate simple policies without Postgres; shadow: both, differences are counted")        \
    FLAG(delete_rls, "REALTIME_DELETE_RLS", false,                                                 \
         "policies judge deleted and old rows too; a DELETE that they cannot judge is not sent")   \
    FLAG(changes_lsn, "REALTIME_CHANGES_LSN", false, "put lsn and seq into every change")          \
    /* Limits: all from here to the end; rt_config_limit. */                                                                                  \
    ONE(limits, "REALTIME_LIMITS", "default|supabase", "default",                                  \
        "supabase: its limits, delays and reactions, as far as not set one by one")                \
    NUM(max_clients, "REALTIME_MAX_CLIENTS", 0, 200, 0, 100000000,                                 \
        "sockets with a joined channel; 0 = no limit")                                             \
    NUM(max_channels_per_client, "REALTIME_MAX_CHANNELS_PER_CLIENT", 100, 100, 1, 100000,          \
        "channels of one socket")                                                                  \
    NUM(max_joins_per_second, "REALTIME_MAX_JOINS_PER_SECOND", 0, 100, 0, 10000000,                \
        "joins of all clients; 0 = no limit")                                                      \
    NUM(max_client_joins_per_second, "REALTIME_MAX_CLIENT_JOINS_PER_SECOND", 50, 0, 0, 1000000,    \
        "joins of one socket, burst four times as much; 0 = no limit")                             \
    NUM(free_refusals, "REALTIME_FREE_REFUSALS", 3, 0, 0, 1000,                                    \
        "refusals in 10 s that are told at once; then joins of a socket wait 5 s, connects 2 s")   \
    NUM(max_events_per_second, "REALTIME_MAX_EVENTS_PER_SECOND", 0, 100, 0, 1000000000,            \
        "broadcasts taken and delivered, all clients; 0 = no limit")                               \
    NUM(max_client_events_per_second, "REALTIME_MAX_CLIENT_EVENTS_PER_SECOND", 1000, 0, 0,         \
        1000000, "broadcasts of one socket, burst twice as much; 0 = no limit")                    \
    NUM(max_presence_events_per_second, "REALTIME_MAX_PRESENCE_EVENTS_PER_SECOND", 0, 1000, 0,     \
        1000000000, "presence calls and diffs, all clients; 0 = no limit")                         \
    NUM(max_client_presence_events, "REALTIME_MAX_CLIENT_PRESENCE_EVENTS", 100, 5, 0, 1000000,     \
        "presence calls of one channel in the window; 0 = no limit")                               \
    NUM(client_presence_window_ms, "REALTIME_CLIENT_PRESENCE_WINDOW_MS", 30000, 30000, 100,        \
        3600000, "length of that window")                                                          \
    NUM(max_payload_kb, "REALTIME_MAX_PAYLOAD_KB", 3000, 3000, 1, 4800,                            \
        "payload of one broadcast or track, in 1000 bytes")                                        \
    NUM(max_record_bytes, "REALTIME_MAX_RECORD_BYTES", 1048576, 1048576, 1024, 4194304,            \
        "database change; larger ones come with error 413 and short values only")                  \
    NUM(max_queue_bytes, "REALTIME_MAX_QUEUE_BYTES", 4194304, 4194304, 65536, 1073741824,          \
        "waiting for one slow client, then it is closed with 1013")                                \
    NUM(idle_timeout_ms, "REALTIME_IDLE_TIMEOUT_MS", 75000, 60000, 100, 86400000,                  \
        "a socket that says nothing that long is closed")                                          \
    NUM(no_channel_timeout_ms, "REALTIME_NO_CHANNEL_TIMEOUT_MS", 600000, 600000, 100, 86400000,    \
        "a socket without a channel that long is closed")                                          \
    /* Those of the node. */                                                                       \
    NUM(max_frame_bytes, "REALTIME_MAX_FRAME_BYTES", 5000000, 5000000, 1024, 5000000,              \
        "WebSocket message of a client")                                                           \
    NUM(max_topics, "REALTIME_MAX_TOPICS", 0, 0, 1, 100000000,                                     \
        "topics with subscribers on this node; default: by its memory, 1000000 at most")     \
    NUM(max_presences, "REALTIME_MAX_PRESENCES", 0, 0, 1, 100000000,                               \
        "presence entries held; default: by its memory, 1000000 at most")                    \
    NUM(max_presences_per_topic, "REALTIME_MAX_PRESENCES_PER_TOPIC", 100000, 100000, 1, 10000000,  \
        "presence entries of one topic")
/* clang-format on */

#endif
