#include "augment/look.h"

#include "augment/curate/sample_texts.h"

void di_look_init(di_look *look, const di_step *step, int32_t all)
{
    look->field = di_options_text(step->options, "field");
    look->all = all;
    dk_strbuf_init(&look->words, step->host);
    dk_strbuf_init(&look->line, step->host);
}

void di_look_free(di_look *look)
{
    dk_strbuf_free(&look->words);
    dk_strbuf_free(&look->line);
}

static int32_t add_line(void *user, const char *text, size_t size, dk_error *err)
{
    dk_strbuf *words = user;
    if (words->size) dk_strbuf_puts(words, "\n");
    dk_strbuf_append(words, text, size);
    return dk_strbuf_check(words, err);
}

static int32_t all_words(di_look *look, const di_record *record, dk_error *err)
{
    dk_document *document = NULL;
    int32_t rc;
    dk_strbuf_clear(&look->line);
    di_record_write(record, 0, &look->line);
    DK_TRY(dk_strbuf_check(&look->line, err));
    DK_TRY(dk_json_parse(record->host, look->line.data, look->line.size, record->id, &document, err));
    rc = di_each_text(dk_document_root(document), add_line, &look->words, err);
out:
    dk_document_free(document);
    return rc;
}

int32_t di_look_at(di_look *look, const di_record *record, const char **text, size_t *size, dk_error *err)
{
    const di_field *field = look->field ? di_record_field(record, look->field) : NULL;
    int32_t rc = DK_OK;
    *text = field ? field->data : NULL;
    *size = field ? field->size : 0;
    if (look->field) return DK_OK;
    dk_strbuf_clear(&look->words);
    DK_TRY(look->all ? all_words(look, record, err) : di_record_words(record, &look->words, err));
    *text = look->words.size ? look->words.data : "";
    *size = look->words.size;
out:
    return rc;
}

int32_t di_keep_or_drop(di_flow *flow, di_record **record, const char *why, dk_error *err)
{
    return why ? di_flow_drop(flow, record, why, err) : di_flow_emit(flow, record, err);
}
