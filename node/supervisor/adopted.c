/* SPDX-License-Identifier: Apache-2.0 */
/* adopted.c - processes that pid 1 of a container inherits. */
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/supervisor/supervisor_in.h"

/* Per look; what is left is met by the next one. */
#define REAP_MAX 64

static bool is_child(const struct supervisor *s, pid_t pid)
{
    for (uint32_t i = 0; i < s->nchildren; i++) {
        if (s->child[i].running && s->child[i].process.pid == pid) {
            return true;
        }
    }
    return false;
}

void rt_reap_adopted(const struct supervisor *s)
{
    if (getpid() != 1) {
        return;
    }
    for (int i = 0; i < REAP_MAX; i++) {
        siginfo_t ended = {.si_pid = 0};

        /* Only looks: libuv waits for our own children by pid and must find them. */
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0 ||
            is_child(s, ended.si_pid)) {
            return;
        }
        (void)waitpid(ended.si_pid, NULL, WNOHANG);
    }
}
