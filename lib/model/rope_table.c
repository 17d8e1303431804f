/* Rotary embeddings (Su et al. 2021) as a table of cos and sin, with the scalings of the field: linear
 * interpolation (Chen et al. 2023), Llama 3's bands, YaRN (Peng et al. 2023). Computed in double. */
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

static double amplitude(const dk_rope_config *rope)
{
    if (rope->kind != DK_ROPE_YARN) return 1;
    if (rope->attention_factor > 0) return rope->attention_factor;
    if (rope->mscale > 0 && rope->mscale_all_dim > 0)
        return yarn_mscale(rope->factor, rope->mscale) / yarn_mscale(rope->factor, rope->mscale_all_dim);
    return yarn_mscale(rope->factor, 1);
}

static double frequency_of(const dk_rope_config *rope, int64_t pair)
{
    double frequency = plain_frequency(rope, pair);
    switch (rope->kind) {
    case DK_ROPE_LINEAR:
        return frequency / rope->factor;
    case DK_ROPE_LLAMA3:
        return llama3_frequency(rope, frequency);
    case DK_ROPE_YARN:
        return yarn_frequency(rope, pair, frequency);
    case DK_ROPE_NONE:
    case DK_ROPE_PLAIN:
        break;
    }
    return frequency;
}

typedef struct table_work {
    const dk_rope_config *rope;
    dk_dtype dtype;
    double amplitude;
    void *table;
} table_work;

static void put(const table_work *work, int64_t at, double value)
{
    if (work->dtype == DK_F64) ((double *)work->table)[at] = value;
    else ((float *)work->table)[at] = (float)value;
}

static void fill_positions(void *context, int64_t begin, int64_t end)
{
    const table_work *work = context;
    int64_t pairs = work->rope->dims / 2;
    for (int64_t pair = 0; pair < pairs; pair++) {
        double frequency = frequency_of(work->rope, pair);
        for (int64_t position = begin; position < end; position++) {
            int64_t at = (position * pairs + pair) * 2;
            put(work, at, work->amplitude * cos((double)position * frequency));
            put(work, at + 1, work->amplitude * sin((double)position * frequency));
        }
    }
}

int64_t dk_rope_table_bytes(const dk_backend *backend, const dk_rope_config *rope, int64_t positions)
{
    return positions * (rope->dims / 2) * 2 * (int64_t)dk_dtype_size(backend->real);
}

int32_t dk_rope_table(dk_backend *backend, const dk_rope_config *rope, int64_t positions, dk_buffer **buffer,
                      dk_view *out, dk_error *err)
{
    int32_t rc;
    int64_t shape[3] = {positions, rope->dims / 2, 2}, bytes = dk_rope_table_bytes(backend, rope, positions);
    table_work work = {.rope = rope, .dtype = backend->real, .amplitude = amplitude(rope)};
    dk_queue queue = {0};
    work.table = dk_alloc(backend->host, (uint64_t)bytes, 1);
    if (!work.table) return dk_fail_nomem(err, (uint64_t)bytes);
    DK_TRY(backend->ops->buffer_create(backend, bytes, buffer, err));
    dk_parallel_for(backend->host, positions, 256, fill_positions, &work);
    *out = dk_view_make(*buffer, 0, backend->real, 3, shape);
    DK_TRY(dk_queue_open(&queue, backend, err));
    backend->ops->copy_in(&queue, *out, work.table);
    DK_TRY(dk_queue_wait(&queue, err));
out:
    dk_queue_close(&queue);
    dk_free(backend->host, work.table);
    return rc;
}
