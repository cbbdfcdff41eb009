/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kills.c - the promise about deaths of owner processes.
 *
 *   I13  as long as nothing but owner processes die, be it two soon after another, each member gets
 *        all that anybody has ordered since its join's answer, and no publish is given up
 *
 * The publishes of one edge in one topic come in their order (I3), so what a later one has passed
 * by does not come any more.
 */
#include "tests/sim/checks.h"

static void missed(struct sim *s, uint32_t client, const struct member *m, uint32_t id)
{
    sim_fail(s, "I13: client %u on edge %u topic %u does not get publish %u", client,
             s->client[client].edge, m->topic, id);
}

void sim_check_passed_by(struct sim *s, uint32_t client, const struct member *m, uint32_t life,
                         uint32_t number)
{
    for (uint32_t i = 0; s->k.owners && i < s->npubs && number > m->last[life] + 1; i++) {
        const struct pub *p = &s->pubs[i];

        if (p->topic == m->topic && p->life == life && p->number > m->last[life] &&
            p->number < number && p->place != NOBODY && p->place >= m->strict_from) {
            missed(s, client, m, i);
        }
    }
}

void sim_check_got_all(struct sim *s, uint32_t client, const struct member *m)
{
    for (uint32_t i = 0; s->k.owners && i < s->npubs; i++) {
        const struct pub *p = &s->pubs[i];

        if (p->topic == m->topic && p->place != NOBODY && p->place >= m->strict_from &&
            p->number > m->last[p->life]) {
            missed(s, client, m, i);
        }
    }
}
