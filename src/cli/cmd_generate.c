/* cmd_generate.c - distill generate. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct answer {
    int64_t count, cap;
    int32_t *ids;
    json_t *log_probs, *top; /* NULL = not asked for */
    size_t size, text_cap;
    char *text;
} answer;

typedef struct answers {
    int stream; /* text goes to stdout as it comes */
    int64_t count;
    answer *of; /* [count] */
} answers;

typedef struct sampling { /* what section generate is told */
    int64_t max_tokens, top_k, seed, samples, top_logprobs;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty;
    int has_tokens, has_top_k, has_seed, has_samples, has_top_p, has_min_p, has_repetition, has_presence,
        has_top_logprobs;
    const char *quantized, *precision; /* NULL = not given */
    cli_settings bias, stop, stop_ids;
} sampling;

typedef struct cli_chat {
    const char *text, *messages; /* what a user says, or a file; NULL = not given */
    const char *format;          /* a chat template: a name or a file */
} cli_chat;

static void add_log_probs(answer *a, const distill_token *token)
{
    json_t *row = json_array();
    if (!a->top) a->log_probs = json_array(), a->top = json_array();
    for (int64_t i = 0; i < token->top_count; i++)
        json_array_append_new(row, json_pack("{s:i, s:o}", "id", (int)token->top_ids[i], "log_prob",
                                             cli_json_real((double)token->top_log_probs[i])));
    json_array_append_new(a->log_probs, cli_json_real(token->log_prob));
    json_array_append_new(a->top, row);
}

static int32_t on_token(void *user, int64_t sequence, const distill_token *token)
{
    answers *all = user;
    answer *a = &all->of[sequence];
    const size_t size = (size_t)token->size;
    if (a->count == a->cap) a->ids = cli_memory(a->ids, (size_t)(a->cap = 2 * a->cap + 64) * sizeof *a->ids);
    a->ids[a->count++] = token->id;
    if (a->size + size > a->text_cap) a->text = cli_memory(a->text, a->text_cap = 2 * (a->size + size));
    if (size) memcpy(a->text + a->size, token->text, size);
    a->size += size;
    if (token->top_count) add_log_probs(a, token);
    if (all->stream && size) fwrite(token->text, 1, size, stdout), fflush(stdout);
    return DISTILL_CB_OK;
}

static int encode_prompt(const cli_session *s, const char *model, const char *prompt, int32_t flags, cli_ids *out,
                         distill_error *err)
{
    distill_tokenizer *tokenizer = NULL;
    int64_t cap = (int64_t)strlen(prompt) + 16, needed = 0;
    out->ids = cli_memory(NULL, (size_t)cap * sizeof *out->ids);
    int32_t rc = distill_tokenizer_open(s->env, model, &tokenizer, err);
    if (!rc) rc = distill_tokenizer_encode(tokenizer, prompt, strlen(prompt), flags, out->ids, cap, &needed, err);
    if (rc == DISTILL_E_BUFFER) {
        out->ids = cli_memory(out->ids, (size_t)needed * sizeof *out->ids);
        rc = distill_tokenizer_encode(tokenizer, prompt, strlen(prompt), flags, out->ids, needed, &needed, err);
    }
    int64_t bos = -1; /* an empty prompt begins a text */
    if (!rc && !needed && !distill_tokenizer_get_i64(tokenizer, "bos", &bos, NULL) && bos >= 0)
        out->ids[needed++] = (int32_t)bos;
    distill_tokenizer_free(tokenizer);
    out->count = needed;
    return rc ? cli_fail(err) : -1;
}

/* ---- chats ---- */

/* The name of a format, or the text of a file; NULL after a message. */
static json_t *read_template(const char *name)
{
    static const char *const formats[] = {"chatml", "llama2", "llama3", "mistral"};
    size_t size;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(name, formats[i])) return json_string(name);
    FILE *file = fopen(name, "rb");
    if (!file) {
        cli_message("--chat-template %s: %s; chatml, llama2, llama3, mistral or a file with a template is wanted", name,
                    strerror(errno));
        return NULL;
    }
    char *text = cli_read(file, name, 1 << 20, &size);
    fclose(file);
    json_t *value = text ? json_stringn(text, size) : NULL;
    if (text && !value) cli_message("%s: is not UTF-8, and so no chat template", name);
    free(text);
    return value;
}

/* {"messages": [...], ...}, of a file or of one text that a user says; NULL after a message. */
static json_t *read_chat(const cli_chat *given)
{
    json_t *chat = given->text ? json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", given->text)
                               : cli_read_json(given->messages);
    if (chat && json_is_array(chat)) chat = json_pack("{s:o}", "messages", chat);
    if (given->text && !chat) cli_message("--chat: the text is not UTF-8");
    if (!chat || !given->format) return chat;
    json_t *format = read_template(given->format);
    if (format) json_object_set_new(chat, "chat_template", format);
    if (format) return chat;
    json_decref(chat);
    return NULL;
}

/* An answer begins behind the messages, unless the last one is an answer that goes on. */
static int32_t flags_of(const json_t *chat)
{
    const json_t *list = json_object_get(chat, "messages");
    const char *role = json_string_value(json_object_get(json_array_get(list, json_array_size(list) - 1), "role"));
    return role && !strcmp(role, "assistant") ? DISTILL_CHAT_CONTINUE : DISTILL_CHAT_ANSWER;
}

/* The chat as text, for the caller to free. */
static int render_chat(const cli_session *s, const char *model, const cli_chat *given, char **text, distill_error *err)
{
    distill_tokenizer *tokenizer = NULL;
    json_t *chat = read_chat(given);
    size_t size = 0;
    if (!chat) return CLI_FAILED;
    char *written = json_dumps(chat, JSON_COMPACT);
    int32_t rc = distill_tokenizer_open(s->env, model, &tokenizer, err);
    if (!rc) rc = distill_tokenizer_chat(tokenizer, written, flags_of(chat), NULL, 0, &size, err);
    if (!rc) *text = cli_memory(NULL, size);
    if (!rc) rc = distill_tokenizer_chat(tokenizer, written, flags_of(chat), *text, size, &size, err);
    distill_tokenizer_free(tokenizer);
    free(written);
    json_decref(chat);
    return rc ? cli_fail(err) : -1;
}

static int read_prompt(const char *path, cli_ids *out)
{
    json_t *input = cli_read_json(path);
    int good = input && cli_get_ids(input, path, out);
    json_decref(input);
    return good ? -1 : CLI_FAILED;
}

static json_t *json_of(const answer *a)
{
    json_t *value =
        json_pack("{s:o, s:o}", "text", cli_json_text(a->text, a->size), "ids", cli_json_ids(a->ids, a->count));
    if (a->top) json_object_set(value, "log_probs", a->log_probs), json_object_set(value, "top", a->top);
    return value;
}

static int print_json(const answers *all)
{
    json_t *list = json_array();
    if (all->count == 1) return json_decref(list), cli_print_json(json_of(all->of));
    for (int64_t i = 0; i < all->count; i++) json_array_append_new(list, json_of(&all->of[i]));
    return cli_print_json(json_pack("{s:o}", "answers", list));
}

static int print_text(const answers *all)
{
    for (int64_t i = 0; i < all->count; i++) {
        const answer *a = &all->of[i];
        if (all->count > 1) printf("%s--- %lld\n", i ? "\n" : "", (long long)i);
        if (!all->stream && a->size) fwrite(a->text, 1, a->size, stdout);
        /* a model without tokenizer */
        for (int64_t k = 0; !a->size && k < a->count; k++) printf("%s%d", k ? " " : "", a->ids[k]);
    }
    printf("\n");
    return CLI_DONE;
}

static void free_answers(answers *all)
{
    for (int64_t i = 0; i < all->count; i++) {
        free(all->of[i].ids);
        free(all->of[i].text);
        json_decref(all->of[i].log_probs);
        json_decref(all->of[i].top);
    }
    free(all->of);
}

static int answer_prompt(cli_session *s, const char *model, const cli_ids *prompt, int64_t samples, int as_json)
{
    distill_teacher *teacher = NULL;
    distill_batch batch;
    int64_t offsets[2] = {0, prompt->count};
    answers all = {.stream = !as_json && samples == 1, .count = samples};
    distill_writer_callbacks callbacks;
    DISTILL_INIT(&callbacks);
    callbacks.user = &all;
    callbacks.token = on_token;
    DISTILL_INIT(&batch);
    batch.ids = prompt->ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    all.of = cli_memory(NULL, (size_t)samples * sizeof *all.of);
    memset(all.of, 0, (size_t)samples * sizeof *all.of);
    int32_t rc = distill_teacher_open(s->env, model, s->options, &teacher, &s->err);
    if (!rc) rc = distill_teacher_generate_with(teacher, &batch, &callbacks, s->options, &s->err);
    int code = rc ? cli_fail(&s->err) : (as_json ? print_json : print_text)(&all);
    distill_teacher_free(teacher);
    free_answers(&all);
    return code;
}

/* ---- options ---- */

static int32_t set_int(cli_session *s, const char *key, int given, int64_t value)
{
    return given ? distill_options_set_i64(s->options, key, value, &s->err) : DISTILL_OK;
}

static int32_t set_real(cli_session *s, const char *key, int given, double value)
{
    return given ? distill_options_set_f64(s->options, key, value, &s->err) : DISTILL_OK;
}

static int32_t set_number(cli_session *s, const char *key, const char *option, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end != text && !*end) return distill_options_set_f64(s->options, key, value, &s->err);
    snprintf(s->err.message, sizeof s->err.message, "%s wants a number, not '%s'", option, text);
    return DISTILL_E_OPTION;
}

static int32_t set_stops(cli_session *s, const sampling *how)
{
    int32_t rc = DISTILL_OK;
    char name[64];
    for (int i = 0; !rc && i < how->stop.count; i++) {
        snprintf(name, sizeof name, "generate.stop.%d", i);
        rc = distill_options_set_str(s->options, name, how->stop.items[i], &s->err);
    }
    for (int i = 0; !rc && i < how->stop_ids.count; i++) {
        snprintf(name, sizeof name, "generate.stop_ids.%d", i);
        rc = set_number(s, name, "--stop-id", how->stop_ids.items[i]);
    }
    return rc;
}

static int32_t set_bias(cli_session *s, const cli_settings *given)
{
    int32_t rc = DISTILL_OK;
    char name[64];
    for (int i = 0; !rc && i < given->count; i++) {
        const char *text = given->items[i], *value = strchr(text, '=') + 1;
        snprintf(name, sizeof name, "generate.logit_bias.%.*s", (int)(value - 1 - text), text);
        rc = set_number(s, name, "--logit-bias", value);
    }
    return rc;
}

static int32_t set_sampling(cli_session *s, const sampling *how)
{
    int32_t rc = set_int(s, "generate.max_tokens", how->has_tokens, how->max_tokens);
    if (!rc) rc = set_int(s, "generate.top_k", how->has_top_k, how->top_k);
    if (!rc) rc = set_int(s, "generate.seed", how->has_seed, how->seed);
    if (!rc) rc = set_int(s, "generate.samples", how->has_samples, how->samples);
    if (!rc) rc = set_int(s, "generate.top_logprobs", how->has_top_logprobs, how->top_logprobs);
    if (!rc && how->quantized) rc = distill_options_set_str(s->options, "generate.quantized", how->quantized, &s->err);
    if (!rc && how->precision) rc = distill_options_set_str(s->options, "generate.precision", how->precision, &s->err);
    if (!rc) rc = set_real(s, "generate.temperature", 1, how->temperature);
    if (!rc) rc = set_real(s, "generate.top_p", how->has_top_p, how->top_p);
    if (!rc) rc = set_real(s, "generate.min_p", how->has_min_p, how->min_p);
    if (!rc) rc = set_real(s, "generate.repetition_penalty", how->has_repetition, how->repetition_penalty);
    if (!rc) rc = set_real(s, "generate.presence_penalty", how->has_presence, how->presence_penalty);
    if (!rc) rc = set_stops(s, how);
    return rc ? rc : set_bias(s, &how->bias);
}

int cli_generate(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, no_special = 0;
    const char *model = NULL, *prompt = NULL, *prompt_ids = NULL;
    char *rendered = NULL;
    cli_chat chat = {NULL, NULL, NULL};
    static sampling how; /* large */
    const cli_option options[] = {
        {"--prompt", CLI_TEXT, &prompt, NULL},
        {"--prompt-ids", CLI_TEXT, &prompt_ids, NULL},
        {"--chat", CLI_TEXT, &chat.text, NULL},
        {"--messages", CLI_TEXT, &chat.messages, NULL},
        {"--chat-template", CLI_TEXT, &chat.format, NULL},
        {"--max-tokens", CLI_INT, &how.max_tokens, &how.has_tokens},
        {"--temperature", CLI_REAL, &how.temperature, NULL},
        {"--top-k", CLI_INT, &how.top_k, &how.has_top_k},
        {"--top-p", CLI_REAL, &how.top_p, &how.has_top_p},
        {"--min-p", CLI_REAL, &how.min_p, &how.has_min_p},
        {"--repetition-penalty", CLI_REAL, &how.repetition_penalty, &how.has_repetition},
        {"--presence-penalty", CLI_REAL, &how.presence_penalty, &how.has_presence},
        {"--logit-bias", CLI_SETTINGS, &how.bias, NULL},
        {"--stop", CLI_TEXTS, &how.stop, NULL},
        {"--stop-id", CLI_TEXTS, &how.stop_ids, NULL},
        {"--top-logprobs", CLI_INT, &how.top_logprobs, &how.has_top_logprobs},
        {"--quantized", CLI_TEXT, &how.quantized, NULL},
        {"--precision", CLI_TEXT, &how.precision, NULL},
        {"--samples", CLI_INT, &how.samples, &how.has_samples},
        {"--seed", CLI_INT, &how.seed, &how.has_seed},
        {"--no-special", CLI_FLAG, &no_special, NULL},
        {"--json", CLI_FLAG, &as_json, NULL},
    };
    cli_session s;
    cli_ids ids = {0, NULL};
    int code = cli_parse(command, options, (int)(sizeof options / sizeof *options), argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a model is missing");
    if (!!prompt + !!prompt_ids + !!chat.text + !!chat.messages != 1)
        return cli_usage(command, "one of --prompt, --prompt-ids, --chat and --messages is wanted");
    if (how.has_top_logprobs && !as_json) return cli_usage(command, "--top-logprobs goes with --json");
    if (chat.format && !chat.text && !chat.messages)
        return cli_usage(command, "--chat-template goes with --chat or --messages");
    if (no_special && (chat.text || chat.messages))
        return cli_usage(command, "--no-special goes with --prompt: a chat template spells out what it begins with");
    code = cli_open(&s, command, NULL, NULL);
    if (code >= 0) goto out;
    if (set_sampling(&s, &how)) {
        code = cli_usage(command, "%s", s.err.message);
        goto out;
    }
    if (chat.text || chat.messages) code = render_chat(&s, model, &chat, &rendered, &s.err);
    if (code >= 0) goto out;
    if (rendered) code = encode_prompt(&s, model, rendered, 0, &ids, &s.err);
    else if (prompt) code = encode_prompt(&s, model, prompt, no_special ? 0 : DISTILL_ENCODE_SPECIAL, &ids, &s.err);
    else code = read_prompt(prompt_ids, &ids);
    if (code < 0) code = answer_prompt(&s, model, &ids, how.has_samples ? how.samples : 1, as_json);
out:
    free(rendered);
    free(ids.ids);
    cli_close(&s);
    return code;
}
