/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_in.h - what the files of the links share; nobody else includes it.
 *
 *   mesh        the object: listening, the table of links, what the owner calls
 *   mesh_link   one TCP connection: its start, its states, its clock, its end
 *   mesh_read   what comes in: the kernel, TLS, frames
 *   mesh_write  what goes out: lanes, TLS, the kernel
 *   mesh_greet  who is there: HELLO, its checks, and two connections to one peer
 *   mesh_dial   who is to be dialled when
 *
 * Rule of all files: functions the owner calls never call back. What an end of a link has to tell
 * is put on a list and told by the work timer in the next turn, or before the next link_up.
 *
 * States of a connection:
 *
 *   CONNECT > TLS > GREET > ASKED > UP > LINGER > DEAD           we dialled
 *             TLS > GREET > ASKED > HELD > UP > LINGER > DEAD    it came from outside
 *
 * ASKED is left out if the owner knows at once, HELD if we have nothing else with that peer. Any
 * state may be left for DEAD, and from GREET on for LINGER, when BYE is said. One that we dialled
 * is up for the peer while it is ASKED here, so it is not read then: what comes is for later.
 */
#ifndef NODE_OWNER_MESH_IN_H
#define NODE_OWNER_MESH_IN_H

#include "cluster/core.h"
#include "node/base/alloc.h"
#include "node/owner/mesh.h"
#include "node/owner/psk.h"

/* One read of one connection per turn, and the text in it. */
#define RT_MESH_READ_BYTES 131072u
/* Most bytes of a frame before the link is up: NODE_HELLO with its longest texts. */
#define RT_MESH_HELLO_MAX 2048u
/* Longest client URL, so that NODE_HELLO fits. */
#define RT_MESH_URL_MAX 1024u
/* How long a connection that said BYE stays, for the peer to read it: closed with bytes of the peer
 * unread, the kernel would send RST and the BYE would be lost. */
#define RT_MESH_LINGER_MS 1000u
#define RT_MESH_WHY_MAX   320u

enum rt_mesh_state {
    RT_MESH_CONNECT = 1, /* TCP is not there yet */
    RT_MESH_TLS,
    RT_MESH_GREET,  /* dialled: HELLO is sent; else HELLO is awaited */
    RT_MESH_ASKED,  /* the owner is not sure yet whether this peer may have a link */
    RT_MESH_HELD,   /* HELLO has passed all checks; a rival has to go first, or to answer */
    RT_MESH_UP,     /* in the table */
    RT_MESH_LINGER, /* BYE is on its way */
    RT_MESH_DEAD    /* handles are closing */
};

struct rt_mesh_target;

/* Growing memory; `at` .. `len` is alive. */
struct rt_mesh_bytes {
    uint8_t *p;
    size_t at, len, cap;
};

struct rt_mesh_link {
    struct rt_mesh *m;
    struct rt_mesh_link *next, *prev; /* all, oldest first */
    struct rt_mesh_link *notice_next; /* those that owe a callback */
    uv_poll_t poll;
    struct rt_timer timer;
    struct rt_defer flush;
    int fd;
    uint32_t pins; /* open handles, and a notice that waits */
    enum rt_mesh_state state;
    bool dialled;
    bool blocked;    /* the kernel takes no more: wait until it does */
    bool write_dead; /* what is written is lost: the peer has closed its side */
    bool fin_sent;
    bool quiet; /* its end is told to nobody */
    struct pr_addr remote;
    struct rt_psk *psk;            /* NULL: insecure */
    struct rt_mesh_target *target; /* of a dial in progress */
    uint64_t dial_id;              /* who was dialled; 0: a seed, or it came from outside */
    /* the peer, from GREET on */
    uint64_t id, epoch, view;
    struct pr_addr addr;
    char *name, *build, *url; /* "" until known; name and build always end with a NUL */
    uint32_t proto;
    /* bytes */
    struct rt_mesh_bytes in, out;
    struct rt_lanes lanes;
    uint64_t bytes_in, bytes_out, frames_in;
    /* clocks */
    uint64_t began_ms, since_ms, heard_ms, pinged_ms, ping_us, rtt_us;
    uint64_t rekey_at_ms; /* 0: its key is in the ring */
    uint32_t pings;       /* not answered */
    /* the end */
    bool told, was_up;
    enum rt_mesh_how how;
    char why[RT_MESH_WHY_MAX];
    uint32_t bye; /* code the peer said, 0: none */
    char bye_text[PR_ID_MAX + 1];
};

/* Somebody who was dialled or is to be dialled. */
struct rt_mesh_target {
    bool used, wanted;
    uint64_t id; /* 0: a seed, known by its address */
    struct pr_addr addr;
    uint32_t fails;
    uint64_t not_before_ms;
    uint64_t touched_ms;
    struct rt_mesh_link *link; /* attempt in progress */
};

struct rt_mesh {
    struct rt_mesh_config cfg; /* times without zeros */
    struct rt_psk_side *side;  /* NULL: insecure */
    struct pr_addr addr;
    uint64_t view;
    int fd; /* listens */
    uv_poll_t poll;
    uint64_t accept_at_ms; /* accepting stopped for want of descriptors until then; 0: it runs */
    struct rt_timer work;
    uint64_t work_at_ms; /* UINT64_MAX: not set */
    uint32_t handles;    /* of this object and its links, not closed yet */
    bool freeing;
    struct rt_mesh_link *first, *last;
    uint32_t nlinks, nheld;
    struct rt_mesh_link *notices, **notices_end;
    struct rt_mesh_link *up[CL_NODES_MAX]; /* by rising id */
    uint32_t nup;
    struct rt_mesh_target target[RT_MESH_TARGETS_MAX];
    struct rt_mesh_counts counts; /* lanes: of those that ended */
    uint8_t wire[RT_MESH_READ_BYTES];
    uint8_t text[RT_MESH_READ_BYTES];
    uint8_t stage[RT_PSK_TEXT_MAX];
};

/* ---- mesh.c ---- */
/* NULL: none is up. */
struct rt_mesh_link *rt_mesh_find(const struct rt_mesh *m, uint64_t id);
/* False: the table is full. */
PR_MUST_CHECK bool rt_mesh_table_add(struct rt_mesh *m, struct rt_mesh_link *l);
void rt_mesh_table_remove(struct rt_mesh *m, const struct rt_mesh_link *l);
/* The work timer is to run at `at_ms` or earlier. */
void rt_mesh_kick(struct rt_mesh *m, uint64_t at_ms);
/* Calls back for all links that ended. */
void rt_mesh_notify(struct rt_mesh *m);
/* Adds what the lanes of one link have counted. */
void rt_mesh_count_lanes(struct rt_mesh_counts *counts, const struct rt_lanes *lanes);
/* A handle has closed; the last one takes the object with it. */
void rt_mesh_handle_closed(struct rt_mesh *m);

/* ---- mesh_link.c ---- */
/* Takes `fd`, which is connecting (dialled) or connected. `target` is NULL of one from outside. */
struct rt_mesh_link *rt_mesh_link_new(struct rt_mesh *m, int fd, const struct pr_addr *remote,
                                      struct rt_mesh_target *target);
/* Ends it now. Does nothing if it is dead already. */
void rt_mesh_link_end(struct rt_mesh_link *l, enum rt_mesh_how how, const char *why);
/* Says BYE and ends it; the peer has RT_MESH_LINGER_MS to read that. */
void rt_mesh_link_bye(struct rt_mesh_link *l, enum pr_bye_code code, const char *text,
                      enum rt_mesh_how how);
/* Ends it and tells nobody; if it has said HELLO, the peer is told that another takes its place. */
void rt_mesh_link_drop(struct rt_mesh_link *l);
/* Asks libuv for the events the state needs. */
void rt_mesh_link_watch(struct rt_mesh_link *l);
/* Says PING; the answer is counted. */
void rt_mesh_link_ping(struct rt_mesh_link *l);
/* It is in the table: its clock starts. */
void rt_mesh_link_up(struct rt_mesh_link *l);
/* Whether the peer would understand a frame. */
bool rt_mesh_can_speak(const struct rt_mesh_link *l);
/* Whether its frames are to be taken now. */
bool rt_mesh_can_hear(const struct rt_mesh_link *l);
/* Text for logs. */
void rt_mesh_link_text(const struct rt_mesh_link *l, char out[PR_ADDR_TEXT_MAX]);
/* Gives back one pin. */
void rt_mesh_link_unpin(struct rt_mesh_link *l);

/* ---- mesh_read.c ---- */
/* TCP is there: the next step is the key, or without keys HELLO. */
void rt_mesh_begin(struct rt_mesh_link *l);
/* Reads once and hands on what came. False: there is nothing more to read now. */
bool rt_mesh_read(struct rt_mesh_link *l);
/* Goes on after reading was put off: what has come meanwhile, then the rest. */
void rt_mesh_read_on(struct rt_mesh_link *l);
/* What an error of the kernel says about the peer. */
enum rt_mesh_how rt_mesh_how_of(const struct rt_mesh_link *l, int errnum);

/* ---- mesh_write.c ---- */
/* Queues one encoded frame of our own. False: the link was ended for it. */
bool rt_mesh_push(struct rt_mesh_link *l, const struct pr_outbuf *o);
/* Queues what rt_mesh_send was given. */
bool rt_mesh_push_frames(struct rt_mesh_link *l, struct pr_slice frames);
/* Sends what the kernel takes now; may end the link. */
void rt_mesh_flush(struct rt_mesh_link *l);
/* The same at the end of the turn. */
void rt_mesh_flush_later(struct rt_mesh_link *l);
void rt_mesh_bytes_put(struct rt_mesh_bytes *b, const uint8_t *p, size_t n);
/* Room for `n` bytes behind what is alive. */
uint8_t *rt_mesh_bytes_room(struct rt_mesh_bytes *b, size_t n);
void rt_mesh_bytes_free(struct rt_mesh_bytes *b);

/* ---- mesh_greet.c ---- */
void rt_mesh_greet_hello(struct rt_mesh_link *l); /* says HELLO */
/* Of states GREET, ASKED and HELD. */
void rt_mesh_greet_frame(struct rt_mesh_link *l, const struct pr_frame *f);
/* The peer has passed all checks of ours: asks the owner, and does what it says. */
void rt_mesh_greet_ask(struct rt_mesh_link *l);
/* As callbacks show it: its texts are borrowed from the link. */
struct rt_mesh_peer rt_mesh_peer_of(const struct rt_mesh_link *l);
/* A held connection has waited long enough. */
void rt_mesh_greet_overdue(struct rt_mesh_link *l);
/* The link answers: those held for the same peer go. */
void rt_mesh_greet_answered(struct rt_mesh_link *l);
/* Held connections whose rivals are gone come up. */
void rt_mesh_greet_settle(struct rt_mesh *m);

/* ---- mesh_dial.c ---- */
/* Starts what is due; gives the time of the next one, UINT64_MAX: none. */
uint64_t rt_mesh_dial_work(struct rt_mesh *m);
/* An attempt has ended, with a link or without. */
void rt_mesh_dial_done(struct rt_mesh_link *l, bool up);
/* The dial of `l` has told what is no longer true: it ends, and is done again. */
void rt_mesh_dial_again(struct rt_mesh_link *l);
/* A link has ended after `lived_ms`. */
void rt_mesh_dial_lost(struct rt_mesh *m, const struct rt_mesh_link *l, uint64_t lived_ms);
/* Attempt in progress to that id, or by a seed to that address; NULL: none. */
struct rt_mesh_link *rt_mesh_dial_of(struct rt_mesh *m, uint64_t id, const struct pr_addr *addr);
/* What is not begun yet is not wanted any more. */
void rt_mesh_dial_forget(struct rt_mesh *m, uint64_t id);

#endif
