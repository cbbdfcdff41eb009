/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/psk.h"

#include <assert.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"

#define SUITE "TLS_AES_256_GCM_SHA384"
/* Its number on the wire (RFC 8446 B.4). */
static const unsigned char suite_id[] = {0x13, 0x02};

struct rt_psk_side {
    const struct rt_keyring *keys;
    SSL_CTX *client, *server;
};

struct rt_psk {
    const struct rt_keyring *keys;
    SSL *ssl;
    BIO *in, *out; /* memory; owned by ssl */
    bool client;
    uint16_t key_id;
    char identity[RT_KEY_IDENTITY_MAX];
    char why[160];
};

/*
 * A session made by hand from the key: the only form in which OpenSSL 3.0 takes an external key
 * for a suite with SHA-384; its older callbacks tie a key to SHA-256. NULL: no memory.
 */
static SSL_SESSION *session_of(SSL *ssl, const struct rt_key *key)
{
    const SSL_CIPHER *suite = SSL_CIPHER_find(ssl, suite_id);
    SSL_SESSION *s = SSL_SESSION_new();

    if (s != NULL && suite != NULL && SSL_SESSION_set1_master_key(s, key->bytes, RT_KEY_BYTES) &&
        SSL_SESSION_set_cipher(s, suite) && SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION)) {
        return s;
    }
    SSL_SESSION_free(s);
    return NULL;
}

static void remember(struct rt_psk *p, const struct rt_key *key)
{
    p->key_id = key->id;
    memcpy(p->identity, key->identity, sizeof p->identity);
}

/* The dialling end offers our first key. OpenSSL copies the identity and owns the session. */
static int use_session(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len,
                       SSL_SESSION **session)
{
    struct rt_psk *p = SSL_get_app_data(ssl);
    const struct rt_key *key = &p->keys->key[0];

    /* Set when the server has asked to start again: the hash is settled then. */
    if (md != NULL && EVP_MD_get_type(md) != NID_sha384) {
        *session = NULL;
        return 1;
    }
    *session = session_of(ssl, key);
    if (*session == NULL) {
        return 0;
    }
    *id = (const unsigned char *)key->identity;
    *id_len = strlen(key->identity);
    remember(p, key);
    return 1;
}

/* The other end accepts any of our keys. One we do not know is no error of ours: without a
 * certificate the handshake then fails by itself. */
static int find_session(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **session)
{
    struct rt_psk *p = SSL_get_app_data(ssl);
    const struct rt_key *key = rt_keyring_by_identity(p->keys, pr_bytes(id, id_len));

    *session = NULL;
    if (key == NULL) {
        return 1;
    }
    *session = session_of(ssl, key);
    if (*session == NULL) {
        return 0;
    }
    remember(p, key);
    return 1;
}

static SSL_CTX *new_ctx(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, SUITE) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1) {
        abort(); /* the library lacks what it is linked for, or memory */
    }
    (void)SSL_CTX_set_options(ctx,
                              SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_max_early_data(ctx, 0);
    (void)SSL_CTX_set_recv_max_early_data(ctx, 0);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    /* With SSL_VERIFY_PEER and no certificates OpenSSL 3.0 ends the handshake of a pre-shared key
     * too. What is verified instead: see reused() below. */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    return ctx;
}

struct rt_psk_side *rt_psk_side_new(const struct rt_keyring *keys)
{
    struct rt_psk_side *s = rt_calloc(1, sizeof *s);

    assert(keys->count > 0);
    s->keys = keys;
    s->client = new_ctx(TLS_client_method());
    s->server = new_ctx(TLS_server_method());
    SSL_CTX_set_psk_use_session_callback(s->client, use_session);
    SSL_CTX_set_psk_find_session_callback(s->server, find_session);
    return s;
}

void rt_psk_side_free(struct rt_psk_side *s)
{
    if (s != NULL) {
        SSL_CTX_free(s->client);
        SSL_CTX_free(s->server);
        rt_free(s);
    }
}

struct rt_psk *rt_psk_new(struct rt_psk_side *s, bool client)
{
    struct rt_psk *p = rt_calloc(1, sizeof *p);

    p->keys = s->keys;
    p->client = client;
    p->ssl = SSL_new(client ? s->client : s->server);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    if (p->ssl == NULL || p->in == NULL || p->out == NULL) {
        abort(); /* memory: as rt_malloc does */
    }
    SSL_set_app_data(p->ssl, p);
    SSL_set_bio(p->ssl, p->in, p->out);
    if (client) {
        SSL_set_connect_state(p->ssl);
    } else {
        SSL_set_accept_state(p->ssl);
    }
    return p;
}

void rt_psk_free(struct rt_psk *p)
{
    if (p != NULL) {
        SSL_free(p->ssl);
        rt_free(p);
    }
}

void rt_psk_feed(struct rt_psk *p, struct pr_slice in)
{
    assert(in.n <= INT_MAX);
    if (in.n > 0 && BIO_write(p->in, in.p, (int)in.n) != (int)in.n) {
        abort(); /* memory */
    }
}

/* Takes the words of the last error and empties the queue, which belongs to the thread and would
 * blame the next connection. */
static void note_error(struct rt_psk *p, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    (void)snprintf(p->why, sizeof p->why, "%s: %s", what, reason == NULL ? "no reason" : reason);
    ERR_clear_error();
}

/* 0: only waits for bytes; else -1. */
static int waits(struct rt_psk *p, int r, const char *what)
{
    if (SSL_get_error(p->ssl, r) == SSL_ERROR_WANT_READ) {
        ERR_clear_error();
        return 0;
    }
    note_error(p, what);
    return -1;
}

static bool reused(struct rt_psk *p)
{
    const SSL_CIPHER *suite = SSL_get_current_cipher(p->ssl);

    return SSL_session_reused(p->ssl) == 1 && SSL_version(p->ssl) == TLS1_3_VERSION &&
           suite != NULL && strcmp(SSL_CIPHER_get_name(suite), SUITE) == 0;
}

int rt_psk_handshake(struct rt_psk *p)
{
    int r = SSL_do_handshake(p->ssl);

    if (r != 1) {
        return waits(p, r,
                     p->client ? "TLS: the peer does not take our key"
                               : "TLS: the peer shows no key of ours");
    }
    if (!reused(p)) {
        (void)snprintf(p->why, sizeof p->why,
                       "TLS: the peer has no key of ours; a certificate "
                       "does not do");
        return -1;
    }
    return 1;
}

ssize_t rt_psk_read(struct rt_psk *p, uint8_t *out, size_t n)
{
    size_t got = 0;
    int r = SSL_read_ex(p->ssl, out, n, &got);

    return r == 1 ? (ssize_t)got : waits(p, r, "TLS");
}

bool rt_psk_write(struct rt_psk *p, const uint8_t *in, size_t n)
{
    size_t done = 0;

    assert(n > 0 && n <= RT_PSK_TEXT_MAX);
    if (SSL_write_ex(p->ssl, in, n, &done) != 1 || done != n) {
        note_error(p, "TLS");
        return false;
    }
    return true;
}

size_t rt_psk_pending(const struct rt_psk *p)
{
    return BIO_ctrl_pending(p->out);
}

size_t rt_psk_take(struct rt_psk *p, uint8_t *out, size_t n)
{
    int got;

    assert(n <= INT_MAX);
    if (BIO_ctrl_pending(p->out) == 0) {
        return 0;
    }
    got = BIO_read(p->out, out, (int)n);
    return got > 0 ? (size_t)got : 0;
}

uint16_t rt_psk_key_id(const struct rt_psk *p)
{
    return p->key_id;
}

const char *rt_psk_identity(const struct rt_psk *p)
{
    return p->identity;
}

const char *rt_psk_why(const struct rt_psk *p)
{
    return p->why;
}
