/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/linger.h"

#include <stddef.h>

#include "node/edge/registrations.h"

static bool is_of_the_copy(struct pr_slice key)
{
    static const char *const names[] = {"iat", "exp", "nbf", "jti"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (pr_json_str_is(key, names[i])) {
            return true;
        }
    }
    return false;
}

/* The next claim that counts; 0 at the end. */
static int next(struct pr_json_iter *it, struct pr_slice *key, struct pr_json *v)
{
    int rv = pr_json_next(it, key, v);

    while (rv == 1 && is_of_the_copy(*key)) {
        rv = pr_json_next(it, key, v);
    }
    return rv;
}

/* In the same order, too: whoever makes the tokens of a project does not change it. */
static bool same_claims(struct pr_slice a, struct pr_slice b)
{
    struct pr_json_iter ia, ib;
    struct pr_slice ka, kb;
    struct pr_json va, vb;
    int rv;

    if (pr_json_open(&ia, a) != PR_OK || pr_json_open(&ib, b) != PR_OK) {
        return false;
    }
    do {
        rv = next(&ia, &ka, &va);
        if (rv < 0 || next(&ib, &kb, &vb) != rv) {
            return false;
        }
    } while (rv == 1 && pr_slice_eq(ka, kb) && pr_slice_eq(va.raw, vb.raw));
    return rv == 0;
}

bool rt_linger_same(const struct rt_token *a, const struct rt_token *b)
{
    return pr_slice_eq(a->role, b->role) && same_claims(a->claims, b->claims);
}

static void drop(struct rt_channel *ch, uint32_t index)
{
    struct rt_binding *b = &ch->changes->at[index];
    struct rt_reg *old = b->old;

    b->old = NULL;
    if (old != NULL) {
        rt_reg_unuse(ch->socket->project, old, b->old_pos);
    }
}

static void end_due(struct rt_wheel_entry *timer)
{
    struct rt_bindings *v =
        (struct rt_bindings *)(void *)((char *)timer - offsetof(struct rt_bindings, linger));
    struct rt_channel *ch = v->channel;
    struct rt_edge *e = ch->socket->edge;
    struct pr_slice message;

    e->now_ms = rt_now_ms(e->loop);
    if (rt_changes_verdict(ch, &message) == RT_VERDICT_UNKNOWN) {
        rt_wheel_set(&e->wheel, &v->linger, end_due, e->now_ms, RT_LINGER_MS);
    } else {
        rt_linger_end(ch);
    }
}

void rt_linger_keep(struct rt_channel *ch, uint32_t index, struct rt_reg *old, uint32_t pos)
{
    struct rt_bindings *v = ch->changes;
    struct rt_edge *e = ch->socket->edge;

    drop(ch, index);
    old->users[pos].old = true;
    v->at[index].old = old;
    v->at[index].old_pos = pos;
    v->channel = ch;
    v->lingers = true;
    rt_wheel_set(&e->wheel, &v->linger, end_due, e->now_ms, RT_LINGER_MS);
}

void rt_linger_end(struct rt_channel *ch)
{
    struct rt_bindings *v = ch->changes;

    if (v->lingers) {
        v->lingers = false;
        rt_wheel_clear(&ch->socket->edge->wheel, &v->linger);
        for (uint32_t i = 0; i < v->count; i++) {
            drop(ch, i);
        }
    }
}

bool rt_linger_first(struct rt_bindings *v, uint32_t index, struct pr_pos pos)
{
    uint64_t bit = UINT64_C(1) << (index % 64);

    if (!v->lingers) {
        return true;
    }
    if (pr_pos_cmp(pos, v->seen_pos) != 0) {
        v->seen_pos = pos;
        v->seen[0] = 0;
        v->seen[1] = 0;
    }
    if ((v->seen[index / 64] & bit) != 0) {
        return false;
    }
    v->seen[index / 64] |= bit;
    return true;
}
