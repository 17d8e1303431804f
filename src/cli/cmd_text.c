/* cmd_text.c - distill tokenize and distill detokenize. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { TEXT_LIMIT = 1 << 30 }; /* bytes, what the tokenizer takes at once */

static json_t *encode(const distill_tokenizer *tokenizer, const char *text, size_t size, int32_t flags,
                      distill_error *err)
{
    int64_t cap = (int64_t)size + 16, needed = 0;
    int32_t *ids = cli_memory(NULL, (size_t)cap * sizeof *ids);
    int32_t rc = distill_tokenizer_encode(tokenizer, text, size, flags, ids, cap, &needed, err);
    if (rc == DISTILL_E_BUFFER) {
        ids = cli_memory(ids, (size_t)needed * sizeof *ids);
        rc = distill_tokenizer_encode(tokenizer, text, size, flags, ids, needed, &needed, err);
    }
    json_t *list = rc ? NULL : cli_json_ids(ids, needed);
    free(ids);
    return list;
}

static json_t *encode_stdin(const distill_tokenizer *tokenizer, int32_t flags, distill_error *err)
{
    size_t size;
    json_t *list;
    char *text = cli_read(stdin, "stdin", TEXT_LIMIT, &size);
    err->code = 0;
    if (!text) return NULL;
    list = encode(tokenizer, text, size, flags, err);
    free(text);
    return list;
}

static json_t *encode_batch(const distill_tokenizer *tokenizer, const char *path, int32_t flags, distill_error *err)
{
    json_t *texts = cli_read_json(path), *lists = NULL, *text;
    size_t i;
    err->code = 0;
    if (!texts) return NULL;
    if (!json_is_array(texts)) {
        cli_message("%s: a list of texts is wanted, [\"...\", ...]", path);
        goto out;
    }
    lists = json_array();
    json_array_foreach(texts, i, text)
    {
        json_t *list = NULL;
        if (!json_is_string(text)) cli_message("%s: item %zu is no text", path, i);
        else list = encode(tokenizer, json_string_value(text), json_string_length(text), flags, err);
        if (!list) {
            json_decref(lists);
            lists = NULL;
            goto out;
        }
        json_array_append_new(lists, list);
    }
out:
    json_decref(texts);
    return lists;
}

int cli_tokenize(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, no_special = 0;
    const char *model = NULL, *batch = NULL;
    const cli_option options[] = {{"--no-special", CLI_FLAG, &no_special, NULL},
                                  {"--batch", CLI_TEXT, &batch, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_tokenizer *tokenizer = NULL;
    json_t *ids = NULL;
    int code = cli_parse(command, options, 3, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a model or tokenizer is missing");
    code = cli_open(&s, command, NULL, NULL);
    if (code >= 0) goto out;
    if (distill_tokenizer_open(s.env, model, &tokenizer, &s.err)) {
        code = cli_fail(&s.err);
        goto out;
    }
    int32_t flags = no_special ? 0 : DISTILL_ENCODE_SPECIAL;
    ids = batch ? encode_batch(tokenizer, batch, flags, &s.err) : encode_stdin(tokenizer, flags, &s.err);
    if (!ids) {
        code = s.err.code ? cli_fail(&s.err) : CLI_FAILED;
    } else {
        code = cli_print_json(json_pack("{s:O}", "ids", ids)); /* lists of numbers are JSON either way */
    }
out:
    json_decref(ids);
    distill_tokenizer_free(tokenizer);
    cli_close(&s);
    return code;
}

static int print_text(const distill_tokenizer *tokenizer, const cli_ids *ids, int32_t flags, int as_json,
                      distill_error *err)
{
    size_t needed = 0;
    int32_t rc = distill_tokenizer_decode(tokenizer, ids->ids, ids->count, flags, NULL, 0, &needed, err);
    if (rc) return cli_fail(err);
    char *text = cli_memory(NULL, needed);
    rc = distill_tokenizer_decode(tokenizer, ids->ids, ids->count, flags, text, needed, NULL, err);
    int code = rc ? cli_fail(err) : CLI_DONE;
    if (!rc && as_json) code = cli_print_json(json_pack("{s:o}", "text", cli_json_text(text, needed - 1)));
    if (!rc && !as_json) fwrite(text, 1, needed - 1, stdout);
    free(text);
    return code;
}

int cli_detokenize(const cli_command *command, int argc, char **argv)
{
    int as_json = 0, skip_special = 0;
    const char *model = NULL;
    const cli_option options[] = {{"--skip-special", CLI_FLAG, &skip_special, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session s;
    distill_tokenizer *tokenizer = NULL;
    json_t *input = NULL;
    cli_ids ids = {0, NULL};
    int code = cli_parse(command, options, 2, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a model or tokenizer is missing");
    code = cli_open(&s, command, NULL, NULL);
    if (code >= 0) goto out;
    code = CLI_FAILED;
    if (distill_tokenizer_open(s.env, model, &tokenizer, &s.err)) code = cli_fail(&s.err);
    else if ((input = cli_read_json("-")) && cli_get_ids(input, "stdin", &ids))
        code = print_text(tokenizer, &ids, skip_special ? DISTILL_DECODE_SKIP_SPECIAL : 0, as_json, &s.err);
out:
    free(ids.ids);
    json_decref(input);
    distill_tokenizer_free(tokenizer);
    cli_close(&s);
    return code;
}
