/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/ctl_doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/ctl_members.h"

void rt_doctor_check(struct rt_doctor *d, const char *check)
{
    d->check = check;
    d->found = 0;
}

void rt_doctor_find(struct rt_doctor *d, const char *level, const char *node, const char *detail,
                    const char *fix)
{
    bool problem = strcmp(level, "problem") == 0;
    json_t *row = json_pack("{s:s, s:b, s:s, s:s?, s:s, s:s?}", "check", d->check, "ok", !problem,
                            "level", level, "node", node, "detail", detail, "fix", fix);

    d->found++;
    d->problem = d->problem || problem;
    if (row != NULL) {
        rt_rows_add(&d->rows, row);
    }
}

void rt_doctor_good(struct rt_doctor *d, const char *detail)
{
    if (d->found == 0) {
        rt_doctor_find(d, "ok", NULL, detail, NULL);
    }
}

/* ---- the database, as the db process of the asked node finds it ---- */

/* True if it answered. */
static bool ask_database(const struct rt_ctl *c, struct rt_rows *answer)
{
    bool problem = false;

    rt_rows_init(answer);
    (void)rt_ctl_ask(c, "doctor", NULL, answer, &problem);
    return !problem;
}

static void database(const struct rt_ctl *c, struct rt_doctor *d)
{
    struct rt_rows answer;
    bool ok = ask_database(c, &answer);
    size_t i;
    json_t *row;

    if (!ok) {
        rt_rows_deinit(&answer);
        (void)sleep(RT_DOCTOR_AGAIN_S);
        ok = ask_database(c, &answer);
    }
    json_array_foreach(answer.list, i, row)
    {
        const char *fix = rt_ctl_text(row, "fix");
        const char *project = rt_ctl_text(row, "project");
        char detail[1024];

        (void)snprintf(detail, sizeof detail, "%s%s%s",
                       strcmp(project, "default") == 0 ? "" : project,
                       strcmp(project, "default") == 0 ? "" : ": ", rt_ctl_text(row, "detail"));
        rt_doctor_check(d, rt_ctl_text(row, "check"));
        rt_doctor_find(d, rt_ctl_text(row, "level"), rt_ctl_text(row, "node"), detail,
                       *fix == '\0' ? NULL : fix);
    }
    if (!ok) {
        rt_doctor_check(d, "database");
        rt_doctor_find(d, "problem", NULL, "the db process does not answer",
                       "realtimectl status; its log says why it does not run");
    }
    rt_rows_deinit(&answer);
}

/* ---- output ---- */

static void print_row(const json_t *row)
{
    const char *level = rt_ctl_text(row, "level");
    const char *node = rt_ctl_text(row, "node");
    const char *fix = rt_ctl_text(row, "fix");
    const char *word = strcmp(level, "problem") == 0 ? "PROBLEM" : level;

    (void)printf("%-8s %-12s %s%s%s\n", word, rt_ctl_text(row, "check"), node,
                 *node != '\0' ? ": " : "", rt_ctl_text(row, "detail"));
    if (*fix != '\0') {
        (void)printf("%21s fix: %s\n", "", fix);
    }
}

static void print_all(const struct rt_ctl *c, const struct rt_doctor *d)
{
    int problems = 0;
    size_t i;
    json_t *row;

    if (c->json) {
        rt_rows_print_json(&d->rows);
        return;
    }
    json_array_foreach(d->rows.list, i, row)
    {
        problems += !json_is_true(json_object_get(row, "ok"));
        print_row(row);
    }
    (void)printf("%d problem%s found\n", problems, problems == 1 ? "" : "s");
}

/* Asks all nodes how they are and how they see each other; --at is for the database alone. */
static bool look(const struct rt_ctl *c, struct rt_doctor *d, bool *problem)
{
    struct rt_ctl all = *c;
    struct rt_rows answer;
    bool ok;

    all.at = NULL;
    rt_rows_init(&answer);
    ok = rt_ctl_ask(&all, "members", json_pack("{s:b}", "pairs", 1), &answer, problem);
    json_decref(d->selves);
    json_decref(d->members);
    d->selves = rt_ctl_kind(&answer, "self");
    d->members = rt_ctl_kind(&answer, "member");
    rt_rows_deinit(&answer);
    return ok;
}

int rt_ctl_doctor(const struct rt_ctl *c, char **argv)
{
    struct rt_doctor d = {.local = c->local};
    bool silent = false;
    bool differ = false;
    bool ok;

    if (*argv != NULL) {
        return rt_ctl_usage("doctor takes no argument", *argv);
    }
    rt_rows_init(&d.rows);
    ok = look(c, &d, &silent);
    if (ok && rt_doctor_views_differ(&d)) {
        (void)sleep(RT_DOCTOR_AGAIN_S);
        ok = look(c, &d, &silent);
        differ = ok && rt_doctor_views_differ(&d);
    }
    if (ok) {
        rt_doctor_mesh(&d, differ);
        database(c, &d);
        print_all(c, &d);
    }
    json_decref(d.selves);
    json_decref(d.members);
    rt_rows_deinit(&d.rows);
    return ok && !d.problem ? RT_CTL_OK : RT_CTL_PROBLEM;
}
