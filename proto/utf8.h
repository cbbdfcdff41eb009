/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.h - UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#ifndef PROTO_UTF8_H
#define PROTO_UTF8_H

#include "proto/bytes.h"

/* Whole text valid? */
bool pr_utf8_ok(struct pr_slice text);
/* Length 2 to 4 of the character at p, whose first byte is not ASCII, in n > 0 bytes; 0: none. */
size_t pr_utf8_len(const uint8_t *p, size_t n);
/* Writes one code point (no surrogate, at most 0x10ffff), gives its length 1 to 4. */
size_t pr_utf8_write(uint32_t c, uint8_t out[4]);

#endif
