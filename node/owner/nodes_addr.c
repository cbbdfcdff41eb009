/* SPDX-License-Identifier: Apache-2.0 */
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/owner/nodes_in.h"
#include "node/owner/sockaddr.h"

bool rt_nodes_address(const char *text, struct pr_addr *out)
{
    struct sockaddr_storage sa;
    const char *why;

    return rt_config_address(text, &sa, &why) != 0 &&
           rt_sockaddr_read((const struct sockaddr *)&sa, out);
}

/* The address of the interface towards `to`: connecting a datagram socket sends nothing. */
static bool address_towards(const struct pr_addr *to, struct pr_addr *out)
{
    struct sockaddr_storage sa;
    socklen_t len = rt_sockaddr_of(to, AF_UNSPEC, &sa);
    int fd = len == 0 ? -1 : socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = false;

    if (fd < 0) {
        return false;
    }
    if (connect(fd, (struct sockaddr *)&sa, len) == 0) {
        len = sizeof sa;
        found = getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
                rt_sockaddr_read((struct sockaddr *)&sa, out);
    }
    (void)close(fd);
    return found;
}

static bool any_interface(struct pr_addr *out)
{
    struct ifaddrs *list = NULL;
    bool found = false;

    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (const struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
        found = i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET &&
                (i->ifa_flags & IFF_UP) != 0 && (i->ifa_flags & IFF_LOOPBACK) == 0 &&
                rt_sockaddr_read(i->ifa_addr, out);
    }
    freeifaddrs(list);
    return found;
}

static bool is_any(const struct pr_addr *a)
{
    static const uint8_t zeros[sizeof a->ip];

    return memcmp(a->ip, zeros, sizeof zeros) == 0;
}

/*
 * Where others reach this node: as set; else the address it listens at; else, listening everywhere,
 * that of the interface towards the first seed that is an address, or towards the world (192.0.2.1
 * is nobody, RFC 5737), or of the first interface.
 */
int rt_nodes_own_address(const struct rt_config *cfg, struct pr_addr *out, struct rt_error *err)
{
    const char *set = cfg->cluster_advertise != NULL ? cfg->cluster_advertise : cfg->cluster_listen;
    struct pr_addr seed = {0};
    uint16_t port = 0;
    bool found = false;

    if (!rt_nodes_address(set, out)) {
        return rt_error_set(err, RT_ECONFIG, "%s is not an address and port", set);
    }
    if (!is_any(out)) {
        return RT_OK;
    }
    port = out->port;
    if (cfg->cluster_seeds != NULL) {
        size_t n = strcspn(cfg->cluster_seeds, ",");

        found = pr_addr_parse(pr_bytes(cfg->cluster_seeds, n), &seed) == PR_OK && !is_any(&seed) &&
                address_towards(&seed, out);
    }
    if (!found) {
        found =
            (pr_addr_parse(pr_str("192.0.2.1:9"), &seed) == PR_OK && address_towards(&seed, out)) ||
            any_interface(out);
    }
    if (!found) {
        return rt_error_set(err, RT_ECONFIG,
                            "no network interface is up; set REALTIME_CLUSTER_ADVERTISE to the "
                            "address and port where other nodes reach this one");
    }
    out->port = port;
    return RT_OK;
}
