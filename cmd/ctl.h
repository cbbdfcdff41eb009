/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h - what all commands of realtimectl need: where to ask, how to ask, exit codes.
 */
#ifndef CMD_CTL_H
#define CMD_CTL_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "cmd/ctl_print.h"

/* Exit codes, stable for scripts. */
enum { RT_CTL_OK = 0, RT_CTL_PROBLEM = 1, RT_CTL_USAGE = 2 };

struct rt_ctl {
    const char *socket_path; /* of the node that is asked */
    bool json;
    bool local;          /* this node alone */
    const char *at;      /* that node alone, through this one; NULL */
    const char *project; /* which is meant, where there are several; NULL: not said */
};

/*
 * Asks and waits for the whole answer. Takes `args` (an object, or NULL for none). Rows are added
 * to `rows` as they come; a row with `wall_ms` gets `offset_ms`, the clock of its node less that of
 * here, and `doubt_ms`, how wrong that may be. Trouble goes to stderr, and sets *problem if a part
 * of the answer is missing. False: there is no answer at all.
 */
bool rt_ctl_ask(const struct rt_ctl *c, const char *cmd, json_t *args, struct rt_rows *rows,
                bool *problem);
/* Prints rows as they come, until it is interrupted or the node ends it. Gives the exit code. */
int rt_ctl_stream(const struct rt_ctl *c, const char *cmd, json_t *args);

/* Tells what is wrong with the arguments, and how it would be right; gives RT_CTL_USAGE. */
int rt_ctl_usage(const char *what, const char *arg);
/* Takes `--name` or `--name VALUE` out of a NULL-ended list of arguments. False: it is not there.
 * *value is NULL if it should follow and does not. */
bool rt_ctl_flag(char **argv, const char *name);
bool rt_ctl_option(char **argv, const char *name, const char **value);
/* Decimal number 1 .. max. */
bool rt_ctl_number(const char *text, uint32_t max, uint32_t *out);

/* Member of a row as text; "" if it is not there or no text. Borrowed. */
const char *rt_ctl_text(const json_t *row, const char *key);
/* The same as number; 0. */
json_int_t rt_ctl_int(const json_t *row, const char *key);
/* The row of a list with this text in this member, NULL. Borrowed. */
json_t *rt_ctl_find(const json_t *list, const char *key, const char *text);
/* Sets a copy of a member of `from` in `to`, null if it has none. */
void rt_ctl_copy(json_t *to, const json_t *from, const char *key);
/* "2h14m", "12s", "350ms" of milliseconds; "1.2MB" of bytes. */
struct rt_ctl_figure {
    char text[32];
};
struct rt_ctl_figure rt_ctl_age(json_int_t ms);
struct rt_ctl_figure rt_ctl_size(json_int_t bytes);

#endif
