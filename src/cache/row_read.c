#include <math.h>

#include "compute/half.h"
#include "cache/cache_rows.h"
#include "cache/row_code.h"

void di_row_powers(const di_cache_header *header, float powers[DI_ROW_POWERS])
{
    for (int u = 0; u < DI_ROW_POWERS; u++) powers[u] = (float)exp(-(double)u / header->step);
}

int32_t di_row_reader_begin(di_row_reader *reader, const di_cache_header *header, const float *powers, const void *data,
                            size_t size, int64_t rows, dk_error *err)
{
    const int32_t sparse = header->tier == DI_TIER_TOP_K || header->tier == DI_TIER_SAMPLED;
    const uint64_t row = (uint64_t)header->width * header->bits / 8;
    *reader = (di_row_reader){header, powers, data, size, rows, 0, {data, size, 0, (uint64_t)size * 8}};
    if (sparse ? rows > 0 : rows > 0 && row * (uint64_t)rows == size) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "a record has %llu bytes for %lld rows of width %u", (unsigned long long)size,
                   (long long)rows, (unsigned)header->width);
}

static int32_t refuse(const di_row_reader *reader, dk_error *err)
{
    return dk_fail(err, DK_E_FORMAT, "row %lld of a record is not as tier %s has it", (long long)reader->row,
                   di_tier_name(reader->header->tier));
}

static int32_t get_ids(di_row_reader *reader, int32_t *ids, int64_t count)
{
    const int kind = (int)di_bits_get(&reader->bits, 1), parameter = (int)di_bits_get(&reader->bits, 5);
    const int64_t valid = reader->header->vocab_valid;
    di_bit_reader bits = reader->bits;
    int64_t id = -1, gap = 0;
    for (int64_t i = 0; i < count; i++) {
        gap = kind == DI_CODE_RICE ? di_code_get_rice(&bits, parameter) : di_code_get_exp_golomb(&bits, parameter);
        id += gap + 1;
        if (gap < 0 || id >= valid) return 0;
        ids[i] = (int32_t)id;
    }
    reader->bits = bits;
    return 1;
}

/* log of what the ids and the tail have, from the log-odds of the tail */
static void split_mass(uint64_t code, double *listed, double *tail)
{
    const double odds = ((double)code - DI_ROW_TAIL_ZERO) / DI_ROW_TAIL_STEP;
    *listed = code ? -(odds > 0 ? odds + log1p(exp(-odds)) : log1p(exp(odds))) : 0;
    *tail = code ? *listed + odds : -INFINITY;
}

static int32_t get_top_k(di_row_reader *reader, int32_t *ids, float *values, int64_t *count, float *tail)
{
    const float scale = -1.0f / (float)reader->header->step, *powers = reader->powers;
    int64_t n = (int64_t)di_bits_get(&reader->bits, di_row_count_bits(reader->header->width));
    const uint64_t code = di_bits_get(&reader->bits, DI_ROW_TAIL_BITS);
    double listed, rest, sum = 0;
    if (n > reader->header->width || !get_ids(reader, ids, n)) return 0;
    const int64_t largest = (int64_t)di_bits_get(&reader->bits, DI_ROW_LARGEST_BITS);
    const int parameter = (int)di_bits_get(&reader->bits, 4);
    di_bit_reader bits = reader->bits;
    for (int64_t i = 0; i < n; i++) {
        const int64_t below = di_code_get_rice(&bits, parameter);
        if (below < 0 || below > largest) return 0;
        sum += (double)powers[largest - below];
        values[i] = scale * (float)(largest - below);
    }
    reader->bits = bits;
    split_mass(code, &listed, &rest);
    if (n ? !(sum > 0) : !code) return 0;
    const float shift = n ? (float)(listed - log(sum)) : 0;
    for (int64_t i = 0; i < n; i++) values[i] += shift;
    *tail = n ? (float)rest : 0;
    *count = n;
    return 1;
}

static int32_t get_sampled(di_row_reader *reader, int32_t *ids, float *values, int64_t *count, float *entropy)
{
    if (reader->header->entropy)
        *entropy = (float)di_bits_get(&reader->bits, DI_ROW_ENTROPY_BITS) / DI_ROW_ENTROPY_STEP;
    const int64_t n = (int64_t)di_bits_get(&reader->bits, di_row_count_bits(reader->header->width));
    int64_t drawn = 0;
    if (n < 1 || n > reader->header->width || !get_ids(reader, ids, n)) return 0;
    const int parameter = (int)di_bits_get(&reader->bits, 4);
    for (int64_t i = 0; i < n; i++) {
        const int64_t more = di_code_get_rice(&reader->bits, parameter);
        if (more < 0) return 0;
        drawn += more + 1;
        values[i] = (float)(more + 1);
    }
    *count = n;
    return drawn == reader->header->width;
}

static void get_dense(const di_row_reader *reader, float *values)
{
    const size_t width = reader->header->width, size = reader->header->bits / 8;
    const uint8_t *at = reader->data + (size_t)reader->row * width * size;
    const int32_t full = reader->header->tier == DI_TIER_FULL;
    for (size_t i = 0; i < width; i++, at += size) {
        if (size == 4) values[i] = dk_float_from_bits((uint32_t)di_get(at, 4));
        else values[i] = full ? dk_widen_f16((uint16_t)di_get(at, 2)) : dk_widen_bf16((uint16_t)di_get(at, 2));
    }
}

static int32_t all_numbers(const di_row_reader *reader, const float *values)
{
    const int32_t full = reader->header->tier == DI_TIER_FULL;
    for (uint32_t i = 0; i < reader->header->width; i++)
        if (isnan(values[i]) || values[i] >= INFINITY || (!full && values[i] <= -INFINITY)) return 0;
    return 1;
}

int32_t di_row_get(di_row_reader *reader, int32_t *ids, float *values, int64_t *count, float *beside, dk_error *err)
{
    int32_t fine;
    *beside = -INFINITY;
    if (reader->row >= reader->rows) return dk_fail(err, DK_E_END, "a record has %lld rows", (long long)reader->rows);
    switch (reader->header->tier) {
    case DI_TIER_TOP_K:
        fine = get_top_k(reader, ids, values, count, beside);
        break;
    case DI_TIER_SAMPLED:
        fine = get_sampled(reader, ids, values, count, beside);
        break;
    default:
        get_dense(reader, values);
        *count = reader->header->width;
        fine = all_numbers(reader, values);
    }
    if (!fine || reader->bits.at > reader->bits.end) return refuse(reader, err);
    reader->row++;
    return DK_OK;
}

int32_t di_row_skip(di_row_reader *reader, int64_t rows, int32_t *ids, float *values, dk_error *err)
{
    int64_t count;
    float beside;
    int32_t rc = DK_OK;
    if (reader->header->bits) {
        if (rows > reader->rows - reader->row) return refuse(reader, err);
        reader->row += rows;
        return DK_OK;
    }
    for (int64_t i = 0; i < rows; i++) DK_TRY(di_row_get(reader, ids, values, &count, &beside, err));
out:
    return rc;
}
