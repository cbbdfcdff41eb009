/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.h - percent-encoding, query parameters and path segments (RFC 3986, and the form encoding of
 * query strings as browsers write it).
 */
#ifndef PROTO_URL_H
#define PROTO_URL_H

#include "proto/bytes.h"

enum pr_url_part { PR_URL_PATH = 1, PR_URL_QUERY = 2 /* here "+" is a space */ };

/*
 * Appends the decoded bytes, never more than were given. PR_ESYNTAX: a "%" without two hex digits.
 * The result may be any bytes: check it before using it as text.
 */
PR_MUST_CHECK int pr_url_decode(struct pr_outbuf *o, struct pr_slice in, enum pr_url_part part);

/*
 * First parameter of this name (compared decoded) in a query without its "?". *value is still
 * encoded; empty if the parameter has none. False: not there.
 */
bool pr_query_find(struct pr_slice query, const char *name, struct pr_slice *value);

/*
 * Takes the next segment, still encoded, off a path: "/a/b" gives "a", then "b". Repeated and
 * trailing slashes are skipped. False: none left.
 */
bool pr_path_next(struct pr_slice *path, struct pr_slice *segment);

#endif
