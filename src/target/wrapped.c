#include "target/host_rows.h"
#include "target/target.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct di_wrapped {
    dk_backend *backend;
    dk_queue queue;
    di_wrapped_spec spec;
    di_source source;
    float *staging;    /* [max_count, widest] rows on their way in */
    di_staging copied; /* and on their way out of memory that the host does not see */
    dk_buffer *strip;  /* HIDDEN: hidden states of a range, and their gradient */
    dk_view hidden, dhidden;
    dk_buffer *values[2], *gradients[2]; /* head and bias */
    dk_parameter parameters[2];
    dk_parameter *weights[1], *biases[1];
    float *beside; /* TOPK, SAMPLED, ONE_HOT: a range as compact tensors */
    int32_t *ids;
    int64_t shape[2];
    distill_tensor tensors[3];
    distill_target range;
    int32_t buffered[2]; /* its gradient is gathered in a buffer of ours */
    dk_linear *linear;
};

static int32_t is_hidden(const di_wrapped *wrapped) { return wrapped->spec.target->kind == DISTILL_HIDDEN; }

static int32_t is_sparse(const distill_target *target)
{
    return target->kind != DISTILL_DENSE && target->kind != DISTILL_HIDDEN;
}

static double scale_of(const distill_target *target) { return target->logit_scale != 0 ? target->logit_scale : 1; }

static int32_t is_scaled(const distill_target *target) { return scale_of(target) != 1 || target->softcap > 0; }

static void read_places(const di_wrapped *wrapped, int64_t first, int64_t count, float *out)
{
    const distill_tensor *values = wrapped->spec.target->values;
    for (int64_t i = 0; i < count; i++)
        di_tensor_read_rows(values, wrapped->spec.places[first + i], 1, out + i * values->shape[1]);
}

static int32_t wrapped_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                            dk_error *err)
{
    di_wrapped *wrapped = self;
    const distill_target *from = wrapped->spec.target;
    const dk_ops *ops = wrapped->backend->ops;
    if (target) *target = NULL;
    read_places(wrapped, first, count, wrapped->staging);
    if (is_hidden(wrapped)) {
        dk_view hidden = dk_view_rows(wrapped->hidden, 0, count);
        ops->copy_in(&wrapped->queue, hidden, wrapped->staging);
        ops->linear_forward(&wrapped->queue, wrapped->linear, DK_PRECISION_FULL, hidden, strip);
        if (is_scaled(from)) ops->softcap(&wrapped->queue, strip, scale_of(from), from->softcap);
    } else {
        ops->copy_in(&wrapped->queue, strip, wrapped->staging);
    }
    return dk_queue_wait(&wrapped->queue, err);
}

static int32_t sparse_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_wrapped *wrapped = self;
    const distill_target *from = wrapped->spec.target;
    const int64_t k = wrapped->shape[1];
    char name[96];
    int32_t rc = DK_OK;
    (void)strip;
    snprintf(name, sizeof name, "%s.ids", wrapped->spec.name);
    if (from->values) read_places(wrapped, first, count, wrapped->staging);
    for (int64_t i = 0; i < count && rc == DK_OK; i++) {
        const int64_t place = wrapped->spec.places[first + i];
        rc = di_tensor_read_ids(from->ids, name, place, 1, wrapped->ids + i * k, err);
        if (di_target_beside(from)) di_tensor_read_rows(di_target_beside(from), place, 1, wrapped->beside + i);
    }
    wrapped->shape[0] = count;
    *target = &wrapped->range;
    return rc;
}

/* ---- gradients go out: what is summed may be more than fp32 holds where its parts are not ---- */

static int32_t refuse_sum(const char *name, int64_t row, dk_error *err)
{
    return dk_fail(err, DK_E_NUMERIC,
                   "args.%s: a number of row %lld adds up to more than fp32 holds (3.4e38), or what is multiplied or "
                   "added to is not finite; look at what stands there, the head, weights and args.grad_scale",
                   name, (long long)row);
}

static int32_t write_values(di_wrapped *wrapped, int64_t first, int64_t count, dk_view gradient, dk_error *err)
{
    const distill_tensor *to = wrapped->spec.grad_values;
    const int32_t summed = is_hidden(wrapped) || wrapped->spec.add_values;
    di_host_rows rows;
    int32_t rc = di_host_read(&wrapped->queue, &wrapped->copied, gradient, &rows, err);
    for (int64_t i = 0; rc == DK_OK && i < count; i++) {
        const int64_t place = wrapped->spec.places[first + i];
        di_tensor_write_rows(to, place, 1, (const float *)(const void *)(rows.data + i * rows.step),
                             wrapped->spec.add_values);
        if (summed && di_tensor_not_finite(to, place, 1) >= 0) rc = refuse_sum("grad_values", place, err);
    }
    return rc;
}

typedef struct finite_work {
    const distill_tensor *tensor;
    _Atomic int64_t first; /* row that is not finite; the count of rows = none */
} finite_work;

static void finite_body(void *context, int64_t begin, int64_t end)
{
    finite_work *work = context;
    const int64_t row = di_tensor_not_finite(work->tensor, begin, end - begin);
    int64_t first = atomic_load(&work->first);
    while (row >= 0 && row < first && !atomic_compare_exchange_weak(&work->first, &first, row)) continue;
}

static int32_t check_sum(const di_wrapped *wrapped, const distill_tensor *tensor, const char *name, dk_error *err)
{
    enum { GRAIN = 65536 };
    finite_work work = {.tensor = tensor, .first = tensor->shape[0]};
    const int64_t width = tensor->ndim == 2 ? tensor->shape[1] : 1;
    dk_parallel_for(wrapped->backend->host, tensor->shape[0], GRAIN / (width + 1) + 1, finite_body, &work);
    const int64_t row = atomic_load(&work.first);
    return row < tensor->shape[0] ? refuse_sum(name, row, err) : DK_OK;
}

static int32_t wrapped_gradient(void *self, int64_t first, int64_t count, dk_view logits, dk_view dlogits,
                                dk_error *err)
{
    di_wrapped *wrapped = self;
    const distill_target *from = wrapped->spec.target;
    const dk_ops *ops = wrapped->backend->ops;
    dk_view hidden, dhidden;
    if (!is_hidden(wrapped)) return write_values(wrapped, first, count, dlogits, err);
    hidden = dk_view_rows(wrapped->hidden, 0, count);
    if (is_scaled(from))
        ops->softcap_backward(&wrapped->queue, from->softcap > 0 ? logits : dlogits, scale_of(from), from->softcap,
                              dlogits);
    if (wrapped->spec.grad_head || wrapped->spec.grad_bias)
        ops->linear_backward_weight(&wrapped->queue, wrapped->linear, DK_PRECISION_FULL, hidden, dlogits);
    if (!wrapped->spec.grad_values) return dk_queue_wait(&wrapped->queue, err);
    dhidden = dk_view_rows(wrapped->dhidden, 0, count);
    ops->linear_backward_input(&wrapped->queue, wrapped->linear, DK_PRECISION_FULL, dlogits, dhidden, 0);
    return write_values(wrapped, first, count, dhidden, err);
}

/* ---- rows in place ---- */

static int32_t is_even(const distill_tensor *tensor)
{
    return tensor->dtype_code == DISTILL_FLOAT && tensor->dtype_bits == 32 &&
           (!tensor->strides || tensor->strides[1] == 1 || tensor->shape[1] == 1);
}

static di_host_rows row_at(const distill_tensor *tensor, int64_t row)
{
    const int64_t stride = tensor->strides ? tensor->strides[0] : tensor->shape[1], size = (int64_t)sizeof(float);
    return (di_host_rows){(uint8_t *)tensor->data + tensor->byte_offset + row * stride * size, stride, stride * size};
}

static int32_t wrapped_place(void *self, int64_t first, int64_t count, di_host_rows *values, di_host_rows *gradient)
{
    const di_wrapped_spec *spec = &((di_wrapped *)self)->spec;
    const int64_t *places = spec->places + first;
    if (count < 1 || places[count - 1] - places[0] != count - 1 || !is_even(spec->target->values)) return 0;
    *values = row_at(spec->target->values, places[0]);
    *gradient = (di_host_rows){0};
    if (spec->grad_values && !spec->add_values && is_even(spec->grad_values))
        *gradient = row_at(spec->grad_values, places[0]);
    return 1;
}

/* ---- head and bias as parameters: in place where the backend can use them so, else copied ---- */

static int32_t is_compact(const distill_tensor *tensor)
{
    if (!tensor->strides) return 1;
    if (tensor->ndim == 1) return tensor->strides[0] == 1 || tensor->shape[0] <= 1;
    return tensor->strides[1] == 1 && tensor->strides[0] == tensor->shape[1];
}

static dk_dtype dtype_of(const distill_tensor *tensor)
{
    if (tensor->dtype_code == DISTILL_BFLOAT) return DK_BF16;
    return tensor->dtype_bits == 64 ? DK_F64 : tensor->dtype_bits == 16 ? DK_F16 : DK_F32;
}

static int32_t wrap(dk_backend *backend, const distill_tensor *tensor, dk_buffer **buffer, dk_view *view, dk_error *err)
{
    const dk_dtype dtype = dtype_of(tensor);
    const int64_t columns = tensor->ndim == 2 ? tensor->shape[1] : 1;
    int32_t rc = backend->ops->buffer_wrap(backend, (uint8_t *)tensor->data + tensor->byte_offset,
                                           tensor->shape[0] * columns * (int64_t)dk_dtype_size(dtype), buffer, err);
    if (rc == DK_OK) *view = dk_view_make(*buffer, 0, dtype, tensor->ndim, tensor->shape);
    return rc;
}

static int32_t copy(di_wrapped *wrapped, const distill_tensor *tensor, dk_buffer **buffer, dk_view *view, dk_error *err)
{
    const dk_ops *ops = wrapped->backend->ops;
    const int64_t width = tensor->ndim == 2 ? tensor->shape[1] : 1;
    di_host_rows rows;
    int32_t rc;
    DK_TRY(ops->buffer_create(wrapped->backend, tensor->shape[0] * width * (int64_t)sizeof(float), buffer, err));
    *view = dk_view_make(*buffer, 0, DK_F32, tensor->ndim, tensor->shape);
    DK_TRY(di_host_place(&wrapped->queue, &wrapped->copied, *view, &rows, err));
    di_tensor_read_rows(tensor, 0, tensor->shape[0], (float *)(void *)rows.data);
    DK_TRY(di_host_write(&wrapped->queue, *view, &rows, err));
out:
    return rc;
}

static int32_t open_gradient(di_wrapped *wrapped, int32_t which, const distill_tensor *gradient, dk_error *err)
{
    const dk_ops *ops = wrapped->backend->ops;
    dk_parameter *parameter = &wrapped->parameters[which];
    int32_t rc;
    wrapped->buffered[which] = !is_compact(gradient);
    if (wrapped->buffered[which])
        DK_TRY(copy(wrapped, gradient, &wrapped->gradients[which], &parameter->gradient, err));
    else DK_TRY(wrap(wrapped->backend, gradient, &wrapped->gradients[which], &parameter->gradient, err));
    if (!wrapped->spec.add_head) ops->fill(&wrapped->queue, parameter->gradient, 0);
    DK_TRY(dk_queue_wait(&wrapped->queue, err));
out:
    return rc;
}

static int32_t open_parameter(di_wrapped *wrapped, int32_t which, const distill_tensor *value,
                              const distill_tensor *gradient, dk_error *err)
{
    dk_parameter *parameter = &wrapped->parameters[which];
    const dk_dtype dtype = dtype_of(value);
    const int32_t usable = is_compact(value) && (gradient ? dtype == DK_F32 : dtype != DK_F64);
    int32_t rc;
    parameter->name = which ? "bias" : "head";
    parameter->frozen = gradient == NULL;
    parameter->version = 1;
    if (usable) DK_TRY(wrap(wrapped->backend, value, &wrapped->values[which], &parameter->value, err));
    else DK_TRY(copy(wrapped, value, &wrapped->values[which], &parameter->value, err));
    if (gradient) DK_TRY(open_gradient(wrapped, which, gradient, err));
out:
    return rc;
}

int64_t di_wrapped_buffer_row(const distill_target *target, int32_t with_gradient)
{
    if (target->kind != DISTILL_HIDDEN) return 0;
    return target->values->shape[1] * (1 + (with_gradient != 0)) * (int64_t)sizeof(float);
}

int64_t di_wrapped_row_bytes(const distill_target *target)
{
    const int64_t columns = target->values ? target->values->shape[1] : 0, ids = !target->ids ? 0
                                                                                 : target->ids->ndim == 2
                                                                                     ? target->ids->shape[1]
                                                                                     : 1;
    return (columns + 1) * (int64_t)sizeof(float) + ids * (int64_t)sizeof(int32_t);
}

static int32_t open_head(di_wrapped *wrapped, dk_error *err)
{
    const distill_target *target = wrapped->spec.target;
    const int64_t width = target->values->shape[1], count = wrapped->spec.max_count;
    dk_linear_spec spec = {0};
    int32_t rc;
    DK_TRY(open_parameter(wrapped, 0, target->head, wrapped->spec.grad_head, err));
    if (target->bias) DK_TRY(open_parameter(wrapped, 1, target->bias, wrapped->spec.grad_bias, err));
    wrapped->weights[0] = &wrapped->parameters[0];
    wrapped->biases[0] = &wrapped->parameters[1];
    spec.weights = wrapped->weights;
    spec.biases = target->bias ? wrapped->biases : NULL;
    spec.count = 1;
    spec.uses = DK_USE_FORWARD;
    if (wrapped->spec.grad_values) spec.uses |= DK_USE_BACKWARD_INPUT;
    if (wrapped->spec.grad_head || wrapped->spec.grad_bias) spec.uses |= DK_USE_BACKWARD_WEIGHT;
    DK_TRY(wrapped->backend->ops->linear_create(wrapped->backend, &spec, &wrapped->linear, err));
    DK_TRY(wrapped->backend->ops->buffer_create(
        wrapped->backend, count * di_wrapped_buffer_row(target, wrapped->spec.grad_values != NULL), &wrapped->strip,
        err));
    wrapped->hidden = dk_view_2d(wrapped->strip, 0, DK_F32, count, width);
    if (wrapped->spec.grad_values)
        wrapped->dhidden = dk_view_2d(wrapped->strip, count * width * (int64_t)sizeof(float), DK_F32, count, width);
out:
    return rc;
}

/* TOPK, SAMPLED, ONE_HOT: rows of k ids. */
static int32_t open_sparse(di_wrapped *wrapped, dk_error *err)
{
    const distill_target *target = wrapped->spec.target;
    const int64_t k = target->ids->ndim == 2 ? target->ids->shape[1] : 1, count = wrapped->spec.max_count;
    int32_t rc;
    DK_TRY(dk_new(wrapped->backend->host, count * k + 1, &wrapped->ids, err));
    DK_TRY(dk_new(wrapped->backend->host, count + 1, &wrapped->beside, err));
    wrapped->shape[1] = k;
    wrapped->tensors[0] = di_tensor_of(wrapped->staging, DISTILL_FLOAT, 32, 2, wrapped->shape);
    wrapped->tensors[1] = di_tensor_of(wrapped->ids, DISTILL_INT, 32, target->ids->ndim, wrapped->shape);
    wrapped->tensors[2] = di_tensor_of(wrapped->beside, DISTILL_FLOAT, 32, 1, wrapped->shape);
    wrapped->range = *target;
    if (target->values) wrapped->range.values = &wrapped->tensors[0];
    wrapped->range.ids = &wrapped->tensors[1];
    di_target_set_beside(&wrapped->range, di_target_beside(target) ? &wrapped->tensors[2] : NULL);
out:
    return rc;
}

int32_t di_wrapped_needs_logits(const distill_target *target)
{
    return target->kind == DISTILL_HIDDEN && target->softcap > 0;
}

static void fill_source(di_wrapped *wrapped)
{
    const distill_target *target = wrapped->spec.target;
    di_source *source = &wrapped->source;
    source->self = wrapped;
    source->kind = is_sparse(target) ? target->kind : DISTILL_DENSE;
    source->has_entropy = target->entropy != NULL;
    source->width = di_target_width(target);
    source->vocab_valid = target->vocab_valid ? target->vocab_valid : source->width;
    source->temperature = target->temperature > 0 ? target->temperature : 1;
    if (is_sparse(target) && target->values && target->values->dtype_bits == 16)
        source->rounding = target->values->dtype_code == DISTILL_BFLOAT ? 0x1p-8 : 0x1p-11;
    source->needs_logits = di_wrapped_needs_logits(target);
    source->rows = is_sparse(target) ? sparse_rows : wrapped_rows;
    source->gradient = is_sparse(target) ? NULL : wrapped_gradient;
    source->place = target->kind == DISTILL_DENSE ? wrapped_place : NULL;
}

int32_t di_wrapped_create(dk_backend *backend, const di_wrapped_spec *spec, di_wrapped **out, dk_error *err)
{
    di_wrapped *wrapped = NULL;
    int64_t columns;
    int32_t rc;
    if (backend->real != DK_F32)
        return dk_fail(err, DK_E_UNSUPPORTED, "backend %s does not compute in f32", backend->name);
    DK_TRY(dk_new(backend->host, 1, &wrapped, err));
    wrapped->backend = backend;
    wrapped->spec = *spec;
    DK_TRY(dk_queue_open(&wrapped->queue, backend, err));
    columns = spec->target->values ? spec->target->values->shape[1] : 0;
    if (!spec->in_place || is_sparse(spec->target))
        DK_TRY(dk_new(backend->host, spec->max_count * columns + 1, &wrapped->staging, err));
    if (is_sparse(spec->target)) DK_TRY(open_sparse(wrapped, err));
    if (is_hidden(wrapped)) DK_TRY(open_head(wrapped, err));
    fill_source(wrapped);
out:
    if (rc) {
        di_wrapped_free(wrapped);
        return rc;
    }
    *out = wrapped;
    return DK_OK;
}

void di_wrapped_free(di_wrapped *wrapped)
{
    const dk_ops *ops;
    dk_backend *backend;
    if (!wrapped) return;
    backend = wrapped->backend;
    ops = backend->ops;
    if (wrapped->linear) ops->linear_free(backend, wrapped->linear);
    for (int i = 0; i < 2; i++) {
        if (wrapped->values[i]) ops->buffer_free(backend, wrapped->values[i]);
        if (wrapped->gradients[i]) ops->buffer_free(backend, wrapped->gradients[i]);
    }
    if (wrapped->strip) ops->buffer_free(backend, wrapped->strip);
    di_staging_free(backend->host, &wrapped->copied);
    dk_queue_close(&wrapped->queue);
    dk_free(backend->host, wrapped->staging);
    dk_free(backend->host, wrapped->beside);
    dk_free(backend->host, wrapped->ids);
    dk_free(backend->host, wrapped);
}

const di_source *di_wrapped_source(const di_wrapped *wrapped) { return &wrapped->source; }

int32_t di_wrapped_finish(di_wrapped *wrapped, dk_error *err)
{
    static const char *const names[2] = {"grad_head", "grad_bias"};
    const distill_tensor *tensors[2] = {wrapped->spec.grad_head, wrapped->spec.grad_bias};
    di_host_rows rows;
    int32_t rc = dk_queue_wait(&wrapped->queue, err);
    for (int i = 0; rc == DK_OK && i < 2; i++) {
        if (wrapped->buffered[i]) {
            DK_TRY(di_host_read(&wrapped->queue, &wrapped->copied, wrapped->parameters[i].gradient, &rows, err));
            di_tensor_write_rows(tensors[i], 0, tensors[i]->shape[0], (const float *)(const void *)rows.data, 0);
        }
        if (tensors[i]) rc = check_sum(wrapped, tensors[i], names[i], err);
    }
out:
    return rc;
}
