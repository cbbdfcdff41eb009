/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_lists.h"

#include <string.h>

#define EVENTS_TOLD 20u
#define EVENTS_MAX  1000u

int rt_ctl_list(const struct rt_ctl *c, const char *cmd, char **argv)
{
    struct rt_rows rows;
    bool problem = false;

    if (*argv != NULL) {
        return rt_ctl_usage("this command takes no argument", *argv);
    }
    rt_rows_init(&rows);
    if (rt_ctl_ask(c, cmd, NULL, &rows, &problem)) {
        rt_rows_sort(&rows, "node", "topic");
        rt_rows_print(&rows, c->json);
    }
    rt_rows_deinit(&rows);
    return problem ? RT_CTL_PROBLEM : RT_CTL_OK;
}

/* A node that does not read says neither who does nor how far it is. */
static bool reads(const json_t *row)
{
    return json_is_string(json_object_get(row, "reader"));
}

static json_t *slot_cells(const json_t *row)
{
    static const char *const as_told[] = {"node",  "project",      "reader",
                                          "state", "term",         "confirmed_lsn",
                                          "edges", "edges_behind", "subscriptions"};
    json_t *t = json_object();

    for (size_t i = 0; i < sizeof as_told / sizeof as_told[0]; i++) {
        rt_ctl_copy(t, row, as_told[i]);
    }
    (void)json_object_set_new(t, "behind",
                              json_string(rt_ctl_size(rt_ctl_int(row, "behind_bytes")).text));
    return t;
}

static void order_slots(const struct rt_ctl *c, const struct rt_rows *rows, struct rt_rows *out)
{
    const char *reader = NULL;
    size_t i;
    json_t *row;

    json_array_foreach(rows->list, i, row)
    {
        if (reads(row)) {
            reader = rt_ctl_text(row, "reader");
            rt_rows_add(out, c->json ? json_incref(row) : slot_cells(row));
        }
    }
    json_array_foreach(rows->list, i, row)
    {
        if (!reads(row)) {
            (void)json_object_set_new(row, "reader",
                                      reader == NULL ? json_null() : json_string(reader));
            rt_rows_add(out, c->json ? json_incref(row) : slot_cells(row));
        }
    }
}

int rt_ctl_slots(const struct rt_ctl *c, char **argv)
{
    struct rt_rows rows, out;
    bool problem = false;

    if (*argv != NULL) {
        return rt_ctl_usage("slots takes no argument", *argv);
    }
    rt_rows_init(&rows);
    rt_rows_init(&out);
    if (rt_ctl_ask(c, "slots", NULL, &rows, &problem)) {
        rt_rows_sort(&rows, "node", "project");
        order_slots(c, &rows, &out);
        rt_rows_print(&out, c->json);
    }
    rt_rows_deinit(&out);
    rt_rows_deinit(&rows);
    return problem ? RT_CTL_PROBLEM : RT_CTL_OK;
}

static json_t *event_cells(const json_t *row)
{
    char when[16] = "";
    const char *ts = rt_ctl_text(row, "ts");
    json_t *t = json_object();

    if (strlen(ts) > 23) { /* 2025-03-04T10:11:12.345Z */
        memcpy(when, ts + 11, 12);
    }
    (void)json_object_set_new(t, "time", json_string(when));
    rt_ctl_copy(t, row, "node");
    rt_ctl_copy(t, row, "kind");
    rt_ctl_copy(t, row, "text");
    return t;
}

int rt_ctl_events(const struct rt_ctl *c, char **argv)
{
    const char *text = NULL;
    bool has_n = rt_ctl_option(argv, "-n", &text);
    uint32_t n = EVENTS_TOLD;
    struct rt_rows rows, out;
    bool problem = false;

    if (*argv != NULL || (has_n && (text == NULL || !rt_ctl_number(text, EVENTS_MAX, &n)))) {
        return rt_ctl_usage("events takes -n N, a number from 1 to 1000", *argv);
    }
    rt_rows_init(&rows);
    rt_rows_init(&out);
    if (rt_ctl_ask(c, "events", json_pack("{s:i}", "n", (int)n), &rows, &problem)) {
        size_t count;

        rt_rows_sort(&rows, "ts", "node");
        count = json_array_size(rows.list);
        for (size_t i = count > n ? count - n : 0; i < count; i++) {
            json_t *row = json_array_get(rows.list, i);

            rt_rows_add(&out, c->json ? json_incref(row) : event_cells(row));
        }
        rt_rows_print(&out, c->json);
    }
    rt_rows_deinit(&out);
    rt_rows_deinit(&rows);
    return problem ? RT_CTL_PROBLEM : RT_CTL_OK;
}
