/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confirm.h - publishes that were passed on to other nodes, until these say that they have them.
 *
 * An edge holds a publish until it is confirmed and sends it again to a new owner process. So what
 * an owner had ordered but a link had not carried when the process died is not lost, as long as it
 * was not confirmed before. Behind the events of a turn each link gets a mark (MARK), and the other
 * node echoes the last one it has seen (LINK_ACK); a link is a FIFO, so everything ahead of it was
 * taken. An event that a full link dropped counts as taken: its receiver sees the hole and asks. A
 * node whose link has ended is waited for until it is back (away.c).
 *
 * A publish that comes again while it waits is answered when the first one is, not before: what its
 * edge is told must not depend on how often it asked. Afterwards it is told the same again: done,
 * or the timeout, which is remembered for as long as an edge holds a publish.
 *
 * Bounds: CL_CONFIRM_MAX publishes, and as many under way on a link. Beyond, a publish is confirmed
 * without waiting; one whose client asked for it (PR_PUB_ACK) is told a timeout, as is one that a
 * node did not take in CL_CONFIRM_MS, or missed and cannot be sent again, unless that node is dead
 * by then. Where there is no room to remember a timeout, repeats of PR_PUB_ACK that are not known
 * are told one for as long: an error where all was well, but never a success that was none.
 */
#ifndef CLUSTER_CONFIRM_H
#define CLUSTER_CONFIRM_H

#include "cluster/core_in.h"

#define CL_CONFIRM_MAX 65536u
/* A node that does not take an event for so long, in ms, hangs or is gone; less than what a client
 * waits for, more than a node that is busy needs. */
#define CL_CONFIRM_MS 2000u
/* A mark is told at latest this late, in ms, unless somebody waits for it: then at once. */
#define CL_TAKEN_MS 10u

enum cl_confirm_state {
    CL_CONFIRM_WAITS = 0,
    CL_CONFIRM_FAILED, /* answered by a timeout that is remembered */
    CL_CONFIRM_OVER    /* answered: kept until the links are through with it */
};

/* A publish that was ordered here. Found by (boot, part, oseq) until it is over. */
struct cl_unconfirmed {
    uint32_t chain;      /* the pool's */
    uint32_t refs;       /* nodes that have not taken it */
    uint32_t next, prev; /* of those that wait, or failed, in the order of time */
    uint32_t part, flags;
    struct source from; /* who asked last */
    uint64_t boot, oseq;
    cl_ms at;      /* when it was ordered; when it failed */
    uint64_t view; /* how many views were adopted here when it was ordered */
    bool missed;   /* a node may not have it */
    bool late;     /* and may get it of the partition's next owner: not answered before its time */
    enum cl_confirm_state state;
};

void cl_confirm_init(struct cl *cl);
void cl_confirm_deinit(struct cl *cl);
/* An EVENT of this publish goes to these nodes, and is kept for those that are away. True: it is
 * confirmed later; false: it may be confirmed at once, with *result. */
bool cl_confirm_sent(struct cl *cl, const struct cl_bits *nodes, const struct cl_bits *away,
                     struct source from, const struct pr_pub *pub, uint32_t *result);
/* An EVENT goes to this node once more: if its publish is not over, the node is waited for, also
 * one that was dead meanwhile. */
void cl_confirm_resent(struct cl *cl, uint32_t node, struct pr_slice frame);
/* A publish that was ordered before comes again. True: it still waits, and `from` is answered when
 * it is; false: it may be answered at once, with *result. O(1). */
bool cl_confirm_repeat(struct cl *cl, struct source from, const struct pr_pub *pub,
                       uint32_t *result);
/* The node has taken everything up to that mark. 0 or CL_EPROTO. */
CL_MUST_CHECK int cl_confirm_taken(struct cl *cl, uint32_t node, uint64_t mark);
/* The node is dead: nobody waits for it any more. */
void cl_confirm_gone(struct cl *cl, uint32_t node);
/* It was away for too long: what it missed is not waited for. */
void cl_confirm_missed(struct cl *cl, uint32_t node);
/* Its link has ended: what was under way waits until it is back. */
void cl_confirm_down(struct cl *cl, uint32_t node);
/* It is back, has told what it follows, and whatever it missed was sent again, or, unless `whole`,
 * as much of it as was kept. */
void cl_confirm_back(struct cl *cl, uint32_t node, bool whole);
/* What time and room allow: who waited too long is answered. */
void cl_confirm_go_on(struct cl *cl);
cl_ms cl_confirm_deadline(const struct cl *cl);
/* Own invariants: NULL, or what is broken. O(unconfirmed). */
const char *cl_confirm_check(const struct cl *cl);

/* marks.c */
/* That node's mark has come. */
void cl_marks_on_mark(struct cl *cl, uint32_t node, const struct pr_mark *m);
/* What is due of MARK and LINK_ACK, as far as there is room. */
void cl_marks_go_on(struct cl *cl);
cl_ms cl_marks_deadline(const struct cl *cl);

#endif
