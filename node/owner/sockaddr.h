/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockaddr.h - between struct pr_addr and the addresses of the system.
 *
 * An IPv4 peer of an IPv6 socket shows there as ::ffff:a.b.c.d (RFC 4291 2.5.5.2); in a pr_addr it
 * is always family 4, so that one node has one address whatever socket heard it.
 */
#ifndef NODE_OWNER_SOCKADDR_H
#define NODE_OWNER_SOCKADDR_H

#include <sys/socket.h>

#include "proto/addr.h"

/*
 * Fills *out for a socket of `family` (AF_INET or AF_INET6; AF_UNSPEC: that of the address) and
 * returns its length. 0: such a socket cannot reach it (IPv6 from IPv4), or *a is none.
 */
socklen_t rt_sockaddr_of(const struct pr_addr *a, int family, struct sockaddr_storage *out);
/*
 * Reads an address of the kernel or the resolver. False, and *out is none: another family, or a
 * link-local IPv6 address, which means nothing without an interface.
 */
bool rt_sockaddr_read(const struct sockaddr *in, struct pr_addr *out);

#endif
