/* Rotary embeddings (Su et al. 2021) as a table of cos and sin, with the scalings of the field: linear
 * interpolation (Chen et al. 2023), Llama 3's bands, YaRN (Peng et al. 2023), LongRoPE (Ding et al. 2024). Computed in
 * double. */
#include "model/pass_parts.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925286766559;

static double plain_frequency(const dk_rope_config *rope, int64_t pair)
{
    return pow(rope->theta, -2.0 * (double)pair / (double)rope->dims);
}

static double llama3_frequency(const dk_rope_config *rope, double frequency)
{
    double wavelength = two_pi / frequency, original = (double)rope->original_positions;
    if (wavelength < original / rope->high_freq_factor) return frequency;
    if (wavelength > original / rope->low_freq_factor) return frequency / rope->factor;
    double smooth = (original / wavelength - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * frequency / rope->factor + smooth * frequency;
}

double dk_llama3_divisor(const dk_rope_config *rope, int64_t pair)
{
    double frequency = plain_frequency(rope, pair);
    return frequency / llama3_frequency(rope, frequency);
}

/* The pair that makes `rotations` full rotations within the original context. */
static double yarn_pair(const dk_rope_config *rope, double rotations)
{
    return (double)rope->dims * log((double)rope->original_positions / (rotations * two_pi)) / (2 * log(rope->theta));
}

static double yarn_frequency(const dk_rope_config *rope, int64_t pair, double frequency)
{
    double low = yarn_pair(rope, rope->beta_fast), high = yarn_pair(rope, rope->beta_slow);
    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, (double)rope->dims - 1);
    if (low == high) high += 0.001;
    double ramp = fmin(fmax(((double)pair - low) / (high - low), 0), 1);
    return frequency / rope->factor * ramp + frequency * (1 - ramp);
}

static double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

/* Frequencies of longrope change with the length of a text, so its table has two parts: for texts up to the original
 * length, and for longer ones. */
static int64_t short_rows(const dk_rope_config *rope, int64_t positions)
{
    return rope->kind == DK_ROPE_LONG && positions > rope->original_positions ? rope->original_positions : 0;
}

int64_t dk_rope_shift(const dk_rope_config *rope, int64_t length) { return short_rows(rope, length); }

static double long_amplitude(const dk_rope_config *rope)
{
    if (rope->attention_factor > 0) return rope->attention_factor;
    return rope->factor <= 1 ? 1 : sqrt(1 + log(rope->factor) / log((double)rope->original_positions));
}

static double amplitude(const dk_rope_config *rope)
{
    if (rope->kind == DK_ROPE_LONG) return long_amplitude(rope);
    if (rope->kind != DK_ROPE_YARN) return 1;
    if (rope->attention_factor > 0) return rope->attention_factor;
    if (rope->mscale > 0 && rope->mscale_all_dim > 0)
        return yarn_mscale(rope->factor, rope->mscale) / yarn_mscale(rope->factor, rope->mscale_all_dim);
    return yarn_mscale(rope->factor, 1);
}

static double frequency_of(const dk_rope_config *rope, int64_t pair, int32_t is_long)
{
    double frequency = plain_frequency(rope, pair);
    switch (rope->kind) {
    case DK_ROPE_LINEAR:
        return frequency / rope->factor;
    case DK_ROPE_LLAMA3:
        return llama3_frequency(rope, frequency);
    case DK_ROPE_YARN:
        return yarn_frequency(rope, pair, frequency);
    case DK_ROPE_LONG:
        return frequency / (is_long ? rope->long_factors : rope->short_factors)[pair];
    case DK_ROPE_NONE:
    case DK_ROPE_PLAIN:
    case DK_ROPE_DYNAMIC:
        break;
    }
    return frequency;
}

typedef struct table_work {
    const dk_rope_config *rope;
    dk_dtype dtype;
    int64_t short_rows;
    double amplitude;
    int32_t of_queries;
    void *table;
} table_work;

static void put(const table_work *work, int64_t at, double value)
{
    if (work->dtype == DK_F64) ((double *)work->table)[at] = value;
    else ((float *)work->table)[at] = (float)value;
}

/* Scaled as Llama 4 scales its queries, in front of the rotation, which is the same as behind it. */
static double size_of(const table_work *work, int64_t position)
{
    double lengths = floor((double)position / (double)work->rope->original_positions);
    return work->of_queries ? work->amplitude * (1 + work->rope->query_scale * log(1 + lengths)) : work->amplitude;
}

static void fill_rows(void *context, int64_t begin, int64_t end)
{
    const table_work *work = context;
    int64_t pairs = work->rope->dims / 2;
    for (int64_t pair = 0; pair < pairs; pair++) {
        double near = frequency_of(work->rope, pair, 0), far = frequency_of(work->rope, pair, 1);
        for (int64_t row = begin; row < end; row++) {
            int64_t at = (row * pairs + pair) * 2, position = row < work->short_rows ? row : row - work->short_rows;
            double frequency = work->short_rows && row >= work->short_rows ? far : near;
            double size = size_of(work, position);
            put(work, at, size * cos((double)position * frequency));
            put(work, at + 1, size * sin((double)position * frequency));
        }
    }
}

static int64_t table_rows(const dk_rope_config *rope, int64_t positions)
{
    return short_rows(rope, positions) + positions;
}

int64_t dk_rope_table_bytes(const dk_backend *backend, const dk_rope_config *rope, int64_t positions)
{
    return table_rows(rope, positions) * (rope->dims / 2) * 2 * (int64_t)dk_dtype_size(backend->real);
}

int32_t dk_rope_table(dk_backend *backend, const dk_rope_config *rope, int64_t positions, int32_t of_queries,
                      dk_buffer **buffer, dk_view *out, dk_error *err)
{
    int32_t rc;
    int64_t rows = table_rows(rope, positions), bytes = dk_rope_table_bytes(backend, rope, positions);
    const int64_t shape[3] = {rows, rope->dims / 2, 2};
    table_work work = {.rope = rope,
                       .dtype = backend->real,
                       .short_rows = short_rows(rope, positions),
                       .amplitude = amplitude(rope),
                       .of_queries = of_queries};
    dk_queue queue = {0};
    work.table = dk_alloc(backend->host, (uint64_t)bytes, 1);
    if (!work.table) return dk_fail_nomem(err, (uint64_t)bytes);
    DK_TRY(backend->ops->buffer_create(backend, bytes, buffer, err));
    dk_parallel_for(backend->host, rows, 256, fill_rows, &work);
    *out = dk_view_make(*buffer, 0, backend->real, 3, shape);
    DK_TRY(dk_queue_open(&queue, backend, err));
    backend->ops->copy_in(&queue, *out, work.table);
    DK_TRY(dk_queue_wait(&queue, err));
out:
    dk_queue_close(&queue);
    dk_free(backend->host, work.table);
    return rc;
}

/* ---- all tables of a model ---- */
static int32_t scales_queries(const dk_config *config) { return config->rope.query_scale > 0; }

int64_t dk_rotation_bytes(const dk_backend *backend, const dk_config *config, int64_t positions)
{
    if (config->rope.kind == DK_ROPE_NONE) return 0;
    int64_t bytes = dk_rope_table_bytes(backend, &config->rope, positions) * (1 + scales_queries(config));
    if (config->local_rope.kind == DK_ROPE_NONE) return bytes;
    return bytes + dk_rope_table_bytes(backend, &config->local_rope, positions);
}

int32_t dk_rotation_create(dk_backend *backend, const dk_config *config, int64_t positions, dk_rotation *out,
                           dk_error *err)
{
    int32_t rc = DK_OK;
    if (config->rope.kind == DK_ROPE_NONE) return DK_OK;
    DK_TRY(dk_rope_table(backend, &config->rope, positions, 0, &out->buffers[0], &out->keys, err));
    out->queries = out->keys;
    if (scales_queries(config))
        DK_TRY(dk_rope_table(backend, &config->rope, positions, 1, &out->buffers[1], &out->queries, err));
    if (config->local_rope.kind != DK_ROPE_NONE)
        DK_TRY(dk_rope_table(backend, &config->local_rope, positions, 0, &out->buffers[2], &out->local, err));
out:
    return rc;
}

void dk_rotation_free(dk_backend *backend, dk_rotation *rotation)
{
    for (size_t i = 0; i < sizeof rotation->buffers / sizeof *rotation->buffers; i++)
        if (rotation->buffers[i]) backend->ops->buffer_free(backend, rotation->buffers[i]);
    *rotation = (dk_rotation){0};
}
