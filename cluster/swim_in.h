/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim_in.h - the inside of membership, shared by swim_*.c.
 *
 * Everything lies in one block that is asked for at the start. A member keeps its slot from the
 * first word about it until it is forgotten; slot 0 is ourselves.
 */
#ifndef CLUSTER_SWIM_IN_H
#define CLUSTER_SWIM_IN_H

#include "cluster/hash.h"
#include "cluster/swim.h"

#define NEVER UINT64_MAX
/* Probes that we run for others at one time. Beyond, a request is not answered: its sender asks
 * three nodes, and one that helps 64 others within a second is no good helper. */
#define RELAYS_MAX 64u
/* How long an answer is passed on to who asked: its probe is over by then, if it is healthy. */
#define RELAY_MS 1000u
/* The first accuser and those who are waited for. */
#define ACCUSERS_MAX (CL_SWIM_CONFIRMS + 1u)
/* A claim's verdict is good for this long: the shell asks again within a fraction of it. */
#define CLAIM_KEEP_MS 5000u
/* At most one push/pull per peer in this time, if it is started by unequal views. */
#define VIEW_SYNC_MS 1000u
/* After a stall, any answer will do once this has passed: with views that stay unequal a node
 * without links would wait for ever. */
#define UNSURE_ANY_MS 2000u
/* Links that must confirm before a leaving node is gone. */
#define LEAVE_ACKS 3u
/* High half of the tokens of our PINGs on links: those of the shell have others. */
#define TOKEN_MARK (UINT64_C(0x7377696d) << 32)
#define TEXTS_MAX  (PR_NODE_NAME_MAX + PR_META_BUILD_MAX + PR_META_URL_MAX + PR_META_ZONE_MAX)

/* One message about a member that is being spread. For SUSPECT there is one per accuser. */
struct rumour {
    uint64_t from; /* who says so; unused for ALIVE */
    uint64_t news; /* counts up over all rumours: larger is newer */
    uint32_t sent;
    uint64_t packet; /* the last one it was considered for */
    bool active;
};

enum probe_stage { PROBE_NONE = 0, PROBE_DIRECT, PROBE_HELPED };
struct probe {
    enum probe_stage stage;
    uint32_t seq;
    cl_ms start, end;
    uint32_t asked, nacks; /* helpers */
};

/* What waits to be sent over a member's link, as bits. */
#define OWE_HASH       1u  /* SYNC_HASH, an answer is wanted */
#define OWE_HASH_BACK  2u  /* SYNC_HASH, none is wanted */
#define OWE_SYNC       4u  /* everything we know, and we want the same */
#define OWE_SYNC_BACK  8u  /* everything we know */
#define OWE_ACCUSATION 16u /* SYNC of one fact: that we suspect it */
#define OWE_SELF       32u /* SYNC of one fact: ourselves */
#define OWE_PING       64u
#define OWE_PONG       128u

enum claim_state { CLAIM_NONE = 0, CLAIM_ASKING, CLAIM_USED, CLAIM_FREE };
/* Another life wants the member's name. */
struct claim {
    enum claim_state state;
    uint64_t epoch;
    struct pr_addr addr;
    cl_ms start, again; /* again: when the old address is asked once more */
    uint32_t seq;
};

struct member {
    struct cl_swim_member pub; /* its slices point into text */
    uint8_t text[TEXTS_MAX];
    uint64_t meta_epoch; /* pub.addr, pub.name and pub.meta are of this life */
    uint32_t meta_inc;
    bool has_meta;

    bool dirty; /* a MEMBER action is due */
    enum cl_swim_state told;
    uint64_t told_epoch;
    const char *reason;
    uint64_t who;

    struct rumour rumour[ACCUSERS_MAX];
    uint32_t nrumours;
    cl_ms suspected_at;
    uint32_t suspect_min_ms, suspect_max_ms;
    uint32_t vetoes;
    bool last_called;

    struct probe probe;
    struct claim claim;

    uint64_t link_epoch;
    cl_ms heard; /* a frame on the link */
    cl_ms view_sync_at;
    uint32_t owe;
    uint32_t ping_token;
    uint64_t pong_token;
    uint32_t unsure_token; /* PONG with it ends `unsure`; 0: not asked */
    bool left_asked, left_acked;
    uint32_t left_token;
    const char *close_reason; /* a CLOSE action is due */

    cl_ms dial_at;
    bool dial_due;
};

struct relay {
    uint32_t seq; /* ours; 0: free */
    uint32_t origin_seq;
    struct pr_addr origin;
    cl_ms nack_at; /* NEVER: said, or not to be said */
    cl_ms end;
};

enum packet_kind { PACKET_GOSSIP = 0, PACKET_PING, PACKET_PING_REQ, PACKET_ACK, PACKET_NACK };
/* A packet to be: its facts are chosen when it is taken. */
struct packet {
    enum packet_kind kind;
    uint32_t seq;
    struct pr_addr to;
    uint64_t id, epoch; /* PING, PING_REQ: of whom; GOSSIP: about whom first, 0 = nobody */
    struct pr_addr addr;
    uint64_t view;
};

struct cl_swim {
    struct cl_swim_config cfg; /* the name's bytes are those of slot 0 */
    struct cl_rand rand;
    struct member *members; /* cfg.nodes of them */
    uint64_t ids[CL_NODES_MAX];
    uint16_t sorted[CL_NODES_MAX]; /* slots in the order of ids */
    uint32_t n;
    uint16_t free_slots[CL_NODES_MAX];
    uint32_t nfree;
    uint16_t order[CL_NODES_MAX]; /* in which members are probed: slots */
    uint32_t norder, cursor;
    uint32_t live; /* ALIVE or SUSPECT, with ourselves */

    struct packet *packets; /* ring of CL_SWIM_QUEUE */
    uint32_t packet_head, packet_count;
    struct relay relays[RELAYS_MAX];

    uint8_t *facts; /* scratch: packed facts, then whole frames or one packet */
    uint8_t *bytes;
    size_t facts_cap, bytes_cap;

    uint64_t view;
    uint64_t news;
    uint64_t packet; /* counts packets */
    uint32_t active; /* rumours */
    uint32_t seq;
    uint32_t health;

    cl_ms ticked;
    cl_ms due;
    cl_ms probe_at, gossip_at, gossiped, sync_at, redial_at, leave_at;

    bool unsure;
    cl_ms unsure_since;
    uint32_t unsure_seq; /* answers to this and later probes are of after the stall */

    bool pending; /* a member may have dirty, owe, dial_due or close_reason */
    bool leaving;
    uint64_t raised; /* EPOCH action due, 0: none */
    bool fatal, fatal_told;
    struct pr_addr fatal_addr;
    uint16_t freeing; /* slot told as forgotten by the last action; 0: none */
    struct cl_swim_stats st;
};

/* ---- swim_table.c: members by id, by chance, in order ---- */
struct member *cl_sw_self(const struct cl_swim *s);
struct member *cl_sw_find(const struct cl_swim *s, uint64_t id); /* NULL */
struct member *cl_sw_at(const struct cl_swim *s, uint32_t i);    /* by rising id, i < s->n */
/* NULL: no room. State NONE, without meta. */
struct member *cl_sw_add(struct cl_swim *s, uint64_t id);
void cl_sw_remove(struct cl_swim *s, struct member *m);
bool cl_sw_live(const struct member *m);
/* Up to k live members in a random order, without ourselves and `except` (may be NULL). */
uint32_t cl_sw_pick(struct cl_swim *s, const struct member *except, struct member **out,
                    uint32_t k);
/* A random member in this state, without ourselves; linked ones alone if so wished. NULL. */
struct member *cl_sw_pick_state(struct cl_swim *s, enum cl_swim_state state, bool linked);
/* The next live member in the order of probes; NULL. */
struct member *cl_sw_next_target(struct cl_swim *s);
/* Over everything that is compared in push/pull; the dead do not count, nodes forget them at
 * different times. */
uint64_t cl_sw_hash(const struct cl_swim *s);

/* ---- swim.c ---- */
/* To be called first by everything that comes from outside: notices that time was lost. */
void cl_sw_stir(struct cl_swim *s, cl_ms now);
void cl_sw_arm(struct cl_swim *s, cl_ms at);
void cl_sw_mark(struct cl_swim *s, struct member *m, const char *reason, uint64_t who);
void cl_sw_owe(struct cl_swim *s, struct member *m, uint32_t what);
uint32_t cl_sw_seq(struct cl_swim *s);

/* ---- swim_facts.c: the two maxima, suspicion, spreading ---- */
struct news {
    uint64_t epoch;
    uint32_t inc;
    enum cl_swim_state state;
    uint64_t from;
    const char *reason;
};
/* The maximum of what is known of a member and this. */
void cl_sw_apply(struct cl_swim *s, cl_ms now, struct member *m, const struct news *news);
/* News about ourselves; addr of who lives under our name, NULL if the news does not say. */
void cl_sw_about_self(struct cl_swim *s, cl_ms now, const struct news *news,
                      const struct pr_addr *addr);
int cl_sw_merge(struct cl_swim *s, cl_ms now, const struct pr_fact *f, bool from_sync,
                uint64_t who);
/* We ourselves found a reason to suspect it. */
void cl_sw_accuse(struct cl_swim *s, cl_ms now, struct member *m, const char *reason);
/* Our own meta or state changed: inc + 1, to be spread. */
void cl_sw_changed(struct cl_swim *s, cl_ms now, const char *reason);
void cl_sw_set_texts(struct member *m, struct pr_slice name, const struct pr_meta *meta);
/* Suspicions that are over; forgetting. */
void cl_sw_facts_tick(struct cl_swim *s, cl_ms now, struct member *m);
/* log10 of n >= 1 in thousandths. */
uint32_t cl_sw_log10_milli(uint32_t n);
/* How often each rumour is sent: 4 * ceil(log10(n + 1)). */
uint32_t cl_sw_sends(uint32_t n);

/* ---- swim_probe.c ---- */
void cl_sw_probe(struct cl_swim *s, cl_ms now, struct member *m);
/* The suspicion is about to end: asked once more, and told what it is suspected of. */
void cl_sw_last_call(struct cl_swim *s, cl_ms now, struct member *m);
void cl_sw_probe_tick(struct cl_swim *s, cl_ms now, struct member *m);
void cl_sw_probe_next(struct cl_swim *s, cl_ms now);
void cl_sw_relay_tick(struct cl_swim *s, cl_ms now);
void cl_sw_ping_req(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
                    const struct pr_gossip_msg *m);
void cl_sw_ack(struct cl_swim *s, cl_ms now, const struct pr_addr *from,
               const struct pr_gossip_msg *m);
void cl_sw_nack(struct cl_swim *s, uint32_t seq);
/* PONG with one of our tokens. */
void cl_sw_pong(struct cl_swim *s, cl_ms now, struct member *m, uint64_t token);
/* A peer has answered something that was asked after a stall. */
void cl_sw_sure(struct cl_swim *s);

/* ---- swim_admit.c ---- */
void cl_sw_claim_tick(struct cl_swim *s, cl_ms now, struct member *m);
void cl_sw_claim_ack(struct cl_swim *s, uint32_t seq);

/* ---- swim_link.c ---- */
/* Push/pull of its own accord, and what a leaving node asks of its links. */
void cl_sw_link_tick(struct cl_swim *s, cl_ms now);
/* Who is not linked is dialled. */
void cl_sw_dial_tick(struct cl_swim *s, cl_ms now, struct member *m);

/* ---- swim_packet.c ---- */
void cl_sw_send(struct cl_swim *s, const struct packet *p);
void cl_sw_gossip_tick(struct cl_swim *s, cl_ms now);
/* Encodes a packet with as many facts as fit; false if there is nothing to be said. */
bool cl_sw_pack(struct cl_swim *s, const struct packet *p, struct pr_outbuf *o);

#endif
