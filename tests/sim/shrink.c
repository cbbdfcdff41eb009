/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shrink.c - less of a run that fails: of its faults, then of its time, clients and nodes.
 * Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.
 */
#include "tests/sim/plan.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct shrink {
    char check[128]; /* what failed, without its numbers */
    bool (*play)(const struct plan *p, char *why, size_t room);
    uint32_t runs;
};

/* The text up to its first number: the numbers change when less happens. */
static void check_of(char *out, size_t room, const char *why)
{
    size_t n = 0;

    if (why[0] == 'I' || why[0] == 'P') { /* "I2: ..." */
        n = 1;
        while (isdigit((unsigned char)why[n]) != 0) {
            n++;
        }
    }
    while (why[n] != '\0' && isdigit((unsigned char)why[n]) == 0 && n < room - 1) {
        n++;
    }
    memcpy(out, why, n);
    out[n] = '\0';
}

static bool fails(struct shrink *sh, const struct plan *p)
{
    char why[256] = "";
    char check[128];

    sh->runs++;
    if (sh->play(p, why, sizeof why)) {
        return false;
    }
    check_of(check, sizeof check, why);
    return strcmp(check, sh->check) == 0;
}

/* The plan without faults [from, from + n). The list is the caller's. */
static struct plan without(const struct plan *p, struct fault *list, uint32_t from, uint32_t n)
{
    struct plan less = *p;

    memcpy(list, p->faults, from * sizeof *list);
    memcpy(list + from, p->faults + from + n, (p->nfaults - from - n) * sizeof *list);
    less.faults = list;
    less.nfaults -= n;
    return less;
}

static void shrink_faults(struct shrink *sh, struct plan *p)
{
    struct fault *list = calloc(p->nfaults + 1, sizeof *list);

    if (list == NULL) {
        abort();
    }
    for (uint32_t n = p->nfaults; n > 0; n = n == 1 ? 0 : (n + 1) / 2) {
        uint32_t from = 0;

        while (from < p->nfaults) {
            uint32_t some = n < p->nfaults - from ? n : p->nfaults - from;
            struct plan less = without(p, list, from, some);

            if (fails(sh, &less)) {
                memcpy(p->faults, list, less.nfaults * sizeof *list);
                p->nfaults = less.nfaults;
            } else {
                from += some;
            }
        }
    }
    free(list);
}

/* Smaller values of one number, by halves and then by one. */
static void shrink_number(struct shrink *sh, struct plan *p, uint32_t *number, uint32_t least)
{
    uint32_t step = *number > least ? (*number - least + 1) / 2 : 0;

    while (step > 0) {
        uint32_t was = *number;

        *number = was - least < step ? was : was - step;
        if (*number == was || !fails(sh, p)) {
            *number = was;
            step = step == 1 ? 0 : (step + 1) / 2;
        }
    }
}

static bool without_last_node(struct plan *p)
{
    struct knobs *k = &p->k;

    if (k->nodes == 1) {
        return false;
    }
    k->nodes--;
    k->first_nodes = k->first_nodes < k->nodes ? k->first_nodes : k->nodes;
    k->seeds = k->seeds < k->nodes ? k->seeds : k->nodes;
    for (uint32_t i = 0; i < p->nfaults; i++) {
        const struct fault *f = &p->faults[i];
        bool of_edge =
            f->kind == FAULT_EDGE_CRASH || f->kind == FAULT_CUT || f->kind == FAULT_STALL_EDGE;

        if ((of_edge ? f->who / EDGES_MAX : f->who) >= k->nodes || f->other >= k->nodes) {
            return false;
        }
    }
    return true;
}

uint32_t sim_shrink(struct plan *p, const char *why,
                    bool (*play)(const struct plan *p, char *why, size_t room))
{
    struct shrink sh = {.play = play};
    struct plan was;

    check_of(sh.check, sizeof sh.check, why);
    shrink_faults(&sh, p);
    shrink_number(&sh, p, &p->k.work_until, p->k.work_from);
    shrink_number(&sh, p, &p->k.clients, 0);
    shrink_number(&sh, p, &p->k.topics, 1);
    for (was = *p; without_last_node(p) && fails(&sh, p); was = *p) {
    }
    *p = was;
    shrink_faults(&sh, p);
    return sh.runs;
}
