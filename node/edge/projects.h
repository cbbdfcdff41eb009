/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projects.h - the projects that this edge serves, and the settings as they are now.
 *
 * Each has its own keys, limits, registrations and broadcasts of its database; topics are told
 * apart by their keys. What all share is the connection to the owner, the table of topics and the
 * memory bounds of the process.
 *
 * When the settings are read again a project of the same name goes on with what it has; one that is
 * gone from them has its clients closed, and lives until the last of them has ended.
 */
#ifndef NODE_EDGE_PROJECTS_H
#define NODE_EDGE_PROJECTS_H

#include "node/edge/edge_in.h"

/* Makes those of the settings. -1 with *why (authorize.h). */
int rt_projects_start(struct rt_edge *e, const char **why);
/* Sockets, requests and topics are gone. */
void rt_projects_free(struct rt_edge *e);
/* Reads the settings again. `asked`: by a signal, so it is told also if nothing changed. Settings
 * that are not valid change nothing. */
void rt_projects_reload(struct rt_edge *e, bool asked);

/* NULL: there is none of that name. */
struct rt_project *rt_project_of(const struct rt_edge *e, struct pr_slice name);
/* The one that a Host header means (rt_config_host), NULL: none. */
struct rt_project *rt_project_host(const struct rt_edge *e, struct pr_slice host);
struct rt_project *rt_project_by_id(const struct rt_edge *e, uint32_t id);
/* Gives a reference (refs) back. */
void rt_project_unref(struct rt_project *project);
/* All names with blanks between, for a log; cut to cap - 1 bytes. */
void rt_projects_names(const struct rt_edge *e, char *out, size_t cap);
/* Of the project's db process on this node. */
uint64_t rt_project_metric(const struct rt_project *project, enum rt_metric id);
/* Sums over all projects. */
struct rt_auth_stats rt_projects_auth_stats(const struct rt_edge *e);

#endif
