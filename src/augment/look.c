#include "augment/look.h"

void di_look_init(di_look *look, const di_step *step)
{
    look->field = di_options_text(step->options, "field");
    dk_strbuf_init(&look->words, step->host);
}

void di_look_free(di_look *look) { dk_strbuf_free(&look->words); }

int32_t di_look_at(di_look *look, const di_record *record, const char **text, size_t *size, dk_error *err)
{
    const di_field *field = look->field ? di_record_field(record, look->field) : NULL;
    int32_t rc = DK_OK;
    *text = field ? field->data : NULL;
    *size = field ? field->size : 0;
    if (look->field) return DK_OK;
    dk_strbuf_clear(&look->words);
    DK_TRY(di_record_words(record, &look->words, err));
    *text = look->words.size ? look->words.data : "";
    *size = look->words.size;
out:
    return rc;
}

int32_t di_keep_or_drop(di_flow *flow, di_record **record, const char *why, dk_error *err)
{
    return why ? di_flow_drop(flow, record, why, err) : di_flow_emit(flow, record, err);
}
