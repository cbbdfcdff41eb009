/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: nobody is a link who has not shown a key of the ring and said who he is, as the node that
 * was meant: wrong keys, foreign TLS, handshakes led elsewhere or played again, wrong HELLOs and
 * plain garbage are refused and counted, and change nothing.
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

/* ---- HELLO ---- */

static void test_hellos(void **state)
{
    static const struct {
        const char *name;
        uint64_t cluster, from, to, epoch;
        uint32_t min, max;
        const char *node;
        const char *bye; /* NULL: comes up */
        const char *text;
    } cases[] = {
        {"good", CLUSTER, 7, 1, 100, PR_PROTO_MIN, PR_PROTO_MAX, "seven", NULL, ""},
        {"a seed", CLUSTER, 7, 0, 100, PR_PROTO_MIN, PR_PROTO_MAX, "seven", NULL, ""},
        {"a wider range", CLUSTER, 7, 1, 100, 0, 9999, "seven", NULL, ""},
        {"another cluster", CLUSTER + 1, 7, 1, 100, 1, 1, "seven", "cluster", "another cluster"},
        {"another node", CLUSTER, 7, 3, 100, 1, 1, "seven", "target", "another node"},
        {"itself", CLUSTER, 1, 1, 100, 1, 1, "node-1", "self", "itself"},
        {"itself, as a seed", CLUSTER, 1, 0, 100, 1, 1, "node-1", "self", "itself"},
        {"our name, another process", CLUSTER, 1, 0, 101, 1, 1, "node-1", "name",
         "node name node-1 is used by 127.0.0.1:"},
        {"only younger protocols", CLUSTER, 7, 1, 100, PR_PROTO_MAX + 1, PR_PROTO_MAX + 2, "seven",
         "version", "the caller 2 to 3"},
        {"only older protocols", CLUSTER, 7, 1, 100, 0, 0, "seven", "version", "1 to 1"},
        {"a range the wrong way round", CLUSTER, 7, 1, 100, 2, 1, "seven", "version", "2 to 1"},
        {"no id", CLUSTER, 0, 1, 100, 1, 1, "seven", "proto", "without an id"},
    };
    struct world *w = *state;

    _Static_assert(PR_PROTO_MIN == 1 && PR_PROTO_MAX == 1, "the texts above name the range");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct node *a = node(w, 0, NULL);
        struct pr_addr addr = rt_mesh_addr(a->m);
        struct raw *r = raw_dial(w, &addr);
        struct pr_node_hello h = good_hello();
        struct pr_frame f;
        struct pr_node_hello_ok ok;
        struct pr_bye bye;
        uint8_t keep[512];

        h.cluster = cases[i].cluster;
        h.from_id = cases[i].from;
        h.to_id = cases[i].to;
        h.epoch = cases[i].epoch;
        h.proto_min = cases[i].min;
        h.proto_max = cases[i].max;
        h.name = pr_str(cases[i].node);
        raw_hello(r, &h);
        run_until_frame(r, cases[i].bye == NULL ? PR_T_NODE_HELLO_OK : PR_T_BYE, &f, keep,
                        sizeof keep);
        if (cases[i].bye == NULL) {
            assert_int_equal(pr_node_hello_ok_decode(&f, &ok), PR_OK);
            assert_int_equal(ok.proto, PR_PROTO_MAX);
            assert_true(ok.from_id == 1 && ok.to_id == 7);
            assert_string_equal(a->story, "up 7;");
        } else {
            char text[PR_ID_MAX + 1];

            assert_int_equal(pr_bye_decode(&f, &bye), PR_OK);
            (void)snprintf(text, sizeof text, "%.*s", (int)bye.text.n, (const char *)bye.text.p);
            if (strcmp(rt_mesh_bye_name(bye.code), cases[i].bye) != 0 ||
                strstr(text, cases[i].text) == NULL) {
                fail_msg("%s: BYE %u, %s", cases[i].name, bye.code, text);
            }
            run_until_eof(r);
            assert_string_equal(a->story, "");
            assert_int_equal(a->m->counts.up, 0);
            assert_int_equal(a->m->counts.refused_hello, bye.code != PR_BYE_SELF);
        }
        raw_close(r);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* What who dials hears of it: by its id, or 0 for a seed, with the reason of the other end. */
static void test_refused_dials(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *cluster = prepare(w, 1, KEY_OLD);
    struct node *version = prepare(w, 2, KEY_OLD);
    struct node *name = prepare(w, 3, KEY_OLD);

    cluster->cfg.cluster_hash = CLUSTER + 1;
    version->cfg.proto_min = 2;
    version->cfg.proto_max = 3;
    name->cfg.id = 1;
    name->cfg.epoch = 99;
    name->cfg.name = "node-1";
    (void)start(cluster);
    (void)start(version);
    (void)start(name);
    dial(a, cluster, 2);
    run_until_told(a, "bye 2 cluster;");
    assert_non_null(strstr(a->last_text, "REALTIME_CLUSTER_NAME"));
    dial(a, version, 0);
    run_until_told(a, "bye 0 version;");
    assert_non_null(strstr(a->last_text, "speaks protocols 2 to 3, the caller 1 to 1"));
    dial(a, name, 0);
    run_until_told(a, "bye 0 name;");
    assert_non_null(strstr(a->last_text, "set REALTIME_NODE"));
    dial(a, version, 9);
    run_until_told(a, "bye 9 version;");
    assert_string_equal(a->story, "bye 2 cluster;bye 0 version;bye 0 name;bye 9 version;");
    assert_int_equal(a->m->counts.up, 0);
}

/* Two names with one id: the one that is linked stays. */
static void test_two_names_one_id(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct pr_addr addr = rt_mesh_addr(a->m);
    struct raw *first = raw_up(w);
    struct raw *second = raw_dial(w, &addr);
    struct pr_node_hello h = good_hello();
    struct pr_frame f;
    struct pr_bye bye;
    uint8_t keep[512];

    h.name = pr_str("siete");
    h.epoch = 101;
    raw_hello(second, &h);
    run_until_frame(second, PR_T_BYE, &f, keep, sizeof keep);
    assert_int_equal(pr_bye_decode(&f, &bye), PR_OK);
    assert_int_equal(bye.code, PR_BYE_NAME);
    assert_string_equal(a->story, "up 7;");
    raw_close(first);
    run_until_told(a, "up 7;down 7 eof;");
}

/* ---- garbage ---- */

#define HEAD(len, type, cls) 0, 0, (len) >> 8, (len)&0xff, type, cls, 0, 0

/* To a listener without TLS, before and after it is up, and into the handshake of one with TLS. */
static void test_garbage(void **state)
{
    static const struct {
        const char *name;
        uint8_t bytes[24];
        size_t n;
        bool cut; /* the connection ends behind it */
        const char *up_story;
    } cases[] = {
        {"nothing", {0}, 0, true, "eof"},
        {"half a length", {0, 0}, 2, true, "eof"},
        {"half a frame", {HEAD(20, PR_T_PUB, 4), 1, 2, 3}, 11, true, "eof"},
        {"the longest length", {0xff, 0xff, 0xff, 0xff}, 4, false, "proto"},
        {"one over PR_FRAME_MAX", {0, 0x81, 0, 1, PR_T_PUB, 4, 0, 0}, 8, false, "proto"},
        {"length 0", {0, 0, 0, 0, 0, 0, 0, 0}, 8, false, "proto"},
        {"length 3", {0, 0, 0, 3, 1, 1, 1, 1}, 8, false, "proto"},
        {"class 0", {HEAD(4, PR_T_PUB, 0)}, 8, false, "proto"},
        {"class 5", {HEAD(4, PR_T_PUB, 5)}, 8, false, "proto"},
        {"HTTP", "GET / HTTP/1.1\r\n\r\n", 18, false, "proto"},
        {"HELLO of an edge", {HEAD(9, PR_T_HELLO, 1), 0x95, 1, 1, 1, 0}, 13, false, "proto"},
        {"HELLO without fields", {HEAD(4, PR_T_NODE_HELLO, 1)}, 8, false, "proto"},
        {"HELLO_OK", {HEAD(5, PR_T_NODE_HELLO_OK, 1), 0x90}, 9, false, "proto"},
        {"BYE without fields", {HEAD(4, PR_T_BYE, 1)}, 8, false, "proto"},
        {"PING without fields", {HEAD(4, PR_T_PING, 1)}, 8, false, "proto"},
        {"PONG of a text", {HEAD(6, PR_T_PONG, 1), 0x91, 0xa0}, 10, false, "proto"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t kind = 0; kind < 3; kind++) {
            struct node *a = node(w, 0, kind == 2 ? KEY_OLD : NULL);
            struct pr_addr addr = rt_mesh_addr(a->m);
            struct raw *r = kind == 1 ? raw_up(w) : raw_dial(w, &addr);
            char story[40] = "";

            raw_send(r, cases[i].bytes, cases[i].n);
            /* TLS waits for more where the length of a record says so. */
            if (cases[i].cut || kind == 2) {
                assert_int_equal(shutdown(r->fd, SHUT_WR), 0);
            }
            if (kind == 1) {
                (void)snprintf(story, sizeof story, "up 7;down 7 %s;", cases[i].up_story);
            }
            run_until_eof(r);
            raw_close(r);
            while (a->m->nlinks > 0 || a->m->notices != NULL) {
                (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
            }
            if (strcmp(a->story, story) != 0) {
                fail_msg("%s, kind %u: %s", cases[i].name, kind, a->story);
            }
            assert_int_equal(a->frames, 0);
            stop(a);
            rt_keyring_free(a->keys);
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
            memset(&w->node, 0, sizeof w->node);
            rt_free(r->in);
            r->in = NULL;
            w->nraw = 0;
        }
    }
}

/* Frames in their right form that may not come where they come. */
static void test_wrong_moment(void **state)
{
    static const char *const names[] = {"PUB first",   "PING first",   "HELLO_OK first",
                                        "HELLO twice", "a long HELLO", "BYE first"};
    struct world *w = *state;

    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct node *a = node(w, 0, NULL);
        struct pr_addr addr = rt_mesh_addr(a->m);
        struct raw *r = raw_dial(w, &addr);
        struct pr_node_hello h = good_hello();
        uint8_t p[8192];
        char url[4096];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_ping ping = {.token = 0};
        const struct pr_node_hello_ok ok = {
            .proto = 1, .from_id = 7, .to_id = 1, .epoch = 100, .name = pr_str("seven")};
        const struct pr_bye bye = {.code = 99, .text = pr_str("no")};

        if (i == 0) {
            o.len = make_pub(p, sizeof p, 1, 10);
        } else if (i == 1) {
            pr_ping_encode(&o, &ping);
        } else if (i == 2) {
            pr_node_hello_ok_encode(&o, &ok);
        } else if (i == 3) {
            pr_node_hello_encode(&o, &h);
            pr_node_hello_encode(&o, &h);
        } else if (i == 4) {
            memset(url, 'u', sizeof url);
            h.client_url = pr_bytes(url, sizeof url);
            pr_node_hello_encode(&o, &h);
        } else {
            pr_bye_encode(&o, &bye);
        }
        raw_send(r, p, o.len);
        run_until_eof(r);
        raw_close(r);
        while (a->m->nlinks > 0 || a->m->notices != NULL) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        if (strcmp(a->story, i == 3 ? "up 7;down 7 proto;" : "") != 0) {
            fail_msg("%s: %s", names[i], a->story);
        }
        assert_int_equal(a->m->counts.malformed, i != 5);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* What a wrong server may answer. */
static void test_wrong_answers(void **state)
{
    static const struct {
        const char *name;
        uint64_t from, to;
        uint32_t proto;
        uint64_t dialled;
        const char *story;
    } cases[] = {
        {"right", 2, 1, 1, 2, "up 2;"},
        {"right, to a seed", 2, 1, 1, 0, "up 2;"},
        {"another node than was dialled", 3, 1, 1, 2, "fail 2 proto;"},
        {"for another node", 2, 3, 1, 2, "fail 2 proto;"},
        {"from ourselves", 1, 1, 1, 2, "fail 2 proto;"},
        {"from ourselves, to a seed", 1, 1, 1, 0, "fail 0 proto;"},
        {"from nobody", 0, 1, 1, 0, "fail 0 proto;"},
        {"a protocol nobody offered", 2, 1, 9, 2, "fail 2 proto;"},
        {"protocol 0", 2, 1, 0, 2, "fail 2 proto;"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct node *a = node(w, 0, NULL);
        struct pr_addr addr;
        int listener = raw_listen(&addr);
        struct raw *r;
        struct pr_frame f;
        uint8_t p[512];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_node_hello_ok ok = {.proto = cases[i].proto,
                                            .from_id = cases[i].from,
                                            .to_id = cases[i].to,
                                            .epoch = 100,
                                            .name = pr_str("two")};
        struct pr_node_hello h;

        rt_mesh_dial(a->m, cases[i].dialled, &addr);
        r = raw_accept(w, listener);
        run_until_frame(r, PR_T_NODE_HELLO, &f, p, sizeof p);
        assert_int_equal(pr_node_hello_decode(&f, &h), PR_OK);
        assert_true(h.cluster == CLUSTER && h.from_id == 1 && h.to_id == cases[i].dialled);
        assert_int_equal(h.addr.port, rt_mesh_addr(a->m).port);
        pr_node_hello_ok_encode(&o, &ok);
        raw_send(r, p, o.len);
        run_until_told(a, ";");
        if (strcmp(a->story, cases[i].story) != 0) {
            fail_msg("%s: %s", cases[i].name, a->story);
        }
        raw_close(r);
        (void)close(listener);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* Anything else than an answer. */
static void test_no_answer(void **state)
{
    static const char *const stories[] = {"fail 2 eof;",    "fail 2 proto;",   "fail 2 proto;",
                                          "bye 2 unknown;", "fail 2 timeout;", "fail 2 proto;"};
    static const uint8_t empty_ok[] = {HEAD(5, PR_T_NODE_HELLO_OK, 1), 0x90};
    struct world *w = *state;

    for (uint32_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        struct node *a = prepare(w, 0, NULL);
        struct pr_addr addr;
        int listener = raw_listen(&addr);
        struct raw *r;
        struct pr_frame f;
        uint8_t p[512];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_node_hello h = good_hello();
        const struct pr_bye bye = {.code = 4711, .text = pr_str("for reasons of my own")};

        a->cfg.times.hello_ms = i == 4 ? 50 : 0;
        (void)start(a);
        rt_mesh_dial(a->m, 2, &addr);
        r = raw_accept(w, listener);
        run_until_frame(r, PR_T_NODE_HELLO, &f, p, sizeof p);
        if (i == 0) {
            raw_close(r);
        } else if (i == 1) {
            o.len = make_pub(p, sizeof p, 1, 10);
        } else if (i == 2) {
            pr_node_hello_encode(&o, &h);
        } else if (i == 3) {
            pr_bye_encode(&o, &bye);
        } else if (i == 5) {
            pr_put(&o, empty_ok, sizeof empty_ok);
        }
        if (o.len > 0) {
            raw_send(r, p, o.len);
        }
        run_until_told(a, ";");
        if (strcmp(a->story, stories[i]) != 0) {
            fail_msg("case %u: %s", i, a->story);
        }
        if (i == 3) {
            assert_string_equal(a->last_text, "for reasons of my own");
        }
        assert_int_equal(a->m->counts.hello_timeout, i == 4);
        raw_close(r);
        (void)close(listener);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* ---- strangers ---- */

/* Connections that say nothing are cut after hello_ms, with TLS and without. */
static void test_silent_strangers(void **state)
{
    static const char *const keys[] = {KEY_OLD, NULL};
    struct world *w = *state;

    for (uint32_t i = 0; i < 2; i++) {
        struct node *a = prepare(w, i, keys[i]);
        struct pr_addr addr;
        struct raw *r;

        a->cfg.times.hello_ms = 30;
        addr = rt_mesh_addr(start(a)->m);
        r = raw_dial(w, &addr);
        run_until_eof(r);
        assert_int_equal(a->m->counts.hello_timeout, 1);
        assert_string_equal(a->story, "");
    }
}

/* Strangers are few: the oldest goes for the next, and a node still gets in among them. */
static void test_many_strangers(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr addr = rt_mesh_addr(a->m);

    for (uint32_t i = 0; i < RT_MESH_STRANGERS_MAX + 6; i++) {
        (void)raw_dial(w, &addr);
    }
    for (uint32_t i = 0; i < 6; i++) {
        run_until_eof(&w->raw[i]);
    }
    assert_int_equal(a->m->nlinks, RT_MESH_STRANGERS_MAX);
    assert_int_equal(a->m->counts.refused_full, 6);
    assert_false(w->raw[6].eof);
    dial(b, a, 1);
    run_until_told(b, "up 1;");
    run_until_eof(&w->raw[6]);
    assert_false(w->raw[7].eof);
    assert_int_equal(a->m->counts.refused_full, 7);
}

static void test_bad_config(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, NULL);
    char longest[RT_MESH_URL_MAX + 2];
    struct rt_error err = {0};
    struct rt_mesh_config cfg = a->cfg;

    memset(longest, 'u', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    cfg.url = longest;
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    cfg = a->cfg;
    cfg.name = "";
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    cfg = a->cfg;
    cfg.listen.family = PR_ADDR_NONE;
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    (void)start(a);
    cfg = a->cfg;
    cfg.listen = rt_mesh_addr(a->m);
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ESYSTEM);
    assert_non_null(strstr(err.text, "in use"));
    rt_mesh_free(NULL);
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
        T(test_hellos),
        T(test_refused_dials),
        T(test_two_names_one_id),
        T(test_garbage),
        T(test_wrong_moment),
        T(test_wrong_answers),
        T(test_no_answer),
        T(test_silent_strangers),
        T(test_many_strangers),
        T(test_bad_config),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
