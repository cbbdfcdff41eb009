/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every node computes the same table from the same members, in every build (properties 11 and
 * 12 of the cluster), and a change of the members moves no more than it must.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/ring.h"
#include "tests/unit/ring_vectors.h"

static struct cl_ring ring_a, ring_b; /* 12 KiB each: too large for a stack */

/* n members with random ids; weights from 1 to weight_max. */
static void draw(struct cl_rand *r, struct cl_ring_member *m, uint32_t n, uint32_t weight_max)
{
    for (uint32_t i = 0; i < n; i++) {
        m[i].id = cl_rand_next(r);
        m[i].weight = (uint32_t)cl_rand_below(r, weight_max) + 1;
    }
}

static void shuffle(struct cl_rand *r, struct cl_ring_member *m, uint32_t n)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)cl_rand_below(r, i);
        struct cl_ring_member swap = m[k];

        m[k] = m[i - 1];
        m[i - 1] = swap;
    }
}

/* Partitions whose owner differs; each must have gone to `to` or come from `from` (0: anybody). */
static uint32_t moved(const struct cl_ring *before, const struct cl_ring *after, uint64_t from,
                      uint64_t to)
{
    uint32_t count = 0;

    for (uint32_t part = 0; part < CL_PARTITIONS; part++) {
        uint64_t old = cl_ring_owner_id(before, part);
        uint64_t new = cl_ring_owner_id(after, part);

        if (old != new) {
            assert_true(from == 0 || old == from);
            assert_true(to == 0 || new == to);
            count++;
        }
    }
    return count;
}

static void property_11_order_of_members_is_nothing(void **state)
{
    struct cl_rand r = cl_rand_seed(11);
    struct cl_ring_member m[CL_NODES_MAX];

    (void)state;
    for (uint32_t trial = 0; trial < 40; trial++) {
        uint32_t n = (uint32_t)cl_rand_below(&r, 30) + 1;

        draw(&r, m, n, trial % 2 == 0 ? 1 : 1000);
        cl_ring_build(&ring_a, m, n);
        shuffle(&r, m, n);
        cl_ring_build(&ring_b, m, n);
        assert_true(ring_a.view == ring_b.view && ring_a.n == n);
        assert_memory_equal(ring_a.owner, ring_b.owner, sizeof ring_a.owner);
        for (uint32_t i = 1; i < n; i++) {
            assert_true(ring_a.m[i - 1].id < ring_a.m[i].id);
        }
    }
}

static void property_11_join_and_leave_move_only_their_own(void **state)
{
    struct cl_rand r = cl_rand_seed(12);
    struct cl_ring_member m[CL_NODES_MAX];

    (void)state;
    for (uint32_t trial = 0; trial < 40; trial++) {
        uint32_t n = (uint32_t)cl_rand_below(&r, 20) + 1;

        draw(&r, m, n + 1, trial % 2 == 0 ? 1 : 1000);
        cl_ring_build(&ring_a, m, n);
        cl_ring_build(&ring_b, m, n + 1);
        uint32_t joined = moved(&ring_a, &ring_b, 0, m[n].id);

        assert_int_equal(moved(&ring_b, &ring_a, m[n].id, 0), joined);
        assert_true(ring_a.view != ring_b.view);
        if (trial % 2 == 0) { /* equal weights: a fair share, give or take */
            assert_in_range(joined * (n + 1), CL_PARTITIONS * 3 / 4, CL_PARTITIONS * 5 / 4);
        }
    }
}

static void property_11_weight_moves_only_towards_it(void **state)
{
    struct cl_rand r = cl_rand_seed(13);
    struct cl_ring_member m[CL_NODES_MAX];

    (void)state;
    for (uint32_t trial = 0; trial < 40; trial++) {
        uint32_t n = (uint32_t)cl_rand_below(&r, 12) + 2;

        draw(&r, m, n, 500);
        cl_ring_build(&ring_a, m, n);
        m[0].weight += (uint32_t)cl_rand_below(&r, 500) + 1;
        cl_ring_build(&ring_b, m, n);
        (void)moved(&ring_a, &ring_b, 0, m[0].id);
        assert_true(ring_a.view != ring_b.view);
    }
}

static void property_12_scores_are_those_of_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ring_scores / sizeof ring_scores[0]; i++) {
        uint64_t score = cl_ring_score(ring_scores[i].id, ring_scores[i].key);

        assert_true(score == ring_scores[i].score);
        assert_true(score >= 1 && score <= UINT64_C(64) << 32);
    }
}

static void property_12_owners_are_those_of_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ring_sets / sizeof ring_sets[0]; i++) {
        cl_ring_build(&ring_a, ring_sets[i].m, ring_sets[i].n);
        for (uint32_t k = 0; k < 64; k++) {
            uint32_t want = (uint32_t)(ring_sets[i].owners[k] - '0');

            assert_true(cl_ring_owner_id(&ring_a, k * 64) == ring_sets[i].m[want].id);
        }
    }
}

static void shares_follow_weights(void **state)
{
    struct cl_ring_member m[] = {{0, 400}, {0, 100}, {0, 100}, {0, 100}, {0, 100}};
    struct cl_rand r = cl_rand_seed(14);

    (void)state;
    for (uint32_t trial = 0; trial < 20; trial++) {
        uint32_t parts = 0;

        for (uint32_t i = 0; i < 5; i++) {
            m[i].id = cl_rand_next(&r);
        }
        cl_ring_build(&ring_a, m, 5);
        for (uint32_t part = 0; part < CL_PARTITIONS; part++) {
            parts += cl_ring_owner_id(&ring_a, part) == m[0].id ? 1u : 0u;
        }
        assert_in_range(parts, CL_PARTITIONS / 2 * 95 / 100, CL_PARTITIONS / 2 * 105 / 100);
    }
}

static void weight_zero_owns_nothing(void **state)
{
    const struct cl_ring_member one[] = {{3, 0}, {9, 1}, {5, 0}};
    const struct cl_ring_member none[] = {{9, 0}, {3, 0}};
    uint16_t rank[3];

    (void)state;
    cl_ring_build(&ring_a, one, 3);
    cl_ring_build(&ring_b, none, 2);
    for (uint32_t part = 0; part < CL_PARTITIONS; part++) {
        assert_true(cl_ring_owner_id(&ring_a, part) == 9);
        assert_true(cl_ring_owner_id(&ring_b, part) == 3); /* all equal: the smaller id */
    }
    assert_int_equal(cl_ring_rank(&ring_a, 77, rank, 3), 3);
    assert_true(ring_a.m[rank[0]].id == 9);
    assert_true(ring_a.m[rank[1]].id == 3);
    assert_true(ring_a.m[rank[2]].id == 5);
}

/* By the definition: a member's place is the number of members that beat it. */
static uint32_t place_of(const struct cl_ring *ring, uint64_t key, uint32_t i)
{
    uint32_t place = 0;

    for (uint32_t k = 0; k < ring->n; k++) {
        /* Weights here are below 2^10 and scores at most 2^38: no overflow. */
        uint64_t mine = cl_ring_score(ring->m[i].id, key) * ring->m[k].weight;
        uint64_t its = cl_ring_score(ring->m[k].id, key) * ring->m[i].weight;

        place += its < mine || (its == mine && k < i) ? 1u : 0u;
    }
    return place;
}

static void rank_is_the_order_of_all(void **state)
{
    struct cl_rand r = cl_rand_seed(15);
    struct cl_ring_member m[CL_NODES_MAX];
    uint16_t all[CL_NODES_MAX], some[CL_NODES_MAX];

    (void)state;
    for (uint32_t trial = 0; trial < 200; trial++) {
        uint32_t n = (uint32_t)cl_rand_below(&r, 20) + 1;
        uint64_t key = trial % 2 == 0 ? cl_rand_below(&r, CL_PARTITIONS) : cl_rand_next(&r);

        draw(&r, m, n, 1000);
        cl_ring_build(&ring_a, m, n);
        assert_int_equal(cl_ring_rank(&ring_a, key, all, n + 3), n);
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(place_of(&ring_a, key, all[i]), i);
        }
        for (uint32_t k = 0; k <= n; k++) {
            assert_int_equal(cl_ring_rank(&ring_a, key, some, k), k);
            assert_memory_equal(some, all, k * sizeof some[0]);
        }
        if (key < CL_PARTITIONS) {
            assert_true(ring_a.m[all[0]].id == cl_ring_owner_id(&ring_a, (uint32_t)key));
        }
    }
}

static void none_one_and_all(void **state)
{
    struct cl_rand r = cl_rand_seed(16);
    struct cl_ring_member m[CL_NODES_MAX];
    uint32_t parts[CL_NODES_MAX] = {0};
    uint16_t out[CL_NODES_MAX];

    (void)state;
    cl_ring_build(&ring_a, NULL, 0);
    assert_true(ring_a.view == 0 && ring_a.n == 0);
    assert_true(cl_ring_owner_id(&ring_a, CL_PARTITIONS - 1) == 0);
    assert_int_equal(cl_ring_rank(&ring_a, 1, out, 4), 0);
    draw(&r, m, CL_NODES_MAX, 1);
    cl_ring_build(&ring_a, m, 1);
    assert_true(cl_ring_owner_id(&ring_a, 0) == m[0].id && ring_a.view != 0);
    cl_ring_build(&ring_a, m, CL_NODES_MAX);
    for (uint32_t part = 0; part < CL_PARTITIONS; part++) {
        assert_in_range(ring_a.owner[part], 0, CL_NODES_MAX - 1);
        parts[ring_a.owner[part]]++;
    }
    for (uint32_t i = 0; i < CL_NODES_MAX; i++) {
        assert_true(parts[i] > 0 && parts[i] < 48); /* mean 16 */
    }
    assert_int_equal(cl_ring_rank(&ring_a, 7, out, CL_NODES_MAX), CL_NODES_MAX);
}

static void view_names_the_list(void **state)
{
    /* id and weight, least significant byte first, by rising id. */
    static const uint8_t bytes[] = {0x02, 0, 0, 0, 0, 0, 0, 0,    100,  0,    0,    0,
                                    0x08, 7, 6, 5, 4, 3, 2, 0x01, 0xe8, 0x03, 0x00, 0x00};
    struct cl_ring_member m[] = {{UINT64_C(0x0102030405060708), 1000}, {2, 100}};

    (void)state;
    cl_ring_build(&ring_a, m, 2);
    assert_true(ring_a.view == cl_hash64(pr_bytes(bytes, sizeof bytes)));
    m[1].weight = 101;
    cl_ring_build(&ring_b, m, 2);
    assert_true(ring_b.view != ring_a.view);
    m[1].weight = 100;
    m[1].id = 3;
    cl_ring_build(&ring_b, m, 2);
    assert_true(ring_b.view != ring_a.view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_11_order_of_members_is_nothing),
        cmocka_unit_test(property_11_join_and_leave_move_only_their_own),
        cmocka_unit_test(property_11_weight_moves_only_towards_it),
        cmocka_unit_test(property_12_scores_are_those_of_the_vectors),
        cmocka_unit_test(property_12_owners_are_those_of_the_vectors),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(weight_zero_owns_nothing),
        cmocka_unit_test(rank_is_the_order_of_all),
        cmocka_unit_test(none_one_and_all),
        cmocka_unit_test(view_names_the_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
