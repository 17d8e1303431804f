/* serve_shapes.c - the objects of the OpenAI API. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

json_t *serve_shape_model(const serve_server *server)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:I}", "id", server->name, "object", "model", "created",
                     (json_int_t)server->created, "owned_by", "libdistill", "max_model_len",
                     (json_int_t)server->limits.context);
}

json_t *serve_shape_models(const serve_server *server)
{
    return json_pack("{s:s, s:[o]}", "object", "list", "data", serve_shape_model(server));
}

json_t *serve_shape_usage(const serve_job *job)
{
    int64_t read = 0, kept = 0;
    for (int64_t i = 0; i < job->prompt_count; i++) read += job->prompts[i].count, kept += job->prompts[i].kept;
    return json_pack("{s:I, s:I, s:I, s:{s:I}}", "prompt_tokens", (json_int_t)read, "completion_tokens",
                     (json_int_t)job->tokens, "total_tokens", (json_int_t)(read + job->tokens), "prompt_tokens_details",
                     "cached_tokens", (json_int_t)kept);
}

static const char *object_of(const serve_job *job, int whole)
{
    if (job->kind == SERVE_COMPLETION) return "text_completion";
    return whole ? "chat.completion" : "chat.completion.chunk";
}

static json_t *frame(const serve_job *job, int whole, json_t *choices)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", job->id, "object", object_of(job, whole), "created",
                     (json_int_t)job->created, "model", job->server->name, "choices", choices);
}

static json_t *text_or_null(const char *text) { return text ? json_string(text) : json_null(); }

static json_t *shared_or_null(json_t *value) { return value ? json_incref(value) : json_null(); }

static json_t *whole_choice(const serve_job *job, const serve_choice *choice)
{
    json_t *text = cli_json_text(choice->text.bytes, choice->text.size), *value;
    const serve_read *prompt = &job->prompts[choice->prompt];
    if (job->kind == SERVE_CHAT)
        return json_pack("{s:I, s:{s:s, s:o, s:n}, s:o, s:o}", "index", (json_int_t)choice->index, "message", "role",
                         "assistant", "content", text, "refusal", "logprobs", shared_or_null(choice->logprobs),
                         "finish_reason", text_or_null(choice->finish));
    value = json_pack("{s:I, s:o, s:o, s:o}", "index", (json_int_t)choice->index, "text", text, "logprobs",
                      shared_or_null(choice->logprobs), "finish_reason", text_or_null(choice->finish));
    if (job->request.prompt_logprobs >= 0)
        json_object_set_new(value, "prompt_logprobs", serve_logprobs_prompt(job, prompt));
    return value;
}

json_t *serve_shape_answer(const serve_job *job)
{
    json_t *choices = json_array();
    for (int64_t i = 0; i < job->choice_count; i++) json_array_append_new(choices, whole_choice(job, &job->choices[i]));
    if (json_array_size(choices) != (size_t)job->choice_count) return json_decref(choices), NULL;
    json_t *value = frame(job, 1, choices);
    json_object_set_new(value, "usage", serve_shape_usage(job));
    if (job->kind == SERVE_CHAT && job->request.prompt_logprobs >= 0)
        json_object_set_new(value, "prompt_logprobs", serve_logprobs_prompt(job, job->prompts));
    return value;
}

static json_t *delta_of(json_t *text, int role)
{
    json_t *delta = json_object();
    if (role) json_object_set_new(delta, "role", json_string("assistant"));
    if (text) json_object_set_new(delta, "content", text);
    return delta;
}

static json_t *part_of_choice(const serve_job *job, const serve_choice *choice, json_t *text, int role)
{
    if (job->kind == SERVE_CHAT)
        return json_pack("{s:I, s:o, s:o, s:o}", "index", (json_int_t)choice->index, "delta", delta_of(text, role),
                         "logprobs", shared_or_null(choice->logprobs), "finish_reason", text_or_null(choice->finish));
    return json_pack("{s:I, s:o, s:o, s:o}", "index", (json_int_t)choice->index, "text", text ? text : json_string(""),
                     "logprobs", shared_or_null(choice->logprobs), "finish_reason", text_or_null(choice->finish));
}

json_t *serve_shape_chunk(const serve_job *job, const serve_choice *choice, json_t *text, int role)
{
    json_t *choices = choice ? json_pack("[o]", part_of_choice(job, choice, text, role)) : json_array();
    json_t *value = frame(job, 0, choices);
    if (job->request.include_usage) json_object_set_new(value, "usage", choice ? json_null() : serve_shape_usage(job));
    return value;
}

void serve_shape_event(serve_text *out, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (!text) out->failed = 1;
    else {
        serve_text_add(out, "data: ", 6);
        serve_text_add(out, text, strlen(text));
        serve_text_add(out, "\n\n", 2);
    }
    free(text);
    json_decref(value);
}
