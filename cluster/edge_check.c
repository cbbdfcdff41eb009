/* SPDX-License-Identifier: Apache-2.0 */
/* edge_check.c - what must hold of an edge's topics between any two calls; for tests. */
#include "cluster/edge_in.h"

static const char *check_one(const struct cle *c, const struct etopic *t)
{
    if ((t->refs == 0) != (t->list == LIST_UNSUB)) {
        return "a topic without members is not on its way out, or one with members is";
    }
    if (t->unanswered > 1) {
        return "two questions of one topic are under way";
    }
    if (t->waiting != (t->list == LIST_WAIT)) {
        return "a join waits without a deadline";
    }
    if (!cle_up(c) && (t->state != SUB_NONE || t->unanswered > 0 || t->views > 0 || t->due)) {
        return "a topic believes in an owner that is not there";
    }
    if (cle_up(c) && (t->full_due || t->reset_due) && !t->due) {
        return "something is due and not in the queue";
    }
    if (t->state == SUB_SENT && t->unanswered == 0) {
        return "a topic waits for an answer that cannot come";
    }
    return NULL;
}

static uint32_t queue_length(const struct cle *c, uint32_t limit)
{
    uint32_t n = 0;

    for (uint32_t i = c->due.head; i != NONE && n <= limit; i = cle_topic(c, i)->due_next) {
        n++;
    }
    return n;
}

bool cle_topics_check(const struct cle *c, const char **what)
{
    uint32_t count = 0;
    uint32_t due = 0;

    for (uint32_t i = 0; i < c->topics.top; i++) {
        const struct etopic *t = cle_topic(c, i);

        if (t->key == NULL) {
            continue;
        }
        count++;
        due += t->due;
        *what = check_one(c, t);
        if (*what == NULL && cle_topic_find(c, cle_topic_key(c, i)) != i) {
            *what = "a topic is not found by its key";
        }
        if (*what != NULL) {
            return false;
        }
    }
    if (count != c->topics.used || due != queue_length(c, due)) {
        *what = "the topics are counted wrongly";
        return false;
    }
    return true;
}
