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

void rt_keys_reload(struct rt_edge *e)
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
    } else {
        rt_log(e->log, RT_INFO, "reloaded", rt_kv_u("keys_changed", (uint64_t)rv));
    }
    for (struct rt_socket *s = e->sockets; rv == 1 && s != NULL; s = s->next) {
        disconnect(s);
    }
    rt_config_free(&fresh);
    rt_free(report);
}
