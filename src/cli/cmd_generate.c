/* cmd_generate.c - distill generate. */
#include <stdlib.h>
#include <string.h>

#include "sampling.h"
#include "talk.h"

typedef struct answer {
    int64_t count, cap;
    int32_t *ids;
    json_t *log_probs, *top; /* NULL = not asked for */
    size_t size, text_cap;
    char *text;
} answer;

typedef struct answers {
    int stream, as_json; /* text goes to stdout as it comes, or a line of JSON for each token */
    int64_t count;
    answer *of;   /* [count] */
    json_t *cost; /* NULL = not asked for */
} answers;

typedef struct generate_options {
    const char *model, *prompt, *prompt_ids, *draft; /* NULL = not given */
    const char *beside;                              /* NULL, or what stands behind the model */
    const char *chat, *messages;                     /* what a user says, or a file */
    const char *format;                              /* a chat template: a name or a file */
    int64_t samples, top_logprobs;
    int has_samples, has_top_logprobs, as_json, no_special, stream, cost;
    cli_sampling how;
    cli_settings settings;
} generate_options;

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

static void show(const answers *all, const distill_token *token)
{
    const size_t size = (size_t)token->size;
    if (all->as_json)
        cli_print_json(json_pack("{s:{s:i, s:o, s:o}}", "token", "id", (int)token->id, "text",
                                 cli_json_text(token->text, size), "log_prob", cli_json_real(token->log_prob)));
    else if (size) fwrite(token->text, 1, size, stdout);
    fflush(stdout);
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
    if (all->stream) show(all, token);
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

/* {"messages": [...], ...}, of a file or of one text that a user says; NULL after a message. */
static json_t *read_chat(const generate_options *given)
{
    json_t *chat = given->chat ? json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", given->chat)
                               : talk_read_file(given->messages);
    if (given->chat && !chat) cli_message("--chat: the text is not UTF-8");
    if (!chat || !given->format || talk_set_template(chat, given->format)) return chat;
    json_decref(chat);
    return NULL;
}

/* The chat as text, for the caller to free. */
static int render_chat(const cli_session *s, const generate_options *given, char **text, distill_error *err)
{
    distill_tokenizer *tokenizer = NULL;
    json_t *chat = read_chat(given);
    size_t size = 0;
    if (!chat) return CLI_FAILED;
    char *written = json_dumps(chat, JSON_COMPACT);
    int32_t rc = distill_tokenizer_open(s->env, given->model, &tokenizer, err);
    if (!rc) rc = distill_tokenizer_chat(tokenizer, written, talk_flags(chat), NULL, 0, &size, err);
    if (!rc) *text = cli_memory(NULL, size);
    if (!rc) rc = distill_tokenizer_chat(tokenizer, written, talk_flags(chat), *text, size, &size, err);
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
    json_t *list = json_array(), *document;
    for (int64_t i = 0; all->count > 1 && i < all->count; i++) json_array_append_new(list, json_of(&all->of[i]));
    document = all->count > 1 ? json_pack("{s:O}", "answers", list) : json_of(all->of);
    if (all->cost) json_object_set(document, "cost", all->cost);
    json_decref(list);
    return cli_print_json(document);
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
    fflush(stdout);
    if (all->cost) cli_print_cost(stderr, all->cost);
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
    json_decref(all->cost);
}

/* One answer, with a draft. */
static int32_t write_drafted(cli_session *s, const distill_teacher *model, const distill_teacher *draft,
                             const cli_ids *prompt, answers *all)
{
    distill_session *session = NULL;
    distill_token token;
    DISTILL_INIT(&token);
    int32_t rc = distill_session_create(model, draft, s->options, &session, &s->err);
    if (!rc) rc = distill_session_append(session, prompt->ids, prompt->count, &s->err);
    while (!rc && !(rc = distill_session_next(session, &token, &s->err))) on_token(all, 0, &token);
    distill_session_free(session);
    return rc == DISTILL_E_END ? DISTILL_OK : rc;
}

static int32_t write_answers(cli_session *s, const distill_teacher *model, const cli_ids *prompt, answers *all)
{
    distill_batch batch;
    int64_t offsets[2] = {0, prompt->count};
    distill_writer_callbacks callbacks;
    DISTILL_INIT(&callbacks);
    callbacks.user = all;
    callbacks.token = on_token;
    DISTILL_INIT(&batch);
    batch.ids = prompt->ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    return distill_teacher_generate_with(model, &batch, &callbacks, s->options, &s->err);
}

/* Before the answer, and what it took behind it. */
static int32_t start_meter(cli_session *s, const generate_options *given, distill_meter **meter)
{
    return given->cost ? distill_meter_start(s->env, s->options, meter, &s->err) : DISTILL_OK;
}

static int32_t read_meter(cli_session *s, distill_meter *meter, answers *all)
{
    distill_report *report = NULL;
    int32_t rc = meter ? distill_meter_report(meter, &report, &s->err) : DISTILL_OK;
    char *text = meter && !rc ? cli_report_text(report, &s->err) : NULL;
    if (text) all->cost = json_loads(text, 0, NULL);
    free(text);
    distill_report_free(report);
    return rc;
}

static int answer_prompt(cli_session *s, const generate_options *given, const cli_ids *prompt)
{
    distill_teacher *model = NULL, *draft = NULL;
    const int64_t samples = given->has_samples ? given->samples : 1;
    distill_meter *meter = NULL;
    answers all = {given->stream || (!given->as_json && samples == 1), given->as_json, samples, NULL, NULL};
    all.of = cli_memory(NULL, (size_t)samples * sizeof *all.of);
    memset(all.of, 0, (size_t)samples * sizeof *all.of);
    int32_t rc = distill_teacher_open(s->env, given->model, s->options, &model, &s->err);
    if (!rc && given->draft) rc = distill_teacher_open(s->env, given->draft, s->options, &draft, &s->err);
    if (!rc) rc = start_meter(s, given, &meter);
    if (!rc && draft) rc = write_drafted(s, model, draft, prompt, &all);
    else if (!rc) rc = write_answers(s, model, prompt, &all);
    if (!rc) rc = read_meter(s, meter, &all);
    int code = rc ? cli_fail(&s->err) : (given->as_json ? print_json : print_text)(&all);
    distill_meter_free(meter);
    distill_teacher_free(draft);
    distill_teacher_free(model);
    free_answers(&all);
    return code;
}

/* ---- options ---- */

static int check_options(const cli_command *command, const generate_options *given)
{
    const int chat = given->chat || given->messages;
    if (!given->model) return cli_usage(command, "a model is missing");
    if (given->beside)
        return cli_usage(command,
                         "unexpected argument %.60s: the prompt goes behind --prompt, one in a call; several are lines "
                         "{\"prompt\": ...} of a file for distill augment with the step label answer",
                         given->beside);
    if (!!given->prompt + !!given->prompt_ids + !!given->chat + !!given->messages != 1)
        return cli_usage(command, "one of --prompt, --prompt-ids, --chat and --messages is wanted");
    if (given->has_top_logprobs && !given->as_json) return cli_usage(command, "--top-logprobs goes with --json");
    if (given->format && !chat) return cli_usage(command, "--chat-template goes with --chat or --messages");
    if (given->no_special && chat)
        return cli_usage(command, "--no-special goes with --prompt: a chat template spells out what it begins with");
    if (given->has_samples && given->samples != 1 && (given->stream || given->draft))
        return cli_usage(command, "%s goes with one answer, not with --samples %lld",
                         given->stream ? "--stream" : "--draft", (long long)given->samples);
    return -1;
}

static int set_options(cli_session *s, const cli_command *command, const generate_options *given)
{
    int code = cli_set_sampling(s, command, &given->how);
    int32_t rc = DISTILL_OK;
    if (code >= 0) return code;
    if (given->has_samples) rc = distill_options_set_i64(s->options, "generate.samples", given->samples, &s->err);
    if (!rc && given->has_top_logprobs)
        rc = distill_options_set_i64(s->options, "generate.top_logprobs", given->top_logprobs, &s->err);
    return rc ? cli_usage(command, "%s", s->err.message) : -1;
}

static int run_generate(const cli_command *command, const generate_options *given)
{
    cli_session s;
    cli_ids ids = {0, NULL};
    char *rendered = NULL;
    const int32_t flags = given->no_special ? 0 : DISTILL_ENCODE_SPECIAL;
    int code = cli_open(&s, command, NULL, &given->settings);
    if (code < 0) code = set_options(&s, command, given);
    if (code < 0 && (given->chat || given->messages)) code = render_chat(&s, given, &rendered, &s.err);
    if (code >= 0) goto out;
    if (rendered) code = encode_prompt(&s, given->model, rendered, 0, &ids, &s.err);
    else if (given->prompt) code = encode_prompt(&s, given->model, given->prompt, flags, &ids, &s.err);
    else code = read_prompt(given->prompt_ids, &ids);
    if (code < 0) code = answer_prompt(&s, given, &ids);
out:
    free(rendered);
    free(ids.ids);
    cli_close(&s);
    return code;
}

int cli_generate(const cli_command *command, int argc, char **argv)
{
    enum { OWN = 13, PLACES = 16 };
    static generate_options given; /* large */
    cli_option options[OWN + CLI_SAMPLING_COUNT] = {
        {"--prompt", CLI_TEXT, &given.prompt, NULL},
        {"--prompt-ids", CLI_TEXT, &given.prompt_ids, NULL},
        {"--chat", CLI_TEXT, &given.chat, NULL},
        {"--messages", CLI_TEXT, &given.messages, NULL},
        {"--chat-template", CLI_TEXT, &given.format, NULL},
        {"--top-logprobs", CLI_INT, &given.top_logprobs, &given.has_top_logprobs},
        {"--samples", CLI_INT, &given.samples, &given.has_samples},
        {"--no-special", CLI_FLAG, &given.no_special, NULL},
        {"--draft", CLI_TEXT, &given.draft, NULL},
        {"--stream", CLI_FLAG, &given.stream, NULL},
        {"--cost", CLI_FLAG, &given.cost, NULL},
        {"--set", CLI_SETTINGS, &given.settings, NULL},
        {"--json", CLI_FLAG, &given.as_json, NULL},
    };
    given.settings.reads = " generate session cost teacher.mmap compute ";
    cli_sampling_options(&given.how, options + OWN);
    const char *places[PLACES] = {NULL};
    int code = cli_parse(command, options, OWN + CLI_SAMPLING_COUNT, argc, argv, places, PLACES);
    given.model = places[0];
    given.beside = places[1];
    if (code < 0) code = check_options(command, &given);
    return code < 0 ? run_generate(command, &given) : code;
}
