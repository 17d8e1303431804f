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

uint32_t dk_check_real(const dk_check *check) { return DK_TYPE(check->queue->backend->real); }

/* Every element lies inside the buffer. Strides are not negative, so the last one is the furthest. */
static int32_t inside(const dk_view *view)
{
    int64_t size = (int64_t)dk_dtype_size(view->dtype), room = view->buffer->bytes - view->offset - size;
    int32_t empty = 0;
    for (int32_t d = 0; d < view->rank; d++) {
        if (view->shape[d] < 0 || view->stride[d] < 0) return 0;
        empty |= view->shape[d] == 0;
    }
    if (empty) return 1;
    if (view->offset < 0 || room < 0) return 0;
    for (int32_t d = 0; d < view->rank; d++) {
        if (view->stride[d] == 0 || view->shape[d] == 1) continue;
        if (view->shape[d] - 1 > room / size / view->stride[d]) return 0;
        room -= (view->shape[d] - 1) * view->stride[d] * size;
    }
    return 1;
}

void dk_check_view(dk_check *check, const char *name, const dk_view *view, uint32_t types, int32_t rank_low,
                   int32_t rank_high)
{
    if (!check->ok) return;
    if (!view->buffer) {
        if (!(types & DK_OPTIONAL)) complain(check, name, "is absent");
        return;
    }
    size_t size = dk_dtype_size(view->dtype);
    if (!size || !(types & DK_TYPE(view->dtype))) {
        complain(check, name, "has a dtype that this op does not take");
    } else if (view->rank < rank_low || view->rank > rank_high) {
        complain(check, name, "has the wrong rank");
    } else if (!inside(view)) {
        complain(check, name, "reaches outside its buffer");
    } else if ((uintptr_t)(view->buffer->data + view->offset) % size) {
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
