/* serve_deliver.c - a token on its way to a client. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

static void send_chunk(serve_job *job, json_t *chunk, int last)
{
    serve_text text = {0};
    serve_shape_event(&text, chunk);
    if (last) serve_text_print(&text, "data: [DONE]\n\n");
    serve_job_stream(job, &text, last);
    serve_text_free(&text);
}

static json_t *text_of(const char *text, size_t size) { return cli_json_text(size ? text : "", size); }

/* ---- begin ---- */

/* The prompt as the client gave it; one of ids is decoded. */
static int echo(serve_job *job, serve_choice *choice)
{
    const serve_prompt *given = job->request.echo ? &job->request.prompts[choice->prompt] : NULL;
    const serve_read *read = &job->prompts[choice->prompt];
    if (!given) return 1;
    if (given->text) serve_text_add(&choice->text, given->text, given->size);
    else if (!serve_decode(job->server, read->ids, read->count, &choice->text)) return 0;
    return !choice->text.failed && serve_logprobs_echo(job, choice);
}

void serve_deliver_begin(serve_job *job)
{
    for (int64_t i = 0; i < job->choice_count; i++) {
        serve_choice *choice = &job->choices[i];
        if (!echo(job, choice)) {
            serve_no_memory(&job->problem);
            return;
        }
        if (!job->request.stream || (job->kind == SERVE_COMPLETION && !job->request.echo)) continue;
        send_chunk(
            job,
            serve_shape_chunk(job, choice, text_of(choice->text.bytes, choice->text.size), job->kind == SERVE_CHAT), 0);
        json_decref(choice->logprobs);
        choice->logprobs = NULL;
    }
}

/* ---- tokens ---- */

static int keep_id(serve_choice *choice, int32_t id)
{
    if (choice->count == choice->cap) {
        const int64_t cap = 2 * choice->cap + 64;
        int32_t *ids = realloc(choice->ids, (size_t)cap * sizeof *ids);
        if (!ids) return 0;
        choice->ids = ids;
        choice->cap = cap;
    }
    choice->ids[choice->count++] = id;
    return 1;
}

static void measure(serve_job *job, serve_choice *choice, const distill_token *token)
{
    serve_server *server = job->server;
    const double now = serve_now();
    pthread_mutex_lock(&server->lock);
    if (!job->first_token) serve_metrics_observe(&server->metrics.first_token_seconds, now - job->arrived);
    if (choice->count) serve_metrics_observe(&server->metrics.token_seconds, now - choice->last_token);
    server->metrics.tokens++;
    server->metrics.accepted += token->from_draft;
    pthread_mutex_unlock(&server->lock);
    if (!job->first_token) job->first_token = now;
    choice->last_token = now;
}

void serve_deliver(serve_job *job, serve_choice *choice, const distill_token *token)
{
    measure(job, choice, token);
    job->tokens++;
    if (token->finished) choice->finish = token->finished == DISTILL_FINISHED_LENGTH ? "length" : "stop";
    if (!keep_id(choice, token->id) || !serve_logprobs_add(job, choice, token)) {
        serve_no_memory(&job->problem);
        return;
    }
    if (!job->request.stream) {
        serve_text_add(&choice->text, token->text, (size_t)token->size);
        if (choice->text.failed) serve_no_memory(&job->problem);
        return;
    }
    if (!token->size && !choice->logprobs && !choice->finish)
        return; /* a piece of a character, or of what may be a stop */
    send_chunk(job, serve_shape_chunk(job, choice, text_of(token->text, (size_t)token->size), 0), 0);
    json_decref(choice->logprobs);
    choice->logprobs = NULL;
}

/* ---- end ---- */

void serve_deliver_finish(serve_job *job, serve_choice *choice)
{
    send_chunk(job, serve_shape_chunk(job, choice, NULL, 0), 0);
}

void serve_deliver_end(serve_job *job)
{
    serve_text text = {0};
    if (job->request.stream && job->request.include_usage) {
        send_chunk(job, serve_shape_chunk(job, NULL, NULL, 0), 1);
        return;
    }
    if (job->request.stream) {
        serve_text_print(&text, "data: [DONE]\n\n");
        serve_job_stream(job, &text, 1);
        serve_text_free(&text);
        return;
    }
    json_t *value = serve_shape_answer(job);
    char *written = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (written) serve_text_add(&text, written, strlen(written));
    else text.failed = 1;
    free(written);
    json_decref(value);
    serve_job_answer(job, 200, &text);
}
