/* SPDX-License-Identifier: Apache-2.0 */
/* mesh_recode.h - any frame through its decoder and back; for test_mesh.c,
 * test_mesh_node.c, test_mesh_rights.c, test_mesh_cast.c and fuzz_mesh.c. */
#ifndef TESTS_MESH_RECODE_H
#define TESTS_MESH_RECODE_H

#include "proto/mesh_cast.h"
#include "proto/mesh_node.h"
#include "proto/mesh_rights.h"

#define RECODE(type, name) RECODE_AS(type, name, name)
/* For two types that share a struct. */
#define RECODE_AS(type, name, as)                                                                  \
    case type: {                                                                                   \
        struct pr_##as m;                                                                          \
        int rv = pr_##name##_decode(f, &m);                                                        \
        if (rv == PR_OK) {                                                                         \
            pr_##name##_encode(o, &m);                                                             \
        }                                                                                          \
        return rv;                                                                                 \
    }

static int mesh_recode_node(const struct pr_frame *f, struct pr_outbuf *o)
{
    switch (f->type) {
        RECODE(PR_T_NODE_HELLO, node_hello)
        RECODE(PR_T_NODE_HELLO_OK, node_hello_ok)
        RECODE(PR_T_PING, ping)
        RECODE_AS(PR_T_PONG, pong, ping)
        RECODE(PR_T_BYE, bye)
        RECODE(PR_T_MARK, mark)
        RECODE(PR_T_LINK_ACK, link_ack)
        RECODE(PR_T_SYNC_HASH, sync_hash)
        RECODE(PR_T_SYNC, sync)
        RECODE(PR_T_ACTORS, actors)
        RECODE(PR_T_CLUSTER, cluster)
        RECODE(PR_T_CLIENTS, clients)
        RECODE(PR_T_VIEW, view)
        RECODE(PR_T_SUB_ALL, sub_all)
        RECODE(PR_T_NOT_OWNER, not_owner)
        RECODE(PR_T_AGAIN, again)
        RECODE_AS(PR_T_AGAIN_OK, again_ok, again)
        RECODE(PR_T_RESYNC, resync)
        RECODE(PR_T_P_SUM, p_sum)
        RECODE(PR_T_READER, reader)
        RECODE(PR_T_RIGHTS_ASK, rights_ask)
        RECODE(PR_T_RIGHTS, rights)
        RECODE(PR_T_REPLAY_ASK, replay_ask)
        RECODE(PR_T_REPLAY, replay)
        RECODE(PR_T_STORE_ASK, store_ask)
        RECODE(PR_T_STORE, store)
    default:
        return PR_EVERSION;
    }
}

static int mesh_recode_presence(const struct pr_frame *f, struct pr_outbuf *o)
{
    switch (f->type) {
        RECODE(PR_T_P_DELTA, p_delta)
        RECODE(PR_T_P_DIGEST, p_digest)
        RECODE(PR_T_P_PULL, p_pull)
        RECODE(PR_T_P_VIEW_GET, p_view_get)
        RECODE(PR_T_P_VIEW, p_view)
        RECODE(PR_T_P_DIFF, p_diff)
    default:
        return mesh_recode_node(f, o);
    }
}

static int mesh_recode_changes(const struct pr_frame *f, struct pr_outbuf *o)
{
    switch (f->type) {
        RECODE(PR_T_CHG_REG, chg_reg)
        RECODE(PR_T_CHG_UNREG, chg_unreg)
        RECODE(PR_T_CHG_REG_OK, chg_reg_ok)
        RECODE(PR_T_CHG_SYNC, chg_sync)
        RECODE(PR_T_CHG_SYNCED, chg_synced)
        RECODE(PR_T_CHG_SYS, chg_sys)
        RECODE(PR_T_CHG_GONE, chg_gone)
        RECODE(PR_T_CHG, chg)
        RECODE(PR_T_CHG_OK, chg_ok)
        RECODE(PR_T_CAST, cast)
        RECODE(PR_T_CAST_OK, cast_ok)
    default:
        return mesh_recode_presence(f, o);
    }
}

/* Decodes f as its type and encodes that again into o; the error of the decoder. */
static int mesh_recode(const struct pr_frame *f, struct pr_outbuf *o)
{
    switch (f->type) {
        RECODE(PR_T_HELLO, hello)
        RECODE(PR_T_HELLO_OK, hello_ok)
        RECODE(PR_T_SUB, sub)
        RECODE(PR_T_SUB_OK, sub_ok)
        RECODE(PR_T_UNSUB, unsub)
        RECODE(PR_T_PUB, pub)
        RECODE(PR_T_PUB_OK, pub_ok)
        RECODE(PR_T_EVENT, event)
        RECODE(PR_T_CTL, ctl)
        RECODE(PR_T_CTL_REPLY, ctl_reply)
    case PR_T_ATTACHED: {
        int rv = pr_attached_decode(f);

        if (rv == PR_OK) {
            pr_attached_encode(o);
        }
        return rv;
    }
    default:
        return mesh_recode_changes(f, o);
    }
}

#undef RECODE
#undef RECODE_AS

#endif
