/* classifier_file.c - a classifier as a folder:  config.json         what it is, its classes, what it promises, and
 * size and CRC-32C of model.safetensors   features.weight [inputs, width] in f32, f16 or int8 (with features.scale
 * [width]), features.bias [width]; of two layers head.weight [hidden, classes], head.bias [classes]; of an embedding
 * inputs.mean, inputs.scale [inputs]  They belong together by the checksum. One that is saved over another moves the
 * other's weights to model.old.safetensors, until its own description is there: whenever it is killed, one of the two
 * is whole and is opened. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "classifier/classifier_parts.h"
#include "conf/document.h"
#include "format/checkpoint.h"

static const char *const kind_name = "distill-classifier", *const old_name = "model.old.safetensors";
static const char *const stores[] = {"f32", "f16", "int8"}, *const counts[] = {"binary", "tf", "log_tf"},
                         *const embeds[] = {"hidden", "tokens"};

/* ---- tensors ---- */

typedef struct part { /* a tensor, and where its numbers are */
    dk_tensor_spec spec;
    float *data;
} part;
enum { PARTS = 7, TABLE = 0 };

/* All parts that this classifier has; returns how many. */
static int64_t parts_of(const di_classifier *c, part out[PARTS])
{
    static const dk_dtype types[] = {DK_F32, DK_F16, DK_I8};
    const part all[PARTS] = {
        {{"features.weight", types[c->store], 2, {c->inputs, c->width}}, c->table},
        {{"features.bias", DK_F32, 1, {c->width}}, c->bias},
        {{"head.weight", DK_F32, 2, {c->hidden, c->classes}}, c->head},
        {{"head.bias", DK_F32, 1, {c->classes}}, c->head_bias},
        {{"inputs.mean", DK_F32, 1, {c->inputs}}, c->mean},
        {{"inputs.scale", DK_F32, 1, {c->inputs}}, c->scale},
        {{"features.scale", DK_F32, 1, {c->width}}, c->steps},
    };
    int64_t count = 0;
    for (int i = 0; i < PARTS; i++) {
        const int of_head = i == 2 || i == 3, of_embedding = i == 4 || i == 5, of_steps = i == 6;
        if ((of_head && !c->hidden) || (of_embedding && !*c->model_hash) || (of_steps && c->store != DI_WEIGHT_INT8))
            continue;
        out[count++] = all[i];
    }
    return count;
}

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    const di_classifier *c = user;
    part parts[PARTS];
    (void)err;
    (void)parts_of(c, parts);
    const float *from = parts[index].data;
    const int64_t each = (int64_t)dk_dtype_size(parts[index].spec.dtype), first = (int64_t)offset / each,
                  count = (int64_t)size / each;
    for (int64_t i = 0; i < count; i++) {
        if (parts[index].spec.dtype == DK_F32) ((float *)out)[i] = from[first + i];
        else if (parts[index].spec.dtype == DK_F16) ((uint16_t *)out)[i] = dk_f32_to_f16(from[first + i]);
        else {
            const float step = c->steps[(first + i) % c->width];
            ((int8_t *)out)[i] = (int8_t)(step > 0 ? lrintf(from[first + i] / step) : 0);
        }
    }
    return DK_OK;
}

int32_t di_classifier_round(di_classifier *c, dk_error *err)
{
    const int64_t count = c->inputs * c->width;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(c->table[i]) || (c->store == DI_WEIGHT_F16 && fabsf(c->table[i]) > 65504))
            return dk_fail(err, DK_E_NUMERIC, "weight %lld of the classifier is no number that %s holds: lower %s",
                           (long long)i, stores[c->store], "train.learning_rate");
    if (c->store == DI_WEIGHT_F16)
        for (int64_t i = 0; i < count; i++) c->table[i] = dk_f16_to_f32(dk_f32_to_f16(c->table[i]));
    if (c->store != DI_WEIGHT_INT8 || c->steps) goto out;
    DK_TRY(dk_new(c->host, c->width, &c->steps, err));
    for (int64_t i = 0; i < count; i++) {
        const float size = fabsf(c->table[i]) / 127;
        if (size > c->steps[i % c->width]) c->steps[i % c->width] = size;
    }
    for (int64_t i = 0; i < count; i++) {
        const float step = c->steps[i % c->width];
        c->table[i] = step > 0 ? step * (float)lrintf(c->table[i] / step) : 0;
    }
out:
    return rc;
}

static void widen(const dk_tensor *tensor, const float *steps, int64_t width, float *out)
{
    const int64_t count = (int64_t)(tensor->bytes / dk_dtype_size(tensor->dtype));
    const uint8_t *from = tensor->data;
    for (int64_t i = 0; i < count; i++) {
        uint16_t half;
        if (tensor->dtype == DK_F32) memcpy(out + i, from + 4 * i, 4);
        else if (tensor->dtype == DK_F16) {
            memcpy(&half, from + 2 * i, 2);
            out[i] = dk_f16_to_f32(half);
        } else out[i] = steps[i % width] * (float)(int8_t)from[i];
    }
}

/* ---- config.json ---- */

static void inputs_json(const di_classifier *c, dk_strbuf *out)
{
    const di_ngrams *n = &c->ngrams;
    if (*c->model_hash) {
        dk_strbuf_puts(out, "{\"of\":\"embedding\",\"path\":");
        const char *path = di_embedding_path(c->embedding);
        dk_strbuf_json(out, path, strlen(path));
        dk_strbuf_printf(out, ",\"states\":\"%s\",\"width\":%lld,\"hash\":\"%s\"}", embeds[c->embed],
                         (long long)c->inputs, c->model_hash);
        return;
    }
    dk_strbuf_printf(out,
                     "{\"of\":\"ngrams\",\"words\":%d,\"characters\":[%d,%d],\"bits\":%d,\"counts\":\"%s\","
                     "\"lowercase\":%s}",
                     (int)n->words, (int)n->characters_least, (int)n->characters_most, (int)n->bits, counts[n->counts],
                     n->lowercase ? "true" : "false");
}

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, "\"%s\":", name);
    dk_strbuf_f64(out, value);
    dk_strbuf_puts(out, ",");
}

void di_promise_json(const di_promise *p, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{");
    number(out, "agreement", p->agreement);
    number(out, "confidence_level", p->surety);
    if (p->threshold > 1) dk_strbuf_puts(out, "\"threshold\":null,");
    else number(out, "threshold", p->threshold);
    number(out, "coverage", p->texts ? (double)p->answered / (double)p->texts : 0);
    number(out, "bound", p->bound);
    dk_strbuf_printf(out, "\"texts\":%lld,\"answered\":%lld,\"wrong\":%lld,\"least_texts\":%lld}", (long long)p->texts,
                     (long long)p->answered, (long long)p->wrong, (long long)p->least_texts);
}

static void question_json(const di_question *q, dk_strbuf *out)
{
    if (!q->text) {
        dk_strbuf_puts(out, "null");
        return;
    }
    dk_strbuf_puts(out, "{\"text\":");
    dk_strbuf_json(out, q->text, strlen(q->text));
    dk_strbuf_printf(out, ",\"chat\":%s,\"per_token\":%s}", q->chat ? "true" : "false",
                     q->per_token ? "true" : "false");
}

/* Without the braces. */
static void describe(const di_classifier *c, dk_strbuf *out)
{
    dk_strbuf_puts(out, "\"inputs\":");
    inputs_json(c, out);
    dk_strbuf_printf(out, ",\"hidden\":%lld,\"classes\":[", (long long)c->hidden);
    for (int64_t i = 0; i < c->classes; i++) {
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, c->names[i], strlen(c->names[i]));
    }
    dk_strbuf_printf(out, "],\"type\":\"%s\",\"temperature\":", stores[c->store]);
    dk_strbuf_f64(out, c->temperature);
    dk_strbuf_puts(out, ",\"promise\":");
    if (c->promise.agreement > 0) di_promise_json(&c->promise, out);
    else dk_strbuf_puts(out, "null");
    dk_strbuf_puts(out, ",\"question\":");
    question_json(&c->question, out);
    dk_strbuf_puts(out, ",\"held_out\":");
    dk_strbuf_puts(out, c->held_out.size ? c->held_out.data : "null");
}

void di_classifier_json(const di_classifier *c, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"kind\":\"classifier\",");
    describe(c, out);
    dk_strbuf_printf(out, ",\"parameters\":%lld,\"bytes\":%lld}", (long long)di_classifier_parameters(c),
                     (long long)di_classifier_bytes(c));
}

/* ---- saving ---- */

/* What config.json in a folder is of: 1 = a classifier, 0 = something else, -1 = there is none. */
static int32_t kind_at(dk_host *host, const char *folder)
{
    char *config = dk_path_join(host, folder, "config.json");
    dk_document *there = NULL;
    int32_t kind = -1;
    if (config && dk_path_exists(config))
        kind = dk_json_open(host, config, &there, NULL) == DK_OK &&
               dk_node_is_text(dk_node_get(dk_document_root(there), "kind"), kind_name);
    dk_document_free(there);
    dk_free(host, config);
    return kind;
}

int32_t di_classifier_is_at(dk_host *host, const char *folder) { return kind_at(host, folder) == 1; }

int32_t di_classifier_check_place(dk_host *host, const char *folder, dk_error *err)
{
    if (kind_at(host, folder)) return DK_OK;
    return dk_fail(err, DK_E_INVALID, "%s holds another model: give another path", folder);
}

int32_t di_classifier_checksum(dk_host *host, const char *path, uint64_t *size, uint32_t *crc, dk_error *err)
{
    dk_mapping map = {0};
    const int32_t rc = dk_map_open(host, path, 0, &map, err);
    if (rc) return rc;
    *size = map.size;
    *crc = dk_crc32c(0, map.data, map.size);
    dk_map_close(&map);
    return DK_OK;
}

/* Are these the weights that config.json was written with? */
static int32_t check_weights(const dk_document *doc, const char *path, const dk_mapping *map, dk_error *err)
{
    const dk_node *weights = dk_node_get(dk_document_root(doc), "weights");
    int64_t bytes = -1, crc = -1;
    int32_t rc;
    DK_TRY(dk_node_i64(doc, weights, "bytes", 0, INT64_MAX, -1, &bytes, err));
    DK_TRY(dk_node_i64(doc, weights, "crc32c", 0, UINT32_MAX, -1, &crc, err));
    if ((uint64_t)bytes != map->size || (uint32_t)crc != dk_crc32c(0, map->data, map->size))
        return dk_fail(err, DK_E_MISMATCH, "%s is not the file that config.json was written with, or is damaged", path);
out:
    return rc;
}

static int32_t open_matching(dk_host *host, const dk_document *doc, const char *path, dk_mapping *map, dk_error *err)
{
    int32_t rc = dk_map_open(host, path, 0, map, err);
    if (rc) return rc;
    if ((rc = check_weights(doc, path, map, err)) != DK_OK) dk_map_close(map);
    return rc;
}

/* Those that belong to config.json, which another one that was not saved to its end may have moved aside. */
static int32_t open_weights(dk_host *host, const dk_document *doc, const char *folder, dk_mapping *map, dk_error *err)
{
    char *now = dk_path_join(host, folder, "model.safetensors"), *old = dk_path_join(host, folder, old_name);
    int32_t rc = now && old ? DK_OK : dk_fail_nomem(err, strlen(folder));
    if (!rc) rc = open_matching(host, doc, now, map, err);
    if (rc && old && dk_path_exists(old) && open_matching(host, doc, old, map, NULL) == DK_OK) {
        dk_error_clear(err);
        rc = DK_OK;
    }
    dk_free(host, now);
    dk_free(host, old);
    return rc;
}

/* ---- saving over another one ---- */

typedef struct places {
    char *config, *weights, *old;
} places;

static int32_t find_places(dk_host *host, const char *folder, places *out, dk_error *err)
{
    out->config = dk_path_join(host, folder, "config.json");
    out->weights = dk_path_join(host, folder, "model.safetensors");
    out->old = dk_path_join(host, folder, old_name);
    return out->config && out->weights && out->old ? DK_OK : dk_fail_nomem(err, strlen(folder));
}

static void free_places(dk_host *host, places *p)
{
    dk_free(host, p->config);
    dk_free(host, p->weights);
    dk_free(host, p->old);
}

/* The weights that config.json speaks of go aside; where they stand there already, they stay. */
static int32_t move_aside(dk_host *host, const places *p, dk_error *err)
{
    dk_document *doc = NULL;
    dk_mapping map = {0};
    int32_t rc = DK_OK;
    if (!dk_path_exists(p->config) || dk_json_open(host, p->config, &doc, NULL)) goto out;
    if (open_matching(host, doc, p->weights, &map, NULL)) goto out;
    dk_map_close(&map);
    if (rename(p->weights, p->old)) rc = dk_fail_errno(err, errno, "%s: cannot be renamed", p->weights);
out:
    dk_document_free(doc);
    return rc;
}

static int32_t write_weights(const di_classifier *c, const places *p, dk_error *err)
{
    dk_staged staged = {.path = NULL};
    dk_tensor_spec specs[PARTS];
    part parts[PARTS];
    char *made = NULL;
    int32_t rc;
    const int64_t count = parts_of(c, parts);
    for (int64_t i = 0; i < count; i++) specs[i] = parts[i].spec;
    const dk_safetensors_args args = {specs, count, fill, (void *)(uintptr_t)c, (uint64_t)1 << 40};
    DK_TRY(dk_dir_stage(c->host, p->weights, &staged, err));
    DK_TRY(dk_safetensors_write(c->host, staged.path, &args, NULL, err));
    if (!(made = dk_path_join(c->host, staged.path, "model.safetensors"))) DK_TRY(dk_fail_nomem(err, 64));
    DK_TRY(move_aside(c->host, p, err));
    if (rename(made, p->weights)) rc = dk_fail_errno(err, errno, "%s: cannot be written", p->weights);
out:
    if (rc && err) dk_hide_temporary(err);
    dk_free(c->host, made);
    dk_staged_end(c->host, &staged);
    return rc;
}

static int32_t write_config(const di_classifier *c, const places *p, dk_error *err)
{
    dk_strbuf json;
    uint64_t size = 0;
    uint32_t crc = 0;
    int32_t rc;
    dk_strbuf_init(&json, c->host);
    DK_TRY(di_classifier_checksum(c->host, p->weights, &size, &crc, err));
    dk_strbuf_printf(&json, "{\"kind\":\"%s\",\"version\":1,", kind_name);
    describe(c, &json);
    dk_strbuf_printf(&json, ",\"weights\":{\"bytes\":%llu,\"crc32c\":%u}}\n", (unsigned long long)size, (unsigned)crc);
    DK_TRY(dk_strbuf_check(&json, err));
    DK_TRY(dk_file_replace(c->host, p->config, json.data, json.size, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t di_classifier_save(const di_classifier *c, const char *folder, dk_error *err)
{
    places p;
    int32_t rc;
    DK_TRY(find_places(c->host, folder, &p, err));
    if (!*folder) DK_TRY(dk_fail(err, DK_E_INVALID, "the path of the classifier's folder is empty"));
    DK_TRY(dk_dir_create(c->host, folder, err));
    DK_TRY(di_classifier_check_place(c->host, folder, err));
    DK_TRY(write_weights(c, &p, err));
    DK_TRY(write_config(c, &p, err));
    DK_TRY(dk_dir_remove(c->host, p.old, err));
out:
    free_places(c->host, &p);
    return rc;
}

/* ---- opening ---- */

typedef struct reading {
    dk_backend *backend;
    const dk_document *doc;
    const dk_node *root;
    const char *embedding; /* where its model is now; NULL = as the file says */
    dk_error *err;
} reading;

static int32_t choice(const reading *r, const dk_node *map, const char *key, const char *const *names, int32_t count,
                      int32_t *out)
{
    const char *text = NULL;
    const int32_t rc = dk_node_text(r->doc, map, key, "", &text, r->err);
    for (*out = 0; rc == DK_OK && *out < count; ++*out)
        if (!strcmp(names[*out], text)) return DK_OK;
    return rc ? rc : dk_fail(r->err, DK_E_FORMAT, "%s: %s \"%.60s\" is not known", dk_document_name(r->doc), key, text);
}

static int32_t whole(const reading *r, const dk_node *map, const char *key, int64_t low, int64_t high, int32_t *out)
{
    int64_t value = 0;
    if (!dk_node_get(map, key)) return dk_fail(r->err, DK_E_FORMAT, "%s: %s is missing", dk_document_name(r->doc), key);
    const int32_t rc = dk_node_i64(r->doc, map, key, low, high, low, &value, r->err);
    *out = (int32_t)value;
    return rc;
}

/* What is left out would else be guessed: a name that was damaged is no other than that. */
static int32_t has_all(const reading *r, const dk_node *map, const char *const *keys, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        if (!dk_node_get(map, keys[i]))
            return dk_fail(r->err, DK_E_FORMAT, "%s: %s is missing", dk_document_name(r->doc), keys[i]);
    return DK_OK;
}

static int32_t read_ngrams(const reading *r, const dk_node *inputs, di_ngrams *out)
{
    const dk_node *characters = dk_node_get(inputs, "characters"), *least = dk_node_at(characters, 0),
                  *most = dk_node_at(characters, 1);
    static const char *const keys[] = {"lowercase"};
    int32_t rc, count = 0;
    DK_TRY(has_all(r, inputs, keys, 1));
    DK_TRY(whole(r, inputs, "words", 0, DI_WORDS_MOST, &out->words));
    DK_TRY(whole(r, inputs, "bits", DI_BITS_LEAST, DI_BITS_MOST, &out->bits));
    DK_TRY(choice(r, inputs, "counts", counts, 3, &count));
    DK_TRY(dk_node_bool(r->doc, inputs, "lowercase", 1, &out->lowercase, r->err));
    if (!characters || characters->type != DK_NODE_LIST || characters->size != 2 || least->type != DK_NODE_INT ||
        most->type != DK_NODE_INT || least->i64 < 1 || most->i64 < 0 || most->i64 > DI_CHARACTERS_MOST ||
        (most->i64 && least->i64 > most->i64) || least->i64 > DI_CHARACTERS_MOST)
        return dk_fail(r->err, DK_E_FORMAT, "%s: characters is no [least, most] up to %d", dk_document_name(r->doc),
                       DI_CHARACTERS_MOST);
    out->counts = (di_count_kind)count;
    out->characters_least = (int32_t)least->i64;
    out->characters_most = (int32_t)most->i64;
out:
    return rc;
}

static int32_t read_embedding(const reading *r, const dk_node *inputs, di_classifier_spec *out)
{
    const char *path = NULL, *hash = NULL;
    char found[65];
    int32_t rc, embed = 0;
    DK_TRY(choice(r, inputs, "states", embeds, 2, &embed));
    DK_TRY(dk_node_text(r->doc, inputs, "path", "", &path, r->err));
    DK_TRY(dk_node_text(r->doc, inputs, "hash", "", &hash, r->err));
    out->embed = (di_embed_kind)embed;
    rc = di_embedding_open(r->backend, r->embedding ? r->embedding : path, out->embed, &out->embedding, r->err);
    if (rc == DK_E_NOT_FOUND && !r->embedding)
        dk_error_context(r->err,
                         "the model of the classifier's embedding (classifier.embedding.path says where it is)");
    if (rc) return rc;
    DK_TRY(di_embedding_hash(out->embedding, found, r->err));
    if (strcmp(found, hash))
        DK_TRY(dk_fail(r->err, DK_E_MISMATCH,
                       "%s is not the model that the classifier was made with: its hash is %.16s, not %.16s",
                       di_embedding_path(out->embedding), found, hash));
out:
    return rc;
}

static int32_t read_names(const reading *r, const char ***names, int64_t *count)
{
    const dk_node *classes = dk_node_get(r->root, "classes");
    int32_t rc;
    if (!classes || classes->type != DK_NODE_LIST || classes->size < 2 || classes->size > DI_CLASSES_MOST)
        return dk_fail(r->err, DK_E_FORMAT, "%s: classes is no list of 2 to %d names", dk_document_name(r->doc),
                       DI_CLASSES_MOST);
    DK_TRY(dk_new(r->backend->host, (int64_t)classes->size, names, r->err));
    *count = (int64_t)classes->size;
    for (int64_t i = 0; i < *count; i++) {
        const dk_node *name = classes->items[i];
        if (name->type != DK_NODE_TEXT || !name->size || strlen(name->text) != name->size)
            return dk_fail(r->err, DK_E_FORMAT, "%s: class %lld is no name", dk_document_name(r->doc), (long long)i);
        (*names)[i] = name->text;
    }
out:
    return rc;
}

/* Sizes are those of the files before memory is asked for. */
static int32_t check_tensors(const reading *r, const di_classifier *c, const dk_checkpoint *tensors)
{
    part parts[PARTS];
    const int64_t count = parts_of(c, parts);
    char have[DK_SHAPE_TEXT], want[DK_SHAPE_TEXT];
    if (dk_checkpoint_count(tensors) != count)
        return dk_fail(r->err, DK_E_FORMAT, "%s has %lld tensors, %lld are wanted", dk_checkpoint_path(tensors),
                       (long long)dk_checkpoint_count(tensors), (long long)count);
    for (int64_t i = 0; i < count; i++) {
        const dk_tensor_spec *spec = &parts[i].spec;
        const dk_tensor *tensor = dk_checkpoint_find(tensors, spec->name);
        if (!tensor)
            return dk_fail(r->err, DK_E_FORMAT, "%s has no tensor %s", dk_checkpoint_path(tensors), spec->name);
        if (tensor->dtype != spec->dtype || tensor->rank != spec->rank ||
            memcmp(tensor->shape, spec->shape, sizeof *spec->shape * (size_t)spec->rank))
            return dk_fail(r->err, DK_E_FORMAT, "%s: %s is %s %s, not %s %s", dk_checkpoint_path(tensors), spec->name,
                           dk_dtype_name(tensor->dtype), dk_shape_text(tensor->rank, tensor->shape, have),
                           dk_dtype_name(spec->dtype), dk_shape_text(spec->rank, spec->shape, want));
    }
    return DK_OK;
}

static int32_t read_tensors(const reading *r, di_classifier *c, const dk_checkpoint *tensors)
{
    part parts[PARTS];
    int32_t rc = DK_OK;
    if (c->store == DI_WEIGHT_INT8) DK_TRY(dk_new(c->host, c->width, &c->steps, r->err));
    const int64_t count = parts_of(c, parts);
    for (int64_t i = count - 1; i >= 0; i--) { /* steps before the table, which is told in them */
        const dk_tensor *tensor = dk_checkpoint_find(tensors, parts[i].spec.name);
        widen(tensor, c->steps, c->width, parts[i].data);
        for (int64_t k = 0; k < (int64_t)(tensor->bytes / dk_dtype_size(tensor->dtype)); k++)
            if (!isfinite(parts[i].data[k]))
                return dk_fail(r->err, DK_E_FORMAT, "%s: element %lld of %s is no number", dk_checkpoint_path(tensors),
                               (long long)k, parts[i].spec.name);
    }
out:
    return rc;
}

static int32_t read_promise(const reading *r, di_promise *out)
{
    const dk_node *p = dk_node_get(r->root, "promise"), *threshold = dk_node_get(p, "threshold");
    static const char *const keys[] = {"agreement", "confidence_level", "threshold", "bound",
                                       "texts",     "answered",         "wrong",     "least_texts"};
    const int64_t most = INT64_MAX;
    int32_t rc = DK_OK;
    *out = (di_promise){.threshold = 2};
    if (!p || p->type == DK_NODE_NULL) goto out;
    DK_TRY(has_all(r, p, keys, sizeof keys / sizeof *keys));
    DK_TRY(dk_node_f64(r->doc, p, "agreement", 0, &out->agreement, r->err));
    DK_TRY(dk_node_f64(r->doc, p, "confidence_level", 0, &out->surety, r->err));
    DK_TRY(dk_node_f64(r->doc, p, "bound", 0, &out->bound, r->err));
    if (threshold && threshold->type != DK_NODE_NULL)
        DK_TRY(dk_node_f64(r->doc, p, "threshold", 2, &out->threshold, r->err));
    DK_TRY(dk_node_i64(r->doc, p, "texts", 0, most, 0, &out->texts, r->err));
    DK_TRY(dk_node_i64(r->doc, p, "answered", 0, most, 0, &out->answered, r->err));
    DK_TRY(dk_node_i64(r->doc, p, "wrong", 0, most, 0, &out->wrong, r->err));
    DK_TRY(dk_node_i64(r->doc, p, "least_texts", 0, most, 0, &out->least_texts, r->err));
    if (!(out->threshold > 0) || !(out->agreement > 0 && out->agreement < 1))
        return dk_fail(r->err, DK_E_FORMAT, "%s: promise has a threshold of 0 or an agreement outside (0, 1)",
                       dk_document_name(r->doc));
out:
    return rc;
}

static int32_t read_rest(const reading *r, di_classifier *c)
{
    const dk_node *q = dk_node_get(r->root, "question"), *held_out = dk_node_get(r->root, "held_out");
    static const char *const keys[] = {"temperature", "promise", "question", "held_out"}, *const of_question[] = {
                                                                                              "text", "chat",
                                                                                              "per_token"};
    const char *text = NULL;
    int32_t rc;
    DK_TRY(has_all(r, r->root, keys, sizeof keys / sizeof *keys));
    DK_TRY(dk_node_f64(r->doc, r->root, "temperature", 1, &c->temperature, r->err));
    if (!(c->temperature >= DK_TEMPERATURE_MIN && c->temperature <= DK_TEMPERATURE_MAX))
        return dk_fail(r->err, DK_E_FORMAT, "%s: temperature is outside [0.001, 1000]", dk_document_name(r->doc));
    DK_TRY(read_promise(r, &c->promise));
    if (held_out && held_out->type == DK_NODE_MAP) dk_node_write_json(held_out, &c->held_out);
    DK_TRY(dk_strbuf_check(&c->held_out, r->err));
    if (!q || q->type == DK_NODE_NULL) goto out;
    DK_TRY(has_all(r, q, of_question, sizeof of_question / sizeof *of_question));
    DK_TRY(dk_node_text(r->doc, q, "text", NULL, &text, r->err));
    DK_TRY(dk_node_bool(r->doc, q, "chat", 1, &c->question.chat, r->err));
    DK_TRY(dk_node_bool(r->doc, q, "per_token", 0, &c->question.per_token, r->err));
    if (text && !(c->question.text = dk_strdup(c->host, text))) return dk_fail_nomem(r->err, strlen(text));
out:
    return rc;
}

static int32_t read_spec(const reading *r, di_classifier_spec *spec, const char ***names)
{
    const dk_node *inputs = dk_node_get(r->root, "inputs");
    int32_t rc, hidden = 0, store = 0, version = 0;
    if (!dk_node_is_text(dk_node_get(r->root, "kind"), kind_name))
        return dk_fail(r->err, DK_E_FORMAT, "%s is not of a classifier", dk_document_name(r->doc));
    DK_TRY(whole(r, r->root, "version", 1, 1, &version));
    DK_TRY(whole(r, r->root, "hidden", 0, DI_HIDDEN_MOST, &hidden));
    DK_TRY(choice(r, r->root, "type", stores, 3, &store));
    DK_TRY(read_names(r, names, &spec->classes));
    spec->hidden = hidden;
    spec->store = (di_weight_type)store;
    spec->names = *names;
    if (dk_node_is_text(dk_node_get(inputs, "of"), "embedding")) return read_embedding(r, inputs, spec);
    if (!dk_node_is_text(dk_node_get(inputs, "of"), "ngrams"))
        return dk_fail(r->err, DK_E_FORMAT, "%s: inputs.of is neither ngrams nor embedding", dk_document_name(r->doc));
    if (r->embedding)
        return dk_fail(r->err, DK_E_OPTION, "classifier.embedding.path is %s: the classifier reads n-grams, no model",
                       r->embedding);
    DK_TRY(read_ngrams(r, inputs, &spec->ngrams));
out:
    return rc;
}

static int32_t read_classifier(const reading *r, const dk_checkpoint *tensors, di_classifier **out)
{
    di_classifier_spec spec = {.classes = 0};
    di_classifier *c = NULL, shape = {.host = r->backend->host};
    const char **names = NULL;
    int32_t rc;
    DK_TRY(read_spec(r, &spec, &names));
    shape.inputs = spec.embedding ? di_embedding_width(spec.embedding) : (int64_t)1 << spec.ngrams.bits;
    shape.hidden = spec.hidden;
    shape.classes = spec.classes;
    shape.width = spec.hidden ? spec.hidden : spec.classes;
    shape.store = spec.store;
    *shape.model_hash = spec.embedding ? '-' : 0;
    DK_TRY(check_tensors(r, &shape, tensors));
    rc = di_classifier_create(r->backend, &spec, &c, r->err);
    spec.embedding = NULL;
    if (rc) goto out;
    DK_TRY(read_tensors(r, c, tensors));
    DK_TRY(read_rest(r, c));
out:
    di_embedding_free(spec.embedding);
    dk_free(r->backend->host, names);
    if (rc) di_classifier_free(c);
    else *out = c;
    return rc;
}

int32_t di_classifier_parse(dk_backend *backend, const char *config, size_t config_size, const void *weights,
                            uint64_t size, const char *embedding, di_classifier **out, dk_error *err)
{
    dk_document *doc = NULL;
    dk_checkpoint *tensors = NULL;
    int32_t rc;
    DK_TRY(dk_json_parse(backend->host, config, config_size, "config.json", &doc, err));
    const reading r = {backend, doc, dk_document_root(doc), embedding, err};
    DK_TRY(dk_checkpoint_parse(backend->host, weights, size, "model.safetensors", 0, &tensors, err));
    DK_TRY(read_classifier(&r, tensors, out));
out:
    dk_checkpoint_close(tensors);
    dk_document_free(doc);
    return rc;
}

int32_t di_classifier_open(dk_backend *backend, const char *folder, const char *embedding, di_classifier **out,
                           dk_error *err)
{
    dk_host *host = backend->host;
    char *config = dk_path_join(host, folder, "config.json"), *text = NULL;
    dk_document *doc = NULL;
    dk_mapping map = {0};
    size_t size = 0;
    int32_t rc;
    if (!config) DK_TRY(dk_fail_nomem(err, strlen(folder)));
    DK_TRY(dk_file_read(host, config, (uint64_t)1 << 28, &text, &size, err));
    DK_TRY(dk_json_parse(host, text, size, config, &doc, err));
    if (!dk_node_is_text(dk_node_get(dk_document_root(doc), "kind"), kind_name))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s is not of a classifier", config));
    DK_TRY(open_weights(host, doc, folder, &map, err));
    DK_TRY(di_classifier_parse(backend, text, size, map.data, map.size, embedding, out, err));
out:
    if (rc && err && !strstr(err->message, folder)) dk_error_context(err, "%s", folder);
    dk_map_close(&map);
    dk_document_free(doc);
    dk_free(host, text);
    dk_free(host, config);
    return rc;
}
