/* serve_metrics.c - what the server has done, in Prometheus' text format (version 0.0.4). */
#include <dirent.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "serve.h"

static const double bounds[SERVE_BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                             0.5,   1,      2.5,   5,    10,    30,   60,  300};
static const int codes[SERVE_CODES - 1] = {200, 400, 401, 403, 404, 405, 413, 415, 429, 431, 499, 500, 503, 504, 408};

void serve_metrics_observe(serve_histogram *histogram, double seconds)
{
    int at = 0;
    while (at < SERVE_BUCKETS && seconds > bounds[at]) at++;
    histogram->buckets[at]++;
    histogram->count++;
    histogram->sum += seconds;
}

void serve_metrics_request(serve_server *server, int end, int status, double seconds)
{
    int at = 0;
    while (at < SERVE_CODES - 1 && codes[at] != status) at++;
    server->metrics.requests[end][at]++;
    if (end == SERVE_END_CHAT || end == SERVE_END_COMPLETIONS) {
        serve_metrics_observe(&server->metrics.request_seconds, seconds);
        if (status == 200) server->mean_seconds += 0.1 * (seconds - server->mean_seconds);
    }
}

static void add_head(serve_text *out, const char *name, const char *type, const char *help)
{
    serve_text_print(out, "# HELP distill_%s %s\n# TYPE distill_%s %s\n", name, help, name, type);
}

static void add_number(serve_text *out, const char *name, const char *type, const char *help, int64_t value)
{
    add_head(out, name, type, help);
    serve_text_print(out, "distill_%s %lld\n", name, (long long)value);
}

static void add_histogram(serve_text *out, const char *name, const char *help, const serve_histogram *histogram)
{
    int64_t below = 0;
    add_head(out, name, "histogram", help);
    for (int i = 0; i < SERVE_BUCKETS; i++) {
        below += histogram->buckets[i];
        serve_text_print(out, "distill_%s_bucket{le=\"%g\"} %lld\n", name, bounds[i], (long long)below);
    }
    serve_text_print(out, "distill_%s_bucket{le=\"+Inf\"} %lld\n", name, (long long)histogram->count);
    serve_text_print(out, "distill_%s_sum %.6f\ndistill_%s_count %lld\n", name, histogram->sum, name,
                     (long long)histogram->count);
}

static void add_requests(serve_text *out, const serve_metrics *m)
{
    add_head(out, "requests_total", "counter", "requests by endpoint and status; 499: the client went away before");
    for (int end = 0; end < SERVE_ENDS; end++)
        for (int code = 0; code < SERVE_CODES; code++) {
            if (!m->requests[end][code]) continue;
            serve_text_print(out, "distill_requests_total{endpoint=\"%s\",code=\"%d\"} %lld\n", serve_end_names[end],
                             code < SERVE_CODES - 1 ? codes[code] : 0, (long long)m->requests[end][code]);
        }
}

static void add_real(serve_text *out, const char *name, const char *type, const char *help, double value)
{
    if (value < 0) return; /* not known */
    add_head(out, name, type, help);
    serve_text_print(out, "distill_%s %.9g\n", name, value);
}

/* Under the lock: a meter is read by one thread at a time. */
static distill_cost read_meter(serve_server *server, double now)
{
    distill_cost cost;
    DISTILL_INIT(&cost);
    server->metered = now;
    if (distill_meter_read(server->meter, &cost, NULL)) cost.joules = cost.eur = cost.usd = cost.idle_watts = -1;
    return cost;
}

void serve_metrics_poll(serve_server *server, double now)
{
    pthread_mutex_lock(&server->lock);
    if (now - server->metered > 60) (void)read_meter(server, now);
    pthread_mutex_unlock(&server->lock);
}

/* Of the whole process since it serves. */
static void add_cost(serve_text *out, const distill_cost *c)
{
    const char *joules = c->energy == DISTILL_ENERGY_ESTIMATED
                             ? "energy, an estimate: CPU seconds times cost.watts_per_core"
                             : "energy that the machine's packages took, other processes included";
    add_real(out, "seconds_total", "counter", "time since it serves", c->seconds);
    add_real(out, "cpu_seconds_total", "counter",
             "CPU time of all threads since it serves; process_cpu_seconds_total begins with the process, and has "
             "loading, too",
             c->cpu_seconds);
    add_number(out, "model_tokens_total", "counter", "tokens that models read, the draft among them, in every pass",
               c->tokens);
    add_real(out, "model_flops_total", "counter", "floating-point operations of those passes", c->flops);
    add_real(out, c->energy == DISTILL_ENERGY_ESTIMATED ? "joules_estimated_total" : "joules_total", "counter", joules,
             c->joules);
    add_real(out, "idle_watts", "gauge", "what the machine's packages took before it served", c->idle_watts);
    add_real(out, "eur_total", "counter", "of that energy, at cost.eur_per_kwh", c->eur);
    add_real(out, "usd_total", "counter", "of model_tokens, at cost.usd_per_million_tokens", c->usd);
}

static int64_t count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int64_t count = -3; /* ., .. and the folder itself */
    if (!folder) return -1;
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static int64_t resident_bytes(void)
{
    long long whole, resident = -1;
    FILE *file = fopen("/proc/self/statm", "rb");
    if (!file) return -1;
    if (fscanf(file, "%lld %lld", &whole, &resident) != 2) resident = -1;
    fclose(file);
    return resident < 0 ? -1 : (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static void add_process(serve_text *out)
{
    const int64_t descriptors = count_descriptors(), bytes = resident_bytes();
    struct timespec used;
    if (!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used))
        serve_text_print(out,
                         "# HELP process_cpu_seconds_total processor time of all threads since the process began; "
                         "distill_cpu_seconds_total begins when it serves\n"
                         "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total %lld.%02ld\n",
                         (long long)used.tv_sec, used.tv_nsec / 10000000);
    if (bytes >= 0)
        serve_text_print(out,
                         "# HELP process_resident_memory_bytes memory that is resident\n"
                         "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %lld\n",
                         (long long)bytes);
    if (descriptors >= 0)
        serve_text_print(
            out, "# HELP process_open_fds open descriptors\n# TYPE process_open_fds gauge\nprocess_open_fds %lld\n",
            (long long)descriptors);
}

void serve_metrics_text(serve_server *server, serve_text *out)
{
    pthread_mutex_lock(&server->lock);
    const serve_metrics m = server->metrics;
    const int64_t waiting = server->waiting, all = server->jobs;
    const distill_cost cost = read_meter(server, serve_now());
    pthread_mutex_unlock(&server->lock);
    pthread_mutex_lock(&server->connections.lock);
    const int64_t clients = server->connections.count, cut = server->connections.cut;
    pthread_mutex_unlock(&server->connections.lock);
    add_requests(out, &m);
    add_number(out, "requests_waiting", "gauge", "requests that have no place yet", waiting);
    add_number(out, "requests_running", "gauge", "requests that are being answered", all - waiting);
    add_number(out, "places", "gauge", "answers that can be written at once", server->place_count);
    add_number(out, "connections", "gauge", "clients that are connected", clients);
    add_number(out, "connections_cut_total", "counter", "clients that were too slow", cut);
    add_number(out, "clients_gone_total", "counter", "requests whose client went away before their end", m.gone);
    add_number(out, "prompt_tokens_total", "counter", "tokens of prompts", m.prompt_tokens);
    add_number(out, "prompt_tokens_kept_total", "counter", "of these, found in a session and not read again",
               m.kept_tokens);
    add_number(out, "tokens_total", "counter", "tokens written", m.tokens);
    add_number(out, "tokens_drafted_total", "counter", "tokens that the draft proposed", m.drafted);
    add_number(out, "tokens_accepted_total", "counter", "of these, accepted", m.accepted);
    add_histogram(out, "request_seconds", "from a request's first line to its last byte", &m.request_seconds);
    add_histogram(out, "queue_seconds", "until a request has a place", &m.queue_seconds);
    add_histogram(out, "first_token_seconds", "from a request's first line to its first token", &m.first_token_seconds);
    add_histogram(out, "token_seconds", "between the tokens of an answer", &m.token_seconds);
    add_cost(out, &cost);
    add_process(out);
}
