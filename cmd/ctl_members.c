/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_members.h"

#include <stdio.h>
#include <string.h>

#include "node/base/loop.h"

/* So many probes in a row that were answered by other ways alone are no accident any more. */
#define UDP_BLOCKED 3

json_t *rt_ctl_kind(const struct rt_rows *answer, const char *kind)
{
    json_t *list = json_array();
    size_t i;
    json_t *row;

    json_array_foreach(answer->list, i, row)
    {
        if (strcmp(rt_ctl_text(row, "row"), kind) == 0) {
            (void)json_array_append(list, row);
        }
    }
    return list;
}

bool rt_ctl_is_live(const char *state)
{
    return strcmp(state, "dead") != 0 && strcmp(state, "left") != 0;
}

const char *rt_ctl_udp_word(const json_t *member)
{
    json_int_t missed = rt_ctl_int(member, "udp_missed");

    if (json_is_true(json_object_get(member, "self")) ||
        !rt_ctl_is_live(rt_ctl_text(member, "state"))) {
        return "-";
    }
    if (missed > 0) {
        return missed >= UDP_BLOCKED ? "blocked" : "late";
    }
    return json_is_integer(json_object_get(member, "rtt_ms")) ? "ok" : "-";
}

/* ---- members ---- */

/* Milliseconds since 1970 in the upper bits of an epoch in hex. */
static json_int_t epoch_ms(const char *hex)
{
    uint64_t v = 0;

    for (; *hex != '\0'; hex++) {
        v = v << 4 | (uint64_t)(*hex <= '9' ? *hex - '0' : *hex - 'a' + 10);
    }
    return (json_int_t)(v >> 12);
}

/* The stable row of a member; `self` is what it says of itself, NULL if it did not. */
static json_t *member_row(const json_t *m, const json_t *self)
{
    static const char *const seen[] = {"name", "state", "incarnation", "partitions",
                                       "addr", "epoch", "weight"};
    static const char *const told[] = {"edges", "sockets"};
    json_t *row = json_object();

    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        rt_ctl_copy(row, m, seen[i]);
    }
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        rt_ctl_copy(row, self, told[i]);
    }
    rt_ctl_copy(row, m, "rtt_ms");
    rt_ctl_copy(row, self, "health");
    rt_ctl_copy(row, m, "build");
    rt_ctl_copy(row, self != NULL ? self : m, "view");
    rt_ctl_copy(row, m, "linked");
    rt_ctl_copy(row, m, "zone");
    (void)json_object_set_new(row, "since_s", json_integer(rt_ctl_int(m, "since_ms") / 1000));
    (void)json_object_set_new(row, "udp", json_string(rt_ctl_udp_word(m)));
    rt_ctl_copy(row, m, "self");
    return row;
}

/* "dead in 1.4s, 1 of 2 confirmations" of a suspect; what has happened to it, of others. */
static json_t *note_of(const json_t *m)
{
    char text[128];
    const char *state = rt_ctl_text(m, "state");

    if (json_object_get(m, "dead_in_ms") != NULL) {
        (void)snprintf(text, sizeof text, "dead in %s, %d of %d confirmations",
                       rt_ctl_age(rt_ctl_int(m, "dead_in_ms")).text, (int)rt_ctl_int(m, "confirms"),
                       (int)rt_ctl_int(m, "confirms_of"));
        return json_string(text);
    }
    if (strcmp(state, "alive") == 0) {
        return json_string("");
    }
    (void)snprintf(text, sizeof text, "for %s", rt_ctl_age(rt_ctl_int(m, "since_ms")).text);
    return json_string(text);
}

static json_t *ms_cell(const json_t *row, const char *key)
{
    char text[32];

    if (!json_is_integer(json_object_get(row, key))) {
        return json_null();
    }
    (void)snprintf(text, sizeof text, "%dms", (int)rt_ctl_int(row, key));
    return json_string(text);
}

static json_t *table_row(const json_t *row, const json_t *m, bool with_note)
{
    char name[80];
    json_t *t = json_object();
    json_int_t born = epoch_ms(rt_ctl_text(row, "epoch"));
    json_int_t now = (json_int_t)rt_wall_ms();
    static const char *const same[][2] = {{"incarnation", "inc"},
                                          {"weight", "weight"},
                                          {"partitions", "parts"},
                                          {"edges", "edges"},
                                          {"sockets", "sockets"}};

    (void)snprintf(name, sizeof name, "%s%s", rt_ctl_text(row, "name"),
                   json_is_true(json_object_get(row, "self")) ? "*" : "");
    (void)json_object_set_new(t, "name", json_string(name));
    rt_ctl_copy(t, row, "addr");
    rt_ctl_copy(t, row, "state");
    (void)json_object_set_new(t, "age", json_string(rt_ctl_age(now > born ? now - born : 0).text));
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        json_t *value = json_object_get(row, same[i][0]);

        (void)json_object_set(t, same[i][1], value);
    }
    (void)json_object_set_new(t, "rtt", ms_cell(row, "rtt_ms"));
    rt_ctl_copy(t, row, "udp");
    rt_ctl_copy(t, row, "health");
    rt_ctl_copy(t, row, "build");
    if (with_note) {
        (void)json_object_set_new(t, "note", note_of(m));
    }
    return t;
}

/* Share of probes that no own datagram answered, in thousandths. */
static json_int_t loss_of(const json_t *selves)
{
    json_int_t direct = 0, other = 0;
    size_t i;
    json_t *row;

    json_array_foreach(selves, i, row)
    {
        const json_t *p = json_object_get(row, "probes");

        direct += rt_ctl_int(p, "direct");
        other += rt_ctl_int(p, "helped") + rt_ctl_int(p, "link") + rt_ctl_int(p, "failed");
    }
    return direct + other == 0 ? 0 : other * 1000 / (direct + other);
}

static void print_keys(const json_t *keys)
{
    size_t i;
    json_t *key;

    if (json_array_size(keys) == 0) {
        return;
    }
    (void)printf("   key ids");
    json_array_foreach(keys, i, key)
    {
        const char *text = json_string_value(key);
        const char *colon = strchr(text, ':');

        (void)printf(" %s%s", colon != NULL ? colon + 1 : text, i == 0 ? "*" : "");
    }
}

/* view 9f3a61c2 (3 of 3 agree)   udp loss 0.1%   gossip 402 B/s   key ids a41c* 77e0 */
static void print_view(const json_t *selves, const json_t *own)
{
    const json_t *udp = json_object_get(own, "udp");
    const char *view = rt_ctl_text(own, "view");
    json_int_t up_ms = rt_ctl_int(own, "up_ms");
    json_int_t loss = loss_of(selves);
    int agree = 0;
    size_t i;
    json_t *row;

    json_array_foreach(selves, i, row)
    {
        agree += strcmp(rt_ctl_text(row, "view"), view) == 0;
    }
    (void)printf("view %.8s (%d of %d agree)", view, agree, (int)json_array_size(selves));
    if (json_is_object(udp)) {
        json_int_t bytes = rt_ctl_int(udp, "sent_bytes") + rt_ctl_int(udp, "received_bytes");

        (void)printf("   udp loss %d.%d%%   gossip %lld B/s", (int)(loss / 10), (int)(loss % 10),
                     (long long)(bytes * 1000 / (up_ms > 0 ? up_ms : 1)));
    }
    print_keys(json_object_get(own, "keys"));
    (void)puts("");
}

static int print_members(const struct rt_ctl *c, const struct rt_rows *answer)
{
    json_t *selves = rt_ctl_kind(answer, "self");
    json_t *members = rt_ctl_kind(answer, "member");
    struct rt_rows out;
    bool notes = false;
    size_t i;
    json_t *m;

    rt_rows_init(&out);
    json_array_foreach(members, i, m)
    {
        notes = notes || strcmp(rt_ctl_text(m, "state"), "alive") != 0;
    }
    json_array_foreach(members, i, m)
    {
        json_t *self = rt_ctl_find(selves, "node", rt_ctl_text(m, "name"));
        json_t *row = member_row(m, rt_ctl_is_live(rt_ctl_text(m, "state")) ? self : NULL);

        if (c->json) {
            rt_rows_add(&out, row);
        } else {
            rt_rows_add(&out, table_row(row, m, notes));
            json_decref(row);
        }
    }
    rt_rows_sort(&out, "name", "addr");
    rt_rows_print(&out, c->json);
    if (!c->json && json_array_size(selves) > 0) {
        json_t *first = json_array_get(members, 0);

        print_view(selves, rt_ctl_find(selves, "node", rt_ctl_text(first, "node")));
    }
    rt_rows_deinit(&out);
    json_decref(members);
    json_decref(selves);
    return RT_CTL_OK;
}

/* ---- members --links ---- */

static json_t *link_cells(const json_t *l)
{
    const json_t *q = json_object_get(l, "queue");
    const json_t *d = json_object_get(l, "dropped");
    char queue[128], rtt[32];
    json_t *t = json_object();

    (void)snprintf(queue, sizeof queue, "%s/%s/%s/%s", rt_ctl_size(rt_ctl_int(q, "control")).text,
                   rt_ctl_size(rt_ctl_int(q, "changes")).text,
                   rt_ctl_size(rt_ctl_int(q, "presence")).text,
                   rt_ctl_size(rt_ctl_int(q, "broadcast")).text);
    (void)snprintf(rtt, sizeof rtt, "%.1fms", (double)rt_ctl_int(l, "rtt_us") / 1000.0);
    rt_ctl_copy(t, l, "node");
    rt_ctl_copy(t, l, "peer");
    (void)json_object_set_new(t, "since", json_string(rt_ctl_age(rt_ctl_int(l, "since_ms")).text));
    rt_ctl_copy(t, l, "tls");
    rt_ctl_copy(t, l, "proto");
    (void)json_object_set_new(t, "in", json_string(rt_ctl_size(rt_ctl_int(l, "bytes_in")).text));
    (void)json_object_set_new(t, "out", json_string(rt_ctl_size(rt_ctl_int(l, "bytes_out")).text));
    (void)json_object_set_new(t, "queue c/w/p/b", json_string(queue));
    (void)json_object_set_new(t, "dropped(b)",
                              json_integer(rt_ctl_int(d, "broadcast") + rt_ctl_int(d, "presence")));
    (void)json_object_set_new(t, "rtt",
                              rt_ctl_int(l, "rtt_us") == 0 ? json_null() : json_string(rtt));
    return t;
}

static void print_links(const struct rt_ctl *c, const struct rt_rows *answer)
{
    json_t *links = rt_ctl_kind(answer, "link");
    struct rt_rows out;
    size_t i;
    json_t *l;

    rt_rows_init(&out);
    json_array_foreach(links, i, l)
    {
        (void)json_object_del(l, "row");
        rt_rows_add(&out, c->json ? json_incref(l) : link_cells(l));
    }
    rt_rows_sort(&out, "node", "peer");
    rt_rows_print(&out, c->json);
    rt_rows_deinit(&out);
    json_decref(links);
}

/* ---- members --why ---- */

static json_t *why_row(const json_t *m)
{
    json_t *row = json_object();

    rt_ctl_copy(row, m, "node");
    rt_ctl_copy(row, m, "name");
    rt_ctl_copy(row, m, "state");
    (void)json_object_set_new(row, "since_s", json_integer(rt_ctl_int(m, "since_ms") / 1000));
    rt_ctl_copy(row, m, "linked");
    (void)json_object_set_new(row, "udp", json_string(rt_ctl_udp_word(m)));
    rt_ctl_copy(row, m, "rtt_ms");
    rt_ctl_copy(row, m, "incarnation");
    rt_ctl_copy(row, m, "why");
    return row;
}

static int print_why(const struct rt_ctl *c, const struct rt_rows *answer, const char *name)
{
    json_t *members = rt_ctl_kind(answer, "member");
    struct rt_rows out;
    size_t i;
    json_t *m;

    rt_rows_init(&out);
    json_array_foreach(members, i, m)
    {
        /* how the others see it, and how it sees the others */
        if (!json_is_true(json_object_get(m, "self"))) {
            rt_rows_add(&out, why_row(m));
        }
    }
    rt_rows_sort(&out, "name", "node");
    rt_rows_print(&out, c->json);
    rt_rows_deinit(&out);
    if (json_array_size(members) == 0) {
        (void)fprintf(stderr, "realtimectl: no node of the name %s is known\n", name);
    }
    i = json_array_size(members);
    json_decref(members);
    return i == 0 ? RT_CTL_PROBLEM : RT_CTL_OK;
}

int rt_ctl_members(const struct rt_ctl *c, char **argv)
{
    bool links = rt_ctl_flag(argv, "--links");
    const char *why = NULL;
    bool has_why = rt_ctl_option(argv, "--why", &why);
    struct rt_rows answer;
    bool problem = false;
    int code = RT_CTL_PROBLEM;

    if (*argv != NULL || (has_why && why == NULL)) {
        return rt_ctl_usage("members takes --links and --why NODE", *argv);
    }
    rt_rows_init(&answer);
    if (rt_ctl_ask(
            c, "members",
            json_pack("{s:b, s:b, s:s*}", "links", links, "pairs", c->at != NULL, "why", why),
            &answer, &problem)) {
        code = RT_CTL_OK; /* who did not answer was named; how it is held is what was asked */
        if (links) {
            print_links(c, &answer);
        } else if (why != NULL) {
            code = print_why(c, &answer, why);
        } else {
            code = print_members(c, &answer);
        }
    }
    rt_rows_deinit(&answer);
    return code;
}
