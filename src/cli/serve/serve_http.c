/* serve_http.c - libmicrohttpd's callbacks: a body is gathered, a job is made of it, its answer is sent. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve.h"

enum { BLOCK = 16384, MEMORY = 65536 }; /* bytes: of a stream's pieces; of a connection, its headers included */

static const char answer_type[] = "application/json", page_type[] = "text/html; charset=utf-8";
static const char metrics_type[] = "text/plain; version=0.0.4; charset=utf-8", stream_type[] = "text/event-stream";
/* The page is all in one: nothing is loaded, sent or framed elsewhere. */
static const char page_policy[] =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src "
    "'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static serve_connection *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* ---- answers ---- */

static enum MHD_Result queue_response(serve_job *job, struct MHD_Connection *connection, struct MHD_Response *response,
                                      int status, const char *type)
{
    char seconds[16];
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Request-Id", job->id);
    if (type == page_type) {
        MHD_add_response_header(response, "Content-Security-Policy", page_policy);
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    if (status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (status == 405) MHD_add_response_header(response, "Allow", job->kind ? "POST" : "GET, HEAD");
    if (job->retry_seconds) {
        snprintf(seconds, sizeof seconds, "%d", job->retry_seconds);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    job->status = status;
    enum MHD_Result done = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return done;
}

/* Takes text over. */
static enum MHD_Result send_text(serve_job *job, struct MHD_Connection *connection, int status, serve_text *text,
                                 const char *type)
{
    struct MHD_Response *response =
        text->failed ? NULL
                     : MHD_create_response_from_buffer(text->size, text->bytes ? text->bytes : "",
                                                       text->bytes ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) serve_text_free(text);
    memset(text, 0, sizeof *text);
    return queue_response(job, connection, response, status, type);
}

static enum MHD_Result send_problem(serve_job *job, struct MHD_Connection *connection)
{
    serve_text text = {0};
    serve_problem_text(&job->problem, &text);
    job->retry_seconds = job->problem.retry_seconds;
    return send_text(job, connection, job->problem.status, &text, answer_type);
}

static enum MHD_Result send_json(serve_job *job, struct MHD_Connection *connection, json_t *value)
{
    serve_text text = {0};
    char *written = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (written) serve_text_add(&text, written, strlen(written));
    else text.failed = 1;
    free(written);
    json_decref(value);
    return send_text(job, connection, 200, &text, answer_type);
}

/* ---- streams ---- */

static ssize_t read_stream(void *user, uint64_t position, char *out, size_t max)
{
    serve_job *job = user;
    ssize_t size = 0;
    (void)position;
    pthread_mutex_lock(&job->server->lock);
    const size_t left = job->out.size - job->sent;
    if (left) {
        size = (ssize_t)(left < max ? left : max);
        memcpy(out, job->out.bytes + job->sent, (size_t)size);
        job->sent += (size_t)size;
    } else if (job->ended) {
        size = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (job->cancelled) {
        size = MHD_CONTENT_READER_END_WITH_ERROR;
    } else {
        job->suspended = 1;
        MHD_suspend_connection(job->connection);
    }
    pthread_mutex_unlock(&job->server->lock);
    return size;
}

static enum MHD_Result send_stream(serve_job *job, struct MHD_Connection *connection)
{
    job->streams = 1;
    return queue_response(job, connection,
                          MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, job, NULL), 200,
                          stream_type);
}

/* ---- requests ---- */

static int is_stopping(serve_server *server)
{
    pthread_mutex_lock(&server->lock);
    const int stopping = server->stopping;
    pthread_mutex_unlock(&server->lock);
    return stopping;
}

/* What is answered at once. */
static enum MHD_Result answer(serve_job *job, struct MHD_Connection *connection, const char *url)
{
    serve_server *server = job->server;
    serve_text text = {0};
    if (job->end == SERVE_END_PAGE) {
        return queue_response(
            job, connection,
            MHD_create_response_from_buffer(serve_page_size, (void *)(uintptr_t)serve_page, MHD_RESPMEM_PERSISTENT),
            200, page_type);
    }
    if (job->end == SERVE_END_MODELS) return send_json(job, connection, serve_shape_models(server));
    if (job->end == SERVE_END_MODEL) {
        if (!strcmp(url + strlen("/v1/models/"), server->name))
            return send_json(job, connection, serve_shape_model(server));
        serve_refuse(&job->problem, 404, "model_not_found", "model",
                     "there is no model \"%.100s\" here, only \"%.100s\"", url + strlen("/v1/models/"), server->name);
        return send_problem(job, connection);
    }
    if (job->end == SERVE_END_METRICS) {
        serve_metrics_text(server, &text);
        return send_text(job, connection, 200, &text, metrics_type);
    }
    if (is_stopping(server)) {
        serve_refuse(&job->problem, 503, "shutting_down", NULL, "the server is shutting down");
        return send_problem(job, connection);
    }
    return send_json(job, connection, json_pack("{s:s}", "status", "ok"));
}

static int check_model(serve_job *job)
{
    const char *asked = job->request.model;
    if (!asked || !strcmp(asked, job->server->name)) return 1;
    return serve_refuse(&job->problem, 404, "model_not_found", "model",
                        "there is no model \"%.100s\" here, only \"%.100s\"", asked, job->server->name);
}

/* The whole body is here. */
static int submit(serve_job *job)
{
    if (job->too_large)
        return serve_refuse(&job->problem, 413, "request_too_large", NULL,
                            "the body has more than %lld bytes (--max-body)",
                            (long long)job->server->limits.body_bytes);
    if (job->body.failed) return serve_no_memory(&job->problem);
    const int good = serve_request_parse(job->kind, job->body.bytes, job->body.size, &job->server->limits,
                                         &job->request, &job->problem) &&
                     check_model(job);
    serve_text_free(&job->body);
    serve_connections_until(&job->server->connections, job->client,
                            job->deadline + (double)job->server->limits.read_seconds);
    return good && serve_job_submit(job);
}

/* The answer, or the wait for it. */
static enum MHD_Result reply(serve_job *job, struct MHD_Connection *connection)
{
    serve_text text = {0};
    pthread_mutex_lock(&job->server->lock);
    const int status = job->status, streams = status == 200 && job->request.stream && !job->streams;
    const int gone = job->cancelled;
    if (!status && !gone) {
        job->suspended = 1;
        MHD_suspend_connection(connection);
    } else if (status && !streams) {
        text = job->out;
        memset(&job->out, 0, sizeof job->out);
    }
    pthread_mutex_unlock(&job->server->lock);
    if (!status) return gone ? MHD_NO : MHD_YES;
    return streams ? send_stream(job, connection) : send_text(job, connection, status, &text, answer_type);
}

static void gather(serve_job *job, const char *bytes, size_t size)
{
    if ((int64_t)(job->body.size + size) > job->server->limits.body_bytes) job->too_large = 1;
    if (job->too_large) serve_text_free(&job->body);
    else serve_text_add(&job->body, bytes, size);
}

static serve_job *begin(serve_server *server, struct MHD_Connection *connection, const char *url, const char *method,
                        serve_problem *problem)
{
    serve_route route;
    problem->status = 0;
    const int good = serve_route_find(server, connection, url, method, &route, problem);
    serve_job *job = serve_job_create(server, route.end, route.kind);
    if (!job) return NULL;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    job->fd = info ? (int)info->connect_fd : -1;
    job->connection = connection;
    job->client = client_of(connection);
    job->refused = !good;
    return job;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **context)
{
    serve_job *job = *context;
    (void)version;
    if (!job) {
        serve_problem problem = {0};
        job = *context = begin(user, connection, url, method, &problem);
        if (!job) return MHD_NO;
        job->problem = problem;
        return job->refused ? send_problem(job, connection) : MHD_YES;
    }
    if (*size) {
        gather(job, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (!job->kind) return answer(job, connection, url);
    if (!job->submitted && !submit(job)) return send_problem(job, connection);
    return reply(job, connection);
}

/* ---- ends ---- */

static void on_end(void *user, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
    serve_server *server = user;
    serve_job *job = *context;
    if (!job) return;
    *context = NULL;
    pthread_mutex_lock(&server->lock);
    job->connection = NULL;
    job->suspended = 0;
    if (!job->ended && job->submitted) job->cancelled = 1;
    if (job->submitted) server->open--;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK) server->metrics.gone++;
    serve_metrics_request(server, job->end, job->status ? job->status : 499, serve_now() - job->arrived);
    pthread_cond_signal(&server->to_write);
    pthread_mutex_unlock(&server->lock);
    serve_connections_until(&server->connections, client_of(connection),
                            serve_now() + (double)server->limits.read_seconds);
    serve_job_release(job);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    serve_server *server = user;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        serve_connections_remove(&server->connections, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info ? serve_connections_add(&server->connections, (int)info->connect_fd,
                                            serve_now() + (double)server->limits.read_seconds)
                    : NULL;
}

/* ---- the daemon ---- */

/* A NUL would end the path in front of what it leads to: such a path stays as it was sent, and is none of ours. */
static size_t unescape(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user, (void)connection;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

/* Descriptors for as many clients as there may be. */
static void raise_descriptors(int64_t connections)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)connections + 64;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* By poll: by epoll, libmicrohttpd 0.9.75 may not see a client close that has just sent less than it was to send, and
 * keeps the connection until its time is over. */
int serve_http_start(serve_server *server, int fd)
{
    raise_descriptors(server->limits.connections);
    server->daemon = MHD_start_daemon(
        MHD_USE_POLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL, on_request, server,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)server->limits.connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)server->limits.read_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_end, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        server, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
    if (server->daemon) return 1;
    close(fd);
    return cli_message("the HTTP server could not be started: %s", strerror(errno)), 0;
}

void serve_http_stop(serve_server *server)
{
    if (!server->daemon) return;
    MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}
