/* SPDX-License-Identifier: Apache-2.0 */
/* args.h - the command line of realtimed. */
#ifndef CMD_ARGS_H
#define CMD_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/metrics.h"

struct rt_args {
    bool help, version, check;
    const char *config; /* borrowed from argv; NULL: none */
    /* Given by the supervisor to its children only. */
    bool has_role;
    enum rt_role role;
    uint32_t index;
    const char *project; /* of db; borrowed from argv; NULL for others */
    int parent;          /* pid that must still be our parent; 0: not checked */
    int listen_fd, admin_fd, heart_fd;
};

/* Fills *a. NULL, or a static text that says what is wrong. */
const char *rt_args_parse(struct rt_args *a, int argc, char **argv);

#endif
