/* SPDX-License-Identifier: Apache-2.0 */
/* sqltext.h - texts of statements and their parameters as they grow. Zeros are an empty one; what
 * it holds is given back by rt_free(t.p). */
#ifndef NODE_DB_SQLTEXT_H
#define NODE_DB_SQLTEXT_H

#include "proto/bytes.h"

struct rt_text {
    char *p;
    size_t len, cap;
};
void rt_text_put(struct rt_text *t, const void *p, size_t n);
void rt_text_puts(struct rt_text *t, const char *s);
void rt_text_slice(struct rt_text *t, struct pr_slice s);
/* `before` and `behind` are short: 48 bytes together. */
void rt_text_number(struct rt_text *t, const char *before, uint32_t n, const char *behind);
/* "name", with quotes inside doubled. */
void rt_text_identifier(struct rt_text *t, struct pr_slice name);
/* 'text', with quotes inside doubled; standard_conforming_strings is on. */
void rt_text_literal(struct rt_text *t, struct pr_slice text);
/* An element of an array literal, quoted. */
void rt_text_element(struct rt_text *t, struct pr_slice v);
/* Ends it with a NUL and gives the whole. */
const char *rt_text_end(struct rt_text *t);

#endif
