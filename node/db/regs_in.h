/* SPDX-License-Identifier: Apache-2.0 */
/* regs_in.h - one registration, shared by regs.c (its life) and validate.c (its way to being live).
 */
#ifndef NODE_DB_REGS_IN_H
#define NODE_DB_REGS_IN_H

#include "node/db/db_in.h"

enum rt_reg_state {
    RT_REG_NEW = 1,  /* waits for the database */
    RT_REG_CHECKING, /* questions to the catalog are out */
    RT_REG_VALID,    /* attached to its tables */
    RT_REG_REFUSED
};

struct rt_reg {
    struct rt_link link;
    struct rt_db *db;
    struct rt_reg *next, **at; /* of the edge */
    uint64_t boot;
    uint32_t handle;
    struct pr_chg_reg m; /* its texts are in `text` */
    enum rt_reg_state state;
    bool again;       /* something changed while it was checked */
    bool unpublished; /* refused because no table of it is published: it may be one day */
    uint64_t poll; /* the look at the publication that must be over before it is refused; 0: none */
    uint64_t unjudged; /* batch of which it was last told that a row could not be judged; 0: none */
    uint64_t failed_ms; /* when it was last told that its policies fail; 0: never */
    bool cancelled;     /* refused, because its filter failed too often, */
    bool slow;          /* or its policies were too slow */
    bool gone;          /* removed while questions are out: freed with the last answer */
    uint32_t out;       /* questions out */
    char *refusal;
    /* What the edge was told last. */
    bool told;
    enum pr_chg_status told_status;
    char *told_message;
    /* Tables it is attached to. */
    uint32_t *oids;
    uint32_t noids, oids_cap;
    struct rt_check *check; /* the check under way, validate.c */
    uint8_t text[];
};

/* NULL if there is none. */
struct rt_reg *rt_db_reg_find(struct rt_db *d, uint64_t boot, uint32_t handle);
/* Is the table published, and one that it is about? */
bool rt_db_reg_wants(const struct rt_reg *r, const struct rt_table *t);
/* Every change of `state` goes through here: rt_db.unsettled counts with it. */
void rt_db_reg_state(struct rt_reg *r, enum rt_reg_state state);
/* validate.c: starts to check; ends in rt_db_reg_checked. */
void rt_db_reg_check(struct rt_reg *r);
/* The database went away: the check ends without a verdict. */
void rt_db_reg_check_drop(struct rt_reg *r);

/* It ends; freed at once, or with the last answer that is out. */
void rt_db_reg_remove(struct rt_reg *r);
/* regs.c: verdict of a check. `refusal` is NULL if it is valid, else taken. */
void rt_db_reg_checked(struct rt_reg *r, char *refusal, bool unpublished);
/* Attached now to exactly these tables. Takes `oids`. */
void rt_db_reg_set_tables(struct rt_reg *r, uint32_t *oids, uint32_t count);
/* Its last question was answered and it is gone: frees it. True: it was freed. */
bool rt_db_reg_reap(struct rt_reg *r);

#endif
