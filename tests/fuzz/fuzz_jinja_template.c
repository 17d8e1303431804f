/* A hostile template, rendered with a conversation under narrow bounds. */
#include "jinja/jinja.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const dk_jinja_output *out)
{
    size_t before = 0;
    if (strlen(out->text) > out->size) __builtin_trap();
    for (int64_t i = 0; i < out->generation_count; i++) {
        if (out->generations[i].begin < before || out->generations[i].end > out->size) __builtin_trap();
        before = out->generations[i].end;
    }
}

static void render(dk_host *host, const dk_jinja *jinja)
{
    static const char talk[] =
        "[{\"role\": \"user\", \"content\": \" Hi \xc3\xa9\\n<|x|> \"}, {\"role\": \"assistant\", "
        "\"content\": [{\"type\": \"text\", \"text\": \"a\"}], \"n\": [1, 2.5, null, true, {\"k\": \"v\"}]}]";
    const dk_jinja_limits limits = {.steps = 20000, .depth = 100, .memory = 1 << 22, .output = 1 << 16};
    const dk_jinja_date date = {2024, 2, 29, 13, 5, 9};
    dk_jinja_context *context;
    dk_jinja_output out = {0};
    dk_document *document;
    dk_error err;
    err.message[0] = 0;
    if (dk_json_parse(host, talk, sizeof talk - 1, "talk", &document, NULL)) __builtin_trap();
    if (!dk_jinja_context_create(jinja, host, &limits, &date, &context, NULL)) {
        if (dk_jinja_set_node(context, "messages", dk_document_root(document), 1, "role", NULL)) __builtin_trap();
        dk_jinja_set_text(context, "bos_token", (dk_slice){"<s>", 3}, 0, NULL);
        dk_jinja_set_bool(context, "add_generation_prompt", 1, NULL);
        dk_jinja_set_none(context, "tools", NULL);
        if (!dk_jinja_render(context, &out, &err)) check(&out);
        else if (strchr(err.message, '\n')) __builtin_trap(); /* one line */
        dk_jinja_output_free(&out);
        dk_jinja_context_free(context);
    }
    dk_document_free(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dk_host *host;
    dk_jinja *jinja;
    if (size > 1 << 14 || dk_host_create(NULL, &host, NULL)) return 0;
    if (!dk_jinja_parse(host, "input", (const char *)data, size, &jinja, NULL)) {
        render(host, jinja);
        dk_jinja_free(jinja);
    }
    dk_host_release(host);
    return 0;
}
