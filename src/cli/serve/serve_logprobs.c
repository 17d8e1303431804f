/* serve_logprobs.c - log-probabilities in the shapes of the OpenAI API and of vLLM. */
#include <math.h>
#include <string.h>

#include "serve.h"

enum { FLOOR = -9999 }; /* what -infinity is written as, as vLLM does */

static json_t *number_of(double log_prob) { return json_real(log_prob > FLOOR ? log_prob : FLOOR); }

/* A piece of a character is written by its bytes, as OpenAI's completions have it. */
static json_t *name_of(const serve_text *piece)
{
    json_t *value = json_stringn(piece->bytes ? piece->bytes : "", piece->size);
    serve_text name = {0};
    if (value) return value;
    serve_text_print(&name, "bytes:");
    for (size_t i = 0; i < piece->size; i++) serve_text_print(&name, "\\x%02x", (unsigned char)piece->bytes[i]);
    value = name.failed ? NULL : json_string(name.bytes);
    serve_text_free(&name);
    return value;
}

static int64_t count_characters(const serve_text *piece)
{
    int64_t count = 0;
    for (size_t i = 0; i < piece->size; i++) count += ((unsigned char)piece->bytes[i] & 0xC0) != 0x80;
    return count;
}

/* ---- chats: {"content": [{"token", "logprob", "bytes", "top_logprobs"}]} ---- */

static json_t *chat_token(const serve_server *server, int32_t id, double log_prob)
{
    serve_text piece = {0};
    json_t *bytes = json_array();
    serve_piece(server, id, &piece);
    for (size_t i = 0; i < piece.size; i++) json_array_append_new(bytes, json_integer((unsigned char)piece.bytes[i]));
    json_t *value = json_pack("{s:o, s:o, s:o}", "token", cli_json_text(piece.bytes, piece.size), "logprob",
                              number_of(log_prob), "bytes", bytes);
    serve_text_free(&piece);
    return value;
}

static int add_chat(serve_job *job, serve_choice *choice, const distill_token *token)
{
    json_t *top = json_array(), *value = chat_token(job->server, token->id, token->log_prob);
    if (!choice->logprobs) choice->logprobs = json_pack("{s:[], s:n}", "content", "refusal");
    for (int64_t i = 0; i < token->top_count; i++)
        json_array_append_new(top, chat_token(job->server, token->top_ids[i], (double)token->top_log_probs[i]));
    json_object_set_new(value, "top_logprobs", top);
    return !json_array_append_new(json_object_get(choice->logprobs, "content"), value);
}

/* ---- completions: {"tokens", "token_logprobs", "top_logprobs", "text_offset"} ---- */

static void add_named(const serve_server *server, json_t *object, int32_t id, double log_prob)
{
    serve_text piece = {0};
    serve_piece(server, id, &piece);
    json_t *name = name_of(&piece);
    /* two ids of one text: the likelier one, which comes first, stays */
    if (name && !json_object_get(object, json_string_value(name)) &&
        strlen(json_string_value(name)) == json_string_length(name))
        json_object_set_new(object, json_string_value(name), number_of(log_prob));
    json_decref(name);
    serve_text_free(&piece);
}

/* log_prob NULL = the first token of a text, which has none. */
static int add_completion(serve_job *job, serve_choice *choice, int32_t id, const double *log_prob,
                          const int32_t *top_ids, const float *top_log_probs, int64_t count)
{
    serve_text piece = {0};
    json_t *top = log_prob ? json_object() : json_null();
    if (!choice->logprobs)
        choice->logprobs =
            json_pack("{s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs", "top_logprobs", "text_offset");
    serve_piece(job->server, id, &piece);
    for (int64_t i = 0; log_prob && i < count; i++) add_named(job->server, top, top_ids[i], (double)top_log_probs[i]);
    if (log_prob) add_named(job->server, top, id, *log_prob);
    json_array_append_new(json_object_get(choice->logprobs, "tokens"), name_of(&piece));
    json_array_append_new(json_object_get(choice->logprobs, "token_logprobs"),
                          log_prob ? number_of(*log_prob) : json_null());
    json_array_append_new(json_object_get(choice->logprobs, "top_logprobs"), top);
    const int full =
        json_array_append_new(json_object_get(choice->logprobs, "text_offset"), json_integer(choice->text_offset));
    choice->text_offset += count_characters(&piece);
    serve_text_free(&piece);
    return !full;
}

int serve_logprobs_add(serve_job *job, serve_choice *choice, const distill_token *token)
{
    if (job->request.logprobs < 0) return 1;
    if (job->kind == SERVE_CHAT) return add_chat(job, choice, token);
    return add_completion(job, choice, token->id, &token->log_prob, token->top_ids, token->top_log_probs,
                          token->top_count);
}

int serve_logprobs_echo(serve_job *job, serve_choice *choice)
{
    const serve_read *prompt = &job->prompts[choice->prompt];
    const int64_t most = job->request.logprobs < prompt->width ? job->request.logprobs : prompt->width;
    int good = 1;
    if (job->request.logprobs < 0 || !job->request.echo) return 1;
    for (int64_t i = 0; good && i < prompt->count; i++) {
        const double log_prob = i ? (double)prompt->chosen[i - 1] : 0;
        const int64_t row = i ? (i - 1) * prompt->width : 0;
        good = add_completion(job, choice, prompt->ids[i], i ? &log_prob : NULL,
                              prompt->top_ids ? prompt->top_ids + row : NULL,
                              prompt->top_log_probs ? prompt->top_log_probs + row : NULL, most);
    }
    return good;
}

/* ---- vLLM's prompt_logprobs: [null, {"id": {"logprob", "rank", "decoded_token"}, ...}, ...] ---- */

/* rank 0 = not known: it is not among the likeliest that were asked for. */
static void add_ranked(const serve_server *server, json_t *object, int32_t id, double log_prob, int64_t rank)
{
    serve_text piece = {0};
    char key[16];
    snprintf(key, sizeof key, "%d", id);
    serve_piece(server, id, &piece);
    json_object_set_new(object, key,
                        json_pack("{s:o, s:o, s:o}", "logprob", number_of(log_prob), "rank",
                                  rank ? json_integer(rank) : json_null(), "decoded_token",
                                  cli_json_text(piece.bytes, piece.size)));
    serve_text_free(&piece);
}

json_t *serve_logprobs_prompt(const serve_job *job, const serve_read *prompt)
{
    const int64_t most = job->request.prompt_logprobs < prompt->width ? job->request.prompt_logprobs : prompt->width;
    json_t *list = json_pack("[n]");
    for (int64_t row = 0; row + 1 < prompt->count; row++) {
        json_t *object = json_object();
        int64_t rank = 0;
        for (int64_t k = 0; k < prompt->width; k++)
            if (prompt->top_ids[row * prompt->width + k] == prompt->ids[row + 1]) rank = k + 1;
        add_ranked(job->server, object, prompt->ids[row + 1], (double)prompt->chosen[row], rank);
        for (int64_t k = 0; k < most; k++) {
            const int64_t at = row * prompt->width + k;
            if (prompt->top_ids[at] != prompt->ids[row + 1])
                add_ranked(job->server, object, prompt->top_ids[at], (double)prompt->top_log_probs[at], k + 1);
        }
        json_array_append_new(list, object);
    }
    return list;
}
