/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a channel lives as long as its token and the key behind it; what is pushed in its place
 * counts once, the last one wins, and keys that come or go touch nobody else.
 */
#include "edge_world.h"

#include <unistd.h>

#include "node/edge/keys.h"
#include "node/edge/refresh.h"

#define OTHER "another-secret-of-32-characters-or-more"
#define CUT                                                                                        \
    "['1',null,'realtime:a','system',{'extension':'system','status':'ok','message':'Server "       \
    "requested disconnect'}]\n"

static char file[64];

/* The world with an INI file of these lines beside its environment. */
static void open_with(const char *const *settings, const char *lines)
{
    FILE *f;

    world_open(settings);
    if (lines != NULL) {
        (void)snprintf(file, sizeof file, "/tmp/realtime-test-keys.%d", (int)getpid());
        f = fopen(file, "we");
        assert_non_null(f);
        assert_true(fputs(lines, f) >= 0 && fclose(f) == 0);
        w.args.config_path = file;
        rt_projects_reload(w.e, true);
    }
}

static void reload(const char *lines)
{
    FILE *f = fopen(file, "we");

    assert_non_null(f);
    assert_true(fputs(lines, f) >= 0 && fclose(f) == 0);
    rt_projects_reload(w.e, true);
    settle();
}

static void close_with(void)
{
    world_close();
    (void)unlink(file);
}

static struct rt_channel *channel_of(struct rt_conn *c)
{
    return ((struct rt_socket *)c->user)->channels;
}

/* What a handshake is refused with. */
static int refused(const char *key)
{
    struct rt_conn *c = knock("vsn=2.0.0", key);
    int status = c->status;

    assert_false(c->upgraded);
    free(c);
    return status;
}

static struct rt_conn *joined_by(const char *key, const char *token)
{
    struct rt_conn *c = knock("vsn=2.0.0", key);
    char text[6000];

    assert_true(c->upgraded);
    rt_socket_opened(c->user);
    (void)snprintf(text, sizeof text, "['1','1','realtime:a','phx_join',{'config':{}%s%s%s}]",
                   token != NULL ? ",'access_token':'" : "", token != NULL ? token : "",
                   token != NULL ? "'" : "");
    send_text(c, text);
    assert_non_null(channel_of(c));
    (void)heard(c);
    return c;
}

static void push(struct rt_conn *c, const char *token)
{
    char text[6000];

    (void)snprintf(text, sizeof text, "['1','2','realtime:a','access_token',{'access_token':'%s'}]",
                   token);
    send_text(c, text);
}

/* As if the time had come that the channel waits for. */
static const char *due(struct rt_conn *c)
{
    struct rt_wheel_entry *timer = &channel_of(c)->timer;

    assert_true(rt_wheel_is_set(timer));
    timer->fn(timer);
    settle();
    return heard(c);
}

static void added_keys_cut_nobody(void **state)
{
    struct rt_conn *c = NULL;
    struct rt_conn *k = NULL;

    (void)state;
    open_with(NULL, "realtime_publishable_keys = sb_publishable_one\n");
    c = joined_by(token_of("anon", 1000), NULL);
    k = joined_by("sb_publishable_one", NULL);
    reload("realtime_publishable_keys = sb_publishable_two,sb_publishable_one\n"
           "realtime_jwt_jwks = {\"keys\":[{\"kty\":\"oct\",\"kid\":\"n\",\"k\":\"c2VjcmV0\"}]}\n");
    assert_int_equal(c->close_code, 0);
    assert_int_equal(k->close_code, 0);
    assert_string_equal(heard(c), "");
    assert_true(knock("vsn=2.0.0", "sb_publishable_two")->upgraded);
    close_with();
}

static void removed_keys_cut_their_own(void **state)
{
    struct rt_conn *jwt = NULL;
    struct rt_conn *one = NULL;
    struct rt_conn *two = NULL;

    (void)state;
    open_with(NULL, "realtime_publishable_keys = sb_publishable_one\n"
                    "realtime_secret_keys = sb_secret_two\n");
    jwt = joined_by(token_of("anon", 1000), NULL);
    one = joined_by("sb_publishable_one", NULL);
    two = joined_by("sb_secret_two", token_of("anon", 1000));
    reload("realtime_secret_keys = sb_secret_two\n");
    assert_int_equal(one->close_code, 1012);
    assert_string_equal(heard(one), CUT);
    assert_int_equal(jwt->close_code, 0);
    assert_int_equal(two->close_code, 0);
    assert_int_equal(refused("sb_publishable_one"), 401);
    reload("realtime_jwt_claims = {\"iss\":\"me\"}\nrealtime_secret_keys = sb_secret_two\n");
    assert_int_equal(jwt->close_code, 1012);
    assert_int_equal(two->close_code, 1012); /* its key stands, its channel does not */
    assert_string_equal(heard(two), CUT);
    close_with();
}

/* The secret stands in the environment here, so the environment changes. */
static void a_changed_secret_cuts_all(void **state)
{
    struct rt_conn *a = NULL;
    struct rt_conn *b = NULL;

    (void)state;
    open_with(NULL, NULL);
    a = joined_by(token_of("anon", 1000), NULL);
    b = joined_by(token_of("anon", 1000), token_of("authenticated", 1000));
    free(w.env[0]);
    w.env[0] = strdup("REALTIME_JWT_SECRET=" OTHER);
    rt_projects_reload(w.e, true);
    settle();
    assert_int_equal(a->close_code, 1012);
    assert_int_equal(b->close_code, 1012);
    assert_string_equal(heard(a), CUT);
    assert_int_equal(refused(token_of("anon", 1000)), 401);
    world_close();
}

static void bad_keys_change_nothing(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    open_with(NULL, "realtime_publishable_keys = sb_publishable_one\n");
    c = joined_by("sb_publishable_one", NULL);
    reload("realtime_publishable_keys\n");
    reload("realtime_jwt_jwks = {\"keys\":[{\"kty\":\"oct\",\"k\":\"\"}]}\n");
    (void)unlink(file);
    rt_projects_reload(w.e, true);
    assert_int_equal(c->close_code, 0);
    assert_true(knock("vsn=2.0.0", "sb_publishable_one")->upgraded);
    close_with();
}

static void told_before_the_end(void **state)
{
    static const char *const settings[] = {"REALTIME_TOKEN_WARN_MS=60000", NULL};
    struct rt_conn *c = NULL;
    const char *text = NULL;

    (void)state;
    world_open(settings);
    c = joined_by(token_of("anon", 1000), token_of("authenticated", 3600));
    assert_string_equal(due(c), ""); /* too early: nothing happens */
    channel_of(c)->token->exp_s = rt_refresh_now_s() + 50;
    text = due(c);
    assert_non_null(strstr(text, "['1',null,'realtime:a','system',{'extension':'system','status':"
                                 "'ok','message':'Token expires in "));
    assert_string_equal(due(c), ""); /* once */
    push(c, token_of("authenticated", 1800));
    assert_false(channel_of(c)->warned);
    assert_string_equal(heard(c), "");
    channel_of(c)->refreshed_ms = 0;
    push(c, token_of("authenticated", 50)); /* the client knows what it sends */
    assert_true(channel_of(c)->warned);
    assert_string_equal(due(c), "");
    world_close();
}

static void not_told_if_off_or_endless(void **state)
{
    static const char *const settings[] = {"REALTIME_TOKEN_WARN_MS=0",
                                           "REALTIME_PUBLISHABLE_KEYS=sb_publishable_x", NULL};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = joined_by(token_of("anon", 1000), token_of("authenticated", 3600));
    channel_of(c)->token->exp_s = rt_refresh_now_s() + 50;
    assert_string_equal(due(c), "");
    c = joined_by("sb_publishable_x", NULL);
    assert_false(rt_wheel_is_set(&channel_of(c)->timer));
    world_close();
}

static void grace(void **state)
{
    static const char *const settings[] = {"REALTIME_TOKEN_GRACE_MS=10000", NULL};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = joined_by(token_of("anon", 1000), token_of("authenticated", 3600));
    channel_of(c)->token->exp_s = rt_refresh_now_s() - 5;
    assert_string_equal(due(c), "");
    send_text(c, "['2','2','realtime:b','phx_join',{'config':{}}]"); /* the connection's token */
    assert_non_null(strstr(heard(c), "'status':'ok'"));
    ((struct rt_socket *)c->user)->token->exp_s = rt_refresh_now_s() - 5;
    send_text(c, "['3','3','realtime:c','phx_join',{'config':{}}]");
    assert_non_null(strstr(heard(c), "InvalidJWTToken: Token has expired "));
    send_text(c, "['2','4','realtime:b','phx_leave',{}]");
    (void)heard(c);
    channel_of(c)->token->exp_s = rt_refresh_now_s() - 11;
    assert_non_null(strstr(due(c), "'message':'Token has expired 1"));
    assert_null(channel_of(c));
    assert_int_equal(c->close_code, 0);
    world_close();
}

/* The first is taken at once, then the last of a second. */
static void the_last_one_wins(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = joined_by(token_of("anon", 1000), token_of("first", 1000));
    push(c, token_of("second", 1000));
    assert_true(pr_slice_is(channel_of(c)->token->role, "second"));
    push(c, token_of("third", 1000));
    push(c, token_of("fourth", 1000));
    assert_true(pr_slice_is(channel_of(c)->token->role, "second"));
    assert_string_equal(due(c), "");
    assert_true(pr_slice_is(channel_of(c)->token->role, "fourth"));
    push(c, token_of("fifth", 1000));
    push(c, token_of("fourth", 1000)); /* back to what counts: the fifth is not to come */
    assert_string_equal(due(c), "");
    assert_true(pr_slice_is(channel_of(c)->token->role, "fourth"));
    push(c, token_of("sixth", 1000));
    channel_of(c)->token->exp_s = rt_refresh_now_s() - 20; /* over before the second is */
    assert_string_equal(due(c), "");
    assert_true(pr_slice_is(channel_of(c)->token->role, "sixth"));
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_keys_cut_nobody),
        cmocka_unit_test(removed_keys_cut_their_own),
        cmocka_unit_test(a_changed_secret_cuts_all),
        cmocka_unit_test(bad_keys_change_nothing),
        cmocka_unit_test(told_before_the_end),
        cmocka_unit_test(not_told_if_off_or_endless),
        cmocka_unit_test(grace),
        cmocka_unit_test(the_last_one_wins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
