/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a request that announces a body is judged by its head; who may broadcast is asked for the
 * body, and judged again when it is there.
 */
#include "edge_world.h"

static struct rt_conn *conn(const char *key)
{
    struct rt_conn *c = calloc(1, sizeof *c);

    c->name[0] = "apikey";
    c->value[0] = key;
    c->nheaders = 1;
    return c;
}

static void request(struct rt_conn *c, const char *method, const char *path, const char *body)
{
    struct rt_request r = {.method = pr_str(method),
                           .path = pr_str(path),
                           .body_due = body == NULL,
                           .body = pr_str(body == NULL ? "" : body),
                           .peer = "127.0.0.1"};

    rt_http_request(w.e, c, &r);
    settle();
}

static void answered_without_the_body(void **state)
{
    static const struct {
        const char *method, *path, *key; /* NULL: a good one */
        int status;
    } rows[] = {
        {"POST", "/nope", NULL, 404},
        {"GET", "/api/broadcast", NULL, 405},
        {"POST", "/healthz", NULL, 405},
        {"GET", "/healthz", NULL, 200},
        {"OPTIONS", "/api/broadcast", NULL, 204},
        {"POST", "/socket/websocket", NULL, 400},
        {"POST", "/api/broadcast", "", 401},
        {"POST", "/api/broadcast", "x", 401},
        {"POST", "/api/broadcast/a/events/e", "x", 401},
    };

    (void)state;
    world_open(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_conn *c = conn(rows[i].key == NULL ? token_of("anon", 100) : rows[i].key);

        request(c, rows[i].method, rows[i].path, NULL);
        assert_int_equal(c->status, rows[i].status);
        assert_false(c->body_wanted);
        assert_null(c->user);
        free(c);
    }
    world_close();
}

/* The first body is sent, the second comes when its key is not good any more. */
static void judged_again_with_the_body(void **state)
{
    static const char body[] = "{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":{}}]}";
    static const int status[] = {202, 401};

    (void)state;
    world_open(NULL);
    for (size_t i = 0; i < sizeof status / sizeof status[0]; i++) {
        uint64_t before = rt_metrics_sum(&w.metrics, RT_M_REQUESTS);
        struct rt_conn *c = conn(token_of("anon", 100));

        request(c, "POST", "/api/broadcast", NULL);
        assert_true(c->body_wanted);
        assert_int_equal(c->status, 0);
        assert_true(rt_upload_grown(c, strlen(body)));
        assert_int_equal(w.e->upload_bytes, strlen(body));
        c->value[0] = status[i] == 202 ? c->value[0] : token_of("anon", -1);
        request(c, "POST", "/api/broadcast", body);
        assert_int_equal(c->status, status[i]);
        assert_null(c->user);
        assert_int_equal(w.e->upload_bytes, 0);
        assert_int_equal(rt_metrics_sum(&w.metrics, RT_M_REQUESTS), before + 1);
        free(c);
    }
    world_close();
}

/* One project may fill all the room; who goes leaves his for others. */
static void bodies_without_room(void **state)
{
    struct rt_conn *c[2];

    (void)state;
    world_open(NULL);
    for (size_t i = 0; i < 2; i++) {
        c[i] = conn(token_of("anon", 100));
        request(c[i], "POST", "/api/broadcast", NULL);
    }
    assert_true(rt_upload_grown(c[0], RT_UPLOAD_BYTES_MAX));
    assert_false(rt_upload_grown(c[1], 1));
    rt_upload_free(c[0]->user);
    assert_true(rt_upload_grown(c[1], 1));
    rt_upload_free(c[1]->user);
    assert_int_equal(w.e->upload_bytes, 0);
    free(c[0]);
    free(c[1]);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered_without_the_body),
        cmocka_unit_test(judged_again_with_the_body),
        cmocka_unit_test(bodies_without_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
