/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/keys.h"

#include "node/edge/say.h"
#include "node/edge/socket.h"

static void disconnect(struct rt_socket *s)
{
    struct rt_system sys = {.extension = "system",
                            .ok = true,
                            .message = pr_str("Server requested disconnect"),
                            .bare = true};

    for (struct rt_channel *ch = s->channels; ch != NULL; ch = ch->next) {
        rt_say_system(ch, &sys);
    }
    rt_socket_close(s, 1012, "keys changed");
}

/* Is the socket there by keys of now, with all its channels? */
static bool stands(struct rt_socket *s)
{
    struct rt_auth *a = s->edge->auth;
    struct pr_jwt detail;
    bool yes = rt_auth_holds(a, s->token, &detail) == PR_JWT_OK;

    for (struct rt_channel *ch = s->channels; yes && ch != NULL; ch = ch->next) {
        yes = rt_auth_holds(a, ch->token, &detail) == PR_JWT_OK;
    }
    return yes;
}

static uint64_t disconnect_all(struct rt_edge *e)
{
    uint64_t n = 0;

    for (struct rt_socket *s = e->sockets; s != NULL; s = s->next) {
        if (s->close_code == 0 && !stands(s)) {
            disconnect(s);
            n++;
        }
    }
    return n;
}

/* `asked`: by a signal, so it is told also if nothing changed. */
static void reload(struct rt_edge *e, bool asked)
{
    struct rt_config_report *report = rt_calloc(1, sizeof *report);
    struct rt_config fresh;
    const char *why = "the settings are not valid any more";
    int rv = -1;

    if (rt_config_load(&fresh, e->args->env, e->args->config_path, report) == RT_OK) {
        rv = rt_auth_reload(e->auth, &fresh, &why);
    } else if (report->count > 0) {
        why = report->notes[0].text;
    }
    if (rv < 0) {
        rt_log(e->log, RT_ERROR, "reload_refused", rt_kv_s("err", why),
               rt_kv_s("hint", "the keys before stay in use"));
    } else if (rv == 1 || asked) {
        uint64_t closed = rv == 1 ? disconnect_all(e) : 0;

        rt_log(e->log, RT_INFO, "reloaded", rt_kv_u("keys_changed", (uint64_t)rv),
               rt_kv_u("closed", closed));
    }
    rt_config_free(&fresh);
    rt_free(report);
}

void rt_keys_reload(struct rt_edge *e)
{
    reload(e, true);
}

static void arm(struct rt_edge *e)
{
    if (e->cfg->keys_recheck_s > 0) {
        rt_timer_set(&e->keys, (uint64_t)e->cfg->keys_recheck_s * 1000);
    }
}

static void again_due(void *ctx)
{
    struct rt_edge *e = ctx;

    e->now_ms = rt_now_ms(e->loop);
    reload(e, false);
    arm(e);
}

void rt_keys_start(struct rt_edge *e)
{
    rt_timer_init(e->loop, &e->keys, again_due, e);
    arm(e);
}

void rt_keys_stop(struct rt_edge *e)
{
    rt_timer_close(&e->keys, NULL);
}
