/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_checks.c - what doctor looks at in nodes and mesh: reach, clocks, keys, views, shares. */
#include <stdio.h>
#include <string.h>

#include "cmd/ctl_doctor.h"
#include "cmd/ctl_members.h"

/* Clocks further apart make tokens of one node expire early on another, and epochs go wrong. */
#define OFFSET_MS 5000
/* Share of probes without an answer of its own datagram that is worth a word, in thousandths. */
#define LOSS_MILLI 20
/* Too few probes say nothing. */
#define PROBES_MIN 100
/* A node with less than a tenth of the mean share hardly takes part. */
#define STARVED 10

static const char *text(const json_t *row, const char *key)
{
    return rt_ctl_text(row, key);
}

static bool is_live(const json_t *member)
{
    return rt_ctl_is_live(text(member, "state"));
}

/* Members as the asked node sees them: the first row says which one that is. */
static bool seen_by_asked(const struct rt_doctor *d, const json_t *member)
{
    const json_t *first = json_array_get(d->members, 0);

    return strcmp(text(member, "node"), text(first, "node")) == 0;
}

/* ---- who is there ---- */

/* The reason in "n3 is dead: suspected and not refuted in time". */
static const char *reason_in(const char *sentence)
{
    const char *colon = strstr(sentence, ": ");

    return colon == NULL ? sentence : colon + 2;
}

static void check_members(struct rt_doctor *d)
{
    char detail[256];
    size_t live = 0;
    size_t i;
    json_t *m;

    rt_doctor_check(d, "members");
    json_array_foreach(d->members, i, m)
    {
        const char *state = text(m, "state");

        if (!seen_by_asked(d, m)) {
            continue;
        }
        live += is_live(m);
        if (!d->local && is_live(m) && rt_ctl_find(d->selves, "node", text(m, "name")) == NULL) {
            (void)snprintf(detail, sizeof detail, "is %s and did not answer", state);
            rt_doctor_find(d, "problem", text(m, "name"), detail,
                           "look at its log and host; realtimectl members --why NODE says who "
                           "reaches it");
        } else if (strcmp(state, "dead") == 0) {
            (void)snprintf(detail, sizeof detail, "is dead for %s: %s",
                           rt_ctl_age(rt_ctl_int(m, "since_ms")).text, reason_in(text(m, "why")));
            rt_doctor_find(d, "advice", text(m, "name"), detail,
                           "start it again, or let it be: it is forgotten after 10 minutes");
        }
    }
    (void)snprintf(detail, sizeof detail, "%zu of %zu answer", json_array_size(d->selves), live);
    rt_doctor_good(d, detail);
}

bool rt_doctor_views_differ(const struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    size_t i;
    json_t *row;

    json_array_foreach(d->selves, i, row)
    {
        if (strcmp(text(row, "view"), text(first, "view")) != 0) {
            return true;
        }
    }
    return false;
}

static void check_views(struct rt_doctor *d, bool differ)
{
    const json_t *first = json_array_get(d->selves, 0);
    char detail[256];
    size_t i;
    json_t *row;

    rt_doctor_check(d, "view");
    for (i = 0; differ && i < json_array_size(d->selves); i++) {
        row = json_array_get(d->selves, i);
        (void)snprintf(detail, sizeof detail, "view %.8s for more than %u s", text(row, "view"),
                       RT_DOCTOR_AGAIN_S);
        rt_doctor_find(d, "problem", text(row, "node"), detail,
                       "the nodes do not hold the same members: realtimectl members --at NODE");
    }
    (void)snprintf(detail, sizeof detail, "%zu of %zu nodes agree on %.8s",
                   json_array_size(d->selves), json_array_size(d->selves), text(first, "view"));
    rt_doctor_good(d, detail);
}

/* ---- can they reach each other ---- */

static void check_links(struct rt_doctor *d)
{
    char detail[256], fix[256];
    size_t pairs = 0;
    size_t i;
    json_t *m;

    rt_doctor_check(d, "links");
    json_array_foreach(d->members, i, m)
    {
        if (!is_live(m) || json_is_true(json_object_get(m, "self"))) {
            continue;
        }
        pairs++;
        if (!json_is_true(json_object_get(m, "linked"))) {
            (void)snprintf(detail, sizeof detail, "has no link to %s", text(m, "name"));
            (void)snprintf(fix, sizeof fix, "let TCP from %s to %s pass", text(m, "node"),
                           text(m, "addr"));
            rt_doctor_find(d, "problem", text(m, "node"), detail, fix);
        }
    }
    (void)snprintf(detail, sizeof detail, "%zu of %zu up", pairs, pairs);
    rt_doctor_good(d, detail);
}

static void check_udp(struct rt_doctor *d)
{
    char detail[256], fix[256];
    size_t pairs = 0;
    size_t i;
    json_t *m;

    rt_doctor_check(d, "udp");
    json_array_foreach(d->members, i, m)
    {
        pairs += is_live(m) && !json_is_true(json_object_get(m, "self"));
        if (strcmp(rt_ctl_udp_word(m), "blocked") == 0) {
            (void)snprintf(detail, sizeof detail,
                           "no datagram of %s answered the last %d probes, other ways did",
                           text(m, "name"), (int)rt_ctl_int(m, "udp_missed"));
            (void)snprintf(fix, sizeof fix, "let UDP between %s and %s pass, both ways",
                           text(m, "node"), text(m, "addr"));
            rt_doctor_find(d, "problem", text(m, "node"), detail, fix);
        }
    }
    (void)snprintf(detail, sizeof detail, "%zu of %zu pairs reach each other", pairs, pairs);
    rt_doctor_good(d, detail);
}

/* Datagrams that were refused because their key is not known here, or that somebody made up. */
static void check_refused(struct rt_doctor *d)
{
    static const char *const bad[] = {"unknown_key", "bad_tag", "unsealed", "version"};
    char detail[256];
    size_t i;
    json_t *row;

    rt_doctor_check(d, "datagrams");
    json_array_foreach(d->selves, i, row)
    {
        const json_t *refused = json_object_get(json_object_get(row, "udp"), "refused");

        for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
            if (rt_ctl_int(refused, bad[k]) > 0) {
                (void)snprintf(detail, sizeof detail, "refused %lld datagrams: %s",
                               (long long)rt_ctl_int(refused, bad[k]), bad[k]);
                rt_doctor_find(d, "advice", text(row, "node"), detail,
                               "a node with another REALTIME_CLUSTER_KEY, or a stranger, sends to "
                               "this port");
            }
        }
    }
    rt_doctor_good(d, "none was refused");
}

static void check_loss(struct rt_doctor *d)
{
    char detail[256];
    size_t i;
    json_t *row;

    rt_doctor_check(d, "loss");
    json_array_foreach(d->selves, i, row)
    {
        const json_t *p = json_object_get(row, "probes");
        json_int_t direct = rt_ctl_int(p, "direct");
        json_int_t all = direct + rt_ctl_int(p, "helped") + rt_ctl_int(p, "link");

        if (all >= PROBES_MIN && (all - direct) * 1000 > all * LOSS_MILLI) {
            (void)snprintf(detail, sizeof detail, "%lld of %lld probes had no answer by datagram",
                           (long long)(all - direct), (long long)all);
            rt_doctor_find(d, "advice", text(row, "node"), detail,
                           "look for a busy host or a lossy network between the nodes");
        }
    }
    rt_doctor_good(d, "below 2 % everywhere");
}

/* ---- what must be the same ---- */

static void check_clocks(struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    char detail[256];
    json_int_t most = 0;
    size_t i;
    json_t *row;

    rt_doctor_check(d, "clock");
    json_array_foreach(d->selves, i, row)
    {
        json_int_t offset = rt_ctl_int(row, "offset_ms") - rt_ctl_int(first, "offset_ms");
        json_int_t size = offset < 0 ? -offset : offset;

        most = size > most ? size : most;
        if (size > OFFSET_MS + rt_ctl_int(row, "doubt_ms")) {
            (void)snprintf(detail, sizeof detail, "its clock is %s %s of %s", rt_ctl_age(size).text,
                           offset < 0 ? "behind that" : "ahead of that", text(first, "node"));
            rt_doctor_find(d, "problem", text(row, "node"), detail,
                           "run a time service on every host: chronyc makestep, or timedatectl "
                           "set-ntp true");
        }
    }
    (void)snprintf(detail, sizeof detail, "at most %s apart", rt_ctl_age(most).text);
    rt_doctor_good(d, detail);
}

/* The first of `want` that is not among `names`; NULL: all are. */
static const char *lacks(const json_t *names, const json_t *want)
{
    for (size_t i = 0; i < json_array_size(want); i++) {
        const char *name = json_string_value(json_array_get(want, i));
        size_t at = 0;

        while (at < json_array_size(names) &&
               strcmp(json_string_value(json_array_get(names, at)), name) != 0) {
            at++;
        }
        if (at == json_array_size(names)) {
            return name;
        }
    }
    return NULL;
}

static void check_keys(struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    const json_t *want = json_object_get(first, "keys");
    bool alone = json_is_null(json_object_get(first, "udp"));
    char detail[256];
    size_t i;
    json_t *row;

    rt_doctor_check(d, "keys");
    json_array_foreach(d->selves, i, row)
    {
        const json_t *keys = json_object_get(row, "keys");

        if (!alone && json_array_size(keys) == 0) {
            rt_doctor_find(d, "problem", text(row, "node"), "talks to other nodes without a key",
                           "set REALTIME_CLUSTER_KEY, unset REALTIME_CLUSTER_INSECURE");
        } else if (lacks(keys, want) != NULL || lacks(want, keys) != NULL) {
            (void)snprintf(detail, sizeof detail, "has other keys than %s", text(first, "node"));
            rt_doctor_find(
                d, "problem", text(row, "node"), detail,
                "give all nodes the same REALTIME_CLUSTER_KEY, then SIGHUP to realtimed");
        } else if (json_array_size(keys) > 1) {
            (void)snprintf(detail, sizeof detail, "%zu keys are in use", json_array_size(keys));
            rt_doctor_find(d, "advice", text(row, "node"), detail,
                           "when every node has the new key first, take the old one out");
        }
    }
    rt_doctor_good(d, alone ? "no other nodes" : "all nodes have the same");
}

/* A client of a project that its node does not know is refused, whichever project it is. */
static void check_projects(struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    const json_t *want = json_object_get(first, "projects");
    char detail[512];
    size_t i;
    json_t *row;

    rt_doctor_check(d, "projects");
    json_array_foreach(d->selves, i, row)
    {
        const json_t *names = json_object_get(row, "projects");
        const char *less = lacks(names, want);
        const char *more = lacks(want, names);

        /* A node of an older build does not say. */
        if (names == NULL || want == NULL || (less == NULL && more == NULL)) {
            continue;
        }
        (void)snprintf(detail, sizeof detail, "%s project %s, which %s %s",
                       less != NULL ? "does not have" : "has", less != NULL ? less : more,
                       text(first, "node"), less != NULL ? "has" : "does not have");
        rt_doctor_find(d, "problem", text(row, "node"), detail,
                       "give all nodes the same --config file, then SIGHUP to realtimed");
    }
    (void)snprintf(detail, sizeof detail, "%zu on every node", json_array_size(want));
    rt_doctor_good(d, detail);
}

static void check_builds(struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    char detail[256];
    size_t i;
    json_t *row;

    rt_doctor_check(d, "build");
    json_array_foreach(d->selves, i, row)
    {
        if (strcmp(text(row, "build"), text(first, "build")) != 0) {
            (void)snprintf(detail, sizeof detail, "runs %s, %s runs %s", text(row, "build"),
                           text(first, "node"), text(first, "build"));
            rt_doctor_find(d, "advice", text(row, "node"), detail, "end the upgrade");
        }
    }
    (void)snprintf(detail, sizeof detail, "%s everywhere", text(first, "build"));
    rt_doctor_good(d, detail);
}

/* ---- shares ---- */

static void check_zone(struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    const char *zone = text(first, "zone");
    char detail[256];
    bool one = json_array_size(d->selves) > 1 && *zone != '\0';
    size_t i;
    json_t *row;

    rt_doctor_check(d, "zone");
    json_array_foreach(d->selves, i, row)
    {
        one = one && strcmp(text(row, "zone"), zone) == 0;
    }
    if (one) {
        (void)snprintf(detail, sizeof detail, "all nodes stand in %s: who loses it loses all",
                       zone);
        rt_doctor_find(d, "advice", NULL, detail,
                       "put a node elsewhere, and set its REALTIME_ZONE");
    }
    rt_doctor_good(d, *zone == '\0' ? "REALTIME_ZONE is not set" : "more than one");
}

static void check_weights(struct rt_doctor *d)
{
    char detail[256];
    json_int_t weights = 0, nodes = 0;
    size_t i;
    json_t *m;

    rt_doctor_check(d, "weight");
    json_array_foreach(d->members, i, m)
    {
        if (seen_by_asked(d, m) && strcmp(text(m, "state"), "alive") == 0) {
            weights += rt_ctl_int(m, "weight");
            nodes++;
        }
    }
    json_array_foreach(d->members, i, m)
    {
        if (seen_by_asked(d, m) && strcmp(text(m, "state"), "alive") == 0 &&
            rt_ctl_int(m, "weight") * STARVED * nodes < weights) {
            (void)snprintf(detail, sizeof detail, "its weight %d leaves it %d of the partitions",
                           (int)rt_ctl_int(m, "weight"), (int)rt_ctl_int(m, "partitions"));
            rt_doctor_find(d, "advice", text(m, "name"), detail,
                           "REALTIME_WEIGHT=100 is the default of every node");
        }
    }
    rt_doctor_good(d, "no node is starved");
}

/* Each node has connections of its own to the database. */
static void check_databases(struct rt_doctor *d)
{
    const json_t *first = json_array_get(d->selves, 0);
    size_t i;
    json_t *row;

    rt_doctor_check(d, "reach");
    json_array_foreach(d->selves, i, row)
    {
        bool none = strcmp(text(row, "database"), "none") == 0;

        if (strcmp(text(row, "database"), "down") == 0) {
            rt_doctor_find(d, "problem", text(row, "node"), "does not reach the database",
                           "realtimectl doctor --at NODE tells what the database answers it");
        } else if (none != (strcmp(text(first, "database"), "none") == 0)) {
            rt_doctor_find(d, "problem", text(row, "node"),
                           "some nodes have a database and others do not",
                           "give all nodes the same REALTIME_DATABASE_URL");
        }
    }
    rt_doctor_good(d, strcmp(text(first, "database"), "none") == 0
                          ? "no database is configured"
                          : "all nodes reach the database");
}

void rt_doctor_mesh(struct rt_doctor *d, bool views_differ)
{
    check_members(d);
    check_views(d, views_differ);
    check_links(d);
    check_udp(d);
    check_loss(d);
    check_refused(d);
    check_clocks(d);
    check_keys(d);
    check_projects(d);
    check_builds(d);
    check_zone(d);
    check_weights(d);
    check_databases(d);
}
