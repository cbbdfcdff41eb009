/* SPDX-License-Identifier: Apache-2.0 */
/* own_addr.h - where other nodes reach this one. */
#ifndef NODE_OWNER_OWN_ADDR_H
#define NODE_OWNER_OWN_ADDR_H

#include "node/base/config.h"
#include "node/base/errors.h"
#include "proto/addr.h"

/*
 * As set; else the address it listens at; else, listening everywhere, that of the interface towards
 * the first seed that is an address, or towards the world (192.0.2.1 is nobody, RFC 5737), or of
 * the first interface. 0, or RT_ECONFIG.
 */
int rt_own_addr(const struct rt_config *cfg, struct pr_addr *out, struct rt_error *err);

#endif
