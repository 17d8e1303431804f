/* serve_problem.c - a problem as the error object of the OpenAI API. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve_request.h"

int serve_refuse(serve_problem *problem, int status, const char *code, const char *param, const char *format, ...)
{
    va_list args;
    problem->status = status;
    problem->code = code;
    problem->retry_seconds = status == 503 ? 1 : 0;
    snprintf(problem->param, sizeof problem->param, "%s", param ? param : "");
    va_start(args, format);
    vsnprintf(problem->message, sizeof problem->message, format, args);
    va_end(args);
    return 0;
}

int serve_no_memory(serve_problem *problem)
{
    return serve_refuse(problem, 503, "out_of_memory", NULL, "out of memory; try again, or ask for less");
}

static const char *type_of(int status)
{
    if (status == 401) return "authentication_error";
    if (status == 403) return "permission_error";
    if (status == 429) return "rate_limit_error";
    if (status == 503) return "service_unavailable";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

static json_t *text_or_null(const char *text) { return text && *text ? json_string(text) : json_null(); }

/* A message may quote a byte of the request that was cut in the middle of a character. */
static void keep_ascii(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7E) *text = '?';
}

void serve_problem_text(const serve_problem *problem, serve_text *out)
{
    char message[sizeof problem->message], param[sizeof problem->param];
    memcpy(message, problem->message, sizeof message);
    memcpy(param, problem->param, sizeof param);
    json_t *whole = json_string(message);
    if (!whole) keep_ascii(message);
    json_decref(whole);
    keep_ascii(param);
    json_t *value = json_pack("{s:{s:s, s:s, s:o, s:o}}", "error", "message", message, "type", type_of(problem->status),
                              "param", text_or_null(param), "code", text_or_null(problem->code));
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (text) serve_text_add(out, text, strlen(text));
    else out->failed = 1;
    free(text);
    json_decref(value);
}
