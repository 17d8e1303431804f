/* serve_prompts.c - prompts, ids and messages of a request. */
#include <stdlib.h>
#include <string.h>

#include "serve_request.h"

int serve_read_ids(serve_reader *reader, const json_t *value, int32_t **ids, int64_t *count)
{
    const size_t size = json_array_size(value);
    if (!json_is_array(value)) return serve_wrong(reader, value, "a list of token ids");
    int32_t *list = malloc((size + 1) * sizeof *list);
    if (!list) return serve_no_memory(reader->problem);
    for (size_t i = 0; i < size; i++) {
        const json_t *item = json_array_get(value, i);
        const json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id > INT32_MAX) {
            free(list);
            return serve_refuse(reader->problem, 400, NULL, reader->name,
                                "%s: item %zu is no token id (a whole number from 0)", reader->name, i);
        }
        list[i] = (int32_t)id;
    }
    *ids = list;
    *count = (int64_t)size;
    return 1;
}

static int add_prompt(serve_reader *reader, const json_t *value)
{
    serve_request *out = reader->out;
    serve_prompt *prompt = &out->prompts[out->prompt_count];
    memset(prompt, 0, sizeof *prompt);
    if (json_is_array(value)) {
        if (!serve_read_ids(reader, value, &prompt->ids, &prompt->count)) return 0;
    } else if (json_is_string(value)) {
        prompt->size = json_string_length(value);
        prompt->text = malloc(prompt->size + 1);
        if (!prompt->text) return serve_no_memory(reader->problem);
        memcpy(prompt->text, json_string_value(value), prompt->size);
        prompt->text[prompt->size] = 0;
    } else {
        return serve_wrong(reader, value, "a text, a list of token ids, or a list of these");
    }
    out->prompt_count++;
    return 1;
}

/* "text", ["text", ...], [1, 2, ...] or [[1, 2, ...], ...] */
int serve_read_prompt(serve_reader *reader, const json_t *value)
{
    const json_t *first = json_array_get(value, 0);
    const int many = json_is_array(value) && (json_is_string(first) || json_is_array(first));
    const size_t count = many ? json_array_size(value) : 1;
    if ((int64_t)count > reader->limits->choices)
        return serve_refuse(reader->problem, 400, NULL, reader->name,
                            "%s: %zu prompts are more than the %lld of one request", reader->name, count,
                            (long long)reader->limits->choices);
    reader->out->prompts = calloc(count, sizeof *reader->out->prompts);
    if (!reader->out->prompts) return serve_no_memory(reader->problem);
    for (size_t i = 0; i < count; i++)
        if (!add_prompt(reader, many ? json_array_get(value, i) : value)) return 0;
    return 1;
}

static int set_chat(serve_reader *reader, const char *key, const json_t *value)
{
    if (!reader->out->chat) reader->out->chat = json_object();
    if (!reader->out->chat || json_object_set(reader->out->chat, key, (json_t *)value))
        return serve_no_memory(reader->problem);
    return 1;
}

int serve_read_messages(serve_reader *reader, const json_t *value)
{
    if (!json_is_array(value) || !json_array_size(value)) return serve_wrong(reader, value, "a list of messages");
    return set_chat(reader, "messages", value);
}

int serve_read_kwargs(serve_reader *reader, const json_t *value)
{
    if (!json_is_object(value)) return serve_wrong(reader, value, "an object of variables of the chat template");
    return set_chat(reader, "chat_template_kwargs", value);
}

int serve_read_tokens(serve_reader *reader, const json_t *value)
{
    reader->out->prompts = calloc(1, sizeof *reader->out->prompts);
    if (!reader->out->prompts) return serve_no_memory(reader->problem);
    reader->out->prompt_count = 1;
    return serve_read_ids(reader, value, &reader->out->prompts->ids, &reader->out->prompts->count);
}
