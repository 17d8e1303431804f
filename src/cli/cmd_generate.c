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
    int64_t max_tokens = 0, top_k = 0, seed = 0;
    double temperature = 0, top_p = 0;
    const cli_option options[] = {
        {"--prompt", CLI_TEXT, &prompt, NULL},
        {"--prompt-ids", CLI_TEXT, &prompt_ids, NULL},
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
    int code = cli_parse(command, options, 9, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a model is missing");
    if (!prompt == !prompt_ids) return cli_usage(command, "either --prompt or --prompt-ids is wanted");
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
    code = prompt ? encode_prompt(&s, model, prompt, no_special ? 0 : DISTILL_ENCODE_SPECIAL, &ids, &s.err)
                  : read_prompt(prompt_ids, &ids);
    if (code < 0) code = answer_prompt(&s, model, &ids, as_json);
out:
    free(ids.ids);
    cli_close(&s);
    return code;
}
