/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_token.h - `realtimectl token`: mints a key with the project's HS256 secret. */
#ifndef CMD_CTL_TOKEN_H
#define CMD_CTL_TOKEN_H

/* Arguments behind the word `token`, ended by NULL. Returns the exit code. */
int rt_ctl_token(char **argv);

#endif
