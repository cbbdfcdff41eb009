/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes.h - postgres_changes of a channel: its bindings, what the reader of the database says of
 * them, and the changes themselves.
 *
 * One bad entry fails all entries of a join, as they are one request; the join itself stays ok.
 * Each entry that is refused is told once, in their order, and again when its text is another one.
 */
#ifndef NODE_EDGE_CHANGES_H
#define NODE_EDGE_CHANGES_H

#include "node/edge/edge_in.h"

struct rt_reg;
struct rt_reg_user;

struct rt_binding {
    struct rt_reg *reg; /* NULL: repeats an earlier binding, or the join is refused */
    struct rt_reg *old; /* of the token before, linger.h; NULL: none */
    uint32_t pos;       /* among the registration's users */
    uint32_t old_pos;
    uint32_t id;        /* as the client knows it */
    char *fault;        /* what is wrong with its parameters, found here; NULL: nothing */
    uint64_t told_hash; /* of the refusal that was told; 0: none, or another message since */
};

enum rt_told { RT_TOLD_NOTHING = 0, RT_TOLD_LIVE, RT_TOLD_ERROR };

struct rt_bindings {
    uint64_t mark; /* of the body that set `hits`, change_fan.c */
    uint64_t hits[2];
    struct rt_channel *channel; /* of the next four, linger.h */
    struct rt_wheel_entry linger;
    struct pr_pos seen_pos;
    uint64_t seen[2];
    bool lingers;
    uint64_t told_hash; /* of the error that was told, which was no binding's refusal */
    char *echo;         /* the reply's array, until it is said */
    bool refused;       /* a binding has a fault: none is registered */
    enum rt_told told;
    bool was_live; /* may have had changes, and so may have missed some */
    size_t bytes;  /* as sent by the client */
    uint32_t count;
    struct rt_binding at[];
};
_Static_assert(PR_JOIN_BINDINGS_MAX <= 128, "one bit of `hits` per binding");

enum rt_verdict {
    RT_VERDICT_LIVE = 1,
    RT_VERDICT_REFUSED, /* by the parameters: no retry */
    RT_VERDICT_TROUBLE, /* of the database: it is tried again; or one of several is cancelled */
    RT_VERDICT_UNKNOWN  /* not answered yet */
};

/* Why there is no room for what a join asks for; NULL: there is. */
const char *rt_changes_refusal(const struct rt_socket *s, const struct pr_join *j,
                               const struct rt_token *token);
/* With the tokens of now its channels take too much. */
bool rt_changes_over(const struct rt_socket *s);
/* Registers what a join asks for. */
void rt_changes_prepare(struct rt_channel *ch, const struct pr_join *j);
/* Of the channel as a whole. *message, if there is one: the first refusal, or the trouble that all
 * share; it borrows until the next verdict. */
enum rt_verdict rt_changes_verdict(const struct rt_channel *ch, struct pr_slice *message);
/* `system` about the channel as a whole. False: it is what was told last. */
bool rt_changes_tell(struct rt_channel *ch, bool ok, struct pr_slice message);
/* Says the verdict, or each refusal, if it is news to the client. */
void rt_changes_tell_verdict(struct rt_channel *ch);
/* Everything is news. */
void rt_changes_tell_anew(struct rt_bindings *v);
/* {"postgres_changes":[…]}: the response of a join; `channel` is a struct rt_channel. */
void rt_changes_put_reply(struct pr_outbuf *o, const void *channel);
/* The join was answered with ok: says what is known, and later what becomes known. */
void rt_changes_joined(struct rt_channel *ch);
/* The channel has a new token: rights follow it. `old` is the one before. */
void rt_changes_refresh(struct rt_channel *ch, const struct rt_token *old);
/* The channel ends. */
void rt_changes_leave(struct rt_channel *ch);
/* The user of a registration stands elsewhere now. */
void rt_changes_moved(const struct rt_reg_user *user, uint32_t pos);
/* The link to the owner is new. */
void rt_changes_attached(struct rt_project *project);
/* Any CHG_* frame from the owner. 0, or a negative pr_err: the frame is damaged. */
int rt_changes_frame(struct rt_edge *e, const struct pr_frame *f);
/* One CHG frame: to the channels that it is for, then CHG_OK; now, or when clients have taken what
 * was before it (pace.h). change_fan.c */
int rt_changes_fan(struct rt_project *project, const struct pr_frame *f);
/* The same from byte *done of its bodies on. 1: somebody is waited for; *done says how far it is.
 */
int rt_changes_take(struct rt_project *project, const struct pr_frame *f, size_t *done);

/* A frame of a project that is not here, or not any more: settings are read again by one process
 * after another, and who reads its database must not wait for this edge. The same results. */
int rt_changes_pass(struct rt_edge *e, const struct pr_frame *f);

#endif
