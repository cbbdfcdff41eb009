/* SPDX-License-Identifier: Apache-2.0 */
/* swim_look.c - read-only questions about membership. */
#include "cluster/swim_in.h"

const char *cl_swim_state_name(const struct cl_swim_member *m)
{
    switch (m->state) {
    case CL_SWIM_NONE:
        return "none";
    case CL_SWIM_ALIVE:
        if (m->meta.draining) {
            return "leaving";
        }
        return m->meta.ready ? "alive" : "joining";
    case CL_SWIM_SUSPECT:
        return "suspect";
    case CL_SWIM_DEAD:
        return "dead";
    case CL_SWIM_LEFT:
        return "left";
    }
    return "none";
}

bool cl_swim_in_ring(const struct cl_swim_member *m)
{
    return (m->state == CL_SWIM_ALIVE || m->state == CL_SWIM_SUSPECT) &&
           (m->meta.roles & PR_NODE_OWNER) != 0 && m->meta.ready && !m->meta.draining;
}

bool cl_swim_unsure(const struct cl_swim *s)
{
    return s->unsure && s->live > 1;
}

uint64_t cl_swim_epoch(const struct cl_swim *s)
{
    return cl_sw_self(s)->pub.epoch;
}

uint32_t cl_swim_live(const struct cl_swim *s)
{
    return s->live - (s->leaving ? 1 : 0);
}

const struct cl_swim_member *cl_swim_find(struct cl_swim *s, uint64_t id)
{
    const struct member *m = cl_sw_find(s, id);

    return m != NULL && m->pub.state != CL_SWIM_NONE ? &m->pub : NULL;
}

uint32_t cl_swim_members(const struct cl_swim *s, struct cl_ring_member *out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct cl_swim_member *m = &cl_sw_at(s, i)->pub;

        if (cl_swim_in_ring(m)) {
            out[n++] = (struct cl_ring_member){.id = m->id, .weight = m->meta.weight};
        }
    }
    return n;
}

void cl_swim_each(const struct cl_swim *s, cl_swim_fn emit, void *ctx)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        if (m->pub.state != CL_SWIM_NONE) {
            emit(ctx, &m->pub);
        }
    }
}

void cl_swim_stats(const struct cl_swim *s, struct cl_swim_stats *out)
{
    *out = s->st;
    out->live = cl_swim_live(s);
    out->queued = s->packet_count;
    out->health = s->health;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        out->members += m->pub.state != CL_SWIM_NONE ? 1 : 0;
        out->linked += m->pub.linked ? 1 : 0;
    }
}

static const char *member_broken(const struct cl_swim *s, const struct member *m)
{
    uint32_t active = 0;

    for (uint32_t k = 0; k < m->nrumours; k++) {
        active += m->rumour[k].active ? 1 : 0;
    }
    if (m->pub.id == 0 || m->pub.self != (m == cl_sw_self(s))) {
        return "id or self";
    }
    if (cl_sw_live(m) && !m->has_meta && !m->pub.self) {
        return "a live member without address";
    }
    if (m->pub.state == CL_SWIM_NONE && active > 0) {
        return "a rumour about nobody";
    }
    if ((m->pub.state == CL_SWIM_SUSPECT) != (m->pub.dead_at != NEVER)) {
        return "dead_at";
    }
    if (m->pub.confirms > m->pub.confirms_of) {
        return "more confirmations than are waited for";
    }
    if (m->owe != 0 && !m->pub.linked) {
        return "owed without a link";
    }
    return NULL;
}

bool cl_swim_check(const struct cl_swim *s, const char **what)
{
    uint32_t live = 0;
    uint32_t active = 0;

    *what = NULL;
    for (uint32_t i = 0; i < s->n && *what == NULL; i++) {
        const struct member *m = cl_sw_at(s, i);

        live += cl_sw_live(m) || m->pub.self ? 1 : 0;
        for (uint32_t k = 0; k < m->nrumours; k++) {
            active += m->rumour[k].active ? 1 : 0;
        }
        if (i > 0 && s->ids[i] <= s->ids[i - 1]) {
            *what = "ids are not in order";
        } else if (s->ids[i] != m->pub.id) {
            *what = "id of a slot";
        } else {
            *what = member_broken(s, m);
        }
    }
    if (*what == NULL && (live != s->live || active != s->active)) {
        *what = live != s->live ? "live count" : "rumour count";
    }
    if (*what == NULL && (s->n + s->nfree != s->cfg.nodes || s->norder + 1 != s->n)) {
        *what = "slots";
    }
    return *what == NULL;
}
