/* choice.c - which blocks, heads and channels a student keeps: as arrays, and as JSON beside its checkpoints, so that a
 * run that goes on does not read the text again. */
#include <string.h>

#include "base/hash.h"
#include "shape/shape_parts.h"

void di_shape_init(di_shape *shape, dk_host *host)
{
    dk_strbuf_init(&shape->choice, host);
    dk_strbuf_init(&shape->report, host);
    shape->teacher = NULL;
    shape->data = NULL;
}

void di_shape_free(di_shape *shape)
{
    dk_strbuf_free(&shape->choice);
    dk_strbuf_free(&shape->report);
    di_teacher_release(shape->teacher);
    di_dataset_release(shape->data);
    shape->teacher = NULL;
    shape->data = NULL;
}

void di_choice_free(di_choice *choice)
{
    dk_free(choice->host, choice->layers);
    dk_free(choice->host, choice->hidden);
    dk_free(choice->host, choice->groups);
    dk_free(choice->host, choice->inner);
    dk_free(choice->host, choice->ids);
}

dk_keep di_choice_keep(const di_choice *c)
{
    return (dk_keep){.layers = c->layers,
                     .layer_count = c->layer_count,
                     .hidden = c->hidden,
                     .hidden_size = c->hidden_size,
                     .groups = c->groups,
                     .kv_heads = c->kv_heads,
                     .inner = c->inner,
                     .intermediate_size = c->inner_size};
}

int32_t di_choice_key(const di_shape_args *args, di_dataset *data, char key[65], dk_error *err)
{
    char teacher[65], text[65];
    uint8_t digest[32];
    dk_strbuf options;
    dk_sha256 sha;
    int32_t rc;
    dk_strbuf_init(&options, args->backend->host);
    DK_TRY(di_teacher_hash(args->teacher, teacher, err));
    DK_TRY(di_dataset_hash(data, text, err));
    DK_TRY(di_options_get(args->options, "student", &options, err));
    DK_TRY(di_options_get(args->options, "train.seed", &options, err));
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, teacher, sizeof teacher);
    dk_sha256_add(&sha, text, sizeof text);
    dk_sha256_add(&sha, options.data ? options.data : "", options.size);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, key);
out:
    dk_strbuf_free(&options);
    return rc;
}

static void write_one(const char *name, const int64_t *numbers, int64_t count, dk_strbuf *out)
{
    if (!numbers) return;
    dk_strbuf_printf(out, ",\"%s\":", name);
    di_numbers_json(numbers, count, out);
}

void di_choice_write(const di_choice *c, const char *key, const dk_strbuf *report, dk_strbuf *out)
{
    dk_strbuf_printf(out, "{\"key\":\"%s\"", key);
    write_one("layers", c->layers, c->layer_count, out);
    write_one("hidden", c->hidden, c->hidden_size, out);
    write_one("groups", c->groups, c->layer_count * c->kv_heads, out);
    write_one("inner", c->inner, c->layer_count * c->inner_size, out);
    write_one("ids", c->ids, c->vocab_size, out);
    dk_strbuf_puts(out, ",\"report\":");
    dk_strbuf_append(out, report->data, report->size);
    dk_strbuf_puts(out, "}");
}

/* *out NULL = it is not there. Which numbers make sense is checked where they are used. */
static int32_t read_one(dk_host *host, const dk_node *root, const char *name, int64_t **out, int64_t *count,
                        dk_error *err)
{
    const dk_node *list = dk_node_get(root, name);
    int32_t rc;
    *count = 0;
    if (!list || list->type != DK_NODE_LIST) return DK_OK;
    if ((rc = dk_new(host, (int64_t)list->size, out, err)) != DK_OK) return rc;
    for (; *count < (int64_t)list->size; (*count)++) {
        const dk_node *item = dk_node_at(list, (size_t)*count);
        (*out)[*count] = item->type == DK_NODE_INT ? item->i64 : -1;
    }
    return DK_OK;
}

static int32_t read_all(const dk_node *root, di_choice *c, dk_error *err)
{
    int64_t groups = 0, inner = 0;
    int32_t rc;
    DK_TRY(read_one(c->host, root, "layers", &c->layers, &c->layer_count, err));
    DK_TRY(read_one(c->host, root, "hidden", &c->hidden, &c->hidden_size, err));
    DK_TRY(read_one(c->host, root, "groups", &c->groups, &groups, err));
    DK_TRY(read_one(c->host, root, "inner", &c->inner, &inner, err));
    DK_TRY(read_one(c->host, root, "ids", &c->ids, &c->vocab_size, err));
    c->kv_heads = c->layer_count ? groups / c->layer_count : 0;
    c->inner_size = c->layer_count ? inner / c->layer_count : 0;
out:
    return rc;
}

int32_t di_choice_read(const char *text, const char *key, di_choice *out, dk_strbuf *report, int32_t *found,
                       dk_error *err)
{
    dk_document *doc = NULL;
    int32_t rc = DK_OK;
    *found = 0;
    if (!text || !*text) return DK_OK;
    DK_TRY(dk_json_parse(out->host, text, strlen(text), "the student's shape", &doc, err));
    const dk_node *root = dk_document_root(doc), *told = dk_node_get(root, "report");
    if (!told || !dk_node_is_text(dk_node_get(root, "key"), key)) goto out;
    DK_TRY(read_all(root, out, err));
    dk_node_write_json(told, report);
    *found = out->layer_count > 0;
out:
    dk_document_free(doc);
    return rc;
}
