#include "model/export_gguf.h"

#include "base/notes.h"
#include "model/weights.h"

#include <string.h>

typedef struct exporter {
    const dk_model *model;
    dk_dtype dtype;
    dk_vocabulary_parts parts;
    dk_tensor_spec *specs;
    int64_t *parameters; /* of each spec; below 0: an EXTRA_ tensor */
    int64_t count;
    dk_stage stage;
    dk_buffer *laid; /* the tensor that is being written, as the file has it, where that is another order */
    dk_view value;
    float *floats; /* [2*DK_TENSOR_PIECE]: a piece of the narrowest type, as floats */
} exporter;

/* What scales frequencies, in tensors that belong to no parameter. */
enum { EXTRA_LLAMA3 = -1, EXTRA_SHORT = -2, EXTRA_LONG = -3, EXTRAS = 3 };

/* ---- which tensors, of which type ---- */
static dk_gguf_layout layout_of(const exporter *in, int64_t parameter)
{
    const dk_architecture *row = dk_architecture_find(in->model->config.architecture);
    dk_gguf_layout layout = dk_model_plan(in->model, parameter)->slot->layout;
    if (layout == DK_GGUF_ROTATED && !row->gguf_rotated) return DK_GGUF_SAME;
    if (layout == DK_GGUF_SHIFTED) return DK_GGUF_SAME; /* narrow_piece adds the offset */
    return layout == DK_GGUF_TRANSPOSED && dk_model_state_of(in->model)->turned ? DK_GGUF_SAME : layout;
}

static int32_t has_vocabulary_rows(const exporter *in, int64_t parameter)
{
    const dk_parameter *of = &in->model->parameters[parameter];
    return of == in->model->embedding || of == in->model->head;
}

static dk_dtype type_of(const exporter *in, int64_t parameter, int32_t rank, int64_t width)
{
    if (rank == 1 || dk_model_plan(in->model, parameter)->slot->rows == DK_DIM_EXPERTS) return DK_F32; /* routers too */
    if (dk_dtype_size(in->dtype)) return in->dtype;
    if (&in->model->parameters[parameter] == in->model->positions) return DK_F32;
    if (width % dk_dtype_find(in->dtype)->block == 0) return in->dtype;
    return width % 32 ? DK_F16 : DK_Q5_0;
}

static dk_tensor_spec spec_of(const exporter *in, int64_t parameter)
{
    const dk_planned *plan = dk_model_plan(in->model, parameter);
    dk_tensor_spec out = {.name = plan->gguf, .rank = plan->rank, .shape = {plan->shape[0], plan->shape[1]}};
    if (plan->slot->layout == DK_GGUF_TRANSPOSED) {
        out.shape[0] = plan->shape[1];
        out.shape[1] = plan->shape[0];
    }
    if (has_vocabulary_rows(in, parameter)) out.shape[0] += in->parts.added;
    out.dtype = type_of(in, parameter, out.rank, out.shape[1]);
    if (plan->item < 0) return out;
    for (int32_t d = out.rank++; d > 0; d--) out.shape[d] = out.shape[d - 1];
    out.shape[0] = dk_slot_items(plan->slot, &in->model->config);
    return out;
}

static void add_extra(exporter *in, const char *name, int64_t which)
{
    in->specs[in->count] =
        (dk_tensor_spec){.name = name, .dtype = DK_F32, .rank = 1, .shape = {in->model->config.rope.dims / 2}};
    in->parameters[in->count++] = which;
}

static float extra_value(const exporter *in, int64_t which, int64_t pair)
{
    const dk_rope_config *rope = &in->model->config.rope;
    if (which == EXTRA_LLAMA3) return (float)dk_llama3_divisor(rope, pair);
    return (float)(which == EXTRA_LONG ? rope->long_factors : rope->short_factors)[pair];
}

static int32_t list_tensors(exporter *in, dk_error *err)
{
    int32_t rc;
    const dk_model *model = in->model;
    DK_TRY(dk_new(model->host, model->parameter_count + EXTRAS, &in->specs, err));
    DK_TRY(dk_new(model->host, model->parameter_count + EXTRAS, &in->parameters, err));
    for (int64_t i = 0; i < model->parameter_count; i++) {
        if (dk_model_plan(model, i)->item > 0) continue; /* in one tensor with the first */
        in->specs[in->count] = spec_of(in, i);
        in->parameters[in->count++] = i;
    }
    if (model->config.tied && dk_architecture_find(model->config.architecture)->gguf_rules & DK_GGUF_HEAD) {
        in->parameters[in->count] = model->embedding - model->parameters;
        in->specs[in->count] = spec_of(in, model->embedding - model->parameters);
        in->specs[in->count++].name = "output.weight";
    }
    if (model->config.rope.kind == DK_ROPE_LLAMA3) add_extra(in, "rope_freqs.weight", EXTRA_LLAMA3);
    if (model->config.rope.kind == DK_ROPE_LONG) add_extra(in, "rope_factors_short.weight", EXTRA_SHORT);
    if (model->config.rope.kind == DK_ROPE_LONG) add_extra(in, "rope_factors_long.weight", EXTRA_LONG);
out:
    return rc;
}

/* Matrices that are of another type than was asked for, counted and named. */
static int32_t note_others(const exporter *in, dk_dtype other, dk_strbuf *notes, dk_error *err)
{
    int64_t found = 0, matrices = 0;
    dk_strbuf names;
    dk_strbuf_init(&names, in->model->host);
    for (int64_t i = 0; i < in->count; i++) {
        if (in->parameters[i] < 0 || dk_model_plan(in->model, in->parameters[i])->rank == 1) continue;
        matrices++;
        if (in->specs[i].dtype != other) continue;
        dk_strbuf_printf(&names, "%s%s", found++ ? ", " : "", in->specs[i].name);
    }
    if (found)
        dk_note(notes, "%lld of %lld matrices are %s, not %s, whose blocks of %d do not divide their rows: %s",
                (long long)found, (long long)matrices, dk_dtype_name(other), dk_dtype_name(in->dtype),
                (int)dk_dtype_find(in->dtype)->block, names.data);
    int32_t rc = dk_strbuf_check(&names, err);
    dk_strbuf_free(&names);
    return rc;
}

/* ---- values in the order of the file ---- */
static void free_laid(exporter *in)
{
    if (in->laid) in->model->backend->ops->buffer_free(in->model->backend, in->laid);
    in->laid = NULL;
}

static int32_t new_laid(exporter *in, const dk_tensor_spec *spec, dk_error *err)
{
    dk_backend *backend = in->model->backend;
    int64_t count = spec->shape[0] * (spec->rank == 2 ? spec->shape[1] : 1);
    int32_t rc = backend->ops->buffer_create(backend, 4 * count, &in->laid, err);
    if (!rc) in->value = dk_view_make(in->laid, 0, DK_F32, spec->rank, spec->shape);
    return rc;
}

/* Row r*d/2 + j of a head in memory is row 2j + r in the file. */
static void lay_rotated(exporter *in, dk_view from)
{
    int64_t dim = in->model->config.head_dim, width = from.rank == 2 ? from.shape[1] : 1;
    const int64_t shape[3] = {from.shape[0] / dim, dim / 2, width};
    for (int64_t r = 0; r < 2; r++) {
        dk_view x = dk_view_make(from.buffer, from.offset + dk_dtype_bytes(from.dtype, r * dim / 2 * width), from.dtype,
                                 3, shape);
        dk_view y = dk_view_make(in->value.buffer, r * width * 4, DK_F32, 3, shape);
        x.stride[0] = y.stride[0] = dim * width;
        y.stride[1] = 2 * width;
        in->model->backend->ops->convert(&in->stage.queue, x, y);
    }
}

/* The heads' q, k and v, which lie in turn, become all of q, all of k, all of v. */
static void lay_grouped(exporter *in, dk_view from)
{
    int64_t dim = in->model->config.head_dim, heads = in->model->config.heads;
    int64_t width = from.rank == 2 ? from.shape[1] : 1;
    const int64_t shape[3] = {heads, dim, width};
    for (int64_t part = 0; part < 3; part++) {
        dk_view x = dk_view_make(from.buffer, from.offset + dk_dtype_bytes(from.dtype, part * dim * width), from.dtype,
                                 3, shape);
        dk_view y = dk_view_make(in->value.buffer, part * heads * dim * width * 4, DK_F32, 3, shape);
        x.stride[0] = 3 * dim * width;
        in->model->backend->ops->convert(&in->stage.queue, x, y);
    }
}

/* Byte tokens stand for what was unknown before, so their rows are the unknown token's. */
static void lay_added(exporter *in, dk_view from)
{
    const dk_ops *ops = in->model->backend->ops;
    int64_t rows = from.shape[0], unk = in->parts.vocabulary.unk;
    ops->convert(&in->stage.queue, from, dk_view_rows(in->value, 0, rows));
    for (int64_t i = 0; unk >= 0 && i < in->parts.added; i++)
        ops->convert(&in->stage.queue, dk_view_rows(from, unk, 1), dk_view_rows(in->value, rows + i, 1));
}

static int32_t begin_tensor(exporter *in, int64_t index, dk_error *err)
{
    int32_t rc = DK_OK;
    int64_t parameter = in->parameters[index];
    dk_view from = parameter < 0 ? dk_view_none() : in->model->parameters[parameter].value;
    int32_t added = parameter >= 0 && in->parts.added && has_vocabulary_rows(in, parameter);
    free_laid(in);
    in->value = from;
    if (parameter < 0 || (layout_of(in, parameter) == DK_GGUF_SAME && !added)) return DK_OK;
    DK_TRY(new_laid(in, &in->specs[index], err));
    if (added) lay_added(in, from);
    else if (layout_of(in, parameter) == DK_GGUF_ROTATED) lay_rotated(in, from);
    else if (layout_of(in, parameter) == DK_GGUF_GROUPED) lay_grouped(in, from);
    else in->model->backend->ops->convert(&in->stage.queue, dk_view_turned(from), in->value);
    DK_TRY(dk_queue_wait(&in->stage.queue, err));
out:
    return rc;
}

/* ---- floats as the file has them ---- */
typedef struct narrow_work {
    dk_dtype dtype;
    const float *from;
    uint8_t *to;
    int64_t piece; /* entries, whole blocks */
    int64_t count;
    _Atomic int32_t failed;
} narrow_work;

static int32_t narrow(dk_dtype dtype, const float *from, uint8_t *to, int64_t count)
{
    uint16_t *halves = (uint16_t *)(void *)to;
    int32_t ok = 1;
    switch (dtype) {
    case DK_F32:
        memcpy(to, from, (size_t)count * sizeof *from);
        return 1;
    case DK_F16:
        for (int64_t i = 0; i < count; i++) ok &= ((halves[i] = dk_f32_to_f16(from[i])) & 0x7c00) != 0x7c00;
        return ok;
    case DK_BF16:
        for (int64_t i = 0; i < count; i++) ok &= ((halves[i] = dk_f32_to_bf16(from[i])) & 0x7f80) != 0x7f80;
        return ok;
    default:
        return dk_blocks_narrow(dtype, from, to, count);
    }
}

static void narrow_body(void *context, int64_t begin, int64_t end)
{
    narrow_work *w = context;
    for (int64_t p = begin; p < end; p++) {
        int64_t first = p * w->piece, left = w->count - first;
        if (!narrow(w->dtype, w->from + first, w->to + dk_dtype_bytes(w->dtype, first),
                    left < w->piece ? left : w->piece))
            w->failed = 1;
    }
}

/* Entries of a tensor as floats; those of items, whose parameters follow each other, in turn. */
static int32_t read_floats(exporter *in, int64_t index, int64_t first, int64_t count, dk_error *err)
{
    const dk_parameter *parameter = &in->model->parameters[in->parameters[index]];
    const int64_t most = DK_STAGE_BYTES / 4, each = dk_view_count(&in->value);
    int32_t rc = DK_OK;
    for (int64_t at = 0; at < count;) {
        int64_t item = (first + at) / each, inside = (first + at) % each, n = count - at < most ? count - at : most;
        if (n > each - inside) n = each - inside;
        DK_TRY(dk_stage_read(&in->stage, item ? parameter[item].value : in->value, inside, n, DK_F32, in->floats + at,
                             err));
        at += n;
    }
out:
    return rc;
}

static int32_t narrow_piece(exporter *in, int64_t index, int64_t first, int64_t count, void *out, dk_error *err)
{
    int32_t rc;
    narrow_work work = {.dtype = in->specs[index].dtype, .from = in->floats, .to = out, .piece = 4096, .count = count};
    DK_TRY(read_floats(in, index, first, count, err));
    if (dk_model_plan(in->model, in->parameters[index])->slot->layout == DK_GGUF_SHIFTED)
        for (int64_t i = 0; i < count; i++) in->floats[i] += (float)in->model->config.norm_offset;
    dk_parallel_for(in->model->host, (count + work.piece - 1) / work.piece, 1, narrow_body, &work);
    if (work.failed)
        DK_TRY(dk_fail(err, DK_E_NUMERIC, "%s has weights that %s cannot hold: export as %sf32", in->specs[index].name,
                       dk_dtype_name(work.dtype), work.dtype == DK_BF16 ? "" : "bf16 or "));
out:
    return rc;
}

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    exporter *in = user;
    const dk_dtype_info *type = dk_dtype_find(in->specs[index].dtype);
    int64_t first = (int64_t)(offset / (uint64_t)type->bytes) * type->block;
    int64_t count = (int64_t)(size / (uint64_t)type->bytes) * type->block;
    int32_t rc = offset ? DK_OK : begin_tensor(in, index, err);
    if (rc) return rc;
    if (dk_host_cancelled(in->model->host)) return dk_fail(err, DK_E_CANCELLED, "export: cancelled");
    if (in->parameters[index] >= 0) return narrow_piece(in, index, first, count, out, err);
    for (int64_t i = 0; i < count; i++) ((float *)out)[i] = extra_value(in, in->parameters[index], first + i);
    return DK_OK;
}

/* ---- the file ---- */
static uint32_t file_type(dk_dtype dtype)
{
    switch (dtype) {
    case DK_F32:
        return 0;
    case DK_F16:
        return 1;
    case DK_BF16:
        return 32;
    case DK_Q8_0:
        return 7;
    case DK_Q4_0:
        return 2;
    default:
        return 14; /* mostly Q4_K, the small mixture */
    }
}

static int32_t put_keys(exporter *in, const dk_tokenizer *tokenizer, dk_gguf_keys *keys, dk_strbuf *notes,
                        dk_error *err)
{
    int32_t rc;
    const dk_config *config = &in->model->config;
    DK_TRY(dk_gguf_put_config(keys, config, config->vocab_size + in->parts.added, err));
    dk_gguf_note_windows(config, notes);
    dk_gguf_put_u32(keys, "general.file_type", file_type(in->dtype));
    if (!dk_dtype_size(in->dtype)) dk_gguf_put_u32(keys, "general.quantization_version", 2);
    if (tokenizer) dk_gguf_put_vocabulary(keys, &in->parts.vocabulary);
    else dk_gguf_put_text(keys, "tokenizer.ggml.model", "none");
    if (!tokenizer && config->eos >= 0) dk_gguf_put_u32(keys, "tokenizer.ggml.eos_token_id", (uint32_t)config->eos);
    dk_gguf_put_ends(keys, config, tokenizer ? in->parts.vocabulary.eos : config->eos, notes);
out:
    return rc;
}

static int32_t check(const char *path, dk_dtype dtype, dk_error *err)
{
    if (!dk_dtype_size(dtype) ? dtype != DK_Q8_0 && dtype != DK_Q4_0 && dtype != DK_Q4_K
                              : dtype != DK_F32 && dtype != DK_F16 && dtype != DK_BF16)
        return dk_fail(err, DK_E_INVALID, "export: type %s is not written; f32, f16, bf16, q8_0, q4_0 and q4_k are",
                       dk_dtype_name(dtype));
    if (path && dk_path_exists(path))
        return dk_fail(err, DK_E_INVALID, "%s: is there already; give another path, or remove it first", path);
    return DK_OK;
}

int32_t dk_model_export_gguf(const dk_model *model, const dk_tokenizer *tokenizer, const char *chat_template,
                             const char *path, dk_dtype dtype, dk_strbuf *notes, dk_error *err)
{
    int32_t rc;
    exporter in = {.model = model, .dtype = dtype};
    dk_gguf_keys keys;
    dk_gguf_keys_init(&keys, model->host);
    DK_TRY(check(path, dtype, err));
    if (tokenizer)
        DK_TRY(dk_tokenizer_to_vocabulary(tokenizer, model->host, model->config.vocab_size, notes, &in.parts, err));
    if (tokenizer && chat_template) in.parts.vocabulary.chat_template = chat_template;
    if (in.parts.added)
        dk_note(notes, "the vocabulary has not the 256 byte tokens that llama.cpp asks for; they are added, with the "
                       "unknown token's rows");
    DK_TRY(list_tensors(&in, err));
    DK_TRY(put_keys(&in, tokenizer, &keys, notes, err));
    if (!dk_dtype_size(dtype)) {
        DK_TRY(note_others(&in, DK_Q5_0, notes, err));
        DK_TRY(note_others(&in, DK_F16, notes, err));
    }
    DK_TRY(dk_strbuf_check(notes, err));
    if (!path) goto out;
    DK_TRY(dk_stage_open(model->backend, &in.stage, err));
    DK_TRY(dk_new(model->host, 2 * DK_TENSOR_PIECE, &in.floats, err));
    const dk_gguf_args args = {.keys = &keys, .tensors = in.specs, .count = in.count, .fill = fill, .user = &in};
    DK_TRY(dk_gguf_write(model->host, path, &args, err));
out:
    free_laid(&in);
    dk_stage_close(&in.stage);
    dk_gguf_keys_free(&keys);
    dk_vocabulary_parts_free(&in.parts);
    dk_free(model->host, in.floats);
    dk_free(model->host, in.specs);
    dk_free(model->host, in.parameters);
    return rc;
}
