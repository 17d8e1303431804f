/* cmd_model.c - distill inspect. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* What becomes of the samples of a file with this tokenizer and these options. */
static int inspect_data(cli_session *s, const char *path, const char *model, int as_json)
{
    static const char *const keys[] = {"samples",   "windows",     "tokens",      "learnt",      "truncated", "split",
                                       "no_labels", "lost_labels", "lost_tokens", "lost_learnt", "pairs"};
    distill_tokenizer *tokenizer = NULL;
    distill_dataset *data = NULL;
    json_t *value = json_pack("{s:s, s:s}", "kind", "data", "source", path);
    int64_t number = 0;
    int32_t rc = distill_tokenizer_open(s->env, model, &tokenizer, &s->err);
    if (!rc) rc = distill_dataset_open(s->env, path, tokenizer, s->options, &data, &s->err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !rc; i++) {
        rc = distill_dataset_get_i64(data, keys[i], &number, &s->err);
        json_object_set_new(value, keys[i], json_integer(number));
    }
    if (!rc) rc = distill_dataset_get_i64(data, "skipped", &number, &s->err);
    json_object_set_new(value, "skipped", json_pack("{s:I}", "too_long", (json_int_t)number));
    if (!rc && !as_json) cli_print_leaves(value, "");
    int code = rc ? cli_fail(&s->err) : as_json ? cli_print_json(json_incref(value)) : CLI_DONE;
    json_decref(value);
    distill_dataset_free(data);
    distill_tokenizer_free(tokenizer);
    return code;
}

int cli_inspect(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, whole = 1;
    const char *path = NULL, *tokenizer = NULL;
    static const char *const own[] = {"data.train", "FILE", "data.eval", "FILE", NULL};
    cli_settings settings = {.reads = " data ", .own = own};
    const cli_option options[] = {{"--tokenizer", CLI_TEXT, &tokenizer, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_report *report = NULL;
    int code = cli_parse(command, options, 3, argc, argv, &path, 1);
    if (code >= 0) return code;
    if (!tokenizer && settings.count)
        return cli_usage(command, "--set goes with --tokenizer: it says how data is read");
    if (tokenizer && !path) return cli_usage(command, "--tokenizer goes with a file of data");
    code = cli_open(&s, command, NULL, &settings);
    if (code < 0 && tokenizer) {
        cli_log(&s, DISTILL_LOG_INFO); /* says how far it is when that takes long */
        code = inspect_data(&s, path, tokenizer, as_json);
    } else if (code < 0) {
        int32_t rc = distill_inspect(s.env, path, &report, &s.err);
        code = rc ? cli_fail(&s.err) : cli_print_report(report, as_json, &s.err, &whole);
    }
    cli_close(&s);
    return code == CLI_DONE && !whole ? CLI_FAILED : code;
}
