#include "augment/exchange.h"

#include <string.h>

static int32_t parse_messages(const di_record *record, dk_document **out, const dk_node **list, dk_error *err)
{
    const di_field *field = di_record_field(record, "messages");
    int32_t rc = DK_OK;
    *list = NULL;
    if (!field || field->is_text) return DK_OK;
    DK_TRY(dk_json_parse(record->host, field->data, field->size, "messages", out, err));
    if (dk_document_root(*out)->type == DK_NODE_LIST) *list = dk_document_root(*out);
out:
    return rc;
}

static void put_list(const dk_node *list, size_t first, size_t last, dk_strbuf *out)
{
    for (size_t i = first; i < last; i++) {
        dk_strbuf_puts(out, i > first ? "," : "[");
        dk_node_write_json(list->items[i], out);
    }
    dk_strbuf_puts(out, "]");
}

static int32_t ends_with_answer(const dk_node *list)
{
    const dk_node *last = list && list->size > 1 ? list->items[list->size - 1] : NULL;
    return dk_node_is_text(dk_node_get(last, "role"), "assistant");
}

/* One message as it is, several with who said them. */
static void put_talk(const dk_node *list, size_t count, dk_strbuf *out)
{
    for (size_t i = 0; i < count; i++) {
        const dk_node *role = dk_node_get(list->items[i], "role"), *content = dk_node_get(list->items[i], "content");
        if (!content || content->type != DK_NODE_TEXT) continue;
        if (out->size) dk_strbuf_puts(out, "\n\n");
        if (count > 1 && role && role->type == DK_NODE_TEXT) {
            dk_strbuf_append(out, role->text, role->size);
            dk_strbuf_puts(out, ": ");
        }
        dk_strbuf_append(out, content->text, content->size);
    }
}

static int32_t of_messages(const di_record *record, dk_strbuf *asked, dk_strbuf *answer, int32_t *answered,
                           dk_error *err)
{
    dk_document *document = NULL;
    const dk_node *list;
    int32_t rc;
    DK_TRY(parse_messages(record, &document, &list, err));
    if (!ends_with_answer(list)) goto out;
    put_talk(list, list->size - 1, asked);
    DK_TRY(di_record_words(record, answer, err));
    *answered = answer->size > 0;
out:
    dk_document_free(document);
    return rc;
}

int32_t di_exchange_of(const di_record *record, dk_strbuf *asked, dk_strbuf *answer, int32_t *answered, dk_error *err)
{
    const di_record_kind kind = di_record_what(record);
    size_t size = 0;
    int32_t rc = DK_OK;
    *answered = 0;
    if (kind == DI_RECORD_MESSAGES) return of_messages(record, asked, answer, answered, err);
    if (kind != DI_RECORD_PAIR) return DK_OK;
    const char *prompt = di_record_text(record, "prompt", &size);
    if (!prompt) return DK_OK; /* lists of messages */
    dk_strbuf_append(asked, prompt, size);
    DK_TRY(di_record_words(record, answer, err));
    *answered = answer->size > 0;
    rc = dk_strbuf_check(asked, err);
out:
    return rc;
}

int32_t di_messages_asked(const di_record *record, dk_strbuf *out, int32_t *answered, dk_error *err)
{
    const di_field *field = di_record_field(record, "messages");
    dk_document *document = NULL;
    const dk_node *list;
    int32_t rc;
    DK_TRY(parse_messages(record, &document, &list, err));
    size_t count = list ? list->size : 0;
    while (count && dk_node_is_text(dk_node_get(list->items[count - 1], "role"), "assistant")) count--;
    const int32_t cut = list && count && count < list->size;
    if (answered) *answered = list && count < list->size;
    if (cut) put_list(list, 0, count, out);
    else dk_strbuf_append(out, field->data, field->size);
    rc = dk_strbuf_check(out, err);
out:
    dk_document_free(document);
    return rc;
}

/* ---- pairs ---- */

static int32_t set_list(di_record *record, const char *key, const dk_node *list, size_t first, size_t last,
                        dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, record->host);
    put_list(list, first, last, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_record_set_json(record, key, json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t pair_of_messages(di_record *pair, const di_record *rejected, dk_error *err)
{
    dk_document *first = NULL, *second = NULL;
    const dk_node *chosen, *other;
    int32_t rc;
    DK_TRY(parse_messages(pair, &first, &chosen, err));
    DK_TRY(parse_messages(rejected, &second, &other, err));
    if (!ends_with_answer(chosen) || !ends_with_answer(other))
        DK_TRY(dk_fail(err, DK_E_INTERNAL, "sample %s: a pair of what has no answers", pair->id));
    DK_TRY(set_list(pair, "prompt", chosen, 0, chosen->size - 1, err));
    DK_TRY(set_list(pair, "chosen", chosen, chosen->size - 1, chosen->size, err));
    DK_TRY(set_list(pair, "rejected", other, other->size - 1, other->size, err));
    di_record_remove(pair, "messages");
out:
    dk_document_free(first);
    dk_document_free(second);
    return rc;
}

int32_t di_exchange_pair(di_record *pair, const di_record *rejected, dk_error *err)
{
    size_t size = 0, other_size = 0;
    int32_t rc;
    if (di_record_what(pair) == DI_RECORD_MESSAGES) return pair_of_messages(pair, rejected, err);
    const char *better = di_record_text(pair, "completion", &size);
    const char *worse = di_record_text(rejected, "completion", &other_size);
    if (!better || !worse) return dk_fail(err, DK_E_INTERNAL, "sample %s: a pair of what has no answers", pair->id);
    DK_TRY(di_record_set_text(pair, "chosen", better, size, err));
    DK_TRY(di_record_set_text(pair, "rejected", worse, other_size, err));
    di_record_remove(pair, "completion");
out:
    return rc;
}
