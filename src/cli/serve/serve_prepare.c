/* serve_prepare.c - a request's prompts as tokens, within limits, and what can be said before a token is written. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* ---- tokens ---- */

int serve_encode(serve_job *job, const char *text, size_t size, int32_t flags, serve_read *out)
{
    int64_t cap = (int64_t)(size / 3) + 16, needed = 0;
    distill_error err;
    for (;;) {
        free(out->ids);
        out->ids = malloc((size_t)cap * sizeof *out->ids);
        if (!out->ids) return serve_no_memory(&job->problem);
        int32_t rc = distill_tokenizer_encode(job->server->tokenizer, text, size, flags, out->ids, cap, &needed, &err);
        if (!rc) break;
        if (rc != DISTILL_E_BUFFER) return serve_job_fail_code(job, rc, &err), 0;
        cap = needed;
    }
    out->count = needed;
    return 1;
}

/* The server's template where the model brings none, or another one is wanted. */
static char *chat_text(serve_job *job)
{
    if (job->server->chat && json_object_update(job->request.chat, job->server->chat)) return NULL;
    return json_dumps(job->request.chat, JSON_COMPACT);
}

const char serve_template_hint[] =
    "the server is told one by --chat-template (chatml, llama2, llama3, mistral or a file; "
    "with plain the model continues what is said)";

static int render(serve_job *job, const char *chat, serve_text *out)
{
    const int32_t flags = job->request.continues   ? DISTILL_CHAT_CONTINUE
                          : job->request.no_answer ? 0
                                                   : DISTILL_CHAT_ANSWER;
    const distill_tokenizer *tokenizer = job->server->tokenizer;
    distill_error err;
    size_t size = 0;
    int32_t rc = distill_tokenizer_chat(tokenizer, chat, flags, NULL, 0, &size, &err);
    if (rc == DISTILL_E_NOT_FOUND)
        return serve_refuse(&job->problem, 400, NULL, "messages", "messages: the model has no chat template; %s",
                            serve_template_hint);
    if (rc) return serve_job_fail_code(job, rc, &err), 0;
    out->bytes = malloc(size + 1);
    if (!out->bytes) return serve_no_memory(&job->problem);
    rc = distill_tokenizer_chat(tokenizer, chat, flags, out->bytes, size, &size, &err);
    if (rc) return serve_job_fail_code(job, rc, &err), 0;
    out->size = size - 1;
    return 1;
}

int serve_read_chat(serve_job *job, serve_read *out)
{
    serve_text text = {0};
    char *chat = chat_text(job);
    int good = chat ? render(job, chat, &text) : serve_no_memory(&job->problem);
    good = good && serve_encode(job, text.bytes, text.size, 0, out);
    serve_text_free(&text);
    free(chat);
    return good;
}

static int take_ids(serve_job *job, const serve_prompt *prompt, serve_read *out)
{
    for (int64_t i = 0; i < prompt->count; i++)
        if (prompt->ids[i] >= job->server->vocab)
            return serve_refuse(&job->problem, 400, NULL, "prompt", "prompt: id %d is none of the %lld of the model",
                                prompt->ids[i], (long long)job->server->vocab);
    out->ids = malloc((size_t)(prompt->count + 1) * sizeof *out->ids);
    if (!out->ids) return serve_no_memory(&job->problem);
    if (prompt->count) memcpy(out->ids, prompt->ids, (size_t)prompt->count * sizeof *out->ids);
    out->count = prompt->count;
    return 1;
}

/* An empty prompt begins a text. */
static int begin_text(serve_job *job, serve_read *out)
{
    int64_t bos = -1;
    if (out->count) return 1;
    if (!distill_tokenizer_get_i64(job->server->tokenizer, "bos", &bos, NULL) && bos >= 0)
        out->ids[out->count++] = (int32_t)bos;
    return out->count ? 1
                      : serve_refuse(&job->problem, 400, NULL, "prompt",
                                     "prompt: is empty, and the model has no token that a text begins with");
}

static int read_prompt(serve_job *job, int64_t i)
{
    serve_read *out = &job->prompts[i];
    const int32_t flags = job->request.plain ? 0 : DISTILL_ENCODE_SPECIAL;
    if (job->request.chat) return serve_read_chat(job, out) && begin_text(job, out);
    const serve_prompt *prompt = &job->request.prompts[i];
    const int good =
        prompt->text ? serve_encode(job, prompt->text, prompt->size, flags, out) : take_ids(job, prompt, out);
    return good && begin_text(job, out);
}

/* ---- limits ---- */

static int check_tokens(serve_job *job, const serve_read *prompt)
{
    const serve_limits *limits = &job->server->limits;
    const char *name = job->request.chat ? "messages" : "prompt";
    if (prompt->count > limits->prompt_tokens)
        return serve_refuse(&job->problem, 400, "context_length_exceeded", name,
                            "%s: %lld tokens are more than the %lld that a prompt may have (--max-prompt, --context)",
                            name, (long long)prompt->count, (long long)limits->prompt_tokens);
    const int64_t room = limits->context - prompt->count;
    if (job->request.max_tokens > room)
        return serve_refuse(&job->problem, 400, "context_length_exceeded", "max_tokens",
                            "%s has %lld tokens and max_tokens is %lld, but the context has %lld together", name,
                            (long long)prompt->count, (long long)job->request.max_tokens, (long long)limits->context);
    if (job->request.max_tokens > limits->answer_tokens)
        return serve_refuse(&job->problem, 400, NULL, "max_tokens",
                            "max_tokens: %lld is more than the %lld that an answer may have (--max-tokens)",
                            (long long)job->request.max_tokens, (long long)limits->answer_tokens);
    const int64_t usual = job->kind == SERVE_COMPLETION ? 16 : limits->answer_tokens; /* as the API has it */
    const int64_t most = job->request.max_tokens >= 0 ? job->request.max_tokens : usual < room ? usual : room;
    if (!job->max_tokens || most < job->max_tokens) job->max_tokens = most;
    if (job->max_tokens || job->request.echo || job->request.prompt_logprobs >= 0) return 1;
    return serve_refuse(&job->problem, 400, NULL, "max_tokens",
                        "max_tokens: 0 goes with echo or prompt_logprobs; else nothing is asked for");
}

static int make_choices(serve_job *job)
{
    const int64_t n = job->request.n;
    job->choices = calloc((size_t)(n * job->prompt_count), sizeof *job->choices);
    if (!job->choices) return serve_no_memory(&job->problem);
    job->choice_count = job->left = n * job->prompt_count;
    for (int64_t i = 0; i < job->choice_count; i++) {
        job->choices[i].index = i;
        job->choices[i].prompt = i / n;
    }
    return 1;
}

/* ---- a job ---- */

static int prepare(serve_job *job)
{
    const int64_t count = job->request.chat ? 1 : job->request.prompt_count;
    job->prompts = calloc((size_t)count, sizeof *job->prompts);
    if (!job->prompts) return serve_no_memory(&job->problem);
    job->prompt_count = count;
    for (int64_t i = 0; i < count; i++) {
        if (!serve_job_check(job) || !read_prompt(job, i) || !check_tokens(job, &job->prompts[i])) return 0;
    }
    return serve_options_make(job) && serve_score_prompts(job) && make_choices(job);
}

/* To the one who writes, or out of the queues. */
static void hand_on(serve_job *job, int good)
{
    serve_server *server = job->server;
    pthread_mutex_lock(&server->lock);
    if (good) serve_queue_add(&server->prepared, job);
    else server->waiting--, server->jobs--;
    pthread_cond_signal(&server->to_write);
    pthread_mutex_unlock(&server->lock);
    if (!good) serve_job_release(job);
}

static void work_on(serve_job *job)
{
    int good = 0;
    if (job->kind == SERVE_TOKENIZE) serve_tokenize(job);
    else if (job->kind == SERVE_DETOKENIZE) serve_detokenize(job);
    else {
        good = prepare(job);
        if (good && job->request.stream) serve_job_begin_stream(job);
        if (!good) serve_job_fail(job);
    }
    hand_on(job, good);
}

void *serve_prepare_run(void *user)
{
    serve_server *server = user;
    for (;;) {
        pthread_mutex_lock(&server->lock);
        while (!server->preparing.first && !server->closing) pthread_cond_wait(&server->to_prepare, &server->lock);
        serve_job *job = server->preparing.first;
        if (job) serve_queue_remove(&server->preparing, job);
        pthread_mutex_unlock(&server->lock);
        if (!job) return NULL;
        work_on(job);
    }
}
