/* serve_listen.c - the socket that clients come to. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

static int port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

static int is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
}

static int open_one(const struct addrinfo *at)
{
    const int on = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, 1024) == 0) return fd;
    const int problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static int refuse(const char *host, int64_t port)
{
    if (errno == EADDRINUSE)
        cli_message("port %lld of %s is in use by another program; --port takes another one, 0 any that is free",
                    (long long)port, host);
    else cli_message("port %lld of %s: %s", (long long)port, host, strerror(errno));
    return -1;
}

int serve_open_socket(const char *host, int64_t port, int *out_port, int *on_loopback)
{
    struct addrinfo wanted, *found = NULL;
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char service[16];
    memset(&wanted, 0, sizeof wanted);
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_PASSIVE;
    snprintf(service, sizeof service, "%lld", (long long)port);
    int rc = getaddrinfo(host, service, &wanted, &found);
    if (rc) return cli_message("--host %s: %s", host, gai_strerror(rc)), -1;
    int fd = open_one(found);
    freeaddrinfo(found);
    if (fd < 0) return refuse(host, port);
    memset(&address, 0, sizeof address);
    if (getsockname(fd, (struct sockaddr *)&address, &size)) {
        close(fd);
        return refuse(host, port);
    }
    *out_port = port_of(&address);
    *on_loopback = is_loopback(&address);
    return fd;
}
