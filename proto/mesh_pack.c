/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mesh_pack.h"

#include <assert.h>

#include <msgpack.h>

/* First bytes of the msgpack formats in use. */
#define MP_FIXARRAY 0x90u
#define MP_FALSE    0xc2u
#define MP_TRUE     0xc3u
#define MP_BIN8     0xc4u
#define MP_BIN32    0xc6u
#define MP_UINT8    0xccu
#define MP_UINT64   0xcfu
#define MP_ARRAY16  0xdcu
#define MP_ARRAY32  0xddu

static int put_bytes(void *out, const char *p, size_t n)
{
    pr_put(out, p, n);
    return 0;
}

static struct msgpack_packer packer(struct pr_outbuf *o)
{
    struct msgpack_packer pk;

    msgpack_packer_init(&pk, o, put_bytes);
    return pk;
}

/* The class is a function of the type; 0 for a type nobody knows. */
static uint8_t class_of(uint8_t type)
{
    if (type >= PR_T_PUB && type <= PR_T_EVENT) {
        return PR_C_BROADCAST;
    }
    if (type >= PR_T_P_DELTA && type <= PR_T_P_DIFF) {
        return PR_C_PRESENCE;
    }
    if (type >= PR_T_CHG_REG && type <= PR_T_CAST_OK) {
        return PR_C_CHANGES;
    }
    return PR_C_CONTROL;
}

struct pr_mp_out pr_mp_begin(struct pr_outbuf *o, enum pr_type type, uint32_t nfields)
{
    struct pr_mp_out w = {.o = o, .start = o->len};

    pr_put_u32be(o, 0);
    pr_put_u8(o, (uint8_t)type);
    pr_put_u8(o, class_of((uint8_t)type));
    pr_put_u16be(o, 0);
    pr_mp_put_array(o, nfields);
    return w;
}

void pr_mp_end(struct pr_mp_out *w)
{
    pr_patch_u32be(w->o, w->start, (uint32_t)(w->o->len - w->start - 4));
}

void pr_mp_put_array(struct pr_outbuf *o, uint32_t n)
{
    struct msgpack_packer pk = packer(o);

    (void)msgpack_pack_array(&pk, n);
}

void pr_mp_put_uint(struct pr_outbuf *o, uint64_t v)
{
    struct msgpack_packer pk = packer(o);

    (void)msgpack_pack_uint64(&pk, v);
}

void pr_mp_put_bool(struct pr_outbuf *o, bool v)
{
    pr_put_u8(o, v ? MP_TRUE : MP_FALSE);
}

void pr_mp_put_bin(struct pr_outbuf *o, struct pr_slice s)
{
    struct msgpack_packer pk = packer(o);

    (void)msgpack_pack_bin(&pk, s.n);
    pr_put_slice(o, s);
}

void pr_mp_put_epoch(struct pr_outbuf *o, struct pr_epoch e)
{
    pr_mp_put_uint(o, e.node);
    pr_mp_put_uint(o, e.boot);
    pr_mp_put_uint(o, e.count);
}

void pr_mp_put_place(struct pr_outbuf *o, struct pr_place p)
{
    pr_mp_put_epoch(o, p.epoch);
    pr_mp_put_uint(o, p.seq);
}

void pr_mp_put_addr(struct pr_outbuf *o, const struct pr_addr *a)
{
    uint8_t packed[PR_ADDR_PACKED_MAX];

    pr_mp_put_bin(o, pr_bytes(packed, pr_addr_pack(a, packed)));
}

void pr_mp_put_list(struct pr_outbuf *o, uint32_t n, struct pr_slice packed)
{
    pr_mp_put_array(o, n);
    pr_put_slice(o, packed);
}

static void fail(struct pr_mp_in *r, int err)
{
    if (r->err == PR_OK) {
        r->err = err;
    }
}

/* First byte of the next item; an error is latched if there is none. */
static uint8_t head(struct pr_mp_in *r)
{
    uint8_t b = pr_get_u8(&r->c);

    if (r->c.failed) {
        fail(r, PR_ESHORT);
    }
    return b;
}

/* Big-endian number of 1 << log bytes. */
static uint64_t number(struct pr_mp_in *r, unsigned log)
{
    uint64_t v = 0;

    assert(log <= 3);
    if (log == 0) {
        v = pr_get_u8(&r->c);
    } else if (log == 1) {
        v = pr_get_u16be(&r->c);
    } else if (log == 2) {
        v = pr_get_u32be(&r->c);
    } else {
        v = pr_get_u64be(&r->c);
    }
    if (r->c.failed) {
        fail(r, PR_ESHORT);
    }
    return v;
}

uint32_t pr_mp_array(struct pr_mp_in *r)
{
    uint8_t b = head(r);
    uint64_t n = 0;

    if (r->err != PR_OK) {
        return 0;
    }
    if ((b & 0xf0u) == MP_FIXARRAY) {
        n = b & 0x0fu;
    } else if (b == MP_ARRAY16 || b == MP_ARRAY32) {
        n = number(r, b - MP_ARRAY16 + 1u);
    } else {
        fail(r, PR_ETYPE);
    }
    if (n > PR_LIST_MAX) {
        fail(r, PR_ERANGE);
    }
    return r->err == PR_OK ? (uint32_t)n : 0;
}

static void open_array(struct pr_mp_in *r, uint32_t nfields)
{
    uint32_t n = pr_mp_array(r);

    if (n < nfields) {
        fail(r, PR_ESHORT);
    } else {
        r->extra = n - nfields;
    }
}

struct pr_mp_in pr_mp_open(const struct pr_frame *f, enum pr_type type, uint32_t nfields)
{
    struct pr_mp_in r = {.c = pr_cursor(f->body), .extra = 0, .err = PR_OK};

    if (f->type != (uint8_t)type || f->cls != class_of(f->type)) {
        fail(&r, PR_EVERSION);
        return r;
    }
    open_array(&r, nfields);
    return r;
}

struct pr_mp_in pr_mp_open_element(struct pr_slice list, uint32_t nfields)
{
    struct pr_mp_in r = {.c = pr_cursor(list), .extra = 0, .err = PR_OK};

    open_array(&r, nfields);
    return r;
}

uint64_t pr_mp_uint(struct pr_mp_in *r)
{
    uint8_t b = head(r);

    if (r->err != PR_OK) {
        return 0;
    }
    if (b <= 0x7fu) {
        return b;
    }
    if (b >= MP_UINT8 && b <= MP_UINT64) {
        return number(r, b - MP_UINT8);
    }
    fail(r, PR_ETYPE);
    return 0;
}

uint32_t pr_mp_u32(struct pr_mp_in *r)
{
    uint64_t v = pr_mp_uint(r);

    if (v > UINT32_MAX) {
        fail(r, PR_ERANGE);
        return 0;
    }
    return (uint32_t)v;
}

bool pr_mp_bool(struct pr_mp_in *r)
{
    uint8_t b = head(r);

    if (r->err == PR_OK && b != MP_TRUE && b != MP_FALSE) {
        fail(r, PR_ETYPE);
    }
    return b == MP_TRUE;
}

struct pr_slice pr_mp_bin(struct pr_mp_in *r, size_t min, size_t max)
{
    struct pr_slice s = {0};
    uint8_t b = head(r);
    uint64_t n = 0;

    if (r->err != PR_OK) {
        return s;
    }
    if (b < MP_BIN8 || b > MP_BIN32) {
        fail(r, PR_ETYPE);
        return s;
    }
    n = number(r, b - MP_BIN8);
    if (n < min || n > max) {
        fail(r, PR_ERANGE);
        return s;
    }
    s = pr_get_bytes(&r->c, (size_t)n);
    if (r->c.failed) {
        fail(r, PR_ESHORT);
    }
    return s;
}

struct pr_epoch pr_mp_epoch(struct pr_mp_in *r)
{
    struct pr_epoch e = {0};

    e.node = pr_mp_uint(r);
    e.boot = pr_mp_uint(r);
    e.count = pr_mp_u32(r);
    return e;
}

struct pr_slice pr_mp_topic(struct pr_mp_in *r)
{
    return pr_mp_bin(r, 1, PR_TOPIC_KEY_MAX);
}

struct pr_addr pr_mp_addr(struct pr_mp_in *r)
{
    struct pr_slice packed = pr_mp_bin(r, 0, PR_ADDR_PACKED_MAX);
    struct pr_addr a;
    int rv = pr_addr_unpack(packed, &a);

    if (rv != PR_OK) {
        fail(r, rv);
    }
    return a;
}

uint64_t pr_mp_uint_or(struct pr_mp_in *r, uint64_t absent)
{
    if (r->extra == 0) {
        return absent;
    }
    r->extra--;
    return pr_mp_uint(r);
}

struct pr_slice pr_mp_bin_or_none(struct pr_mp_in *r, size_t max)
{
    if (r->extra == 0) {
        return pr_bytes(NULL, 0);
    }
    r->extra--;
    return pr_mp_bin(r, 0, max);
}

struct pr_place pr_mp_place_or_none(struct pr_mp_in *r)
{
    struct pr_place p = {.seq = 0};
    uint64_t count = 0;

    p.epoch.node = pr_mp_uint_or(r, 0);
    p.epoch.boot = pr_mp_uint_or(r, 0);
    count = pr_mp_uint_or(r, 0);
    p.seq = pr_mp_uint_or(r, 0);
    if (count > UINT32_MAX) {
        fail(r, PR_ERANGE);
        count = 0;
    }
    p.epoch.count = (uint32_t)count;
    return p;
}

struct pr_slice pr_mp_list(struct pr_mp_in *r, uint32_t *count, pr_mp_check_fn check)
{
    struct pr_slice all = {0};
    struct pr_slice rest;
    uint32_t n = pr_mp_array(r);

    *count = 0;
    if (r->err != PR_OK) {
        return all;
    }
    rest = (struct pr_slice){.p = r->c.p, .n = r->c.left};
    all = rest;
    for (uint32_t i = 0; i < n; i++) {
        int rv = check(&rest);

        if (rv <= 0) {
            fail(r, rv == 0 ? PR_ESHORT : rv);
            return (struct pr_slice){0};
        }
    }
    all.n -= rest.n;
    r->c.p = rest.p;
    r->c.left = rest.n;
    *count = n;
    return all;
}

/* What stands behind the first byte of any msgpack item: this many bytes, and then more items. */
struct item {
    uint64_t bytes;
    uint64_t items;
};

/* Formats 0xc0 .. 0xdf; 0xc1 is used by nobody. */
static struct item long_item(struct pr_mp_in *r, uint8_t b)
{
    struct item it = {0};

    if (b == 0xc1) {
        fail(r, PR_ETYPE);
    } else if (b >= 0xc4 && b <= 0xc6) {
        it.bytes = number(r, b - 0xc4u); /* bin */
    } else if (b >= 0xc7 && b <= 0xc9) {
        it.bytes = number(r, b - 0xc7u) + 1; /* ext, with its type byte */
    } else if (b == 0xca || b == 0xcb) {
        it.bytes = UINT64_C(4) << (b - 0xcau); /* float */
    } else if (b >= 0xcc && b <= 0xd3) {
        it.bytes = UINT64_C(1) << ((b - 0xccu) & 3u); /* uint, int */
    } else if (b >= 0xd4 && b <= 0xd8) {
        it.bytes = (UINT64_C(1) << (b - 0xd4u)) + 1; /* fixext */
    } else if (b >= 0xd9 && b <= 0xdb) {
        it.bytes = number(r, b - 0xd9u); /* str */
    } else if (b == 0xdc || b == 0xdd) {
        it.items = number(r, b - 0xdcu + 1u); /* array */
    } else if (b == 0xde || b == 0xdf) {
        it.items = 2 * number(r, b - 0xdeu + 1u); /* map */
    }
    return it;
}

static struct item any_item(struct pr_mp_in *r)
{
    struct item it = {0};
    uint8_t b = head(r);

    if (r->err != PR_OK) {
        return it;
    }
    if (b >= 0xc0 && b <= 0xdf) {
        return long_item(r, b);
    }
    if (b >= 0x80 && b <= 0x8f) {
        it.items = 2 * (uint64_t)(b & 0x0fu);
    } else if (b >= 0x90 && b <= 0x9f) {
        it.items = b & 0x0fu;
    } else if (b >= 0xa0 && b <= 0xbf) {
        it.bytes = b & 0x1fu;
    }
    return it;
}

/*
 * Fields of a newer build. Nesting needs no stack: what remains to be skipped is a plain count of
 * items, and each of them costs at least one byte, so the count is bounded by the bytes left.
 */
static void skip_extra(struct pr_mp_in *r)
{
    uint64_t pending = r->extra;

    while (r->err == PR_OK && pending > 0) {
        struct item it = any_item(r);

        pending = pending - 1 + it.items;
        if (it.bytes > r->c.left || pending > r->c.left - it.bytes) {
            fail(r, PR_ESHORT);
        } else {
            (void)pr_get_bytes(&r->c, (size_t)it.bytes);
        }
    }
    r->extra = 0;
}

int pr_mp_skip_item(struct pr_slice *list)
{
    struct pr_mp_in r = {.c = pr_cursor(*list), .extra = 1, .err = PR_OK};

    if (list->n == 0) {
        return 0;
    }
    return pr_mp_close_element(&r, list);
}

int pr_mp_close(struct pr_mp_in *r)
{
    skip_extra(r);
    if (r->c.left > 0) {
        fail(r, PR_ETRAIL);
    }
    return r->err;
}

int pr_mp_close_payload(struct pr_mp_in *r, struct pr_slice *payload)
{
    skip_extra(r);
    *payload = (struct pr_slice){.p = r->c.p, .n = r->c.left};
    return r->err;
}

int pr_mp_close_element(struct pr_mp_in *r, struct pr_slice *list)
{
    skip_extra(r);
    if (r->err != PR_OK) {
        return r->err;
    }
    *list = (struct pr_slice){.p = r->c.p, .n = r->c.left};
    return 1;
}
