#include "format/gguf_write.h"

#include <string.h>

#include "format/format_parts.h"

enum { VERSION = 3, ALIGNMENT = 32 }; /* the default, which needs no key */

/* ---- metadata; hosts are little-endian as files are ---- */
static void put_u64(dk_strbuf *out, uint64_t value) { dk_strbuf_append(out, &value, sizeof value); }

static void put_u32(dk_strbuf *out, uint32_t value) { dk_strbuf_append(out, &value, sizeof value); }

static void put_slice(dk_strbuf *out, const char *text, size_t size)
{
    put_u64(out, size);
    dk_strbuf_append(out, text, size);
}

void dk_gguf_keys_init(dk_gguf_keys *keys, dk_host *host)
{
    dk_strbuf_init(&keys->bytes, host);
    keys->count = 0;
}

void dk_gguf_keys_free(dk_gguf_keys *keys) { dk_strbuf_free(&keys->bytes); }

static dk_strbuf *begin_key(dk_gguf_keys *keys, const char *key, uint32_t type)
{
    keys->count++;
    put_slice(&keys->bytes, key, strlen(key));
    put_u32(&keys->bytes, type);
    return &keys->bytes;
}

static dk_strbuf *begin_list(dk_gguf_keys *keys, const char *key, uint32_t type, int64_t count)
{
    dk_strbuf *out = begin_key(keys, key, DK_GGUF_LIST);
    put_u32(out, type);
    put_u64(out, (uint64_t)count);
    return out;
}

void dk_gguf_put_u32(dk_gguf_keys *keys, const char *key, uint32_t value)
{
    put_u32(begin_key(keys, key, DK_GGUF_U32), value);
}

void dk_gguf_put_f32(dk_gguf_keys *keys, const char *key, float value)
{
    dk_strbuf_append(begin_key(keys, key, DK_GGUF_F32), &value, sizeof value);
}

void dk_gguf_put_bool(dk_gguf_keys *keys, const char *key, int32_t value)
{
    const uint8_t byte = value != 0;
    dk_strbuf_append(begin_key(keys, key, DK_GGUF_BOOL), &byte, 1);
}

void dk_gguf_put_text(dk_gguf_keys *keys, const char *key, const char *text)
{
    put_slice(begin_key(keys, key, DK_GGUF_TEXT), text, strlen(text));
}

void dk_gguf_put_texts(dk_gguf_keys *keys, const char *key, const dk_slice *texts, int64_t count)
{
    dk_strbuf *out = begin_list(keys, key, DK_GGUF_TEXT, count);
    for (int64_t i = 0; i < count; i++) put_slice(out, texts[i].data, texts[i].size);
}

void dk_gguf_put_f32s(dk_gguf_keys *keys, const char *key, const float *values, int64_t count)
{
    dk_strbuf_append(begin_list(keys, key, DK_GGUF_F32, count), values, (size_t)count * sizeof *values);
}

void dk_gguf_put_i32s(dk_gguf_keys *keys, const char *key, const int32_t *values, int64_t count)
{
    dk_strbuf_append(begin_list(keys, key, DK_GGUF_I32, count), values, (size_t)count * sizeof *values);
}

static void put_id(dk_gguf_keys *keys, const char *key, int64_t id)
{
    if (id >= 0) dk_gguf_put_u32(keys, key, (uint32_t)id);
}

void dk_gguf_put_vocabulary(dk_gguf_keys *keys, const dk_vocabulary *v)
{
    dk_gguf_put_text(keys, "tokenizer.ggml.model", v->model);
    if (v->pre) dk_gguf_put_text(keys, "tokenizer.ggml.pre", v->pre);
    dk_gguf_put_texts(keys, "tokenizer.ggml.tokens", v->tokens, v->count);
    if (v->scores) dk_gguf_put_f32s(keys, "tokenizer.ggml.scores", v->scores, v->count);
    dk_gguf_put_i32s(keys, "tokenizer.ggml.token_type", v->types, v->count);
    if (v->merges) dk_gguf_put_texts(keys, "tokenizer.ggml.merges", v->merges, v->merge_count);
    put_id(keys, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(keys, "tokenizer.ggml.eos_token_id", v->eos);
    put_id(keys, "tokenizer.ggml.unknown_token_id", v->unk);
    put_id(keys, "tokenizer.ggml.padding_token_id", v->pad);
    dk_gguf_put_bool(keys, "tokenizer.ggml.add_bos_token", v->add_bos);
    dk_gguf_put_bool(keys, "tokenizer.ggml.add_eos_token", v->add_eos);
    if (v->add_space_prefix >= 0) dk_gguf_put_bool(keys, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
    if (v->remove_extra_whitespaces >= 0)
        dk_gguf_put_bool(keys, "tokenizer.ggml.remove_extra_whitespaces", v->remove_extra_whitespaces);
    if (v->charsmap.size)
        dk_strbuf_append(begin_list(keys, "tokenizer.ggml.precompiled_charsmap", DK_GGUF_U8, (int64_t)v->charsmap.size),
                         v->charsmap.data, v->charsmap.size);
    if (v->chat_template) dk_gguf_put_text(keys, "tokenizer.chat_template", v->chat_template);
}

/* ---- tensors ---- */
typedef struct job {
    dk_host *host;
    const dk_gguf_args *args;
    dk_writer *writer;
    uint8_t *piece;
} job;

static uint64_t aligned(uint64_t at) { return (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static int32_t bytes_of(const dk_tensor_spec *spec, uint64_t *out, dk_error *err)
{
    dk_tensor tensor = {
        .name = spec->name, .dtype = spec->dtype, .type_name = dk_dtype_name(spec->dtype), .rank = spec->rank};
    memcpy(tensor.shape, spec->shape, sizeof tensor.shape);
    return dk_tensor_bytes("GGUF", &tensor, out, err);
}

static int32_t put_descriptions(const dk_gguf_args *args, dk_strbuf *out, dk_error *err)
{
    uint64_t at = 0, bytes = 0;
    for (int64_t i = 0; i < args->count; i++) {
        const dk_tensor_spec *spec = &args->tensors[i];
        const dk_gguf_type *type = dk_gguf_type_of(spec->dtype);
        if (!type)
            return dk_fail(err, DK_E_INTERNAL, "GGUF: tensor '%s' is %s, which has no code", spec->name,
                           dk_dtype_name(spec->dtype));
        int32_t rc = bytes_of(spec, &bytes, err);
        if (rc) return rc;
        put_slice(out, spec->name, strlen(spec->name));
        put_u32(out, (uint32_t)spec->rank);
        for (int32_t d = spec->rank - 1; d >= 0; d--) put_u64(out, (uint64_t)spec->shape[d]);
        put_u32(out, (uint32_t)type->code);
        put_u64(out, at);
        at = aligned(at + bytes);
    }
    return DK_OK;
}

static int32_t pad(const job *work, dk_error *err)
{
    static const uint8_t zeros[ALIGNMENT];
    uint64_t at = (uint64_t)dk_writer_tell(work->writer);
    return dk_writer_write(work->writer, zeros, aligned(at) - at, err);
}

static int32_t write_beginning(const job *work, dk_error *err)
{
    int32_t rc;
    const dk_gguf_args *args = work->args;
    dk_strbuf head, tensors;
    dk_strbuf_init(&head, work->host);
    dk_strbuf_init(&tensors, work->host);
    dk_strbuf_append(&head, "GGUF", 4);
    put_u32(&head, VERSION);
    put_u64(&head, (uint64_t)args->count);
    put_u64(&head, args->keys->count);
    DK_TRY(put_descriptions(args, &tensors, err));
    DK_TRY(dk_strbuf_check(&head, err));
    DK_TRY(dk_strbuf_check(&args->keys->bytes, err));
    DK_TRY(dk_strbuf_check(&tensors, err));
    DK_TRY(dk_writer_write(work->writer, head.data, head.size, err));
    DK_TRY(dk_writer_write(work->writer, args->keys->bytes.data, args->keys->bytes.size, err));
    DK_TRY(dk_writer_write(work->writer, tensors.data, tensors.size, err));
    DK_TRY(pad(work, err));
out:
    dk_strbuf_free(&head);
    dk_strbuf_free(&tensors);
    return rc;
}

static int32_t write_tensor(const job *work, int64_t index, dk_error *err)
{
    int32_t rc;
    uint64_t bytes = 0, unit = (uint64_t)dk_dtype_bytes(work->args->tensors[index].dtype, DK_GGUF_UNIT);
    uint64_t most = DK_TENSOR_PIECE / unit * unit;
    DK_TRY(bytes_of(&work->args->tensors[index], &bytes, err));
    for (uint64_t at = 0; at < bytes;) {
        uint64_t size = bytes - at < most ? bytes - at : most;
        DK_TRY(work->args->fill(work->args->user, index, at, work->piece, size, err));
        DK_TRY(dk_writer_write(work->writer, work->piece, size, err));
        at += size;
    }
    DK_TRY(pad(work, err));
out:
    return rc;
}

int32_t dk_gguf_write(dk_host *host, const char *path, const dk_gguf_args *args, dk_error *err)
{
    int32_t rc;
    job work = {.host = host, .args = args};
    DK_TRY(dk_new(host, DK_TENSOR_PIECE, &work.piece, err));
    DK_TRY(dk_writer_open(host, path, &work.writer, err));
    DK_TRY(write_beginning(&work, err));
    for (int64_t i = 0; i < args->count; i++) DK_TRY(write_tensor(&work, i, err));
    dk_writer *finished = work.writer;
    work.writer = NULL;
    DK_TRY(dk_writer_commit(finished, err));
out:
    dk_writer_abort(work.writer);
    dk_free(host, work.piece);
    return rc;
}
