/* SPDX-License-Identifier: Apache-2.0 */
/* change_told.c - how the bindings of a channel stand, and what its client is told of that. */
#include <xxhash.h>

#include "node/edge/changes.h"
#include "node/edge/registrations.h"
#include "node/edge/say.h"

/* Why the binding hears nothing, by its own fault; empty: it is not refused, or not yet. */
static struct pr_slice refusal_of(const struct rt_binding *b)
{
    const struct rt_reg *r = b->reg;
    bool refused =
        r != NULL && r->answered && (r->status == PR_CHG_REFUSED || r->status == PR_CHG_CANCELLED);

    if (b->fault != NULL) {
        return pr_str(b->fault);
    }
    return pr_str(refused && r->message != NULL ? r->message : "");
}

enum rt_verdict rt_changes_verdict(const struct rt_channel *ch, struct pr_slice *message)
{
    const struct rt_bindings *v = ch->changes;
    enum rt_verdict verdict = RT_VERDICT_LIVE;

    for (uint32_t i = 0; v != NULL && i < v->count; i++) {
        const struct rt_reg *r = v->at[i].reg;

        if (v->at[i].fault != NULL || (r != NULL && r->answered && r->status == PR_CHG_REFUSED)) {
            *message = refusal_of(&v->at[i]);
            return RT_VERDICT_REFUSED;
        }
        if (r != NULL && r->answered && r->status != PR_CHG_LIVE) {
            if (r->status != PR_CHG_CANCELLED) {
                *message = pr_str(r->message == NULL ? "" : r->message);
            }
            verdict = RT_VERDICT_TROUBLE;
        } else if (r != NULL && !r->answered && verdict == RT_VERDICT_LIVE) {
            verdict = RT_VERDICT_UNKNOWN;
        }
    }
    return verdict;
}

bool rt_changes_tell(struct rt_channel *ch, bool ok, struct pr_slice message)
{
    struct rt_bindings *v = ch->changes;
    struct rt_system sys = {.extension = "postgres_changes", .ok = ok, .message = message};
    uint64_t hash = XXH3_64bits(message.p, message.n);

    if (ok ? v->told == RT_TOLD_LIVE : v->told == RT_TOLD_ERROR && v->told_hash == hash) {
        return false;
    }
    v->told = ok ? RT_TOLD_LIVE : RT_TOLD_ERROR;
    v->was_live = v->was_live || ok;
    v->told_hash = hash;
    rt_say_system(ch, &sys);
    return true;
}

static void forget_refusals(struct rt_bindings *v)
{
    for (uint32_t i = 0; i < v->count; i++) {
        v->at[i].told_hash = 0;
    }
}

/* The same, and it stands for all bindings: a refusal behind it is news. */
static void tell_all(struct rt_channel *ch, bool ok, struct pr_slice message)
{
    if (rt_changes_tell(ch, ok, message)) {
        forget_refusals(ch->changes);
    }
}

/* Was it told, of this binding or of another that is refused? */
static bool refusal_known(const struct rt_bindings *v, uint64_t hash)
{
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->at[i].told_hash == hash && refusal_of(&v->at[i]).n > 0) {
            return true;
        }
    }
    return false;
}

/* Each refusal, in the order of the bindings: one behind a binding that is not answered waits. */
static void tell_refusals(struct rt_channel *ch)
{
    struct rt_bindings *v = ch->changes;

    for (uint32_t i = 0; i < v->count; i++) {
        struct rt_binding *b = &v->at[i];
        struct rt_system sys = {.extension = "postgres_changes", .message = refusal_of(b)};
        uint64_t hash = sys.message.n == 0 ? 0 : XXH3_64bits(sys.message.p, sys.message.n);

        if (b->fault == NULL && b->reg != NULL && !b->reg->answered) {
            return;
        }
        if (hash != 0 && !refusal_known(v, hash)) {
            v->told = RT_TOLD_ERROR;
            v->told_hash = 0; /* trouble behind it is news */
            rt_say_system(ch, &sys);
        }
        b->told_hash = hash;
    }
}

void rt_changes_tell_verdict(struct rt_channel *ch)
{
    struct pr_slice message = pr_str("");

    switch (rt_changes_verdict(ch, &message)) {
    case RT_VERDICT_LIVE:
        tell_all(ch, true, pr_str("Subscribed to PostgreSQL"));
        break;
    case RT_VERDICT_REFUSED:
        tell_refusals(ch);
        break;
    case RT_VERDICT_TROUBLE:
        if (message.n > 0) {
            tell_all(ch, false, message);
        } else {
            tell_refusals(ch); /* of those that are cancelled */
        }
        break;
    case RT_VERDICT_UNKNOWN:
        break;
    }
}

void rt_changes_tell_anew(struct rt_bindings *v)
{
    v->told = RT_TOLD_NOTHING;
    forget_refusals(v);
}
