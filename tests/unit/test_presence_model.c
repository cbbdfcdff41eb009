/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: sets of several nodes that tell each other deltas and whole states, some of them lost, cut
 * off or late, hold at each moment the exact past state of each actor, and in the end the same; and
 * members on each node see exact diffs. Properties 23 and 25 of the cluster's design.
 */
#include "presence_world.h"

#include <time.h>

#define RUNS  300u
#define STEPS 400u

static void start(uint64_t seed)
{
    uint64_t lost = w.lost, cut = w.cut, holes = w.holes, replaces = w.replaces;

    memset(&w, 0, sizeof w);
    w.lost = lost;
    w.cut = cut;
    w.holes = holes;
    w.replaces = replaces;
    w.seed = seed;
    w.r = cl_rand_seed(seed);
    w.loss = chance(4) != 0;
    for (uint32_t i = 0; i < NODES; i++) {
        w.node[i].p = pres_new(heap_init(&w.node[i].h));
    }
    for (uint32_t t = 0; t < TOPICS; t++) {
        w.owner[t] = chance(NODES);
    }
    for (uint32_t a = 0; a < ACTORS; a++) {
        set_up(a, true);
    }
}

static void finish(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        cl_pres_free(w.node[i].p);
        assert_int_equal(w.node[i].h.bytes, 0);
    }
}

static void deliver_some(uint32_t most)
{
    for (uint32_t i = 0; i < most; i++) {
        uint32_t from = chance(NODES), to = chance(NODES);

        if (w.link[from][to].count > 0) {
            deliver(from, to);
        }
    }
}

/* In any order of links, until nothing is under way. */
static void deliver_all(void)
{
    for (bool more = true; more;) {
        more = false;
        deliver_some(20);
        for (uint32_t i = 0; i < NODES * NODES; i++) {
            more |= w.link[i / NODES][i % NODES].count > 0;
        }
    }
}

static void one_step(void)
{
    uint32_t actor = chance(ACTORS), topic = chance(TOPICS), node = chance(NODES);
    uint32_t what = chance(64);

    w.now += chance(20);
    if (what < 36) {
        operate(actor);
    } else if (what < 42) {
        follow(node, topic, chance(3) != 0);
    } else if (what < 44) {
        move(topic, node);
    } else if (what < 46 && w.node[node].follows[topic] && w.owner[topic] != node) {
        tell_topic(w.owner[topic], node, topic);
    } else if (what < 48 && node != home_of(actor)) {
        tell_actor(actor, node);
    } else if (what < 49) {
        set_up(actor, !w.actor[actor].up);
    } else if (what < 50 && w.loss) {
        w.link[node][actor % NODES].count = 0;
        w.cut++;
    } else if (what < 51 && chance(4) == 0) {
        w.now += CL_PRES_FORGET_MS + chance(20000);
    }
    deliver_some(chance(12));
    if (chance(4) == 0) {
        flush_all();
    }
}

/* Now nothing is lost: homes tell the owners, owners tell who follows. */
static void heal(void)
{
    w.loss = false;
    for (uint32_t a = 0; a < ACTORS; a++) {
        if (!w.actor[a].up) {
            set_up(a, true);
        }
    }
    deliver_all();
    for (uint32_t i = 0; i < ACTORS * NODES; i++) {
        if (i / ACTORS != home_of(i % ACTORS)) {
            tell_actor(i % ACTORS, i / ACTORS);
        }
    }
    deliver_all();
    for (uint32_t i = 0; i < TOPICS * NODES; i++) {
        uint32_t t = i % TOPICS, node = i / TOPICS;

        if (w.node[node].follows[t] && w.owner[t] != node) {
            tell_topic(w.owner[t], node, t);
        }
    }
    deliver_all();
    w.now += 2 * CL_PRES_WINDOW_MAX_MS;
    flush_all();
}

static bool of_topic(void *ctx, struct pr_slice topic, uint64_t boot)
{
    (void)boot;
    return pr_slice_is(topic, names[*(const uint32_t *)ctx]);
}

/* Who owns or follows a topic has all of it; who does not, has its own actors there. */
static void check_node(uint32_t node, uint32_t t)
{
    const struct node *n = &w.node[node];
    bool has_all = n->follows[t] || w.owner[t] == node;
    uint32_t entries = 0, expect = 0, same = 0;

    for (uint32_t a = 0; a < ACTORS; a++) {
        uint64_t at = cl_pres_ctx(n->p, pr_str(names[t]), boot_of(a));

        for (uint32_t s = 0; s < SLOTS; s++) {
            uint64_t dot = holds(&w.actor[a], w.actor[a].n, t, s);

            if (!has_all && home_of(a) != node) {
                dot = 0;
            }
            expect += dot != 0;
            if (holds(&w.actor[a], at, t, s) != dot) {
                fail_msg("seed %llu: node %u: actor %u in %s differs in the end",
                         (unsigned long long)w.seed, node, a, names[t]);
            }
        }
    }
    assert_int_equal(cl_pres_members(n->p, pr_str(names[t])), expect);
    if (has_all) {
        assert_true(cl_pres_sum(n->p, of_topic, &t, &entries) ==
                    cl_pres_sum(w.node[w.owner[t]].p, of_topic, &t, &same));
        assert_true(entries == expect && same == expect);
    }
    assert_true(n->shows[t] == n->follows[t]);
    if (n->shows[t]) {
        assert_int_equal(n->member[t].count, expect);
    }
}

static void property_23_nodes_against_a_plain_set(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);

    (void)state;
    printf("nodes: seeds from %llu\n", (unsigned long long)seed);
    for (uint32_t run = 0; run < RUNS; run++) {
        start(seed + run);
        for (uint32_t i = 0; i < STEPS; i++) {
            one_step();
        }
        heal();
        for (uint32_t i = 0; i < NODES * TOPICS; i++) {
            check_node(i / TOPICS, i % TOPICS);
        }
        finish();
    }
    printf("deltas lost %llu, links cut %llu, holes pulled %llu, whole states %llu\n",
           (unsigned long long)w.lost, (unsigned long long)w.cut, (unsigned long long)w.holes,
           (unsigned long long)w.replaces);
    assert_true(w.lost > RUNS && w.cut > RUNS / 4 && w.holes > RUNS && w.replaces > RUNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_23_nodes_against_a_plain_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
