/* SPDX-License-Identifier: Apache-2.0 */
/*
 * errors.h - table of the error kinds of a node, and an error with its text.
 *
 * A text names what was wrong and what would be right. It never holds a secret.
 */
#ifndef NODE_BASE_ERRORS_H
#define NODE_BASE_ERRORS_H

/* code, number, name in logs */
#define RT_ERRORS(X)                                                                               \
    X(RT_ECONFIG, -1, "config")   /* a setting or an argument is wrong */                          \
    X(RT_ESYSTEM, -2, "system")   /* the kernel refused */                                         \
    X(RT_EBUSY, -3, "busy")       /* somebody else has it */                                       \
    X(RT_EPEER, -4, "peer")       /* another process said what it may not, or went away */         \
    X(RT_ETIMEOUT, -5, "timeout") /* no answer in time */                                          \
    X(RT_ELIMIT, -6, "limit")     /* a bound is reached */                                         \
    X(RT_EFOUND, -7, "not_found") /* there is no such thing */

enum rt_err {
    RT_OK = 0,
#define RT_X(code, number, name) code = number,
    RT_ERRORS(RT_X)
#undef RT_X
};

#define RT_ERROR_TEXT_MAX 512u
struct rt_error {
    int code; /* enum rt_err */
    char text[RT_ERROR_TEXT_MAX];
};

/* Fills *err (which may be NULL) and returns `code`. A text that is too long is cut. */
int rt_error_set(struct rt_error *err, enum rt_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with RT_ESYSTEM and ": strerror(errnum)" behind the text. */
int rt_error_errno(struct rt_error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Name of a code for logs, "ok" for 0, "unknown" for others. */
const char *rt_error_name(int code);

#endif
