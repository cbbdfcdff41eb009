/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_rights.h - what the policies of the database allow on a private channel: a question of an
 * edge, passed by its node's owner to its node's db, and the answer back.
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
    uint32_t status;      /* enum pr_rights_status; one that is not known is as DOWN */
    uint32_t read, write; /* granted; a subset of what was asked */
    uint32_t raised;      /* extensions with a policy that failed instead of deciding */
    struct pr_slice text; /* for people; 0 .. PR_TEXT_MAX bytes */
};

void pr_rights_ask_encode(struct pr_outbuf *o, const struct pr_rights_ask *m);
void pr_rights_encode(struct pr_outbuf *o, const struct pr_rights *m);
PR_MUST_CHECK int pr_rights_ask_decode(const struct pr_frame *f, struct pr_rights_ask *m);
PR_MUST_CHECK int pr_rights_decode(const struct pr_frame *f, struct pr_rights *m);

#endif
