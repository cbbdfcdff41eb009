/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/base/loop.h"

/* Event names that are counted apart; the rest share the last place. A process has some dozens. */
#define EVENTS_MAX 128u
#define WINDOW_US  1000000u

struct counted {
    const char *ev;
    uint64_t window_us; /* start of the second that is counted */
    uint32_t lines;
    uint32_t suppressed;
};

struct rt_log {
    int fd;
    enum rt_log_level level;
    char *proc; /* "node/edge.2" */
    struct counted event[EVENTS_MAX];
};

/* One line, cut at its bound; the line feed always fits. */
struct line {
    char bytes[RT_LOG_LINE_MAX];
    size_t len;
};

struct rt_log *rt_log_new(int fd, enum rt_log_level level, const char *node, const char *proc)
{
    struct rt_log *log = rt_calloc(1, sizeof *log);
    size_t n = strlen(node) + strlen(proc) + 2;

    log->fd = fd;
    log->level = level;
    log->proc = rt_malloc(n);
    (void)snprintf(log->proc, n, "%s/%s", node, proc);
    return log;
}

void rt_log_free(struct rt_log *log)
{
    if (log != NULL) {
        rt_free(log->proc);
        rt_free(log);
    }
}

bool rt_log_on(const struct rt_log *log, enum rt_log_level level)
{
    return level >= log->level;
}

static void put(struct line *l, const char *p, size_t n)
{
    size_t room = sizeof l->bytes - 1 - l->len;

    if (n > room) {
        n = room;
    }
    memcpy(l->bytes + l->len, p, n);
    l->len += n;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Bytes that a bare logfmt value may not hold. */
static bool needs_quotes(struct pr_slice s)
{
    if (s.n == 0) {
        return true;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] == '"' || s.p[i] == '=' || s.p[i] == '\\' || s.p[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static void put_value(struct line *l, struct pr_slice s)
{
    static const char hex[] = "0123456789abcdef";
    bool cut = s.n > RT_LOG_VALUE_MAX;

    if (cut) {
        s.n = RT_LOG_VALUE_MAX;
    }
    if (!needs_quotes(s) && !cut) {
        put(l, (const char *)s.p, s.n);
        return;
    }
    put_text(l, "\"");
    for (size_t i = 0; i < s.n; i++) {
        char c = (char)s.p[i];

        if (c == '"' || c == '\\') {
            put_text(l, "\\");
            put(l, &c, 1);
        } else if (c == '\n') {
            put_text(l, "\\n");
        } else if (s.p[i] < ' ' || s.p[i] == 0x7f) { /* a terminal must not obey a client's text */
            char esc[6] = {'\\', 'u', '0', '0', hex[s.p[i] >> 4], hex[s.p[i] & 15]};

            put(l, esc, sizeof esc);
        } else {
            put(l, &c, 1);
        }
    }
    put_text(l, cut ? "...\"" : "\"");
}

static void put_field(struct line *l, const struct rt_kv *f)
{
    char number[32];

    put_text(l, " ");
    put_text(l, f->key);
    put_text(l, "=");
    switch (f->kind) {
    case RT_KV_TEXT:
        put_value(l, pr_str(f->v.text == NULL ? "" : f->v.text));
        return;
    case RT_KV_SLICE:
        put_value(l, f->v.slice);
        return;
    case RT_KV_U64:
        (void)snprintf(number, sizeof number, "%" PRIu64, f->v.u64);
        break;
    case RT_KV_I64:
        (void)snprintf(number, sizeof number, "%" PRId64, f->v.i64);
        break;
    case RT_KV_HEX:
        (void)snprintf(number, sizeof number, "%" PRIx64, f->v.u64);
        break;
    }
    put_text(l, number);
}

static void put_time(struct line *l)
{
    uint64_t ms = rt_wall_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char text[96]; /* the year alone could be long, says the compiler */

    if (gmtime_r(&s, &tm) == NULL) {
        memset(&tm, 0, sizeof tm);
    }
    (void)snprintf(text, sizeof text, "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                   (unsigned)(ms % 1000));
    put_text(l, text);
}

static const char *level_name(enum rt_log_level level)
{
    switch (level) {
    case RT_DEBUG:
        return "debug";
    case RT_INFO:
        return "info";
    case RT_WARN:
        return "warn";
    case RT_ERROR:
        return "error";
    }
    return "error";
}

static struct counted *place_of(struct rt_log *log, const char *ev)
{
    for (uint32_t i = 0; i < EVENTS_MAX - 1; i++) {
        struct counted *c = &log->event[i];

        if (c->ev == NULL) {
            c->ev = ev;
        }
        if (c->ev == ev || strcmp(c->ev, ev) == 0) {
            return c;
        }
    }
    return &log->event[EVENTS_MAX - 1];
}

/* May this line be written? *suppressed: how many before it were not. */
static bool take(struct rt_log *log, const char *ev, uint32_t *suppressed)
{
    struct counted *c = place_of(log, ev);
    uint64_t now = rt_now_us();

    if (now - c->window_us >= WINDOW_US) {
        c->window_us = now;
        c->lines = 0;
    }
    if (c->lines >= RT_LOG_BURST) {
        c->suppressed++;
        return false;
    }
    c->lines++;
    *suppressed = c->suppressed;
    c->suppressed = 0;
    return true;
}

void rt_log_fields(struct rt_log *log, enum rt_log_level level, const char *ev,
                   const struct rt_kv *fields)
{
    struct line l = {.len = 0};
    uint32_t suppressed = 0;

    if (!rt_log_on(log, level) || !take(log, ev, &suppressed)) {
        return;
    }
    put_time(&l);
    put_text(&l, " lvl=");
    put_text(&l, level_name(level));
    put_text(&l, " proc=");
    put_value(&l, pr_str(log->proc));
    put_text(&l, " ev=");
    put_text(&l, ev);
    for (const struct rt_kv *f = fields; f->key != NULL; f++) {
        put_field(&l, f);
    }
    if (suppressed > 0) {
        struct rt_kv f = rt_kv_u("suppressed", suppressed);

        put_field(&l, &f);
    }
    l.bytes[l.len] = '\n';
    /* A log that cannot be written is no reason to stop serving. */
    if (write(log->fd, l.bytes, l.len + 1) == -1) {
        return;
    }
}

void rt_log_plain(struct rt_log *log, enum rt_log_level level, const char *ev)
{
    const struct rt_kv none = {.key = NULL, .kind = RT_KV_TEXT};

    rt_log_fields(log, level, ev, &none);
}
