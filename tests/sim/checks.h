/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checks.h - the promises that a run is held against: what the shells tell of each thing that
 * happens, and what must hold at rest. And what no interface tells: peek.c.
 */
#ifndef TESTS_SIM_CHECKS_H
#define TESTS_SIM_CHECKS_H

#include "tests/sim/sim.h"

/* orders.c */
uint32_t sim_life_of(const struct sim *s, uint64_t boot);
/* By its name; NOBODY. */
uint32_t sim_pub_find(const struct sim *s, uint64_t boot, uint32_t part, uint64_t oseq);
void sim_check_got(struct sim *s, uint32_t client, struct member *m, uint32_t index);
void sim_check_joined(struct sim *s, uint32_t client, struct member *m);
void sim_check_gap(struct sim *s, uint32_t client, struct member *m, uint64_t lost);
/* An action of an owner process: orders, passes on, answers. */
void sim_check_node_action(struct sim *s, uint32_t n, const struct cl_action *a);
/* Before a step: a publish that it may order. After it and its actions: what was ordered although
 * nobody gets an event of it. */
void sim_check_taken(struct sim *s, uint32_t n, const struct cl_event *ev);
void sim_check_silent(struct sim *s, uint32_t n);
/* Before and after a frame of another node: whom it follows. */
void sim_check_follows(struct sim *s, uint32_t n, const struct cl_event *ev, bool after);
void sim_check_sent_pub(struct sim *s, uint32_t e, const struct pr_frame *f);
void sim_check_pub_done(struct sim *s, uint32_t e, uint64_t cookie, uint32_t result);
/* Nothing comes any more: every member has got what it should. */
void sim_check_account(struct sim *s, uint32_t client, struct member *m);

/* acks.c */
/* Nodes that follow the owner process of this one for the topic now: a bitmap. */
uint32_t sim_followers(const struct sim *s, uint32_t owner, uint32_t topic);
/* Nodes that did when their link ended, and may come back. */
uint32_t sim_waited_for(const struct sim *s, uint32_t owner, uint32_t topic);
/* A node takes news of another's link or subscriptions; before sim_check_heard. */
void sim_check_away(struct sim *s, uint32_t n, const struct cl_event *ev);
/* It finds another one dead. */
void sim_check_dead(struct sim *s, uint32_t n, const struct cl_action *a);
/* A frame that a node has taken. */
void sim_check_arrived(struct sim *s, uint32_t n, const struct cl_event *ev);
/* A full link drops a frame to that node. */
void sim_note_overflow(struct sim *s, uint32_t to, const struct pr_frame *f);
/* Node n says that the publish is done, which it has ordered. */
void sim_check_acked(struct sim *s, uint32_t n, uint32_t id);

/* kills.c */
/* A member gets this number of an edge process: those before will not come any more. */
void sim_check_passed_by(struct sim *s, uint32_t client, const struct member *m, uint32_t life,
                         uint32_t number);
/* Nothing comes any more. */
void sim_check_got_all(struct sim *s, uint32_t client, const struct member *m);

/* bounds.c */
/* The topic of a SUB or UNSUB; NOBODY: it is neither. */
uint32_t sim_sub_topic(const struct sim *s, const struct pr_frame *f, bool *on);
/* What a node has taken: who subscribes to what. */
void sim_check_heard(struct sim *s, uint32_t n, const struct cl_event *ev);
/* Where an EVENT goes. */
void sim_check_wanted(struct sim *s, uint32_t n, uint32_t topic, const struct cl_action *a);
/* The actions of one step: how many, and the bytes of the largest. */
void sim_check_step(struct sim *s, uint32_t n, uint32_t count, size_t largest);
void sim_check_limits(struct sim *s, uint32_t n);
void sim_check_edge_limits(struct sim *s, uint32_t e);

/* presences.c */
void sim_check_diff(struct sim *s, uint32_t client, struct member *m, const struct pr_p_diff *d);
/* Nobody sees whose edge process ended long ago. */
void sim_check_ghosts(struct sim *s);
void sim_check_presence_quiet(struct sim *s);
void sim_check_member_presence(struct sim *s, uint32_t client, const struct member *m);

/* quiet.c */
/* Everything has settled. */
void sim_check_quiet(struct sim *s);
/* How often nodes found that they hold different things. */
uint64_t sim_repairs(const struct sim *s);
void sim_check_probe_start(struct sim *s);
void sim_check_probe_end(struct sim *s);
/* All clients have left, long ago. */
void sim_check_empty(struct sim *s);

/* peek.c */
struct peek {
    struct pr_epoch follows; /* zeros: nobody */
    uint64_t follow_seq, seq;
    bool since; /* follow_seq is what an edge says that it has had: before what this node passed on
                 */
    bool followed; /* edges want it, and its owner has answered */
};
struct peek_sizes {
    size_t pending, kept;                         /* bytes */
    uint32_t unconfirmed, flown, unconfirmed_max; /* publishes; under way on one link, at most */
};
/* False: the core does not know the topic. */
bool sim_peek_topic(const struct cl *cl, struct pr_slice key, struct peek *out);
/* The owner process has ordered this publish, or a later one of its edge in the partition. */
bool sim_peek_ordered(const struct cl *cl, uint64_t boot, uint32_t part, uint64_t oseq);
void sim_peek_sizes(const struct cl *cl, struct peek_sizes *out);
/* Publishes that wait or are not confirmed, partitions that are closed, topics whose owner has not
 * answered. */
uint64_t sim_peek_waiting(const struct cl *cl);

#endif
