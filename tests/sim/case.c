/* SPDX-License-Identifier: Apache-2.0 */
/* case.c - a plan as a file: it survives changes of what seeds draw. */
#include "tests/sim/sim.h"

#include "proto/json_scan.h"

#include <stdlib.h>
#include <string.h>

#define CASE_BYTES_MAX (1u << 22)

static const char *const kinds[FAULT_KINDS] = {[FAULT_NONE] = "none",
                                               [FAULT_OWNER_CRASH] = "owner_crash",
                                               [FAULT_EDGE_CRASH] = "edge_crash",
                                               [FAULT_CUT] = "cut",
                                               [FAULT_STALL_OWNER] = "stall_owner",
                                               [FAULT_STALL_EDGE] = "stall_edge",
                                               [FAULT_NODE_LOST] = "node_lost",
                                               [FAULT_LINK_CUT] = "link_cut",
                                               [FAULT_HALF_OPEN] = "half_open",
                                               [FAULT_PARTITION] = "partition",
                                               [FAULT_OPERATOR] = "operator"};

static void put_fault(FILE *to, const struct fault *f)
{
    fprintf(to, "[\"%s\",%llu,%u,%u,%u,%u,%u,%u,%u,%lld", kinds[f->kind], (unsigned long long)f->at,
            f->who, f->other, f->end, f->ms, f->dark, f->moves, f->wall, (long long)f->wall_ms);
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        fprintf(to, ",%u", f->blocked[i]);
    }
    fprintf(to, "]");
}

bool sim_case_save(const struct plan *p, const char *why, const char *path)
{
    FILE *to = fopen(path, "w");
    const char *comma = "";

    if (to == NULL) {
        return false;
    }
    fprintf(to, "{\"why\":\"%s\",\n\"seed\":%llu,\n\"knobs\":{", why, (unsigned long long)p->seed);
#define PUT(name)                                                                                  \
    fprintf(to, "%s\"" #name "\":%u", comma, p->k.name);                                           \
    comma = ",";
    KNOBS(PUT)
#undef PUT
    fprintf(to, "},\n\"nodes\":[");
    for (uint32_t n = 0; n < p->k.nodes; n++) {
        fprintf(to, "%s[%u,%u,%llu,%lld]", n == 0 ? "" : ",", p->node[n].edges, p->node[n].weight,
                (unsigned long long)p->node[n].clock, (long long)p->node[n].wall_ms);
    }
    fprintf(to, "],\n\"faults\":[");
    for (uint32_t i = 0; i < p->nfaults; i++) {
        fprintf(to, i == 0 ? "\n" : ",\n");
        put_fault(to, &p->faults[i]);
    }
    fprintf(to, "]}\n");
    return fclose(to) == 0;
}

/* The numbers of an array behind `skip` elements. False: more or fewer, or something else. */
static bool numbers(struct pr_slice array, uint32_t skip, int64_t *out, uint32_t count)
{
    struct pr_json_iter it;
    struct pr_json v;
    uint32_t n = 0;

    if (pr_json_open(&it, array) != PR_OK) {
        return false;
    }
    while (pr_json_next(&it, NULL, &v) == 1) {
        if (n >= skip && (v.type != PR_JSON_NUMBER || n - skip == count)) {
            return false;
        }
        if (n >= skip) {
            out[n - skip] = strtoll((const char *)v.raw.p, NULL, 10);
        }
        n++;
    }
    return n == skip + count;
}

static bool take_fault(struct pr_slice text, struct fault *f)
{
    int64_t n[9 + NODES_MAX];
    struct pr_json_iter it;
    struct pr_json v;

    *f = (struct fault){.kind = FAULT_KINDS};
    if (!numbers(text, 1, n, 9 + NODES_MAX) || pr_json_open(&it, text) != PR_OK ||
        pr_json_next(&it, NULL, &v) != 1 || v.type != PR_JSON_STRING) {
        return false;
    }
    for (uint32_t k = 0; k < FAULT_KINDS; k++) {
        f->kind = pr_json_str_is(pr_json_str(&v), kinds[k]) ? (enum fault_kind)k : f->kind;
    }
    f->at = (cl_ms)n[0];
    f->who = (uint32_t)n[1];
    f->other = (uint32_t)n[2];
    f->end = (uint32_t)n[3];
    f->ms = (uint32_t)n[4];
    f->dark = n[5] != 0;
    f->moves = n[6] != 0;
    f->wall = n[7] != 0;
    f->wall_ms = n[8];
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        f->blocked[i] = (uint32_t)n[9 + i];
    }
    return f->kind != FAULT_KINDS && f->who < ALL_EDGES && f->other < NODES_MAX && f->end < 2;
}

static bool take_knobs(struct pr_slice text, struct knobs *k)
{
    struct pr_json v;

#define TAKE(name)                                                                                 \
    if (pr_json_member(text, #name, &v) != 1 || v.type != PR_JSON_NUMBER) {                        \
        return false;                                                                              \
    }                                                                                              \
    k->name = (uint32_t)strtoul((const char *)v.raw.p, NULL, 10);
    KNOBS(TAKE)
#undef TAKE
    return k->nodes >= 1 && k->nodes <= NODES_MAX && k->topics >= 1 && k->topics <= TOPICS_MAX &&
           k->clients <= CLIENTS_MAX && k->first_nodes <= k->nodes && k->seeds <= k->nodes;
}

static bool take(struct plan *p, struct pr_slice text)
{
    static const char *const names[] = {"seed", "knobs", "nodes", "faults"};
    struct pr_json member[4], v;
    struct pr_json_iter it;
    uint32_t n = 0;

    if (pr_json_check(text) != PR_OK || pr_json_pick(text, names, 4, member) != PR_OK ||
        member[0].raw.n == 0 || !take_knobs(member[1].raw, &p->k)) {
        return false;
    }
    p->seed = strtoull((const char *)member[0].raw.p, NULL, 10);
    if (pr_json_open(&it, member[2].raw) != PR_OK) {
        return false;
    }
    for (n = 0; pr_json_next(&it, NULL, &v) == 1; n++) {
        int64_t of[4];

        if (n == p->k.nodes || !numbers(v.raw, 0, of, 4) || of[0] < 1 || of[0] > EDGES_MAX) {
            return false;
        }
        p->node[n].edges = (uint32_t)of[0];
        p->node[n].weight = (uint32_t)of[1];
        p->node[n].clock = (uint64_t)of[2];
        p->node[n].wall_ms = of[3];
    }
    if (n != p->k.nodes || pr_json_open(&it, member[3].raw) != PR_OK) {
        return false;
    }
    while (pr_json_next(&it, NULL, &v) == 1) {
        p->faults = sim_grow(p->faults, p->nfaults, &p->room, sizeof *p->faults);
        if (!take_fault(v.raw, &p->faults[p->nfaults++])) {
            return false;
        }
    }
    return true;
}

bool sim_case_load(struct plan *p, const char *path)
{
    FILE *from = fopen(path, "r");
    char *text = calloc(1, CASE_BYTES_MAX + 1);
    size_t n = 0;
    bool ok = false;

    memset(p, 0, sizeof *p);
    if (from != NULL && text != NULL) {
        n = fread(text, 1, CASE_BYTES_MAX, from);
        ok = take(p, pr_bytes(text, n));
    }
    if (from != NULL) {
        (void)fclose(from);
    }
    free(text);
    return ok;
}
