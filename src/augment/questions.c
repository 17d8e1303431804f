/* questions.c - the question of a sample. */
#include "augment/questions.h"

#include <string.h>

static int32_t first_of_user(const di_record *record, dk_strbuf *out, dk_error *err)
{
    const di_field *field = di_record_field(record, "messages");
    dk_document *document = NULL;
    int32_t rc;
    if (field->is_text) return DK_OK;
    DK_TRY(dk_json_parse(record->host, field->data, field->size, "messages", &document, err));
    const dk_node *list = dk_document_root(document);
    for (size_t i = 0; list->type == DK_NODE_LIST && i < list->size; i++) {
        const dk_node *content = dk_node_get(list->items[i], "content");
        if (!dk_node_is_text(dk_node_get(list->items[i], "role"), "user") || !content || content->type != DK_NODE_TEXT)
            continue;
        dk_strbuf_append(out, content->text, content->size);
        break;
    }
out:
    dk_document_free(document);
    return rc;
}

int32_t di_question_of(const di_record *record, dk_strbuf *out, dk_error *err)
{
    size_t size = 0;
    const char *text = di_record_text(record, "text", &size);
    if (!text) text = di_record_text(record, "prompt", &size);
    if (text) return dk_strbuf_append(out, text, size), dk_strbuf_check(out, err);
    return di_record_field(record, "messages") ? first_of_user(record, out, err) : DK_OK;
}

int32_t di_question_set(di_record *record, const char *text, size_t size, dk_error *err)
{
    static const char *const answers[] = {"completion", "chosen", "rejected"};
    dk_strbuf json;
    int32_t rc;
    di_record_forget(record);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) di_record_remove(record, answers[i]);
    if (di_record_text(record, "text", NULL)) return di_record_set_text(record, "text", text, size, err);
    if (di_record_text(record, "prompt", NULL)) return di_record_set_text(record, "prompt", text, size, err);
    dk_strbuf_init(&json, record->host);
    di_messages_of_user(text, size, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_record_set_json(record, "messages", json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

dk_slice di_answer_words(const di_answer *answer)
{
    dk_slice words = {answer->text.data, answer->text.size};
    for (int32_t quotes = 0; quotes < 2; quotes++) {
        while (words.size && memchr(" \t\r\n", words.data[0], 4)) words.data++, words.size--;
        while (words.size && memchr(" \t\r\n", words.data[words.size - 1], 4)) words.size--;
        const int32_t quoted = words.size > 2 && words.data[0] == '"' && words.data[words.size - 1] == '"' &&
                               !memchr(words.data + 1, '"', words.size - 2);
        if (!quoted) break;
        words.data++, words.size -= 2;
    }
    return words;
}
