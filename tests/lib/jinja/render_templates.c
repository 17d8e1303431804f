/* Renders what standard input asks for, for diff_templates.py: lines of {"template", "context"} become lines of
 * {"text", "generations"} or {"error"}. "date": [year, month, day, hour, minute, second] is what strftime_now gives. */
#include "jinja/jinja.h"

#include <stdio.h>
#include <string.h>

static int32_t fill(dk_jinja_context *context, const dk_node *values, dk_error *err)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; values && i < values->size; i++)
        DK_TRY(dk_jinja_set_node(context, values->items[i]->key, values->items[i], 1, NULL, err));
out:
    return rc;
}

static void read_date(const dk_node *list, dk_jinja_date *out)
{
    int32_t *const parts[] = {&out->year, &out->month, &out->day, &out->hour, &out->minute, &out->second};
    for (size_t i = 0; i < 6 && dk_node_at(list, i); i++) *parts[i] = (int32_t)dk_node_at(list, i)->i64;
}

static int32_t render(dk_host *host, const dk_node *line, dk_jinja_output *out, dk_error *err)
{
    const dk_node *text = dk_node_get(line, "template");
    dk_jinja *jinja = NULL;
    dk_jinja_context *context = NULL;
    dk_jinja_date date = {0};
    int32_t rc;
    read_date(dk_node_get(line, "date"), &date);
    DK_TRY(dk_jinja_parse(host, "template", text->text, text->size, &jinja, err));
    DK_TRY(dk_jinja_context_create(jinja, host, NULL, &date, &context, err));
    DK_TRY(fill(context, dk_node_get(line, "context"), err));
    rc = dk_jinja_render(context, out, err);
out:
    dk_jinja_context_free(context);
    dk_jinja_free(jinja);
    return rc;
}

static void answer(dk_host *host, const dk_node *line)
{
    dk_jinja_output out = {0};
    dk_error err;
    dk_strbuf text;
    dk_strbuf_init(&text, host);
    dk_error_clear(&err);
    if (render(host, line, &out, &err)) {
        dk_strbuf_puts(&text, "{\"error\": ");
        dk_strbuf_json(&text, err.message, strlen(err.message));
    } else {
        dk_strbuf_puts(&text, "{\"text\": ");
        dk_strbuf_json(&text, out.text, out.size);
        dk_strbuf_puts(&text, ", \"generations\": [");
        for (int64_t i = 0; i < out.generation_count; i++)
            dk_strbuf_printf(&text, "%s[%zu, %zu]", i ? ", " : "", out.generations[i].begin, out.generations[i].end);
        dk_strbuf_puts(&text, "]");
    }
    dk_strbuf_puts(&text, "}\n");
    fwrite(text.data, 1, text.size, stdout);
    dk_strbuf_free(&text);
    dk_jinja_output_free(&out);
}

int main(void)
{
    static char line[1 << 22];
    dk_host *host;
    dk_error err;
    if (dk_host_create(NULL, &host, &err)) return 1;
    while (fgets(line, sizeof line, stdin)) {
        dk_document *document;
        if (dk_json_parse(host, line, strlen(line), "line", &document, &err)) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        answer(host, dk_document_root(document));
        dk_document_free(document);
    }
    dk_host_release(host);
    return 0;
}
