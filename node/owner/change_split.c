/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change_split.c - one CHG frame into one for each place that it concerns.
 *
 * Targets of one edge stand together, so a place is looked up once per run of them; a part is then
 * made of whole runs, copied as they are packed.
 */
#include <assert.h>
#include <string.h>

#include "node/owner/changes_in.h"

/* A part has the frame's head, and per body the same few fields; never more than what it is cut
 * from, but lengths are packed anew. */
#define HEAD_MAX 1024u

struct change_run {
    uint32_t place;
    uint32_t count; /* targets */
    struct pr_slice targets;
};

struct change_body {
    struct pr_chg_body body;
    uint32_t first, count; /* in runs */
};

static void add_run(struct change_split *s, uint32_t place)
{
    if (s->nruns == s->runs_cap) {
        s->runs_cap = s->runs_cap == 0 ? 64 : s->runs_cap * 2;
        s->runs = rt_realloc(s->runs, s->runs_cap * sizeof *s->runs);
    }
    s->runs[s->nruns++] = (struct change_run){.place = place};
    if (place != RT_CHANGE_NOWHERE && (s->places[place / 64] >> (place % 64) & 1u) == 0) {
        s->places[place / 64] |= UINT64_C(1) << (place % 64);
        s->nplaces++;
    }
}

static bool take_targets(struct change_split *s, struct change_body *b,
                         uint32_t (*place)(const struct changes *c, uint64_t boot),
                         const struct changes *c)
{
    struct pr_slice list = b->body.targets;
    const uint8_t *at = list.p;
    uint64_t boot = 0, last = 0;
    uint32_t handle = 0;
    int rv;

    b->first = s->nruns;
    while ((rv = pr_chg_targets_next(&list, &boot, &handle)) == 1) {
        struct change_run *run;

        if (s->nruns == b->first || boot != last) {
            add_run(s, place(c, boot));
            s->runs[s->nruns - 1].targets.p = at;
            last = boot;
        }
        run = &s->runs[s->nruns - 1];
        run->count++;
        run->targets.n += (size_t)(list.p - at);
        at = list.p;
    }
    b->count = s->nruns - b->first;
    return rv == 0;
}

bool rt_change_split(struct change_split *s, const struct pr_chg *m,
                     uint32_t (*place)(const struct changes *c, uint64_t boot),
                     const struct changes *c)
{
    struct pr_slice list = m->bodies;
    struct pr_chg_body body;
    int rv;

    s->nruns = 0;
    s->nbodies = 0;
    s->nplaces = 0;
    memset(s->places, 0, sizeof s->places);
    while ((rv = pr_chg_bodies_next(&list, &body)) == 1) {
        struct change_body *b;

        if (s->nbodies == s->bodies_cap) {
            s->bodies_cap = s->bodies_cap == 0 ? 64 : s->bodies_cap * 2;
            s->bodies = rt_realloc(s->bodies, s->bodies_cap * sizeof *s->bodies);
        }
        b = &s->bodies[s->nbodies++];
        *b = (struct change_body){.body = body};
        if (!take_targets(s, b, place, c)) {
            return false;
        }
    }
    return rv == 0;
}

/* Targets of one body that are at the place, behind each other at `to`. */
static struct pr_slice gather(const struct change_split *s, const struct change_body *b,
                              uint32_t place, uint8_t *to, uint32_t *count)
{
    size_t n = 0;

    *count = 0;
    for (uint32_t i = b->first; i < b->first + b->count; i++) {
        const struct change_run *run = &s->runs[i];

        if (run->place == place) {
            memcpy(to + n, run->targets.p, run->targets.n);
            n += run->targets.n;
            *count += run->count;
        }
    }
    return pr_bytes(to, n);
}

struct pr_slice rt_change_part(struct change_split *s, const struct pr_chg *m, uint32_t place)
{
    /* The frame, its bodies, and the targets of one body. */
    size_t room = m->bodies.n + HEAD_MAX;
    struct pr_chg part = *m;
    struct pr_outbuf bodies, frame;

    if (s->out_cap < 3 * room) {
        s->out_cap = 3 * room;
        rt_free(s->out);
        s->out = rt_malloc(s->out_cap);
    }
    bodies = pr_outbuf(s->out, room);
    part.nbodies = 0;
    for (uint32_t i = 0; i < s->nbodies; i++) {
        struct pr_chg_body body = s->bodies[i].body;

        body.targets = gather(s, &s->bodies[i], place, s->out + room, &body.ntargets);
        if (body.ntargets > 0) {
            pr_chg_body_put(&bodies, &body);
            part.nbodies++;
        }
    }
    part.bodies = pr_bytes(bodies.p, bodies.len);
    frame = pr_outbuf(s->out + 2 * room, room);
    pr_chg_encode(&frame, &part);
    assert(pr_out_ok(&bodies) && pr_out_ok(&frame));
    return pr_bytes(frame.p, frame.len);
}

void rt_change_split_free(struct change_split *s)
{
    rt_free(s->runs);
    rt_free(s->bodies);
    rt_free(s->out);
    memset(s, 0, sizeof *s);
}
