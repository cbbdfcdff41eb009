/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int rt_error_set(struct rt_error *err, enum rt_err code, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        err->code = code;
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

int rt_error_errno(struct rt_error *err, int errnum, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    if (err == NULL) {
        return RT_ESYSTEM;
    }
    err->code = RT_ESYSTEM;
    va_start(ap, fmt);
    (void)vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    n = strlen(err->text);
    (void)snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(errnum));
    return RT_ESYSTEM;
}

const char *rt_error_name(int code)
{
    switch (code) {
    case RT_OK:
        return "ok";
#define RT_X(id, number, name)                                                                     \
    case id:                                                                                       \
        return name;
        RT_ERRORS(RT_X)
#undef RT_X
    default:
        return "unknown";
    }
}
