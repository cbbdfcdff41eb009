/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_doctor.h - `realtimectl doctor`: what is wrong with the cluster and its database, and the
 * line that repairs it. One row {check, ok, level, node, detail, fix} per finding, and one per
 * check that found nothing. Level `advice` is not wrong yet: ok is true.
 */
#ifndef CMD_CTL_DOCTOR_H
#define CMD_CTL_DOCTOR_H

#include "cmd/ctl.h"

/* Gives the exit code: 1 if there is a problem. */
int rt_ctl_doctor(const struct rt_ctl *c, char **argv);

/* Findings in the making. */
struct rt_doctor {
    struct rt_rows rows;
    json_t *selves;  /* what each node says of itself */
    json_t *members; /* how each node sees each */
    const char *check;
    uint32_t found; /* of this check */
    bool local;     /* the other nodes were not asked */
    bool problem;
};
/* Starts a check; a finding of it. `node` and `fix` may be NULL; texts are copied. */
void rt_doctor_check(struct rt_doctor *d, const char *check);
void rt_doctor_find(struct rt_doctor *d, const char *level, const char *node, const char *detail,
                    const char *fix);
/* Ends it: nothing was found, and this is what is good. */
void rt_doctor_good(struct rt_doctor *d, const char *detail);

/*
 * Seconds after which what may be passing is looked at again: a view that changes is not the same
 * everywhere at once, and a db process that starts is not attached at once.
 */
#define RT_DOCTOR_AGAIN_S 5u

/* ctl_checks.c: nodes and mesh. `views_differ` was seen twice, RT_DOCTOR_AGAIN_S apart. */
bool rt_doctor_views_differ(const struct rt_doctor *d);
void rt_doctor_mesh(struct rt_doctor *d, bool views_differ);

#endif
