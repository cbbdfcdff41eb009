/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh.h - the links between the owner processes of a cluster: one TCP connection per pair of
 * nodes, which carries the frames of proto/mesh.h.
 *
 * Who may: TLS 1.3 with a pre-shared key of the ring (RFC 8446 2.2, psk_dhe_ke). After that both
 * ends say who they are; who dialled says NODE_HELLO first, the other answers NODE_HELLO_OK or BYE.
 * A link is up for the caller only once all of that has passed.
 *
 * One per pair: at most one link per id is up, and link_down is called before the next link_up of
 * the same id. If both ends dial at once, the connection that the smaller id dialled stays. A link
 * that is up and answers stays, whoever dialled it; one that does not answer within
 * RT_MESH_RIVAL_MS, or that belongs to an older epoch, gives way to the new one.
 *
 * Order and bounds: see lanes.h. All that is sent during one turn of the loop leaves at its end.
 *
 * Callbacks come from the loop alone, never from inside a call of rt_mesh_*; within one, every call
 * is allowed but rt_mesh_free.
 */
#ifndef NODE_OWNER_MESH_H
#define NODE_OWNER_MESH_H

#include "node/base/errors.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "node/owner/keys.h"
#include "node/owner/lanes.h"
#include "proto/addr.h"
#include "proto/mesh_node.h"

/* From the connection's first byte to the end of HELLO / HELLO_OK. */
#define RT_MESH_HELLO_MS 5000u
/* A PING goes out this often; a peer that was silent for longer than RT_MESH_SILENT_MS is gone. */
#define RT_MESH_PING_MS   10000u
#define RT_MESH_SILENT_MS 15000u
/* How long an old link has to answer a PING when the same peer comes with a new one. */
#define RT_MESH_RIVAL_MS 2000u
/* A peer about whom the caller is not sure yet is asked about again after this. */
#define RT_MESH_ADMIT_MS 100u
/* Pause before the next dial of one peer: base * 2^fails, at most max, each +-50 %. */
#define RT_MESH_BACKOFF_MS     100u
#define RT_MESH_BACKOFF_MAX_MS 5000u
/* A link whose key was taken out of the ring lives on at most this long. */
#define RT_MESH_REKEY_MS 3600000u
/* Connections from outside that have not shown a key yet. The oldest makes room for a new one. */
#define RT_MESH_STRANGERS_MAX 64u
/* Connections of all kinds: a link, a dial and a rival for each of 256 nodes is far below. */
#define RT_MESH_CONNS_MAX 1024u
/* Peers and seed addresses whose backoff is remembered. */
#define RT_MESH_TARGETS_MAX 512u

/* "leave", "cluster", ... of enum pr_bye_code; "unknown" for others. */
const char *rt_mesh_bye_name(uint32_t code);

/* How a link or a dial ended. */
enum rt_mesh_how {
    RT_MESH_EOF = 1, /* the peer closed it, said BYE, or its host sent RST */
    RT_MESH_REFUSED, /* nobody listens there, or no way to it (dials) */
    RT_MESH_TIMEOUT, /* no answer: silent, or the kernel gave up */
    RT_MESH_PROTO,   /* what came was wrong: bytes, key, identity */
    RT_MESH_CLOSED   /* closed here: rt_mesh_close, replaced, a queue over its bound */
};

struct rt_mesh;

struct rt_mesh_peer {
    uint64_t id;
    uint64_t epoch;             /* of its owner process */
    struct pr_slice name;       /* all slices: borrowed during the call */
    struct pr_addr addr;        /* as it advertises itself; of a peer we dialled, what we dialled */
    struct pr_slice build, url; /* empty of a peer we dialled: gossip tells them */
    uint64_t view;              /* hash of its membership when it answered our dial, else 0 */
    uint32_t proto;             /* version both ends agreed on */
};

/* Answers of rt_mesh_events.admit, beside enum pr_bye_code. */
#define RT_MESH_YES   0u
#define RT_MESH_LATER UINT32_MAX

struct rt_mesh_events {
    /*
     * May this peer have a link? It has shown a key, and no check of ours spoke against it. Asked
     * of both kinds: one that dialled us (its id may be our own), and one that answered our dial.
     * RT_MESH_YES; RT_MESH_LATER: the same question again every RT_MESH_ADMIT_MS, until
     * RT_MESH_HELLO_MS have passed since the connection began; else the code to refuse it with, and
     * in `text` (`cap` bytes) why. NULL: all may, but those with our own id.
     */
    uint32_t (*admit)(void *ctx, const struct rt_mesh_peer *peer, char *text, size_t cap);
    void (*link_up)(void *ctx, const struct rt_mesh_peer *peer);
    /* `why` is for logs; the rest was sent or is lost. Only after link_up. */
    void (*link_down)(void *ctx, uint64_t id, enum rt_mesh_how how, const char *why);
    /* All but HELLO, BYE and the PING and PONG with token 0. `f` is borrowed. */
    void (*frame)(void *ctx, uint64_t id, const struct pr_frame *f);
    /*
     * A dial ended without a link. id is 0 of a seed. Not called when a link to the same id came
     * up another way meanwhile.
     */
    void (*dial_failed)(void *ctx, uint64_t id, const struct pr_addr *addr, enum rt_mesh_how how,
                        const char *why);
    /*
     * The peer said BYE: in answer to a dial (then dial_failed is not called), or on a link that
     * was up (link_down follows; not called then for PR_BYE_REPLACED, which is no news). `code` is
     * enum pr_bye_code, or one that this build does not know. What to expect of a dial: SELF from a
     * seed that is ourselves; REPLACED from a seed to which there is a link already; NAME, VERSION,
     * CLUSTER from where we may not join.
     */
    void (*refused)(void *ctx, uint64_t id, const struct pr_addr *addr, uint32_t code,
                    struct pr_slice text);
};

/* 0 means the default of the constant of the same name; tests set shorter ones. */
struct rt_mesh_times {
    uint64_t hello_ms, ping_ms, silent_ms, rival_ms, admit_ms, backoff_ms, backoff_max_ms, rekey_ms;
};

struct rt_mesh_config {
    struct rt_loop *loop;
    struct rt_log *log;
    const struct rt_mesh_events *ev;
    void *ctx;
    struct pr_addr listen;    /* port 0: the kernel chooses, see rt_mesh_addr */
    struct pr_addr advertise; /* told to peers; family 0: the address that listens */
    uint64_t cluster_hash, id, epoch;
    const char *name, *build, *url; /* borrowed for the object's life; url may be empty */
    /* Borrowed for the object's life, may be reloaded at any time. NULL: plain TCP and everybody
     * is believed (REALTIME_CLUSTER_INSECURE, for tests alone). */
    const struct rt_keyring *keys;
    uint32_t proto_min, proto_max; /* 0: PR_PROTO_MIN and PR_PROTO_MAX */
    struct rt_mesh_times times;
};

/* All count up from 0. */
struct rt_mesh_counts {
    uint64_t dialed, dial_failed; /* attempts; those that ended without a link */
    uint64_t accepted;            /* connections from outside */
    uint64_t up, down;            /* links */
    uint64_t refused_key;         /* no valid key was shown, either direction */
    uint64_t refused_hello;       /* NODE_HELLO or its answer did not pass our checks */
    uint64_t refused_full;        /* strangers cut to make room, or over RT_MESH_CONNS_MAX */
    uint64_t hello_timeout;       /* did not finish in RT_MESH_HELLO_MS */
    uint64_t malformed;           /* frames that cannot be read, or may not come here */
    uint64_t silent;              /* links closed for silence */
    uint64_t duplicate;           /* second connections to one peer that were closed */
    uint64_t bytes_in, bytes_out; /* on the wire, with TLS */
    uint64_t frames_in, frames_out;
    struct rt_lanes_counts lanes; /* of all links, also of those that ended */
};

/* Gives an object that listens. NULL with the reason in *err. */
PR_MUST_CHECK struct rt_mesh *rt_mesh_new(const struct rt_mesh_config *cfg, struct rt_error *err);
/* Address it listens at. */
struct pr_addr rt_mesh_addr(const struct rt_mesh *m);
/* What NODE_HELLO_OK tells of our membership; 0 until set. */
void rt_mesh_set_view(struct rt_mesh *m, uint64_t view_hash);
/*
 * This process has another epoch from now on. What was said with the old one ends: links (BYE
 * replaced; link_down (CLOSED) follows in a later turn), and dials that have said HELLO, which are
 * made again.
 */
void rt_mesh_set_epoch(struct rt_mesh *m, uint64_t epoch);

/*
 * Wants a link. id 0: whoever answers at that address (a seed). Nothing happens if there is a link
 * or a dial to that id (or, for a seed, a dial to that address) already. Within the backoff it is
 * remembered, with the latest address, and done when that ends. One attempt per call: ends with
 * link_up, dial_failed or refused.
 */
void rt_mesh_dial(struct rt_mesh *m, uint64_t id, const struct pr_addr *addr);
/*
 * Queues whole frames (copies), each by the rule of its class. False: there is no link, or a frame
 * was not taken (it and what follows it is not sent); then either the class `changes` is full and
 * the link lives, or link_down is on its way.
 */
bool rt_mesh_send(struct rt_mesh *m, uint64_t id, struct pr_slice frames);
/* Bytes that wait on the link to `id`, frames with their bookkeeping; 0 if there is none. */
size_t rt_mesh_queued(const struct rt_mesh *m, uint64_t id, enum pr_class cls);
bool rt_mesh_is_up(const struct rt_mesh *m, uint64_t id);
/*
 * Ends the link and any dial to `id` (never 0); of a dial nobody hears. What the kernel takes at
 * once is sent, the rest is dropped, then BYE is said; link_down (CLOSED) follows in a later turn.
 * `text` is copied, cut to PR_ID_MAX bytes.
 */
void rt_mesh_close(struct rt_mesh *m, uint64_t id, enum pr_bye_code code, const char *text);

struct rt_mesh_link_info {
    struct rt_mesh_peer peer;
    bool dialled;      /* by us */
    uint64_t since_ms; /* rt_now_ms when it came up */
    uint64_t heard_ms; /* rt_now_ms of the last bytes from it */
    uint64_t bytes_in, bytes_out, frames_in, frames_out;
    uint64_t rtt_us;              /* of the last PING; 0: none answered yet */
    const struct rt_lanes *lanes; /* queued bytes and drops per class */
    const char *key;              /* identity of the key it came up with; empty: insecure */
};
/* Calls fn for every link that is up, by rising id. fn may call no rt_mesh_*. */
void rt_mesh_each(const struct rt_mesh *m, void (*fn)(void *ctx, const struct rt_mesh_link_info *l),
                  void *ctx);
struct rt_mesh_counts rt_mesh_counts(const struct rt_mesh *m);

/*
 * Says BYE (leave) on every link, behind what waits there, as far as the kernel takes it at once,
 * and ends all. No callback any more; memory is freed at the end of the turn. NULL is allowed.
 */
void rt_mesh_free(struct rt_mesh *m);

#endif
