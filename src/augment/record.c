/* record.c - fields of a sample, whence it came, its scores. */
#include "augment/record.h"

#include <math.h>
#include <string.h>

int32_t di_record_create(dk_host *host, const char *id, di_record **out, dk_error *err)
{
    di_record *record = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &record, err));
    record->host = host;
    dk_strbuf_init(&record->operators, host);
    record->id = dk_strdup(host, id);
    if (!record->id) DK_TRY(dk_fail_nomem(err, strlen(id) + 1));
    *out = record;
    return DK_OK;
out:
    di_record_free(record);
    return rc;
}

static void free_field(dk_host *host, di_field *field)
{
    dk_free(host, field->key);
    dk_free(host, field->data);
}

void di_record_forget(di_record *record)
{
    if (!record->kept) return;
    dk_free(record->host, record->kept->ids);
    dk_free(record->host, record->kept->top_ids);
    dk_free(record->host, record->kept->top);
    dk_free(record->host, record->kept);
    record->kept = NULL;
}

void di_record_free(di_record *record)
{
    if (!record) return;
    dk_host *host = record->host;
    for (int64_t i = 0; i < record->field_count; i++) free_field(host, &record->fields[i]);
    for (int64_t i = 0; i < record->parent_count; i++) dk_free(host, record->parents[i]);
    for (int64_t i = 0; i < record->score_count; i++) dk_free(host, record->scores[i].name);
    di_record_forget(record);
    dk_strbuf_free(&record->operators);
    dk_free(host, record->fields);
    dk_free(host, record->parents);
    dk_free(host, record->scores);
    dk_free(host, record->id);
    dk_free(host, record);
}

/* ---- fields ---- */

static di_field *find_field(const di_record *record, const char *key)
{
    for (int64_t i = 0; i < record->field_count; i++)
        if (!strcmp(record->fields[i].key, key)) return &record->fields[i];
    return NULL;
}

const di_field *di_record_field(const di_record *record, const char *key)
{
    const di_field *field = find_field(record, key);
    return field && !field->is_null ? field : NULL;
}

const char *di_record_text(const di_record *record, const char *key, size_t *size)
{
    const di_field *field = di_record_field(record, key);
    if (!field || !field->is_text) return NULL;
    if (size) *size = field->size;
    return field->data;
}

/* Room for one more entry of `size` bytes behind count; arrays grow by eight. */
static int32_t room(dk_host *host, void **block, int64_t count, size_t size, dk_error *err)
{
    if (count % 8) return DK_OK;
    void *grown = dk_realloc(host, *block, (uint64_t)count + 8, size);
    if (!grown) return dk_fail_nomem(err, ((uint64_t)count + 8) * size);
    *block = grown;
    return DK_OK;
}

static int32_t set(di_record *record, const char *key, const char *data, size_t size, int32_t is_text, dk_error *err)
{
    di_field *field = find_field(record, key), made = {0};
    void *block = record->fields;
    int32_t rc;
    made = (di_field){.key = dk_strdup(record->host, key),
                      .data = dk_strndup(record->host, data ? data : "", size),
                      .size = size,
                      .is_text = is_text,
                      .is_null = !is_text && data && size == 4 && !memcmp(data, "null", 4)};
    if (!made.key || !made.data) DK_TRY(dk_fail_nomem(err, size + 1));
    if (field) {
        free_field(record->host, field);
    } else {
        DK_TRY(room(record->host, &block, record->field_count, sizeof *field, err));
        record->fields = block;
        field = &record->fields[record->field_count++];
    }
    *field = made;
    return DK_OK;
out:
    free_field(record->host, &made);
    return rc;
}

int32_t di_record_set_text(di_record *record, const char *key, const char *text, size_t size, dk_error *err)
{
    return set(record, key, text, size, 1, err);
}

int32_t di_record_set_json(di_record *record, const char *key, const char *json, size_t size, dk_error *err)
{
    return set(record, key, json, size, 0, err);
}

void di_record_remove(di_record *record, const char *key)
{
    di_field *field = find_field(record, key);
    if (!field) return;
    free_field(record->host, field);
    const int64_t behind = record->field_count-- - (field - record->fields) - 1;
    memmove(field, field + 1, (size_t)behind * sizeof *field);
}

void di_field_json(const di_field *field, dk_strbuf *out)
{
    if (field->is_text) dk_strbuf_json(out, field->data, field->size);
    else dk_strbuf_append(out, field->data, field->size);
}

di_record_kind di_record_what(const di_record *record)
{
    const di_field *talk = di_record_field(record, "messages");
    const int32_t text = di_record_text(record, "text", NULL) != NULL,
                  messages = talk && !talk->is_text && *talk->data == '[',
                  prompt = di_record_field(record, "prompt") != NULL,
                  completion = di_record_field(record, "completion") != NULL,
                  chosen = di_record_field(record, "chosen") && di_record_field(record, "rejected");
    if (text + messages + (prompt || completion) > 1 || (text && chosen)) return DI_RECORD_OTHER;
    if (chosen) return DI_RECORD_PREFERENCE;
    if (text) return DI_RECORD_TEXT;
    if (messages) return DI_RECORD_MESSAGES;
    return !prompt ? DI_RECORD_OTHER : completion ? DI_RECORD_PAIR : DI_RECORD_PROMPT;
}

/* The content of the last message of a list, or a text. */
static int32_t last_words(const di_record *record, const char *key, dk_strbuf *out, dk_error *err)
{
    const di_field *field = di_record_field(record, key);
    dk_document *document = NULL;
    int32_t rc;
    if (field->is_text) return dk_strbuf_append(out, field->data, field->size), dk_strbuf_check(out, err);
    DK_TRY(dk_json_parse(record->host, field->data, field->size, key, &document, err));
    const dk_node *list = dk_document_root(document);
    const dk_node *message = list->type == DK_NODE_LIST && list->size ? list->items[list->size - 1] : NULL;
    const dk_node *content = dk_node_get(message, "content");
    if (content && content->type == DK_NODE_TEXT) dk_strbuf_append(out, content->text, content->size);
    rc = dk_strbuf_check(out, err);
out:
    dk_document_free(document);
    return rc;
}

int32_t di_record_words(const di_record *record, dk_strbuf *out, dk_error *err)
{
    static const char *const keys[] = {"text", "completion", "messages", "chosen", "prompt"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (di_record_field(record, keys[i])) return last_words(record, keys[i], out, err);
    return DK_OK;
}

/* ---- whence ---- */

const char *di_record_root(const di_record *record) { return record->parent_count ? record->parents[0] : record->id; }

const char *di_record_parent(const di_record *record)
{
    return record->parent_count ? record->parents[record->parent_count - 1] : NULL;
}

static int32_t add_parent(di_record *record, const char *id, dk_error *err)
{
    void *block = record->parents;
    int32_t rc;
    DK_TRY(room(record->host, &block, record->parent_count, sizeof *record->parents, err));
    record->parents = block;
    if (!(record->parents[record->parent_count] = dk_strdup(record->host, id))) return dk_fail_nomem(err, strlen(id));
    record->parent_count++;
out:
    return rc;
}

int32_t di_record_inherit(di_record *record, const di_record *from, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < from->parent_count; i++) DK_TRY(add_parent(record, from->parents[i], err));
    for (int64_t i = 0; i < from->score_count; i++)
        DK_TRY(di_record_set_score(record, from->scores[i].name, from->scores[i].value, err));
    if (from->operators.size) dk_strbuf_append(&record->operators, from->operators.data, from->operators.size);
    rc = dk_strbuf_check(&record->operators, err);
out:
    return rc;
}

int32_t di_record_child(const di_record *parent, int64_t step, int64_t number, di_record **out, dk_error *err)
{
    di_record *child = NULL;
    dk_strbuf id;
    int32_t rc;
    dk_strbuf_init(&id, parent->host);
    di_record_make_id(parent->id, parent->generation, step, number, &id);
    DK_TRY(dk_strbuf_check(&id, err));
    DK_TRY(di_record_create(parent->host, id.data, &child, err));
    child->generation = parent->generation;
    for (int64_t i = 0; i < parent->field_count; i++) {
        const di_field *field = &parent->fields[i];
        DK_TRY(set(child, field->key, field->data, field->size, field->is_text, err));
    }
    DK_TRY(di_record_inherit(child, parent, err));
    DK_TRY(add_parent(child, parent->id, err));
    *out = child;
    child = NULL;
out:
    dk_strbuf_free(&id);
    di_record_free(child);
    return rc;
}

int32_t di_record_add_operator(di_record *record, const di_made *made, dk_error *err)
{
    dk_strbuf *out = &record->operators;
    dk_strbuf_printf(out, "%s{\"operator\":\"%s %s\"", out->size ? "," : "", made->verb, made->name);
    if (made->teacher) dk_strbuf_printf(out, ",\"teacher\":\"%s\"", made->teacher);
    if (made->template_hash) dk_strbuf_printf(out, ",\"template\":\"%s\"", made->template_hash);
    dk_strbuf_printf(out, ",\"seed\":%llu}", (unsigned long long)made->seed);
    return dk_strbuf_check(out, err);
}

int32_t di_record_set_score(di_record *record, const char *name, double value, dk_error *err)
{
    void *block = record->scores;
    int32_t rc;
    if (!isfinite(value)) return dk_fail(err, DK_E_NUMERIC, "score %s of sample %s is no number", name, record->id);
    for (int64_t i = 0; i < record->score_count; i++)
        if (!strcmp(record->scores[i].name, name)) return record->scores[i].value = value, DK_OK;
    DK_TRY(room(record->host, &block, record->score_count, sizeof *record->scores, err));
    record->scores = block;
    di_score *score = &record->scores[record->score_count];
    if (!(score->name = dk_strdup(record->host, name))) return dk_fail_nomem(err, strlen(name));
    score->value = value;
    record->score_count++;
out:
    return rc;
}

int32_t di_record_score(const di_record *record, const char *name, double *out)
{
    for (int64_t i = 0; i < record->score_count; i++)
        if (!strcmp(record->scores[i].name, name)) return *out = record->scores[i].value, 1;
    return 0;
}

int32_t di_record_number(const di_record *record, const char *name, double *out)
{
    const di_field *field = di_record_field(record, name);
    if (di_record_score(record, name, out)) return 1;
    return field && !field->is_text && dk_parse_f64(field->data, field->size, out);
}
