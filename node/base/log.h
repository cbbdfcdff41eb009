/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line per event on stderr, in logfmt:
 *
 *   ts=2025-03-04T10:11:12.345Z lvl=warn proc=n1/edge.2 ev=slow_reader_closed topic=room conn=8f3a
 *
 * Order of keys: ids, figures with their unit in the key, then err, then hint. Values are quoted
 * where logfmt needs it. Never pass a payload, token, key or row value.
 *
 * Repeats: RT_LOG_BURST lines per event name and second; the next line that passes says
 * suppressed=N. A line is one write(2), so that lines of several processes do not mix.
 */
#ifndef NODE_BASE_LOG_H
#define NODE_BASE_LOG_H

#include "proto/bytes.h"

enum rt_log_level { RT_DEBUG = 1, RT_INFO, RT_WARN, RT_ERROR };

#define RT_LOG_BURST     10u
#define RT_LOG_LINE_MAX  2048u /* bytes; longer lines are cut, a value after 512 bytes already */
#define RT_LOG_VALUE_MAX 512u

struct rt_log;

enum rt_kv_kind { RT_KV_TEXT = 1, RT_KV_SLICE, RT_KV_U64, RT_KV_I64, RT_KV_HEX };
struct rt_kv {
    const char *key; /* NULL ends a list */
    enum rt_kv_kind kind;
    union {
        const char *text; /* NULL is written as empty */
        struct pr_slice slice;
        uint64_t u64;
        int64_t i64;
    } v;
};

static inline struct rt_kv rt_kv_s(const char *key, const char *text)
{
    return (struct rt_kv){.key = key, .kind = RT_KV_TEXT, .v = {.text = text}};
}
static inline struct rt_kv rt_kv_b(const char *key, struct pr_slice slice)
{
    return (struct rt_kv){.key = key, .kind = RT_KV_SLICE, .v = {.slice = slice}};
}
static inline struct rt_kv rt_kv_u(const char *key, uint64_t n)
{
    return (struct rt_kv){.key = key, .kind = RT_KV_U64, .v = {.u64 = n}};
}
static inline struct rt_kv rt_kv_i(const char *key, int64_t n)
{
    return (struct rt_kv){.key = key, .kind = RT_KV_I64, .v = {.i64 = n}};
}
static inline struct rt_kv rt_kv_x(const char *key, uint64_t n)
{
    return (struct rt_kv){.key = key, .kind = RT_KV_HEX, .v = {.u64 = n}};
}

/* Gives a log that writes to `fd` as "NODE/PROC"; copies `node` and `proc` ("edge.2", "owner"). */
struct rt_log *rt_log_new(int fd, enum rt_log_level level, const char *node, const char *proc);
/* NULL is allowed. */
void rt_log_free(struct rt_log *log);
/* Is this level written? To save the work of making fields. */
bool rt_log_on(const struct rt_log *log, enum rt_log_level level);

/* Writes a line; `fields` ends with a key NULL. `ev` is a static name of [a-z0-9_]. */
void rt_log_fields(struct rt_log *log, enum rt_log_level level, const char *ev,
                   const struct rt_kv *fields);
/* rt_log(log, RT_WARN, "slow_reader_closed", rt_kv_b("topic", t), rt_kv_u("frames", n)); at least
 * one field. */
#define rt_log(log, level, ev, ...)                                                                \
    rt_log_fields((log), (level), (ev),                                                            \
                  (const struct rt_kv[]){__VA_ARGS__, {.key = NULL, .kind = RT_KV_TEXT}})
/* A line without fields. */
void rt_log_plain(struct rt_log *log, enum rt_log_level level, const char *ev);

#endif
