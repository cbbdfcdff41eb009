/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_rights.h - what the policies of the database allow on a private channel, and what was
 * broadcast on it before, and what is to be stored of it: questions of an edge, passed by its
 * node's owner to its node's db, and the answers back.
 *
 * Same frame, same rules as mesh.h. These never travel between nodes: every node has a db of its
 * own that can ask, so that no node depends on another one for its joins.
 */
#ifndef PROTO_MESH_RIGHTS_H
#define PROTO_MESH_RIGHTS_H

#include "proto/mesh.h"

/* Extensions of realtime.messages, as bits. */
#define PR_EXT_BROADCAST 1u
#define PR_EXT_PRESENCE  2u
#define PR_EXT_ALL       (PR_EXT_BROADCAST | PR_EXT_PRESENCE)

struct pr_rights_ask {
    struct pr_slice project;
    uint64_t boot;           /* of the edge that asks */
    uint64_t id;             /* its name for the question, not 0; repeated in the answer */
    struct pr_slice topic;   /* name without prefix, 1 .. PR_TOPIC_KEY_MAX bytes */
    struct pr_slice role;    /* claim of the token, 0 .. PR_TEXT_MAX bytes, as the next */
    struct pr_slice claims;  /* JSON object */
    struct pr_slice sub;     /* claim; empty if there is none */
    struct pr_slice headers; /* JSON object of the client's x- headers */
    uint32_t read, write;    /* PR_EXT_*: what is asked */
};

enum pr_rights_status {
    PR_RIGHTS_DONE = 0,  /* the policies were asked */
    PR_RIGHTS_AWAY,      /* by the owner: no db is attached, ask again; id 0: all that was asked */
    PR_RIGHTS_DOWN,      /* no connection to the database */
    PR_RIGHTS_LACK,      /* it takes no more connections */
    PR_RIGHTS_BUSY,      /* too many questions, or they take too long */
    PR_RIGHTS_CANCELED,  /* a policy took too long */
    PR_RIGHTS_PARTITION, /* realtime.messages has none for today */
    PR_RIGHTS_READ_ONLY, /* the database cannot be asked by writing; text: what it says */
    PR_RIGHTS_CHANGED    /* id 0: policies are others now, earlier answers may be wrong */
};
struct pr_rights {
    uint64_t boot; /* of the edge; 0: every edge */
    uint64_t id;
    uint32_t status;         /* enum pr_rights_status; one that is not known is as DOWN */
    uint32_t read, write;    /* granted; a subset of what was asked */
    uint32_t raised;         /* extensions with a policy that failed instead of deciding */
    struct pr_slice text;    /* for people; 0 .. PR_TEXT_MAX bytes */
    struct pr_slice project; /* whose policies were asked */
};

/* Most rows of an answer, and bytes of all of them unless it is one row: it is one frame. */
#define PR_REPLAY_ROWS  25u
#define PR_REPLAY_BYTES ((size_t)6 * 1024 * 1024)

/* For broadcasts that are stored; the edge has asked for the right to read them before. */
struct pr_replay_ask {
    uint64_t boot;         /* of the edge that asks */
    uint64_t id;           /* its name for the question, not 0; repeated in the answer */
    struct pr_slice topic; /* name without prefix, 1 .. PR_TOPIC_KEY_MAX bytes */
    uint64_t since_ms;     /* of the epoch */
    uint32_t limit;        /* 1 .. PR_REPLAY_ROWS */
    struct pr_slice project;
};
struct pr_replay {
    uint64_t boot;
    uint64_t id;
    uint32_t status;      /* enum pr_rights_status; without rows unless DONE */
    struct pr_slice rows; /* oldest first: for pr_replay_next, at most PR_REPLAY_ROWS */
};

/* A time to live is at most this many seconds, 100 years. */
#define PR_STORE_TTL_MAX 3155760000u
#define PR_UUID_LEN      36u

/* A broadcast to be stored, by whoever may. Asked again it is stored once, by its id. */
struct pr_store_ask {
    struct pr_slice project;
    uint64_t boot;         /* of the edge that asks */
    uint64_t id;           /* its name for the question, not 0; repeated in the answer */
    struct pr_slice topic; /* name without prefix, 1 .. PR_TOPIC_KEY_MAX bytes */
    struct pr_slice role;  /* of the token, as in pr_rights_ask; so are the next three */
    struct pr_slice claims;
    struct pr_slice sub;
    struct pr_slice headers;
    struct pr_slice message; /* its UUID as text, PR_UUID_LEN bytes */
    uint32_t ttl_s;          /* 0: as long as the table keeps it; at most PR_STORE_TTL_MAX */
    bool binary;             /* payload is bytes, else a JSON value */
    struct pr_slice event;   /* 0 .. PR_TEXT_MAX bytes */
    struct pr_slice payload;
};
struct pr_store {
    uint64_t boot;
    uint64_t id;
    uint32_t status;      /* enum pr_rights_status */
    bool stored;          /* DONE: it is committed; false: it was refused */
    struct pr_slice text; /* why, if there is more to say; 0 .. PR_TEXT_MAX bytes */
};

void pr_store_ask_encode(struct pr_outbuf *o, const struct pr_store_ask *m);
void pr_store_encode(struct pr_outbuf *o, const struct pr_store *m);
PR_MUST_CHECK int pr_store_ask_decode(const struct pr_frame *f, struct pr_store_ask *m);
PR_MUST_CHECK int pr_store_decode(const struct pr_frame *f, struct pr_store *m);

void pr_replay_ask_encode(struct pr_outbuf *o, const struct pr_replay_ask *m);
void pr_replay_encode(struct pr_outbuf *o, const struct pr_replay *m);
PR_MUST_CHECK int pr_replay_ask_decode(const struct pr_frame *f, struct pr_replay_ask *m);
/* All rows have their length then; what is in them is for pr_bcast_decode to say. */
PR_MUST_CHECK int pr_replay_decode(const struct pr_frame *f, struct pr_replay *m);
/* One row of an answer: `body` as proto/bcast.h has it. */
void pr_replay_put_row(struct pr_outbuf *o, struct pr_slice body);
/* Takes the first row off: 1, 0 at the end, PR_ESHORT for a row that is cut. */
PR_MUST_CHECK int pr_replay_next(struct pr_slice *rows, struct pr_slice *body);

void pr_rights_ask_encode(struct pr_outbuf *o, const struct pr_rights_ask *m);
void pr_rights_encode(struct pr_outbuf *o, const struct pr_rights *m);
PR_MUST_CHECK int pr_rights_ask_decode(const struct pr_frame *f, struct pr_rights_ask *m);
PR_MUST_CHECK int pr_rights_decode(const struct pr_frame *f, struct pr_rights *m);

#endif
