/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transport as a whole, and the small functions its files share.
 */
#include <assert.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/edge/transport_in.h"

/* First size of a growing buffer; it doubles from there. */
#define BYTES_FIRST 512u

uint64_t rt_transport_now_ms(const struct rt_transport *t)
{
    return uv_now(t->loop);
}

void rt_bytes_add(struct rt_bytes *b, const void *p, size_t n)
{
    if (n == 0) {
        return;
    }
    if (n > b->cap - b->off - b->len && b->off > 0) {
        memmove(b->p, b->p + b->off, b->len);
        b->off = 0;
    }
    if (n > b->cap - b->off - b->len) {
        size_t cap = b->cap > 0 ? b->cap * 2 : BYTES_FIRST;

        b->cap = cap - b->len >= n ? cap : b->len + n;
        b->p = rt_realloc(b->p, b->cap);
    }
    memcpy(b->p + b->off + b->len, p, n);
    b->len += n;
}

void rt_bytes_take(struct rt_bytes *b, size_t n)
{
    assert(n <= b->len);
    b->off += n;
    b->len -= n;
    if (b->len == 0) {
        rt_bytes_free(b);
    }
}

void rt_bytes_free(struct rt_bytes *b)
{
    rt_free(b->p);
    *b = (struct rt_bytes){.p = NULL};
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct rt_transport *t = handle->data;

    t->handles--;
}

static void on_wheel_closed(uv_handle_t *handle)
{
    struct rt_wheel *w = handle->data;
    struct rt_transport *t =
        (struct rt_transport *)(void *)((char *)w - offsetof(struct rt_transport, wheel));

    t->handles--;
}

struct rt_transport *rt_transport_new(const struct rt_transport_config *cfg, const char **why)
{
    SSL_CTX *tls = NULL;

    if (cfg->tls_cert != NULL) {
        tls = rt_tls_new(cfg->tls_cert, cfg->tls_key, why);
        if (tls == NULL) {
            return NULL;
        }
    }
    struct rt_transport *t = rt_calloc(1, sizeof *t);

    t->loop = cfg->loop;
    t->limits = cfg->limits;
    t->ev = cfg->events;
    t->ctx = cfg->ctx;
    t->tls = tls;
    rt_wheel_init(&t->wheel, cfg->loop, uv_now(cfg->loop));
    (void)uv_idle_init(cfg->loop, &t->idle);
    t->idle.data = t;
    t->handles = 2;
    return t;
}

void rt_transport_stop_listening(struct rt_transport *t)
{
    rt_listeners_close(t);
}

void rt_transport_free(struct rt_transport *t)
{
    if (t == NULL) {
        return;
    }
    rt_listeners_close(t);
    for (struct rt_conn *c = t->conns; c != NULL; c = c->next) {
        rt_conn_kill(c);
    }
    while (t->work_head != NULL) {
        rt_conn_run_work(t);
    }
    uv_close((uv_handle_t *)&t->idle, on_handle_closed);
    rt_wheel_close(&t->wheel, on_wheel_closed);
    while (t->handles > 0) {
        (void)uv_run(t->loop, UV_RUN_NOWAIT);
    }
    assert(t->count == 0 && t->conns == NULL);
    SSL_CTX_free(t->tls);
    rt_free(t);
}

uint32_t rt_transport_count(const struct rt_transport *t)
{
    return t->count;
}

void rt_conn_set_user(struct rt_conn *c, void *user)
{
    c->user = user;
}

void *rt_conn_user(const struct rt_conn *c)
{
    return c->user;
}

int rt_conn_tag(const struct rt_conn *c)
{
    return c->tag;
}

struct pr_slice rt_conn_header(struct rt_conn *c, const char *name)
{
    return c->t->head_of == c ? pr_http_header(&c->t->head, name) : pr_bytes(NULL, 0);
}

bool rt_conn_header_at(struct rt_conn *c, uint32_t i, struct pr_slice *name, struct pr_slice *value)
{
    const struct pr_http_head *h = &c->t->head;

    if (c->t->head_of != c || i >= h->nheaders) {
        return false;
    }
    *name = h->headers[i].name;
    *value = h->headers[i].value;
    return true;
}
