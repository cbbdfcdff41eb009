/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/hold.h"

#include <string.h>

#include "node/edge/socket.h"

struct rt_waiting {
    struct rt_waiting *next;
    bool text;
    size_t n;
    uint8_t bytes[];
};

bool rt_hold_add(struct rt_hold *h, struct pr_slice message, bool text, uint32_t count_max,
                 size_t bytes_max)
{
    struct rt_waiting *w = NULL;

    if (h->count >= count_max || h->bytes + message.n > bytes_max) {
        return false;
    }
    w = rt_malloc(sizeof *w + message.n);
    w->next = NULL;
    w->text = text;
    w->n = message.n;
    memcpy(w->bytes, message.p, message.n);
    if (h->tail == NULL) {
        h->head = w;
    } else {
        h->tail->next = w;
    }
    h->tail = w;
    h->count++;
    h->bytes += (uint32_t)message.n;
    return true;
}

void rt_hold_release(struct rt_hold *h, struct rt_socket *s)
{
    struct rt_waiting **at = &s->backlog;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = h->head;
    *h = (struct rt_hold){0};
    if (s->backlog != NULL) {
        rt_socket_wake(s);
    }
}

void rt_hold_free(struct rt_hold *h)
{
    while (h->head != NULL) {
        struct rt_waiting *w = h->head;

        h->head = w->next;
        rt_free(w);
    }
    *h = (struct rt_hold){0};
}

void rt_backlog_run(struct rt_socket *s)
{
    while (s->backlog != NULL && s->close_code == 0) {
        struct rt_waiting *w = s->backlog;

        s->backlog = w->next;
        rt_socket_handle(s, pr_bytes(w->bytes, w->n), w->text);
        rt_free(w);
    }
}

void rt_backlog_free(struct rt_socket *s)
{
    while (s->backlog != NULL) {
        struct rt_waiting *w = s->backlog;

        s->backlog = w->next;
        rt_free(w);
    }
}
