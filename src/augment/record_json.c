/* record_json.c - records as lines of JSONL, and back. */
#include "augment/record.h"

#include <string.h>

/* ---- provenance of an earlier pipeline ---- */

static int32_t fail_provenance(const char *place, dk_error *err)
{
    return dk_fail(
        err, DK_E_FORMAT,
        "%s: \"provenance\" is not {\"operators\": [...], \"parents\": [texts], \"scores\": {name: number}}: "
        "give it another name",
        place);
}

static int32_t read_operators(di_record *record, const dk_node *list, const char *place, dk_error *err)
{
    if (list && list->type != DK_NODE_LIST) return fail_provenance(place, err);
    for (size_t i = 0; list && i < list->size; i++) {
        if (i) dk_strbuf_puts(&record->operators, ",");
        dk_node_write_json(list->items[i], &record->operators);
    }
    return dk_strbuf_check(&record->operators, err);
}

static int32_t read_parents(di_record *record, const dk_node *list, const char *place, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!list) return DK_OK;
    if (list->type != DK_NODE_LIST) return fail_provenance(place, err);
    DK_TRY(dk_new(record->host, (list->size + 8) / 8 * 8, &record->parents, err));
    for (size_t i = 0; i < list->size; i++) {
        if (list->items[i]->type != DK_NODE_TEXT) return fail_provenance(place, err);
        char *parent = dk_strdup(record->host, list->items[i]->text);
        if (!parent) return dk_fail_nomem(err, list->items[i]->size);
        record->parents[record->parent_count++] = parent;
    }
out:
    return rc;
}

static int32_t read_scores(di_record *record, const dk_node *map, const char *place, dk_error *err)
{
    int32_t rc = DK_OK;
    if (map && map->type != DK_NODE_MAP) return fail_provenance(place, err);
    for (size_t i = 0; map && i < map->size && !rc; i++) {
        const dk_node *score = map->items[i];
        if (score->type != DK_NODE_INT && score->type != DK_NODE_FLOAT) return fail_provenance(place, err);
        rc = di_record_set_score(record, score->key, score->f64, err);
    }
    return rc;
}

/* ---- what was kept of the words ---- */

static void write_floats(dk_strbuf *out, const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        if (values[i] > -1e30f) dk_strbuf_f64(out, (double)values[i]);
        else dk_strbuf_puts(out, "-1e30");
    }
}

static void write_ids(dk_strbuf *out, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++) dk_strbuf_printf(out, "%s%d", i ? "," : "", (int)ids[i]);
}

static void write_kept(const di_kept *kept, dk_strbuf *out)
{
    dk_strbuf_printf(out, ",\"kept\":{\"k\":%lld,\"ids\":[", (long long)kept->k);
    write_ids(out, kept->ids, kept->count);
    dk_strbuf_puts(out, "],\"top_ids\":[");
    write_ids(out, kept->top_ids, kept->count * kept->k);
    dk_strbuf_puts(out, "],\"top\":[");
    write_floats(out, kept->top, kept->count * kept->k);
    dk_strbuf_puts(out, "]}");
}

/* A list of so many numbers; whole: without a fraction, in int32. */
static int32_t is_numbers(const dk_node *list, size_t size, int32_t whole)
{
    if (!list || list->type != DK_NODE_LIST || list->size != size) return 0;
    for (size_t i = 0; i < size; i++) {
        const dk_node *one = list->items[i];
        if (one->type != DK_NODE_INT && (whole || one->type != DK_NODE_FLOAT)) return 0;
        if (whole && (one->i64 < 0 || one->i64 > INT32_MAX)) return 0;
    }
    return 1;
}

static int32_t read_kept(di_record *record, const dk_node *map, const char *place, dk_error *err)
{
    const dk_node *k = dk_node_get(map, "k"), *ids = dk_node_get(map, "ids"), *top_ids = dk_node_get(map, "top_ids"),
                  *top = dk_node_get(map, "top");
    di_kept *kept = NULL;
    const int64_t width = k && k->type == DK_NODE_INT ? k->i64 : 0;
    const size_t count = ids ? ids->size : 0;
    int32_t rc;
    if (width < 1 || width > INT32_MAX || !is_numbers(ids, count, 1) ||
        !is_numbers(top_ids, count * (size_t)width, 1) || !is_numbers(top, count * (size_t)width, 0))
        return dk_fail(err, DK_E_FORMAT, "%s: what was kept of the words is not whole", place);
    DK_TRY(dk_new(record->host, 1, &kept, err));
    record->kept = kept;
    kept->k = width;
    kept->count = (int64_t)ids->size;
    DK_TRY(dk_new(record->host, ids->size + 1, &kept->ids, err));
    DK_TRY(dk_new(record->host, top->size + 1, &kept->top_ids, err));
    DK_TRY(dk_new(record->host, top->size + 1, &kept->top, err));
    for (size_t i = 0; i < ids->size; i++) kept->ids[i] = (int32_t)ids->items[i]->i64;
    for (size_t i = 0; i < top->size; i++) {
        kept->top_ids[i] = (int32_t)top_ids->items[i]->i64;
        kept->top[i] = (float)top->items[i]->f64;
    }
out:
    return rc;
}

static int32_t is_known(const char *key)
{
    return !strcmp(key, "operators") || !strcmp(key, "parents") || !strcmp(key, "scores") || !strcmp(key, "kept");
}

static int32_t read_provenance(di_record *record, const dk_node *map, const char *place, dk_error *err)
{
    int32_t rc;
    if (map->type != DK_NODE_MAP) return fail_provenance(place, err);
    for (size_t i = 0; i < map->size; i++)
        if (!is_known(map->items[i]->key)) return fail_provenance(place, err);
    DK_TRY(read_operators(record, dk_node_get(map, "operators"), place, err));
    DK_TRY(read_parents(record, dk_node_get(map, "parents"), place, err));
    DK_TRY(read_scores(record, dk_node_get(map, "scores"), place, err));
    if (dk_node_get(map, "kept")) rc = read_kept(record, dk_node_get(map, "kept"), place, err);
out:
    return rc;
}

/* ---- lines ---- */

typedef struct line { /* under work */
    const char *json, *place;
    size_t size, member; /* of the value at hand */
} line;

static int32_t set_field(di_record *record, const dk_node *node, const line *from, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    if (strlen(node->key) != node->key_size)
        return dk_fail(err, DK_E_FORMAT, "%s: a NUL character cannot be part of a field's name", from->place);
    if (node->type == DK_NODE_TEXT) return di_record_set_text(record, node->key, node->text, node->size, err);
    dk_strbuf_init(&json, record->host);
    if (!di_raw_member(from->json, from->size, from->member, &json))
        DK_TRY(dk_fail(err, DK_E_INTERNAL, "%s: where \"%s\" stands is not found", from->place, node->key));
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_record_set_json(record, node->key, json.data, json.size, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t read_id(di_record *record, const dk_node *node, const char *place, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    const int32_t good =
        (node->type == DK_NODE_TEXT && node->size && strlen(node->text) == node->size) || node->type == DK_NODE_INT;
    if (!good) return dk_fail(err, DK_E_FORMAT, "%s: \"id\" must be a text or a whole number", place);
    dk_strbuf_init(&json, record->host);
    if (node->type == DK_NODE_TEXT) dk_strbuf_append(&json, node->text, node->size);
    else dk_strbuf_printf(&json, "%lld", (long long)node->i64);
    DK_TRY(dk_strbuf_check(&json, err));
    dk_free(record->host, record->id);
    record->id = dk_strdup(record->host, json.data);
    if (!record->id) rc = dk_fail_nomem(err, json.size);
out:
    dk_strbuf_free(&json);
    return rc;
}

/* Loaders write every column of a table: one that is null is no id and no provenance. */
static int32_t read_member(di_record *record, const dk_node *node, const line *from, dk_error *err)
{
    const int32_t is_id = !strcmp(node->key, "id"), is_provenance = !strcmp(node->key, "provenance");
    if (node->type == DK_NODE_NULL && (is_id || is_provenance)) return DK_OK;
    if (is_id) return read_id(record, node, from->place, err);
    if (is_provenance) return read_provenance(record, node, from->place, err);
    return set_field(record, node, from, err);
}

int32_t di_record_parse(dk_host *host, const char *json, size_t size, const char *place, const char *fallback,
                        di_record **out, dk_error *err)
{
    dk_document *document = NULL;
    di_record *record = NULL;
    int32_t rc;
    DK_TRY(dk_json_parse(host, json, size, place, &document, err));
    const dk_node *root = dk_document_root(document);
    if (root->type != DK_NODE_MAP) DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: a sample must be a JSON object", place));
    DK_TRY(di_record_create(host, fallback, &record, err));
    for (size_t i = 0; i < root->size; i++) {
        const line from = {json, place, size, i};
        DK_TRY(read_member(record, root->items[i], &from, err));
    }
    *out = record;
    record = NULL;
out:
    di_record_free(record);
    dk_document_free(document);
    return rc;
}

static void write_provenance(const di_record *record, int32_t whole, dk_strbuf *out)
{
    dk_strbuf_puts(out, ",\"provenance\":{\"operators\":[");
    if (record->operators.size) dk_strbuf_append(out, record->operators.data, record->operators.size);
    dk_strbuf_puts(out, "],\"parents\":[");
    for (int64_t i = 0; i < record->parent_count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, record->parents[i], strlen(record->parents[i]));
    }
    dk_strbuf_puts(out, "],\"scores\":{");
    for (int64_t i = 0; i < record->score_count; i++) {
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, record->scores[i].name, strlen(record->scores[i].name));
        dk_strbuf_puts(out, ":");
        dk_strbuf_f64(out, record->scores[i].value);
    }
    dk_strbuf_puts(out, "}");
    if (whole && record->kept) write_kept(record->kept, out);
    dk_strbuf_puts(out, "}");
}

void di_record_write_learnt(const di_record *record, dk_strbuf *out)
{
    static const char *const fields[] = {"text", "prompt", "completion", "messages", "tools", "chat_template_kwargs"};
    const char *before = "{";
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const di_field *field = di_record_field(record, fields[i]);
        if (!field) continue;
        dk_strbuf_printf(out, "%s\"%s\":", before, fields[i]);
        di_field_json(field, out);
        before = ",";
    }
    dk_strbuf_puts(out, "}");
}

void di_record_write(const di_record *record, int32_t whole, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"id\":");
    dk_strbuf_json(out, record->id, strlen(record->id));
    for (int64_t i = 0; i < record->field_count; i++) {
        dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, record->fields[i].key, strlen(record->fields[i].key));
        dk_strbuf_puts(out, ":");
        di_field_json(&record->fields[i], out);
    }
    write_provenance(record, whole, out);
    dk_strbuf_puts(out, "}\n");
}
