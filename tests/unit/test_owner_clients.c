/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of clients per project: who is told which sum, and when. Edges and links are tables here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/clients.h"

#define OTHER UINT64_C(2) /* a node */

struct rt_ipc {
    uint32_t edge;
};

/* What was said last of a project. */
struct said {
    char project[80];
    uint64_t count;
};

static struct {
    struct owner o;
    struct rt_role_args args;
    struct rt_metrics metrics;
    struct peer edge[2];
    struct rt_ipc ipc[2];
    struct said to[3][4]; /* to the edges and to the node */
    uint32_t frames;
    bool full; /* the first edge takes nothing */
    struct rt_timer *timer;
    bool set;
} w;

static void note(struct said *to, struct pr_slice frame)
{
    struct pr_clients m;
    struct pr_frame f;
    uint32_t i = 0;

    assert_true(pr_frame_next(frame, &f) > 0);
    assert_int_equal(pr_clients_decode(&f, &m), PR_OK);
    while (i < 4 && to[i].project[0] != '\0' && !pr_slice_is(m.project, to[i].project)) {
        i++;
    }
    assert_true(i < 4 && m.project.n < sizeof to[i].project);
    memcpy(to[i].project, m.project.p, m.project.n);
    to[i].count = m.count;
    w.frames++;
}

bool rt_ipc_send(struct rt_ipc *ipc, struct pr_slice frames)
{
    if (w.full && ipc->edge == 0) {
        return false;
    }
    note(w.to[ipc->edge], frames);
    return true;
}
bool rt_owner_link_send(struct owner *o, uint64_t node_id, struct pr_slice frame)
{
    (void)o;
    assert_int_equal(node_id, OTHER);
    note(w.to[2], frame);
    return true;
}
void rt_timer_init(struct rt_loop *l, struct rt_timer *t, void (*fn)(void *ctx), void *ctx)
{
    (void)l;
    t->fn = fn;
    t->ctx = ctx;
    w.timer = t;
}
void rt_timer_set(struct rt_timer *t, uint64_t ms)
{
    (void)t;
    assert_int_equal(ms, RT_CLIENTS_TELL_MS);
    w.set = true;
}
void rt_timer_close(struct rt_timer *t, void (*done)(void *ctx))
{
    done(t->ctx);
}
uint64_t rt_now_ms(const struct rt_loop *l)
{
    (void)l;
    return 1000;
}
uint64_t rt_wall_ms(void)
{
    return 1000;
}

static void later(void)
{
    assert_true(w.set);
    w.set = false;
    w.timer->fn(w.timer->ctx);
}

/* Of an edge, or of the node as the third; project NULL: as an older one says it. */
static void says(uint32_t who, const char *project, uint64_t count)
{
    struct pr_clients m = {.count = count, .project = pr_str(project == NULL ? "" : project)};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;

    pr_clients_encode(&o, &m);
    assert_true(pr_frame_next(pr_bytes(bytes, o.len), &f) > 0);
    if (who < 2) {
        assert_true(rt_clients_of_edge(w.o.clients, who, &f));
    } else {
        assert_true(rt_clients_of_node(w.o.clients, OTHER, &f));
    }
}

/* What edge or node `who` was told last; nothing is as good as 0. */
static uint64_t told(uint32_t who, const char *project)
{
    for (uint32_t i = 0; i < 4; i++) {
        if (strcmp(w.to[who][i].project, project) == 0) {
            return w.to[who][i].count;
        }
    }
    return 0;
}

static int open_world(void **state)
{
    (void)state;
    memset(&w, 0, sizeof w);
    rt_metrics_private(&w.metrics);
    w.args.metrics = &w.metrics;
    w.o.args = &w.args;
    w.o.clients = rt_clients_new(&w.o);
    for (uint32_t i = 0; i < 2; i++) {
        w.ipc[i].edge = i;
        w.edge[i] = (struct peer){.owner = &w.o, .ipc = &w.ipc[i], .index = i};
        w.o.edge[i] = &w.edge[i];
        rt_clients_edge(w.o.clients, i);
    }
    rt_clients_link_up(w.o.clients, OTHER);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    rt_clients_free(w.o.clients);
    rt_metrics_close(&w.metrics);
    return 0;
}

static void each_is_told_of_all_others(void **state)
{
    (void)state;
    says(0, "red", 3);
    assert_true(told(1, "red") == 3 && told(2, "red") == 3 && told(0, "red") == 0);
    /* What comes soon after is one message per project. */
    says(0, "red", 4);
    says(1, "red", 2);
    says(1, "blue", 7);
    says(2, "red", 10);
    assert_int_equal(w.frames, 2);
    later();
    assert_true(told(0, "red") == 12 && told(1, "red") == 14 && told(2, "red") == 6);
    assert_true(told(0, "blue") == 7 && told(1, "blue") == 0 && told(2, "blue") == 7);
    assert_int_equal(w.frames, 7);
    /* Nothing new: nothing is said. */
    later();
    assert_int_equal(w.frames, 7);
    assert_false(w.set);
}

static void an_older_node_has_one_project(void **state)
{
    (void)state;
    says(2, NULL, 9);
    assert_true(told(0, "default") == 9 && told(1, "default") == 9 && told(2, "default") == 0);
}

static void who_goes_does_not_count(void **state)
{
    (void)state;
    says(0, "red", 3);
    says(2, "red", 10);
    later();
    assert_int_equal(told(1, "red"), 13);
    rt_clients_link_down(w.o.clients, OTHER);
    later();
    assert_int_equal(told(1, "red"), 3);
    assert_int_equal(told(0, "red"), 0);
    w.o.edge[0] = NULL;
    rt_clients_edge(w.o.clients, 0);
    later();
    assert_int_equal(told(1, "red"), 0);
    /* One that comes is told what it cannot know. */
    says(1, "red", 5);
    w.o.edge[0] = &w.edge[0];
    rt_clients_edge(w.o.clients, 0);
    rt_clients_link_up(w.o.clients, OTHER);
    later();
    assert_true(told(0, "red") == 5 && told(2, "red") == 5);
}

/* What it was told before it had the project it has dropped. */
static void an_edge_that_is_late(void **state)
{
    uint32_t frames;

    (void)state;
    says(2, "red", 10);
    assert_int_equal(told(0, "red"), 10);
    memset(w.to[0], 0, sizeof w.to[0]);
    says(0, "red", 0);
    later();
    assert_int_equal(told(0, "red"), 10);
    frames = w.frames;
    says(0, "red", 1);
    later();
    assert_int_equal(w.frames, frames + 2); /* the others alone */
    assert_true(told(1, "red") == 11 && told(2, "red") == 1);
}

static void who_has_no_room_is_told_later(void **state)
{
    (void)state;
    w.full = true;
    says(1, "red", 5);
    assert_int_equal(told(0, "red"), 0);
    later();
    w.full = false;
    later();
    assert_int_equal(told(0, "red"), 5);
}

static void names_leave_their_place(void **state)
{
    char name[16];

    (void)state;
    for (uint32_t i = 0; i < RT_PROJECTS_MAX; i++) {
        (void)snprintf(name, sizeof name, "p%u", i);
        says(0, name, i == 5 ? 0 : 1);
        memset(w.to, 0, sizeof w.to);
        while (w.set) {
            later();
            memset(w.to, 0, sizeof w.to);
        }
    }
    says(0, "new", 4);
    assert_int_equal(told(1, "new"), 4);
    later();
    says(0, "one more", 4); /* all have clients: it is not counted */
    assert_int_equal(told(1, "one more"), 0);
    says(0, "new", 6);
    assert_int_equal(told(1, "new"), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_told_of_all_others, open_world, close_world),
        cmocka_unit_test_setup_teardown(an_older_node_has_one_project, open_world, close_world),
        cmocka_unit_test_setup_teardown(who_goes_does_not_count, open_world, close_world),
        cmocka_unit_test_setup_teardown(an_edge_that_is_late, open_world, close_world),
        cmocka_unit_test_setup_teardown(who_has_no_room_is_told_later, open_world, close_world),
        cmocka_unit_test_setup_teardown(names_leave_their_place, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
