/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/args.h"

#include <string.h>

/* Largest number in an argument: pids and descriptors stay below. */
#define NUMBER_MAX 100000000

/* Decimal, or -1. False: something else. */
static bool number(const char *text, int *out)
{
    int n = 0;

    if (strcmp(text, "-1") == 0) {
        *out = -1;
        return true;
    }
    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || n > NUMBER_MAX / 10) {
            return false;
        }
        n = n * 10 + (*text - '0');
    }
    *out = n;
    return true;
}

static const char *role_option(struct rt_args *a, const char *name, const char *value)
{
    struct {
        const char *name;
        int *place;
    } numbers[] = {{"--parent", &a->parent},
                   {"--listen-fd", &a->listen_fd},
                   {"--admin-fd", &a->admin_fd},
                   {"--heart-fd", &a->heart_fd}};
    int n;

    if (strcmp(name, "--role") == 0) {
        a->has_role = true;
        return rt_role_parse(value, &a->role) && a->role != RT_SUPERVISOR
                   ? NULL
                   : "--role must be owner, db or edge";
    }
    if (strcmp(name, "--project") == 0) {
        a->project = value;
        return NULL;
    }
    if (!number(value, &n)) {
        return "an option needs a number";
    }
    if (strcmp(name, "--index") == 0) {
        a->index = (uint32_t)n;
        return n >= 0 && (uint32_t)n < RT_EDGES_MAX ? NULL : "--index is not that of a process";
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].place = n;
            return NULL;
        }
    }
    return "unknown option";
}

const char *rt_args_parse(struct rt_args *a, int argc, char **argv)
{
    memset(a, 0, sizeof *a);
    a->listen_fd = -1;
    a->admin_fd = -1;
    a->heart_fd = -1;
    for (int i = 1; i < argc; i++) {
        const char *fault = NULL;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            a->help = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            a->version = true;
        } else if (strcmp(argv[i], "--check") == 0) {
            a->check = true;
        } else if (argv[i][0] != '-') {
            return "arguments are options only; settings come from the environment or --config";
        } else if (i + 1 == argc) {
            return "unknown option, or its value is missing";
        } else if (strcmp(argv[i], "--config") == 0) {
            a->config = argv[++i];
        } else {
            fault = role_option(a, argv[i], argv[i + 1]);
            i++;
        }
        if (fault != NULL) {
            return fault;
        }
    }
    return NULL;
}
