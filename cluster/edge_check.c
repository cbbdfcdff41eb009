/* SPDX-License-Identifier: Apache-2.0 */
/* edge_check.c - what must hold of an edge's topics and of what it publishes between any two calls;
 * for tests. */
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

static const char *check_held(const struct cle *c)
{
    uint32_t next = c->give_up.head;
    size_t bytes = 0, kept = 0;
    uint32_t count = 0;
    bool unsent = false;
    cl_ms last = 0;

    for (uint32_t i = c->held_list.head; i != NONE; i = cle_held(c, i)->next) {
        const struct held *h = cle_held(c, i);

        if (++count > c->held.used) {
            return "the list of held publishes is longer than their number";
        }
        if (h->oseq > c->oseq[h->part] || h->at < last || cle_held_find(c, h->part, h->oseq) != i) {
            return "a held publish is out of order";
        }
        if (!cle_held_is_kept(h) && next != i) {
            return "a held publish is not in the list of those that are given up";
        }
        next = cle_held_is_kept(h) ? next : h->later;
        unsent = unsent || c->unsent == i;
        bytes += h->len;
        kept += cle_held_is_kept(h) ? h->len : 0;
        last = h->at;
    }
    if (next != NONE) {
        return "the list of publishes that are given up has others";
    }
    if (bytes != c->held_bytes || count != c->held.used) {
        return "the held publishes are counted wrongly";
    }
    if (bytes - kept > CLE_HELD_BYTES_MAX) {
        return "more publishes are held than may be";
    }
    if ((c->unsent != NONE && !unsent) || (c->link == LINK_LIVE && c->unsent != NONE)) {
        return "a publish waits although the link is live";
    }
    return NULL;
}

bool cle_pub_check(const struct cle *c, const char **what)
{
    uint32_t publishers = 0;

    for (uint32_t i = 0; i < c->topics.top; i++) {
        const struct etopic *t = cle_topic(c, i);
        uint32_t n = 0;

        if (t->key == NULL) {
            continue;
        }
        for (uint32_t k = t->pub_head; k != NONE && n <= t->pub_count;
             k = cle_publisher(c, k)->next) {
            n++;
        }
        if (n != t->pub_count || n > CLE_PUBLISHERS_MAX) {
            *what = "the publishers of a topic are counted wrongly";
            return false;
        }
        publishers += n;
    }
    *what = publishers == c->publishers.used ? check_held(c) : "a publisher is lost";
    return *what == NULL;
}
