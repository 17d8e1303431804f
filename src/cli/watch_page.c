/* watch_page.c - one page over HTTP, on the loopback interface alone: GET / and no more, a connection at a time. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli.h"
#include "watch_page.h"

enum { REQUEST = 8192, LINGER_MS = 12000, TURN_MS = 100, PATIENCE_S = 2 };
#define PAGE_LIMIT ((size_t)1 << 28)

struct cli_watch_page {
    pthread_t thread;
    int listener, port;
    char *path;
    atomic_int over, asked, last; /* pages given; the last one was */
};

static const char not_yet[] =
    "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" "
    "content=\"2\"><title>distill</title><p>The run begins; its page comes after some seconds.";

static int send_all(int to, const char *data, size_t size)
{
    while (size) {
        const ssize_t sent = send(to, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return 0;
        data += sent;
        size -= (size_t)sent;
    }
    return 1;
}

static int answer(int to, const char *status, const char *data, size_t size)
{
    char head[320];
    const int used = snprintf(head, sizeof head,
                              "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n"
                              "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                              status, size);
    return send_all(to, head, (size_t)used) && send_all(to, data, size);
}

/* A page of somewhere else whose name leads here would name that place. */
static int is_local_host(const char *request, int port)
{
    const char *line = strstr(request, "\r\n");
    char names[2][32];
    snprintf(names[0], sizeof names[0], "127.0.0.1:%d", port);
    snprintf(names[1], sizeof names[1], "localhost:%d", port);
    for (; line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, "Host:", 5) != 0) continue;
        const char *host = line + 7 + strspn(line + 7, " \t");
        const size_t size = strcspn(host, " \t\r\n");
        for (int i = 0; i < 2; i++)
            if (strlen(names[i]) == size && strncasecmp(host, names[i], size) == 0) return 1;
        return 0;
    }
    return 0;
}

static int read_request(int from, char *request)
{
    size_t used = 0;
    while (used + 1 < REQUEST) {
        const ssize_t got = recv(from, request + used, REQUEST - 1 - used, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        used += (size_t)got;
        request[used] = 0;
        if (strstr(request, "\r\n\r\n")) return 1;
    }
    return 0;
}

static void give_page(cli_watch_page *watch, int to)
{
    const int last = atomic_load(&watch->over);
    FILE *file = fopen(watch->path, "rb");
    size_t size = 0;
    char *page = file ? cli_read(file, watch->path, PAGE_LIMIT, &size) : NULL;
    if (file) fclose(file);
    const int given = answer(to, "200 OK", page ? page : not_yet, page ? size : sizeof not_yet - 1);
    free(page);
    atomic_fetch_add(&watch->asked, 1);
    if (given && last) atomic_store(&watch->last, 1);
}

static void serve(cli_watch_page *watch, int to)
{
    static const char none[] = "<!DOCTYPE html><title>404</title>There is one page here: /";
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    char request[REQUEST];
    (void)setsockopt(to, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(to, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (!read_request(to, request)) return;
    if (!is_local_host(request, watch->port)) (void)answer(to, "403 Forbidden", "", 0);
    else if (strncmp(request, "GET / ", 6) == 0) give_page(watch, to);
    else if (strncmp(request, "GET ", 4) == 0) (void)answer(to, "404 Not Found", none, sizeof none - 1);
    else (void)answer(to, "405 Method Not Allowed", "", 0);
}

static void *listen_on(void *user)
{
    cli_watch_page *watch = user;
    for (int64_t waited = 0;;) {
        struct pollfd ready = {.fd = watch->listener, .events = POLLIN};
        const int over = atomic_load(&watch->over);
        if (over && (!atomic_load(&watch->asked) || atomic_load(&watch->last) || waited >= LINGER_MS)) return NULL;
        if (over && cli_is_interrupted()) return NULL;
        if (over) waited += TURN_MS;
        if (poll(&ready, 1, TURN_MS) <= 0) continue;
        const int to = accept(watch->listener, NULL, NULL);
        if (to < 0) continue;
        serve(watch, to);
        close(to);
    }
}

static int open_listener(int *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0) return -1;
    if (bind(listener, (const struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 8) == 0 &&
        getsockname(listener, (struct sockaddr *)&at, &size) == 0) {
        *port = ntohs(at.sin_port);
        return listener;
    }
    close(listener);
    return -1;
}

cli_watch_page *cli_watch_page_start(const char *folder)
{
    const size_t size = strlen(folder) + sizeof "/report.html";
    cli_watch_page *watch = cli_memory(NULL, sizeof *watch);
    memset(watch, 0, sizeof *watch);
    watch->path = cli_memory(NULL, size);
    snprintf(watch->path, size, "%s/report.html", folder);
    watch->listener = open_listener(&watch->port);
    if (watch->listener >= 0 && pthread_create(&watch->thread, NULL, listen_on, watch) == 0) {
        fprintf(stderr, "watch: http://127.0.0.1:%d/\n", watch->port);
        return watch;
    }
    cli_message("--watch: no port on 127.0.0.1 could be opened: %s; %s refreshes itself, too", strerror(errno),
                watch->path);
    if (watch->listener >= 0) close(watch->listener);
    free(watch->path);
    free(watch);
    return NULL;
}

int cli_watch_page_open(const cli_session *session, const cli_command *command, int wanted, cli_watch_page **watch)
{
    char *folder, *page;
    int code = -1;
    *watch = NULL;
    if (!wanted) return -1;
    folder = cli_option_text(session->options, "output.path");
    page = cli_option_text(session->options, "output.report");
    if (!*folder || !strcmp(page, "none"))
        code = cli_usage(command, "--watch needs output.path and output.report html: that page is what is watched");
    else *watch = cli_watch_page_start(folder);
    free(folder);
    free(page);
    return code;
}

void cli_watch_page_end(cli_watch_page *watch)
{
    if (!watch) return;
    atomic_store(&watch->over, 1);
    pthread_join(watch->thread, NULL);
    close(watch->listener);
    free(watch->path);
    free(watch);
}
