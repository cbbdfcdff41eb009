/* SPDX-License-Identifier: Apache-2.0 */
/* link.c - the owner: registrations and acknowledgements in, changes and verdicts out. */
#include <string.h>

#include "node/db/db_in.h"
#include "proto/mesh_node.h"

/* Reconnecting to the owner: it is back within 50 ms after a crash. */
#define RETRY_FIRST_MS 20u
#define RETRY_MAX_MS   500u
/* Edges answer CHG_SYNC as fast as they are read. When nothing more came for so long, the rest of
 * them hang and are not waited for; neither are those that tell for ever. */
#define SYNC_MS     5000u
#define SYNC_ALL_MS 30000u

static void try_connect(void *ctx);

/* Frames that were on their way are lost: they are read again, from what is confirmed, by whoever
 * the owner says. Registrations stay, since it will most likely be this process. */
static void lost(struct rt_db *d)
{
    d->owner = NULL;
    d->owner_up = false;
    d->elected = false;
    rt_stream_drop(d);
    rt_desk_forget(d);
}

/* At the end of the turn: whoever sent is still walking what a drop of the stream frees. */
static void do_cut(void *ctx)
{
    struct rt_db *d = ctx;

    if (d->owner != NULL) {
        rt_log_plain(d->log, RT_WARN, "owner_link_full");
        rt_ipc_close(d->owner);
        lost(d);
        rt_desk_unheard(d); /* this owner lives on, and with him edges that did not hear it */
        rt_timer_set(&d->owner_retry, RETRY_FIRST_MS);
    }
}

void rt_db_link_send(struct rt_db *d, struct pr_slice frames)
{
    if (d->owner != NULL && !d->owner_cut.waiting && !rt_ipc_send(d->owner, frames)) {
        rt_loop_defer(d->loop, &d->owner_cut, do_cut, d);
    }
}

/* Room for a verdict: the fixed part and its texts. */
static void send_sized(struct rt_db *d, void (*put)(struct pr_outbuf *, const void *),
                       const void *m)
{
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf o;
    uint8_t *bytes;

    put(&size, m);
    bytes = rt_malloc(size.len);
    o = pr_outbuf(bytes, size.len);
    put(&o, m);
    rt_db_link_send(d, pr_bytes(o.p, o.len));
    rt_free(bytes);
}

static void put_reg_ok(struct pr_outbuf *o, const void *m)
{
    pr_chg_reg_ok_encode(o, m);
}

static void put_sys(struct pr_outbuf *o, const void *m)
{
    pr_chg_sys_encode(o, m);
}

static void put_sync(struct pr_outbuf *o, const void *m)
{
    pr_chg_sync_encode(o, m);
}

static void put_reader(struct pr_outbuf *o, const void *m)
{
    pr_reader_encode(o, m);
}

static void put_hello(struct pr_outbuf *o, const void *m)
{
    pr_hello_encode(o, m);
}

void rt_db_link_reg_ok(struct rt_db *d, const struct pr_chg_reg *reg, enum pr_chg_status status,
                       const char *message)
{
    struct pr_chg_reg_ok m = {.project = pr_str(d->cfg->project),
                              .boot = reg->boot,
                              .handle = reg->handle,
                              .status = status,
                              .message = pr_str(message),
                              .life = reg->life};

    if (m.message.n > PR_TEXT_MAX) {
        m.message.n = PR_TEXT_MAX;
    }
    send_sized(d, put_reg_ok, &m);
}

void rt_db_link_sys_to(struct rt_db *d, uint64_t boot, uint32_t handle, const char *message)
{
    struct pr_chg_sys m = {.project = pr_str(d->cfg->project),
                           .boot = boot,
                           .handle = handle,
                           .message = pr_str(message)};

    send_sized(d, put_sys, &m);
}

void rt_db_link_sys(struct rt_db *d, uint64_t boot, const char *message)
{
    rt_db_link_sys_to(d, boot, 0, message);
}

/* Changes may follow: the owner, and through it all, know whose they are. */
void rt_db_link_held(struct rt_db *d, uint64_t lsn)
{
    struct pr_reader m = {.project = pr_str(d->cfg->project),
                          .term_timeline = d->stream.timeline,
                          .term_lsn = lsn,
                          .node = d->node,
                          .state = PR_READER_HELD,
                          .system = d->stream.system,
                          .casts = d->stream.casts};

    send_sized(d, put_reader, &m);
}

void rt_db_link_sync_check(struct rt_db *d)
{
    uint64_t now = rt_now_ms(d->loop);

    if (!d->elected || d->synced) {
        return;
    }
    if ((d->known && rt_boots_answered(d)) || now - d->sync_heard_ms >= SYNC_MS ||
        now - d->sync_ms >= SYNC_ALL_MS) {
        d->synced = true;
        d->synced_ms = now;
        rt_boots_drop_unanswered(d);
        rt_stream_kick(d);
    }
}

/* Of the running round: it has told all. Of round 0, by the owner: it lives. */
static void on_synced(struct rt_db *d, const struct pr_frame *f)
{
    struct pr_chg_synced m;
    struct rt_boot *b;

    if (pr_chg_synced_decode(f, &m) != PR_OK) {
        return;
    }
    b = rt_boots_add(d, m.boot);
    if (b != NULL && m.round == d->round) {
        b->round = m.round;
        d->sync_heard_ms = rt_now_ms(d->loop);
    }
    rt_db_link_sync_check(d);
}

static void on_ok(struct rt_db *d, const struct pr_frame *f)
{
    struct pr_chg_ok m;

    if (pr_chg_ok_decode(f, &m) == PR_OK && m.stream == d->stream.id) {
        rt_boots_ack(d, m.boot, m.pos); /* of an earlier stream: nothing waits for it */
    }
}

static void on_cast_ok(struct rt_db *d, const struct pr_frame *f)
{
    struct pr_cast_ok m;

    if (pr_cast_ok_decode(f, &m) == PR_OK && m.stream == d->stream.id) {
        rt_messages_acked(d, m.pos);
    }
}

static void on_reg(struct rt_db *d, const struct pr_frame *f)
{
    struct pr_chg_reg m;

    if (pr_chg_reg_decode(f, &m) == PR_OK) {
        d->sync_heard_ms = rt_now_ms(d->loop);
        rt_db_regs_add(d, &m);
    }
}

static void on_start(struct rt_db *d, uint64_t node)
{
    struct pr_chg_sync m = {.project = pr_str(d->cfg->project)};

    if (d->elected) { /* what was sent may be lost: from the confirmed position again */
        if (d->stream.state == RT_STREAM_ON) {
            rt_stream_drop(d);
            rt_stream_kick(d);
        }
        return; /* else it begins there anyway */
    }
    d->elected = true;
    d->node = node;
    d->round++;
    d->known = false;
    d->synced = false;
    d->sync_ms = rt_now_ms(d->loop);
    d->sync_heard_ms = d->sync_ms;
    d->stream.down_since_ms = d->sync_ms;
    m.round = d->round;
    rt_log_plain(d->log, RT_INFO, "changes_elected");
    send_sized(d, put_sync, &m);
}

static void on_stop(struct rt_db *d)
{
    if (d->elected) {
        d->elected = false;
        rt_log_plain(d->log, RT_INFO, "changes_standby");
        rt_stream_stop(d);
    }
    rt_boots_clear(d);
}

static void on_reader(struct rt_db *d, const struct pr_frame *f)
{
    struct pr_reader m;

    if (pr_reader_decode(f, &m) != PR_OK) {
        return;
    }
    if (m.state == PR_READER_START) {
        on_start(d, m.node);
    } else if (m.state == PR_READER_STOP) {
        on_stop(d);
    } else if (m.state == PR_READER_KNOWN) {
        d->known = true;
        rt_db_link_sync_check(d);
    }
}

static void on_frame(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    struct rt_db *d = ctx;
    struct pr_chg_unreg unreg;
    struct pr_chg_gone gone;
    struct pr_rights_ask ask;
    struct pr_replay_ask replay;
    struct pr_store_ask store;

    (void)ipc;
    switch (f->type) {
    case PR_T_HELLO_OK:
        d->owner_up = true; /* READER follows */
        d->owner_tries = 0;
        rt_log_plain(d->log, RT_INFO, "owner_attached");
        break;
    case PR_T_READER:
        on_reader(d, f);
        break;
    case PR_T_CHG_REG:
        on_reg(d, f);
        break;
    case PR_T_CHG_UNREG:
        if (pr_chg_unreg_decode(f, &unreg) == PR_OK) {
            rt_db_regs_remove(d, unreg.boot, unreg.handle);
        }
        break;
    case PR_T_CHG_SYNCED:
        on_synced(d, f);
        break;
    case PR_T_CHG_OK:
        on_ok(d, f);
        break;
    case PR_T_CAST_OK:
        on_cast_ok(d, f);
        break;
    case PR_T_CHG_GONE:
        if (pr_chg_gone_decode(f, &gone) == PR_OK) {
            rt_boots_forget(d, gone.boot);
        }
        break;
    case PR_T_RIGHTS_ASK:
        if (pr_rights_ask_decode(f, &ask) == PR_OK) {
            rt_desk_ask(d, &ask);
        }
        break;
    case PR_T_REPLAY_ASK:
        if (pr_replay_ask_decode(f, &replay) == PR_OK) {
            rt_desk_replay(d, &replay);
        }
        break;
    case PR_T_STORE_ASK:
        if (pr_store_ask_decode(f, &store) == PR_OK) {
            rt_desk_store(d, &store);
        }
        break;
    case PR_T_CTL:
        rt_db_on_ctl(d, f);
        break;
    default:
        rt_log(d->log, RT_WARN, "unexpected_frame", rt_kv_u("type", f->type));
        break;
    }
}

static void retry_later(struct rt_db *d)
{
    uint64_t ms = RETRY_FIRST_MS;

    for (uint32_t i = 0; i < d->owner_tries && ms < RETRY_MAX_MS; i++) {
        ms *= 2;
    }
    d->owner_tries++;
    rt_timer_set(&d->owner_retry, ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
}

static void on_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    struct rt_db *d = ctx;

    (void)ipc;
    rt_log(d->log, RT_INFO, "owner_gone", rt_kv_s("err", why));
    lost(d);
    retry_later(d);
}

static void try_connect(void *ctx)
{
    static const struct rt_ipc_events events = {.on_frame = on_frame, .on_down = on_down};
    struct rt_db *d = ctx;
    struct pr_hello hello = {.proto_min = PR_PROTO_MIN,
                             .proto_max = PR_PROTO_MAX,
                             .role = PR_ROLE_DB,
                             .index = d->args->index,
                             .boot = d->args->boot,
                             .project = pr_str(d->cfg->project)};
    char path[256];

    if (rt_config_path(d->cfg, "owner.sock", path, sizeof path) != 0) {
        return; /* refused by the supervisor already */
    }
    d->owner = rt_ipc_connect(d->loop, path, &events, d);
    if (d->owner == NULL) {
        retry_later(d);
    } else {
        send_sized(d, put_hello, &hello);
    }
}

void rt_db_link_init(struct rt_db *d)
{
    rt_random(&d->round, sizeof d->round);
    rt_timer_init(d->loop, &d->owner_retry, try_connect, d);
    try_connect(d);
}

void rt_db_link_free(struct rt_db *d)
{
    rt_loop_undefer(d->loop, &d->owner_cut);
    if (d->owner != NULL) {
        rt_ipc_close(d->owner);
    }
    rt_timer_close(&d->owner_retry, NULL);
}
