/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_in.h - what the files of this folder share: the structures of one edge process.
 *
 * One root (struct rt_edge) is passed down. Who owns what:
 *   socket  owned by the edge from the accepted handshake until on_close; owns its channels
 *   channel owned by its socket; holds one reference to its topic and one to its token
 *   topic   lives while a channel or an observer refers to it
 *   token   shared and counted; the cache holds one reference of its own
 *   project lives while it is in the settings, or a socket, topic or request refers to it
 */
#ifndef NODE_EDGE_EDGE_IN_H
#define NODE_EDGE_EDGE_IN_H

#include "cluster/edge.h"
#include "node/base/alloc.h"
#include "node/base/config.h"
#include "node/base/ipc.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "node/base/metrics.h"
#include "node/edge/authorize.h"
#include "node/edge/limits.h"
#include "node/edge/outq.h"
#include "node/edge/ratelimit.h"
#include "node/edge/slots.h"
#include "node/edge/transport.h"
#include "node/edge/users.h"
#include "node/edge/wheel.h"
#include "proto/join.h"
#include "proto/mesh_node.h"
#include "proto/phoenix.h"

#define RT_TOPIC_PREFIX     "realtime:"
#define RT_TOPIC_PREFIX_LEN 9u

struct rt_changes;  /* registrations of the process, registrations.h */
struct rt_bindings; /* of one channel, changes.h */
struct rt_casts;    /* broadcasts of the database, casts.h */
struct rt_ready;    /* a channel that waits for the database, ready.h */
struct rt_access;   /* questions of rights, access.h */
struct rt_rights;   /* of one private channel, rights.h */
struct rt_store;    /* a broadcast that is being stored, store.h */
struct rt_replay;   /* stored broadcasts of one private channel, replay.h */
struct rt_pending;  /* a join that is not answered yet, pending.h */
struct rt_tracker;  /* a channel's side of presence, presence_view.h */
struct rt_roster;   /* a topic's side of presence, presence_view.h */
struct rt_observer; /* realtimectl sub, ctl.h */
struct rt_waiting;  /* a message behind a decision, hold.h */
struct rt_late;     /* refusals that are held back, say.h */
struct rt_settings; /* those that projects share, projects.h */

/* A ref or join_ref kept beyond its message: 14 bytes inline, longer ones on the heap. */
struct rt_ref {
    uint8_t len;
    bool token;
    union {
        uint8_t in[14];
        uint8_t *heap;
    } u;
};

/* A place of a channel in a list of its topic. The socket stands here too, so that fan-out touches
 * no channel. */
struct rt_seat {
    struct rt_socket *socket;
    struct rt_channel *channel;
};
struct rt_seats {
    struct rt_seat *at;
    uint32_t count, cap;
};

struct rt_topic {
    uint64_t hash;
    struct rt_project *project;
    uint32_t handle; /* of cle_subscribe */
    uint32_t refs;   /* channels, joined or waiting, and observers */
    bool subscribed; /* the fence stands */
    uint16_t key_len;
    uint16_t name_len;
    struct rt_seats seats[2];   /* joined channels by vsn - 1 */
    struct rt_pending *pending; /* joins that wait for the fence */
    struct rt_replay *replays;  /* channels that wait for stored broadcasts, or got some */
    struct rt_roster *roster;   /* NULL: no channel here wants presence */
    struct rt_observer *observers;
    uint64_t cast_stream; /* of the last broadcast of the database; 0: none was */
    struct pr_pos cast_pos;
    uint8_t text[]; /* the key (mesh.h), then the name with its prefix */
};

/* At most 192 bytes: see the static assert in channel.c. */
struct rt_channel {
    uint64_t id; /* of rt_edge.channels; its slot is the presence slot */
    struct rt_socket *socket;
    struct rt_topic *topic;
    struct rt_channel *next; /* of the socket */
    struct rt_token *token;
    struct rt_pending *pending;  /* until the join is answered */
    struct rt_bindings *changes; /* NULL: no postgres_changes */
    struct rt_tracker *tracker;
    struct rt_rights *rights;    /* NULL: the channel is public */
    struct rt_replay *replay;    /* NULL: none was asked for, or long ago */
    struct rt_store *store;      /* what is sent waits behind it; NULL: nothing does */
    uint64_t unstored_ms;        /* nothing is to be stored before that, */
    uint32_t unstored;           /* enum pr_rights_status: for this reason */
    char *held_token;            /* pushed too soon after the last one */
    struct rt_wheel_entry timer; /* warning, expiry, or the held token */
    uint64_t refreshed_ms;
    struct rt_ref join_ref;
    uint32_t seat;     /* in topic->seats[vsn - 1] */
    uint32_t presence; /* in topic->roster */
    bool self, ack, legacy;
    bool warned;        /* of the end of its token, or shall not be */
    bool seated;        /* has a seat in the topic */
    bool presence_on;   /* has a seat in the roster */
    bool presence_told; /* got its presence_state: diffs may follow */
};

/* At most 384 bytes: see the static assert in socket.c. */
struct rt_socket {
    enum rt_user_kind kind; /* RT_USER_SOCKET */
    struct rt_edge *edge;
    struct rt_project *project;
    struct rt_conn *conn;
    struct rt_outq out;
    struct rt_socket *next, *prev; /* all of the edge */
    struct rt_socket *dirty_next;
    struct rt_channel *channels;
    struct rt_token *token; /* of the handshake */
    struct rt_late *late;
    struct rt_waiting *backlog;  /* behind decisions that have come, hold.h */
    char *headers;               /* x- headers of the handshake as JSON; NULL: none */
    struct rt_wheel_entry clock; /* idle, ping, no channels; or the end of a close */
    uint64_t id;
    uint64_t seen_ms;        /* something was received */
    uint64_t empty_since_ms; /* no channel since */
    uint64_t bad_since_ms, refused_since_ms, told_rate_ms;
    uint32_t bad, refused; /* malformed messages and refused joins since then */
    uint32_t nchannels;
    struct rt_bucket joins, events;
    uint64_t behind_ms;           /* since when, see pace.h; 0: all was taken */
    uint32_t taken, behind_taken; /* bytes of the queue that were, now and then */
    const char *close_reason;     /* static */
    uint16_t close_code;          /* not 0: going; nothing is read or queued any more */
    uint8_t vsn;                  /* enum pr_vsn */
    bool open, dirty, blocked, pinged, warned, left_behind, client, closing, close_sent;
};

/* Connection to the owner, link.c. */
struct rt_link {
    struct rt_ipc *ipc; /* NULL: none */
    bool up;            /* HELLO was answered */
    uint32_t tries;     /* since it was last up */
    struct rt_timer retry;
    uint64_t node;             /* id of the node, from HELLO_OK */
    struct pr_cluster cluster; /* as the owner said last; zeros while it is not up */
};

struct rt_topics {
    struct rt_topic **at; /* open addressing, a power of two */
    uint32_t cap, count;
    uint64_t seed;
    struct rt_topic **by_handle; /* index: cle handle */
    uint32_t handles;
};

/* Growing text of one message in the making. */
struct rt_scratch {
    uint8_t *p;
    size_t cap;
};

/* Refused handshakes of one source address, http_connect.c. Collisions share a row. */
#define RT_SOURCES 256u
struct rt_source {
    uint64_t hash;
    uint64_t since_ms;
    uint32_t refused;
};

/* What the clients of one project share and those of others never see. */
struct rt_project {
    struct rt_edge *edge;
    const struct rt_config *cfg;  /* its settings as they are now; its name is in there */
    struct rt_settings *settings; /* where these are; NULL: those of the start */
    uint32_t id;                  /* from 1, never used again by this process */
    uint32_t refs;                /* sockets, topics and requests; one of the list */
    bool gone;                    /* from the settings */
    struct rt_auth *auth;
    struct rt_changes *changes;
    struct rt_casts *casts;
    struct rt_ready *ready;
    bool replicating; /* somebody reads what the database broadcasts */
    bool late; /* somebody did before it was known here: broadcasts may have come to nobody */
    struct rt_limit limit[RT_LIMITS]; /* of all its clients, by enum rt_limit_id */
    struct rt_tally *tally;           /* of its figures; NULL: it is gone, or there is no room */
    uint32_t nsockets, nchannels;     /* open, joined */
    uint32_t nclients;                /* sockets with a channel */
    uint64_t elsewhere;               /* the same of other edges and nodes */
    uint32_t told;                    /* of nclients, as the owner knows it */
    uint32_t asks;                    /* questions of rights under way, access.h */
    size_t private_bytes;             /* of rt_edge.private_bytes */
    size_t upload_bytes;              /* of rt_edge.upload_bytes */
};

struct rt_edge {
    const struct rt_config *cfg;  /* of the node, as at the start */
    struct rt_settings *settings; /* as they are now; NULL: as at the start */
    struct rt_project *projects[RT_PROJECTS_MAX];
    uint32_t nprojects, last_project;
    uint32_t reg_turn; /* index of the project that told a registration last */
    uint32_t last_reg; /* handle, of any project: one that left and came back uses none again */
    char foreign[RT_PROJECTS_MAX][RT_PROJECT_NAME_MAX + 1]; /* not here, but read; ready.c */
    uint32_t nforeign;
    struct rt_timer tell; /* counts of clients */
    bool telling;         /* they were told a moment ago */
    const struct rt_role_args *args;
    struct rt_log *log;
    struct rt_metrics *metrics;
    struct rt_loop *loop;
    uint64_t now_ms; /* of this turn */
    struct rt_wheel wheel;
    struct rt_transport *transport;
    struct rt_pool pool; /* memory of cle */
    struct cle *cle;
    struct rt_timer cle_timer;
    struct rt_link link;
    struct rt_topics topics;
    struct rt_slots channels;
    struct rt_slots acks; /* struct rt_ack, broadcast.c */
    struct rt_access *access;
    struct rt_slots replays; /* questions under way, replay.c */
    struct rt_slots stores;  /* the same, store.c */
    size_t private_bytes;    /* of requests and messages that wait for the policies, access.h */
    size_t upload_bytes;     /* of bodies on their way in, http_api.h */
    struct rt_observer *observers;
    struct rt_socket *sockets;
    struct rt_socket *dirty_head, *dirty_tail;
    struct rt_timer more; /* sockets left to flush: another turn at once */
    uint64_t next_socket;
    uint32_t nsockets, nchannels, nclients;
    struct rt_scratch scratch;
    struct rt_source sources[RT_SOURCES];
    struct rt_timer drain;
    struct rt_timer keys;                    /* when they are read again */
    uint64_t verified_before, cached_before; /* counters of earlier lives of this process */
    bool draining, started;
};

/* A metric of the edge, and of the project; NULL: of none. */
static inline void rt_count_for(const struct rt_edge *e, const struct rt_project *p,
                                enum rt_metric id, uint64_t n)
{
    rt_count(e->metrics, id, n);
    if (p != NULL && p->tally != NULL) {
        rt_tally_count(p->tally, id, n);
    }
}
static inline void rt_project_count(const struct rt_project *p, enum rt_metric id, uint64_t n)
{
    rt_count_for(p->edge, p, id, n);
}

static inline struct pr_slice rt_topic_key(const struct rt_topic *t)
{
    return (struct pr_slice){.p = t->text, .n = t->key_len};
}
/* With "realtime:". */
static inline struct pr_slice rt_topic_name(const struct rt_topic *t)
{
    return (struct pr_slice){.p = t->text + t->key_len, .n = t->name_len};
}
/* Without. */
static inline struct pr_slice rt_topic_sub(const struct rt_topic *t)
{
    return (struct pr_slice){.p = t->text + t->key_len + RT_TOPIC_PREFIX_LEN,
                             .n = t->name_len - RT_TOPIC_PREFIX_LEN};
}

#endif
