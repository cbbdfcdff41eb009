/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "node/edge/http_api.h"
#include "node/edge/projects.h"

struct rt_upload {
    enum rt_user_kind kind; /* RT_USER_UPLOAD */
    struct rt_project *project;
    size_t held; /* of rt_project.upload_bytes */
};

void rt_upload_begin(const struct rt_http *h)
{
    struct rt_upload *u = rt_calloc(1, sizeof *u);

    u->kind = RT_USER_UPLOAD;
    u->project = h->project;
    u->project->refs++;
    rt_conn_set_user(h->conn, u);
    rt_conn_want_body(h->conn);
}

static struct rt_upload *upload_of(const struct rt_conn *c)
{
    enum rt_user_kind *user = rt_conn_user(c);

    return user != NULL && *user == RT_USER_UPLOAD ? (struct rt_upload *)(void *)user : NULL;
}

bool rt_upload_grown(struct rt_conn *c, size_t len)
{
    struct rt_upload *u = upload_of(c);

    assert(u != NULL && len >= u->held);
    struct rt_project *p = u->project;
    struct rt_edge *e = p->edge;
    size_t n = len - u->held;
    size_t left = RT_UPLOAD_BYTES_MAX - e->upload_bytes;

    if (n > left || (e->nprojects > 1 && p->upload_bytes + n > left)) {
        return false;
    }
    u->held = len;
    p->upload_bytes += n;
    e->upload_bytes += n;
    return true;
}

bool rt_upload_end(struct rt_conn *c)
{
    struct rt_upload *u = upload_of(c);

    if (u == NULL) {
        return false;
    }
    rt_conn_set_user(c, NULL);
    rt_upload_free(u);
    return true;
}

void rt_upload_free(struct rt_upload *u)
{
    u->project->upload_bytes -= u->held;
    u->project->edge->upload_bytes -= u->held;
    rt_project_unref(u->project);
    rt_free(u);
}
