#include "compute/compute.h"
#include "compute/half.h"

float dk_bf16_to_f32(uint16_t bits) { return dk_widen_bf16(bits); }

uint16_t dk_f32_to_bf16(float value) { return dk_narrow_bf16(value); }

float dk_f16_to_f32(uint16_t bits) { return dk_widen_f16(bits); }

uint16_t dk_f32_to_f16(float value) { return dk_narrow_f16(value); }

dk_view dk_view_make(dk_buffer *buffer, int64_t offset, dk_dtype dtype, int32_t rank, const int64_t *shape)
{
    dk_view view = {.buffer = buffer, .offset = offset, .dtype = dtype, .rank = rank};
    const dk_dtype_info *type = dk_dtype_find(dtype);
    uint64_t stride = 1;
    if (rank < 1 || rank > 3 || !type || shape[rank - 1] % type->block) return dk_view_none();
    for (int32_t d = rank - 1; d >= 0; d--) {
        view.shape[d] = shape[d];
        view.stride[d] = (int64_t)stride;
        stride *= (uint64_t)shape[d];
    }
    return view;
}

dk_view dk_view_1d(dk_buffer *buffer, int64_t offset, dk_dtype dtype, int64_t n)
{
    return dk_view_make(buffer, offset, dtype, 1, &n);
}

dk_view dk_view_2d(dk_buffer *buffer, int64_t offset, dk_dtype dtype, int64_t rows, int64_t columns)
{
    int64_t shape[2] = {rows, columns};
    return dk_view_make(buffer, offset, dtype, 2, shape);
}

static dk_view narrow(dk_view view, int32_t dim, int64_t first, int64_t count)
{
    if (view.rank < 1 || view.rank > 3 || first < 0 || count < 0 || first > view.shape[dim] - count)
        return dk_view_none();
    int64_t bytes = dk_dtype_bytes(view.dtype, first * view.stride[dim]);
    if (bytes < 0 || (dim == view.rank - 1 && dk_dtype_bytes(view.dtype, count) < 0)) return dk_view_none();
    view.offset += bytes;
    view.shape[dim] = count;
    return view;
}

dk_view dk_view_rows(dk_view view, int64_t first, int64_t count) { return narrow(view, 0, first, count); }

dk_view dk_view_columns(dk_view view, int64_t first, int64_t count)
{
    return narrow(view, view.rank > 0 ? view.rank - 1 : 0, first, count);
}

dk_view dk_view_split(dk_view view, int64_t parts)
{
    int32_t last = view.rank - 1;
    if (view.rank < 1 || view.rank > 2 || parts < 1 || view.shape[last] % parts != 0) return dk_view_none();
    int64_t width = view.shape[last] / parts;
    if (dk_dtype_bytes(view.dtype, width) < 0) return dk_view_none();
    view.stride[last + 1] = view.stride[last];
    view.stride[last] *= width;
    view.shape[last] = parts;
    view.shape[last + 1] = width;
    view.rank++;
    return view;
}

static int64_t shape_count(const dk_view *view)
{
    int64_t count = view->rank > 0 ? 1 : 0;
    for (int32_t d = 0; d < view->rank; d++) count *= view->shape[d];
    return count;
}

int32_t dk_view_is_compact(const dk_view *view)
{
    int64_t stride = 1;
    for (int32_t d = view->rank - 1; d >= 0; d--) {
        if (view->shape[d] != 1 && view->stride[d] != stride) return 0;
        stride *= view->shape[d];
    }
    return 1;
}

dk_view dk_view_reshape(dk_view view, int32_t rank, const int64_t *shape)
{
    dk_view out = dk_view_make(view.buffer, view.offset, view.dtype, rank, shape);
    if (!dk_view_is_compact(&view) || shape_count(&out) != shape_count(&view)) return dk_view_none();
    return out;
}

int64_t dk_view_count(const dk_view *view) { return view->buffer ? shape_count(view) : 0; }
