/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - slices of bytes, a bounded reader and a latched bounded writer.
 *
 * Every decoder of the project takes a slice and can only move forward inside it; every encoder
 * writes through pr_outbuf, which counts on after it is full, so that one size pass (cap 0) and one
 * write pass need the same code and one check.
 */
#ifndef PROTO_BYTES_H
#define PROTO_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PR_MUST_CHECK __attribute__((warn_unused_result))

/* Errors of this room. 0 or positive is success, see each function. */
enum pr_err {
    PR_OK = 0,
    PR_ESHORT = -1,   /* the input ends too early, or the output does not fit */
    PR_ETYPE = -2,    /* a field has another type than the rule says */
    PR_ERANGE = -3,   /* a length, count or number outside its bound */
    PR_ETRAIL = -4,   /* bytes after the end */
    PR_EVERSION = -5, /* a version or kind nobody knows */
    PR_ESYNTAX = -6,  /* text that its grammar does not allow */
    PR_EDEPTH = -7,   /* nesting over the limit */
    PR_EUTF8 = -8,    /* not UTF-8 */
    PR_EOP = -9,      /* unknown operator */
    PR_EKEY = -10,    /* no key, or the wrong key, to verify with */
    PR_EEXPIRED = -11 /* valid once, not any more */
};

/* Borrowed bytes; p may be NULL only if n is 0. */
struct pr_slice {
    const uint8_t *p;
    size_t n;
};

/* Slice of a string literal or any NUL-terminated text. Borrows it. */
struct pr_slice pr_str(const char *text);
/* Slice of `len` bytes at `p`. Borrows them. */
struct pr_slice pr_bytes(const void *p, size_t len);
bool pr_slice_eq(struct pr_slice a, struct pr_slice b);
/* Byte for byte equal to a NUL-terminated text. */
bool pr_slice_is(struct pr_slice a, const char *text);
/* Equal without regard to the case of ASCII letters. */
bool pr_slice_is_nocase(struct pr_slice a, const char *text);

/* Reader: every get fails latched once the input is too short, and then returns zeros. */
struct pr_cursor {
    const uint8_t *p;
    size_t left;
    bool failed;
};

struct pr_cursor pr_cursor(struct pr_slice in);
uint8_t pr_get_u8(struct pr_cursor *c);
uint16_t pr_get_u16be(struct pr_cursor *c);
uint32_t pr_get_u32be(struct pr_cursor *c);
uint64_t pr_get_u64be(struct pr_cursor *c);
/* Borrows `n` bytes of the input; an empty slice after a failure. */
struct pr_slice pr_get_bytes(struct pr_cursor *c, size_t n);
/* Text up to a NUL, which is consumed and not part of the slice. */
struct pr_slice pr_get_cstr(struct pr_cursor *c);

/*
 * Writer into memory of the caller. `len` counts what was asked for, also past `cap`; nothing is
 * written past `cap`. After the last put, pr_out_ok() tells whether all of it is there.
 */
struct pr_outbuf {
    uint8_t *p;
    size_t cap;
    size_t len;
};

struct pr_outbuf pr_outbuf(void *p, size_t cap);
bool pr_out_ok(const struct pr_outbuf *o);
void pr_put_u8(struct pr_outbuf *o, uint8_t v);
void pr_put_u16be(struct pr_outbuf *o, uint16_t v);
void pr_put_u32be(struct pr_outbuf *o, uint32_t v);
void pr_put_u64be(struct pr_outbuf *o, uint64_t v);
void pr_put(struct pr_outbuf *o, const void *p, size_t n);
void pr_put_slice(struct pr_outbuf *o, struct pr_slice s);
void pr_put_str(struct pr_outbuf *o, const char *text);
/* Decimal text of a number. */
void pr_put_dec(struct pr_outbuf *o, uint64_t v);
/* Overwrites four bytes at `at`, which were put before. */
void pr_patch_u32be(struct pr_outbuf *o, size_t at, uint32_t v);

#endif
