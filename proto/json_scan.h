/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_scan.h - reads untrusted JSON in place: checks it, and finds members, without a tree.
 *
 * A message is looked at once, from left to right: pr_json_next() checks the value that it steps
 * over, so that iterating an array or object to its end has checked all of it. Rule: RFC 8259,
 * strict (no comments, no trailing commas, no NaN, no control characters in strings, input is
 * UTF-8 without overlong forms and surrogates), nesting at most PR_JSON_DEPTH_MAX.
 *
 * Lone surrogate escapes ("\ud800") are allowed, as the grammar does: JavaScript writes them for
 * its broken strings and reads them back, and a payload is passed on as it came. Unescaped they
 * become U+FFFD, since there is no UTF-8 for them. Duplicate keys are allowed; the last counts.
 *
 * No allocation, no recursion; linear time. Numbers are checked, never computed.
 */
#ifndef PROTO_JSON_SCAN_H
#define PROTO_JSON_SCAN_H

#include "proto/bytes.h"
#include "proto/utf8.h"

/* Deepest nesting of arrays and objects. No client sends more than a dozen; a payload is parsed
 * by every receiver, most of them recursively. */
#define PR_JSON_DEPTH_MAX 64u

enum pr_json_type {
    PR_JSON_NULL = 1,
    PR_JSON_FALSE,
    PR_JSON_TRUE,
    PR_JSON_NUMBER,
    PR_JSON_STRING,
    PR_JSON_ARRAY,
    PR_JSON_OBJECT
};

/* One value inside a text. Borrows. */
struct pr_json {
    enum pr_json_type type;
    struct pr_slice raw; /* as written, with quotes or brackets, without white space around */
};

/* Place inside an array or object. Borrows the text. */
struct pr_json_iter {
    const uint8_t *p;
    const uint8_t *end;
    bool object;
    bool started;
};

/*
 * Checks a whole text, white space around it allowed, and gives its value.
 * PR_OK, PR_ESYNTAX, PR_EDEPTH or PR_EUTF8.
 */
PR_MUST_CHECK int pr_json_value(struct pr_slice text, struct pr_json *v);
/* The same, when the value is not wanted. */
PR_MUST_CHECK int pr_json_check(struct pr_slice text);

/*
 * Starts on a text that is one array or object (white space around allowed). PR_ETYPE if it starts
 * another value, PR_ESYNTAX if none. Nothing behind the bracket is checked yet.
 */
PR_MUST_CHECK int pr_json_open(struct pr_json_iter *it, struct pr_slice text);
/*
 * Steps to the next element or member: 1 = there is one, 0 = the end, reached with nothing but
 * white space behind it; PR_ESYNTAX, PR_EDEPTH, PR_EUTF8. `key`: text between the quotes, still
 * escaped (use pr_json_str_is, pr_json_unescape); empty in arrays; may be NULL.
 */
PR_MUST_CHECK int pr_json_next(struct pr_json_iter *it, struct pr_slice *key, struct pr_json *v);

/*
 * Picks the members of these names (the last of each) out of an object text, in one pass:
 * values[i].raw is empty where names[i] is not there. PR_OK, PR_ETYPE if the text is no object, or
 * the errors of pr_json_next.
 */
PR_MUST_CHECK int pr_json_pick(struct pr_slice object, const char *const *names, size_t count,
                               struct pr_json *values);
/*
 * Last member of this name in an object text: 1 found, 0 none, or the error of a text that is not
 * an object. Reads the whole object, so for one or two members only.
 */
PR_MUST_CHECK int pr_json_member(struct pr_slice object, const char *name, struct pr_json *v);

/* Texts, json_text.c. Between the quotes of a PR_JSON_STRING, still escaped. */
struct pr_slice pr_json_str(const struct pr_json *v);
/* Is an escaped text (of a checked string or key) this text? */
bool pr_json_str_is(struct pr_slice escaped, const char *text);
/* Appends the plain UTF-8 of an escaped text (of a checked string or key). Never longer than it. */
void pr_json_unescape(struct pr_outbuf *o, struct pr_slice escaped);
/*
 * Plain text of a string value: borrowed from the message if nothing is escaped, else written to
 * `scratch`. PR_ETYPE if not a string, PR_ESHORT if scratch is full.
 */
PR_MUST_CHECK int pr_json_text(const struct pr_json *v, struct pr_outbuf *scratch,
                               struct pr_slice *out);

#endif
