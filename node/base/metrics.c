/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/metrics.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/base/loop.h"

/* Another build may have another table: a file of another size is refused, not misread. */
#define FILE_BYTES sizeof(struct rt_metrics_file)
/* Longest line of the text: name, three labels, a number; a node's name is at most 255 bytes. */
#define TEXT_LINE_MAX 512u

static const struct rt_metric_info table[RT_METRICS_COUNT] = {
#define RT_X(id, whose, what, text, about)                                                         \
    [id] = {.name = "realtime_" text, .help = (about), .role = (whose), .kind = (what)},
    RT_METRICS(RT_X)
#undef RT_X
};

static const char *const role_names[RT_ROLES] = {"supervisor", "owner", "db", "edge"};

const char *rt_role_name(enum rt_role role)
{
    return role_names[role];
}

bool rt_role_parse(const char *name, enum rt_role *role)
{
    for (uint32_t i = 0; i < RT_ROLES; i++) {
        if (strcmp(name, role_names[i]) == 0) {
            *role = (enum rt_role)i;
            return true;
        }
    }
    return false;
}

struct rt_metric_info rt_metric_info(enum rt_metric id)
{
    return table[id];
}

static uint32_t processes_max(enum rt_role role)
{
    static const uint32_t most[RT_ROLES] = {
        [RT_SUPERVISOR] = 1, [RT_OWNER] = 1, [RT_DB] = RT_DBS_MAX, [RT_EDGE] = RT_EDGES_MAX};

    return most[role];
}

/* Role by role, in the order of the enum. */
bool rt_metrics_place(enum rt_role role, uint32_t index, uint32_t *at)
{
    if (index >= processes_max(role)) {
        return false;
    }
    *at = index;
    for (enum rt_role r = RT_SUPERVISOR; r < role; r++) {
        *at += processes_max(r);
    }
    return true;
}

void rt_metrics_who(uint32_t at, enum rt_role *role, uint32_t *index)
{
    *role = RT_SUPERVISOR;
    while (at >= processes_max(*role)) {
        at -= processes_max(*role);
        (*role)++;
    }
    *index = at;
}

static int file_path(const char *runtime_dir, char *out, size_t cap, struct rt_error *err)
{
    int n = snprintf(out, cap, "%s/metrics", runtime_dir);

    if (n < 0 || (size_t)n >= cap) {
        return rt_error_set(err, RT_ECONFIG, "the runtime directory's name is too long: %s",
                            runtime_dir);
    }
    return RT_OK;
}

int rt_metrics_create(const char *runtime_dir, const char *node, struct rt_error *err)
{
    const size_t at = offsetof(struct rt_metrics_file, node);
    size_t len = strnlen(node, sizeof((struct rt_metrics_file *)NULL)->node - 1);
    char path[512];
    char fresh[520];
    int fd;

    if (file_path(runtime_dir, path, sizeof path, err) != RT_OK) {
        return RT_ECONFIG;
    }
    /* Under another name first: a reader never maps a file that is still too short. */
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    fd = open(fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd == -1) {
        return rt_error_errno(err, errno, "open %s", fresh);
    }
    /* Allocated, not sparse: a full disk must show here, not as SIGBUS in a process. */
    int rv = posix_fallocate(fd, 0, (off_t)FILE_BYTES);

    if (rv == 0 && pwrite(fd, node, len, (off_t)at) != (ssize_t)len) {
        rv = EIO;
    }
    (void)close(fd);
    if (rv != 0) {
        return rt_error_errno(err, rv, "cannot reserve %zu bytes for %s", FILE_BYTES, fresh);
    }
    if (rename(fresh, path) == -1) {
        return rt_error_errno(err, errno, "rename %s", fresh);
    }
    return RT_OK;
}

static int map(struct rt_metrics *m, const char *runtime_dir, bool writable, struct rt_error *err)
{
    char path[512];
    struct stat st;
    void *p = MAP_FAILED;
    int fd;

    memset(m, 0, sizeof *m);
    if (file_path(runtime_dir, path, sizeof path, err) != RT_OK) {
        return RT_ECONFIG;
    }
    fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd == -1) {
        return rt_error_errno(err, errno, "open %s", path);
    }
    if (fstat(fd, &st) == -1 || st.st_size != (off_t)FILE_BYTES) {
        (void)close(fd);
        return rt_error_set(err, RT_EPEER, "%s was made by another version; start realtimed anew",
                            path);
    }
    p = mmap(NULL, FILE_BYTES, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p == MAP_FAILED) {
        return rt_error_errno(err, errno, "mmap %s", path);
    }
    m->file = p;
    m->slots = m->file->slots;
    m->node = m->file->node;
    m->map_bytes = FILE_BYTES;
    /* The mapping is kept in *m. */
    /* cppcheck-suppress memleak */
    return RT_OK;
}

int rt_metrics_open(struct rt_metrics *m, const char *runtime_dir, enum rt_role role,
                    uint32_t index, struct rt_error *err)
{
    uint32_t at;

    if (!rt_metrics_place(role, index, &at)) {
        memset(m, 0, sizeof *m);
        return rt_error_set(err, RT_ECONFIG, "index %u of role %s; it must be below %u", index,
                            rt_role_name(role), processes_max(role));
    }
    if (map(m, runtime_dir, true, err) != RT_OK) {
        return err != NULL ? err->code : RT_ESYSTEM;
    }
    m->own = &m->slots[at];
    m->tallies = role == RT_EDGE ? m->file->tallies[index] : NULL;
    for (uint32_t i = 0; i < RT_METRICS_COUNT; i++) {
        if (table[i].kind == RT_GAUGE && table[i].role == role) {
            rt_gauge(m, (enum rt_metric)i, 0);
        }
    }
    atomic_store_explicit(&m->own->pid, (uint64_t)getpid(), memory_order_relaxed);
    atomic_store_explicit(&m->own->start_ms, rt_wall_ms(), memory_order_relaxed);
    return RT_OK;
}

void rt_metrics_of_project(struct rt_metrics *m, const char *project)
{
    if (strcmp(m->own->project, project) != 0) {
        for (uint32_t i = 0; i < RT_METRICS_COUNT; i++) {
            atomic_store_explicit(&m->own->value[i], 0, memory_order_relaxed);
        }
        (void)snprintf(m->own->project, sizeof m->own->project, "%s", project);
    }
}

struct rt_tally *rt_metrics_tally(const struct rt_metrics *m, const char *project)
{
    struct rt_tally *t = NULL;

    assert(m->tallies != NULL);
    for (uint32_t i = 0; i < RT_DBS_MAX; i++) {
        struct rt_tally *one = &m->tallies[i];
        bool used = atomic_load_explicit(&one->used, memory_order_relaxed) != 0;

        if (used && strcmp(one->project, project) == 0) {
            t = one;
            break;
        }
        t = t == NULL && !used ? one : t;
    }
    if (t == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < RT_TALLY_COUNT; i++) {
        if (t->used == 0 || table[RT_TALLY_FIRST + i].kind == RT_GAUGE) {
            rt_tally_gauge(t, (enum rt_metric)(RT_TALLY_FIRST + i), 0);
        }
    }
    (void)snprintf(t->project, sizeof t->project, "%s", project);
    atomic_store_explicit(&t->used, 1, memory_order_release);
    return t;
}

void rt_tally_leave(struct rt_tally *t)
{
    if (t != NULL) {
        atomic_store_explicit(&t->used, 0, memory_order_relaxed);
    }
}

void rt_metrics_tally_leave(const struct rt_metrics *m,
                            bool (*lives)(const void *ctx, const char *project), const void *ctx)
{
    for (uint32_t i = 0; i < RT_DBS_MAX; i++) {
        if (m->tallies[i].used != 0 && !lives(ctx, m->tallies[i].project)) {
            rt_tally_leave(&m->tallies[i]);
        }
    }
}

void rt_metrics_leave(struct rt_metrics *m, enum rt_role role, uint32_t index)
{
    uint32_t at;

    if (rt_metrics_place(role, index, &at)) {
        atomic_store_explicit(&m->slots[at].pid, 0, memory_order_relaxed);
    }
}

int rt_metrics_open_reader(struct rt_metrics *m, const char *runtime_dir, struct rt_error *err)
{
    return map(m, runtime_dir, false, err);
}

void rt_metrics_private(struct rt_metrics *m)
{
    m->file = rt_calloc(1, sizeof *m->file);
    m->slots = m->file->slots;
    m->own = &m->slots[RT_SLOTS - RT_EDGES_MAX];
    m->tallies = m->file->tallies[0];
    m->node = m->file->node;
    m->map_bytes = 0;
}

void rt_metrics_close(struct rt_metrics *m)
{
    if (m->map_bytes > 0) {
        (void)munmap(m->file, m->map_bytes);
    } else {
        rt_free(m->file);
    }
    memset(m, 0, sizeof *m);
}

const struct rt_slot *rt_metrics_slot(const struct rt_metrics *m, enum rt_role role, uint32_t index)
{
    uint32_t at;

    return rt_metrics_place(role, index, &at) ? &m->slots[at] : NULL;
}

uint32_t rt_metrics_db(const struct rt_metrics *m, const char *project)
{
    uint32_t first = 0;

    (void)rt_metrics_place(RT_DB, 0, &first);
    for (uint32_t i = 0; i < RT_DBS_MAX; i++) {
        const struct rt_slot *s = &m->slots[first + i];

        if (atomic_load_explicit(&s->pid, memory_order_relaxed) != 0 &&
            strcmp(s->project, project) == 0) {
            return i;
        }
    }
    return 0;
}

uint64_t rt_metrics_get(const struct rt_metrics *m, enum rt_role role, uint32_t index,
                        enum rt_metric id)
{
    const struct rt_slot *s = rt_metrics_slot(m, role, index);

    return s == NULL ? 0 : atomic_load_explicit(&s->value[id], memory_order_relaxed);
}

uint64_t rt_metrics_sum(const struct rt_metrics *m, enum rt_metric id)
{
    uint64_t sum = 0;
    uint32_t count = processes_max(table[id].role);

    for (uint32_t i = 0; i < count; i++) {
        sum += rt_metrics_get(m, table[id].role, i, id);
    }
    return sum;
}

struct text {
    char *p;
    size_t len, cap;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (t->cap - t->len < TEXT_LINE_MAX) {
        t->cap = t->cap * 2 + TEXT_LINE_MAX;
        t->p = rt_realloc(t->p, t->cap);
    }
    va_start(ap, fmt);
    n = vsnprintf(t->p + t->len, TEXT_LINE_MAX, fmt, ap);
    va_end(ap);
    assert(n >= 0 && n < (int)TEXT_LINE_MAX);
    t->len += (size_t)n;
}

/* A label's value: quote, backslash and line feed are escaped; names longer than a host's are cut.
 */
static void label(const char *in, char *out, size_t cap)
{
    size_t n = 0;

    for (; *in != '\0' && n + 3 < cap; in++) {
        if (*in == '"' || *in == '\\' || *in == '\n') {
            out[n++] = '\\';
        }
        out[n] = *in;
        if (*in == '\n') {
            out[n] = 'n';
        }
        n++;
    }
    out[n] = '\0';
}

static void put_metric(struct text *t, const struct rt_metrics *m, enum rt_metric id,
                       const char *node)
{
    const struct rt_metric_info *info = &table[id];
    uint32_t count = processes_max(info->role);

    put(t, "# HELP %s %s\n", info->name, info->help);
    put(t, "# TYPE %s %s\n", info->name, info->kind == RT_COUNTER ? "counter" : "gauge");
    for (uint32_t i = 0; i < count; i++) {
        const struct rt_slot *s = rt_metrics_slot(m, info->role, i);

        if (atomic_load_explicit(&s->pid, memory_order_relaxed) != 0) {
            put(t, "%s{node=\"%s\",role=\"%s\",index=\"%u\"", info->name, node,
                rt_role_name(info->role), i);
            if (s->project[0] != '\0') {
                put(t, ",project=\"%s\"", s->project);
            }
            put(t, "} %" PRIu64 "\n", rt_metrics_get(m, info->role, i, id));
        }
    }
}

static void put_tallies(struct text *t, const struct rt_metrics *m, enum rt_metric id,
                        const char *node)
{
    const struct rt_metric_info *info = &table[id];
    const char *name = info->name + strlen("realtime_");

    put(t, "# HELP realtime_project_%s %s, of one project\n", name, info->help);
    put(t, "# TYPE realtime_project_%s %s\n", name, info->kind == RT_COUNTER ? "counter" : "gauge");
    for (uint32_t i = 0; i < RT_EDGES_MAX * RT_DBS_MAX; i++) {
        const struct rt_tally *one = &m->file->tallies[i / RT_DBS_MAX][i % RT_DBS_MAX];

        if (atomic_load_explicit(&one->used, memory_order_acquire) != 0) {
            put(t,
                "realtime_project_%s{node=\"%s\",role=\"edge\",index=\"%u\",project=\"%s\"} "
                "%" PRIu64 "\n",
                name, node, i / RT_DBS_MAX, one->project,
                atomic_load_explicit(&one->value[id - RT_TALLY_FIRST], memory_order_relaxed));
        }
    }
}

char *rt_metrics_text(const struct rt_metrics *m, const char *node, size_t *len)
{
    struct text t = {.p = NULL};
    char name[260];

    label(node, name, sizeof name);
    for (uint32_t i = 0; i < RT_METRICS_COUNT; i++) {
        put_metric(&t, m, (enum rt_metric)i, name);
    }
    for (uint32_t i = 0; i < RT_TALLY_COUNT; i++) {
        put_tallies(&t, m, (enum rt_metric)(RT_TALLY_FIRST + i), name);
    }
    *len = t.len;
    return t.p;
}
