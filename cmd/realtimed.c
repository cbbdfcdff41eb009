/* SPDX-License-Identifier: Apache-2.0 */
/*
 * realtimed: the server. Without a role it is the supervisor of a node, which starts this same
 * program once per role.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cmd/args.h"
#include "node/base/alloc.h"
#include "node/base/config.h"
#include "node/db/db.h"
#include "node/edge/edge.h"
#include "node/owner/owner.h"
#include "node/supervisor/supervisor.h"

/* Exit codes: 0 ended as told, 1 could not go on, 2 wrong arguments or settings. */
enum { EXIT_ENDED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

extern char **environ;

static void print_help(void)
{
    (void)puts("realtimed [--config FILE] [--check | --help | --version]\n"
               "\n"
               "  --config FILE   INI file with the settings below in lower case; the environment\n"
               "                  goes before it\n"
               "  --check         read and check the settings, print them, say what is wrong\n"
               "\n"
               "Settings:\n");
    rt_config_help(stdout);
}

static void print_report(const struct rt_config_report *report)
{
    for (uint32_t i = 0; i < report->count; i++) {
        (void)fprintf(stderr, "realtimed: %s: %s\n", report->notes[i].fatal ? "error" : "warning",
                      report->notes[i].text);
    }
}

/* A child must not outlive its supervisor: its successor would meet the address and the sockets. */
static bool die_with_parent(int parent)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && (parent == 0 || getppid() == parent);
}

/* The settings that a role works with; NULL: its project is gone from them. */
static const struct rt_config *settings_of(const struct rt_config *cfg, const struct rt_args *a)
{
    return a->role == RT_DB ? rt_config_project(cfg, pr_str(a->project == NULL ? "" : a->project))
                            : cfg;
}

static void process_name(const struct rt_config *cfg, const struct rt_args *a, char *out,
                         size_t cap)
{
    if (a->role == RT_EDGE) {
        (void)snprintf(out, cap, "edge.%u", a->index);
    } else if (a->role == RT_DB && cfg->sections) {
        (void)snprintf(out, cap, "db.%s", a->project);
    } else {
        (void)snprintf(out, cap, "%s", rt_role_name(a->role));
    }
}

static int run_role(const struct rt_config *cfg, const struct rt_args *a)
{
    const struct rt_config *own = settings_of(cfg, a);
    struct rt_metrics metrics = {0};
    struct rt_error err = {0};
    struct rt_role_args args = {.role = a->role,
                                .index = a->index,
                                .listen_fd = a->listen_fd,
                                .admin_fd = a->admin_fd,
                                .heart_fd = a->heart_fd,
                                .env = environ,
                                .config_path = a->config,
                                .metrics = &metrics};
    char proc[8 + RT_PROJECT_NAME_MAX];
    int code = EXIT_FAILED;

    if (!die_with_parent(a->parent) || own == NULL) {
        return EXIT_FAILED;
    }
    process_name(cfg, a, proc, sizeof proc);
    args.log = rt_log_new(STDERR_FILENO, rt_config_log_level(cfg), cfg->node, proc);
    while (args.boot == 0) {
        rt_random(&args.boot, sizeof args.boot);
    }
    if (rt_metrics_open(&metrics, cfg->runtime_dir, a->role, a->index, &err) != 0) {
        rt_log(args.log, RT_ERROR, "cannot_start", rt_kv_s("err", err.text));
        rt_log_free(args.log);
        return EXIT_FAILED;
    }
    if (a->role == RT_DB && cfg->sections) {
        rt_metrics_of_project(&metrics, own->project);
    }
    switch (a->role) {
    case RT_OWNER:
        code = rt_owner_main(own, &args);
        break;
    case RT_DB:
        code = rt_db_main(own, &args);
        break;
    case RT_EDGE:
        code = rt_edge_main(own, &args);
        break;
    case RT_SUPERVISOR:
        break; /* refused by rt_args_parse */
    }
    rt_metrics_close(&metrics);
    rt_log_free(args.log);
    return code;
}

static int run_supervisor(const struct rt_config *cfg, const struct rt_args *a)
{
    struct rt_log *log =
        rt_log_new(STDERR_FILENO, rt_config_log_level(cfg), cfg->node, "supervisor");
    int code = rt_supervisor_main(cfg, a->config, log);

    rt_log_free(log);
    return code;
}

int main(int argc, char **argv)
{
    struct rt_args a;
    struct rt_config cfg;
    struct rt_config_report report = {0};
    const char *fault = rt_args_parse(&a, argc, argv);
    int code;

    if (fault != NULL) {
        (void)fprintf(stderr, "realtimed: %s; see realtimed --help\n", fault);
        return EXIT_USAGE;
    }
    if (a.help) {
        print_help();
        return EXIT_ENDED;
    }
    if (a.version) {
        (void)puts("realtimed " RT_VERSION);
        return EXIT_ENDED;
    }
    if (rt_config_load(&cfg, environ, a.config, &report) != 0) {
        print_report(&report);
        code = EXIT_USAGE;
    } else if (a.check) {
        print_report(&report);
        rt_config_print(&cfg, stdout);
        code = EXIT_ENDED;
    } else if (a.has_role) {
        code = run_role(&cfg, &a);
    } else {
        print_report(&report);
        code = run_supervisor(&cfg, &a);
    }
    rt_config_free(&cfg);
    return code;
}
