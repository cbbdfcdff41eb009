/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write.h - appends JSON text to a pr_outbuf.
 *
 * What we send is valid UTF-8 always: bytes that are not become U+FFFD each.
 */
#ifndef PROTO_JSON_WRITE_H
#define PROTO_JSON_WRITE_H

#include "proto/bytes.h"

/* A byte of text is at most so many of a JSON string. */
#define PR_JSON_ESCAPE_MAX 6u

/* A JSON string with its quotes. */
void pr_put_json_str(struct pr_outbuf *o, struct pr_slice text);
/* The same of a NUL-terminated text. */
void pr_put_json_cstr(struct pr_outbuf *o, const char *text);
/* Its inside only: to build one string from several texts. */
void pr_put_json_escaped(struct pr_outbuf *o, struct pr_slice text);
/* A number. */
void pr_put_json_int(struct pr_outbuf *o, int64_t v);

#endif
