/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_node.h - frames between nodes, and those by which a change of view reaches the edges.
 *
 * Same frame, same rules as mesh.h. On links between nodes these travel beside SUB, SUB_OK, UNSUB,
 * PUB, PUB_OK, EVENT, P_DELTA, P_PULL, CHG_* and CTL*, whose layouts do not differ there. Between
 * nodes only ids name a node; 0 is no node.
 */
#ifndef PROTO_MESH_NODE_H
#define PROTO_MESH_NODE_H

#include "proto/addr.h"
#include "proto/mesh.h"

/*
 * First frame of who dials. Names both ends, so that a handshake sent back to its sender, or led
 * to another node, is noticed although both ends know the same secret.
 */
struct pr_node_hello {
    uint64_t cluster; /* hash of the cluster's name: two clusters never merge by a wrong seed */
    uint64_t from_id;
    uint64_t to_id; /* 0: unknown, first contact by a seed */
    uint64_t epoch; /* of the sending owner process; a higher one replaces a lower one */
    uint32_t proto_min, proto_max;
    struct pr_slice name;       /* 1 .. PR_ID_MAX bytes */
    struct pr_slice build;      /* text for people; 0 .. PR_ID_MAX bytes */
    struct pr_addr addr;        /* where the sender wants to be reached */
    struct pr_slice client_url; /* where clients reach the sender; 0 .. PR_TEXT_MAX bytes */
};
/* Answer of who was dialled. */
struct pr_node_hello_ok {
    uint32_t proto; /* chosen from both ranges */
    uint64_t from_id, to_id;
    uint64_t epoch;       /* of the answering owner process */
    uint64_t view_hash;   /* another than the own one: sync */
    struct pr_slice name; /* 1 .. PR_ID_MAX bytes */
};

/* Liveness of one link; PONG returns the token of the PING. */
struct pr_ping {
    uint64_t token;
};

/* Last frame before a link is closed on purpose. Unknown codes are shown as numbers. */
enum pr_bye_code {
    PR_BYE_LEAVE = 1,    /* the sender leaves the cluster, or stops */
    PR_BYE_CLUSTER = 2,  /* the receiver belongs to another cluster */
    PR_BYE_SELF = 3,     /* it is the sender itself */
    PR_BYE_TARGET = 4,   /* the HELLO was meant for another node */
    PR_BYE_NAME = 5,     /* another node has this name */
    PR_BYE_VERSION = 6,  /* no protocol version in common */
    PR_BYE_PROTO = 7,    /* the receiver sent what it may not */
    PR_BYE_OVERFLOW = 8, /* the receiver takes frames too slowly */
    PR_BYE_REPLACED = 9, /* another link of the same two nodes, or a newer life, took its place */
    PR_BYE_TIMEOUT = 10, /* nothing was heard for too long */
    PR_BYE_KEY = 11,     /* the key of this link is no key of the cluster any more */
    PR_BYE_OVER = 12     /* the receiver has left, or is held for dead */
};
struct pr_bye {
    uint32_t code;        /* enum pr_bye_code */
    struct pr_slice text; /* for people; 0 .. PR_ID_MAX bytes */
};

/* Stands behind EVENTs that the sender wants to hear of. A mark is never dropped; an EVENT that was
 * is missed by its count. */
struct pr_mark {
    uint64_t mark; /* counts on this link, from 1 */
    bool now;      /* somebody waits: do not gather */
};
/* Everything up to that mark was taken. */
struct pr_link_ack {
    uint64_t mark;
};

/* Hash over all that the sender knows of members; unequal ones are followed by SYNC. */
struct pr_sync_hash {
    uint64_t hash;
    bool want_reply;
};
/* Everything known of members. The decoder only checks that `facts` are nfacts msgpack items; what
 * each of them says is taken, and checked, by pr_fact_next of proto/gossip.h. */
struct pr_sync {
    bool want_reply; /* the receiver sends its own SYNC back, with false */
    uint32_t nfacts;
    struct pr_slice facts; /* packed */
};

/* The edges attached to the sender, all of them: another actor of its is gone. */
struct pr_actors {
    uint64_t epoch; /* of the sending owner process */
    uint32_t nactors;
    struct pr_slice actors; /* packed [index, boot], walk with pr_actors_next */
};
void pr_actor_put(struct pr_outbuf *o, uint32_t index, uint64_t boot);
/* Takes the next element off `list`. 1 = taken, 0 = none left, negative = damaged. */
PR_MUST_CHECK int pr_actors_next(struct pr_slice *list, uint32_t *index, uint64_t *boot);

/* Owner to edge: the node's standing in the cluster, at once and whenever it changes. */
struct pr_cluster {
    bool joined;      /* it has found the others, or goes on alone */
    uint32_t members; /* in the cluster and not known to be dead, this node included */
};

/*
 * Sockets with a joined channel in a project; the last one told of it counts. From edge to owner
 * and from node to node those of the sender, from owner to edge those of all others.
 */
struct pr_clients {
    uint64_t count;
    struct pr_slice project; /* empty from an older node, which knows one alone */
};

/* Everything the sender ordered before is ahead of this frame on this link. */
struct pr_view {
    uint64_t view; /* hash of the view it has adopted */
};
/* Every SUB that the sender has for the receiver in this view is ahead of this frame. */
struct pr_sub_all {
    uint64_t view;
};
/* Answer to a PUB or SUB: the sender does not own this partition. */
struct pr_not_owner {
    uint32_t part;
    uint64_t view; /* of the sender */
};

/*
 * Owner to edge, AGAIN: send every publish that is not yet confirmed once more, in order. Edge to
 * owner, AGAIN_OK with the same number: from here on they come. A PUB before it is dropped.
 */
struct pr_again {
    uint64_t gen; /* counts the owner's AGAINs */
};

/* "Send the events of this topic from `from` on again." */
struct pr_resync {
    struct pr_slice topic;
    struct pr_epoch epoch;
    uint64_t from; /* first seq that is missing */
};

/* What the sender holds of one kind, as a hash: unequal ones are settled by P_DIGEST and P_PULL.
 * Equal content gives equal hashes on every node, in whatever order it came. */
struct pr_p_sum {
    uint32_t kind; /* given by the presence code; an unknown one is not answered */
    uint64_t hash;
    uint32_t entries;
};

/*
 * READER: an owner tells its db whether it is to read the changes; the db tells its owner that it
 * does, and this goes on to all nodes. A term orders those who ever held the slot of one server: by
 * timeline, then by an LSN that was written once the slot was held. Zeros but for HELD.
 */
enum pr_reader_state {
    PR_READER_STOP = 0,  /* to db: another node is elected; to nodes: `node` asks no more; to edges:
                            nobody reads */
    PR_READER_START = 1, /* to db: this node is elected; again: frames were lost, read them anew */
    PR_READER_HELD = 2,  /* from db, to nodes and edges: `node` holds the slot, in this term */
    PR_READER_KNOWN = 3  /* to db: every edge that is known to live has been named by CHG_SYNCED */
};
struct pr_reader {
    struct pr_slice project;
    uint32_t term_timeline;
    uint64_t term_lsn;
    uint64_t node;
    uint32_t state;  /* enum pr_reader_state */
    uint64_t system; /* identifier of the server whose slot it is; 0 but for HELD */
    uint32_t casts;  /* HELD: not 0 if what the database broadcasts is read too */
};

/* Appends one whole frame. Never fails by itself: look at pr_out_ok(). */
void pr_node_hello_encode(struct pr_outbuf *o, const struct pr_node_hello *m);
void pr_node_hello_ok_encode(struct pr_outbuf *o, const struct pr_node_hello_ok *m);
void pr_ping_encode(struct pr_outbuf *o, const struct pr_ping *m);
void pr_pong_encode(struct pr_outbuf *o, const struct pr_ping *m);
void pr_bye_encode(struct pr_outbuf *o, const struct pr_bye *m);
void pr_mark_encode(struct pr_outbuf *o, const struct pr_mark *m);
void pr_link_ack_encode(struct pr_outbuf *o, const struct pr_link_ack *m);
void pr_sync_hash_encode(struct pr_outbuf *o, const struct pr_sync_hash *m);
void pr_sync_encode(struct pr_outbuf *o, const struct pr_sync *m);
void pr_actors_encode(struct pr_outbuf *o, const struct pr_actors *m);
void pr_cluster_encode(struct pr_outbuf *o, const struct pr_cluster *m);
void pr_clients_encode(struct pr_outbuf *o, const struct pr_clients *m);
void pr_view_encode(struct pr_outbuf *o, const struct pr_view *m);
void pr_sub_all_encode(struct pr_outbuf *o, const struct pr_sub_all *m);
void pr_not_owner_encode(struct pr_outbuf *o, const struct pr_not_owner *m);
void pr_again_encode(struct pr_outbuf *o, const struct pr_again *m);
void pr_again_ok_encode(struct pr_outbuf *o, const struct pr_again *m);
void pr_resync_encode(struct pr_outbuf *o, const struct pr_resync *m);
void pr_p_sum_encode(struct pr_outbuf *o, const struct pr_p_sum *m);
void pr_reader_encode(struct pr_outbuf *o, const struct pr_reader *m);

/* PR_OK or an error of enum pr_err; on error *m is unspecified. */
PR_MUST_CHECK int pr_node_hello_decode(const struct pr_frame *f, struct pr_node_hello *m);
PR_MUST_CHECK int pr_node_hello_ok_decode(const struct pr_frame *f, struct pr_node_hello_ok *m);
PR_MUST_CHECK int pr_ping_decode(const struct pr_frame *f, struct pr_ping *m);
PR_MUST_CHECK int pr_pong_decode(const struct pr_frame *f, struct pr_ping *m);
PR_MUST_CHECK int pr_bye_decode(const struct pr_frame *f, struct pr_bye *m);
PR_MUST_CHECK int pr_mark_decode(const struct pr_frame *f, struct pr_mark *m);
PR_MUST_CHECK int pr_link_ack_decode(const struct pr_frame *f, struct pr_link_ack *m);
PR_MUST_CHECK int pr_sync_hash_decode(const struct pr_frame *f, struct pr_sync_hash *m);
PR_MUST_CHECK int pr_sync_decode(const struct pr_frame *f, struct pr_sync *m);
PR_MUST_CHECK int pr_actors_decode(const struct pr_frame *f, struct pr_actors *m);
PR_MUST_CHECK int pr_cluster_decode(const struct pr_frame *f, struct pr_cluster *m);
PR_MUST_CHECK int pr_clients_decode(const struct pr_frame *f, struct pr_clients *m);
PR_MUST_CHECK int pr_view_decode(const struct pr_frame *f, struct pr_view *m);
PR_MUST_CHECK int pr_sub_all_decode(const struct pr_frame *f, struct pr_sub_all *m);
PR_MUST_CHECK int pr_not_owner_decode(const struct pr_frame *f, struct pr_not_owner *m);
PR_MUST_CHECK int pr_again_decode(const struct pr_frame *f, struct pr_again *m);
PR_MUST_CHECK int pr_again_ok_decode(const struct pr_frame *f, struct pr_again *m);
PR_MUST_CHECK int pr_resync_decode(const struct pr_frame *f, struct pr_resync *m);
PR_MUST_CHECK int pr_p_sum_decode(const struct pr_frame *f, struct pr_p_sum *m);
PR_MUST_CHECK int pr_reader_decode(const struct pr_frame *f, struct pr_reader *m);

#endif
