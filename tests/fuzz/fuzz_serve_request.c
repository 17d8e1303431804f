/* Requests of `distill serve`: any bytes become a request within its limits, or a problem with a status and a message.
 * The first byte says which endpoint. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/serve/serve_request.h"

static void check_request(const serve_request *request, const serve_limits *limits)
{
    const int64_t prompts = request->prompt_count ? request->prompt_count : 1;
    if (request->n < 1 || request->n * prompts > limits->choices) __builtin_trap();
    if (request->logprobs > limits->logprobs || request->prompt_logprobs > limits->logprobs) __builtin_trap();
    if (!request->chat && !request->prompt_count) __builtin_trap();
    for (int64_t i = 0; i < request->stop_count; i++)
        if (!request->stops[i] || !request->stops[i][0]) __builtin_trap();
    for (int64_t i = 0; i < request->prompt_count; i++)
        for (int64_t k = 0; k < request->prompts[i].count; k++)
            if (request->prompts[i].ids[k] < 0) __builtin_trap();
}

static void check_problem(const serve_problem *problem)
{
    serve_text text = {0};
    if (problem->status < 400 || !problem->message[0]) __builtin_trap();
    serve_problem_text(problem, &text);
    json_t *value = text.failed ? NULL : json_loadb(text.bytes, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_string(json_object_get(json_object_get(value, "error"), "message"))) __builtin_trap();
    json_decref(value);
    serve_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int kinds[] = {SERVE_CHAT, SERVE_COMPLETION, SERVE_TOKENIZE, SERVE_DETOKENIZE};
    static const char *const ignored[] = {"user"};
    const serve_limits limits = {.depth = 16, .choices = 8, .logprobs = 4, .ignored = ignored, .ignored_count = 1};
    serve_request request;
    serve_problem problem;
    if (!size || size > 65536) return 0;
    memset(&problem, 0, sizeof problem);
    if (serve_request_parse(kinds[data[0] % 4], (const char *)data + 1, size - 1, &limits, &request, &problem))
        check_request(&request, &limits);
    else check_problem(&problem);
    serve_request_free(&request);
    return 0;
}
