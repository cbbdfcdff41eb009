/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/flight.h"

#include <assert.h>
#include <string.h>

/* First size of a ring. */
#define RING_MIN 64u

static bool grow(const struct cl_alloc *mem, struct flights *f, uint32_t max)
{
    uint32_t room = f->room == 0 ? RING_MIN : f->room * 2;
    struct flown *at = room > max ? NULL : mem->get(mem->ctx, room * sizeof *at);

    if (at == NULL) {
        return false;
    }
    for (uint32_t k = 0; k < f->n; k++) {
        at[k] = f->at[(f->head + k) & (f->room - 1)];
    }
    if (f->at != NULL) {
        mem->put(mem->ctx, f->at, f->room * sizeof *at);
    }
    f->at = at;
    f->room = room;
    f->head = 0;
    return true;
}

bool cl_flights_add(const struct cl_alloc *mem, struct flights *f, uint32_t max, struct flown one)
{
    if (f->n == f->room && !grow(mem, f, max)) {
        return false;
    }
    f->at[(f->head + f->n) & (f->room - 1)] = one;
    f->n++;
    return true;
}

uint32_t cl_flights_until(const struct flights *f, uint64_t mark)
{
    uint32_t n = 0;

    while (n < f->n && f->at[(f->head + n) & (f->room - 1)].mark <= mark) {
        n++;
    }
    return n;
}

uint32_t cl_flights_take(struct flights *f)
{
    uint32_t item = 0;

    assert(f->n > 0);
    item = f->at[f->head].item;
    f->head = (f->head + 1) & (f->room - 1);
    f->n--;
    return item;
}

void cl_flights_free(const struct cl_alloc *mem, struct flights *f)
{
    if (f->at != NULL) {
        mem->put(mem->ctx, f->at, f->room * sizeof *f->at);
    }
    memset(f, 0, sizeof *f);
}
