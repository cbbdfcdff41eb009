/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registrations.h - subscriptions to database changes that this edge has told the db process.
 *
 * Channels with equal parameters, role and claims share one, so that a thousand tabs of one user
 * cost one check per row. Soft state of others: told again whenever a reader of changes asks.
 *
 * All of them together may be far more than the link to the owner holds. So a reader is answered in
 * portions over many turns, and a new registration waits too where the link is full. What waits are
 * names, looked up when there is room: of one that has ended meanwhile nothing more is said, and so
 * no end is overtaken. Telling twice does no harm.
 */
#ifndef NODE_EDGE_REGISTRATIONS_H
#define NODE_EDGE_REGISTRATIONS_H

#include "node/edge/edge_in.h"
#include "node/edge/pace.h"

/* Readers that may wait for the end of a walk that began before they asked; more than one asks only
 * while nodes disagree, and once more per link that comes up. Overflow: the link to the owner ends,
 * and on the next one who still reads asks again. */
#define RT_REGS_ROUNDS_MAX 64u
/* Waiting bytes to the owner above which no registration is added: broadcasts have the rest. */
#define RT_REGS_LINK_BYTES (RT_IPC_QUEUE_MAX / 8)
/* Up to so many a turn of the loop adds; as much as the owner reads in one, so that what else is
 * said meanwhile is hardly late. Beyond it one per turn: it must not wait for ever either. */
#define RT_REGS_TURN_BYTES ((size_t)256 * 1024)

/* What all registrations of one socket, and of one project here, may take: their texts, with role
 * and claims in each, as they are sent and as db keeps them. Far beyond what clients need: 100
 * channels of ten bindings each with 8 KiB of claims, and some hundred thousand users of 1 KiB.
 * Overflow: the join is refused; the channel whose newer token takes a socket over it is shut. That
 * of a project is for joins alone, or a newer token of one would shut others. */
#define RT_REGS_SOCKET_BYTES  ((size_t)8 * 1024 * 1024)
#define RT_REGS_PROJECT_BYTES ((size_t)256 * 1024 * 1024)

/* What is asked for; plain texts, `select` packed by pr_str_put. Borrows. */
struct rt_params {
    struct pr_slice event, schema, table, filter, select;
    bool has_filter, has_select;
    uint32_t nselect;
};

/* A binding that uses a registration. */
struct rt_reg_user {
    struct rt_channel *channel;
    uint32_t index; /* of the binding in its channel */
    bool old;       /* it has a newer one, linger.h */
};

struct rt_reg {
    uint32_t handle; /* its name for db, never used twice */
    uint64_t hash;
    struct rt_reg *by_key, *by_handle; /* chains */
    struct rt_token *token;
    struct rt_params params;
    bool answered;
    uint32_t status; /* enum pr_chg_status, if answered */
    char *message;   /* NULL: none */
    struct rt_reg_user *users;
    uint32_t nusers, cap;
    uint8_t text[];
};

/* What the owner is to be told when there is room. */
struct rt_reg_queue {
    uint32_t *handles; /* those from `next` on */
    uint32_t next, count, cap;
    uint32_t all;                        /* the readers being answered want those below */
    uint64_t rounds[RT_REGS_ROUNDS_MAX]; /* of readers that ask, each to be answered, in order */
    uint32_t nrounds, nanswered;         /* the first `nanswered` are being answered */
};

struct rt_changes {
    struct rt_reg **by_key, **by_handle; /* `cap` chains each */
    uint32_t cap, count;
    size_t bytes;    /* of all, as bounded */
    uint64_t life;   /* counts links to the owner */
    uint64_t stream; /* of the last frame */
    struct pr_pos taken;
    uint64_t mark; /* counts bodies, for change_fan.c */
    struct rt_channel **touched;
    uint32_t ntouched, touched_cap;
    struct rt_pace pace; /* frames that wait for slow clients */
    struct rt_reg_queue queue;
};

struct rt_changes *rt_regs_new(uint64_t now_ms);
void rt_regs_free(struct rt_changes *c);
/* Adds a user to the registration, which is made and sent if it is new. Gives the user's place in
 * *pos. Takes its own reference to the token. */
struct rt_reg *rt_reg_use(struct rt_project *project, const struct rt_params *p,
                          struct rt_token *token, struct rt_reg_user user, uint32_t *pos);
/* Removes the user at `pos`; the one that moved there is told through rt_changes_moved. With the
 * last user the registration ends. */
void rt_reg_unuse(struct rt_project *project, struct rt_reg *r, uint32_t pos);
/* NULL if it is gone. */
struct rt_reg *rt_reg_of(const struct rt_changes *c, uint32_t handle);
/* A reader asks for all of them: waits for new verdicts, sends them in the next turns, and then
 * SYNCED. False: too many ask. */
PR_MUST_CHECK bool rt_regs_sync(struct rt_project *project, uint64_t round);
/* That these were all. */
void rt_regs_synced(struct rt_edge *e, struct pr_slice project, uint64_t round);
/* The link is new: waits for new verdicts and sends nothing, as whoever reads will ask. */
void rt_regs_unanswered(struct rt_project *project);
/* The project is not served any more: those who ask are not kept waiting. */
void rt_regs_leave(struct rt_project *project);
/* At the end of a turn: what there is room for, of each project in turn. */
void rt_regs_run(struct rt_edge *e);
/* Tells that there is none of this handle: it ended, or the reader names one whose end was lost on
 * the way. */
void rt_reg_gone(struct rt_project *project, uint32_t handle);

#endif
