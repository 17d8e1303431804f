#include "compute/check.h"

#include "compute/buffer.h"

static void complain(dk_check *check, const char *name, const char *text)
{
    if (check->ok) dk_queue_fail(check->queue, DK_E_INTERNAL, "%s: %s %s", check->op, name, text);
    check->ok = 0;
}

dk_check dk_check_begin(dk_queue *queue, const char *op)
{
    return (dk_check){.queue = queue, .op = op, .ok = queue->error.code == DK_OK};
}

uint64_t dk_check_real(const dk_check *check) { return DK_TYPE(check->queue->backend->real); }

uint64_t dk_check_stored(const dk_check *check) { return check->queue->backend->reads; }

static int32_t is_whole_blocks(const dk_view *view, int64_t block)
{
    int32_t last = view->rank - 1;
    if (block == 1) return 1;
    for (int32_t d = 0; d < last; d++)
        if (view->stride[d] % block) return 0;
    return view->shape[last] % block == 0 && view->stride[last] == 1;
}

/* Every element lies inside the buffer. Strides are not negative, so the last one is the furthest. */
static int32_t inside(const dk_view *view, const dk_dtype_info *type)
{
    int64_t size = type->bytes, room = view->buffer->bytes - view->offset - size;
    int32_t empty = 0;
    for (int32_t d = 0; d < view->rank; d++) {
        if (view->shape[d] < 0 || view->stride[d] < 0) return 0;
        empty |= view->shape[d] == 0;
    }
    if (empty) return 1;
    if (view->offset < 0 || room < 0) return 0;
    for (int32_t d = 0; d < view->rank; d++) { /* in blocks */
        int32_t last = d == view->rank - 1;
        int64_t count = last ? view->shape[d] / type->block : view->shape[d];
        int64_t step = last ? view->stride[d] : view->stride[d] / type->block;
        if (step == 0 || count == 1) continue;
        if (count - 1 > room / size / step) return 0;
        room -= (count - 1) * step * size;
    }
    return 1;
}

static void complain_dtype(dk_check *check, const char *name, dk_dtype dtype)
{
    if (check->ok)
        dk_queue_fail(check->queue, DK_E_INTERNAL, "%s: %s is %s, a dtype that this op of %s does not take", check->op,
                      name, dk_dtype_name(dtype), check->queue->backend->name);
    check->ok = 0;
}

void dk_check_view(dk_check *check, const char *name, const dk_view *view, uint64_t types, int32_t rank_low,
                   int32_t rank_high)
{
    if (!check->ok) return;
    if (!view->buffer) {
        if (!(types & DK_OPTIONAL)) complain(check, name, "is absent");
        return;
    }
    const dk_dtype_info *type = dk_dtype_find(view->dtype);
    if (!type || !(types & DK_TYPE(view->dtype))) {
        complain_dtype(check, name, view->dtype);
    } else if (view->rank < rank_low || view->rank > rank_high) {
        complain(check, name, "has the wrong rank");
    } else if (!is_whole_blocks(view, type->block)) {
        complain(check, name, "cuts a block");
    } else if (!inside(view, type)) {
        complain(check, name, "reaches outside its buffer");
    } else if ((uintptr_t)(view->buffer->data + view->offset) % dk_dtype_align(view->dtype)) {
        complain(check, name, "is not aligned to its dtype");
    } else if (!(types & DK_STRIDED) && view->shape[view->rank - 1] > 1 && view->stride[view->rank - 1] != 1) {
        complain(check, name, "is not row-major");
    }
}

void dk_check_shape(dk_check *check, const char *name, const dk_view *view, const dk_view *like)
{
    if (!check->ok || !view->buffer) return;
    int32_t same = view->rank == like->rank;
    for (int32_t d = 0; same && d < view->rank; d++) same = view->shape[d] == like->shape[d];
    if (!same) complain(check, name, "has another shape than its partner");
}

void dk_check_dim(dk_check *check, const char *name, const dk_view *view, int32_t dim, int64_t want)
{
    if (!check->ok || !view->buffer || view->shape[dim] == want) return;
    dk_queue_fail(check->queue, DK_E_INTERNAL, "%s: %s has %lld entries in dimension %d, not %lld", check->op, name,
                  (long long)view->shape[dim], (int)dim, (long long)want);
    check->ok = 0;
}

void dk_check_that(dk_check *check, int32_t condition, const char *text)
{
    if (!condition) complain(check, "arguments:", text);
}

int32_t dk_check_gradient(dk_queue *queue, const dk_parameter *parameter)
{
    dk_check c = dk_check_begin(queue, parameter->name);
    dk_check_view(&c, "gradient", &parameter->gradient, dk_check_real(&c), 1, 2);
    dk_check_shape(&c, "gradient", &parameter->gradient, &parameter->value);
    dk_check_that(&c,
                  parameter->gradient.shape[0] < 2 || parameter->gradient.rank < 2 ||
                      parameter->gradient.stride[0] >= parameter->gradient.shape[1],
                  "rows of the gradient overlap");
    return c.ok;
}
