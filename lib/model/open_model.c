/* Opening a model: files -> parameters, tensor by tensor. */
#include "model/weights.h"

#include "base/notes.h"

#include <string.h>

typedef struct loader {
    dk_model *model;
    const dk_checkpoint *checkpoint;
    const dk_architecture *row;
    int32_t gguf;
    dk_source *sources; /* [parameter_count] */
    uint8_t *used;      /* [tensors of the checkpoint] */
    dk_dtype *dtypes;   /* [parameter_count]; 0 = mapped */
    dk_buffer **files;
    dk_queue queue;
} loader;

/* What values are read from: floats, and blocks that the backend reads, which every op takes in matrices alone. */
static int32_t is_supported(const loader *in, const dk_tensor *tensor, int32_t rank)
{
    if (tensor->dtype == DK_F32 || tensor->dtype == DK_F16 || tensor->dtype == DK_BF16) return 1;
    return dk_dtype_size(tensor->dtype) == 0 && rank >= 2 && in->model->backend->reads >> tensor->dtype & 1;
}

/* rank: of the parameter. */
static int32_t fail_type(const loader *in, const dk_tensor *tensor, int32_t rank, dk_error *err)
{
    if (!in->gguf)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: tensor '%s' has type %s; supported are F32, F16 and BF16: save the model in one of them",
                       dk_checkpoint_path(in->checkpoint), tensor->name, tensor->type_name);
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: tensor '%s'%s has type %s; %s", dk_checkpoint_path(in->checkpoint),
                   tensor->name, rank == 1 ? ", a vector," : "", tensor->type_name,
                   rank == 1 ? "vectors are F32, F16 or BF16" : dk_gguf_way_out());
}

static dk_gguf_layout layout_of(const loader *in, int64_t parameter)
{
    dk_gguf_layout layout = dk_model_plan(in->model, parameter)->slot->layout;
    if (!in->gguf || (layout == DK_GGUF_ROTATED && !in->row->gguf_rotated)) return DK_GGUF_SAME;
    return layout == DK_GGUF_SHIFTED && in->model->config.norm_offset == 0 ? DK_GGUF_SAME : layout;
}

/* ---- which tensor is which parameter ---- */
static int32_t ends_with(const char *name, const char *end)
{
    size_t a = strlen(name), b = strlen(end);
    return a >= b && !strcmp(name + a - b, end);
}

/* Parts of a model may be wrapped too. The wrapper's name where `there` is `name` with such ones in it, else NULL. */
static const char *inner_wrapper(const char *there, const char *name)
{
    static const char *const wrappers[] = {"_orig_mod.", "module.", "_fsdp_wrapped_module.",
                                           "_checkpoint_wrapped_module."};
    const char *found = NULL;
    while (*there) {
        const char *wrapper = NULL;
        for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers && !wrapper; i++)
            if (!strncmp(there, wrappers[i], strlen(wrappers[i]))) wrapper = wrappers[i];
        if (wrapper) {
            found = wrapper;
            there += strlen(wrapper);
            continue;
        }
        size_t part = strcspn(there, ".") + 1;
        if (strncmp(there, name, part) != 0) return NULL;
        if (!there[part - 1]) return found;
        there += part;
        name += part;
    }
    return NULL;
}

/* Wrappers of a model (compiled, spread over machines, a part of a larger one) put their name before every other. */
static int32_t fail_missing(const loader *in, const char *name, const char *said, dk_error *err)
{
    const char *path = dk_checkpoint_path(in->checkpoint);
    for (int64_t i = 0; i < dk_checkpoint_count(in->checkpoint); i++) {
        const char *there = dk_checkpoint_at(in->checkpoint, i)->name;
        size_t prefix = strlen(there) - strlen(name);
        if (!ends_with(there, name) || there[prefix - 1] != '.') continue;
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: tensor '%s' is missing, but there is '%s': take '%.*s' off the names, as saving the model "
                       "inside its wrapper does",
                       path, name, there, (int)prefix, there);
    }
    for (int64_t i = 0; i < dk_checkpoint_count(in->checkpoint); i++) {
        const char *there = dk_checkpoint_at(in->checkpoint, i)->name, *wrapper = inner_wrapper(there, name);
        if (!wrapper) continue;
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: tensor '%s' is missing, but there is '%s': take '%s' out of the names, as saving the model "
                       "inside its wrappers does",
                       path, name, there, wrapper);
    }
    return dk_fail(err, DK_E_MISMATCH, "%s: tensor '%s' is missing; %s asks for it (%s, %lld layers%s)", path, name,
                   said, in->row->name, (long long)in->model->config.layers,
                   strcmp(name, dk_head_name(in->row)) ? ""
                                                       : "; with tie_word_embeddings the embedding would stand for it");
}

/* Rows of a tensor that several parameters share. */
static int32_t check_rows(const loader *in, int64_t parameter, dk_source source, dk_error *err)
{
    const dk_planned *plan = dk_model_plan(in->model, parameter);
    const dk_tensor *tensor = source.tensor;
    char found[DK_SHAPE_TEXT], wanted[DK_SHAPE_TEXT];
    int64_t items = dk_slot_items(plan->slot, &in->model->config), shape[3] = {source.rows, plan->shape[1]};
    int32_t rank = plan->rank, same = 1;
    if (plan->item >= 0) {
        rank++;
        shape[0] = items;
        shape[1] = source.rows / items;
        shape[2] = plan->shape[1];
    }
    for (int32_t d = 0; d < rank; d++) same &= tensor->rank == rank && tensor->shape[d] == shape[d];
    if (same) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH, "%s: tensor '%s' has shape %s, but %s asks for %s",
                   dk_checkpoint_path(in->checkpoint), tensor->name, dk_shape_text(tensor->rank, tensor->shape, found),
                   in->gguf ? "its metadata" : "config.json", dk_shape_text(rank, shape, wanted));
}

static int32_t check_whole(const loader *in, int64_t parameter, const dk_tensor *tensor, dk_error *err)
{
    const dk_planned *plan = dk_model_plan(in->model, parameter);
    char found[DK_SHAPE_TEXT], wanted[DK_SHAPE_TEXT];
    int64_t shape[2] = {plan->shape[0], plan->shape[1]};
    if (layout_of(in, parameter) == DK_GGUF_TRANSPOSED) {
        shape[0] = plan->shape[1];
        shape[1] = plan->shape[0];
    }
    if (tensor->rank == plan->rank && tensor->shape[0] == shape[0] && (plan->rank == 1 || tensor->shape[1] == shape[1]))
        return DK_OK;
    return dk_fail(err, DK_E_MISMATCH, "%s: tensor '%s' has shape %s, but %s asks for %s",
                   dk_checkpoint_path(in->checkpoint), tensor->name, dk_shape_text(tensor->rank, tensor->shape, found),
                   in->gguf ? "its metadata" : "config.json", dk_shape_text(plan->rank, shape, wanted));
}

static int32_t check_source(const loader *in, int64_t parameter, dk_source source, dk_error *err)
{
    const dk_planned *plan = dk_model_plan(in->model, parameter);
    int32_t rc;
    if (!source.tensor)
        return fail_missing(in, in->gguf ? plan->gguf : plan->name, in->gguf ? "its metadata" : "config.json", err);
    DK_TRY(source.rows ? check_rows(in, parameter, source, err) : check_whole(in, parameter, source.tensor, err));
    if (!is_supported(in, source.tensor, plan->rank)) rc = fail_type(in, source.tensor, plan->rank, err);
out:
    return rc;
}

static int32_t match_tensors(loader *in, dk_error *err)
{
    for (int64_t i = 0; i < in->model->parameter_count; i++) {
        const dk_source source = dk_find_source(in->model, in->checkpoint, i);
        int32_t rc = check_source(in, i, source, err);
        if (rc) return rc;
        uint8_t *used = &in->used[source.tensor - dk_checkpoint_at(in->checkpoint, 0)];
        in->sources[i] = source;
        if (!*used) in->model->file_bytes += source.tensor->bytes;
        *used = 1;
    }
    return DK_OK;
}

/* Buffers that old releases saved: causal masks, rotary frequencies. A tied head in the file equals the embedding. */
static int32_t is_ignored(const loader *in, const char *name)
{
    if (in->model->config.tied && !strcmp(name, in->gguf ? "output.weight" : dk_head_name(in->row))) return 1;
    if (in->gguf)
        return !strcmp(name, "rope_freqs.weight") || !strcmp(name, "rope_factors_short.weight") ||
               !strcmp(name, "rope_factors_long.weight");
    if (in->row->learned_positions) return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias");
    if (in->row->interleaved && (ends_with(name, ".attention.bias") || ends_with(name, ".attention.masked_bias")))
        return 1;
    return ends_with(name, ".rotary_emb.inv_freq");
}

static int32_t check_unused(const loader *in, dk_error *err)
{
    for (int64_t i = 0; i < dk_checkpoint_count(in->checkpoint); i++) {
        const dk_tensor *tensor = dk_checkpoint_at(in->checkpoint, i);
        if (!in->used[i] && !is_ignored(in, tensor->name))
            return dk_fail(err, DK_E_MISMATCH,
                           "%s: tensor '%s' belongs to no part of a %s model of %lld layers as %s describes it",
                           dk_checkpoint_path(in->checkpoint), tensor->name, in->row->name,
                           (long long)in->model->config.layers, in->gguf ? "its metadata" : "config.json");
    }
    return DK_OK;
}

/* ---- values ---- */
/* A parameter's value as the file has it. */
typedef struct stored {
    const uint8_t *data;
    dk_dtype dtype;
    int32_t rank, file;
    int64_t shape[2], bytes;
} stored;

static stored stored_of(const loader *in, int64_t parameter)
{
    const dk_source source = in->sources[parameter];
    const dk_tensor *tensor = source.tensor;
    const dk_planned *plan = dk_model_plan(in->model, parameter);
    const int64_t *shape = source.rows ? plan->shape : tensor->shape;
    stored out = {.data = tensor->data, .dtype = tensor->dtype, .rank = plan->rank, .file = tensor->file};
    out.shape[0] = shape[0];
    out.shape[1] = plan->rank == 2 ? shape[1] : 1;
    out.bytes = dk_dtype_bytes(out.dtype, out.shape[0] * out.shape[1]);
    out.data += dk_dtype_bytes(out.dtype, source.first * out.shape[1]);
    return out;
}

static int32_t is_aligned(const loader *in, int64_t parameter)
{
    const stored from = stored_of(in, parameter);
    return (uintptr_t)from.data % dk_dtype_align(from.dtype) == 0;
}

static dk_view mapped_view(const loader *in, int64_t parameter)
{
    const stored from = stored_of(in, parameter);
    const dk_mapping *map = dk_checkpoint_file(in->checkpoint, from.file);
    return dk_view_make(in->files[from.file], (int64_t)(from.data - map->data), from.dtype, from.rank, from.shape);
}

static int32_t wrap_files(loader *in, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int32_t i = 0; i < dk_checkpoint_files(in->checkpoint); i++) {
        const dk_mapping *map = dk_checkpoint_file(in->checkpoint, i);
        DK_TRY(in->model->backend->ops->buffer_wrap(in->model->backend, (void *)(uintptr_t)map->data,
                                                    (int64_t)map->size, &in->files[i], err));
    }
out:
    return rc;
}

/* What is frozen stays where and as it is mapped; rotated rows alone, shifted norms and data that is not aligned are
 * copied. */
static int32_t place(loader *in, dk_error *err)
{
    dk_model_state_of(in->model)->turned = in->gguf && !in->model->trainable && in->model->config.in_out;
    for (int64_t i = 0; i < in->model->parameter_count; i++) {
        if (in->model->trainable || layout_of(in, i) == DK_GGUF_SHIFTED) in->dtypes[i] = in->model->backend->real;
        else if (layout_of(in, i) == DK_GGUF_ROTATED || layout_of(in, i) == DK_GGUF_GROUPED || !is_aligned(in, i))
            in->dtypes[i] = in->sources[i].tensor->dtype;
        else in->model->parameters[i].value = mapped_view(in, i);
    }
    return dk_model_place(in->model, in->dtypes, err);
}

/* Row 2j + r of a head in the file is row r*d/2 + j in memory. */
static void convert_rotated(loader *in, int64_t parameter, dk_view from, dk_view to)
{
    int64_t dim = in->model->config.head_dim, width = to.rank == 2 ? to.shape[1] : 1;
    int64_t step_from = dk_dtype_bytes(from.dtype, width), step_to = dk_dtype_bytes(to.dtype, dim / 2 * width);
    const int64_t shape[3] = {dk_model_plan(in->model, parameter)->shape[0] / dim, dim / 2, width};
    for (int64_t r = 0; r < 2; r++) {
        dk_view x = dk_view_make(from.buffer, from.offset + r * step_from, from.dtype, 3, shape);
        dk_view y = dk_view_make(to.buffer, to.offset + r * step_to, to.dtype, 3, shape);
        x.stride[0] = y.stride[0] = dim * width;
        x.stride[1] = 2 * width;
        in->model->backend->ops->convert(&in->queue, x, y);
    }
}

/* q, k and v stand one behind the other in the file, head by head in memory. */
static void convert_grouped(loader *in, dk_view from, dk_view to)
{
    int64_t dim = in->model->config.head_dim, heads = in->model->config.heads;
    int64_t width = to.rank == 2 ? to.shape[1] : 1;
    const int64_t shape[3] = {heads, dim, width};
    for (int64_t part = 0; part < 3; part++) {
        dk_view x = dk_view_make(from.buffer, from.offset + dk_dtype_bytes(from.dtype, part * heads * dim * width),
                                 from.dtype, 3, shape);
        dk_view y =
            dk_view_make(to.buffer, to.offset + dk_dtype_bytes(to.dtype, part * dim * width), to.dtype, 3, shape);
        y.stride[0] = 3 * dim * width;
        in->model->backend->ops->convert(&in->queue, x, y);
    }
}

static void convert_value(loader *in, int64_t parameter, dk_view from)
{
    dk_view to = in->model->parameters[parameter].value;
    switch (layout_of(in, parameter)) {
    case DK_GGUF_ROTATED:
        convert_rotated(in, parameter, from, to);
        return;
    case DK_GGUF_GROUPED:
        convert_grouped(in, from, to);
        return;
    case DK_GGUF_TRANSPOSED:
        if (!dk_model_state_of(in->model)->turned) from = dk_view_turned(from);
        break;
    case DK_GGUF_SHIFTED: /* load_shifted goes on from here */
    case DK_GGUF_SAME:
        break;
    }
    in->model->backend->ops->convert(&in->queue, from, to);
}

/* The offset that is part of a norm's weight in the file comes off. */
static int32_t load_shifted(loader *in, int64_t parameter, dk_error *err)
{
    int32_t rc;
    const dk_ops *ops = in->model->backend->ops;
    dk_view to = in->model->parameters[parameter].value;
    dk_buffer *buffer = NULL;
    DK_TRY(ops->buffer_create(in->model->backend, dk_dtype_bytes(to.dtype, dk_view_count(&to)), &buffer, err));
    dk_view ones = dk_view_make(buffer, 0, to.dtype, to.rank, to.shape);
    ops->fill(&in->queue, ones, 1);
    ops->axpy(&in->queue, -in->model->config.norm_offset, ones, to);
    DK_TRY(dk_queue_wait(&in->queue, err));
out:
    if (buffer) ops->buffer_free(in->model->backend, buffer);
    return rc;
}

/* Blocks do not turn: they are floats before that. */
static int32_t load_turned(loader *in, int64_t parameter, dk_error *err)
{
    int32_t rc;
    const dk_ops *ops = in->model->backend->ops;
    dk_view from = mapped_view(in, parameter);
    dk_buffer *buffer = NULL;
    DK_TRY(ops->buffer_create(in->model->backend, 4 * dk_view_count(&from), &buffer, err));
    dk_view floats = dk_view_make(buffer, 0, DK_F32, from.rank, from.shape);
    ops->convert(&in->queue, from, floats);
    convert_value(in, parameter, floats);
    DK_TRY(dk_queue_wait(&in->queue, err));
out:
    if (buffer) ops->buffer_free(in->model->backend, buffer);
    return rc;
}

/* Data that no view may point to is copied, and goes through a buffer of its own where more is to be done. */
static int32_t load_unaligned(loader *in, int64_t parameter, dk_error *err)
{
    int32_t rc;
    const dk_ops *ops = in->model->backend->ops;
    const stored value = stored_of(in, parameter);
    const dk_view to = in->model->parameters[parameter].value;
    const dk_gguf_layout layout = layout_of(in, parameter);
    dk_buffer *buffer = NULL;
    if (to.dtype == value.dtype && (layout == DK_GGUF_SAME || layout == DK_GGUF_SHIFTED)) {
        ops->copy_in(&in->queue, to, value.data);
        return dk_queue_wait(&in->queue, err);
    }
    DK_TRY(ops->buffer_create(in->model->backend, value.bytes, &buffer, err));
    dk_view from = dk_view_make(buffer, 0, value.dtype, value.rank, value.shape);
    ops->copy_in(&in->queue, from, value.data);
    convert_value(in, parameter, from);
    DK_TRY(dk_queue_wait(&in->queue, err));
out:
    if (buffer) ops->buffer_free(in->model->backend, buffer);
    return rc;
}

static int32_t load_values(loader *in, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_queue_open(&in->queue, in->model->backend, err));
    for (int64_t i = 0; i < in->model->parameter_count; i++) {
        if (!in->dtypes[i]) continue;
        if (!is_aligned(in, i)) DK_TRY(load_unaligned(in, i, err));
        else if (layout_of(in, i) == DK_GGUF_TRANSPOSED && dk_dtype_size(in->sources[i].tensor->dtype) == 0)
            DK_TRY(load_turned(in, i, err));
        else convert_value(in, i, mapped_view(in, i));
        if (layout_of(in, i) == DK_GGUF_SHIFTED) DK_TRY(load_shifted(in, i, err));
    }
    DK_TRY(dk_queue_wait(&in->queue, err));
out:
    return rc;
}

static void free_files(dk_backend *backend, dk_host *host, dk_buffer **files, int32_t count)
{
    for (int32_t i = 0; files && i < count; i++)
        if (files[i]) backend->ops->buffer_free(backend, files[i]);
    dk_free(host, files);
}

/* A frozen model keeps the files, a trainable one has copies of everything. *checkpoint is taken over where it is
 * kept. */
static int32_t load(dk_model *model, dk_checkpoint **checkpoint, dk_error *err)
{
    int32_t rc, files = dk_checkpoint_files(*checkpoint);
    loader in = {.model = model,
                 .checkpoint = *checkpoint,
                 .row = dk_architecture_find(model->config.architecture),
                 .gguf = dk_checkpoint_is_gguf(*checkpoint)};
    DK_TRY(dk_new(model->host, model->parameter_count, &in.sources, err));
    DK_TRY(dk_new(model->host, dk_checkpoint_count(*checkpoint) + 1, &in.used, err));
    DK_TRY(dk_new(model->host, model->parameter_count, &in.dtypes, err));
    DK_TRY(dk_new(model->host, files, &in.files, err));
    DK_TRY(match_tensors(&in, err));
    DK_TRY(check_unused(&in, err));
    DK_TRY(wrap_files(&in, err));
    DK_TRY(place(&in, err));
    DK_TRY(load_values(&in, err));
    if (!model->trainable) {
        dk_model_state *state = dk_model_state_of(model);
        state->checkpoint = *checkpoint;
        state->files = in.files;
        in.files = NULL;
        *checkpoint = NULL;
    }
out:
    dk_queue_close(&in.queue);
    free_files(model->backend, model->host, in.files, files);
    dk_free(model->host, in.sources);
    dk_free(model->host, in.used);
    dk_free(model->host, in.dtypes);
    return rc;
}

/* ---- from a path ---- */
static int32_t fail_kind(const char *path, dk_path_type kind, dk_error *err)
{
    switch (kind) {
    case DK_PATH_MISSING:
        return dk_fail(err, DK_E_NOT_FOUND, "%s: there is no such file or folder", path);
    case DK_PATH_SAFETENSORS:
        return dk_fail(err, DK_E_FORMAT, "%s: is a safetensors file; name the folder that holds it and config.json",
                       path);
    case DK_PATH_TOKENIZER:
        return dk_fail(err, DK_E_NOT_FOUND, "%s: has a tokenizer, but no config.json and so no model", path);
    case DK_PATH_GGUF_VOCABULARY:
        return dk_fail(err, DK_E_NOT_FOUND, "%s: is a GGUF file with a vocabulary only; it has no weights", path);
    default:
        return dk_fail(err, DK_E_FORMAT,
                       "%s: is no model; name a folder with config.json and model.safetensors, or a GGUF file", path);
    }
}

static int32_t read_config(dk_host *host, const char *folder, dk_config *out, dk_error *err)
{
    int32_t rc;
    dk_document *doc = NULL;
    char *path = dk_path_join(host, folder, "config.json");
    if (!path) DK_TRY(dk_fail_nomem(err, strlen(folder) + 16));
    DK_TRY(dk_json_open(host, path, &doc, err));
    DK_TRY(dk_config_read(host, doc, out, err));
out:
    dk_document_free(doc);
    dk_free(host, path);
    return rc;
}

int32_t dk_model_open(dk_backend *backend, const char *path, const dk_model_options *options, dk_model **out,
                      dk_error *err)
{
    int32_t rc, use_mmap = options ? options->use_mmap : 1, trainable = options ? options->trainable : 0;
    dk_path_type kind = DK_PATH_MISSING;
    dk_checkpoint *checkpoint = NULL;
    dk_config config = {0};
    dk_model *model = NULL;
    DK_TRY(dk_path_kind(backend->host, path, &kind, err));
    if (kind != DK_PATH_MODEL && kind != DK_PATH_GGUF) DK_TRY(fail_kind(path, kind, err));
    if (kind == DK_PATH_MODEL) DK_TRY(read_config(backend->host, path, &config, err));
    DK_TRY(dk_checkpoint_open(backend->host, path, use_mmap ? DK_OPEN_MMAP : 0, &checkpoint, err));
    if (kind == DK_PATH_GGUF) DK_TRY(dk_config_from_gguf(backend->host, checkpoint, &config, err));
    else DK_TRY(dk_config_meet_tensors(backend->host, checkpoint, &config, err));
    const dk_strbuf *beside = dk_checkpoint_notes(checkpoint);
    dk_strbuf_append(&config.notes, beside->data, beside->size);
    DK_TRY(dk_model_new(backend, &config, trainable, &model, err));
    DK_TRY(load(model, &checkpoint, err));
    DK_TRY(dk_model_link(model, err));
    if (kind == DK_PATH_MODEL) DK_TRY(dk_generation_open(model, path, err));
    DK_TRY(dk_strbuf_check(&model->config.notes, err));
    dk_notes_log(&model->config.notes, backend->host, "model");
    *out = model;
    model = NULL;
out:
    dk_model_free(model);
    dk_config_free(backend->host, &config);
    dk_checkpoint_close(checkpoint);
    return rc;
}
