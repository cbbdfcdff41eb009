/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/checks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* A run that does not come to rest by itself has failed. */
#define STEPS_MAX 4000000u
/* From healing to rest: a dead node that lives is dialled within 5 s of a round over all the dead,
 * found to be wrong within seconds, and sums of presence are compared twice, every 10 s. */
#define SETTLE_MS 75000u

void *sim_grow(void *p, uint32_t used, uint32_t *room, size_t item)
{
    void *fresh = p;

    if (used == *room) {
        *room = *room == 0 ? 16 : *room * 2;
        fresh = realloc(p, *room * item);
        if (fresh == NULL) {
            abort();
        }
    }
    return fresh;
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
    return cl_rand_below(&s->rand, n);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    va_list ap;

    if (s->failed) {
        return;
    }
    s->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
}

void sim_line(struct sim *s, uint32_t node)
{
    if (s->trace && node != NOBODY) {
        printf("n%u %s\n", node, s->t.line);
    } else if (s->trace) {
        printf("   %s\n", s->t.line);
    }
}

void sim_note(struct sim *s, const char *fmt, ...)
{
    va_list ap;

    if (s->trace) {
        printf("-- t=%06llu.%03llu ", (unsigned long long)(s->now / 1000),
               (unsigned long long)(s->now % 1000));
        va_start(ap, fmt);
        (void)vprintf(fmt, ap);
        va_end(ap);
        printf("\n");
    }
}

static void *heap_get(void *ctx, size_t n)
{
    struct heap *h = ctx;
    void *p = NULL;

    if (h->refuse_in != 0 && cl_rand_below(&h->rand, h->refuse_in) == 0) {
        return NULL;
    }
    p = malloc(n == 0 ? 1 : n);
    if (p == NULL) {
        abort();
    }
    h->bytes += n;
    return p;
}

static void heap_put(void *ctx, void *p, size_t n)
{
    struct heap *h = ctx;

    h->bytes -= n;
    free(p);
}

void sim_heap_init(struct sim *s, struct heap *h, uint64_t salt)
{
    *h = (struct heap){.alloc = {heap_get, heap_put, h}};
    h->rand = cl_rand_seed(s->seed * 1000 + salt);
    h->refuse_in = s->k.refuse && !s->healing ? 1000 : 0;
}

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_at(struct sim *s, cl_ms at, enum ev_kind kind, uint32_t who, uint64_t arg)
{
    uint32_t i = s->nheap;
    struct event ev = {at, s->seq++, kind, who, arg};

    s->heap = sim_grow(s->heap, s->nheap, &s->heap_room, sizeof *s->heap);
    s->nheap++;
    while (i > 0 && earlier(&ev, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = ev;
}

static struct event take(struct sim *s)
{
    struct event first = s->heap[0];
    struct event last = s->heap[--s->nheap];
    uint32_t i = 0;

    for (uint32_t child = 1; child < s->nheap; child = 2 * i + 1) {
        if (child + 1 < s->nheap && earlier(&s->heap[child + 1], &s->heap[child])) {
            child++;
        }
        if (!earlier(&s->heap[child], &last)) {
            break;
        }
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

static void happen(struct sim *s, const struct event *ev)
{
    switch (ev->kind) {
    case EV_WORK:
        sim_work(s);
        break;
    case EV_FAULT:
        sim_fault(s);
        break;
    case EV_PART_ENDS:
        sim_part_ends(s);
        break;
    case EV_WATCH:
        sim_check_ghosts(s);
        sim_at(s, s->now + 1000, EV_WATCH, 0, 0);
        break;
    case EV_UDP:
        sim_udp_arrive(s, ev);
        break;
    case EV_LINK:
    case EV_LINK_CLOCK:
    case EV_LINK_DOWN:
    case EV_DIAL:
        sim_link_event(s, ev);
        break;
    case EV_SEEDS:
        if (s->node[ev->who].up && s->node[ev->who].run == ev->arg) {
            sim_seeds(s, ev->who);
        }
        break;
    case EV_UP:
    case EV_DOWN:
    case EV_CONNECT:
    case EV_NODE_TICK:
    case EV_EDGE_TICK:
    case EV_NODE_START:
    case EV_EDGE_START:
        sim_net_event(s, ev);
        break;
    }
}

/* Runs until virtual time `until`, or nothing is left, or the run has failed. */
static void run(struct sim *s, cl_ms until)
{
    while (!s->failed && s->nheap > 0 && s->heap[0].at <= until) {
        struct event ev = take(s);

        s->now = ev.at;
        s->step++;
        happen(s, &ev);
        if (s->step == s->until) {
            printf("stopped at step %llu\n", (unsigned long long)s->step);
            s->failed = true;
        }
        if (s->step > STEPS_MAX) {
            sim_fail(s, "no rest after %u steps", STEPS_MAX);
        }
    }
    if (!s->failed) {
        s->now = until;
    }
}

static void all_leave(struct sim *s)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        if (s->client[i].used) {
            sim_disconnect(s, i);
        }
    }
}

static void free_all(struct sim *s)
{
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            sim_member_free(&s->client[i].m[k]);
        }
    }
    sim_processes_free(s);
    sim_links_free(s);
    for (uint32_t n = 0; n < NODES_MAX; n++) {
        free(s->node[n].taken.at);
        for (uint32_t i = 0; i < TOPICS_MAX; i++) {
            free(s->node[n].topic[i].log);
            free(s->node[n].topic[i].order);
        }
    }
    for (uint32_t i = 0; i < s->nheap; i++) {
        sim_udp_free(&s->heap[i]);
    }
    free(s->pubs);
    free(s->heap);
}

/* Nothing breaks any more: from here on every member gets everything, once, in one order. */
static void calm(struct sim *s)
{
    uint64_t repairs = sim_repairs(s);

    s->calm = true;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        for (uint32_t k = 0; k < JOINS_MAX; k++) {
            struct member *m = &s->client[i].m[k];

            if (m->used && m->joined) {
                m->strict_from = m->strict_next = s->topic[m->topic].places;
            }
        }
    }
    sim_note(s, "calm");
    s->k.work_until = (uint32_t)s->now + s->k.work_every_ms * 100;
    sim_at(s, s->now + 1, EV_WORK, 0, 0);
    run(s, s->k.work_until + 12000);
    if (!s->failed && sim_repairs(s) != repairs) {
        sim_fail(s, "calm: what nodes hold differed although nothing was lost");
    }
    sim_check_quiet(s);
}

/* One whole run. False: it failed, and s->why says how. */
static bool run_seed(struct sim *s)
{
    sim_draw(s);
    run(s, s->k.work_until);
    if (!s->failed) {
        sim_heal(s);
        run(s, s->faults_at + SETTLE_MS);
        sim_check_quiet(s);
    }
    if (!s->failed && s->k.tight && s->overflowed > 0) {
        /* If a full link dropped the last event of a topic, the next one shows the hole; it is
         * asked for too, and without room to keep it, it is lost and counted as well. */
        sim_check_probe_start(s);
        run(s, s->now + 2000);
    }
    if (!s->failed) {
        sim_check_probe_start(s);
        run(s, s->now + 2000);
        sim_check_probe_end(s);
    }
    if (!s->failed) {
        calm(s);
    }
    if (!s->failed) {
        all_leave(s);
        run(s, s->now + 120000);
        s->talk = 0;
        run(s, s->now + 30000);
        sim_check_empty(s);
    }
    free_all(s);
    return !s->failed;
}

struct options {
    uint64_t seed, until, many, base, shrink;
    const char *case_file, *to;
    bool trace, twice, demand; /* demand: some seed must fail */
};

static void tell(const struct sim *s)
{
    printf("seed %llu ok: %u nodes%s, %u edges each, %u clients, %u topics, steps %llu, joins "
           "%llu, publishes %u, events %llu, gaps %llu, excused %llu, late %llu, views %llu, diffs "
           "%llu, crashes %llu, partitions %llu, links %llu, fatal %llu, trace %016llx\n",
           (unsigned long long)s->seed, s->k.nodes, s->k.planned ? " (planned)" : "", s->k.edges,
           s->k.clients, s->k.topics, (unsigned long long)s->step, (unsigned long long)s->joins,
           s->npubs, (unsigned long long)s->events, (unsigned long long)s->gaps,
           (unsigned long long)s->excused, (unsigned long long)s->late,
           (unsigned long long)s->views, (unsigned long long)s->diffs,
           (unsigned long long)s->crashes, (unsigned long long)s->partitions,
           (unsigned long long)s->links_up, (unsigned long long)s->fatals,
           (unsigned long long)s->t.hash);
}

/* `given`: this plan, else what the seed draws. */
static struct sim *new_sim(const struct options *o, uint64_t seed, const struct plan *given)
{
    struct sim *s = calloc(1, sizeof *s);

    if (s == NULL) {
        abort();
    }
    s->seed = seed;
    s->rand = cl_rand_seed(seed);
    s->trace = o->trace;
    s->until = o->until;
    s->given = given != NULL;
    if (given != NULL) {
        s->plan = *given;
    }
    return s;
}

static bool one(const struct options *o, uint64_t seed, uint64_t *hash)
{
    struct sim *s = new_sim(o, seed, NULL);
    bool ok = run_seed(s);

    *hash = s->t.hash;
    if (!ok) {
        printf("seed %llu FAILED at step %llu, t=%llu ms, %u nodes: %s\n", (unsigned long long)seed,
               (unsigned long long)s->step, (unsigned long long)s->now, s->k.nodes, s->why);
    } else if (o->many == 0) {
        tell(s);
    }
    free(s->plan.faults);
    free(s);
    return ok;
}

static int one_case(const struct options *o)
{
    struct plan plan;
    struct sim *s = NULL;
    bool ok = sim_case_load(&plan, o->case_file);

    if (!ok) {
        fprintf(stderr, "%s is no case that --shrink has written\n", o->case_file);
        free(plan.faults);
        return 2;
    }
    s = new_sim(o, plan.seed, &plan);
    ok = run_seed(s);
    if (ok) {
        tell(s);
    } else {
        printf("%s FAILED at step %llu, t=%llu ms: %s\n", o->case_file, (unsigned long long)s->step,
               (unsigned long long)s->now, s->why);
    }
    free(plan.faults);
    free(s);
    return ok != o->demand ? 0 : 1;
}

static bool play(const struct plan *p, char *why, size_t room)
{
    const struct options silent = {0};
    struct sim *s = new_sim(&silent, p->seed, p);
    bool ok = run_seed(s);

    (void)snprintf(why, room, "%s", s->why);
    free(s);
    return ok;
}

static int shrink(const struct options *o)
{
    struct sim *s = new_sim(o, o->shrink, NULL);
    bool ok = run_seed(s);
    struct plan plan = s->plan;
    uint32_t faults = plan.nfaults, runs = 0;
    int rv = 1;

    if (ok) {
        fprintf(stderr, "seed %llu does not fail\n", (unsigned long long)o->shrink);
    } else {
        runs = sim_shrink(&plan, s->why, play);
        rv = sim_case_save(&plan, s->why, o->to) ? 0 : 1;
        printf("%u faults of %u, %u ms of work, %u nodes, %u clients, after %u runs: %s\n",
               plan.nfaults, faults, plan.k.work_until, plan.k.nodes, plan.k.clients, runs, o->to);
    }
    free(plan.faults);
    free(s);
    return rv;
}

static int many(const struct options *o, const char *self)
{
    uint64_t all = 0, hash = 0;

    printf("seeds %llu .. %llu\n", (unsigned long long)o->base,
           (unsigned long long)(o->base + o->many - 1));
    for (uint64_t i = 0; i < o->many; i++) {
        if (!one(o, o->base + i, &hash)) {
            printf("repeat: %s --seed %llu --trace\n", self, (unsigned long long)(o->base + i));
            return o->demand ? 0 : 1;
        }
        all = cl_mix64(all ^ hash);
    }
    printf("%llu seeds without a failure, trace %016llx\n", (unsigned long long)o->many,
           (unsigned long long)all);
    return o->demand ? 1 : 0;
}

static int twice(const struct options *o)
{
    uint64_t a = 0, b = 0;

    for (uint64_t i = 0; i < o->many; i++) {
        if (!one(o, o->base + i, &a) || !one(o, o->base + i, &b) || a != b) {
            printf("seed %llu: traces %016llx and %016llx\n", (unsigned long long)(o->base + i),
                   (unsigned long long)a, (unsigned long long)b);
            return 1;
        }
    }
    printf("%llu seeds gave the same trace twice\n", (unsigned long long)o->many);
    return 0;
}

static bool number(const char *text, uint64_t *out)
{
    char *end = NULL;

    if (text == NULL || *text == '\0') {
        return false;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static int usage(const char *self)
{
    fprintf(stderr,
            "usage: %s --seed N [--trace] [--until STEP]\n"
            "       %s --many COUNT --base B [--twice | --must-fail]\n"
            "       %s --shrink N --to FILE          less of what makes seed N fail, as a case\n"
            "       %s --case FILE [--trace] [--until STEP] [--must-fail]\n",
            self, self, self, self);
    return 2;
}

/* False: it is none. */
static bool flag(struct options *o, const char *arg)
{
    bool *into = strcmp(arg, "--trace") == 0       ? &o->trace
                 : strcmp(arg, "--twice") == 0     ? &o->twice
                 : strcmp(arg, "--must-fail") == 0 ? &o->demand
                                                   : NULL;

    if (into != NULL) {
        *into = true;
    }
    return into != NULL;
}

/* An option with its value. False: there is no such option, or the value is none. */
static bool option(struct options *o, const char *arg, const char *value, bool *seed)
{
    if (value == NULL) {
        return false;
    }
    if (strcmp(arg, "--case") == 0 || strcmp(arg, "--to") == 0) {
        *(strcmp(arg, "--to") == 0 ? &o->to : &o->case_file) = value;
        return true;
    }
    *seed = *seed || strcmp(arg, "--seed") == 0;
    return (strcmp(arg, "--seed") == 0 && number(value, &o->seed)) ||
           (strcmp(arg, "--until") == 0 && number(value, &o->until)) ||
           (strcmp(arg, "--many") == 0 && number(value, &o->many)) ||
           (strcmp(arg, "--base") == 0 && number(value, &o->base)) ||
           (strcmp(arg, "--shrink") == 0 && number(value, &o->shrink));
}

int main(int argc, char **argv)
{
    struct options o = {0};
    bool seed = false;
    uint64_t hash = 0;

    for (int i = 1; i < argc; i++) {
        if (flag(&o, argv[i])) {
            continue;
        }
        if (!option(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &seed)) {
            return usage(argv[0]);
        }
        i++;
    }
    if (seed + (o.many != 0) + (o.shrink != 0) + (o.case_file != NULL) != 1 ||
        (o.shrink != 0) != (o.to != NULL)) {
        return usage(argv[0]);
    }
    if (o.case_file != NULL) {
        return one_case(&o);
    }
    if (o.shrink != 0) {
        return shrink(&o);
    }
    if (seed) {
        return one(&o, o.seed, &hash) ? 0 : 1;
    }
    return o.twice ? twice(&o) : many(&o, argv[0]);
}
