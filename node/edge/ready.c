/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/ready.h"

#include <stddef.h>
#include <string.h>

#include "node/edge/channel.h"
#include "node/edge/projects.h"
#include "node/edge/say.h"

/* A channel that waits; it may have ended meanwhile. */
struct rt_ready {
    struct rt_ready *next, *prev;
    struct rt_project *project;
    uint64_t channel;
    struct rt_wheel_entry timer;
};

/* Ends the waiting. Gives its channel, NULL if that has ended. */
static struct rt_channel *end(struct rt_ready *r)
{
    struct rt_edge *e = r->project->edge;
    struct rt_channel *ch = rt_slots_get(&e->channels, r->channel);

    if (r->next != NULL) {
        r->next->prev = r->prev;
    }
    if (r->prev != NULL) {
        r->prev->next = r->next;
    } else {
        r->project->ready = r->next;
    }
    rt_wheel_clear(&e->wheel, &r->timer);
    rt_free(r);
    return ch;
}

static void say(struct rt_channel *ch)
{
    struct rt_system sys = {
        .extension = "system", .ok = true, .message = pr_str("Replication connection established")};

    rt_say_system(ch, &sys);
}

static void too_late(struct rt_wheel_entry *timer)
{
    struct rt_ready *r =
        (struct rt_ready *)(void *)((char *)timer - offsetof(struct rt_ready, timer));
    struct rt_edge *e = r->project->edge;
    struct rt_channel *ch = end(r);

    e->now_ms = rt_now_ms(e->loop);
    if (ch != NULL) {
        rt_channel_shut(ch, pr_str("Replication connection was not established in time"), false);
    }
}

void rt_ready_joined(struct rt_channel *ch)
{
    struct rt_project *project = ch->socket->project;
    struct rt_edge *e = project->edge;
    struct rt_ready *r = NULL;

    if (project->replicating) {
        say(ch);
        return;
    }
    r = rt_calloc(1, sizeof *r);
    r->project = project;
    r->channel = ch->id;
    r->next = project->ready;
    if (r->next != NULL) {
        r->next->prev = r;
    }
    project->ready = r;
    rt_wheel_set(&e->wheel, &r->timer, too_late, e->now_ms, RT_READY_MS);
}

/* Another node knows the project already: it is not said again when it comes here. */
static void note_foreign(struct rt_edge *e, struct pr_slice name, bool flows)
{
    uint32_t i = 0;

    while (i < e->nforeign && !pr_slice_is(name, e->foreign[i])) {
        i++;
    }
    if (flows && i == e->nforeign && i < RT_PROJECTS_MAX && name.n <= RT_PROJECT_NAME_MAX) {
        memcpy(e->foreign[i], name.p, name.n);
        e->foreign[i][name.n] = '\0';
        e->nforeign++;
    } else if (!flows && i < e->nforeign) {
        e->nforeign--;
        memcpy(e->foreign[i], e->foreign[e->nforeign], sizeof e->foreign[i]);
    }
}

void rt_ready_begin(struct rt_project *project)
{
    for (uint32_t i = 0; i < project->edge->nforeign; i++) {
        if (strcmp(project->edge->foreign[i], project->cfg->project) == 0) {
            project->replicating = true;
            project->late = true;
            note_foreign(project->edge, pr_str(project->cfg->project), false);
            return;
        }
    }
}

void rt_ready_leave(struct rt_project *project)
{
    note_foreign(project->edge, pr_str(project->cfg->project), project->replicating);
}

int rt_ready_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_project *project;
    struct pr_reader m;
    int rv = pr_reader_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    project = rt_project_of(e, m.project);
    if (project == NULL) {
        note_foreign(e, m.project, m.state == PR_READER_HELD && m.casts != 0);
        return PR_OK;
    }
    project->replicating = m.state == PR_READER_HELD && m.casts != 0;
    while (project->replicating && project->ready != NULL) {
        struct rt_channel *ch = end(project->ready);

        if (ch != NULL) {
            say(ch);
        }
    }
    return PR_OK;
}

void rt_ready_unknown(struct rt_edge *e)
{
    e->nforeign = 0;
    for (uint32_t i = 0; i < e->nprojects; i++) {
        e->projects[i]->replicating = false;
    }
}

void rt_ready_free(struct rt_project *project)
{
    while (project->ready != NULL) {
        (void)end(project->ready);
    }
}
