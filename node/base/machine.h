/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - what there is of the machine for this process, as containers limit it. */
#ifndef NODE_BASE_MACHINE_H
#define NODE_BASE_MACHINE_H

#include <stdint.h>

/* Cores that it may use, as taskset limits them too; 1 at least. */
uint32_t rt_machine_cores(void);
/* Bytes: physical memory, or less where a control group says so. Source: Linux kernel
 * documentation, "Control Group v2", memory.max, and "Memory Resource Controller",
 * memory.limit_in_bytes. 0: nobody says. */
uint64_t rt_machine_memory(void);

#endif
