/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64url.h - base64 with the URL-safe alphabet and without padding (RFC 4648 5, RFC 7515 2).
 */
#ifndef PROTO_BASE64URL_H
#define PROTO_BASE64URL_H

#include "proto/bytes.h"

/*
 * Appends the bytes of a text; PR_ESYNTAX for any other character, padding, or an impossible
 * length. Left-over bits of the last character are not looked at, as Elixir's decoder does, whose
 * tokens we take.
 */
PR_MUST_CHECK int pr_base64url_decode(struct pr_outbuf *o, struct pr_slice text);
/* Appends the text of some bytes. */
void pr_base64url_put(struct pr_outbuf *o, struct pr_slice bytes);

#endif
