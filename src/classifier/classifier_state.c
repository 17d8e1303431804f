/* classifier_state.c - a training of a classifier as a folder, from which it goes on bit for bit:
 *
 *   step-00000100/model.safetensors   weights in fp32, and "m.NAME" and "v.NAME", the moments of AdamW
 *                 state.json          step, hashes of settings and data, size and CRC-32C of the other file */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "classifier/classifier_parts.h"
#include "conf/document.h"
#include "format/checkpoint.h"

enum { PARTS = 12, DIGITS = 12 };
typedef struct parts {
    char names[PARTS][32];
    dk_tensor_spec specs[PARTS];
    float *data[PARTS];
    int64_t count;
} parts;

static void add(parts *p, const char *prefix, const char *name, float *data, int64_t rows, int64_t columns)
{
    const int64_t at = p->count++;
    snprintf(p->names[at], sizeof p->names[at], "%s%s", prefix, name);
    p->specs[at] = (dk_tensor_spec){p->names[at], DK_F32, 2, {rows, columns}};
    p->data[at] = data;
}

static void parts_of(const di_fit *f, parts *out)
{
    const di_classifier *c = f->classifier;
    const dk_ops *ops = f->backend->ops;
    out->count = 0;
    add(out, "", "features.weight", c->table, c->inputs, c->width);
    add(out, "m.", "features.weight", f->first, c->inputs, c->width);
    add(out, "v.", "features.weight", f->second, c->inputs, c->width);
    for (int64_t i = 0; i < f->dense_count; i++) {
        const dk_view value = f->dense[i].value;
        const int64_t columns = value.shape[value.rank - 1], rows = dk_view_count(&value) / columns;
        add(out, "", f->dense[i].name, ops->map(value), rows, columns);
        add(out, "m.", f->dense[i].name, ops->map(dk_optimizer_moment(f->optimizer, i, 0)), rows, columns);
        add(out, "v.", f->dense[i].name, ops->map(dk_optimizer_moment(f->optimizer, i, 1)), rows, columns);
    }
}

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    const parts *p = user;
    (void)err;
    memcpy(out, (const char *)p->data[index] + offset, size);
    return DK_OK;
}

/* ---- saving ---- */

static int32_t write_state(const di_fit *f, const di_fit_state *state, const char *folder, dk_error *err)
{
    char *weights = dk_path_join(f->host, folder, "model.safetensors"),
         *path = dk_path_join(f->host, folder, "state.json");
    dk_strbuf json;
    uint64_t size = 0;
    uint32_t crc = 0;
    int32_t rc;
    dk_strbuf_init(&json, f->host);
    if (!weights || !path) DK_TRY(dk_fail_nomem(err, strlen(folder)));
    DK_TRY(di_classifier_checksum(f->host, weights, &size, &crc, err));
    dk_strbuf_printf(&json,
                     "{\"kind\":\"classifier-checkpoint\",\"step\":%lld,\"settings\":\"%016llx\",\"data\":\"%016llx\","
                     "\"floored\":%lld,\"used_rows\":%lld,\"bytes\":%llu,\"crc32c\":%u,\"seconds\":",
                     (long long)f->step, (unsigned long long)state->settings, (unsigned long long)state->data,
                     (long long)f->floored, (long long)f->used_rows, (unsigned long long)size, (unsigned)crc);
    dk_strbuf_f64(&json, state->seconds);
    dk_strbuf_puts(&json, ",\"last_loss\":");
    dk_strbuf_f64(&json, f->last_loss);
    dk_strbuf_puts(&json, "}\n");
    DK_TRY(dk_strbuf_check(&json, err));
    DK_TRY(dk_file_replace(f->host, path, json.data, json.size, err));
out:
    dk_strbuf_free(&json);
    dk_free(f->host, weights);
    dk_free(f->host, path);
    return rc;
}

typedef struct steps { /* of the checkpoints that are there, ascending */
    int64_t numbers[1000], count;
} steps;

static int32_t see_step(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    steps *s = user;
    (void)err;
    if (!is_dir || strncmp(name, "step-", 5) || strlen(name) != 5 + DIGITS || s->count == 1000) return DK_OK;
    s->count += dk_parse_i64(name + 5, DIGITS, &s->numbers[s->count]);
    return DK_OK;
}

static char *path_of(dk_host *host, const char *folder, int64_t step)
{
    char name[40];
    snprintf(name, sizeof name, "step-%0*lld", DIGITS, (long long)step);
    return dk_path_join(host, folder, name);
}

static int32_t prune(const di_fit *f, const char *folder, int64_t keep, dk_error *err)
{
    steps there = {.count = 0};
    int32_t rc = dk_dir_list(f->host, folder, see_step, &there, err);
    for (int64_t i = 0; rc == DK_OK && i + keep < there.count; i++) {
        char *path = path_of(f->host, folder, there.numbers[i]);
        rc = path ? dk_dir_remove(f->host, path, err) : dk_fail_nomem(err, strlen(folder));
        dk_free(f->host, path);
    }
    return rc;
}

int32_t di_fit_save(const di_fit *f, const di_fit_state *state, const char *output, int64_t keep, dk_error *err)
{
    char *folder = dk_path_join(f->host, output, "checkpoints"), *path = NULL;
    dk_staged staged = {.path = NULL};
    parts p;
    int32_t rc;
    if (!folder || !(path = path_of(f->host, folder, f->step))) DK_TRY(dk_fail_nomem(err, strlen(output)));
    DK_TRY(dk_dir_stage(f->host, path, &staged, err));
    parts_of(f, &p);
    const dk_safetensors_args args = {p.specs, p.count, fill, &p, (uint64_t)1 << 40};
    DK_TRY(dk_safetensors_write(f->host, staged.path, &args, NULL, err));
    DK_TRY(write_state(f, state, staged.path, err));
    DK_TRY(dk_dir_commit(f->host, &staged, path, err));
    DK_TRY(prune(f, folder, keep, err));
out:
    if (rc && err) dk_hide_temporary(err);
    dk_staged_end(f->host, &staged);
    dk_free(f->host, folder);
    dk_free(f->host, path);
    return rc;
}

/* ---- loading ---- */

static int32_t check_hash(const dk_document *doc, const char *key, uint64_t want, const char *what, dk_error *err)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)want);
    if (dk_node_is_text(dk_node_get(dk_document_root(doc), key), text)) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH, "%s: %s are others than when it was written: start anew with output.overwrite",
                   dk_document_name(doc), what);
}

static int32_t read_weights(di_fit *f, const dk_document *doc, const char *path, dk_error *err)
{
    const dk_node *root = dk_document_root(doc);
    int64_t bytes = 0, crc = 0;
    dk_checkpoint *tensors = NULL;
    dk_mapping map = {0};
    parts p;
    int32_t rc;
    DK_TRY(dk_node_i64(doc, root, "bytes", 0, INT64_MAX, -1, &bytes, err));
    DK_TRY(dk_node_i64(doc, root, "crc32c", 0, UINT32_MAX, -1, &crc, err));
    DK_TRY(dk_map_open(f->host, path, 0, &map, err));
    if ((uint64_t)bytes != map.size || (uint32_t)crc != dk_crc32c(0, map.data, map.size))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s is damaged: its sum is not what state.json says", path));
    DK_TRY(dk_checkpoint_parse(f->host, map.data, map.size, path, 0, &tensors, err));
    parts_of(f, &p);
    for (int64_t i = 0; i < p.count; i++) {
        const dk_tensor *tensor = dk_checkpoint_find(tensors, p.specs[i].name);
        if (!tensor || tensor->dtype != DK_F32 || tensor->rank != 2 ||
            memcmp(tensor->shape, p.specs[i].shape, 2 * sizeof *tensor->shape))
            DK_TRY(dk_fail(err, DK_E_FORMAT, "%s has no %s of this classifier", path, p.specs[i].name));
    }
    for (int64_t i = 0; i < p.count; i++) {
        const dk_tensor *tensor = dk_checkpoint_find(tensors, p.specs[i].name);
        memcpy(p.data[i], tensor->data, tensor->bytes);
    }
out:
    dk_checkpoint_close(tensors);
    dk_map_close(&map);
    return rc;
}

static int32_t load(di_fit *f, di_fit_state *state, const char *folder, dk_error *err)
{
    char *weights = dk_path_join(f->host, folder, "model.safetensors"),
         *path = dk_path_join(f->host, folder, "state.json");
    dk_document *doc = NULL;
    int64_t step = 0;
    int32_t rc;
    if (!weights || !path) DK_TRY(dk_fail_nomem(err, strlen(folder)));
    DK_TRY(dk_json_open(f->host, path, &doc, err));
    const dk_node *root = dk_document_root(doc);
    if (!dk_node_is_text(dk_node_get(root, "kind"), "classifier-checkpoint"))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s is not of a classifier's training", path));
    DK_TRY(check_hash(doc, "settings", state->settings, "the settings", err));
    DK_TRY(check_hash(doc, "data", state->data, "the texts", err));
    DK_TRY(dk_node_i64(doc, root, "step", 0, INT64_MAX, 0, &step, err));
    DK_TRY(dk_node_i64(doc, root, "floored", 0, INT64_MAX, 0, &f->floored, err));
    DK_TRY(dk_node_i64(doc, root, "used_rows", 0, INT64_MAX, 0, &f->used_rows, err));
    DK_TRY(dk_node_f64(doc, root, "seconds", 0, &state->seconds, err));
    DK_TRY(dk_node_f64(doc, root, "last_loss", 0, &f->last_loss, err));
    DK_TRY(read_weights(f, doc, weights, err));
    f->step = step;
    dk_optimizer_set_step(f->optimizer, step);
out:
    dk_document_free(doc);
    dk_free(f->host, weights);
    dk_free(f->host, path);
    return rc;
}

int32_t di_fit_load(di_fit *f, di_fit_state *state, const char *output, dk_error *err)
{
    char *folder = dk_path_join(f->host, output, "checkpoints");
    steps there = {.count = 0};
    int32_t rc = DK_E_NOT_FOUND;
    if (!folder) return dk_fail_nomem(err, strlen(output));
    if (dk_path_exists(folder) == 2) DK_TRY(dk_dir_list(f->host, folder, see_step, &there, err));
    rc = dk_fail(err, DK_E_NOT_FOUND, "%s has no checkpoint to go on from", output);
    for (int64_t i = there.count - 1; i >= 0; i--) {
        char *path = path_of(f->host, folder, there.numbers[i]);
        rc = path ? load(f, state, path, err) : dk_fail_nomem(err, strlen(folder));
        dk_free(f->host, path);
        if (rc != DK_E_FORMAT && rc != DK_E_NOT_FOUND) break;
        if (i) dk_log(f->host, DK_LOG_WARN, "classifier", "%s: the one before it is taken", err ? err->message : "");
    }
    if (rc == DK_OK) dk_error_clear(err);
out:
    dk_free(f->host, folder);
    return rc;
}

/* ---- looking at one ---- */

int32_t di_fit_is_checkpoint(dk_host *host, const char *folder)
{
    char *path = dk_path_join(host, folder, "state.json");
    dk_document *doc = NULL;
    const int32_t found = path && dk_json_open(host, path, &doc, NULL) == DK_OK &&
                          dk_node_is_text(dk_node_get(dk_document_root(doc), "kind"), "classifier-checkpoint");
    dk_document_free(doc);
    dk_free(host, path);
    return found;
}

static int32_t verify(dk_host *host, const dk_document *doc, const char *folder, dk_error *err)
{
    char *path = dk_path_join(host, folder, "model.safetensors");
    int64_t bytes = -1, crc = -1;
    uint64_t size = 0;
    uint32_t found = 0;
    int32_t rc = path ? DK_OK : dk_fail_nomem(err, strlen(folder));
    if (rc) return rc;
    DK_TRY(dk_node_i64(doc, dk_document_root(doc), "bytes", 0, INT64_MAX, -1, &bytes, err));
    DK_TRY(dk_node_i64(doc, dk_document_root(doc), "crc32c", 0, UINT32_MAX, -1, &crc, err));
    DK_TRY(di_classifier_checksum(host, path, &size, &found, err));
    if (size != (uint64_t)bytes || found != (uint32_t)crc)
        rc = dk_fail(err, DK_E_FORMAT, "%s is damaged: its sum is not what state.json says", path);
out:
    dk_free(host, path);
    return rc;
}

int32_t di_fit_inspect(dk_host *host, const char *folder, dk_strbuf *json, dk_error *err)
{
    char *path = dk_path_join(host, folder, "state.json");
    dk_document *doc = NULL;
    dk_error problem;
    int64_t step = 0;
    int32_t rc;
    if (!path) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_json_open(host, path, &doc, err));
    DK_TRY(dk_node_i64(doc, dk_document_root(doc), "step", 0, INT64_MAX, 0, &step, err));
    dk_error_clear(&problem);
    const int32_t whole = verify(host, doc, folder, &problem) == DK_OK;
    dk_strbuf_printf(json, "{\"kind\":\"classifier checkpoint\",\"step\":%lld,\"whole\":%s", (long long)step,
                     whole ? "true" : "false");
    if (!whole) {
        dk_strbuf_puts(json, ",\"problem\":");
        dk_strbuf_json(json, problem.message, strlen(problem.message));
    }
    dk_strbuf_puts(json, "}");
    rc = dk_strbuf_check(json, err);
out:
    dk_document_free(doc);
    dk_free(host, path);
    return rc;
}
