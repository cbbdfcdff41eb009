/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gossip.h - one datagram between nodes, before it is sealed: probes and facts about members.
 *
 *   msgpack [proto, cluster hash, [message, message, ...]]
 *
 *   PING     [1, seq, to_id, to_epoch]             ALIVE    [5, id, epoch, inc, name, addr, meta]
 *   PING_REQ [2, seq, to_id, to_epoch, to_addr]    SUSPECT  [6, id, epoch, inc, from_id]
 *   ACK      [3, seq, view_hash]                   DEAD     [7, id, epoch, inc, from_id]
 *   NACK     [4, seq]                              (DEAD with from_id = id: the node has left)
 *
 * The messages are those of SWIM (Das, Gupta, Motivala, DSN 2002) with the NACK of Lifeguard
 * (Dadgar, Phillips, Currey, DSN-W 2018). A whole fact is also an element of a SYNC frame.
 * Decoders borrow from the input, allocate nothing, skip fields and messages that they do not
 * know, and refuse everything else that differs from the above.
 */
#ifndef PROTO_GOSSIP_H
#define PROTO_GOSSIP_H

#include "proto/addr.h"
#include "proto/bytes.h"

/* Bytes of one datagram's payload: with the 44 bytes of the seal 1200, which pass an overlay
 * network and the least MTU of IPv6 (1280). Receivers take what the socket takes. */
#define PR_GOSSIP_MAX 1156u
/* Bounds of texts, so that a node's meta stays within PR_META_MAX bytes packed. */
#define PR_NODE_NAME_MAX  63u
#define PR_META_BUILD_MAX 32u
#define PR_META_URL_MAX   128u
#define PR_META_ZONE_MAX  32u
#define PR_META_MAX       256u
/* Packed bytes of one whole fact: head, id, epoch, inc, state, name, addr, meta. */
#define PR_FACT_MAX 384u
/* Share of the ring; 0 owns nothing. */
#define PR_WEIGHT_MAX 1000u

/* What a node does, as bits. */
enum pr_node_role { PR_NODE_OWNER = 1, PR_NODE_EDGE = 2, PR_NODE_DB = 4 };

/* What a node says of itself; a change raises its inc. */
struct pr_meta {
    uint32_t roles; /* bits of enum pr_node_role */
    bool ready;     /* may own partitions */
    bool draining;  /* gives its partitions away, and will leave */
    uint32_t weight;
    uint32_t edges;      /* edge processes attached */
    uint32_t sockets100; /* client sockets / 100 */
    uint32_t proto_min, proto_max;
    /* texts: version of the program, where clients connect, where the node stands */
    struct pr_slice build, url, zone;
};
/* Whether its texts and numbers are within the bounds above. */
bool pr_meta_valid(const struct pr_meta *m);

/* Of two facts about one life the larger wins; the order of these numbers is part of that. */
enum pr_fact_state { PR_F_ALIVE = 1, PR_F_SUSPECT = 2, PR_F_DEAD = 3, PR_F_LEFT = 4 };

/* All that is known of a member: the larger (epoch, inc, state) wins. */
struct pr_fact {
    uint64_t id;          /* never 0 */
    uint64_t epoch;       /* one life of its owner process */
    uint32_t inc;         /* raised by the node itself alone, to refute or to change its meta */
    uint8_t state;        /* enum pr_fact_state */
    struct pr_slice name; /* 1 .. PR_NODE_NAME_MAX bytes of A-Z a-z 0-9 . _ - */
    struct pr_addr addr;  /* of its datagrams and links; never none */
    struct pr_meta meta;
};
/* Appends a packed fact: an element of pr_sync.facts. */
void pr_fact_put(struct pr_outbuf *o, const struct pr_fact *f);
/* Takes the next fact off `list`. 1 = taken, 0 = none left, negative = damaged (enum pr_err). */
PR_MUST_CHECK int pr_fact_next(struct pr_slice *list, struct pr_fact *f);
/* Whether pr_fact_next would take what pr_fact_put writes of it. */
bool pr_fact_valid(const struct pr_fact *f);

enum pr_gossip_type {
    PR_G_UNKNOWN = 0, /* of a newer build: to be skipped */
    PR_G_PING = 1,
    PR_G_PING_REQ = 2,
    PR_G_ACK = 3,
    PR_G_NACK = 4,
    PR_G_ALIVE = 5,
    PR_G_SUSPECT = 6,
    PR_G_DEAD = 7
};
struct pr_gossip_msg {
    enum pr_gossip_type type;
    uint32_t seq;        /* PING, PING_REQ, ACK, NACK: chosen by who asks */
    uint64_t view;       /* ACK: hash of the answering node's view */
    uint64_t from;       /* SUSPECT, DEAD: id of who says so */
    struct pr_fact fact; /* PING, PING_REQ: id, epoch, for the latter addr; SUSPECT, DEAD: id,
                            epoch, inc, state; ALIVE: all. Other fields are zero */
};

/* Writing: begin, puts, end. */
struct pr_gossip_out {
    struct pr_outbuf *o;
    size_t count_at;
    uint16_t count;
};
struct pr_gossip_out pr_gossip_begin(struct pr_outbuf *o, uint32_t proto, uint64_t cluster);
void pr_gossip_put(struct pr_gossip_out *w, const struct pr_gossip_msg *m);
/* Bytes that pr_gossip_put would append. */
size_t pr_gossip_size(const struct pr_gossip_msg *m);
void pr_gossip_end(struct pr_gossip_out *w);

struct pr_gossip {
    uint32_t proto;
    uint64_t cluster;
    uint32_t nmsgs;
    struct pr_slice msgs; /* packed, walk with pr_gossip_next */
};
/*
 * Opens a datagram and checks all its messages, so that a damaged one changes nothing. PR_EVERSION
 * for a protocol outside of PR_PROTO_MIN .. PR_PROTO_MAX: nothing but the proto was looked at.
 */
PR_MUST_CHECK int pr_gossip_open(struct pr_slice packet, struct pr_gossip *g);
/* Takes the next message off g->msgs. 1 = taken, 0 = none left, negative = damaged. */
PR_MUST_CHECK int pr_gossip_next(struct pr_slice *msgs, struct pr_gossip_msg *m);

#endif
