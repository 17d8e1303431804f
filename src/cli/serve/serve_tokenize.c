/* serve_tokenize.c - /tokenize and /detokenize, and the text of single tokens. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

int serve_decode(const serve_server *server, const int32_t *ids, int64_t count, serve_text *out)
{
    size_t size = 0;
    distill_error err;
    if (distill_tokenizer_decode(server->tokenizer, ids, count, 0, NULL, 0, &size, &err)) return 0;
    char *bytes = malloc(size + 1);
    if (!bytes) return 0;
    const int32_t rc = distill_tokenizer_decode(server->tokenizer, ids, count, 0, bytes, size + 1, &size, &err);
    if (!rc) serve_text_add(out, bytes, size - 1);
    free(bytes);
    return !rc && !out->failed;
}

/* Where a text begins a tokenizer may leave out a blank; behind another token it does not. So it is decoded twice in a
 * row, and the second one counts. */
int serve_piece(const serve_server *server, int32_t id, serve_text *out)
{
    const int32_t twice[2] = {id, id};
    serve_text once = {0}, both = {0};
    const int good = serve_decode(server, twice, 1, &once) && serve_decode(server, twice, 2, &both);
    if (good && both.size >= once.size) serve_text_add(out, both.bytes + once.size, both.size - once.size);
    serve_text_free(&once);
    serve_text_free(&both);
    return good && !out->failed;
}

static void answer(serve_job *job, json_t *value)
{
    serve_text out = {0};
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (text) serve_text_add(&out, text, strlen(text));
    else out.failed = 1;
    free(text);
    json_decref(value);
    serve_job_answer(job, 200, &out);
}

void serve_tokenize(serve_job *job)
{
    const serve_request *request = &job->request;
    serve_read read = {0};
    int good;
    if (request->chat) good = serve_read_chat(job, &read);
    else
        good = serve_encode(job, request->prompts->text, request->prompts->size,
                            request->plain ? 0 : DISTILL_ENCODE_SPECIAL, &read);
    if (good)
        answer(job, json_pack("{s:I, s:I, s:o}", "count", (json_int_t)read.count, "max_model_len",
                              (json_int_t)job->server->limits.context, "tokens", cli_json_ids(read.ids, read.count)));
    else serve_job_fail(job);
    free(read.ids);
}

void serve_detokenize(serve_job *job)
{
    const serve_prompt *tokens = job->request.prompts;
    distill_error err;
    size_t size = 0;
    int32_t rc = distill_tokenizer_decode(job->server->tokenizer, tokens->ids, tokens->count, 0, NULL, 0, &size, &err);
    serve_text text = {0};
    if (rc) {
        serve_job_fail_code(job, rc, &err);
        snprintf(job->problem.param, sizeof job->problem.param, "tokens");
        serve_job_fail(job);
        return;
    }
    if (serve_decode(job->server, tokens->ids, tokens->count, &text))
        answer(job, json_pack("{s:o}", "prompt", cli_json_text(text.bytes, text.size)));
    else {
        serve_no_memory(&job->problem);
        serve_job_fail(job);
    }
    serve_text_free(&text);
}
