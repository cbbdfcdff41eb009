/* SPDX-License-Identifier: Apache-2.0 */
/* realtimectl: asks a node over its control socket, through it all others, and prints the rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/ctl_doctor.h"
#include "cmd/ctl_explain.h"
#include "cmd/ctl_lists.h"
#include "cmd/ctl_members.h"
#include "cmd/ctl_status.h"
#include "cmd/ctl_token.h"
#include "cmd/ctl_topics.h"

static const char usage_text[] =
    "realtimectl [--socket PATH] [--json] [--local | --at NODE] [--project NAME] COMMAND\n"
    "\n"
    "  status                    processes of the nodes and their counters\n"
    "  members [--links] [--why NODE]\n"
    "                            nodes of the cluster; the links between them; who sees NODE how,\n"
    "                            and why\n"
    "  ring [TOPIC]              who orders how many partitions; who orders this topic\n"
    "  topics [--top N]          topics with clients; the N with most members\n"
    "  presence TOPIC [--digests]\n"
    "                            who is present in a topic; whether all nodes hold the same\n"
    "  connections               client sockets\n"
    "  channels                  channels joined by client sockets\n"
    "  slots                     who reads the WAL, and how far it is confirmed\n"
    "  events [-n N]             what happened to the cluster: members, links, owners, reader\n"
    "  doctor                    checks nodes, mesh, clocks, keys and database; says how to "
    "repair\n"
    "  explain TOPIC [SCHEMA.]TABLE [COLUMN=VALUE]... [--event INSERT|UPDATE|DELETE] [--conn ID]\n"
    "                            why clients of a topic get changes of a table, or of that row, or "
    "not\n"
    "  tail TOPIC                print the broadcasts of a topic as every node delivers them\n"
    "  sub TOPIC                 print the broadcasts of a topic until interrupted\n"
    "  pub TOPIC EVENT JSON      broadcast to a topic\n"
    "  token --role R [--sub S] [--exp D] [--kid K]\n"
    "                            mint a JWT with REALTIME_JWT_SECRET; D such as 90s, 12h, 365d\n"
    "\n"
    "  --socket PATH   control socket of the node; default $REALTIME_RUNTIME_DIR/control.sock, "
    "else\n"
    "                  /run/realtime/control.sock\n"
    "  --json          one JSON object per line instead of a table\n"
    "  --local         ask this node alone; else it asks all others too, and who does not answer "
    "is\n"
    "                  named on stderr\n"
    "  --at NODE       ask that node alone, through this one\n"
    "  --project NAME  the project that is meant, where there are several\n"
    "\n"
    "TOPIC is the name without realtime:. Exit code: 0 ok, 1 a problem was found, 2 usage.\n";

int rt_ctl_usage(const char *what, const char *arg)
{
    (void)fprintf(stderr, "realtimectl: %s%s%s\n\n%s", what, arg != NULL ? ": " : "",
                  arg != NULL ? arg : "", usage_text);
    return RT_CTL_USAGE;
}

static int connections(const struct rt_ctl *c, char **argv)
{
    return rt_ctl_list(c, "connections", argv);
}

static int channels(const struct rt_ctl *c, char **argv)
{
    return rt_ctl_list(c, "channels", argv);
}

static int stream(const struct rt_ctl *c, const char *cmd, char **argv)
{
    json_t *args;

    if (argv[0] == NULL || argv[1] != NULL) {
        return rt_ctl_usage("one TOPIC is needed", argv[0] != NULL ? argv[1] : NULL);
    }
    args = json_pack("{s:s}", "topic", argv[0]);
    return args == NULL ? rt_ctl_usage("not UTF-8", argv[0]) : rt_ctl_stream(c, cmd, args);
}

static int sub(const struct rt_ctl *c, char **argv)
{
    return stream(c, "sub", argv);
}

static int tail(const struct rt_ctl *c, char **argv)
{
    return stream(c, "tail", argv);
}

static int pub(const struct rt_ctl *c, char **argv)
{
    struct rt_rows rows;
    bool problem = false;
    json_t *payload, *args;

    for (int i = 0; i < 3; i++) {
        if (argv[i] == NULL) {
            return rt_ctl_usage("pub takes TOPIC, EVENT and JSON", NULL);
        }
    }
    if (argv[3] != NULL) {
        return rt_ctl_usage("pub takes TOPIC, EVENT and JSON", argv[3]);
    }
    payload = json_loads(argv[2], JSON_DECODE_ANY, NULL);
    if (payload == NULL) {
        return rt_ctl_usage("the payload is not JSON", argv[2]);
    }
    args = json_pack("{s:s, s:s, s:o}", "topic", argv[0], "event", argv[1], "payload", payload);
    if (args == NULL) {
        return rt_ctl_usage("not UTF-8", argv[0]);
    }
    rt_rows_init(&rows);
    if (rt_ctl_ask(c, "pub", args, &rows, &problem)) {
        rt_rows_print(&rows, c->json);
    }
    rt_rows_deinit(&rows);
    return problem ? RT_CTL_PROBLEM : RT_CTL_OK;
}

static const struct command {
    const char *name;
    int (*run)(const struct rt_ctl *c, char **argv);
} commands[] = {
    {"status", rt_ctl_status},
    {"members", rt_ctl_members},
    {"ring", rt_ctl_ring},
    {"topics", rt_ctl_topics},
    {"presence", rt_ctl_presence},
    {"connections", connections},
    {"channels", channels},
    {"slots", rt_ctl_slots},
    {"events", rt_ctl_events},
    {"doctor", rt_ctl_doctor},
    {"explain", rt_ctl_explain},
    {"tail", tail},
    {"sub", sub},
    {"pub", pub},
};

/* Takes what is for all commands out of the arguments, wherever it stands. False: a fault. */
static bool take_options(struct rt_ctl *c, char **argv)
{
    const char *value = NULL;

    c->json = rt_ctl_flag(argv, "--json");
    c->local = rt_ctl_flag(argv, "--local");
    if (rt_ctl_option(argv, "--socket", &value)) {
        c->socket_path = value;
        if (value == NULL) {
            return false;
        }
    }
    if (rt_ctl_option(argv, "--project", &c->project) && c->project == NULL) {
        return false;
    }
    return !rt_ctl_option(argv, "--at", &c->at) || (c->at != NULL && !c->local);
}

int main(int argc, char **argv)
{
    const char *dir = getenv("REALTIME_RUNTIME_DIR");
    char path[512];
    struct rt_ctl c = {.socket_path = path};

    (void)snprintf(path, sizeof path, "%s/control.sock", dir != NULL ? dir : "/run/realtime");
    argv += argc > 0 ? 1 : 0;
    if (argv[0] != NULL && strcmp(argv[0], "token") == 0) {
        return rt_ctl_token(argv + 1);
    }
    if (rt_ctl_flag(argv, "--help") || rt_ctl_flag(argv, "-h")) {
        (void)fputs(usage_text, stdout);
        return RT_CTL_OK;
    }
    if (!take_options(&c, argv)) {
        return rt_ctl_usage("an option lacks its value, or --at and --local exclude each other",
                            NULL);
    }
    if (argv[0] == NULL) {
        return rt_ctl_usage("no command given", NULL);
    }
    if (strcmp(argv[0], "token") == 0) {
        return rt_ctl_token(argv + 1);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[0], commands[i].name) == 0) {
            return commands[i].run(&c, argv + 1);
        }
    }
    return rt_ctl_usage(argv[0][0] == '-' ? "unknown option" : "unknown command", argv[0]);
}
