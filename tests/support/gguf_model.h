/* gguf_model.h - a model written as a GGUF file, as a converter writes it, with matrices of any type. */
#ifndef TESTS_SUPPORT_GGUF_MODEL_H
#define TESTS_SUPPORT_GGUF_MODEL_H

#include "base/random.h"
#include "compute/quant_blocks.h"
#include "model/architecture.h"
#include "test_files.h"

/* The values of a parameter that is not turned, by name; NULL = there is none. */
static inline float *values_of(const dk_model *model, const char *name)
{
    const dk_parameter *parameter = dk_model_find(model, name);
    dk_queue queue;
    dk_buffer *buffer = NULL;
    dk_error err = {0};
    if (!parameter) return NULL;
    int64_t count = dk_view_count(&parameter->value);
    float *out = malloc((size_t)count * sizeof *out);
    (void)dk_queue_open(&queue, model->backend, NULL);
    if (!out || model->backend->ops->buffer_create(model->backend, count * 4, &buffer, &err)) exit(3);
    dk_view flat = parameter->value;
    flat.rank = 1;
    flat.shape[0] = count;
    flat.stride[0] = 1;
    model->backend->ops->convert(&queue, flat, dk_view_1d(buffer, 0, DK_F32, count));
    model->backend->ops->copy_out(&queue, dk_view_1d(buffer, 0, DK_F32, count), out);
    CHECK_OK(dk_queue_wait(&queue, &err));
    model->backend->ops->buffer_free(model->backend, buffer);
    return out;
}

typedef struct gguf_args {
    uint32_t type;    /* of matrices, GGUF's code; of blocks it holds random ones, whatever the model's values are */
    dk_dtype widened; /* F32 with the values of such blocks of this dtype instead */
    int repeat_head, rope_freqs;
    const char *extra;  /* a tensor that nobody needs */
    uint32_t quantised; /* type of the first matrix, instead */
    uint32_t vectors;   /* said to be the type of vectors, which are F32 */
    struct {            /* more metadata, or other: a text, or a number of the given type; a list of count times it */
        const char *key, *text;
        uint32_t type;
        double number;
        uint64_t count;
    } keys[4];
    const char *missing; /* a metadata key that is left out */
} gguf_args;

static inline void gguf_more(test_bytes *out, const gguf_args *how)
{
    for (int i = 0; i < 4 && how->keys[i].key; i++)
        if (how->keys[i].count) {
            gguf_list(out, how->keys[i].key, how->keys[i].type, how->keys[i].count);
            for (uint64_t n = 0; n < how->keys[i].count; n++)
                if (how->keys[i].type == GGUF_TEXT) put_text(out, "t");
                else put_u32(out, (uint32_t)how->keys[i].number);
        } else if (how->keys[i].text) gguf_text(out, how->keys[i].key, how->keys[i].text);
        else if (how->keys[i].type == GGUF_F32) gguf_f32(out, how->keys[i].key, (float)how->keys[i].number);
        else if (how->keys[i].type == GGUF_BOOL) gguf_bool(out, how->keys[i].key, how->keys[i].number != 0);
        else gguf_u32(out, how->keys[i].key, (uint32_t)how->keys[i].number);
}

/* Random blocks; their scales of 16 bits are as small as a model's. */
static inline void random_blocks(dk_dtype dtype, uint64_t seed, int64_t values, uint8_t *out)
{
    static const struct {
        dk_dtype dtype;
        int32_t scale, least;
        double size;
    } scales[] = {{DK_Q4_0, 0, -1, 0.005},     {DK_Q4_1, 0, 2, 0.005},    {DK_Q5_0, 0, -1, 0.002},
                  {DK_Q5_1, 0, 2, 0.002},      {DK_Q8_0, 0, -1, 0.0003},  {DK_Q2_K, 80, 82, 0.001},
                  {DK_Q3_K, 108, -1, 0.0005},  {DK_Q4_K, 0, 2, 0.0001},   {DK_Q5_K, 0, 2, 0.00005},
                  {DK_Q6_K, 208, -1, 0.00002}, {DK_IQ4_NL, 0, -1, 0.0003}};
    const dk_dtype_info *type = dk_dtype_find(dtype);
    for (int64_t b = 0; b < values / type->block; b++) {
        uint8_t *block = out + b * type->bytes;
        for (int32_t i = 0; i < type->bytes; i++)
            block[i] = (uint8_t)(256 * dk_random_uniform(seed, DK_STREAM_TEST, (uint64_t)(b * 512 + i)));
        if (dtype == DK_MXFP4) block[0] = (uint8_t)(119 + block[0] % 3);
        for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
            double by = (0.5 + block[type->bytes - 3] / 256.0) * scales[s].size;
            uint16_t scale = dk_narrow_f16((float)by), least = dk_narrow_f16((float)(-7 * by));
            if (scales[s].dtype != dtype) continue;
            if (scales[s].least >= 0) memcpy(block + scales[s].least, type->block == 256 ? &scale : &least, 2);
            memcpy(block + scales[s].scale, &scale, 2);
        }
    }
}

static inline void gguf_blocks(dk_dtype dtype, int32_t widened, uint64_t seed, int64_t count, test_bytes *data)
{
    int64_t bytes = dk_dtype_bytes(dtype, count);
    uint8_t *blocks = malloc((size_t)bytes);
    float *values = malloc((size_t)count * sizeof *values);
    if (!blocks || !values) exit(3);
    random_blocks(dtype, seed, count, blocks);
    if (widened && !dk_blocks_widen(dtype, blocks, values, count)) exit(3);
    put_bytes(data, widened ? (void *)values : (void *)blocks, (size_t)(widened ? 4 * count : bytes));
    free(blocks);
    free(values);
}

static inline dk_dtype gguf_dtype(uint32_t code)
{
    static const struct {
        uint32_t code;
        dk_dtype dtype;
    } blocks[] = {{2, DK_Q4_0},  {3, DK_Q4_1},  {6, DK_Q5_0},  {7, DK_Q5_1},  {8, DK_Q8_0},    {10, DK_Q2_K},
                  {11, DK_Q3_K}, {12, DK_Q4_K}, {13, DK_Q5_K}, {14, DK_Q6_K}, {20, DK_IQ4_NL}, {39, DK_MXFP4}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i].code == code) return blocks[i].dtype;
    return code == 0 ? DK_F32 : code == 1 ? DK_F16 : DK_BF16;
}

static inline void gguf_values(const dk_model *model, int64_t index, uint32_t type, dk_dtype widened, test_bytes *data)
{
    dk_dtype blocks = widened ? widened : gguf_dtype(type);
    if (model->parameters[index].value.rank == 2 && !dk_dtype_size(blocks)) {
        gguf_blocks(blocks, widened != 0, (uint64_t)index, dk_view_count(&model->parameters[index].value), data);
        return;
    }
    const dk_architecture *row = dk_architecture_find(model->config.architecture);
    const dk_parameter *parameter = &model->parameters[index];
    const dk_slot *slot = NULL;
    char name[96];
    for (int32_t s = 0; s < row->slots->count && !slot; s++)
        for (int64_t layer = 0; layer < model->config.layers && !slot; layer++) {
            dk_slot_name(row->slots->at[s].name, layer, -1, name, sizeof name);
            if (!strcmp(name, parameter->name)) slot = &row->slots->at[s];
        }
    if (!slot) exit(3);
    float *values = values_of(model, parameter->name);
    int64_t rows = parameter->value.shape[0], columns = parameter->value.rank == 2 ? parameter->value.shape[1] : 1,
            dim = model->config.head_dim;
    int transposed = slot->layout == DK_GGUF_TRANSPOSED, rotated = slot->layout == DK_GGUF_ROTATED && row->gguf_rotated;
    for (int64_t i = 0; i < rows * columns; i++) {
        int64_t r = transposed ? i % rows : i / columns, c = transposed ? i / rows : i % columns;
        if (rotated) r = r / dim * dim + (r % dim) % 2 * (dim / 2) + (r % dim) / 2;
        float value = values[r * columns + c];
        uint16_t half = type == 1 ? dk_f32_to_f16(value) : dk_f32_to_bf16(value);
        if (type == 0 || columns == 1) put_f32(data, value);
        else put_bytes(data, &half, 2);
    }
    free(values);
}

static inline int gguf_is_said(const gguf_args *how, const char *key)
{
    for (int i = 0; i < 4 && how->keys[i].key; i++)
        if (!strcmp(how->keys[i].key, key)) return 1;
    return how->missing && !strcmp(how->missing, key);
}

/* How many there are. */
static inline uint64_t gguf_metadata(const dk_model *model, const gguf_args *how, test_bytes *out)
{
    uint64_t count = 1;
    const dk_config *c = &model->config;
    const dk_architecture *row = dk_architecture_find(c->architecture);
    char key[96];
    struct {
        const char *suffix;
        int64_t value;
    } sizes[] = {{"context_length", c->max_positions},
                 {"embedding_length", c->hidden_size},
                 {"block_count", c->layers},
                 {"feed_forward_length", c->intermediate_size},
                 {"attention.head_count", c->heads},
                 {"attention.head_count_kv", c->kv_heads},
                 {"attention.key_length", c->head_dim},
                 {"attention.value_length", c->head_dim},
                 {"attention.sliding_window", strcmp(c->architecture, "mistral") ? 0 : c->window[0]}};
    gguf_text(out, "general.architecture", row->gguf);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(key, sizeof key, "%s.%s", row->gguf, sizes[i].suffix);
        if (gguf_is_said(how, key)) continue;
        gguf_u32(out, key, (uint32_t)sizes[i].value);
        count++;
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_%sepsilon", row->gguf, c->norm == DK_NORM_RMS ? "rms_" : "");
    if (gguf_is_said(how, key)) return count;
    gguf_f32(out, key, (float)c->norm_epsilon);
    return count + 1;
}

static inline test_bytes gguf_of(const dk_model *model, const gguf_args *how)
{
    const dk_architecture *row = dk_architecture_find(model->config.architecture);
    test_bytes out = {0}, data = {0}, metadata = {0};
    int64_t head_dim_half[1] = {model->config.head_dim / 2};
    uint64_t keys = gguf_metadata(model, how, &metadata);
    for (int i = 0; i < 4; i++) keys += how->keys[i].key != NULL;
    gguf_more(&metadata, how);
    gguf_begin(&out, 3, (uint64_t)(model->parameter_count + how->repeat_head + how->rope_freqs + (how->extra ? 1 : 0)),
               keys);
    put_bytes(&out, metadata.data, metadata.size);
    free_bytes(&metadata);
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const dk_parameter *parameter = &model->parameters[i];
        uint32_t rank = (uint32_t)parameter->value.rank, type = rank == 2 ? how->type : how->vectors;
        int64_t shape[2] = {parameter->value.shape[0], parameter->value.shape[1]};
        for (int32_t s = 0; s < row->slots->count; s++)
            for (int64_t layer = 0; layer < model->config.layers; layer++) {
                char name[96], gguf[96];
                dk_slot_name(row->slots->at[s].name, layer, -1, name, sizeof name);
                dk_slot_name(row->slots->at[s].gguf, layer, -1, gguf, sizeof gguf);
                if (strcmp(name, parameter->name)) continue;
                if (row->slots->at[s].layout == DK_GGUF_TRANSPOSED)
                    shape[0] = parameter->value.shape[1], shape[1] = parameter->value.shape[0];
                gguf_tensor(&out, gguf, rank, shape,
                            parameter == model->embedding && how->quantised ? how->quantised : type, data.size);
                layer = model->config.layers;
                s = row->slots->count;
            }
        gguf_values(model, i, type, how->widened, &data);
        gguf_align(&data, 32);
    }
    if (how->repeat_head) {
        gguf_tensor(&out, "output.weight", 2, model->embedding->value.shape, how->type, data.size);
        gguf_values(model, model->embedding - model->parameters, how->type, how->widened, &data);
        gguf_align(&data, 32);
    }
    if (how->rope_freqs) {
        gguf_tensor(&out, "rope_freqs.weight", 1, head_dim_half, 0, data.size);
        for (int64_t i = 0; i < head_dim_half[0]; i++) put_f32(&data, i ? 8.0f : 1.0f);
        gguf_align(&data, 32);
    }
    if (how->extra) {
        gguf_tensor(&out, how->extra, 1, (const int64_t[]){1}, 0, data.size);
        put_f32(&data, 1);
    }
    gguf_align(&out, 32);
    put_bytes(&out, data.data, data.size);
    free_bytes(&data);
    return out;
}

#endif
