/* serve_job.c - a request on its way: queues, and who waits for whom. A client's connection is suspended while there is
 * nothing to send; whoever adds something wakes it, outside of the lock, since libmicrohttpd has locks of its own. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "serve.h"

double serve_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- queues, under the lock ---- */

void serve_queue_add(serve_queue *queue, serve_job *job)
{
    job->next = NULL;
    job->before = queue->last;
    if (queue->last) queue->last->next = job;
    else queue->first = job;
    queue->last = job;
    queue->count++;
}

void serve_queue_remove(serve_queue *queue, serve_job *job)
{
    if (job->before) job->before->next = job->next;
    else queue->first = job->next;
    if (job->next) job->next->before = job->before;
    else queue->last = job->before;
    job->next = job->before = NULL;
    queue->count--;
}

/* ---- jobs ---- */

static void make_id(serve_job *job)
{
    static const char *const prefixes[] = {"req-", "chatcmpl-", "cmpl-"};
    unsigned char random[12] = {0};
    if (getrandom(random, sizeof random, 0) < 0) memset(random, 0, sizeof random);
    const char *prefix = prefixes[job->kind == SERVE_CHAT ? 1 : job->kind == SERVE_COMPLETION ? 2 : 0];
    int used = snprintf(job->id, sizeof job->id, "%s", prefix);
    for (size_t i = 0; i < sizeof random; i++, used += 2)
        snprintf(job->id + used, sizeof job->id - (size_t)used, "%02x", random[i]);
}

serve_job *serve_job_create(serve_server *server, int end, int kind)
{
    serve_job *job = calloc(1, sizeof *job);
    if (!job) return NULL;
    job->server = server;
    job->references = 1;
    job->end = end;
    job->kind = kind;
    job->arrived = serve_now();
    job->deadline = job->arrived + (double)server->limits.request_seconds;
    job->created = (int64_t)time(NULL);
    make_id(job);
    return job;
}

static void free_prompts(serve_job *job)
{
    for (int64_t i = 0; i < job->prompt_count; i++) {
        free(job->prompts[i].ids);
        free(job->prompts[i].chosen);
        free(job->prompts[i].top_ids);
        free(job->prompts[i].top_log_probs);
    }
    free(job->prompts);
}

static void free_choices(serve_job *job)
{
    for (int64_t i = 0; i < job->choice_count; i++) {
        free(job->choices[i].ids);
        serve_text_free(&job->choices[i].text);
        json_decref(job->choices[i].logprobs);
    }
    free(job->choices);
}

void serve_job_release(serve_job *job)
{
    pthread_mutex_lock(&job->server->lock);
    const int left = --job->references;
    pthread_mutex_unlock(&job->server->lock);
    if (left) return;
    free_prompts(job);
    free_choices(job);
    serve_request_free(&job->request);
    serve_text_free(&job->body);
    serve_text_free(&job->out);
    distill_options_free(job->options);
    free(job);
}

/* ---- waking ---- */

/* Under the lock: the connection to be woken once the lock is free, or NULL. */
static struct MHD_Connection *to_wake(serve_job *job)
{
    if (!job->suspended) return NULL;
    job->suspended = 0;
    return job->connection;
}

static void wake(struct MHD_Connection *connection)
{
    if (connection) MHD_resume_connection(connection);
}

/* ---- submitting ---- */

static int refuse_full(serve_server *server, serve_problem *problem)
{
    const double rounds = (double)server->waiting / (double)(server->place_count ? server->place_count : 1);
    const double seconds = rounds * server->mean_seconds;
    serve_refuse(problem, 429, "rate_limit_exceeded", NULL,
                 "%lld requests wait already, as many as may (--max-queue); try again later",
                 (long long)server->waiting);
    problem->retry_seconds = seconds < 1 ? 1 : seconds > 60 ? 60 : (int)seconds;
    return 0;
}

int serve_job_submit(serve_job *job)
{
    serve_server *server = job->server;
    int good = 1;
    pthread_mutex_lock(&server->lock);
    if (server->stopping) good = serve_refuse(&job->problem, 503, "shutting_down", NULL, "the server is shutting down");
    else if (server->waiting >= server->limits.queue) good = refuse_full(server, &job->problem);
    if (good) {
        job->submitted = 1;
        job->references++;
        server->waiting++;
        server->jobs++;
        server->open++;
        serve_queue_add(&server->preparing, job);
        pthread_cond_signal(&server->to_prepare);
    }
    pthread_mutex_unlock(&server->lock);
    return good;
}

/* ---- answers ---- */

void serve_job_answer(serve_job *job, int status, serve_text *text)
{
    static const char poor[] =
        "{\"error\":{\"message\":\"out of memory\",\"type\":\"service_unavailable\",\"param\":null,\"code\":null}}";
    serve_text spare = {0};
    if (text->failed) {
        serve_text_free(text);
        serve_text_add(&spare, poor, sizeof poor - 1);
        *text = spare;
        status = 503;
    }
    pthread_mutex_lock(&job->server->lock);
    job->status = status;
    job->out = *text;
    job->ended = 1;
    struct MHD_Connection *connection = to_wake(job);
    pthread_mutex_unlock(&job->server->lock);
    memset(text, 0, sizeof *text);
    wake(connection);
}

void serve_job_fail(serve_job *job)
{
    serve_text text = {0};
    if (job->status) { /* a stream that has begun */
        serve_text_print(&text, "data: ");
        serve_problem_text(&job->problem, &text);
        serve_text_print(&text, "\n\n");
        serve_job_stream(job, &text, 1);
        serve_text_free(&text);
        return;
    }
    serve_problem_text(&job->problem, &text);
    job->retry_seconds = job->problem.retry_seconds;
    serve_job_answer(job, job->problem.status, &text);
}

void serve_job_fail_code(serve_job *job, int32_t rc, const distill_error *err)
{
    const char *message = err->message[0] ? err->message : distill_strerror(rc);
    const int asked = rc == DISTILL_E_INVALID || rc == DISTILL_E_OPTION || rc == DISTILL_E_UNSUPPORTED ||
                      rc == DISTILL_E_FORMAT || rc == DISTILL_E_MISMATCH || rc == DISTILL_E_NOT_FOUND;
    if (rc == DISTILL_E_NOMEM) serve_no_memory(&job->problem);
    else if (rc == DISTILL_E_CANCELLED)
        serve_refuse(&job->problem, 503, "shutting_down", NULL, "the server is shutting down");
    else serve_refuse(&job->problem, asked ? 400 : 500, NULL, NULL, "%s", message);
}

void serve_job_begin_stream(serve_job *job)
{
    pthread_mutex_lock(&job->server->lock);
    job->status = 200;
    struct MHD_Connection *connection = to_wake(job);
    pthread_mutex_unlock(&job->server->lock);
    wake(connection);
}

/* A client that reads more slowly than the model writes is waited for up to a bound. */
void serve_job_stream(serve_job *job, const serve_text *text, int last)
{
    pthread_mutex_lock(&job->server->lock);
    if (job->sent == job->out.size) job->sent = job->out.size = 0;
    serve_text_add(&job->out, text->bytes, text->size);
    if (text->failed || job->out.failed || (int64_t)(job->out.size - job->sent) > job->server->limits.unsent_bytes)
        job->cancelled = 1;
    if (last) job->ended = 1;
    struct MHD_Connection *connection = to_wake(job);
    pthread_mutex_unlock(&job->server->lock);
    wake(connection);
}

/* Whether a suspended connection's client has closed it, which libmicrohttpd does not look for meanwhile. */
static int is_gone(const serve_job *job)
{
    char byte;
    if (!job->connection) return 1;
    return job->suspended && job->fd >= 0 && recv(job->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

int serve_job_check(serve_job *job)
{
    pthread_mutex_lock(&job->server->lock);
    const int gone = job->cancelled || is_gone(job), closing = job->server->closing;
    pthread_mutex_unlock(&job->server->lock);
    if (gone) return serve_refuse(&job->problem, 499, "client_gone", NULL, "the client went away");
    if (closing) return serve_refuse(&job->problem, 503, "shutting_down", NULL, "the server is shutting down");
    if (serve_now() < job->deadline) return 1;
    return serve_refuse(&job->problem, 504, "timeout", NULL, "the request took more than %lld seconds (--timeout)",
                        (long long)job->server->limits.request_seconds);
}
