/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/sockaddr.h"

#include <netinet/in.h>
#include <string.h>

/* Where IPv4 lies inside ::ffff:a.b.c.d. */
#define MAPPED_AT 12u

static socklen_t put_v4(const struct pr_addr *a, struct sockaddr_storage *out)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};

    memcpy(&in.sin_addr, a->ip, sizeof in.sin_addr);
    memcpy(out, &in, sizeof in);
    return sizeof in;
}

static socklen_t put_v6(const struct pr_addr *a, struct sockaddr_storage *out)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

    if (a->family == PR_ADDR_V4) {
        in.sin6_addr.s6_addr[10] = 0xff;
        in.sin6_addr.s6_addr[11] = 0xff;
        memcpy(&in.sin6_addr.s6_addr[MAPPED_AT], a->ip, sizeof(struct in_addr));
    } else {
        memcpy(&in.sin6_addr, a->ip, sizeof in.sin6_addr);
    }
    memcpy(out, &in, sizeof in);
    return sizeof in;
}

socklen_t rt_sockaddr_of(const struct pr_addr *a, int family, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == PR_ADDR_V4 && family != AF_INET6) {
        return put_v4(a, out);
    }
    if (a->family == PR_ADDR_NONE || family == AF_INET) {
        return 0;
    }
    return put_v6(a, out);
}

static void read_v4(const struct sockaddr *in, struct pr_addr *out)
{
    struct sockaddr_in v4;

    memcpy(&v4, in, sizeof v4);
    out->family = PR_ADDR_V4;
    out->port = ntohs(v4.sin_port);
    memcpy(out->ip, &v4.sin_addr, sizeof v4.sin_addr);
}

static bool read_v6(const struct sockaddr *in, struct pr_addr *out)
{
    struct sockaddr_in6 v6;

    memcpy(&v6, in, sizeof v6);
    if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) {
        return false;
    }
    out->port = ntohs(v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        out->family = PR_ADDR_V4;
        memcpy(out->ip, &v6.sin6_addr.s6_addr[MAPPED_AT], sizeof(struct in_addr));
    } else {
        out->family = PR_ADDR_V6;
        memcpy(out->ip, &v6.sin6_addr, sizeof v6.sin6_addr);
    }
    return true;
}

bool rt_sockaddr_read(const struct sockaddr *in, struct pr_addr *out)
{
    memset(out, 0, sizeof *out);
    if (in->sa_family == AF_INET) {
        read_v4(in, out);
        return true;
    }
    return in->sa_family == AF_INET6 && read_v6(in, out);
}
