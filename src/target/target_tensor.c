#include "target/target.h"

#include "compute/half.h"

#include <string.h>

typedef double (*reader)(const uint8_t *at);

static double read_f32(const uint8_t *at)
{
    float value;
    memcpy(&value, at, sizeof value);
    return (double)value;
}

static double read_f64(const uint8_t *at)
{
    double value;
    memcpy(&value, at, sizeof value);
    return value;
}

static double read_f16(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return (double)dk_f16_to_f32(bits);
}

static double read_bf16(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return (double)dk_bf16_to_f32(bits);
}

static reader reader_of(const distill_tensor *tensor)
{
    if (tensor->dtype_code == DISTILL_BFLOAT) return read_bf16;
    return tensor->dtype_bits == 64 ? read_f64 : tensor->dtype_bits == 16 ? read_f16 : read_f32;
}

static int64_t row_stride(const distill_tensor *tensor)
{
    if (tensor->strides) return tensor->strides[0];
    return tensor->ndim == 2 ? tensor->shape[1] : 1;
}

static int64_t column_stride(const distill_tensor *tensor)
{
    if (tensor->ndim != 2) return 1;
    return tensor->strides ? tensor->strides[1] : 1;
}

static int64_t width_of(const distill_tensor *tensor) { return tensor->ndim == 2 ? tensor->shape[1] : 1; }

static uint8_t *row_at(const distill_tensor *tensor, int64_t row)
{
    return (uint8_t *)tensor->data + tensor->byte_offset + row * row_stride(tensor) * (tensor->dtype_bits / 8);
}

void di_tensor_read_rows(const distill_tensor *tensor, int64_t first, int64_t count, float *out)
{
    const int64_t width = width_of(tensor), step = column_stride(tensor), size = tensor->dtype_bits / 8;
    const reader read = reader_of(tensor);
    for (int64_t i = 0; i < count; i++, out += width) {
        const uint8_t *row = row_at(tensor, first + i);
        if (read == read_f32 && step == 1) {
            memcpy(out, row, (size_t)width * sizeof *out);
            continue;
        }
        for (int64_t j = 0; j < width; j++) out[j] = (float)read(row + j * step * size);
    }
}

int32_t di_tensor_read_ids(const distill_tensor *tensor, const char *name, int64_t first, int64_t count, int32_t *out,
                           dk_error *err)
{
    const int64_t width = width_of(tensor), step = column_stride(tensor), size = tensor->dtype_bits / 8;
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *row = row_at(tensor, first + i);
        for (int64_t j = 0; j < width; j++, out++) {
            int64_t value;
            if (size == 4) {
                memcpy(out, row + j * step * size, sizeof *out);
                continue;
            }
            memcpy(&value, row + j * step * size, sizeof value);
            if (value > INT32_MAX)
                return dk_fail(err, DK_E_INVALID, "%s: entry %lld of row %lld is %lld, more than an id can be", name,
                               (long long)j, (long long)(first + i), (long long)value);
            *out = value < 0 ? -1 : (int32_t)value;
        }
    }
    return DK_OK;
}

void di_tensor_write_rows(const distill_tensor *tensor, int64_t first, int64_t count, const float *rows, int32_t add)
{
    const int64_t width = width_of(tensor), step = column_stride(tensor);
    for (int64_t i = 0; i < count; i++, rows += width) {
        float *row = (float *)(void *)row_at(tensor, first + i);
        if (add)
            for (int64_t j = 0; j < width; j++) row[j * step] += rows[j];
        else
            for (int64_t j = 0; j < width; j++) row[j * step] = rows[j];
    }
}

void di_tensor_zero(const distill_tensor *tensor, int64_t first, int64_t count)
{
    const int64_t width = width_of(tensor), step = column_stride(tensor);
    for (int64_t i = first; i < first + count; i++) {
        float *row = (float *)(void *)row_at(tensor, i);
        for (int64_t j = 0; j < width; j++) row[j * step] = 0;
    }
}

/* The exponent of what is not finite is all ones. */
static inline int32_t row_is_finite(const float *row, int64_t width, int64_t step)
{
    uint32_t seen = 0;
    for (int64_t j = 0; j < width; j++) seen |= (dk_bits_from_float(row[j * step]) & 0x7f800000u) + 0x00800000u;
    return !(seen & 0x80000000u);
}

int64_t di_tensor_not_finite(const distill_tensor *tensor, int64_t first, int64_t count)
{
    const int64_t width = width_of(tensor), step = column_stride(tensor);
    for (int64_t i = first; i < first + count; i++) {
        const float *row = (const float *)(const void *)row_at(tensor, i);
        if (step == 1 ? !row_is_finite(row, width, 1) : !row_is_finite(row, width, step)) return i;
    }
    return -1;
}

distill_tensor di_tensor_of(void *data, int32_t code, int32_t bits, int32_t ndim, const int64_t *shape)
{
    distill_tensor tensor = {0};
    tensor.data = data;
    tensor.device_type = DISTILL_CPU;
    tensor.ndim = ndim;
    tensor.dtype_code = (uint8_t)code;
    tensor.dtype_bits = (uint8_t)bits;
    tensor.dtype_lanes = 1;
    tensor.shape = shape;
    return tensor;
}
