/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"

/* Columns of a table; a row of ours has fewer. */
#define COLUMNS_MAX 24u

void rt_rows_init(struct rt_rows *r)
{
    r->list = json_array();
}

void rt_rows_deinit(struct rt_rows *r)
{
    json_decref(r->list);
    r->list = NULL;
}

void rt_rows_add(struct rt_rows *r, json_t *row)
{
    (void)json_array_append_new(r->list, row);
}

static int compare_texts(const json_t *a, const json_t *b, const char *key)
{
    const char *x = json_string_value(json_object_get(a, key));
    const char *y = json_string_value(json_object_get(b, key));

    return strcmp(x == NULL ? "" : x, y == NULL ? "" : y);
}

/* Place, before sorting, and row: qsort does not keep the order of equal ones by itself. */
struct sorted {
    json_t *row;
    size_t at;
    const char *first, *second;
};

static int compare(const void *a, const void *b)
{
    const struct sorted *x = a;
    const struct sorted *y = b;
    int rv = compare_texts(x->row, y->row, x->first);

    if (rv == 0) {
        rv = compare_texts(x->row, y->row, x->second);
    }
    return rv != 0 ? rv : (x->at > y->at) - (x->at < y->at);
}

void rt_rows_sort(struct rt_rows *r, const char *first, const char *second)
{
    size_t n = json_array_size(r->list);
    struct sorted *rows = rt_calloc(n, sizeof *rows);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        rows[i] = (struct sorted){json_array_get(r->list, i), i, first, second};
    }
    qsort(rows, n, sizeof *rows, compare);
    for (size_t i = 0; i < n; i++) {
        (void)json_array_append(list, rows[i].row);
    }
    json_decref(r->list);
    r->list = list;
    rt_free(rows);
}

void rt_rows_print(const struct rt_rows *r, bool json)
{
    if (json) {
        rt_rows_print_json(r);
    } else {
        rt_rows_print_table(r);
    }
}

void rt_rows_print_json(const struct rt_rows *r)
{
    size_t i;
    json_t *row;

    json_array_foreach(r->list, i, row)
    {
        char *text = json_dumps(row, JSON_COMPACT | JSON_REAL_PRECISION(6));

        if (text != NULL) {
            (void)puts(text);
            rt_free(text);
        }
    }
}

/* Text of one cell; gives a string. */
static char *cell(const json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        return rt_strdup("-");
    }
    if (json_is_string(value)) {
        return rt_strdup(json_string_value(value));
    }
    return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
}

/* Columns of a terminal that a UTF-8 text takes: its code points. */
static size_t width(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xc0u) != 0x80u;
    }
    return n;
}

static void pad(const char *text, size_t columns, bool right, bool last)
{
    size_t fill = columns - width(text);

    if (right) {
        (void)printf("%*s%s", (int)fill, "", text);
    } else {
        (void)printf("%s%*s", text, last ? 0 : (int)fill, "");
    }
    (void)printf("%s", last ? "\n" : "  ");
}

static char *upper(const char *key)
{
    char *head = rt_strdup(key);

    for (char *p = head; *p != '\0'; p++) {
        if (*p >= 'a' && *p <= 'z') {
            *p = (char)(*p - 'a' + 'A');
        }
    }
    return head;
}

static void print_head(const char *const *keys, const size_t *columns, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        char *head = upper(keys[c]);

        pad(head, columns[c], false, c + 1 == count);
        rt_free(head);
    }
}

static size_t keys_of(json_t *row, const char **keys)
{
    size_t count = 0;
    const char *key;
    json_t *value;

    json_object_foreach(row, key, value)
    {
        if (count < COLUMNS_MAX) {
            keys[count++] = key;
        }
    }
    return count;
}

void rt_rows_print_table(const struct rt_rows *r)
{
    const char *keys[COLUMNS_MAX];
    size_t columns[COLUMNS_MAX];
    size_t i, count;
    json_t *row;

    if (json_array_size(r->list) == 0) {
        (void)puts("(none)");
        return;
    }
    count = keys_of(json_array_get(r->list, 0), keys);
    for (size_t c = 0; c < count; c++) {
        columns[c] = strlen(keys[c]);
        json_array_foreach(r->list, i, row)
        {
            char *text = cell(json_object_get(row, keys[c]));
            size_t w = width(text);

            columns[c] = w > columns[c] ? w : columns[c];
            rt_free(text);
        }
    }
    print_head(keys, columns, count);
    json_array_foreach(r->list, i, row)
    {
        for (size_t c = 0; c < count; c++) {
            json_t *value = json_object_get(row, keys[c]);
            char *text = cell(value);

            pad(text, columns[c], json_is_number(value), c + 1 == count);
            rt_free(text);
        }
    }
}
