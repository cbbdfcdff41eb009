/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access.h - what the policies of the database allow: the one way to ask, for WebSocket and HTTP.
 *
 * Equal questions (project, topic, role, claims, headers) that are under way are asked once.
 * Answers are kept for REALTIME_AUTH_CACHE_MS, good ones and bad ones, so that a crowd of one
 * user's tabs costs one question; a table of fixed size, a newer answer takes the place of an older
 * one.
 *
 * Bounds: RT_ACCESS_ASKS questions are under way, further ones are answered BUSY at once; the bytes
 * of messages behind them are counted too. Of several projects none may have more of either than it
 * leaves free: those whose databases hang do not take the room of those whose databases answer. A
 * question without an answer ends as DOWN after its time, so that every join is answered before the
 * client gives up (10 s).
 */
#ifndef NODE_EDGE_ACCESS_H
#define NODE_EDGE_ACCESS_H

#include "node/edge/edge_in.h"
#include "proto/mesh_rights.h"

#define RT_ACCESS_ASKS    1000u
#define RT_ACCESS_CACHED  4096u
#define RT_ACCESS_JOIN_MS 9000u
/* Messages of the channel wait behind it, and clients 10 s for an ack. */
#define RT_ACCESS_WRITE_MS 5000u
#define RT_ACCESS_RETRY_MS 100u
/* Bodies of requests, and messages of channels, that wait on this edge. */
#define RT_ACCESS_BYTES_MAX ((size_t)64 * 1024 * 1024)

struct rt_question {
    struct rt_project *project;
    struct pr_slice topic; /* name without prefix */
    const struct rt_token *token;
    struct pr_slice headers; /* JSON object; empty: none */
    uint32_t read, write;    /* PR_EXT_* */
    uint32_t wait_ms;
};
struct rt_finding {
    uint32_t status;      /* enum pr_rights_status, none of AWAY and CHANGED */
    uint32_t read, write; /* granted of what was asked; 0 unless DONE */
    uint32_t raised;
    struct pr_slice text; /* borrowed for the call */
};

struct rt_access_wait;
typedef void (*rt_access_fn)(struct rt_access_wait *w, const struct rt_finding *v);
/* Who waits; part of what belongs to the waiting one. Zeros before first use. */
struct rt_access_wait {
    struct rt_access_wait *next, *prev;
    struct rt_access_ask *ask; /* NULL: it does not wait */
    rt_access_fn fn;
};

void rt_access_init(struct rt_edge *e);
void rt_access_free(struct rt_edge *e);
/* True: *v is known. False: fn is called once, later, unless rt_access_cancel comes before it. */
bool rt_access_ask(const struct rt_question *q, struct rt_access_wait *w, rt_access_fn fn,
                   struct rt_finding *v);
/* The project ends: nobody waits for what was asked of it. */
void rt_access_forget(struct rt_project *project);
/* Nothing happens if it does not wait. */
void rt_access_cancel(struct rt_edge *e, struct rt_access_wait *w);
/* Room for bytes that wait on this edge, of RT_ACCESS_BYTES_MAX. False: there is none, or not for
 * this project. */
bool rt_access_hold(struct rt_project *project, size_t bytes);
/* Gives it back. */
void rt_access_release(struct rt_project *project, size_t bytes);
/* An answer from the owner. 0, or an error of the decoder. */
int rt_access_frame(struct rt_edge *e, const struct pr_frame *f);
/* The owner is there again: what is under way is asked again. That policies changed is said once,
 * so it may have been said while he was away. */
void rt_access_attached(struct rt_edge *e);

#endif
