/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_pack.h - msgpack as the mesh frames use it; inside proto only.
 *
 * Writing is msgpack-c's packer on top of a pr_outbuf. Reading is by hand over a pr_cursor:
 * msgpack_unpack() builds an object tree on its own heap zone, while a frame's fields are known
 * in advance and can be taken one after the other, borrowed, without allocation or recursion.
 * Used types: positive integers, true/false, bin, array. A reader latches its first error, so a
 * decoder takes all its fields and asks once.
 *
 * Source: msgpack specification, https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#ifndef PROTO_MESH_PACK_H
#define PROTO_MESH_PACK_H

#include "proto/addr.h"
#include "proto/mesh.h"

/* Writing: one frame is begin, nfields puts, end, and then perhaps raw payload before the end. */
struct pr_mp_out {
    struct pr_outbuf *o;
    size_t start; /* of the frame in o */
};
struct pr_mp_out pr_mp_begin(struct pr_outbuf *o, enum pr_type type, uint32_t nfields);
void pr_mp_end(struct pr_mp_out *w);

void pr_mp_put_array(struct pr_outbuf *o, uint32_t n);
void pr_mp_put_uint(struct pr_outbuf *o, uint64_t v);
void pr_mp_put_bool(struct pr_outbuf *o, bool v);
void pr_mp_put_bin(struct pr_outbuf *o, struct pr_slice s);
void pr_mp_put_epoch(struct pr_outbuf *o, struct pr_epoch e);
void pr_mp_put_place(struct pr_outbuf *o, struct pr_place p);
/* As bin of its packed form. */
void pr_mp_put_addr(struct pr_outbuf *o, const struct pr_addr *a);
/* An array of `n` elements that are packed already. */
void pr_mp_put_list(struct pr_outbuf *o, uint32_t n, struct pr_slice packed);

/* Reading: fields of one array, in order. */
struct pr_mp_in {
    struct pr_cursor c;
    uint32_t extra; /* elements of the array that this build does not know */
    int err;        /* first error, PR_OK so far */
};
/* Opens the frame's array; refuses another type or class and fewer than nfields elements. */
struct pr_mp_in pr_mp_open(const struct pr_frame *f, enum pr_type type, uint32_t nfields);
/* Opens an array that is an element of a packed list. */
struct pr_mp_in pr_mp_open_element(struct pr_slice list, uint32_t nfields);

uint64_t pr_mp_uint(struct pr_mp_in *r);
uint32_t pr_mp_u32(struct pr_mp_in *r);
bool pr_mp_bool(struct pr_mp_in *r);
/* Bytes of min .. max length. */
struct pr_slice pr_mp_bin(struct pr_mp_in *r, size_t min, size_t max);
struct pr_epoch pr_mp_epoch(struct pr_mp_in *r);
/* Added to its message later: zeros of a sender that does not know it. */
struct pr_place pr_mp_place_or_none(struct pr_mp_in *r);
struct pr_slice pr_mp_topic(struct pr_mp_in *r);
struct pr_addr pr_mp_addr(struct pr_mp_in *r);
/* Number that was added to the array later and that this build knows; `absent` if the sender is
 * older and ended its array before it. Comes after all fields counted in nfields. */
uint64_t pr_mp_uint_or(struct pr_mp_in *r, uint64_t absent);
/* The same of up to max bytes; none if the sender is older. */
struct pr_slice pr_mp_bin_or_none(struct pr_mp_in *r, size_t max);
/* Takes an array header; 0 after an error. */
uint32_t pr_mp_array(struct pr_mp_in *r);

/* Takes one element off a packed list: 1, 0 at its end, or a negative error. */
typedef int (*pr_mp_check_fn)(struct pr_slice *list);
/* The check for elements that somebody else looks into: any one msgpack item, whole. */
int pr_mp_skip_item(struct pr_slice *list);
/* Takes an array whose every element `check` accepts; gives its elements, still packed. */
struct pr_slice pr_mp_list(struct pr_mp_in *r, uint32_t *count, pr_mp_check_fn check);

/* Skips unknown fields; then nothing may follow. Returns PR_OK or the first error. */
PR_MUST_CHECK int pr_mp_close(struct pr_mp_in *r);
/* Skips unknown fields; what follows is the payload. */
PR_MUST_CHECK int pr_mp_close_payload(struct pr_mp_in *r, struct pr_slice *payload);
/* Skips unknown fields of an element and moves *list behind it. Returns 1 or the first error. */
PR_MUST_CHECK int pr_mp_close_element(struct pr_mp_in *r, struct pr_slice *list);

#endif
