/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.2 and 1.3 by OpenSSL, on the connection's own descriptor. SIGPIPE is ignored by the loop.
 */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/types.h>

#include "node/edge/transport_in.h"

/* HTTP/1.1 or nothing: a client that only speaks HTTP/2 gets an alert (RFC 7301 3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char http11[] = "http/1.1";
    unsigned at = 0;

    (void)ssl;
    (void)arg;
    while (at < in_len) {
        unsigned len = in[at];

        if (len == sizeof http11 - 1 && len < in_len - at &&
            memcmp(in + at + 1, http11, len) == 0) {
            *out = in + at + 1;
            *out_len = (unsigned char)len;
            return SSL_TLSEXT_ERR_OK;
        }
        at += 1 + len;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

SSL_CTX *rt_tls_new(const char *cert, const char *key, const char **why)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    *why = "OpenSSL gives no context";
    if (ctx == NULL) {
        return NULL;
    }
    *why = NULL;
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* No tickets and no session cache: each edge process would need the same keys, and they cost
     * memory per connection. Renegotiation is a way to make us work. */
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                       SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                       SSL_OP_IGNORE_UNEXPECTED_EOF);
    (void)SSL_CTX_set_num_tickets(ctx, 0);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
        *why = "the TLS certificate file is missing or holds no PEM certificate";
    } else if (key == NULL || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        *why = "the TLS key file is missing or holds no PEM key without passphrase";
    } else if (SSL_CTX_check_private_key(ctx) != 1) {
        *why = "the TLS key does not belong to the TLS certificate";
    }
    ERR_clear_error();
    if (*why != NULL) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

SSL *rt_tls_accept(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);

    if (ssl != NULL && SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    if (ssl != NULL) {
        SSL_set_accept_state(ssl);
    }
    return ssl;
}

/* After a call that returned `r` <= 0: 0 if it only waits for the descriptor, else -1. */
static int waits(struct rt_conn *c, int r)
{
    int why = SSL_get_error(c->ssl, r);

    ERR_clear_error(); /* the queue is the thread's, and would blame the next connection */
    if (why == SSL_ERROR_WANT_WRITE) {
        c->tls_wants_write = true;
        return 0;
    }
    return why == SSL_ERROR_WANT_READ ? 0 : -1;
}

int rt_tls_handshake(struct rt_conn *c)
{
    c->tls_wants_write = false;
    int r = SSL_do_handshake(c->ssl);

    return r == 1 ? 1 : waits(c, r);
}

ssize_t rt_tls_read(struct rt_conn *c, void *p, size_t n)
{
    size_t got = 0;
    int r = SSL_read_ex(c->ssl, p, n, &got);

    if (r == 1) {
        return (ssize_t)got;
    }
    if ((SSL_get_shutdown(c->ssl) & SSL_RECEIVED_SHUTDOWN) != 0) {
        return 0;
    }
    errno = waits(c, r) == 0 ? EAGAIN : EPIPE;
    return -1;
}

ssize_t rt_tls_write(struct rt_conn *c, const void *p, size_t n)
{
    size_t done = 0;
    int r = SSL_write_ex(c->ssl, p, n, &done);

    if (r == 1) {
        return (ssize_t)done;
    }
    errno = waits(c, r) == 0 ? EAGAIN : EPIPE;
    return -1;
}

void rt_tls_bye(struct rt_conn *c)
{
    (void)SSL_shutdown(c->ssl);
    ERR_clear_error();
}
