/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/seal.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/owner/window.h"

#define VERSION     1u
#define FLAG_SEALED 1u
#define NONCE_BYTES 12u
/* Says what a derived key is for, so that another use of the ring's keys gets other keys. */
#define KEY_INFO "rt udp 1"

/* Key of one boot of one sender. */
struct derived {
    uint8_t bytes[RT_KEY_BYTES];
    bool set;
    uint16_t id;         /* the ring's key it was made of, */
    uint64_t generation; /* in that generation of the ring */
};

/* One boot of a sender that has sent something valid. */
struct peer {
    struct derived key;
    struct rt_window window;
};

/* Who stands in the place of the same index of `peer`: apart, because a search reads them all. */
struct place {
    uint64_t sender, salt;
    uint64_t heard; /* grows with each valid datagram of anybody; 0: the place is free */
};

struct rt_seal {
    const struct rt_keyring *keys;
    uint64_t self, salt;
    uint64_t counter; /* of the next datagram */
    uint64_t clock;   /* valid datagrams so far */
    struct derived own;
    EVP_CIPHER_CTX *cipher;
    EVP_KDF_CTX *kdf;
    struct place place[RT_SEAL_PEERS];
    struct peer peer[RT_SEAL_PEERS];
    struct rt_seal_counts counts;
};

struct header {
    uint8_t version, flags;
    uint16_t key_id;
    uint64_t sender, salt, counter;
};

/* An OpenSSL call that fails for no other reason than exhausted memory or a broken library. */
static void must(int rv)
{
    if (rv != 1) {
        abort();
    }
}

const char *rt_seal_verdict_name(enum rt_seal_verdict v)
{
    switch (v) {
    case RT_SEAL_TAKEN:
        return "taken";
#define RT_X(code, name)                                                                           \
    case code:                                                                                     \
        return name;
        RT_SEAL_REASONS(RT_X)
#undef RT_X
    case RT_SEAL_VERDICTS:
        break;
    }
    return "unknown";
}

struct rt_seal *rt_seal_new(const struct rt_keyring *keys, uint64_t self, uint64_t salt)
{
    struct rt_seal *s = rt_calloc(1, sizeof *s);
    EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);

    s->keys = keys;
    s->self = self;
    s->salt = salt;
    s->cipher = EVP_CIPHER_CTX_new();
    s->kdf = EVP_KDF_CTX_new(hkdf);
    EVP_KDF_free(hkdf);
    must(s->cipher != NULL && s->kdf != NULL);
    return s;
}

void rt_seal_free(struct rt_seal *s)
{
    if (s != NULL) {
        EVP_CIPHER_CTX_free(s->cipher);
        EVP_KDF_CTX_free(s->kdf);
        OPENSSL_cleanse(s, sizeof *s);
        rt_free(s);
    }
}

/* Makes the key of one boot of one sender. RFC 5869, both steps. */
static void derive(struct rt_seal *s, const struct rt_key *key, const struct header *h,
                   struct derived *out)
{
    uint8_t salt[16];
    struct pr_outbuf o = pr_outbuf(salt, sizeof salt);
    char digest[] = "SHA256";
    char info[] = KEY_INFO;
    uint8_t secret[RT_KEY_BYTES];
    OSSL_PARAM params[5];

    pr_put_u64be(&o, h->salt);
    pr_put_u64be(&o, h->sender);
    memcpy(secret, key->bytes, sizeof secret); /* parameters are not const */
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, sizeof secret);
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof salt);
    params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, sizeof info - 1);
    params[4] = OSSL_PARAM_construct_end();
    EVP_KDF_CTX_reset(s->kdf);
    must(EVP_KDF_derive(s->kdf, out->bytes, sizeof out->bytes, params));
    EVP_KDF_CTX_reset(s->kdf);
    OPENSSL_cleanse(secret, sizeof secret);
    out->set = true;
    out->id = key->id;
    out->generation = s->keys->generation;
}

/* Two generations may hold different keys of one name, so the name alone is not enough. */
static bool is_made_of(const struct rt_seal *s, const struct derived *d, uint16_t id)
{
    return d->set && d->id == id && d->generation == s->keys->generation;
}

static void put_nonce(uint8_t nonce[NONCE_BYTES], uint64_t counter)
{
    struct pr_outbuf o = pr_outbuf(nonce, NONCE_BYTES);

    pr_put_u32be(&o, 0);
    pr_put_u64be(&o, counter);
}

static void encrypt(struct rt_seal *s, const struct header *h, struct pr_slice payload,
                    uint8_t *packet)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t *text = packet + RT_SEAL_HEADER_BYTES;
    int n;

    put_nonce(nonce, h->counter);
    must(EVP_EncryptInit_ex(s->cipher, EVP_aes_256_gcm(), NULL, s->own.bytes, nonce));
    must(EVP_EncryptUpdate(s->cipher, NULL, &n, packet, RT_SEAL_HEADER_BYTES));
    if (payload.n > 0) {
        must(EVP_EncryptUpdate(s->cipher, text, &n, payload.p, (int)payload.n));
    }
    must(EVP_EncryptFinal_ex(s->cipher, text + payload.n, &n));
    must(
        EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_GET_TAG, RT_SEAL_TAG_BYTES, text + payload.n));
}

/* False: the tag is wrong. */
static bool decrypt(struct rt_seal *s, const struct derived *key, uint64_t counter,
                    struct pr_slice datagram, uint8_t *out)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t tag[RT_SEAL_TAG_BYTES];
    size_t text = datagram.n - RT_SEAL_HEADER_BYTES - RT_SEAL_TAG_BYTES;
    int n;

    memcpy(tag, datagram.p + datagram.n - sizeof tag, sizeof tag);
    put_nonce(nonce, counter);
    must(EVP_DecryptInit_ex(s->cipher, EVP_aes_256_gcm(), NULL, key->bytes, nonce));
    must(EVP_DecryptUpdate(s->cipher, NULL, &n, datagram.p, RT_SEAL_HEADER_BYTES));
    if (text > 0) {
        must(EVP_DecryptUpdate(s->cipher, out, &n, datagram.p + RT_SEAL_HEADER_BYTES, (int)text));
    }
    must(EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag));
    if (EVP_DecryptFinal_ex(s->cipher, out + text, &n) == 1) {
        return true;
    }
    OPENSSL_cleanse(out, text); /* nobody may read what nobody vouches for */
    return false;
}

size_t rt_seal_pack(struct rt_seal *s, struct pr_slice payload, uint8_t out[RT_SEAL_PACKET_MAX])
{
    struct header h = {.sender = s->self, .salt = s->salt, .counter = s->counter};
    const struct rt_key *key = s->keys == NULL ? NULL : &s->keys->key[0];
    struct pr_outbuf o = pr_outbuf(out, RT_SEAL_PACKET_MAX);

    assert(payload.n <= RT_SEAL_PAYLOAD_MAX);
    assert(s->counter != UINT64_MAX);
    s->counter++;
    s->counts.sealed++;
    pr_put_u8(&o, VERSION);
    pr_put_u8(&o, (uint8_t)(key == NULL ? 0 : FLAG_SEALED));
    pr_put_u16be(&o, key == NULL ? 0 : key->id);
    pr_put_u64be(&o, h.sender);
    pr_put_u64be(&o, h.salt);
    pr_put_u64be(&o, h.counter);
    if (key == NULL) {
        pr_put_slice(&o, payload);
        return o.len;
    }
    if (!is_made_of(s, &s->own, key->id)) {
        derive(s, key, &h, &s->own);
    }
    encrypt(s, &h, payload, out);
    return o.len + payload.n + RT_SEAL_TAG_BYTES;
}

/* The place of a sender's boot, or RT_SEAL_PEERS. */
static uint32_t find(const struct rt_seal *s, const struct header *h)
{
    for (uint32_t i = 0; i < RT_SEAL_PEERS; i++) {
        const struct place *p = &s->place[i];

        if (p->sender == h->sender && p->salt == h->salt && p->heard != 0) {
            return i;
        }
    }
    return RT_SEAL_PEERS;
}

/* Gives a place to a new boot: a free one, else that of the boot not heard for longest. */
static uint32_t settle(struct rt_seal *s, const struct header *h)
{
    uint32_t oldest = 0;

    for (uint32_t i = 1; i < RT_SEAL_PEERS; i++) {
        if (s->place[i].heard < s->place[oldest].heard) {
            oldest = i;
        }
    }
    s->place[oldest].sender = h->sender;
    s->place[oldest].salt = h->salt;
    OPENSSL_cleanse(&s->peer[oldest], sizeof s->peer[oldest]);
    return oldest;
}

static enum rt_seal_verdict read_header(const struct rt_seal *s, struct pr_slice in,
                                        struct header *h)
{
    struct pr_cursor c = pr_cursor(in);
    bool sealed;

    /* An unsealed one has no tag, and what it carries must fit all the same. */
    if (in.n > RT_SEAL_PACKET_MAX - (s->keys == NULL ? RT_SEAL_TAG_BYTES : 0)) {
        return RT_SEAL_OVERSIZE;
    }
    h->version = pr_get_u8(&c);
    h->flags = pr_get_u8(&c);
    h->key_id = pr_get_u16be(&c);
    h->sender = pr_get_u64be(&c);
    h->salt = pr_get_u64be(&c);
    h->counter = pr_get_u64be(&c);
    if (c.failed) {
        return RT_SEAL_SHORT;
    }
    if (h->version != VERSION || (h->flags & ~FLAG_SEALED) != 0) {
        return RT_SEAL_VERSION;
    }
    sealed = h->flags == FLAG_SEALED;
    if (sealed != (s->keys != NULL)) {
        return RT_SEAL_UNSEALED;
    }
    if (sealed && c.left < RT_SEAL_TAG_BYTES) {
        return RT_SEAL_SHORT;
    }
    if (h->sender == s->self && h->salt == s->salt) {
        return RT_SEAL_OWN;
    }
    return RT_SEAL_TAKEN;
}

/* Checks the tag with the key of the sender's boot, which it leaves in *key. */
static enum rt_seal_verdict unseal(struct rt_seal *s, const struct header *h,
                                   struct pr_slice datagram, uint8_t *out, struct derived *key)
{
    const struct rt_key *ring_key = rt_keyring_by_id(s->keys, h->key_id);

    if (ring_key == NULL) {
        return RT_SEAL_KEY;
    }
    if (!is_made_of(s, key, h->key_id)) {
        derive(s, ring_key, h, key);
    }
    return decrypt(s, key, h->counter, datagram, out) ? RT_SEAL_TAKEN : RT_SEAL_TAG;
}

static enum rt_seal_verdict take(struct rt_seal *s, struct pr_slice datagram, uint8_t *out,
                                 struct header *h)
{
    enum rt_seal_verdict v = read_header(s, datagram, h);
    struct derived key = {.set = false};
    uint32_t at;

    if (v != RT_SEAL_TAKEN) {
        return v;
    }
    at = find(s, h);
    if (s->keys != NULL) {
        if (at != RT_SEAL_PEERS) {
            key = s->peer[at].key;
        }
        v = unseal(s, h, datagram, out, &key);
    } else {
        memcpy(out, datagram.p + RT_SEAL_HEADER_BYTES, datagram.n - RT_SEAL_HEADER_BYTES);
    }
    if (v == RT_SEAL_TAKEN) {
        if (at == RT_SEAL_PEERS) {
            at = settle(s, h);
        }
        s->peer[at].key = key;
        if (rt_window_take(&s->peer[at].window, h->counter)) {
            s->place[at].heard = ++s->clock;
        } else {
            v = RT_SEAL_REPLAY; /* which does not keep the place of a boot long gone */
        }
    }
    OPENSSL_cleanse(&key, sizeof key);
    return v;
}

enum rt_seal_verdict rt_seal_open(struct rt_seal *s, struct pr_slice datagram,
                                  uint8_t out[RT_SEAL_PAYLOAD_MAX], struct pr_slice *payload,
                                  uint64_t *sender)
{
    struct header h;
    size_t around = RT_SEAL_HEADER_BYTES + (s->keys == NULL ? 0 : RT_SEAL_TAG_BYTES);
    enum rt_seal_verdict v = take(s, datagram, out, &h);

    s->counts.opened[v]++;
    if (v != RT_SEAL_TAKEN) {
        return v;
    }
    *payload = pr_bytes(out, datagram.n - around);
    if (sender != NULL) {
        *sender = h.sender;
    }
    return RT_SEAL_TAKEN;
}

const struct rt_seal_counts *rt_seal_counts(const struct rt_seal *s)
{
    return &s->counts;
}
