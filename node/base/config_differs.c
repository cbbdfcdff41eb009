/* SPDX-License-Identifier: Apache-2.0 */
/* config_differs.c - what has changed between two readings of the settings. */
#include <string.h>

#include "node/base/config_in.h"

static bool same_list(const struct rt_list *a, const struct rt_list *b)
{
    bool same = a->count == b->count;

    for (uint32_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->items[i], b->items[i]) == 0;
    }
    return same;
}

static bool same_value(const struct rt_config *a, const struct rt_config *b,
                       const struct setting *s)
{
    const void *x = (const char *)a + s->offset;
    const void *y = (const char *)b + s->offset;
    const char *text;
    const char *other;

    switch (s->kind) {
    case SET_TEXT:
    case SET_ONE:
        text = *(char *const *)x;
        other = *(char *const *)y;
        return text == NULL || other == NULL ? text == other : strcmp(text, other) == 0;
    case SET_LIST:
        return same_list(x, y);
    case SET_NUM:
        return *(const uint32_t *)x == *(const uint32_t *)y;
    case SET_FLAG:
        break;
    }
    return *(const bool *)x == *(const bool *)y;
}

/* db renders changes and broadcasts of SQL, so their sizes are for it too. The key of the cluster
 * is taken without a restart, by the owner. */
static bool is_part(uint32_t i, enum rt_config_part part)
{
    if (part == RT_PART_NODE) {
        return !rt_setting_of_project(i) && (int)i != rt_setting_find("REALTIME_CLUSTER_KEY");
    }
    return ((int)i >= rt_setting_find("REALTIME_DATABASE_URL") &&
            (int)i < rt_setting_find("REALTIME_LIMITS")) ||
           (int)i == rt_setting_find("REALTIME_MAX_RECORD_BYTES") ||
           (int)i == rt_setting_find("REALTIME_MAX_PAYLOAD_KB");
}

const char *rt_config_differs(const struct rt_config *a, const struct rt_config *b,
                              enum rt_config_part part)
{
    for (uint32_t i = 0; i < rt_setting_count; i++) {
        if (is_part(i, part) && !same_value(a, b, &rt_setting[i])) {
            return rt_setting[i].name;
        }
    }
    return NULL;
}
