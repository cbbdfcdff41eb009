/* SPDX-License-Identifier: Apache-2.0 */
/*
 * addr.h - where a node is reached: one IP address and one port, without the system's structs.
 *
 * cluster/ compares and stores addresses and may not know sockets; node/owner turns them into
 * sockaddr and back.
 */
#ifndef PROTO_ADDR_H
#define PROTO_ADDR_H

#include "proto/bytes.h"

#define PR_ADDR_NONE 0u
#define PR_ADDR_V4   4u
#define PR_ADDR_V6   6u

/* Zeros are "no address". */
struct pr_addr {
    uint8_t family; /* PR_ADDR_NONE, PR_ADDR_V4 or PR_ADDR_V6 */
    uint16_t port;  /* as a number, not in network order */
    uint8_t ip[16]; /* network order; of V4 the first four, the others zero */
};

/* Same family, port and address; of V4 only the four bytes in use are looked at. */
bool pr_addr_eq(const struct pr_addr *a, const struct pr_addr *b);

/* Packed form: nothing for none, else the 4 or 16 bytes of the address and the port, big-endian. */
#define PR_ADDR_PACKED_MAX 18u
/* Returns the bytes written: 0, 6 or 18. */
size_t pr_addr_pack(const struct pr_addr *a, uint8_t out[PR_ADDR_PACKED_MAX]);
/* PR_OK, or PR_ERANGE for any length but 0, 6 and 18; then *a is none. */
PR_MUST_CHECK int pr_addr_unpack(struct pr_slice packed, struct pr_addr *a);

/* Text form "192.0.2.1:7946" or "[2001:db8::1]:7946" (RFC 5952), with its NUL. */
#define PR_ADDR_TEXT_MAX 56u
/* Writes the text form, "-" for none, into out and ends it with a NUL. `cap` of at least
 * PR_ADDR_TEXT_MAX always suffices; less gets the text cut off. Returns the length written. */
size_t pr_addr_format(const struct pr_addr *a, char *out, size_t cap);
/*
 * Reads the text form; host names, zones ("%eth0") and white space are not part of it. Port 0 is
 * accepted: it stands for "any" where one listens. PR_OK, or PR_ESYNTAX, or PR_ERANGE for a port
 * over 65535; then *a is none.
 */
PR_MUST_CHECK int pr_addr_parse(struct pr_slice text, struct pr_addr *a);

#endif
