/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_ring.c - `realtimectl ring [TOPIC]`: who owns how much, and who owns this. */
#include <stdio.h>
#include <string.h>

#include "cmd/ctl_members.h"

/* In the ring: it owns partitions, or would. */
static bool in_ring(const json_t *m)
{
    const char *state = rt_ctl_text(m, "state");

    return rt_ctl_int(m, "partitions") > 0 || strcmp(state, "alive") == 0 ||
           strcmp(state, "suspect") == 0;
}

/* A share in percent, with one decimal. */
static double percent(json_int_t part, json_int_t whole)
{
    json_int_t tenths = whole == 0 ? 0 : (part * 1000 + whole / 2) / whole;

    return (double)tenths / 10.0;
}

static json_t *owner_row(const json_t *m, const json_t *self, json_int_t parts, json_int_t weights)
{
    json_t *row = json_object();

    (void)json_object_set_new(row, "owner", json_string(rt_ctl_text(m, "name")));
    rt_ctl_copy(row, m, "partitions");
    (void)json_object_set_new(row, "share", json_real(percent(rt_ctl_int(m, "partitions"), parts)));
    (void)json_object_set_new(row, "fair", json_real(percent(rt_ctl_int(m, "weight"), weights)));
    rt_ctl_copy(row, m, "weight");
    rt_ctl_copy(row, self, "topics");
    rt_ctl_copy(row, self, "published");
    rt_ctl_copy(row, self, "events");
    rt_ctl_copy(row, self, "view");
    return row;
}

static void add_owners(struct rt_rows *out, const struct rt_rows *answer)
{
    json_t *selves = rt_ctl_kind(answer, "self");
    json_t *members = rt_ctl_kind(answer, "member");
    json_int_t parts = 0, weights = 0;
    size_t i;
    json_t *m;

    json_array_foreach(members, i, m)
    {
        if (in_ring(m)) {
            parts += rt_ctl_int(m, "partitions");
            weights += rt_ctl_int(m, "weight");
        }
    }
    json_array_foreach(members, i, m)
    {
        if (in_ring(m)) {
            rt_rows_add(out, owner_row(m, rt_ctl_find(selves, "node", rt_ctl_text(m, "name")),
                                       parts, weights));
        }
    }
    json_decref(members);
    json_decref(selves);
}

/* web-1, web-3 */
static void print_names(const json_t *names)
{
    size_t i;
    json_t *name;

    json_array_foreach(names, i, name)
    {
        (void)printf("%s%s", i == 0 ? "" : ", ", json_string_value(name));
    }
}

/* One line if all agree, else one per node. */
static void print_topic(const struct rt_rows *answer)
{
    const json_t *first = json_array_get(answer->list, 0);
    size_t n = json_array_size(answer->list);
    size_t agree = 0;
    size_t i;
    json_t *row;

    json_array_foreach(answer->list, i, row)
    {
        agree += strcmp(rt_ctl_text(row, "owner"), rt_ctl_text(first, "owner")) == 0;
    }
    json_array_foreach(answer->list, i, row)
    {
        if (i > 0 && agree == n) {
            break;
        }
        if (agree < n) {
            (void)printf("%s: ", rt_ctl_text(row, "node"));
        }
        (void)printf("partition %d  owner %s  next ", (int)rt_ctl_int(row, "partition"),
                     rt_ctl_text(row, "owner"));
        print_names(json_object_get(row, "next"));
        (void)printf("  view %.8s", rt_ctl_text(row, "view"));
        (void)(agree == n ? printf(" (%zu of %zu agree)\n", agree, n) : puts(""));
    }
}

static int print_ring(const struct rt_ctl *c, const struct rt_rows *answer, bool topic)
{
    struct rt_rows out;

    if (topic && c->json) {
        rt_rows_print_json(answer);
    } else if (topic) {
        print_topic(answer);
    } else {
        rt_rows_init(&out);
        add_owners(&out, answer);
        rt_rows_sort(&out, "owner", "view");
        rt_rows_print(&out, c->json);
        rt_rows_deinit(&out);
    }
    return json_array_size(answer->list) == 0 ? RT_CTL_PROBLEM : RT_CTL_OK;
}

int rt_ctl_ring(const struct rt_ctl *c, char **argv)
{
    const char *topic = argv[0];
    struct rt_rows answer;
    bool problem = false;
    int code = RT_CTL_PROBLEM;

    if (topic != NULL && argv[1] != NULL) {
        return rt_ctl_usage("ring takes one TOPIC at most", argv[1]);
    }
    rt_rows_init(&answer);
    if (rt_ctl_ask(c, "ring", json_pack("{s:s*, s:b}", "topic", topic, "pairs", c->at != NULL),
                   &answer, &problem)) {
        if (topic != NULL) {
            rt_rows_sort(&answer, "node", "topic");
        }
        code = print_ring(c, &answer, topic != NULL);
    }
    rt_rows_deinit(&answer);
    return problem ? RT_CTL_PROBLEM : code;
}
