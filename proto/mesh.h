/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh.h - what processes say to each other: one struct, one encode and one decode per message.
 *
 * Frame:  u32be length (of what follows) | u8 type | u8 class | u16be flags | msgpack array |
 * payload
 *
 * The same frames travel on the Unix sockets of a node (edge - owner - db) and on the TCP links
 * between nodes. A client's payload stays raw bytes behind the array; nobody here looks into it.
 * Decoders borrow from the frame's bytes, allocate nothing, accept longer arrays than they know
 * (fields are only ever added at the end) and refuse shorter ones, wrong types, lengths over the
 * bounds below and, in messages without payload, trailing bytes.
 *
 * Messages that only nodes exchange, and those that a change of view needs, are in mesh_node.h;
 * what the policies of the database allow is asked by mesh_rights.h, what the database broadcasts
 * is handed on by mesh_cast.h.
 */
#ifndef PROTO_MESH_H
#define PROTO_MESH_H

#include "proto/bytes.h"

/* Protocol versions this build speaks. */
#define PR_PROTO_MIN 1u
#define PR_PROTO_MAX 1u

/* Longest frame after its length field, in bytes. 8 MiB + 64 KiB: a client message of the largest
 * allowed frame (5 000 000 bytes), or one batch of changes, fits whole; a length above it is
 * refused before anything is allocated. */
#define PR_FRAME_MAX     (8u * 1024u * 1024u + 65536u)
#define PR_FRAME_HEAD    8u     /* length, type, class, flags */
#define PR_TOPIC_KEY_MAX 2048u  /* bytes of a topic key */
#define PR_ID_MAX        255u   /* presence key, names and other short texts, in bytes */
#define PR_LIST_MAX      65536u /* elements of any array inside a frame */
/* Filters, table and column names as clients wrote them, messages, claims, in bytes. Who takes
 * them from a client refuses longer ones there: encoders do not look, decoders cut the peer. */
#define PR_TEXT_MAX 65535u

enum pr_type {
    PR_T_HELLO = 0x01,
    PR_T_HELLO_OK = 0x02,
    PR_T_PING = 0x03,
    PR_T_PONG = 0x04,
    PR_T_LINK_ACK = 0x05,
    PR_T_BYE = 0x06,
    PR_T_ATTACHED = 0x07, /* the sender has told all its subscriptions and presences */
    PR_T_NODE_HELLO = 0x08,
    PR_T_NODE_HELLO_OK = 0x09,
    PR_T_SYNC_HASH = 0x10,
    PR_T_SYNC = 0x11,
    PR_T_ACTORS = 0x12,
    PR_T_CLUSTER = 0x13,
    PR_T_CLIENTS = 0x14,
    PR_T_SUB = 0x20,
    PR_T_SUB_OK = 0x21,
    PR_T_UNSUB = 0x22,
    PR_T_SUB_ALL = 0x23,
    PR_T_NOT_OWNER = 0x24,
    PR_T_VIEW = 0x25,
    PR_T_RESYNC = 0x28,
    PR_T_AGAIN = 0x2a,
    PR_T_AGAIN_OK = 0x2b,
    PR_T_MARK = 0x2c,
    PR_T_PUB = 0x30,
    PR_T_PUB_OK = 0x31,
    PR_T_EVENT = 0x32,
    PR_T_RIGHTS_ASK = 0x40,
    PR_T_RIGHTS = 0x41,
    PR_T_REPLAY_ASK = 0x42,
    PR_T_REPLAY = 0x43,
    PR_T_STORE_ASK = 0x44,
    PR_T_STORE = 0x45,
    PR_T_P_DELTA = 0x50,
    PR_T_P_DIGEST = 0x52,
    PR_T_P_PULL = 0x53,
    PR_T_P_SUM = 0x54,
    PR_T_P_VIEW_GET = 0x58,
    PR_T_P_VIEW = 0x59,
    PR_T_P_DIFF = 0x5a,
    PR_T_CHG_REG = 0x60,
    PR_T_CHG = 0x61,
    PR_T_CHG_OK = 0x62,
    PR_T_READER = 0x63,
    PR_T_CHG_UNREG = 0x64,
    PR_T_CHG_REG_OK = 0x65,
    PR_T_CHG_SYNC = 0x66,
    PR_T_CHG_SYNCED = 0x67,
    PR_T_CHG_SYS = 0x68,
    PR_T_CHG_GONE = 0x69,
    PR_T_CAST = 0x6a,
    PR_T_CAST_OK = 0x6b,
    PR_T_CTL = 0x70,
    PR_T_CTL_REPLY = 0x71
};

/* What a frame counts as where a queue overflows; a function of its type. It says nothing of order:
 * a Unix socket is one FIFO for all, a link between nodes one for PING PONG BYE SYNC* CTL* and one
 * for everything else. */
enum pr_class { PR_C_CONTROL = 1, PR_C_CHANGES = 2, PR_C_PRESENCE = 3, PR_C_BROADCAST = 4 };

enum pr_role { PR_ROLE_EDGE = 1, PR_ROLE_DB = 2, PR_ROLE_OWNER = 3 };

/* One frame inside a receive buffer; array and payload are not yet split. */
struct pr_frame {
    uint8_t type;
    uint8_t cls;
    uint16_t flags;
    struct pr_slice body;  /* msgpack array, then payload */
    struct pr_slice whole; /* the frame with its length field, to pass it on unchanged */
};

/*
 * Takes the first frame of `in`. Returns its total length (> 0), 0 if more bytes are needed,
 * PR_ERANGE if the length is over PR_FRAME_MAX or below the head, PR_EVERSION for an unknown class.
 */
PR_MUST_CHECK long pr_frame_next(struct pr_slice in, struct pr_frame *out);

/* An owner's life for one partition. Compared for equality only. */
struct pr_epoch {
    uint64_t node;
    uint64_t boot;
    uint32_t count;
};
bool pr_epoch_eq(struct pr_epoch a, struct pr_epoch b);

/* A place in the count that somebody makes of a topic's events; zeros: none. */
struct pr_place {
    struct pr_epoch epoch;
    uint64_t seq;
};

struct pr_hello {
    uint32_t proto_min, proto_max;
    uint32_t role;           /* enum pr_role */
    uint32_t index;          /* of the edge; of db, among the db processes of the node */
    uint64_t boot;           /* random, one per process life; names the actor of an edge */
    struct pr_slice project; /* of db: whose database it has; empty for an edge */
};
struct pr_hello_ok {
    uint32_t proto;
    uint64_t node;  /* id of the node */
    uint64_t epoch; /* of this owner process */
    struct pr_slice name;
};

/*
 * `topic` is always a topic key: project, 0x00, '0' (public) or '1' (private), topic name without
 * the prefix "realtime:". It is opaque to the cluster.
 */
struct pr_sub {
    struct pr_slice topic;
    bool presence;         /* wants presence diffs */
    struct pr_epoch epoch; /* last event taken, zeros if none */
    uint64_t seq;
    struct pr_place origin; /* of an edge: the same place as the topic's owner counts */
};
struct pr_sub_ok {
    struct pr_slice topic;
    struct pr_epoch epoch;  /* zeros: refused, the owner holds no more topics */
    uint64_t seq;           /* everything after it reaches the subscriber */
    struct pr_place origin; /* to an edge, and if another node owns the topic: the place there */
};
struct pr_unsub {
    struct pr_slice topic;
};

#define PR_PUB_ACK 1u /* answer when every subscribed node has it (P5) */
/* Never given up and never refused for want of room: what its publisher sends behind it would make
 * it a repeat. Who sets it sends little at a time. */
#define PR_PUB_KEEP 2u

/* A publish; (boot, part, oseq) names it for ever. */
struct pr_pub {
    uint32_t part;
    struct pr_slice topic;
    uint64_t boot; /* of the publishing edge */
    uint64_t oseq; /* counts this edge's publishes in this partition, from 1 */
    uint32_t flags;
    struct pr_slice payload;
};
enum pr_pub_result { PR_PUB_DONE = 0, PR_PUB_REPEAT = 1, PR_PUB_TIMEOUT = 2, PR_PUB_FULL = 3 };
struct pr_pub_ok {
    uint32_t part;
    uint64_t oseq;
    uint32_t result; /* enum pr_pub_result */
    uint64_t boot;   /* of the publishing edge; 0 from a peer that does not know this field */
};
/* A publish in the owner's order; to an edge as its own node counts, which may not be the owner. */
struct pr_event {
    struct pr_slice topic;
    struct pr_epoch epoch;
    uint64_t seq;
    uint64_t boot; /* of the edge that published it */
    uint32_t part;
    uint64_t oseq;
    uint32_t flags;
    struct pr_slice payload;
    struct pr_place
        origin; /* to an edge: where the topic's owner has it, if that is another node */
};

/* One presence entry of an actor. */
struct pr_pent {
    uint64_t n;    /* the dot's counter */
    uint32_t slot; /* of the edge; one entry per (topic, actor, slot) at a time */
    struct pr_slice key;
    struct pr_slice meta; /* a JSON object without phx_ref */
};
/*
 * Delta interval (a, b] of one actor in one topic: adds = entries alive at b with a < n <= b,
 * dels = dots <= a removed in it. a = 0: full state. `adds` and `dels` stay packed; walk them with
 * pr_padds_next / pr_pdels_next.
 */
struct pr_p_delta {
    struct pr_slice topic;
    uint64_t actor; /* boot of the edge */
    uint64_t a, b;
    uint32_t nadds, ndels;
    struct pr_slice adds, dels;
};
/* Writers for the packed lists; pass the result of one pass over all as adds / dels. */
void pr_padd_put(struct pr_outbuf *o, const struct pr_pent *e);
void pr_pdel_put(struct pr_outbuf *o, uint64_t n);
/* Takes the next element off `list`. 1 = taken, 0 = none left, negative = damaged. */
PR_MUST_CHECK int pr_padds_next(struct pr_slice *list, struct pr_pent *e);
PR_MUST_CHECK int pr_pdels_next(struct pr_slice *list, uint64_t *n);

/* One sender's whole knowledge of an actor, as a hash: equal or a P_PULL / full delta follows.
 * From the owner it answers ATTACHED, and says that the owner has heard all edges. */
struct pr_p_digest {
    uint64_t actor;
    uint64_t hash;
    uint32_t entries;
};
/* "Tell me everything after ctx of this actor in this topic"; topic empty = in all topics. */
struct pr_p_pull {
    struct pr_slice topic;
    uint64_t actor;
    uint64_t ctx;
};

/* An entry as shown to clients. phx_ref follows from (actor, n) by pr_phx_ref(). */
struct pr_pshown {
    struct pr_slice key;
    struct pr_slice meta;
    uint64_t actor, n;
    uint64_t prev_n; /* joins of an update: the dot it replaces, same actor; else 0 */
};
#define PR_PHX_REF_LEN 16u
/* 16 url-safe base64 characters of 48 bits of mix(actor) and 48 bits of n; the same on each node.
 */
void pr_phx_ref(uint64_t actor, uint64_t n, char out[PR_PHX_REF_LEN]);

struct pr_p_view_get {
    struct pr_slice topic;
};
/* State of a topic as last shown; a large one comes in several frames, in order. */
struct pr_p_view {
    struct pr_slice topic;
    bool first, last;
    uint32_t count;
    struct pr_slice list; /* packed pr_pshown */
};
/* One exact diff: both lists in one frame. */
struct pr_p_diff {
    struct pr_slice topic;
    uint32_t njoins, nleaves;
    struct pr_slice joins, leaves; /* packed pr_pshown */
};
void pr_pshown_put(struct pr_outbuf *o, const struct pr_pshown *e);
PR_MUST_CHECK int pr_pshown_next(struct pr_slice *list, struct pr_pshown *e);

/*
 * One distinct subscription to changes of one edge: channels of the edge with equal parameters,
 * role and claims share it. `handle` is the edge's name for it, unique for the edge's life.
 */
struct pr_chg_reg {
    struct pr_slice project;
    uint64_t boot;
    uint32_t handle;
    struct pr_slice event;  /* INSERT, UPDATE, DELETE or *; upper case */
    struct pr_slice schema; /* "*" = all */
    struct pr_slice table;  /* "*" = all */
    bool has_filter;
    struct pr_slice filter; /* as the client sent it */
    bool has_select;
    uint32_t nselect;
    struct pr_slice select; /* packed strings, walk with pr_strs_next */
    struct pr_slice role;
    struct pr_slice claims; /* JSON object, as passed to request.jwt.claims */
    uint64_t life;          /* counts the edge's links to its owner; 0 from an older peer */
};
void pr_str_put(struct pr_outbuf *o, struct pr_slice s);
PR_MUST_CHECK int pr_strs_next(struct pr_slice *list, struct pr_slice *s);

struct pr_chg_unreg {
    struct pr_slice project;
    uint64_t boot;
    uint32_t handle;
};
/* REFUSED: and with it every subscription of a channel that has it. CANCELLED: its filter failed
 * too often, or its policies were too slow: it alone gets nothing more. WAIT: database trouble, it
 * will be tried again. */
enum pr_chg_status { PR_CHG_LIVE = 0, PR_CHG_REFUSED = 1, PR_CHG_WAIT = 2, PR_CHG_CANCELLED = 3 };
/* Verdict on a registration; may come again (refused, later live after a table was published). */
struct pr_chg_reg_ok {
    struct pr_slice project;
    uint64_t boot;
    uint32_t handle;
    uint32_t status;         /* enum pr_chg_status */
    struct pr_slice message; /* text for the client's `system` message; empty if live */
    /* Of the registration. When a link ends the reader may forget what was registered on it, and a
     * verdict that is still on its way says nothing of what is registered again. */
    uint64_t life;
};
/* db to every edge: tell me all your registrations, then CHG_SYNCED. Starts a reader's life; from
 * then on the edge's owner passes to it what the edge says. */
struct pr_chg_sync {
    struct pr_slice project;
    uint64_t round; /* echoed in CHG_SYNCED; differs between readers */
};
/* Answer of an edge. With round 0 an owner tells its db that an edge lives, of whatever node. */
struct pr_chg_synced {
    struct pr_slice project;
    uint64_t boot;
    uint64_t round;
};
/* db to edges: `system` message for every channel with postgres_changes (boot 0), or one handle. */
struct pr_chg_sys {
    struct pr_slice project;
    uint64_t boot;
    uint32_t handle; /* 0 = all */
    bool ok;
    struct pr_slice message;
};
/* owner to db: this edge is gone, forget what it registered. */
struct pr_chg_gone {
    uint64_t boot;
};

/* Project of any CHG_* frame but CHG_GONE, or of READER; nothing else of it is looked at. */
PR_MUST_CHECK int pr_chg_project(const struct pr_frame *f, struct pr_slice *project);

/* Position in the change stream: end LSN of the commit, ordinal of the row in its transaction. */
struct pr_pos {
    uint64_t lsn;
    uint64_t seq;
};
/* <0, 0, >0 like memcmp. */
int pr_pos_cmp(struct pr_pos a, struct pr_pos b);

/*
 * A batch of changes, or with no bodies only a position. Every node, and then every edge, of which
 * a boot is among the targets gets a frame of those bodies; a position goes to all once a second.
 * `stream` names (system identifier, timeline) by a hash: another value resets the edge's duplicate
 * filter.
 */
struct pr_chg {
    struct pr_slice project;
    uint64_t stream;
    struct pr_pos first, last; /* last: everything up to it is in this frame or an earlier one */
    uint32_t nbodies;
    struct pr_slice bodies; /* packed, walk with pr_chg_bodies_next */
};
enum pr_op_kind { PR_K_INSERT = 1, PR_K_UPDATE = 2, PR_K_DELETE = 3 };
struct pr_chg_body {
    struct pr_pos pos;
    uint32_t kind;        /* enum pr_op_kind */
    struct pr_slice data; /* the JSON object `data` of a postgres_changes message */
    uint32_t ntargets;
    struct pr_slice targets; /* packed (boot, handle), walk with pr_chg_targets_next */
};
void pr_chg_body_put(struct pr_outbuf *o, const struct pr_chg_body *b);
PR_MUST_CHECK int pr_chg_bodies_next(struct pr_slice *list, struct pr_chg_body *b);
void pr_chg_target_put(struct pr_outbuf *o, uint64_t boot, uint32_t handle);
PR_MUST_CHECK int pr_chg_targets_next(struct pr_slice *list, uint64_t *boot, uint32_t *handle);

/* Everything up to `pos` is in the queues of this edge's sockets. */
struct pr_chg_ok {
    struct pr_slice project;
    uint64_t boot;
    uint64_t stream;
    struct pr_pos pos;
};

/* A question of realtimectl, passed from the owner to edges and db. Payload: JSON arguments. */
struct pr_ctl {
    uint32_t id;
    struct pr_slice cmd;
    struct pr_slice args;
};
/* Answer: payload holds rows, one JSON object per line; `last` ends this process's answer. */
struct pr_ctl_reply {
    uint32_t id;
    bool last;
    struct pr_slice rows;
};

/* Appends one whole frame. Never fails by itself: look at pr_out_ok(). */
void pr_hello_encode(struct pr_outbuf *o, const struct pr_hello *m);
void pr_hello_ok_encode(struct pr_outbuf *o, const struct pr_hello_ok *m);
void pr_attached_encode(struct pr_outbuf *o);
void pr_sub_encode(struct pr_outbuf *o, const struct pr_sub *m);
void pr_sub_ok_encode(struct pr_outbuf *o, const struct pr_sub_ok *m);
void pr_unsub_encode(struct pr_outbuf *o, const struct pr_unsub *m);
void pr_pub_encode(struct pr_outbuf *o, const struct pr_pub *m);
void pr_pub_ok_encode(struct pr_outbuf *o, const struct pr_pub_ok *m);
void pr_event_encode(struct pr_outbuf *o, const struct pr_event *m);
void pr_p_delta_encode(struct pr_outbuf *o, const struct pr_p_delta *m);
void pr_p_digest_encode(struct pr_outbuf *o, const struct pr_p_digest *m);
void pr_p_pull_encode(struct pr_outbuf *o, const struct pr_p_pull *m);
void pr_p_view_get_encode(struct pr_outbuf *o, const struct pr_p_view_get *m);
void pr_p_view_encode(struct pr_outbuf *o, const struct pr_p_view *m);
void pr_p_diff_encode(struct pr_outbuf *o, const struct pr_p_diff *m);
void pr_chg_reg_encode(struct pr_outbuf *o, const struct pr_chg_reg *m);
void pr_chg_unreg_encode(struct pr_outbuf *o, const struct pr_chg_unreg *m);
void pr_chg_reg_ok_encode(struct pr_outbuf *o, const struct pr_chg_reg_ok *m);
void pr_chg_sync_encode(struct pr_outbuf *o, const struct pr_chg_sync *m);
void pr_chg_synced_encode(struct pr_outbuf *o, const struct pr_chg_synced *m);
void pr_chg_sys_encode(struct pr_outbuf *o, const struct pr_chg_sys *m);
void pr_chg_gone_encode(struct pr_outbuf *o, const struct pr_chg_gone *m);
void pr_chg_encode(struct pr_outbuf *o, const struct pr_chg *m);
void pr_chg_ok_encode(struct pr_outbuf *o, const struct pr_chg_ok *m);
void pr_ctl_encode(struct pr_outbuf *o, const struct pr_ctl *m);
void pr_ctl_reply_encode(struct pr_outbuf *o, const struct pr_ctl_reply *m);

/* PR_OK or an error of enum pr_err; on error *m is unspecified. */
PR_MUST_CHECK int pr_hello_decode(const struct pr_frame *f, struct pr_hello *m);
PR_MUST_CHECK int pr_hello_ok_decode(const struct pr_frame *f, struct pr_hello_ok *m);
PR_MUST_CHECK int pr_attached_decode(const struct pr_frame *f);
PR_MUST_CHECK int pr_sub_decode(const struct pr_frame *f, struct pr_sub *m);
PR_MUST_CHECK int pr_sub_ok_decode(const struct pr_frame *f, struct pr_sub_ok *m);
PR_MUST_CHECK int pr_unsub_decode(const struct pr_frame *f, struct pr_unsub *m);
PR_MUST_CHECK int pr_pub_decode(const struct pr_frame *f, struct pr_pub *m);
PR_MUST_CHECK int pr_pub_ok_decode(const struct pr_frame *f, struct pr_pub_ok *m);
PR_MUST_CHECK int pr_event_decode(const struct pr_frame *f, struct pr_event *m);
PR_MUST_CHECK int pr_p_delta_decode(const struct pr_frame *f, struct pr_p_delta *m);
PR_MUST_CHECK int pr_p_digest_decode(const struct pr_frame *f, struct pr_p_digest *m);
PR_MUST_CHECK int pr_p_pull_decode(const struct pr_frame *f, struct pr_p_pull *m);
PR_MUST_CHECK int pr_p_view_get_decode(const struct pr_frame *f, struct pr_p_view_get *m);
PR_MUST_CHECK int pr_p_view_decode(const struct pr_frame *f, struct pr_p_view *m);
PR_MUST_CHECK int pr_p_diff_decode(const struct pr_frame *f, struct pr_p_diff *m);
PR_MUST_CHECK int pr_chg_reg_decode(const struct pr_frame *f, struct pr_chg_reg *m);
PR_MUST_CHECK int pr_chg_unreg_decode(const struct pr_frame *f, struct pr_chg_unreg *m);
PR_MUST_CHECK int pr_chg_reg_ok_decode(const struct pr_frame *f, struct pr_chg_reg_ok *m);
PR_MUST_CHECK int pr_chg_sync_decode(const struct pr_frame *f, struct pr_chg_sync *m);
PR_MUST_CHECK int pr_chg_synced_decode(const struct pr_frame *f, struct pr_chg_synced *m);
PR_MUST_CHECK int pr_chg_sys_decode(const struct pr_frame *f, struct pr_chg_sys *m);
PR_MUST_CHECK int pr_chg_gone_decode(const struct pr_frame *f, struct pr_chg_gone *m);
PR_MUST_CHECK int pr_chg_decode(const struct pr_frame *f, struct pr_chg *m);
PR_MUST_CHECK int pr_chg_ok_decode(const struct pr_frame *f, struct pr_chg_ok *m);
PR_MUST_CHECK int pr_ctl_decode(const struct pr_frame *f, struct pr_ctl *m);
PR_MUST_CHECK int pr_ctl_reply_decode(const struct pr_frame *f, struct pr_ctl_reply *m);

#endif
