/* inspect.c - what a path is, and whether it is whole: everything is opened and checked as it would be for use. */
#include <string.h>

#include "base/file.h"
#include "base/notes.h"
#include "cache/target_cache.h"
#include "classifier/classifier.h"
#include "dataset/dataset.h"
#include "dataset/token_file.h"
#include "format/checkpoint.h"
#include "format/open_tokenizer.h"
#include "loss/builtin.h"
#include "report/report.h"

static void text(dk_strbuf *out, const char *name, const char *value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_json(out, value, strlen(value));
}

static void integer(dk_strbuf *out, const char *name, int64_t value)
{
    dk_strbuf_printf(out, ",\"%s\":%lld", name, (long long)value);
}

static void verdict(dk_strbuf *out, const dk_error *problem)
{
    dk_strbuf_printf(out, ",\"whole\":%s", problem->code ? "false" : "true");
    if (problem->code) text(out, "problem", problem->message);
}

/* What was read and is not used. */
static void notes(dk_strbuf *out, const dk_strbuf *lines)
{
    if (!lines || !lines->size) return;
    dk_strbuf_puts(out, ",\"notes\":");
    dk_notes_json(lines, out);
}

/* ---- models ---- */

static void describe_config(const dk_config *c, dk_strbuf *out)
{
    text(out, "architecture", c->architecture);
    integer(out, "vocab_size", c->vocab_size);
    integer(out, "hidden_size", c->hidden_size);
    integer(out, "layers", c->layers);
    integer(out, "heads", c->heads);
    integer(out, "kv_heads", c->kv_heads);
    integer(out, "head_dim", c->head_dim);
    integer(out, "intermediate_size", c->intermediate_size);
    integer(out, "context_length", c->max_positions);
    if (c->experts) integer(out, "experts", c->experts);
    if (c->experts) integer(out, "experts_used", c->experts_used);
    if (c->experts) integer(out, "expert_size", c->expert_size);
    dk_strbuf_printf(out, ",\"tied\":%s", c->tied ? "true" : "false");
}

static void count_dtypes(const dk_checkpoint *file, dk_strbuf *out)
{
    int64_t count = dk_checkpoint_count(file), bytes = 0;
    dk_strbuf_puts(out, ",\"dtypes\":{");
    for (int64_t i = 0, first = 1; i < count; i++) {
        const char *name = dk_checkpoint_at(file, i)->type_name;
        int64_t same = 0, seen = 0;
        bytes += (int64_t)dk_checkpoint_at(file, i)->bytes;
        for (int64_t j = 0; j < i && !seen; j++) seen = strcmp(dk_checkpoint_at(file, j)->type_name, name) == 0;
        for (int64_t j = i; j < count && !seen; j++) same += strcmp(dk_checkpoint_at(file, j)->type_name, name) == 0;
        if (seen) continue;
        if (!first) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, name, strlen(name));
        dk_strbuf_printf(out, ":%lld", (long long)same);
        first = 0;
    }
    dk_strbuf_puts(out, "}");
    integer(out, "tensors", count);
    integer(out, "bytes", bytes);
}

/* model NULL = it could not be opened. */
static void describe_tokenizer(dk_host *host, const char *path, dk_model *model, dk_strbuf *out)
{
    dk_tokenizer *tokenizer = NULL;
    dk_error problem;
    int32_t rc = dk_open_tokenizer(host, path, &tokenizer, &problem);
    if (!rc && model) rc = di_check_tokenizer(path, model, tokenizer, &problem);
    if (rc) {
        dk_tokenizer_release(tokenizer);
        text(out, "tokenizer_problem", problem.message);
        return;
    }
    dk_strbuf_printf(out, ",\"tokenizer\":{\"vocab_size\":%lld,\"bos\":%lld,\"eos\":%lld,\"pad\":%lld,\"unk\":%lld",
                     (long long)dk_tokenizer_vocab_size(tokenizer), (long long)dk_tokenizer_bos(tokenizer),
                     (long long)dk_tokenizer_eos(tokenizer), (long long)dk_tokenizer_pad(tokenizer),
                     (long long)dk_tokenizer_unk(tokenizer));
    notes(out, dk_tokenizer_notes(tokenizer));
    dk_strbuf_puts(out, "}");
    dk_tokenizer_release(tokenizer);
}

/* Whose output a model's folder is. */
static void describe_run(dk_host *host, const char *path, dk_strbuf *out)
{
    dk_error problem;
    int32_t found;
    if (di_run_folder_describe(host, path, out, &found, &problem)) text(out, "run_problem", problem.message);
}

/* An output folder without a model: its run is under way. */
static int32_t inspect_run(dk_host *host, const char *path, dk_strbuf *out, int32_t *found, dk_error *err)
{
    int32_t rc;
    dk_strbuf_puts(out, "{\"kind\":\"run\"");
    DK_TRY(di_run_folder_describe(host, path, out, found, err));
    dk_strbuf_puts(out, ",\"whole\":true}");
    if (!*found) dk_strbuf_clear(out);
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}

static int32_t inspect_model(dk_backend *backend, const char *path, int32_t gguf, dk_strbuf *out, dk_error *err)
{
    dk_model_options options = {.use_mmap = 1};
    dk_checkpoint *file = NULL;
    dk_model *model = NULL;
    dk_error problem;
    dk_error_clear(&problem);
    dk_strbuf_printf(out, "{\"kind\":\"model\",\"format\":\"%s\"", gguf ? "gguf" : "hf");
    if (dk_checkpoint_open(backend->host, path, DK_OPEN_MMAP, &file, &problem) == DK_OK) count_dtypes(file, out);
    dk_checkpoint_close(file);
    if (problem.code == DK_OK && dk_model_open(backend, path, &options, &model, &problem) == DK_OK) {
        describe_config(&model->config, out);
        integer(out, "parameters", dk_model_elements(model));
    }
    verdict(out, &problem);
    notes(out, model ? &model->config.notes : NULL);
    describe_tokenizer(backend->host, path, model, out);
    describe_run(backend->host, path, out);
    dk_model_free(model);
    dk_strbuf_puts(out, "}");
    return dk_strbuf_check(out, err);
}

static int32_t inspect_classifier(dk_backend *backend, const char *path, dk_strbuf *out, dk_error *err)
{
    di_classifier *classifier = NULL;
    dk_error problem;
    dk_error_clear(&problem);
    dk_strbuf_puts(out, "{\"kind\":\"classifier\"");
    if (di_classifier_open(backend, path, NULL, &classifier, &problem) == DK_OK) {
        dk_strbuf_puts(out, ",\"classifier\":");
        di_classifier_json(classifier, out);
    }
    verdict(out, &problem);
    di_classifier_free(classifier);
    dk_strbuf_puts(out, "}");
    return dk_strbuf_check(out, err);
}

static int32_t inspect_tensors(dk_host *host, const char *path, dk_strbuf *out, dk_error *err)
{
    dk_checkpoint *file = NULL;
    dk_error problem;
    dk_error_clear(&problem);
    dk_strbuf_puts(out, "{\"kind\":\"safetensors\"");
    if (dk_checkpoint_open(host, path, DK_OPEN_MMAP, &file, &problem) == DK_OK) count_dtypes(file, out);
    dk_checkpoint_close(file);
    verdict(out, &problem);
    dk_strbuf_puts(out, "}");
    return dk_strbuf_check(out, err);
}

static int32_t inspect_tokenizer(dk_host *host, const char *path, int32_t gguf, dk_strbuf *out, dk_error *err)
{
    dk_tokenizer *tokenizer = NULL;
    dk_error problem;
    dk_error_clear(&problem);
    dk_strbuf_printf(out, "{\"kind\":\"tokenizer\",\"format\":\"%s\"", gguf ? "gguf" : "hf");
    if (dk_open_tokenizer(host, path, &tokenizer, &problem) == DK_OK)
        integer(out, "vocab_size", dk_tokenizer_vocab_size(tokenizer));
    verdict(out, &problem);
    notes(out, tokenizer ? dk_tokenizer_notes(tokenizer) : NULL);
    dk_tokenizer_release(tokenizer);
    dk_strbuf_puts(out, "}");
    return dk_strbuf_check(out, err);
}

static int32_t is_checkpoint(dk_host *host, const char *path)
{
    char *state = dk_path_join(host, path, "state.json");
    int32_t found = state && dk_path_exists(path) == 2 && dk_path_exists(state) == 1;
    dk_free(host, state);
    return found;
}

int32_t di_inspect_path(dk_backend *backend, const char *path, dk_strbuf *json, dk_error *err)
{
    dk_path_type kind = DK_PATH_UNKNOWN;
    int32_t found = 0, rc;
    if (di_fit_is_checkpoint(backend->host, path)) return di_fit_inspect(backend->host, path, json, err);
    if (is_checkpoint(backend->host, path)) return di_checkpoint_inspect(backend->host, path, json, err);
    DK_TRY(dk_path_kind(backend->host, path, &kind, err));
    switch (kind) {
    case DK_PATH_MODEL:
        if (di_classifier_is_at(backend->host, path)) return inspect_classifier(backend, path, json, err);
        return inspect_model(backend, path, 0, json, err);
    case DK_PATH_GGUF:
        return inspect_model(backend, path, 1, json, err);
    case DK_PATH_TOKENIZER:
        return inspect_tokenizer(backend->host, path, 0, json, err);
    case DK_PATH_GGUF_VOCABULARY:
        return inspect_tokenizer(backend->host, path, 1, json, err);
    case DK_PATH_SAFETENSORS:
        return inspect_tensors(backend->host, path, json, err);
    case DK_PATH_MISSING:
        return dk_fail(err, DK_E_NOT_FOUND, "%s does not exist", path);
    case DK_PATH_UNKNOWN:
        break;
    }
    DK_TRY(inspect_run(backend->host, path, json, &found, err));
    if (found) return DK_OK;
    if (dk_path_exists(path) == 1 && di_token_file_is(backend->host, path))
        return di_token_file_inspect(backend->host, path, json, err);
    if (dk_path_exists(path) == 1 && di_cache_is(path)) return di_cache_inspect(backend->host, path, 1, json, err);
    if (dk_path_exists(path) == 1) return di_dataset_inspect(backend->host, path, json, err);
    rc = dk_fail(err, DK_E_FORMAT,
                 "%s is no model, tokenizer, token file, target cache, data or checkpoint that this library knows",
                 path);
out:
    return rc;
}

/* ---- the library ---- */

static void loss_options(const di_builtin *loss, dk_strbuf *json)
{
    for (int k = 0, count = 0; k < 2 * DI_LOSS_OPTIONS; k++) {
        const char *option = k < DI_LOSS_OPTIONS ? loss->options[k] : loss->fixed[k - DI_LOSS_OPTIONS];
        if (option) dk_strbuf_printf(json, "%s\"%s\"", count++ ? "," : "", option);
    }
}

typedef enum { OF_ROWS, OF_OTHER_TOOLS, OF_PAIRS, OF_FEATURES } loss_kind;

static loss_kind kind_of(const di_builtin *loss)
{
    return loss->feature ? OF_FEATURES : loss->pairs ? OF_PAIRS : loss->tool ? OF_OTHER_TOOLS : OF_ROWS;
}

/* "loss_table":{"jsd":{"options":["jsd.teacher_weight",...],"targets":"DENSE, ...","needs_labels":false,...},...}, of
 * losses on rows; "preset_table" of those as other tools have them, with "tool", "divisor", "odd" and "instead";
 * "pair_table" of those that compare the sides of pairs; "feature_table":{"relation":{"options":[...]},...}. */
static int32_t loss_tables(dk_backend *backend, loss_kind kind, dk_strbuf *json, dk_error *err)
{
    static const char *const names[] = {"loss_table", "preset_table", "pair_table", "feature_table"};
    dk_strbuf kinds;
    int32_t rc = DK_OK, count = 0;
    dk_strbuf_init(&kinds, backend->host);
    dk_strbuf_printf(json, ",\"%s\":{", names[kind]);
    for (int64_t i = 0; di_builtin_at(i); i++) {
        const di_builtin *loss = di_builtin_at(i);
        if (kind_of(loss) != kind) continue;
        dk_strbuf_clear(&kinds);
        di_kind_names(loss->targets, &kinds);
        DK_TRY(dk_strbuf_check(&kinds, err));
        dk_strbuf_printf(json, "%s\"%s\":{\"options\":[", count++ ? "," : "", loss->name);
        loss_options(loss, json);
        dk_strbuf_puts(json, "]");
        if (kind != OF_FEATURES)
            dk_strbuf_printf(json, ",\"targets\":\"%s\",\"needs_labels\":%s,\"t_squared\":%s,\"temperature\":%s",
                             kinds.data ? kinds.data : "", loss->needs_labels ? "true" : "false",
                             loss->t_squared ? "true" : "false", loss->plain ? "false" : "true");
        if (kind == OF_OTHER_TOOLS) {
            text(json, "tool", loss->tool);
            text(json, "divisor", loss->divisor);
            text(json, "odd", loss->odd);
            text(json, "instead", loss->instead);
        }
        dk_strbuf_puts(json, "}");
    }
    dk_strbuf_puts(json, "}");
out:
    dk_strbuf_free(&kinds);
    return rc;
}

int32_t di_inspect_library(dk_backend *backend, di_registry *registry, dk_strbuf *json, dk_error *err)
{
    dk_strbuf losses;
    char cblas[128];
    int32_t rc;
    dk_backend_cblas(cblas, sizeof cblas);
    dk_strbuf_init(&losses, backend->host);
    DK_TRY(di_registry_names(registry, &losses, err));
    dk_strbuf_printf(json, "{\"kind\":\"library\",\"version\":\"%s\",\"abi_version\":%d", DISTILL_VERSION,
                     DISTILL_ABI_VERSION);
    text(json, "backend", backend->name);
    text(json, "isa", dk_isa_name(backend->isa));
    text(json, "products", backend->products);
    text(json, "cblas", cblas);
    integer(json, "threads", dk_host_threads(backend->host));
    text(json, "architectures", dk_architectures());
    text(json, "compressions", di_dataset_unpacks());
    text(json, "losses", losses.data ? losses.data : "");
    for (int kind = OF_ROWS; kind <= OF_FEATURES; kind++) DK_TRY(loss_tables(backend, (loss_kind)kind, json, err));
    dk_strbuf_puts(json, "}");
    DK_TRY(dk_strbuf_check(json, err));
out:
    dk_strbuf_free(&losses);
    return rc;
}
