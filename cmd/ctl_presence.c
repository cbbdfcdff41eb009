/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_presence.c - `realtimectl presence TOPIC`. Every node that has clients in a topic holds all
 * of its presence: first all of them sum theirs up, then one of them lists its entries.
 */
#include <stdio.h>
#include <string.h>

#include "cmd/ctl_topics.h"

/* Whose entries are listed: those of the owner if it has any, else of who has most; NULL: nobody.
 */
static const char *holder_of(const struct rt_rows *digests)
{
    const char *best = NULL;
    json_int_t most = 0;
    size_t i;
    json_t *row;

    json_array_foreach(digests->list, i, row)
    {
        json_int_t n = rt_ctl_int(row, "shown") + rt_ctl_int(row, "hidden");
        bool owner = strcmp(rt_ctl_text(row, "owner"), rt_ctl_text(row, "node")) == 0;

        if (n > 0 && (owner || n > most)) {
            best = rt_ctl_text(row, "node");
            most = owner ? INT64_MAX : n;
        }
    }
    return best;
}

/* view web-1: 9988 shown, 3 hidden, digest 7b1c… (web-2 same, web-3 other: 9980 shown) */
static void print_digests(const struct rt_rows *digests, const char *holder)
{
    const json_t *of = rt_ctl_find(digests->list, "node", holder);
    bool first = true;
    size_t i;
    json_t *row;

    (void)printf("view %s: %d shown, %d hidden, digest %.8s", holder, (int)rt_ctl_int(of, "shown"),
                 (int)rt_ctl_int(of, "hidden"), rt_ctl_text(of, "digest"));
    json_array_foreach(digests->list, i, row)
    {
        if (row == of || json_is_true(json_object_get(row, "private")) !=
                             json_is_true(json_object_get(of, "private"))) {
            continue;
        }
        (void)printf("%s%s", first ? " (" : ", ", rt_ctl_text(row, "node"));
        first = false;
        if (strcmp(rt_ctl_text(row, "digest"), rt_ctl_text(of, "digest")) == 0) {
            (void)printf(" same");
        } else {
            (void)printf(" other: %d shown", (int)rt_ctl_int(row, "shown"));
        }
    }
    (void)puts(first ? "" : ")");
}

static json_t *entry_cells(const json_t *e)
{
    json_t *t = json_object();

    rt_ctl_copy(t, e, "key");
    rt_ctl_copy(t, e, "phx_ref");
    rt_ctl_copy(t, e, "home");
    rt_ctl_copy(t, e, "visible");
    rt_ctl_copy(t, e, "meta");
    return t;
}

static bool list_entries(const struct rt_ctl *c, const char *topic, const char *holder)
{
    struct rt_ctl at = *c;
    struct rt_rows answer, out;
    bool problem = false;
    size_t i;
    json_t *e;

    at.at = c->local ? NULL : holder;
    rt_rows_init(&answer);
    rt_rows_init(&out);
    if (rt_ctl_ask(&at, "presence", json_pack("{s:s}", "topic", topic), &answer, &problem)) {
        json_array_foreach(answer.list, i, e)
        {
            rt_rows_add(&out, c->json ? json_incref(e) : entry_cells(e));
        }
        rt_rows_sort(&out, "key", "phx_ref");
        rt_rows_print(&out, c->json);
    }
    rt_rows_deinit(&out);
    rt_rows_deinit(&answer);
    return !problem;
}

int rt_ctl_presence(const struct rt_ctl *c, char **argv)
{
    bool only_digests = rt_ctl_flag(argv, "--digests");
    const char *topic = argv[0];
    struct rt_rows digests;
    bool problem = false;
    const char *holder;

    if (topic == NULL || argv[1] != NULL) {
        return rt_ctl_usage("presence takes one TOPIC, and --digests",
                            topic != NULL ? argv[1] : NULL);
    }
    rt_rows_init(&digests);
    if (rt_ctl_ask(c, "presence", json_pack("{s:s, s:b}", "topic", topic, "digest", 1), &digests,
                   &problem)) {
        rt_rows_sort(&digests, "node", "topic");
        holder = holder_of(&digests);
        if (only_digests || (holder == NULL && !c->json)) {
            rt_rows_print(&digests, c->json);
        } else if (holder != NULL) {
            if (!c->json) {
                print_digests(&digests, holder);
            }
            problem = !list_entries(c, topic, holder) || problem;
        }
    }
    rt_rows_deinit(&digests);
    return problem ? RT_CTL_PROBLEM : RT_CTL_OK;
}
