/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_print.h - rows of realtimectl: a table for people, one JSON object per line for scripts.
 */
#ifndef CMD_CTL_PRINT_H
#define CMD_CTL_PRINT_H

#include <stdbool.h>

#include <jansson.h>

struct rt_rows {
    json_t *list; /* array of objects */
};

void rt_rows_init(struct rt_rows *r);
void rt_rows_deinit(struct rt_rows *r);
/* Takes a row. */
void rt_rows_add(struct rt_rows *r, json_t *row);
/* Sorts by the texts of two members; a row without them comes first. Equal ones keep their order.
 */
void rt_rows_sort(struct rt_rows *r, const char *first, const char *second);
/* As JSON lines, or as a table. */
void rt_rows_print(const struct rt_rows *r, bool json);
/* One object per line, keys in the order of the row. */
void rt_rows_print_json(const struct rt_rows *r);
/* Columns are the keys of the first row, in upper case; numbers to the right. Nested values as
 * compact JSON. Prints "(none)" if there is no row. */
void rt_rows_print_table(const struct rt_rows *r);

#endif
