/* serve_fields.c - the table of fields of a request. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "serve_request.h"

enum { INTEGER = 1, REAL, FLAG, OWN };
enum { WRITES = SERVE_CHAT | SERVE_COMPLETION, ALL = WRITES | SERVE_TOKENIZE | SERVE_DETOKENIZE };

typedef struct field {
    const char *name;
    int ends; /* the endpoints that take it */
    int kind;
    size_t at; /* in serve_request */
    double low, high;
    int (*read)(serve_reader *reader, const json_t *value);
} field;

typedef struct shown {
    char text[45];
    size_t size; /* of text; more than fits = there is more of it */
} shown;

static int show_part(const char *part, size_t size, void *user)
{
    shown *s = user;
    const size_t most = sizeof s->text - 1, room = s->size < most ? most - s->size : 0;
    const size_t taken = size < room ? size : room;
    memcpy(s->text + s->size, part, taken);
    s->size = taken < size ? sizeof s->text : s->size + taken;
    return s->size > most ? -1 : 0; /* jansson ends there, or behind the key of a map */
}

/* What was given, as JSON, and no more of it than a line has room for: it may be as large as a request. */
static void show_value(const json_t *value, char out[48])
{
    shown s = {"", 0};
    (void)json_dump_callback(value, show_part, &s, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    snprintf(out, 48, "%.44s%s", s.size ? s.text : "this", s.size == sizeof s.text ? "..." : "");
}

int serve_wrong(serve_reader *reader, const json_t *value, const char *wanted)
{
    char given[48];
    show_value(value, given);
    return serve_refuse(reader->problem, 400, NULL, reader->name, "%s: %s is given, %s is wanted", reader->name, given,
                        wanted);
}

/* ---- fields of their own kind ---- */

static int read_model(serve_reader *reader, const json_t *value)
{
    if (!json_is_string(value)) return serve_wrong(reader, value, "the name of a model");
    reader->out->model = strdup(json_string_value(value));
    return reader->out->model ? 1 : serve_no_memory(reader->problem);
}

static int add_stop(serve_reader *reader, const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text || !*text || strlen(text) != json_string_length(value))
        return serve_wrong(reader, value, "a text that is not empty and has no NUL, or a list of such");
    char *copy = strdup(text);
    if (!copy) return serve_no_memory(reader->problem);
    reader->out->stops[reader->out->stop_count++] = copy;
    return 1;
}

static int read_stop(serve_reader *reader, const json_t *value)
{
    enum { MOST = 64 };
    const size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count > MOST)
        return serve_refuse(reader->problem, 400, NULL, "stop", "stop: %zu texts are more than %d", count, MOST);
    reader->out->stops = calloc(count + 1, sizeof *reader->out->stops);
    if (!reader->out->stops) return serve_no_memory(reader->problem);
    for (size_t i = 0; i < count; i++)
        if (!add_stop(reader, json_is_array(value) ? json_array_get(value, i) : value)) return 0;
    return 1;
}

static int read_stop_ids(serve_reader *reader, const json_t *value)
{
    return serve_read_ids(reader, value, &reader->out->stop_ids, &reader->out->stop_id_count);
}

static int read_bias(serve_reader *reader, const json_t *value)
{
    enum { MOST = 1024 };
    const char *key;
    json_t *item;
    if (!json_is_object(value)) return serve_wrong(reader, value, "an object, {\"token id\": number from -100 to 100}");
    const size_t count = json_object_size(value);
    if (count > MOST)
        return serve_refuse(reader->problem, 400, NULL, "logit_bias", "logit_bias: %zu ids are more than %d", count,
                            MOST);
    reader->out->bias = calloc(count + 1, sizeof *reader->out->bias);
    if (!reader->out->bias) return serve_no_memory(reader->problem);
    json_object_foreach((json_t *)value, key, item)
    {
        serve_bias *bias = &reader->out->bias[reader->out->bias_count++];
        char *end;
        const long long id = strtoll(key, &end, 10);
        bias->id = (int32_t)id;
        bias->value = json_number_value(item);
        if (key[0] < '0' || key[0] > '9' || *end || id > INT32_MAX || !json_is_number(item) ||
            !(fabs(bias->value) <= 100))
            return serve_wrong(reader, value, "an object, {\"token id\": number from -100 to 100}");
    }
    return 1;
}

static int read_stream_options(serve_reader *reader, const json_t *value)
{
    const char *key;
    json_t *item;
    if (!json_is_object(value)) return serve_wrong(reader, value, "an object, {\"include_usage\": true}");
    json_object_foreach((json_t *)value, key, item)
    {
        if (strcmp(key, "include_usage") != 0 || !json_is_boolean(item))
            return serve_wrong(reader, value, "an object with include_usage, true or false, alone");
        reader->out->include_usage = json_is_true(item);
    }
    return 1;
}

/* A flag in chats, a number in completions. */
static int read_logprobs(serve_reader *reader, const json_t *value)
{
    if (reader->out->kind == SERVE_CHAT) {
        if (!json_is_boolean(value)) return serve_wrong(reader, value, "true or false");
        reader->out->logprobs = json_is_true(value) ? 0 : -1;
        return 1;
    }
    if (json_is_false(value)) return 1;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return serve_wrong(reader, value, "a whole number from 0");
    reader->out->logprobs = json_integer_value(value);
    return 1;
}

static int read_no_answer(serve_reader *reader, const json_t *value)
{
    if (!json_is_boolean(value)) return serve_wrong(reader, value, "true or false");
    reader->out->no_answer = json_is_false(value);
    return 1;
}

static int read_special(serve_reader *reader, const json_t *value)
{
    if (!json_is_boolean(value)) return serve_wrong(reader, value, "true or false");
    reader->out->plain = json_is_false(value);
    return 1;
}

/* ---- the table ---- */

#define AT(member) offsetof(serve_request, member)
static const field fields[] = {
    {"model", ALL, OWN, 0, 0, 0, read_model},
    {"messages", SERVE_CHAT | SERVE_TOKENIZE, OWN, 0, 0, 0, serve_read_messages},
    {"prompt", SERVE_COMPLETION | SERVE_TOKENIZE, OWN, 0, 0, 0, serve_read_prompt},
    {"tokens", SERVE_DETOKENIZE, OWN, 0, 0, 0, serve_read_tokens},
    {"chat_template_kwargs", SERVE_CHAT | SERVE_TOKENIZE, OWN, 0, 0, 0, serve_read_kwargs},
    {"add_generation_prompt", SERVE_CHAT | SERVE_TOKENIZE, OWN, 0, 0, 0, read_no_answer},
    {"continue_final_message", SERVE_CHAT | SERVE_TOKENIZE, FLAG, AT(continues), 0, 0, NULL},
    {"add_special_tokens", SERVE_COMPLETION | SERVE_TOKENIZE, OWN, 0, 0, 0, read_special},
    {"max_tokens", WRITES, INTEGER, AT(max_tokens), 0, 1e9, NULL},
    {"max_completion_tokens", SERVE_CHAT, INTEGER, AT(max_completion_tokens), 0, 1e9, NULL},
    {"n", WRITES, INTEGER, AT(n), 1, 1e6, NULL},
    {"seed", WRITES, INTEGER, AT(seed), 0, 9007199254740992.0 - 1e6, NULL},
    {"temperature", WRITES, REAL, AT(temperature), 0, 100, NULL},
    {"top_p", WRITES, REAL, AT(top_p), 1e-6, 1, NULL},
    {"top_k", WRITES, INTEGER, AT(top_k), -1, 1e9, NULL},
    {"min_p", WRITES, REAL, AT(min_p), 0, 1, NULL},
    {"repetition_penalty", WRITES, REAL, AT(repetition_penalty), 1e-2, 100, NULL},
    {"presence_penalty", WRITES, REAL, AT(presence_penalty), -2, 2, NULL},
    {"frequency_penalty", WRITES, REAL, AT(frequency_penalty), -2, 2, NULL},
    {"stop", WRITES, OWN, 0, 0, 0, read_stop},
    {"stop_token_ids", WRITES, OWN, 0, 0, 0, read_stop_ids},
    {"logit_bias", WRITES, OWN, 0, 0, 0, read_bias},
    {"logprobs", WRITES, OWN, 0, 0, 0, read_logprobs},
    {"top_logprobs", SERVE_CHAT, INTEGER, AT(top_logprobs), 0, 1e9, NULL},
    {"prompt_logprobs", WRITES, INTEGER, AT(prompt_logprobs), 0, 1e9, NULL},
    {"echo", SERVE_COMPLETION, FLAG, AT(echo), 0, 0, NULL},
    {"stream", WRITES, FLAG, AT(stream), 0, 0, NULL},
    {"stream_options", WRITES, OWN, 0, 0, 0, read_stream_options},
};
enum { FIELDS = sizeof fields / sizeof *fields };

/* Fields that clients send of themselves with a value that asks for nothing. */
static const struct {
    const char *name, *value;
} nothing_asked[] = {
    {"best_of", "1"},
    {"suffix", "\"\""},
    {"response_format", "{\"type\":\"text\"}"},
    {"tools", "[]"},
    {"tool_choice", "\"none\""},
    {"functions", "[]"},
    {"function_call", "\"none\""},
    {"metadata", "{}"},
    {"store", "false"},
    {"service_tier", "\"auto\""},
    {"modalities", "[\"text\"]"},
    {"use_beam_search", "false"},
    {"ignore_eos", "false"},
    {"skip_special_tokens", "true"},
    {"min_tokens", "0"},
};

static int asks_nothing(const char *name, const json_t *value)
{
    for (size_t i = 0; i < sizeof nothing_asked / sizeof *nothing_asked; i++) {
        if (strcmp(name, nothing_asked[i].name) != 0) continue;
        json_t *nothing = json_loads(nothing_asked[i].value, JSON_DECODE_ANY, NULL);
        int same = json_equal(value, nothing);
        json_decref(nothing);
        return same;
    }
    return 0;
}

static int is_ignored(const serve_limits *limits, const char *name)
{
    for (int i = 0; i < limits->ignored_count; i++)
        if (!strcmp(limits->ignored[i], name)) return 1;
    return 0;
}

static int read_number(serve_reader *reader, const field *f, const json_t *value)
{
    const double number = json_number_value(value);
    char wanted[96];
    const char *kind = f->kind == INTEGER ? "whole " : "";
    if (f->kind == INTEGER ? json_is_integer(value) : json_is_number(value))
        if (number >= f->low && number <= f->high) {
            if (f->kind == INTEGER) *(int64_t *)((char *)reader->out + f->at) = json_integer_value(value);
            else *(double *)((char *)reader->out + f->at) = number;
            return 1;
        }
    snprintf(wanted, sizeof wanted, "a %snumber from %.16g to %.16g", kind, f->low, f->high);
    return serve_wrong(reader, value, wanted);
}

static int read_field(serve_reader *reader, const field *f, const json_t *value)
{
    if (json_is_null(value)) return 1;
    if (f->kind == OWN) return f->read(reader, value);
    if (f->kind != FLAG) return read_number(reader, f, value);
    if (!json_is_boolean(value)) return serve_wrong(reader, value, "true or false");
    *(int *)((char *)reader->out + f->at) = json_is_true(value);
    return 1;
}

static int refuse_field(serve_reader *reader)
{
    const char *names[FIELDS];
    int count = 0;
    for (int i = 0; i < FIELDS; i++)
        if (fields[i].ends & reader->out->kind) names[count++] = fields[i].name;
    const char *nearest = cli_nearest(reader->name, names, count);
    return serve_refuse(reader->problem, 400, "unsupported_parameter", reader->name,
                        "%.64s: is not supported here%s%s; leave it out, or start the server with --ignore %.64s",
                        reader->name, nearest ? "; did you mean " : "", nearest ? nearest : "", reader->name);
}

static int take_field(serve_reader *reader, const json_t *value)
{
    for (int i = 0; i < FIELDS; i++)
        if ((fields[i].ends & reader->out->kind) && !strcmp(fields[i].name, reader->name))
            return read_field(reader, &fields[i], value);
    if (json_is_null(value) || asks_nothing(reader->name, value) || is_ignored(reader->limits, reader->name)) return 1;
    return refuse_field(reader);
}

/* ---- what goes together ---- */

static int check_logprobs(serve_request *out, const serve_limits *limits, serve_problem *problem)
{
    if (out->top_logprobs >= 0 && out->logprobs < 0)
        return serve_refuse(problem, 400, NULL, "top_logprobs", "top_logprobs: goes with logprobs: true");
    if (out->top_logprobs >= 0) out->logprobs = out->top_logprobs;
    const char *name = out->kind == SERVE_CHAT ? "top_logprobs" : "logprobs";
    if (out->logprobs > limits->logprobs || out->prompt_logprobs > limits->logprobs)
        return serve_refuse(problem, 400, NULL, out->logprobs > limits->logprobs ? name : "prompt_logprobs",
                            "%s: %lld is more than the %lld that this server gives (--max-logprobs)",
                            out->logprobs > limits->logprobs ? name : "prompt_logprobs",
                            (long long)(out->logprobs > limits->logprobs ? out->logprobs : out->prompt_logprobs),
                            (long long)limits->logprobs);
    if (out->prompt_logprobs >= 0 && out->stream)
        return serve_refuse(problem, 400, NULL, "prompt_logprobs", "prompt_logprobs: does not go with stream");
    return 1;
}

static int check_together(serve_request *out, const serve_limits *limits, serve_problem *problem)
{
    if (out->max_completion_tokens >= 0) {
        if (out->max_tokens >= 0 && out->max_tokens != out->max_completion_tokens)
            return serve_refuse(problem, 400, NULL, "max_tokens",
                                "max_tokens and max_completion_tokens say different things");
        out->max_tokens = out->max_completion_tokens;
    }
    if (out->include_usage && !out->stream)
        return serve_refuse(problem, 400, NULL, "stream_options", "stream_options: goes with stream");
    if (out->n * (out->prompt_count ? out->prompt_count : 1) > limits->choices)
        return serve_refuse(problem, 400, NULL, "n", "n: %lld answers are more than the %lld of one request",
                            (long long)(out->n * (out->prompt_count ? out->prompt_count : 1)),
                            (long long)limits->choices);
    if (out->n > 1 && out->temperature == 0)
        return serve_refuse(problem, 400, NULL, "n", "n: answers at temperature 0 are all the same; ask for one");
    return check_logprobs(out, limits, problem);
}

/* What has to be there. */
static int check_there(const serve_request *out, serve_problem *problem)
{
    const int has_chat = out->chat && json_object_get(out->chat, "messages") != NULL,
              has_prompt = out->prompt_count > 0;
    const char *name = out->kind == SERVE_CHAT ? "messages" : out->kind == SERVE_DETOKENIZE ? "tokens" : "prompt";
    if (has_chat && has_prompt)
        return serve_refuse(problem, 400, NULL, "prompt", "prompt and messages do not go together");
    if (!(out->kind == SERVE_CHAT ? has_chat : has_prompt || (out->kind == SERVE_TOKENIZE && has_chat)))
        return serve_refuse(problem, 400, "missing_required_parameter", name, "%s: is missing", name);
    if (out->kind == SERVE_TOKENIZE && has_prompt && (out->prompt_count != 1 || !out->prompts->text))
        return serve_refuse(problem, 400, NULL, "prompt", "prompt: one text is wanted");
    return 1;
}

int serve_request_parse(int kind, const char *bytes, size_t size, const serve_limits *limits, serve_request *out,
                        serve_problem *problem)
{
    serve_reader reader = {out, limits, problem, NULL};
    json_t *value;
    memset(out, 0, sizeof *out);
    out->kind = kind;
    out->n = 1;
    out->top_p = out->temperature = out->repetition_penalty = 1;
    out->max_tokens = out->max_completion_tokens = out->seed = -1;
    out->logprobs = out->top_logprobs = out->prompt_logprobs = -1;
    json_t *body = serve_body_parse(bytes, size, limits, problem);
    if (!body) return 0;
    int good = 1;
    json_object_foreach(body, reader.name, value) if (!(good = take_field(&reader, value))) break;
    json_decref(body);
    return good && check_there(out, problem) && check_together(out, limits, problem);
}

void serve_request_free(serve_request *request)
{
    for (int64_t i = 0; i < request->prompt_count; i++) free(request->prompts[i].text), free(request->prompts[i].ids);
    for (int64_t i = 0; i < request->stop_count; i++) free(request->stops[i]);
    free(request->prompts);
    free(request->stops);
    free(request->stop_ids);
    free(request->bias);
    free(request->model);
    json_decref(request->chat);
    memset(request, 0, sizeof *request);
}
