/* serve_route.c - which request goes where, and whether it may. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

const char *const serve_end_names[SERVE_ENDS] = {
    "/",           "/v1/models", "/v1/models/NAME", "/v1/chat/completions", "/v1/completions", "/tokenize",
    "/detokenize", "/health",    "/metrics"};
static const struct {
    int end, kind, open; /* open: without a key */
    const char *method;
} ends[SERVE_ENDS] = {
    {SERVE_END_PAGE, 0, 1, "GET"},
    {SERVE_END_MODELS, 0, 0, "GET"},
    {SERVE_END_MODEL, 0, 0, "GET"},
    {SERVE_END_CHAT, SERVE_CHAT, 0, "POST"},
    {SERVE_END_COMPLETIONS, SERVE_COMPLETION, 0, "POST"},
    {SERVE_END_TOKENIZE, SERVE_TOKENIZE, 0, "POST"},
    {SERVE_END_DETOKENIZE, SERVE_DETOKENIZE, 0, "POST"},
    {SERVE_END_HEALTH, 0, 1, "GET"},
    {SERVE_END_METRICS, 0, 0, "GET"},
};

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static int find_end(const char *url)
{
    for (int i = 0; i < SERVE_ENDS; i++)
        if (i != SERVE_END_MODEL && !strcmp(url, serve_end_names[i])) return i;
    return !strncmp(url, "/v1/models/", 11) && url[11] ? SERVE_END_MODEL : -1;
}

/* On loopback a page of somebody else's, whose name was made to lead here, must not get through (DNS rebinding): the
 * host that it asks for gives it away. */
static int check_host(const serve_server *server, const char *host, serve_problem *problem)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    if (!server->on_loopback || !host) return 1;
    size_t size = host[0] == '[' ? strcspn(host, "]") + (strchr(host, ']') != NULL) : strcspn(host, ":");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == size && !strncasecmp(host, names[i], size)) return 1;
    if (strlen(server->host) == size && !strncasecmp(host, server->host, size)) return 1;
    return serve_refuse(
        problem, 403, "forbidden_host", NULL,
        "the request is for host %.100s; this server listens on loopback and answers to localhost and 127.0.0.1", host);
}

/* A page of another origin may send a body of this type only where it is allowed to, which nothing here does. */
static int check_type(struct MHD_Connection *connection, serve_problem *problem)
{
    const char *type = header(connection, "Content-Type");
    const size_t size = type ? strcspn(type, "; ") : 0;
    if (size == 16 && !strncasecmp(type, "application/json", size)) return 1;
    return serve_refuse(problem, 415, "unsupported_media_type", NULL, "Content-Type: application/json is wanted");
}

static int check_length(const serve_server *server, struct MHD_Connection *connection, serve_problem *problem)
{
    const char *text = header(connection, "Content-Length");
    const unsigned long long size = text ? strtoull(text, NULL, 10) : 0;
    if (size <= (unsigned long long)server->limits.body_bytes) return 1;
    return serve_refuse(problem, 413, "request_too_large", NULL,
                        "the body has %.20s bytes, %lld are allowed (--max-body)", text,
                        (long long)server->limits.body_bytes);
}

static int check_key(const serve_server *server, struct MHD_Connection *connection, serve_problem *problem)
{
    const char *given = header(connection, "Authorization");
    if (serve_keys_fit(&server->keys, given)) return 1;
    return serve_refuse(problem, 401, "invalid_api_key", NULL,
                        given ? "the API key is wrong" : "an API key is wanted: Authorization: Bearer KEY");
}

int serve_route_find(serve_server *server, struct MHD_Connection *connection, const char *url, const char *method,
                     serve_route *out, serve_problem *problem)
{
    const int end = find_end(url);
    out->end = end < 0 ? SERVE_END_PAGE : end;
    out->kind = 0;
    if (!check_host(server, header(connection, "Host"), problem)) return 0;
    if (end < 0) return serve_refuse(problem, 404, "not_found", NULL, "there is no %.200s here", url);
    out->kind = ends[end].kind;
    if (strcmp(method, ends[end].method) != 0 && !(out->kind == 0 && !strcmp(method, "HEAD")))
        return serve_refuse(problem, 405, "method_not_allowed", NULL, "%.20s %s: %s is wanted", method,
                            serve_end_names[end], ends[end].method);
    if (!ends[end].open && !check_key(server, connection, problem)) return 0;
    if (!out->kind) return 1;
    return check_type(connection, problem) && check_length(server, connection, problem);
}
