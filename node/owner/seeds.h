/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seeds.h - where to look for other nodes (REALTIME_CLUSTER_SEEDS).
 *
 * A comma list of host:port, where host is an IPv4 address, an IPv6 address in brackets or a name.
 * A name stands for all its A and AAAA records, as a compose service or a headless service has
 * them, and is looked up again and again, since later it may stand for others. So halves of a
 * cluster that started apart find each other, and one name is enough as a list.
 *
 * Whether an address is known, ours, or dead is not decided here: each round tells all of them.
 */
#ifndef NODE_OWNER_SEEDS_H
#define NODE_OWNER_SEEDS_H

#include "node/base/errors.h"
#include "node/base/log.h"
#include "node/base/loop.h"
#include "proto/addr.h"

#define RT_SEEDS_MAX 64u
/* Addresses of one name that are told per round; a cluster has at most 256 nodes. */
#define RT_SEED_ADDRS_MAX 256u
/* Between rounds while no other node is known, and else. */
#define RT_SEEDS_ALONE_MS 10000u
#define RT_SEEDS_EVERY_MS 60000u

struct rt_seeds;

struct rt_seeds_setup {
    const char *list;   /* borrowed during the call; NULL or empty: no seeds */
    struct rt_log *log; /* borrowed until stopped */
    /* One address. The callee may stop the seeds. */
    void (*on_address)(void *ctx, const struct pr_addr *addr);
    void *ctx;
};

/*
 * Reads the list and starts the first round; alone until told otherwise. Never calls on_address
 * itself: addresses come in later turns. NULL with the reason in *err if the list is wrong.
 *
 * A name that cannot be looked up is logged once (seed_failed, with the name and the resolver's
 * words), again when the words change, and when it works again (seed_resolved).
 */
PR_MUST_CHECK struct rt_seeds *rt_seeds_start(struct rt_loop *l, const struct rt_seeds_setup *setup,
                                              struct rt_error *err);
/* Whether no other node is known: sets the pace. */
void rt_seeds_alone(struct rt_seeds *s, bool alone);
/* Starts a round now; a name whose lookup still runs is not asked twice. */
void rt_seeds_now(struct rt_seeds *s);
/* How long until the next round, ms; UINT64_MAX without seeds. */
uint64_t rt_seeds_next_ms(const struct rt_seeds *s);
/*
 * No address is told any more. Freed when the last lookup that runs has ended, which the resolver
 * may draw out for seconds and which cannot be broken off: rt_loop_free waits for it. NULL is
 * allowed.
 */
void rt_seeds_stop(struct rt_seeds *s);

#endif
