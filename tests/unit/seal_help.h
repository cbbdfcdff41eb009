/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal_help.h - datagrams made by hand after the words of node/owner/seal.h, by other calls than
 * those of the product: HKDF out of HMAC, as RFC 5869 spells it.
 */
#ifndef TESTS_UNIT_SEAL_HELP_H
#define TESTS_UNIT_SEAL_HELP_H

#include <assert.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "node/owner/seal.h"

/* Bytes 0..31, 32..63, 64..95. */
#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define KEY_C "QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8="

/* RFC 5869 2.2 and 2.3 for one or two blocks of SHA-256. */
static inline void help_hkdf(struct pr_slice key, struct pr_slice salt, struct pr_slice info,
                             uint8_t *out, size_t n)
{
    uint8_t prk[32], block[32], text[128];
    size_t len = 0;

    (void)HMAC(EVP_sha256(), salt.p, (int)salt.n, key.p, key.n, prk, NULL);
    for (uint8_t i = 1; n > 0; i++) {
        size_t part = n < sizeof block ? n : sizeof block;

        memcpy(text + len, info.p, info.n);
        text[len + info.n] = i;
        (void)HMAC(EVP_sha256(), prk, sizeof prk, text, len + info.n + 1, block, NULL);
        memcpy(out, block, part);
        memcpy(text, block, sizeof block);
        len = sizeof block;
        out += part;
        n -= part;
    }
}

/* Encrypts in place of `out`, and puts the tag behind. */
static inline void help_gcm(const uint8_t key[32], const uint8_t nonce[12], struct pr_slice aad,
                            struct pr_slice text, uint8_t *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n, ok;

    ok = EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce);
    ok &= EVP_EncryptUpdate(c, NULL, &n, aad.p, (int)aad.n);
    if (text.n > 0) {
        ok &= EVP_EncryptUpdate(c, out, &n, text.p, (int)text.n);
    }
    ok &= EVP_EncryptFinal_ex(c, out + text.n, &n);
    ok &= EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, RT_SEAL_TAG_BYTES, out + text.n);
    EVP_CIPHER_CTX_free(c);
    assert(ok == 1);
}

struct help_packet {
    uint64_t sender, salt, counter;
    struct pr_slice payload;
};

/* Seals with `key`; returns the length. */
static inline size_t help_seal(const struct rt_key *key, const struct help_packet *p,
                               uint8_t out[RT_SEAL_PACKET_MAX])
{
    struct pr_outbuf o = pr_outbuf(out, RT_SEAL_PACKET_MAX);
    uint8_t salt[16], nonce[12], derived[32];
    struct pr_outbuf so = pr_outbuf(salt, sizeof salt);
    struct pr_outbuf no = pr_outbuf(nonce, sizeof nonce);

    pr_put_u64be(&so, p->salt);
    pr_put_u64be(&so, p->sender);
    help_hkdf(pr_bytes(key->bytes, RT_KEY_BYTES), pr_bytes(salt, sizeof salt), pr_str("rt udp 1"),
              derived, sizeof derived);
    pr_put_u32be(&no, 0);
    pr_put_u64be(&no, p->counter);
    pr_put_u8(&o, 1);
    pr_put_u8(&o, 1);
    pr_put_u16be(&o, key->id);
    pr_put_u64be(&o, p->sender);
    pr_put_u64be(&o, p->salt);
    pr_put_u64be(&o, p->counter);
    help_gcm(derived, nonce, pr_bytes(out, o.len), p->payload, out + o.len);
    return o.len + p->payload.n + RT_SEAL_TAG_BYTES;
}

#endif
