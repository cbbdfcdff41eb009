/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/machine.h"

#include <ctype.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

uint32_t rt_machine_cores(void)
{
    cpu_set_t set;
    int n = 1;

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        n = CPU_COUNT(&set);
    }
    return n < 1 ? 1 : (uint32_t)n;
}

/* A number of bytes in a file; "max" and what is not there are no bound. */
static uint64_t bound_in(const char *path)
{
    FILE *f = fopen(path, "re");
    uint64_t bytes = 0;
    int c = f == NULL ? EOF : fgetc(f);
    bool any = isdigit(c);

    for (; isdigit(c) && bytes < UINT64_MAX / 20; c = fgetc(f)) {
        bytes = bytes * 10 + (uint64_t)(c - '0');
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return any ? bytes : UINT64_MAX;
}

uint64_t rt_machine_memory(void)
{
    /* In a container its own group is the root of what it sees. */
    static const char *const bounds[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    long pages = sysconf(_SC_PHYS_PAGES);
    long size = sysconf(_SC_PAGESIZE);
    uint64_t memory = pages < 0 || size < 0 ? 0 : (uint64_t)pages * (uint64_t)size;

    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        uint64_t bound = bound_in(bounds[i]);

        memory = bound < memory ? bound : memory;
    }
    return memory;
}
