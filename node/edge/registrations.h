/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registrations.h - subscriptions to database changes that this edge has told the db process.
 *
 * Channels with equal parameters, role and claims share one, so that a thousand tabs of one user
 * cost one check per row. Soft state of others: told again whenever a reader of changes asks.
 */
#ifndef NODE_EDGE_REGISTRATIONS_H
#define NODE_EDGE_REGISTRATIONS_H

#include "node/edge/edge_in.h"
#include "node/edge/pace.h"

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

struct rt_changes {
    struct rt_reg **by_key, **by_handle; /* `cap` chains each */
    uint32_t cap, count;
    uint64_t life;   /* counts links to the owner */
    uint64_t stream; /* of the last frame */
    struct pr_pos taken;
    uint64_t mark; /* counts bodies, for change_fan.c */
    struct rt_channel **touched;
    uint32_t ntouched, touched_cap;
    struct rt_pace pace; /* frames that wait for slow clients */
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
/* Sends all of them again, and waits for new verdicts. */
void rt_regs_send(struct rt_project *project);
/* The same without sending: whoever reads will ask. */
void rt_regs_unanswered(struct rt_project *project);
/* Tells that there is none of this handle: it ended, or the reader names one whose end was lost on
 * the way. */
void rt_reg_gone(struct rt_project *project, uint32_t handle);

#endif
