#include <math.h>
#include <stdlib.h>

#include "compute/half.h"
#include "cache/cache_rows.h"
#include "cache/row_code.h"

typedef struct row_item {
    int32_t id;
    uint32_t value; /* top_k: steps below the largest; sampled: count - 1 */
} row_item;

struct di_row_writer {
    dk_host *host;
    di_cache_header header;
    row_item *items;   /* [width] */
    uint32_t *numbers; /* [width] */
    dk_strbuf bytes;
    di_bit_writer bits;
    int64_t rows;
    int32_t taken; /* what is there was handed out: the next put begins anew */
};

int32_t di_row_writer_create(dk_host *host, const di_cache_header *header, di_row_writer **out, dk_error *err)
{
    di_row_writer *writer = NULL;
    int32_t rc;
    DK_TRY(di_cache_header_check(header, "target cache", err));
    DK_TRY(dk_new(host, 1, &writer, err));
    writer->host = host;
    writer->header = *header;
    dk_strbuf_init(&writer->bytes, host);
    writer->bits.out = &writer->bytes;
    DK_TRY(dk_new(host, header->width, &writer->items, err));
    DK_TRY(dk_new(host, header->width, &writer->numbers, err));
out:
    if (rc) di_row_writer_free(writer);
    else *out = writer;
    return rc;
}

void di_row_writer_free(di_row_writer *writer)
{
    if (!writer) return;
    dk_strbuf_free(&writer->bytes);
    dk_free(writer->host, writer->items);
    dk_free(writer->host, writer->numbers);
    dk_free(writer->host, writer);
}

static int by_id(const void *a, const void *b)
{
    const int32_t x = ((const row_item *)a)->id, y = ((const row_item *)b)->id;
    return (x > y) - (x < y);
}

static int32_t refuse_value(int64_t place, double value, dk_error *err)
{
    char text[32];
    dk_format_f64(value, text);
    return dk_fail(err, DK_E_NUMERIC, "value %lld of a row is %s: a target cache keeps finite numbers",
                   (long long)place, text);
}

static int32_t refuse_half(int64_t place, double value, dk_error *err)
{
    return dk_fail(
        err, DK_E_NUMERIC,
        "value %lld of a row is %g, more than bf16 holds (3.39e38): keep rows in f32 (teacher.cache.precision)",
        (long long)place, value);
}

static int32_t check_ids(const di_row_writer *writer, int64_t count, dk_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        const int32_t id = writer->items[i].id;
        if (id >= writer->header.vocab_valid)
            return dk_fail(err, DK_E_INVALID, "id %d is outside the %lld ids that count", (int)id,
                           (long long)writer->header.vocab_valid);
        if (i && writer->items[i - 1].id == id) return dk_fail(err, DK_E_INVALID, "a row has id %d twice", (int)id);
    }
    return DK_OK;
}

static int32_t put_ids(di_row_writer *writer, int64_t count, dk_error *err)
{
    int kind, parameter;
    int32_t rc;
    qsort(writer->items, (size_t)count, sizeof *writer->items, by_id);
    DK_TRY(check_ids(writer, count, err));
    for (int64_t i = 0; i < count; i++)
        writer->numbers[i] = (uint32_t)(writer->items[i].id - (i ? writer->items[i - 1].id : -1) - 1);
    di_code_choose(writer->numbers, count, 2, DI_ROW_ID_PARAMETERS, &kind, &parameter);
    di_bits_put(&writer->bits, (uint64_t)kind, 1);
    di_bits_put(&writer->bits, (uint64_t)parameter, 5);
    for (int64_t i = 0; i < count; i++) di_code_put(&writer->bits, kind, parameter, writer->numbers[i]);
out:
    return rc;
}

static void put_values(di_row_writer *writer, int64_t count)
{
    int kind, parameter;
    di_code_choose(writer->numbers, count, 1, DI_ROW_VALUE_PARAMETERS, &kind, &parameter);
    di_bits_put(&writer->bits, (uint64_t)parameter, 4);
    for (int64_t i = 0; i < count; i++) di_code_put(&writer->bits, kind, parameter, writer->numbers[i]);
}

/* Steps below the largest; what is further away than codes reach is left to the tail. */
static int32_t keep_near(di_row_writer *writer, const int32_t *ids, const float *log_p, int64_t k, int64_t *count,
                         double *dropped, dk_error *err)
{
    double top = -INFINITY;
    *count = 0;
    *dropped = 0;
    for (int64_t j = 0; j < k; j++) {
        if (ids[j] < 0) continue;
        if (isnan(log_p[j]) || log_p[j] > 1e-3f) return refuse_value(j, (double)log_p[j], err);
        if ((double)log_p[j] > top) top = (double)log_p[j];
    }
    for (int64_t j = 0; j < k; j++) {
        if (ids[j] < 0 || !(log_p[j] > -INFINITY)) continue;
        const double below = floor((top - (double)log_p[j]) * writer->header.step + 0.5);
        if (below > DI_ROW_LARGEST || *count == writer->header.width) {
            *dropped += exp((double)log_p[j]);
            continue;
        }
        writer->items[(*count)++] = (row_item){ids[j], (uint32_t)below};
    }
    return DK_OK;
}

static uint64_t tail_code(const float *log_p, const int32_t *ids, int64_t k, double tail, double dropped)
{
    double listed = -dropped, mass = exp(tail) + dropped;
    for (int64_t j = 0; j < k; j++)
        if (ids[j] >= 0) listed += exp((double)log_p[j]);
    if (!(mass > 0)) return 0;
    if (!(listed > 0)) return 2 * DI_ROW_TAIL_ZERO - 1;
    const double code = floor(DI_ROW_TAIL_STEP * (log(mass) - log(listed)) + 0.5);
    return (uint64_t)(code < -32767 ? 1 : code > 32767 ? 65535 : code + DI_ROW_TAIL_ZERO);
}

static int32_t put_top_k(di_row_writer *writer, const int32_t *ids, const float *log_p, int64_t k, double tail,
                         dk_error *err)
{
    uint32_t largest = 0;
    int64_t count;
    double dropped;
    int32_t rc;
    if (isnan(tail) || tail > 1e-3) return refuse_value(-1, tail, err);
    DK_TRY(keep_near(writer, ids, log_p, k, &count, &dropped, err));
    di_bits_put(&writer->bits, (uint64_t)count, di_row_count_bits(writer->header.width));
    di_bits_put(&writer->bits, tail_code(log_p, ids, k, tail, dropped), DI_ROW_TAIL_BITS);
    DK_TRY(put_ids(writer, count, err));
    for (int64_t i = 0; i < count; i++)
        if (writer->items[i].value > largest) largest = writer->items[i].value;
    for (int64_t i = 0; i < count; i++) writer->numbers[i] = largest - writer->items[i].value;
    di_bits_put(&writer->bits, largest, DI_ROW_LARGEST_BITS);
    put_values(writer, count);
out:
    return rc;
}

static int32_t put_sampled(di_row_writer *writer, const int32_t *ids, const float *counts, int64_t k, double entropy,
                           dk_error *err)
{
    int64_t count = 0;
    double drawn = 0;
    int32_t rc;
    for (int64_t j = 0; j < k; j++) {
        const double n = (double)counts[j];
        if (ids[j] < 0 || (n >= 0 && n <= 0)) continue;
        drawn += n;
        if (!(n >= 1 && drawn <= writer->header.width) || floor(n) < n || count == writer->header.width)
            return dk_fail(err, DK_E_INVALID, "id %d of a row was not drawn a whole number of times, %u in all",
                           (int)ids[j], (unsigned)writer->header.width);
        writer->items[count++] = (row_item){ids[j], (uint32_t)n - 1};
    }
    if (drawn < writer->header.width)
        return dk_fail(err, DK_E_INVALID, "a row has %lld draws, the target cache has %u for each", (long long)drawn,
                       (unsigned)writer->header.width);
    const double steps = floor(entropy * DI_ROW_ENTROPY_STEP + 0.5);
    if (writer->header.entropy && !(steps >= 0 && steps < 1 << DI_ROW_ENTROPY_BITS))
        return refuse_value(-1, entropy, err);
    if (writer->header.entropy) di_bits_put(&writer->bits, (uint64_t)steps, DI_ROW_ENTROPY_BITS);
    di_bits_put(&writer->bits, (uint64_t)count, di_row_count_bits(writer->header.width));
    DK_TRY(put_ids(writer, count, err));
    for (int64_t i = 0; i < count; i++) writer->numbers[i] = writer->items[i].value;
    put_values(writer, count);
out:
    return rc;
}

static int32_t put_hidden(di_row_writer *writer, const float *values, dk_error *err)
{
    const uint32_t bits = writer->header.bits;
    uint8_t number[4];
    for (uint32_t i = 0; i < writer->header.width; i++) {
        const uint32_t half = dk_narrow_bf16(values[i]); /* which is infinite for the largest floats */
        if (!isfinite(values[i])) return refuse_value(i, (double)values[i], err);
        if (bits != 32 && (half & 0x7f80) == 0x7f80) return refuse_half(i, (double)values[i], err);
        di_put(number, bits == 32 ? dk_bits_from_float(values[i]) : half, (int)bits / 8);
        dk_strbuf_append(&writer->bytes, number, bits / 8);
    }
    return DK_OK;
}

/* Below the largest; padding as -inf, and no other value. */
static int32_t put_full(di_row_writer *writer, const float *logits, dk_error *err)
{
    const int64_t valid = writer->header.vocab_valid;
    float top = -INFINITY;
    uint8_t number[2];
    for (int64_t i = 0; i < valid; i++) {
        if (isnan(logits[i]) || logits[i] >= INFINITY) return refuse_value(i, (double)logits[i], err);
        if (logits[i] > top) top = logits[i];
    }
    if (!(top > -INFINITY)) return refuse_value(0, (double)top, err);
    for (int64_t i = 0; i < writer->header.vocab; i++) {
        const float below = i < valid ? logits[i] - top : -INFINITY;
        di_put(number, dk_narrow_f16(i < valid && below < -65504.0f ? -65504.0f : below), 2);
        dk_strbuf_append(&writer->bytes, number, 2);
    }
    return DK_OK;
}

int32_t di_row_put(di_row_writer *writer, const int32_t *ids, const float *values, int64_t k, double beside,
                   dk_error *err)
{
    int32_t rc;
    if (writer->taken) dk_strbuf_clear(&writer->bytes);
    writer->taken = 0;
    const di_bit_writer before = writer->bits;
    const size_t size = writer->bytes.size;
    switch (writer->header.tier) {
    case DI_TIER_TOP_K:
        rc = put_top_k(writer, ids, values, k, beside, err);
        break;
    case DI_TIER_SAMPLED:
        rc = put_sampled(writer, ids, values, k, beside, err);
        break;
    case DI_TIER_FULL:
        rc = put_full(writer, values, err);
        break;
    default:
        rc = put_hidden(writer, values, err);
    }
    if (!rc) rc = dk_strbuf_check(&writer->bytes, err);
    if (!rc) writer->rows++;
    else {
        writer->bits = before;
        if (!writer->bytes.failed) writer->bytes.size = size;
    }
    return rc;
}

int64_t di_row_writer_bytes(const di_row_writer *writer)
{
    return writer->taken ? 0 : (int64_t)writer->bytes.size + (writer->bits.held_bits > 0);
}

int32_t di_row_writer_take(di_row_writer *writer, const void **data, size_t *size, int64_t *rows, dk_error *err)
{
    int32_t rc;
    di_bits_end(&writer->bits);
    DK_TRY(dk_strbuf_check(&writer->bytes, err));
    *data = writer->bytes.data;
    *size = writer->bytes.size;
    *rows = writer->rows;
    writer->rows = 0;
    writer->taken = 1;
out:
    return rc;
}
