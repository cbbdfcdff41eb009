/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"
#include "proto/base64url.h"

#define HINT "make one with `openssl rand -base64 32`"
/* Base64 of RT_KEY_BYTES, without the padding. */
#define KEY_CHARS 43u

static void name_key(struct rt_key *key)
{
    uint8_t hash[EVP_MAX_MD_SIZE];

    if (EVP_Digest(key->bytes, sizeof key->bytes, hash, NULL, EVP_sha256(), NULL) != 1) {
        abort();
    }
    key->id = (uint16_t)(hash[0] << 8 | hash[1]);
    (void)snprintf(key->identity, sizeof key->identity, "rt1:%04x", (unsigned)key->id);
}

/* Bytes of one base64 text, of either alphabet, with or without padding. */
static int decode(struct rt_key *key, struct pr_slice text)
{
    char url[KEY_CHARS];
    struct pr_outbuf o = pr_outbuf(key->bytes, sizeof key->bytes);
    int rv;

    if (text.n == KEY_CHARS + 1 && text.p[KEY_CHARS] == '=') {
        text.n--;
    }
    if (text.n != KEY_CHARS) {
        return PR_ERANGE;
    }
    for (size_t i = 0; i < text.n; i++) {
        char c = (char)text.p[i];

        url[i] = (char)(c == '+' ? '-' : c == '/' ? '_' : c);
    }
    rv = pr_base64url_decode(&o, pr_bytes(url, sizeof url));
    OPENSSL_cleanse(url, sizeof url);
    return rv < 0 ? rv : pr_out_ok(&o) && o.len == sizeof key->bytes ? PR_OK : PR_ERANGE;
}

static bool is_constant(const struct rt_key *key)
{
    uint8_t differs = 0;

    for (size_t i = 1; i < sizeof key->bytes; i++) {
        differs |= (uint8_t)(key->bytes[i] ^ key->bytes[0]);
    }
    return differs == 0;
}

/* Adds the key of one item; `nth` counts from 1, for people. */
static int add(struct rt_keyring *ring, struct pr_slice text, uint32_t nth, struct rt_error *err)
{
    struct rt_key *key;
    const struct rt_key *same;

    if (text.n == 0) {
        return rt_error_set(err, RT_ECONFIG, "cluster key %u is empty: " HINT, nth);
    }
    if (ring->count == RT_KEYS_MAX) {
        return rt_error_set(err, RT_ECONFIG,
                            "more than %u cluster keys: take out those that no node has first",
                            RT_KEYS_MAX);
    }
    key = &ring->key[ring->count];
    if (decode(key, text) != PR_OK) {
        return rt_error_set(err, RT_ECONFIG, "cluster key %u is not %u bytes in base64: " HINT, nth,
                            RT_KEY_BYTES);
    }
    if (is_constant(key)) {
        return rt_error_set(err, RT_ECONFIG, "cluster key %u is one byte repeated: " HINT, nth);
    }
    name_key(key);
    same = rt_keyring_by_id(ring, key->id);
    if (same != NULL) {
        return rt_error_set(err, RT_ECONFIG, "cluster keys %u and %u %s: " HINT,
                            (unsigned)(same - ring->key) + 1, nth,
                            CRYPTO_memcmp(same->bytes, key->bytes, sizeof key->bytes) == 0
                                ? "are the same"
                                : "have the same name by chance");
    }
    ring->count++;
    return RT_OK;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `ring` is zeroed. What was read before an error stays in it, to be wiped. */
static int parse(struct rt_keyring *ring, const char *list, struct rt_error *err)
{
    struct pr_slice left = pr_str(list);

    for (uint32_t nth = 1;; nth++) {
        const uint8_t *comma = left.n == 0 ? NULL : memchr(left.p, ',', left.n);
        struct pr_slice item = comma == NULL ? left : pr_bytes(left.p, (size_t)(comma - left.p));
        size_t taken = item.n + 1;

        while (item.n > 0 && is_blank(item.p[0])) {
            item = pr_bytes(item.p + 1, item.n - 1);
        }
        while (item.n > 0 && is_blank(item.p[item.n - 1])) {
            item.n--;
        }
        if (add(ring, item, nth, err) != RT_OK) {
            return RT_ECONFIG;
        }
        if (comma == NULL) {
            return RT_OK;
        }
        left = pr_bytes(left.p + taken, left.n - taken);
    }
}

struct rt_keyring *rt_keyring_new(const char *list, struct rt_error *err)
{
    struct rt_keyring *ring = rt_calloc(1, sizeof *ring);

    if (parse(ring, list, err) != RT_OK) {
        rt_keyring_free(ring);
        return NULL;
    }
    return ring;
}

static bool is_same(const struct rt_keyring *a, const struct rt_keyring *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (CRYPTO_memcmp(a->key[i].bytes, b->key[i].bytes, RT_KEY_BYTES) != 0) {
            return false;
        }
    }
    return true;
}

int rt_keyring_reload(struct rt_keyring *ring, const char *list, struct rt_error *err)
{
    struct rt_keyring *fresh = rt_keyring_new(list, err);
    int changed;

    if (fresh == NULL) {
        return RT_ECONFIG;
    }
    changed = is_same(ring, fresh) ? 0 : 1;
    if (changed == 1) {
        fresh->generation = ring->generation + 1;
        memcpy(ring, fresh, sizeof *ring); /* all of it: no byte of an old key stays */
    }
    rt_keyring_free(fresh);
    return changed;
}

void rt_keyring_free(struct rt_keyring *ring)
{
    if (ring != NULL) {
        OPENSSL_cleanse(ring, sizeof *ring);
        rt_free(ring);
    }
}

void rt_keyring_ids(const struct rt_keyring *ring, char out[RT_KEYS_TEXT_MAX])
{
    size_t at = 0;

    out[0] = '\0';
    for (uint32_t i = 0; i < ring->count; i++) {
        int n = snprintf(out + at, RT_KEYS_TEXT_MAX - at, "%s%s", i > 0 ? "," : "",
                         ring->key[i].identity);

        at += (size_t)n;
    }
}

const struct rt_key *rt_keyring_by_id(const struct rt_keyring *ring, uint16_t id)
{
    for (uint32_t i = 0; i < ring->count; i++) {
        if (ring->key[i].id == id) {
            return &ring->key[i];
        }
    }
    return NULL;
}

const struct rt_key *rt_keyring_by_identity(const struct rt_keyring *ring, struct pr_slice identity)
{
    for (uint32_t i = 0; i < ring->count; i++) {
        if (pr_slice_is(identity, ring->key[i].identity)) {
            return &ring->key[i];
        }
    }
    return NULL;
}
