/* serve_request.h - what a client asks for. The JSON of a request becomes one of these or a problem that names the
 * field; a field that is not used is refused by name. Nothing here knows the model: what is out of the model's bounds
 * is said where its options are set.
 *
 *   serve_body.c     bytes to JSON          serve_fields.c   the table of fields, and which endpoint takes them
 *   serve_prompts.c  prompts and messages   serve_problem.c  a problem as the error object of the OpenAI API */
#ifndef CLI_SERVE_REQUEST_H
#define CLI_SERVE_REQUEST_H

#include <jansson.h>
#include <stdint.h>

#include "serve_text.h"

typedef struct serve_problem {
    int status;        /* of HTTP */
    const char *code;  /* "model_not_found", ...; NULL = none */
    char param[64];    /* the field; "" = none */
    char message[640]; /* one line */
    int retry_seconds; /* 429 and 503: when to come again; 0 = not said */
} serve_problem;

/* Returns 0, which is what a reader of fields returns then. */
int serve_refuse(serve_problem *problem, int status, const char *code, const char *param, const char *format, ...);
/* {"error": {"message", "type", "param", "code"}} */
void serve_problem_text(const serve_problem *problem, serve_text *out);

enum { /* what is asked, a bit each */
       SERVE_CHAT = 1,
       SERVE_COMPLETION = 2,
       SERVE_TOKENIZE = 4,
       SERVE_DETOKENIZE = 8
};

typedef struct serve_limits {
    int64_t body_bytes, depth; /* of a request */
    int64_t context, prompt_tokens, answer_tokens;
    int64_t choices;  /* n times prompts */
    int64_t logprobs; /* likeliest tokens in the place of each */
    int64_t queue, connections, unsent_bytes;
    int64_t read_seconds, request_seconds, stop_seconds;
    const char *const *ignored; /* [ignored_count] fields that the user lets pass unused */
    int ignored_count;
} serve_limits;

typedef struct serve_prompt { /* as the client gave it: text, or ids where text is NULL */
    char *text;
    size_t size;
    int32_t *ids;
    int64_t count;
} serve_prompt;

typedef struct serve_bias {
    int32_t id;
    double value;
} serve_bias;

enum { SERVE_GIVEN_TEMPERATURE = 1, SERVE_GIVEN_SEED = 2 };

typedef struct serve_request {
    int kind;     /* SERVE_CHAT, ... */
    char *model;  /* NULL = not said */
    json_t *chat; /* {"messages", "chat_template_kwargs"}, or NULL */
    serve_prompt *prompts;
    int64_t prompt_count;
    int64_t max_tokens; /* -1 = not said */
    int64_t max_completion_tokens;
    int64_t n, top_k, seed;  /* seed -1 = not said */
    int64_t logprobs;        /* likeliest tokens beside each; -1 = no log-probabilities */
    int64_t top_logprobs;    /* as chat says it; -1 = not said */
    int64_t prompt_logprobs; /* the same for the prompt */
    double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    char **stops;
    int64_t stop_count;
    int32_t *stop_ids;
    int64_t stop_id_count;
    serve_bias *bias;
    int64_t bias_count;
    int stream, include_usage, echo, plain, continues, no_answer; /* plain: add_special_tokens false */
} serve_request;

/* size bytes as a JSON object that nests no deeper than it may; NULL after a problem. */
json_t *serve_body_parse(const char *bytes, size_t size, const serve_limits *limits, serve_problem *problem);
/* Fills out from the bytes of a body; 0 after a problem. out is to be freed either way. */
int serve_request_parse(int kind, const char *bytes, size_t size, const serve_limits *limits, serve_request *out,
                        serve_problem *problem);
void serve_request_free(serve_request *request);

/* ---- of its parts ---- */

typedef struct serve_reader {
    serve_request *out;
    const serve_limits *limits;
    serve_problem *problem;
    const char *name; /* of the field */
} serve_reader;

/* 0: "NAME: VALUE is given, WANTED is wanted" */
int serve_wrong(serve_reader *reader, const json_t *value, const char *wanted);
int serve_no_memory(serve_problem *problem); /* 0 */
int serve_read_prompt(serve_reader *reader, const json_t *value);
int serve_read_messages(serve_reader *reader, const json_t *value);
int serve_read_kwargs(serve_reader *reader, const json_t *value);
int serve_read_tokens(serve_reader *reader, const json_t *value);
int serve_read_ids(serve_reader *reader, const json_t *value, int32_t **ids, int64_t *count);

#endif
