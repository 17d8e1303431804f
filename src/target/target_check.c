#include "target/target.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"", "DENSE", "TOPK", "SAMPLED", "HIDDEN", "ONE_HOT"};

const char *di_kind_name(int32_t kind)
{
    return kind >= DISTILL_DENSE && kind <= DISTILL_ONE_HOT ? kind_names[kind] : "unknown";
}

void di_kind_names(int64_t bits, dk_strbuf *out)
{
    const char *separator = "";
    for (int32_t kind = DISTILL_DENSE; kind <= DISTILL_ONE_HOT; kind++) {
        if (!(bits & (int64_t)1 << kind)) continue;
        dk_strbuf_printf(out, "%s%s", separator, kind_names[kind]);
        separator = ", ";
    }
}

int32_t di_check_struct(const void *structure, const char *name, size_t least, dk_error *err)
{
    uint32_t size;
    if (!structure) return dk_fail(err, DK_E_INVALID, "%s is NULL", name);
    memcpy(&size, structure, sizeof size);
    if (size < least)
        return dk_fail(err, DK_E_INVALID, "%s has struct_size %u, not at least %zu; set it with DISTILL_INIT", name,
                       (unsigned)size, least);
    return DK_OK;
}

int32_t di_take_batch(const distill_batch *given, const char *name, distill_batch *out, dk_error *err)
{
    const size_t least = offsetof(distill_batch, row_count) + sizeof given->row_count;
    const int32_t rc = di_check_struct(given, name, least, err);
    if (rc) return rc;
    DISTILL_INIT(out);
    memcpy(out, given, given->struct_size < sizeof *out ? given->struct_size : sizeof *out);
    out->struct_size = sizeof *out;
    return DK_OK;
}

/* ---- tensors ---- */

enum { FLOATS = 1, F32_ONLY = 2, IDS = 3 };

static int32_t check_dtype(const distill_tensor *tensor, const char *name, int32_t what, dk_error *err)
{
    const int32_t code = tensor->dtype_code, bits = tensor->dtype_bits;
    const char *wanted = what == FLOATS ? "fp32, fp16, bf16 or fp64" : what == F32_ONLY ? "fp32" : "int32 or int64";
    const int32_t fits = what == FLOATS ? (code == DISTILL_FLOAT && (bits == 16 || bits == 32 || bits == 64)) ||
                                              (code == DISTILL_BFLOAT && bits == 16)
                         : what == F32_ONLY ? code == DISTILL_FLOAT && bits == 32
                                            : code == DISTILL_INT && (bits == 32 || bits == 64);
    if (!fits || tensor->dtype_lanes != 1)
        return dk_fail(err, DK_E_INVALID, "%s has dtype code %d, %d bits, %d lanes; it must be %s with 1 lane", name,
                       (int)code, (int)bits, (int)tensor->dtype_lanes, wanted);
    return DK_OK;
}

static int32_t check_shape(const distill_tensor *tensor, const char *name, int32_t ndim, const int64_t *shape,
                           int64_t *elements, dk_error *err)
{
    if (tensor->ndim != ndim)
        return dk_fail(err, DK_E_INVALID, "%s has %d dimensions, not %d", name, (int)tensor->ndim, (int)ndim);
    if (!tensor->shape) return dk_fail(err, DK_E_INVALID, "%s has no shape", name);
    *elements = 1;
    for (int32_t i = 0; i < ndim; i++) {
        if (tensor->shape[i] < 0)
            return dk_fail(err, DK_E_INVALID, "%s: dimension %d is %lld", name, (int)i, (long long)tensor->shape[i]);
        if (shape && shape[i] >= 0 && tensor->shape[i] != shape[i])
            return dk_fail(err, DK_E_INVALID, "%s: dimension %d is %lld, not %lld", name, (int)i,
                           (long long)tensor->shape[i], (long long)shape[i]);
        if (*elements && tensor->shape[i] > INT64_MAX / 16 / *elements)
            return dk_fail(err, DK_E_INVALID, "%s is too large", name);
        *elements *= tensor->shape[i];
    }
    return DK_OK;
}

static int32_t check_strides(const distill_tensor *tensor, const char *name, int32_t writable, dk_error *err)
{
    if (!tensor->strides) return DK_OK;
    for (int32_t i = 0; i < tensor->ndim; i++) {
        const int64_t stride = tensor->strides[i], size = tensor->shape[i];
        if (writable && stride <= 0 && size > 1)
            return dk_fail(err, DK_E_INVALID, "%s: stride %d is %lld; outputs need positive ones", name, (int)i,
                           (long long)stride);
        if (size > 1 && (stride > INT64_MAX / 32 / size || stride < -(INT64_MAX / 32 / size)))
            return dk_fail(err, DK_E_INVALID, "%s: stride %d is %lld, which leaves the address space", name, (int)i,
                           (long long)stride);
    }
    return DK_OK;
}

static int32_t check_view(const distill_tensor *tensor, const char *name, int32_t ndim, const int64_t *shape,
                          int32_t what, int32_t writable, dk_error *err)
{
    int64_t elements = 0;
    int32_t rc;
    if (!tensor) return dk_fail(err, DK_E_INVALID, "%s is NULL", name);
    if (tensor->device_type != DISTILL_CPU)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s is on device type %d; only memory of the CPU (1) is taken", name,
                       (int)tensor->device_type);
    DK_TRY(check_dtype(tensor, name, what, err));
    DK_TRY(check_shape(tensor, name, ndim, shape, &elements, err));
    DK_TRY(check_strides(tensor, name, writable, err));
    if (elements && !tensor->data) rc = dk_fail(err, DK_E_INVALID, "%s has no data", name);
    else if (((uintptr_t)tensor->data + tensor->byte_offset) % (tensor->dtype_bits / 8u))
        rc = dk_fail(err, DK_E_INVALID, "%s is not aligned to its %d-byte elements", name, tensor->dtype_bits / 8);
out:
    return rc;
}

int32_t di_check_tensor(const distill_tensor *tensor, const char *name, int32_t ndim, const int64_t *shape,
                        int32_t writable, dk_error *err)
{
    return check_view(tensor, name, ndim, shape, writable ? F32_ONLY : FLOATS, writable, err);
}

int32_t di_check_ids(const distill_tensor *tensor, const char *name, int32_t ndim, const int64_t *shape, dk_error *err)
{
    return check_view(tensor, name, ndim, shape, IDS, 0, err);
}

/* ---- batches ---- */

static int32_t check_offsets(const distill_batch *batch, dk_error *err)
{
    if (batch->sequences < 0) return dk_fail(err, DK_E_INVALID, "batch.sequences is %lld", (long long)batch->sequences);
    if (!batch->offsets) return dk_fail(err, DK_E_INVALID, "batch.offsets is NULL");
    if (batch->offsets[0] != 0)
        return dk_fail(err, DK_E_INVALID, "batch.offsets[0] is %lld, not 0", (long long)batch->offsets[0]);
    for (int64_t s = 0; s < batch->sequences; s++)
        if (batch->offsets[s + 1] < batch->offsets[s])
            return dk_fail(err, DK_E_INVALID, "batch.offsets[%lld] is %lld, below the one before", (long long)s + 1,
                           (long long)batch->offsets[s + 1]);
    if (batch->offsets[batch->sequences] && !batch->ids) return dk_fail(err, DK_E_INVALID, "batch.ids is NULL");
    return DK_OK;
}

static int32_t check_rows(const distill_batch *batch, dk_error *err)
{
    const int64_t tokens = batch->offsets[batch->sequences];
    if (!batch->rows) return DK_OK;
    if (batch->row_count < 0) return dk_fail(err, DK_E_INVALID, "batch.row_count is %lld", (long long)batch->row_count);
    for (int64_t i = 0; i < batch->row_count; i++) {
        if (batch->rows[i] < 0 || batch->rows[i] >= tokens)
            return dk_fail(err, DK_E_INVALID, "batch.rows[%lld] is %lld, outside 0..%lld", (long long)i,
                           (long long)batch->rows[i], (long long)tokens - 1);
        if (i && batch->rows[i] <= batch->rows[i - 1])
            return dk_fail(err, DK_E_INVALID, "batch.rows[%lld] is %lld, not above the one before", (long long)i,
                           (long long)batch->rows[i]);
    }
    return DK_OK;
}

static int32_t check_weights(const distill_batch *batch, dk_error *err)
{
    const int64_t rows = batch->weights ? di_batch_rows(batch) : 0;
    for (int64_t i = 0; i < rows; i++)
        if (!(batch->weights[i] >= 0 && isfinite(batch->weights[i])))
            return dk_fail(
                err, DK_E_INVALID,
                "batch.weights[%lld] is %g; weights are finite and at least 0, since their sum is the divisor",
                (long long)i, (double)batch->weights[i]);
    return DK_OK;
}

int32_t di_check_batch(const distill_batch *batch, int64_t vocab_size, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_check_struct(batch, "batch", sizeof *batch, err));
    DK_TRY(check_offsets(batch, err));
    for (int64_t i = 0; vocab_size > 0 && i < batch->offsets[batch->sequences]; i++)
        if (batch->ids[i] < 0 || batch->ids[i] >= vocab_size)
            return dk_fail(err, DK_E_INVALID, "batch.ids[%lld] is %d, outside the vocabulary of %lld", (long long)i,
                           (int)batch->ids[i], (long long)vocab_size);
    DK_TRY(check_rows(batch, err));
    DK_TRY(check_weights(batch, err));
out:
    return rc;
}

int64_t di_batch_rows(const distill_batch *batch)
{
    int64_t rows = 0;
    if (batch->rows) return batch->row_count;
    for (int64_t s = 0; s < batch->sequences; s++) {
        const int64_t length = batch->offsets[s + 1] - batch->offsets[s];
        rows += length > 0 ? length - 1 : 0;
    }
    return rows;
}

void di_batch_row_places(const distill_batch *batch, int64_t *places)
{
    if (batch->rows) {
        if (batch->row_count) memcpy(places, batch->rows, (size_t)batch->row_count * sizeof *places);
        return;
    }
    for (int64_t s = 0; s < batch->sequences; s++)
        for (int64_t i = batch->offsets[s]; i + 1 < batch->offsets[s + 1]; i++) *places++ = i;
}

/* ---- targets ---- */

int64_t di_target_width(const distill_target *target)
{
    if (target->kind == DISTILL_DENSE) return target->values->shape[1];
    return target->kind == DISTILL_HIDDEN ? target->head->shape[0] : 0;
}

static int32_t check_hidden(const distill_target *target, const char *name, dk_error *err)
{
    int64_t shape[2] = {-1, target->values->shape[1]};
    char part[96];
    int32_t rc;
    snprintf(part, sizeof part, "%s.head", name);
    DK_TRY(di_check_tensor(target->head, part, 2, shape, 0, err));
    if (target->bias) {
        snprintf(part, sizeof part, "%s.bias", name);
        DK_TRY(di_check_tensor(target->bias, part, 1, target->head->shape, 0, err));
    }
    if (!isfinite(target->logit_scale) || !isfinite(target->softcap) || target->softcap < 0)
        rc = dk_fail(err, DK_E_INVALID, "%s: logit_scale and softcap must be finite, softcap not negative", name);
out:
    return rc;
}

static int32_t check_parts(const distill_target *target, const char *name, int64_t rows, dk_error *err)
{
    int64_t shape[2] = {rows, -1};
    char part[96];
    int32_t rc = DK_OK;
    if (target->entropy && target->kind != DISTILL_SAMPLED)
        return dk_fail(err, DK_E_INVALID, "%s.entropy is of SAMPLED targets alone, and this is %s", name,
                       di_kind_name(target->kind));
    if (target->kind == DISTILL_ONE_HOT) {
        snprintf(part, sizeof part, "%s.ids", name);
        return di_check_ids(target->ids, part, 1, shape, err);
    }
    snprintf(part, sizeof part, "%s.values", name);
    DK_TRY(di_check_tensor(target->values, part, 2, shape, 0, err));
    if (target->kind == DISTILL_HIDDEN) DK_TRY(check_hidden(target, name, err));
    if (target->kind != DISTILL_TOPK && target->kind != DISTILL_SAMPLED) goto out;
    snprintf(part, sizeof part, "%s.ids", name);
    DK_TRY(di_check_ids(target->ids, part, 2, target->values->shape, err));
    snprintf(part, sizeof part, "%s.%s", name, target->kind == DISTILL_TOPK ? "tail" : "entropy");
    if (di_target_beside(target))
        DK_TRY(di_check_tensor(di_target_beside(target), part, 1, target->values->shape, 0, err));
out:
    return rc;
}

/* The bounds of loss.temperature. */
int32_t di_check_temperature(double temperature, const char *name, dk_error *err)
{
    char text[32];
    if (temperature == 0 || (temperature >= 1e-3 && temperature <= 1000)) return DK_OK;
    dk_format_f64(temperature, text);
    return dk_fail(err, DK_E_INVALID, "%s.temperature is %s, outside 0.001..1000 (0 = none)", name, text);
}

int32_t di_check_target(const distill_target *target, const char *name, int64_t rows, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_check_struct(target, name, sizeof *target, err));
    if (target->kind < DISTILL_DENSE || target->kind > DISTILL_ONE_HOT)
        return dk_fail(err, DK_E_INVALID, "%s.kind is %d, none of DENSE, TOPK, SAMPLED, HIDDEN, ONE_HOT", name,
                       (int)target->kind);
    DK_TRY(di_check_temperature(target->temperature, name, err));
    DK_TRY(check_parts(target, name, rows, err));
    if ((target->kind == DISTILL_DENSE || target->kind == DISTILL_HIDDEN) &&
        (!di_target_width(target) || !target->values->shape[1]))
        return dk_fail(err, DK_E_INVALID, "%s.%s is empty: rows are of one number at least", name,
                       target->kind == DISTILL_HIDDEN && !di_target_width(target) ? "head" : "values");
    if (target->vocab_valid < 0 || (di_target_width(target) && target->vocab_valid > di_target_width(target)))
        return dk_fail(err, DK_E_INVALID, "%s.vocab_valid is %lld, outside 0..%lld", name,
                       (long long)target->vocab_valid, (long long)di_target_width(target));
out:
    return rc;
}
