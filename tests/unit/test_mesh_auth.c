/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: nobody is a link who has not shown a key of the ring: wrong keys, foreign TLS, handshakes
 * led elsewhere or played again are refused and counted, and change nothing.
 */
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "mesh_world.h"

/* ---- keys ---- */

/* A ring whose only key has the name of a key of `like` and other bytes. */
static void same_name_other_bytes(struct rt_keyring *ring, const struct rt_keyring *like)
{
    ring->key[0].id = like->key[0].id;
    memcpy(ring->key[0].identity, like->key[0].identity, sizeof ring->key[0].identity);
}

static void property_31_keys(void **state)
{
    static const struct {
        const char *name;
        const char *dials, *listens; /* NULL: insecure */
        bool same_name;
        const char *story; /* of who dials; NULL: a link */
    } cases[] = {
        {"same key", KEY_OLD, KEY_OLD, false, NULL},
        {"no key at all", NULL, NULL, false, NULL},
        {"the second of the ring", KEY_NEW, KEY_OLD "," KEY_NEW, false, NULL},
        {"another key", KEY_OTHER, KEY_OLD, false, "fail 2 proto;"},
        {"only our second key is known there", KEY_OTHER "," KEY_OLD, KEY_OLD, false,
         "fail 2 proto;"},
        {"another key of the same name", KEY_OTHER, KEY_OLD, true, "fail 2 proto;"},
        {"no key dials", NULL, KEY_OLD, false, "fail 2 eof;"},
        {"no key listens", KEY_OLD, NULL, false, "fail 2 proto;"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct node *a = node(w, 0, cases[i].dials);
        struct node *b = node(w, 1, cases[i].listens);

        if (cases[i].same_name) {
            same_name_other_bytes(a->keys, b->keys);
        }
        dial(a, b, 2);
        if (cases[i].story == NULL) {
            run_until_calm(a, b);
        } else {
            run_until_told(a, ";");
            while (b->m->nlinks > 0 || a->m->nlinks > 0) {
                (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
            }
            if (strcmp(a->story, cases[i].story) != 0) {
                fail_msg("%s: %s (%s)", cases[i].name, a->story, a->last_text);
            }
            assert_string_equal(b->story, "");
            assert_int_equal(b->m->counts.refused_key, cases[i].listens != NULL);
            assert_int_equal(b->m->counts.malformed, cases[i].listens == NULL);
            assert_int_equal(a->m->counts.up + b->m->counts.up, 0);
        }
        stop(a);
        stop(b);
        rt_keyring_free(a->keys);
        rt_keyring_free(b->keys);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* ---- foreign TLS ---- */

/* One end of TLS on a raw connection. */
struct foreign {
    struct raw *raw;
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out;
    bool done, failed;
    char text[4096]; /* what came inside TLS */
    size_t ntext;
};

static void pump(struct raw *r)
{
    struct foreign *f = r->ctx;
    uint8_t out[16384];
    size_t got = 0;
    int n;

    if (r->in_len > 0) {
        assert_int_equal(BIO_write(f->in, r->in, (int)r->in_len), r->in_len);
        r->in_len = 0;
    }
    if (!f->done && !f->failed) {
        n = SSL_do_handshake(f->ssl);
        f->done = n == 1;
        f->failed = n != 1 && SSL_get_error(f->ssl, n) != SSL_ERROR_WANT_READ;
    }
    if (f->done && SSL_read_ex(f->ssl, f->text + f->ntext, sizeof f->text - f->ntext, &got) == 1) {
        f->ntext += got;
    }
    ERR_clear_error();
    while (!r->eof && BIO_ctrl_pending(f->out) > 0) {
        n = BIO_read(f->out, out, sizeof out);
        assert_true(n > 0);
        if (send(r->fd, out, (size_t)n, MSG_NOSIGNAL) != n) {
            break; /* it hung up on us already */
        }
    }
}

static void foreign_begin(struct foreign *f, struct raw *r, SSL_CTX *ctx, bool client)
{
    *f = (struct foreign){.raw = r, .ctx = ctx, .ssl = SSL_new(ctx)};
    f->in = BIO_new(BIO_s_mem());
    f->out = BIO_new(BIO_s_mem());
    SSL_set_bio(f->ssl, f->in, f->out);
    if (client) {
        SSL_set_connect_state(f->ssl);
    } else {
        SSL_set_accept_state(f->ssl);
    }
    r->on_bytes = pump;
    r->ctx = f;
    pump(r);
}

static void foreign_end(struct foreign *f)
{
    f->raw->on_bytes = NULL;
    raw_close(f->raw);
    SSL_free(f->ssl);
    SSL_CTX_free(f->ctx);
}

/* A server with a certificate it made itself, and no key. */
static SSL_CTX *certificate_server(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();

    assert_non_null(key);
    assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                                (const unsigned char *)"node-2", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(cert)), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

/*
 * A server without the key completes the handshake by its certificate, because nothing verifies
 * that; the dialling end must see that its key was not used, and say nothing.
 */
static void property_31_server_with_a_certificate(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct pr_addr addr;
    int listener = raw_listen(&addr);
    struct foreign f;

    rt_mesh_dial(a->m, 2, &addr);
    foreign_begin(&f, raw_accept(w, listener), certificate_server(), false);
    run_until_eof(f.raw);
    run_until_told(a, "fail 2 proto;");
    assert_true(f.done);          /* OpenSSL itself had no objection */
    assert_int_equal(f.ntext, 0); /* and not a byte of HELLO came */
    assert_string_equal(a->story, "fail 2 proto;");
    assert_non_null(strstr(a->last_text, "certificate"));
    assert_int_equal(a->m->counts.refused_key, 1);
    foreign_end(&f);
    (void)close(listener);
}

static const struct rt_key *shown_key; /* what shows_key offers */

static SSL_SESSION *make_session(SSL *ssl, const unsigned char suite[2])
{
    SSL_SESSION *s = SSL_SESSION_new();

    assert_int_equal(SSL_SESSION_set1_master_key(s, shown_key->bytes, RT_KEY_BYTES), 1);
    assert_int_equal(SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, suite)), 1);
    assert_int_equal(SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION), 1);
    return s;
}

static int shows_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len,
                     SSL_SESSION **s)
{
    static const unsigned char suite[] = {0x13, 0x02};

    (void)md;
    *s = make_session(ssl, suite);
    *id = (const unsigned char *)shown_key->identity;
    *len = strlen(shown_key->identity);
    return 1;
}

static int shows_key_sha256(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *len,
                            SSL_SESSION **s)
{
    static const unsigned char suite[] = {0x13, 0x01};

    (void)md;
    *s = make_session(ssl, suite);
    *id = (const unsigned char *)shown_key->identity;
    *len = strlen(shown_key->identity);
    return 1;
}

enum foreign_client { PLAIN_13 = 1, PLAIN_12, SUITE_128, WITH_KEY };

static SSL_CTX *foreign_client(enum foreign_client kind)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    switch (kind) {
    case PLAIN_13:
        break;
    case PLAIN_12:
        assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION), 1);
        break;
    case SUITE_128:
        assert_int_equal(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256"), 1);
        SSL_CTX_set_psk_use_session_callback(ctx, shows_key_sha256);
        break;
    case WITH_KEY:
        assert_int_equal(SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384"), 1);
        SSL_CTX_set_psk_use_session_callback(ctx, shows_key);
        break;
    }
    return ctx;
}

static void property_31_foreign_clients(void **state)
{
    static const struct {
        const char *name;
        enum foreign_client kind;
    } cases[] = {
        {"TLS 1.3 without a key", PLAIN_13},
        {"TLS 1.2", PLAIN_12},
        {"the key with another suite", SUITE_128},
    };
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct pr_addr addr = rt_mesh_addr(a->m);

    shown_key = &a->keys->key[0];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct foreign f;

        foreign_begin(&f, raw_dial(w, &addr), foreign_client(cases[i].kind), true);
        run_until_eof(f.raw);
        if (f.done || a->m->counts.refused_key != i + 1 || a->m->nlinks != 0) {
            fail_msg("%s: not refused", cases[i].name);
        }
        foreign_end(&f);
    }
    assert_string_equal(a->story, "");
}

/* Our own kind by hand, to be sure that the cases above fail for the right reason; then garbage
 * inside of TLS and an altered record. */
static void property_31_foreign_with_the_key(void **state)
{
    static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 1, 1, 0, 0};
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct pr_addr addr = rt_mesh_addr(a->m);
    const struct pr_node_hello h = good_hello();
    uint8_t p[512];

    shown_key = &a->keys->key[0];
    for (uint32_t i = 0; i < 2; i++) {
        struct foreign f;
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        int n;

        a->story[0] = '\0';
        foreign_begin(&f, raw_dial(w, &addr), foreign_client(WITH_KEY), true);
        while (!f.done) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        pr_node_hello_encode(&o, &h);
        assert_int_equal(SSL_write(f.ssl, p, (int)o.len), o.len);
        pump(f.raw);
        run_until_told(a, "up 7;");
        assert_int_equal(SSL_write(f.ssl, garbage, sizeof garbage), sizeof garbage);
        n = BIO_read(f.out, p, sizeof p);
        assert_true(n > 0);
        p[n - 1] ^= (uint8_t)i; /* the second time its tag is wrong */
        raw_send(f.raw, p, (size_t)n);
        run_until_told(a, "up 7;down 7 proto;");
        assert_int_equal(a->m->counts.malformed, 1);
        foreign_end(&f);
    }
    assert_int_equal(a->frames, 0);
}

/* ---- in the middle ---- */

/* Passes on what comes from one to the other, and remembers what `from` said. */
struct middle {
    struct raw *from, *to;
    uint8_t said[65536];
    size_t nsaid;
    bool flip; /* the next byte that passes */
};

static void pass(struct raw *r)
{
    struct middle *m = r->ctx;
    struct raw *other = r == m->from ? m->to : m->from;

    if (r == m->from && r->in_len > 0 && m->nsaid + r->in_len <= sizeof m->said) {
        memcpy(m->said + m->nsaid, r->in, r->in_len);
        m->nsaid += r->in_len;
    }
    if (m->flip && r->in_len > 0) {
        r->in[r->in_len - 1] ^= 1;
        m->flip = false;
    }
    if (r->in_len > 0 && !other->eof) {
        (void)send(other->fd, r->in, r->in_len, MSG_NOSIGNAL);
    }
    r->in_len = 0;
    if (r->eof) {
        (void)shutdown(other->fd, SHUT_WR);
    }
}

static void middle_begin(struct middle *m, struct world *w, int listener, const struct pr_addr *to)
{
    m->from = raw_accept(w, listener);
    m->to = raw_dial(w, to);
    m->from->on_bytes = pass;
    m->from->ctx = m;
    m->to->on_bytes = pass;
    m->to->ctx = m;
}

/* Both ends know one secret, so a handshake led back to its sender passes TLS. The names in HELLO
 * do not. */
static void property_31_reflected(void **state)
{
    static const char *const keys[] = {KEY_OLD, NULL};
    static const uint64_t ids[] = {2, 0};
    struct world *w = *state;
    struct middle *m = rt_calloc(4, sizeof *m);

    for (uint32_t i = 0; i < 4; i++) {
        struct node *a = node(w, 0, keys[i / 2]);
        struct pr_addr self = rt_mesh_addr(a->m);
        struct pr_addr addr;
        int listener = raw_listen(&addr);

        rt_mesh_dial(a->m, ids[i % 2], &addr);
        middle_begin(&m[i], w, listener, &self);
        run_until_told(a, i % 2 == 0 ? "bye 2 self;" : "bye 0 self;");
        while (a->m->nlinks > 0) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        assert_int_equal(a->m->counts.up, 0);
        (void)close(listener);
        stop(a);
        rt_keyring_free(a->keys);
        memset(&w->node, 0, sizeof w->node);
    }
    /* Without the detour, as a seed list that names all nodes does. */
    {
        struct node *a = node(w, 0, KEY_OLD);

        dial(a, a, 0);
        run_until_told(a, "bye 0 self;");
        assert_int_equal(a->m->counts.up, 0);
        dial(a, a, 1); /* by id: nothing happens at all */
        assert_int_equal(a->m->counts.dialed, 1);
    }
    for (uint32_t i = 0; i < w->nraw; i++) {
        w->raw[i].on_bytes = NULL;
    }
    rt_free(m);
}

/* A recorded connection played again, and a record altered on its way. */
static void property_31_replayed_and_altered(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr to = rt_mesh_addr(b->m);
    struct pr_addr addr;
    int listener = raw_listen(&addr);
    struct middle *m = rt_calloc(1, sizeof *m);
    struct raw *again;
    uint8_t p[256];

    rt_mesh_dial(a->m, 2, &addr);
    middle_begin(m, w, listener, &to);
    run_until_calm(a, b);
    again = raw_dial(w, &to);
    raw_send(again, m->said, m->nsaid);
    run_until_eof(again);
    assert_int_equal(b->m->counts.refused_key, 1);
    assert_string_equal(b->story, "up 1;");
    m->flip = true;
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, 1, 1))));
    run_until_told(b, "up 1;down 1 proto;");
    run_until_told(a, "up 2;down 2 eof;");
    assert_int_equal(b->frames, 0);
    for (uint32_t i = 0; i < w->nraw; i++) {
        w->raw[i].on_bytes = NULL;
    }
    (void)close(listener);
    rt_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(property_31_keys),
        T(property_31_server_with_a_certificate),
        T(property_31_foreign_clients),
        T(property_31_foreign_with_the_key),
        T(property_31_reflected),
        T(property_31_replayed_and_altered),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
