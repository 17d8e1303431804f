/* serve_body.c - the bytes of a request as a JSON object. */
#include <string.h>

#include "serve_request.h"

/* How deep brackets outside of strings go: jansson's own bound is far above what a request needs. */
static int64_t depth_of(const char *bytes, size_t size)
{
    int64_t depth = 0, most = 0;
    int quoted = 0;
    for (size_t i = 0; i < size; i++) {
        char c = bytes[i];
        if (quoted && c == '\\') i++;
        else if (c == '"') quoted = !quoted;
        else if (!quoted && (c == '[' || c == '{')) most = ++depth > most ? depth : most;
        else if (!quoted && (c == ']' || c == '}')) depth--;
    }
    return most;
}

json_t *serve_body_parse(const char *bytes, size_t size, const serve_limits *limits, serve_problem *problem)
{
    json_error_t error;
    if (!size) {
        serve_refuse(problem, 400, "invalid_json", NULL, "the request has no body; a JSON object is wanted");
        return NULL;
    }
    if (depth_of(bytes, size) > limits->depth) {
        serve_refuse(problem, 400, "invalid_json", NULL, "the request nests deeper than %lld levels",
                     (long long)limits->depth);
        return NULL;
    }
    json_t *value = json_loadb(bytes, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (value && json_is_object(value)) return value;
    if (value) serve_refuse(problem, 400, "invalid_json", NULL, "the request is no JSON object");
    else
        serve_refuse(problem, 400, "invalid_json", NULL, "the request is no JSON: line %d, column %d: %s", error.line,
                     error.column, error.text);
    json_decref(value);
    return NULL;
}
