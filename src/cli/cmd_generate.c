/* cmd_generate.c - distill generate. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct answer {
    int stream; /* text goes to stdout as it comes */
    int64_t count, cap;
    int32_t *ids;
    size_t size, text_cap;
    char *text;
} answer;

typedef struct cli_chat {
    const char *text, *messages; /* what a user says, or a file; NULL = not given */
    const char *format;          /* a chat template: a name or a file */
} cli_chat;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                        int32_t finished)
{
    answer *a = user;
    (void)sequence, (void)log_prob, (void)finished;
    if (a->count == a->cap) a->ids = cli_memory(a->ids, (size_t)(a->cap = 2 * a->cap + 64) * sizeof *a->ids);
    a->ids[a->count++] = id;
    if (a->size + size > a->text_cap) a->text = cli_memory(a->text, a->text_cap = 2 * (a->size + size));
    if (size) memcpy(a->text + a->size, text, size);
    a->size += size;
    if (a->stream && size) fwrite(text, 1, size, stdout), fflush(stdout);
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

static json_t *read_template(const char *name)
{
    size_t size;
    FILE *file = strpbrk(name, "./") ? fopen(name, "rb") : NULL;
    if (!file) return json_string(name);
    char *text = cli_read(file, name, 1 << 20, &size);
    fclose(file);
    json_t *value = text ? json_stringn(text, size) : NULL;
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
    else cli_message("%s: cannot be read as a chat template", given->format);
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

static int print_answer(const answer *a, int as_json)
{
    if (as_json)
        return cli_print_json(
            json_pack("{s:o, s:o}", "text", cli_json_text(a->text, a->size), "ids", cli_json_ids(a->ids, a->count)));
    /* a model without tokenizer */
    for (int64_t i = 0; !a->size && i < a->count; i++) printf("%s%d", i ? " " : "", a->ids[i]);
    printf("\n");
    return CLI_DONE;
}

static int answer_prompt(cli_session *s, const char *model, const cli_ids *prompt, int as_json)
{
    distill_teacher *teacher = NULL;
    distill_batch batch;
    int64_t offsets[2] = {0, prompt->count};
    answer a = {.stream = !as_json};
    DISTILL_INIT(&batch);
    batch.ids = prompt->ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    int32_t rc = distill_teacher_open(s->env, model, s->options, &teacher, &s->err);
    if (!rc) rc = distill_teacher_generate(teacher, &batch, s->options, on_token, &a, &s->err);
    int code = rc ? cli_fail(&s->err) : print_answer(&a, as_json);
    distill_teacher_free(teacher);
    free(a.ids);
    free(a.text);
    return code;
}

int cli_generate(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, no_special = 0, has[5] = {0};
    const char *model = NULL, *prompt = NULL, *prompt_ids = NULL;
    char *rendered = NULL;
    cli_chat chat = {NULL, NULL, NULL};
    int64_t max_tokens = 0, top_k = 0, seed = 0;
    double temperature = 0, top_p = 0;
    const cli_option options[] = {
        {"--prompt", CLI_TEXT, &prompt, NULL},
        {"--prompt-ids", CLI_TEXT, &prompt_ids, NULL},
        {"--chat", CLI_TEXT, &chat.text, NULL},
        {"--messages", CLI_TEXT, &chat.messages, NULL},
        {"--chat-template", CLI_TEXT, &chat.format, NULL},
        {"--max-tokens", CLI_INT, &max_tokens, &has[0]},
        {"--top-k", CLI_INT, &top_k, &has[1]},
        {"--seed", CLI_INT, &seed, &has[2]},
        {"--temperature", CLI_REAL, &temperature, &has[3]},
        {"--top-p", CLI_REAL, &top_p, &has[4]},
        {"--no-special", CLI_FLAG, &no_special, NULL},
        {"--json", CLI_FLAG, &as_json, NULL},
    };
    cli_session s;
    cli_ids ids = {0, NULL};
    int32_t rc = 0;
    int code = cli_parse(command, options, 12, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a model is missing");
    if (!!prompt + !!prompt_ids + !!chat.text + !!chat.messages != 1)
        return cli_usage(command, "one of --prompt, --prompt-ids, --chat and --messages is wanted");
    if (chat.format && !chat.text && !chat.messages)
        return cli_usage(command, "--chat-template goes with --chat or --messages");
    if (no_special && (chat.text || chat.messages))
        return cli_usage(command, "--no-special goes with --prompt: a chat template spells out what it begins with");
    code = cli_open(&s, command, NULL, NULL);
    if (code >= 0) goto out;
    if (has[0]) rc = distill_options_set_i64(s.options, "generate.max_tokens", max_tokens, &s.err);
    if (has[1] && !rc) rc = distill_options_set_i64(s.options, "generate.top_k", top_k, &s.err);
    if (has[2] && !rc) rc = distill_options_set_i64(s.options, "generate.seed", seed, &s.err);
    if (!rc) rc = distill_options_set_f64(s.options, "generate.temperature", temperature, &s.err);
    if (has[4] && !rc) rc = distill_options_set_f64(s.options, "generate.top_p", top_p, &s.err);
    if (rc) {
        code = cli_usage(command, "%s", s.err.message);
        goto out;
    }
    if (chat.text || chat.messages) code = render_chat(&s, model, &chat, &rendered, &s.err);
    if (code >= 0) goto out;
    if (rendered) code = encode_prompt(&s, model, rendered, 0, &ids, &s.err);
    else if (prompt) code = encode_prompt(&s, model, prompt, no_special ? 0 : DISTILL_ENCODE_SPECIAL, &ids, &s.err);
    else code = read_prompt(prompt_ids, &ids);
    if (code < 0) code = answer_prompt(&s, model, &ids, as_json);
out:
    free(rendered);
    free(ids.ids);
    cli_close(&s);
    return code;
}
