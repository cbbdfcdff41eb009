/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/join.h"

#include <string.h>

#include "proto/mesh.h"

static const char BOOLEAN[] = "a boolean";
static const char STRING[] = "a string";
static const char OBJECT[] = "an object";
static const char INTEGER[] = "an integer";

static void note_bad(struct pr_join *j, const char *field, const char *want)
{
    if (j->nbad < PR_JOIN_BAD_MAX) {
        j->bad[j->nbad].field = field;
        j->bad[j->nbad].want = want;
        j->nbad++;
    }
}

/* Absent, or null, which counts as that. */
static bool is_absent(const struct pr_json *v)
{
    return v->raw.n == 0 || v->type == PR_JSON_NULL;
}

/* False: a wrong type. *out stays what it is if the value is absent or wrong. */
static bool take_bool(const struct pr_json *v, bool *out)
{
    bool is_true = v->type == PR_JSON_TRUE;
    bool is_false = v->type == PR_JSON_FALSE;

    if (is_absent(v)) {
        return true;
    }
    if (v->type == PR_JSON_STRING) {
        is_true = pr_slice_is_nocase(pr_json_str(v), "true");
        is_false = pr_slice_is_nocase(pr_json_str(v), "false");
    }
    if (is_true || is_false) {
        *out = is_true;
    }
    return is_true || is_false;
}

/* The same for an integer as JSON writes it, without fraction and exponent. */
static bool take_int(const struct pr_json *v, int64_t *out)
{
    struct pr_slice s = v->raw;
    int64_t value = 0;

    if (is_absent(v)) {
        return true;
    }
    bool negative = s.p[0] == '-';
    if (v->type != PR_JSON_NUMBER || s.n > 18) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        value = value * 10 + (s.p[i] - '0');
    }
    *out = negative ? -value : value;
    return true;
}

/* Object to look into? Notes anything else but null. */
static bool is_object(struct pr_join *j, const struct pr_json *v, const char *field)
{
    if (v->raw.n > 0 && v->type == PR_JSON_OBJECT) {
        return true;
    }
    if (!is_absent(v)) {
        note_bad(j, field, OBJECT);
    }
    return false;
}

static int parse_replay(struct pr_join *j, const struct pr_json *v)
{
    enum { SINCE, LIMIT, FIELDS };
    static const char *const names[FIELDS] = {"since", "limit"};
    struct pr_json f[FIELDS];
    int64_t limit = PR_JOIN_REPLAY_LIMIT;

    if (is_absent(v)) {
        return PR_OK;
    }
    j->has_replay = true;
    if (v->type != PR_JSON_OBJECT) {
        j->replay_bad = true;
        return PR_OK;
    }
    int rc = pr_json_pick(v->raw, names, FIELDS, f);
    if (rc != PR_OK) {
        return rc;
    }
    j->replay_bad = !take_int(&f[SINCE], &j->replay_since_ms) || !take_int(&f[LIMIT], &limit) ||
                    j->replay_since_ms < 0 || j->replay_since_ms > PR_JOIN_REPLAY_SINCE_MAX;
    if (limit > PR_JOIN_REPLAY_LIMIT_MAX) {
        limit = PR_JOIN_REPLAY_LIMIT_MAX;
    }
    j->replay_limit = limit < 1 ? 1 : (uint32_t)limit;
    return PR_OK;
}

static int parse_broadcast(struct pr_join *j, const struct pr_json *v)
{
    enum { SELF, ACK, REPLAY, READY, FIELDS };
    static const char *const names[FIELDS] = {"self", "ack", "replay", "replication_ready"};
    struct pr_json f[FIELDS];

    if (!is_object(j, v, "broadcast")) {
        return PR_OK;
    }
    int rc = pr_json_pick(v->raw, names, FIELDS, f);
    if (rc != PR_OK) {
        return rc;
    }
    if (!take_bool(&f[SELF], &j->self)) {
        note_bad(j, "broadcast.self", BOOLEAN);
    }
    if (!take_bool(&f[ACK], &j->ack)) {
        note_bad(j, "broadcast.ack", BOOLEAN);
    }
    if (!take_bool(&f[READY], &j->replication_ready)) {
        note_bad(j, "broadcast.replication_ready", BOOLEAN);
    }
    return parse_replay(j, &f[REPLAY]);
}

static int parse_presence(struct pr_join *j, const struct pr_json *v, struct pr_outbuf *scratch)
{
    enum { ENABLED, KEY, FIELDS };
    static const char *const names[FIELDS] = {"enabled", "key"};
    struct pr_json f[FIELDS];

    if (!is_object(j, v, "presence")) {
        return PR_OK;
    }
    int rc = pr_json_pick(v->raw, names, FIELDS, f);
    if (rc != PR_OK) {
        return rc;
    }
    j->presence = true;
    if (!take_bool(&f[ENABLED], &j->presence)) {
        note_bad(j, "presence.enabled", BOOLEAN);
    }
    if (is_absent(&f[KEY])) {
        return PR_OK;
    }
    j->presence_key = f[KEY].raw;
    if (f[KEY].type == PR_JSON_STRING) {
        rc = pr_json_text(&f[KEY], scratch, &j->presence_key);
    }
    if (rc == PR_OK && j->presence_key.n > PR_ID_MAX) {
        note_bad(j, "presence.key", "at most 255 bytes long");
        j->presence_key = pr_bytes(NULL, 0);
    }
    return rc;
}

static int parse_options(struct pr_join *j, const struct pr_json *v)
{
    enum { WAIT, TIMEOUT, FIELDS };
    static const char *const names[FIELDS] = {"wait", "timeout"};
    struct pr_json f[FIELDS];
    int64_t timeout_ms = PR_JOIN_WAIT_MS;

    if (!is_object(j, v, "postgres_changes_options")) {
        return PR_OK;
    }
    int rc = pr_json_pick(v->raw, names, FIELDS, f);
    if (rc != PR_OK) {
        return rc;
    }
    if (!take_bool(&f[WAIT], &j->wait)) {
        note_bad(j, "postgres_changes_options.wait", BOOLEAN);
    }
    if (!take_int(&f[TIMEOUT], &timeout_ms)) {
        note_bad(j, "postgres_changes_options.timeout", INTEGER);
    }
    if (timeout_ms > PR_JOIN_WAIT_MS_MAX) {
        timeout_ms = PR_JOIN_WAIT_MS_MAX;
    }
    j->wait_ms = timeout_ms < 0 ? 0 : (uint32_t)timeout_ms;
    return PR_OK;
}

/* Counts the entries; one that is neither object nor null spoils the list. */
static int parse_bindings(struct pr_join *j, const struct pr_json *v)
{
    struct pr_json_iter it;
    struct pr_json entry;
    bool ok = v->type == PR_JSON_ARRAY;
    int rc = PR_OK;

    if (is_absent(v)) {
        return PR_OK;
    }
    if (ok) {
        rc = pr_json_open(&it, v->raw);
        while (rc >= 0 && (rc = pr_json_next(&it, NULL, &entry)) > 0) {
            ok = ok && (entry.type == PR_JSON_OBJECT || entry.type == PR_JSON_NULL);
            j->nbindings += entry.type == PR_JSON_OBJECT ? 1 : 0;
        }
    }
    if (!ok) {
        note_bad(j, "postgres_changes", "an array of objects");
        j->nbindings = 0;
        return rc;
    }
    j->bindings = v->raw;
    return j->nbindings > PR_JOIN_BINDINGS_MAX ? PR_ERANGE : rc;
}

static int parse_config(struct pr_join *j, const struct pr_json *v, struct pr_outbuf *scratch)
{
    enum { BROADCAST, PRESENCE, PRIVATE, BINDINGS, OPTIONS, FIELDS };
    static const char *const names[FIELDS] = {"broadcast", "presence", "private",
                                              "postgres_changes", "postgres_changes_options"};
    struct pr_json f[FIELDS];

    if (!is_object(j, v, "config")) {
        return PR_OK;
    }
    int rc = pr_json_pick(v->raw, names, FIELDS, f);
    if (rc == PR_OK) {
        rc = parse_broadcast(j, &f[BROADCAST]);
    }
    if (rc == PR_OK) {
        rc = parse_presence(j, &f[PRESENCE], scratch);
    }
    if (rc == PR_OK) {
        rc = parse_options(j, &f[OPTIONS]);
    }
    if (rc == PR_OK && !take_bool(&f[PRIVATE], &j->is_private)) {
        j->private_bad = true;
        note_bad(j, "private", BOOLEAN);
    }
    return rc == PR_OK ? parse_bindings(j, &f[BINDINGS]) : rc;
}

static int take_token(struct pr_join *j, const struct pr_json *v, const char *field,
                      struct pr_outbuf *scratch, struct pr_slice *token)
{
    if (is_absent(v)) {
        return PR_OK;
    }
    int rc = pr_json_text(v, scratch, token);
    if (rc == PR_ETYPE) {
        note_bad(j, field, STRING);
        return PR_OK;
    }
    return rc;
}

int pr_join_parse(struct pr_slice payload, struct pr_outbuf *scratch, struct pr_join *j)
{
    enum { ACCESS_TOKEN, USER_TOKEN, CONFIG, FIELDS };
    static const char *const names[FIELDS] = {"access_token", "user_token", "config"};
    struct pr_json f[FIELDS];

    *j = (struct pr_join){.wait_ms = PR_JOIN_WAIT_MS, .replay_limit = PR_JOIN_REPLAY_LIMIT};
    int rc = pr_json_pick(payload, names, FIELDS, f);
    if (rc == PR_ETYPE) {
        note_bad(j, "payload", OBJECT);
        j->legacy = true;
        return pr_json_check(payload);
    }
    if (rc == PR_OK) {
        rc = take_token(j, &f[ACCESS_TOKEN], "access_token", scratch, &j->access_token);
    }
    if (rc == PR_OK) {
        rc = take_token(j, &f[USER_TOKEN], "user_token", scratch, &j->user_token);
    }
    if (rc != PR_OK) {
        return rc;
    }
    j->legacy = f[CONFIG].raw.n == 0;
    return parse_config(j, &f[CONFIG], scratch);
}

void pr_join_put_bad(struct pr_outbuf *o, const struct pr_join_bad *bad)
{
    pr_put_str(o, bad->field);
    pr_put_str(o, " must be ");
    pr_put_str(o, bad->want);
}
