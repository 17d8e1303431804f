/* cmd_serve.c - distill serve: options, start, the wait for signals, the orderly end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../talk.h"
#include "serve.h"

typedef struct given { /* as the command line has it */
    const char *model, *draft, *host, *name, *chat_template, *key_file, *key_variable, *quantized, *precision;
    int64_t port, places, context, max_prompt, max_tokens;
    int has_context, has_max_prompt, has_places;
    cli_settings ignored, set;
} given;

/* ---- bounds ---- */

static int check(const cli_command *command, const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high) return -1;
    return cli_usage(command, "%s: %lld is not from %lld to %lld", name, (long long)value, (long long)low,
                     (long long)high);
}

static int check_given(const cli_command *command, const given *g, const serve_limits *limits)
{
    const struct {
        const char *name;
        int64_t value, low, high;
    } bounds[] = {
        {"--port", g->port, 0, 65535},
        {"--places", g->places, 1, SERVE_PLACES},
        {"--context", g->has_context ? g->context : 2, 2, 1000000000},
        {"--max-prompt", g->has_max_prompt ? g->max_prompt : 1, 1, 1000000000},
        {"--max-tokens", g->max_tokens, 1, 1000000},
        {"--max-body", limits->body_bytes, 1, 1 << 30},
        {"--max-queue", limits->queue, 1, 1000000},
        {"--max-connections", limits->connections, 1, 65535},
        {"--max-logprobs", limits->logprobs, 0, 1000000},
        {"--max-choices", limits->choices, 1, 100000},
        {"--timeout", limits->request_seconds, 1, 1000000},
        {"--read-timeout", limits->read_seconds, 1, 1000000},
        {"--stop-timeout", limits->stop_seconds, 0, 1000000},
    };
    if (!g->model) return cli_usage(command, "a model is missing");
    if (g->key_file && g->key_variable)
        return cli_usage(command, "--api-key-file and --api-key-env do not go together");
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        int code = check(command, bounds[i].name, bounds[i].value, bounds[i].low, bounds[i].high);
        if (code >= 0) return code;
    }
    return -1;
}

/* ---- the model ---- */

static int set_options(const cli_command *command, cli_session *s, const given *g)
{
    int32_t rc = distill_options_set_i64(s->options, "session.places", g->places, &s->err);
    if (!rc && g->has_context) rc = distill_options_set_i64(s->options, "session.context", g->context, &s->err);
    if (!rc && g->quantized) rc = distill_options_set_str(s->options, "generate.quantized", g->quantized, &s->err);
    if (!rc && g->precision) rc = distill_options_set_str(s->options, "generate.precision", g->precision, &s->err);
    return rc ? cli_usage(command, "%s", s->err.message) : -1;
}

static int32_t set_bounds(serve_server *server, const given *g, distill_error *err)
{
    distill_session_stats stats;
    DISTILL_INIT(&stats);
    int32_t rc = distill_session_get_stats(server->root, &stats, err);
    if (rc) return rc;
    server->limits.context = stats.context;
    server->limits.prompt_tokens = stats.context - 1;
    if (g->has_max_prompt && g->max_prompt < stats.context) server->limits.prompt_tokens = g->max_prompt;
    server->limits.answer_tokens = g->max_tokens;
    return DISTILL_OK;
}

/* Where products are formed by CBLAS fewer texts go side by side: unless --places asks for more, that is no error. */
static int32_t create_root(serve_server *server, const given *g)
{
    cli_session *s = server->session;
    int32_t rc = distill_session_create(server->teacher, server->draft, s->options, &server->root, &s->err);
    while (rc == DISTILL_E_UNSUPPORTED && !g->has_places && server->place_count > 1) {
        server->place_count /= 2;
        distill_error why = s->err;
        rc = distill_options_set_i64(s->options, "session.places", server->place_count, &s->err);
        if (!rc) rc = distill_session_create(server->teacher, server->draft, s->options, &server->root, &s->err);
        if (!rc) cli_message("%lld answers at once, since %s", (long long)server->place_count, why.message);
    }
    return rc;
}

/* Opens model, draft, tokenizer and sessions, and begins to meter. */
static int32_t open_models(serve_server *server, const given *g)
{
    cli_session *s = server->session;
    int32_t rc = distill_teacher_open(s->env, g->model, s->options, &server->teacher, &s->err);
    if (!rc && g->draft) rc = distill_teacher_open(s->env, g->draft, s->options, &server->draft, &s->err);
    if (!rc) rc = distill_teacher_tokenizer(server->teacher, &server->tokenizer, &s->err);
    if (!rc) rc = distill_teacher_get_i64(server->teacher, "vocab_valid", &server->vocab, &s->err);
    if (!rc) rc = create_root(server, g);
    if (!rc) rc = set_bounds(server, g, &s->err);
    if (!rc) rc = serve_places_open(server, &s->err);
    return rc ? rc : distill_meter_start(s->env, s->options, &server->meter, &s->err);
}

/* The last part of a path, which clients call the model by. */
static char *name_of(const given *g)
{
    const char *from = g->name ? g->name : g->model;
    size_t size = strlen(from);
    while (!g->name && size > 1 && from[size - 1] == '/') size--;
    size_t begin = size;
    while (!g->name && begin > 0 && from[begin - 1] != '/') begin--;
    if (g->name) begin = 0;
    char *name = cli_memory(NULL, size - begin + 1);
    memcpy(name, from + begin, size - begin);
    name[size - begin] = 0;
    return name;
}

/* ---- threads ---- */

static int start_threads(serve_server *server)
{
    int rc = 0;
    for (; !rc && server->threads < SERVE_PREPARERS; server->threads += !rc)
        rc = pthread_create(&server->preparers[server->threads], NULL, serve_prepare_run, server);
    if (!rc) rc = pthread_create(&server->writer, NULL, serve_write_run, server);
    server->writes = !rc;
    return rc ? (cli_message("a thread could not be started: %s", strerror(rc)), 0) : 1;
}

/* Whatever is still at work ends with an error to its client. */
static void stop_threads(serve_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->stopping = server->closing = 1;
    pthread_cond_broadcast(&server->to_prepare);
    pthread_cond_broadcast(&server->to_write);
    const int busy = server->jobs > 0;
    pthread_mutex_unlock(&server->lock);
    if (busy) distill_env_cancel(server->session->env, 1);
    for (int i = 0; i < server->threads; i++) pthread_join(server->preparers[i], NULL);
    pthread_mutex_lock(&server->lock);
    pthread_cond_broadcast(&server->to_write);
    pthread_mutex_unlock(&server->lock);
    if (server->writes) pthread_join(server->writer, NULL);
    distill_env_cancel(server->session->env, 0);
}

/* ---- signals ---- */

/* All threads leave them to the main one, which waits for them. */
static void hold_signals(sigset_t *set)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction old;
    sigemptyset(set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (numbers[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN) continue;
        sigaddset(set, numbers[i]);
    }
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* 1 = a signal came within a fifth of a second. */
static int wait_for_signal(const sigset_t *set)
{
    const struct timespec tick = {0, 200000000};
    return sigtimedwait(set, NULL, &tick) > 0;
}

static int64_t open_requests(serve_server *server)
{
    pthread_mutex_lock(&server->lock);
    const int64_t count = server->jobs > server->open ? server->jobs : server->open;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* Requests that are at work may end by themselves; a second signal does not wait for them. */
static void finish(serve_server *server, const sigset_t *set)
{
    const double until = serve_now() + (double)server->limits.stop_seconds;
    int told = 0;
    pthread_mutex_lock(&server->lock);
    server->stopping = 1;
    pthread_mutex_unlock(&server->lock);
    while (open_requests(server) && serve_now() < until && !wait_for_signal(set)) {
        const int64_t count = open_requests(server);
        if (count && !told++)
            cli_message("stopping: %lld request%s %lld seconds; another signal does not wait", (long long)count,
                        count == 1 ? " has" : "s have", (long long)server->limits.stop_seconds);
        serve_connections_check(&server->connections, serve_now());
    }
}

/* The last bytes of what was ended get a second to be sent. */
static void send_rest(serve_server *server)
{
    const struct timespec tick = {0, 10000000};
    const double until = serve_now() + 1;
    while (open_requests(server) && serve_now() < until) nanosleep(&tick, NULL);
}

static void serve(serve_server *server, const sigset_t *set)
{
    while (!wait_for_signal(set)) {
        serve_connections_check(&server->connections, serve_now());
        serve_metrics_poll(server, serve_now());
    }
    finish(server, set); /* whoever comes meanwhile is told 503: a socket that nobody accepts from lets them wait */
    MHD_socket fd = MHD_quiesce_daemon(server->daemon);
    stop_threads(server);
    send_rest(server);
    serve_http_stop(server);
    if (fd != MHD_INVALID_SOCKET) close(fd);
}

/* ---- the command ---- */

static int has_template(const serve_server *server)
{
    size_t size = 0;
    return (server->chat && json_object_get(server->chat, "chat_template")) ||
           distill_tokenizer_chat(server->tokenizer, "[{\"role\":\"user\",\"content\":\"a\"}]", DISTILL_CHAT_ANSWER,
                                  NULL, 0, &size, NULL) != DISTILL_E_NOT_FOUND;
}

static void say_where(const serve_server *server)
{
    const int six = strchr(server->host, ':') != NULL;
    printf("%s at http://%s%s%s:%d/v1 (a page to try it: http://%s%s%s:%d/)\n", server->name, six ? "[" : "",
           server->host, six ? "]" : "", server->port, six ? "[" : "", server->host, six ? "]" : "", server->port);
    fflush(stdout);
    if (!has_template(server))
        cli_message("%s has no chat template, so that chats are refused, and the page with them: %s", server->name,
                    serve_template_hint);
    if (!server->on_loopback && !server->keys.count)
        cli_message("whoever reaches this port may use the model: --api-key-file or --api-key-env keeps others out");
}

static int start_and_wait(serve_server *server, const given *g)
{
    sigset_t set;
    snprintf(server->host, sizeof server->host, "%s", g->host);
    int fd = serve_open_socket(g->host, g->port, &server->port, &server->on_loopback);
    if (fd < 0) return CLI_FAILED;
    hold_signals(&set);
    if (open_models(server, g)) {
        close(fd);
        return cli_fail(&server->session->err);
    }
    server->started = serve_now();
    server->created = (int64_t)time(NULL);
    int good = start_threads(server);
    if (!good) close(fd);
    good = good && serve_http_start(server, fd);
    if (good) {
        say_where(server);
        serve(server, &set);
    } else stop_threads(server);
    return good ? CLI_DONE : CLI_FAILED;
}

static void close_server(serve_server *server)
{
    serve_places_close(server);
    distill_meter_free(server->meter);
    distill_tokenizer_free(server->tokenizer);
    distill_teacher_free(server->draft);
    distill_teacher_free(server->teacher);
    serve_keys_free(&server->keys);
    json_decref(server->chat);
}

static int run(const cli_command *command, cli_session *s, given *g, const serve_limits *limits)
{
    static serve_server server; /* large; outlives whatever still looks at it */
    server.session = s;
    server.limits = *limits;
    server.limits.ignored = g->ignored.items;
    server.limits.ignored_count = g->ignored.count;
    server.place_count = g->places;
    pthread_mutex_init(&server.lock, NULL);
    pthread_mutex_init(&server.connections.lock, NULL);
    pthread_cond_init(&server.to_prepare, NULL);
    pthread_cond_init(&server.to_write, NULL);
    int code = set_options(command, s, g);
    if (code >= 0) return code;
    if (!serve_keys_read(&server.keys, g->key_file, g->key_variable)) return CLI_FAILED;
    if (g->chat_template && !talk_set_template(server.chat = json_object(), g->chat_template)) return CLI_FAILED;
    char *name = name_of(g);
    server.name = name;
    code = start_and_wait(&server, g);
    close_server(&server);
    free(name);
    return code;
}

int cli_serve(const cli_command *command, int argc, char **argv)
{
    static given g; /* large */
    serve_limits limits = {.body_bytes = 1 << 20,
                           .depth = 64,
                           .choices = 128,
                           .logprobs = 20,
                           .queue = 64,
                           .connections = 256,
                           .unsent_bytes = 4 << 20,
                           .read_seconds = 30,
                           .request_seconds = 600,
                           .stop_seconds = 10};
    g.host = "127.0.0.1";
    g.port = 8080;
    g.places = 8;
    g.max_tokens = 4096;
    static const char *const own[] = {"session.places", "--places", "session.context", "--context", NULL};
    g.set.reads = " teacher session cost compute ";
    g.set.own = own;
    const cli_option options[] = {
        {"--draft", CLI_TEXT, &g.draft, NULL},
        {"--host", CLI_TEXT, &g.host, NULL},
        {"--port", CLI_INT, &g.port, NULL},
        {"--name", CLI_TEXT, &g.name, NULL},
        {"--chat-template", CLI_TEXT, &g.chat_template, NULL},
        {"--api-key-file", CLI_TEXT, &g.key_file, NULL},
        {"--api-key-env", CLI_TEXT, &g.key_variable, NULL},
        {"--places", CLI_INT, &g.places, &g.has_places},
        {"--context", CLI_INT, &g.context, &g.has_context},
        {"--quantized", CLI_TEXT, &g.quantized, NULL},
        {"--precision", CLI_TEXT, &g.precision, NULL},
        {"--max-prompt", CLI_INT, &g.max_prompt, &g.has_max_prompt},
        {"--max-tokens", CLI_INT, &g.max_tokens, NULL},
        {"--max-logprobs", CLI_INT, &limits.logprobs, NULL},
        {"--max-choices", CLI_INT, &limits.choices, NULL},
        {"--max-body", CLI_INT, &limits.body_bytes, NULL},
        {"--max-queue", CLI_INT, &limits.queue, NULL},
        {"--max-connections", CLI_INT, &limits.connections, NULL},
        {"--timeout", CLI_INT, &limits.request_seconds, NULL},
        {"--read-timeout", CLI_INT, &limits.read_seconds, NULL},
        {"--stop-timeout", CLI_INT, &limits.stop_seconds, NULL},
        {"--ignore", CLI_TEXTS, &g.ignored, NULL},
        {"--set", CLI_SETTINGS, &g.set, NULL},
    };
    cli_session s;
    int code = cli_parse(command, options, (int)(sizeof options / sizeof *options), argc, argv, &g.model, 1);
    if (code < 0) code = check_given(command, &g, &limits);
    if (code >= 0) return code;
    code = cli_open(&s, command, NULL, &g.set);
    if (code < 0) code = run(command, &s, &g, &limits);
    cli_close(&s);
    return code;
}
