/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/udp.h"

#include <assert.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "node/base/alloc.h"
#include "node/owner/sockaddr.h"

/* Room for one datagram and one byte, by which a longer one is told from the longest. */
#define RECEIVE_BYTES (RT_SEAL_PACKET_MAX + 1)
struct rt_mesh_udp {
    uv_udp_t uv;
    int family; /* of the socket */
    struct pr_addr addr;
    struct rt_seal *seal;
    rt_mesh_udp_fn on_packet;
    void *ctx;
    struct rt_mesh_udp_counts counts;
    uint8_t in[RECEIVE_BYTES];
    uint8_t payload[RT_SEAL_PAYLOAD_MAX];
    uint8_t out[RT_SEAL_PACKET_MAX];
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct rt_mesh_udp *u = handle->data;

    (void)suggested;
    *buf = uv_buf_init((char *)u->in, sizeof u->in);
}

static void on_receive(uv_udp_t *handle, ssize_t n, const uv_buf_t *buf,
                       const struct sockaddr *from, unsigned flags)
{
    struct rt_mesh_udp *u = handle->data;
    struct pr_addr addr;
    struct pr_slice payload;

    (void)flags; /* UV_UDP_PARTIAL only with n = RECEIVE_BYTES, which is refused as too long */
    if (n < 0) {
        u->counts.receive_failed++;
        return;
    }
    if (from == NULL) {
        return; /* nothing more to read in this turn */
    }
    u->counts.received++;
    u->counts.received_bytes += (uint64_t)n;
    if (!rt_sockaddr_read(from, &addr)) {
        u->counts.foreign_addr++;
        return;
    }
    if (rt_seal_open(u->seal, pr_bytes(buf->base, (size_t)n), u->payload, &payload, NULL) ==
        RT_SEAL_TAKEN) {
        u->on_packet(u->ctx, &addr, payload);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct rt_mesh_udp *u = handle->data;

    rt_seal_free(u->seal);
    rt_free(u);
}

void rt_mesh_udp_close(struct rt_mesh_udp *u)
{
    if (u != NULL) {
        uv_close((uv_handle_t *)&u->uv, on_closed);
    }
}

/* Whatever net.ipv6.bindv6only says. Refused, IPv4 peers fail one by one and are counted. */
static void both_families(struct rt_mesh_udp *u)
{
    static const int off = 0;
    uv_os_fd_t fd;

    if (uv_fileno((const uv_handle_t *)&u->uv, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
}

static int start(struct rt_mesh_udp *u, const struct pr_addr *listen)
{
    struct sockaddr_storage addr;
    int len = sizeof addr;
    int rv;

    (void)rt_sockaddr_of(listen, AF_UNSPEC, &addr);
    if (addr.ss_family == AF_INET6) {
        both_families(u);
    }
    rv = uv_udp_bind(&u->uv, (const struct sockaddr *)&addr, 0);
    if (rv != 0) {
        return rv;
    }
    rv = uv_udp_getsockname(&u->uv, (struct sockaddr *)&addr, &len);
    if (rv != 0) {
        return rv;
    }
    u->family = addr.ss_family;
    (void)rt_sockaddr_read((const struct sockaddr *)&addr, &u->addr);
    return uv_udp_recv_start(&u->uv, on_alloc, on_receive);
}

struct rt_mesh_udp *rt_mesh_udp_open(struct rt_loop *l, const struct rt_mesh_udp_setup *setup,
                                     struct rt_error *err)
{
    struct rt_mesh_udp *u;
    char text[PR_ADDR_TEXT_MAX];
    uint64_t salt;
    int rv;

    (void)pr_addr_format(&setup->listen, text, sizeof text);
    if (setup->listen.family == PR_ADDR_NONE) {
        (void)rt_error_set(err, RT_ECONFIG, "no address to listen at for the cluster");
        return NULL;
    }
    u = rt_calloc(1, sizeof *u);
    rv = uv_udp_init_ex(rt_loop_uv(l), &u->uv,
                        setup->listen.family == PR_ADDR_V4 ? AF_INET : AF_INET6);
    if (rv != 0) {
        (void)rt_error_set(err, RT_ESYSTEM, "UDP socket: %s", uv_strerror(rv));
        rt_free(u);
        return NULL;
    }
    rt_random(&salt, sizeof salt);
    u->seal = rt_seal_new(setup->keys, setup->self, salt);
    u->uv.data = u;
    u->on_packet = setup->on_packet;
    u->ctx = setup->ctx;
    rv = start(u, &setup->listen);
    if (rv != 0) {
        (void)rt_error_set(err, rv == UV_EADDRINUSE ? RT_EBUSY : RT_ESYSTEM,
                           "cannot listen at UDP %s: %s", text, uv_strerror(rv));
        rt_mesh_udp_close(u);
        return NULL;
    }
    return u;
}

struct pr_addr rt_mesh_udp_addr(const struct rt_mesh_udp *u)
{
    return u->addr;
}

void rt_mesh_udp_send(struct rt_mesh_udp *u, const struct pr_addr *to, struct pr_slice payload)
{
    struct sockaddr_storage addr;
    uv_buf_t buf;
    int rv;

    assert(payload.n > 0 && payload.n <= RT_SEAL_PAYLOAD_MAX);
    if (uv_is_closing((const uv_handle_t *)&u->uv) || rt_sockaddr_of(to, u->family, &addr) == 0) {
        u->counts.send_failed++;
        return;
    }
    buf = uv_buf_init((char *)u->out, (unsigned)rt_seal_pack(u->seal, payload, u->out));
    rv = uv_udp_try_send(&u->uv, &buf, 1, (const struct sockaddr *)&addr);
    if (rv >= 0) {
        u->counts.sent++;
        u->counts.sent_bytes += (uint64_t)rv;
    } else if (rv == UV_EAGAIN || rv == UV_ENOBUFS) {
        u->counts.send_full++;
    } else {
        u->counts.send_failed++;
    }
}

struct rt_mesh_udp_counts rt_mesh_udp_counts(const struct rt_mesh_udp *u)
{
    struct rt_mesh_udp_counts counts = u->counts;

    counts.seal = *rt_seal_counts(u->seal);
    return counts;
}
