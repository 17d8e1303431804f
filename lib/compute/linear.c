#include "compute/linear.h"

#include "compute/check.h"

static int32_t check_weight(dk_backend *backend, const dk_parameter *weight, dk_linear *linear, dk_error *err)
{
    const dk_view *value = &weight->value;
    if (!value->buffer || value->rank != 2) return dk_fail(err, DK_E_INTERNAL, "linear: %s is no matrix", weight->name);
    if (!weight->frozen && value->dtype != backend->real)
        return dk_fail(err, DK_E_INTERNAL, "linear: %s is trained, so it must be %s, not %s", weight->name,
                       dk_dtype_name(backend->real), dk_dtype_name(value->dtype));
    if (!(linear->types & DK_TYPE(value->dtype)))
        return dk_fail(err, DK_E_UNSUPPORTED, "linear: %s is %s, which backend %s does not multiply by", weight->name,
                       dk_dtype_name(value->dtype), backend->name);
    if (linear->in_out && dk_dtype_find(value->dtype)->block > 1)
        return dk_fail(err, DK_E_UNSUPPORTED, "linear: %s is %s, whose blocks lie along the inputs of [out, in] alone",
                       weight->name, dk_dtype_name(value->dtype));
    int64_t in = value->shape[linear->in_out ? 0 : 1];
    if (value->shape[0] < 1 || value->shape[1] < 1)
        return dk_fail(err, DK_E_INTERNAL, "linear: %s is empty", weight->name);
    if (linear->in >= 0 && in != linear->in)
        return dk_fail(err, DK_E_MISMATCH, "linear: %s takes %lld inputs, its neighbour %lld", weight->name,
                       (long long)in, (long long)linear->in);
    linear->in = in;
    linear->out += value->shape[linear->in_out ? 1 : 0];
    return DK_OK;
}

static int32_t check_bias(const dk_parameter *bias, const dk_parameter *weight, int64_t width, dk_error *err)
{
    if (!bias || (bias->value.buffer && bias->value.rank == 1 && bias->value.shape[0] == width)) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH, "linear: %s has not the %lld entries that %s needs", bias->name,
                   (long long)width, weight->name);
}

static int32_t check_spec(const dk_backend *backend, const dk_linear_spec *spec, dk_error *err)
{
    if (spec->count < 1 || !spec->weights) return dk_fail(err, DK_E_INTERNAL, "linear: no weights");
    if (!spec->uses || spec->uses > (DK_USE_FORWARD | DK_USE_BACKWARD_INPUT | DK_USE_BACKWARD_WEIGHT))
        return dk_fail(err, DK_E_INTERNAL, "linear: %s has no use, or an unknown one: %u", spec->weights[0]->name,
                       (unsigned)spec->uses);
    for (int32_t i = 0; spec->low_rank && i < spec->count; i++)
        if (spec->low_rank[i].down || spec->low_rank[i].up)
            return dk_fail(err, DK_E_UNSUPPORTED, "linear: %s has a low-rank addend, which backend %s does not compute",
                           spec->weights[i]->name, backend->name);
    for (int32_t p = 0; p < 32; p++) {
        int32_t rc = spec->precisions >> p & 1 ? dk_check_precision(backend, (dk_precision)p, "linear", err) : DK_OK;
        if (rc) return rc;
    }
    return DK_OK;
}

/* ---- the parameters' lists of what was made of them ---- */
static void link_parameter(dk_linear *linear, dk_packed *packed, dk_parameter *parameter)
{
    if (!parameter) return;
    *packed = (dk_packed){linear, parameter, parameter->version, parameter->packed};
    parameter->packed = packed;
}

static void unlink_parameter(dk_packed *packed)
{
    if (!packed->parameter) return;
    dk_packed **at = &packed->parameter->packed;
    while (*at != packed) at = &(*at)->next;
    *at = packed->next;
}

void dk_linear_clear(dk_queue *queue, dk_parameter *parameter)
{
    parameter->unset = 0;
    queue->backend->ops->fill(queue, parameter->gradient, 0);
}

void dk_linear_settle(dk_queue *queue, dk_parameter *parameter)
{
    if (parameter->unset) dk_linear_clear(queue, parameter);
}

void dk_linear_refresh(dk_queue *queue, dk_parameter *parameter)
{
    if (queue->error.code) return;
    parameter->version++;
    for (dk_packed *packed = parameter->packed; packed; packed = packed->next) packed->version = parameter->version;
}

void dk_linear_update(dk_queue *queue, const dk_adamw_args *args, dk_view factor, dk_parameter *parameter, dk_view m,
                      dk_view v)
{
    const dk_ops *ops = queue->backend->ops;
    ops->adamw(queue, args, factor, parameter->value, parameter->gradient, m, v);
    ops->refresh(queue, parameter);
}

int32_t dk_linear_keep(dk_backend *backend, dk_linear *linear, dk_precision precision, dk_error *err)
{
    (void)backend, (void)linear, (void)precision, (void)err;
    return DK_OK;
}

int64_t dk_linear_kept_bytes(const dk_backend *backend, const dk_linear *linear, dk_precision precision)
{
    (void)backend, (void)linear, (void)precision;
    return 0;
}

int32_t dk_linear_create(dk_backend *backend, const dk_linear_spec *spec, uint64_t types, dk_linear **out,
                         dk_error *err)
{
    dk_linear *linear = NULL;
    int32_t rc;
    DK_TRY(check_spec(backend, spec, err));
    DK_TRY(dk_new(backend->host, 1, &linear, err));
    DK_TRY(dk_new(backend->host, spec->count, &linear->weights, err));
    DK_TRY(dk_new(backend->host, spec->count, &linear->biases, err));
    DK_TRY(dk_new(backend->host, 2 * spec->count, &linear->packed, err));
    linear->count = spec->count;
    linear->in_out = spec->in_out;
    linear->types = types;
    linear->uses = spec->uses;
    linear->precisions = spec->precisions ? spec->precisions : 1u << DK_PRECISION_FULL;
    linear->in = -1;
    for (int32_t i = 0; i < spec->count; i++) {
        linear->weights[i] = spec->weights[i];
        linear->biases[i] = spec->biases ? spec->biases[i] : NULL;
        DK_TRY(check_weight(backend, linear->weights[i], linear, err));
        DK_TRY(check_bias(linear->biases[i], linear->weights[i], dk_linear_width(linear, i), err));
    }
    for (int32_t i = 0; i < spec->count; i++) {
        link_parameter(linear, &linear->packed[i], linear->weights[i]);
        link_parameter(linear, &linear->packed[spec->count + i], linear->biases[i]);
    }
    *out = linear;
    linear = NULL;
out:
    dk_linear_free(backend, linear);
    return rc;
}

void dk_linear_free(dk_backend *backend, dk_linear *linear)
{
    if (!linear) return;
    for (int32_t i = 0; linear->packed && i < 2 * linear->count; i++) unlink_parameter(&linear->packed[i]);
    dk_free(backend->host, linear->state);
    dk_free(backend->host, linear->packed);
    dk_free(backend->host, linear->weights);
    dk_free(backend->host, linear->biases);
    dk_free(backend->host, linear);
}

static void check_matrix(dk_check *check, const dk_view *view)
{
    if (!check->ok) return;
    dk_check_that(check, view->shape[0] < 2 || view->stride[0] >= view->shape[1], "rows of a matrix overlap");
}

static void check_asked(dk_check *check, const dk_linear *linear, uint32_t use, dk_precision precision)
{
    if (!check->ok) return;
    const char *name = linear->weights[0]->name;
    if (!(linear->uses & use))
        dk_queue_fail(check->queue, DK_E_INTERNAL, "%s: %s was not made for this use", check->op, name);
    else if ((uint32_t)precision > 31 || !(linear->precisions >> precision & 1))
        dk_queue_fail(check->queue, DK_E_UNSUPPORTED, "%s: %s was not made for precision %s", check->op, name,
                      dk_precision_name(precision));
    check->ok = check->queue->error.code == DK_OK;
    for (int32_t i = 0; check->ok && i < 2 * linear->count; i++) {
        const dk_packed *packed = &linear->packed[i];
        if (!packed->parameter || packed->version == packed->parameter->version) continue;
        dk_queue_fail(check->queue, DK_E_INTERNAL, "%s: %s has version %lld, but was refreshed at %lld", check->op,
                      packed->parameter->name, (long long)packed->parameter->version, (long long)packed->version);
        check->ok = 0;
    }
}

/* A gradient that nothing but products reads may be what they would make of it. */
static uint64_t types_of_y(const dk_check *check, const dk_linear *linear, uint32_t use, dk_precision precision)
{
    uint64_t types = dk_check_real(check);
    if (use == DK_USE_FORWARD || precision != DK_PRECISION_BF16) return types;
    for (int32_t i = 0; i < linear->count; i++)
        if (linear->biases[i] && !linear->biases[i]->frozen) return types;
    return types | DK_TYPE(DK_BF16);
}

int32_t dk_linear_check(dk_queue *queue, const char *op, const dk_linear *linear, uint32_t use, dk_precision precision,
                        const dk_view *x, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, op);
    check_asked(&c, linear, use, precision);
    dk_check_view(&c, "x", x, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "y", y, types_of_y(&c, linear, use, precision), 2, 2);
    dk_check_dim(&c, "x", x, 1, linear->in);
    dk_check_dim(&c, "y", y, 1, linear->out);
    dk_check_dim(&c, "y", y, 0, x->shape[0]);
    check_matrix(&c, x);
    check_matrix(&c, y);
    for (int32_t i = 0; c.ok && i < linear->count; i++) {
        const dk_parameter *weight = linear->weights[i], *bias = linear->biases[i];
        dk_check_view(&c, weight->name, &weight->value, weight->frozen ? linear->types : dk_check_real(&c), 2, 2);
        check_matrix(&c, &weight->value);
        if (bias) dk_check_view(&c, bias->name, &bias->value, dk_check_stored(&c), 1, 1);
    }
    return c.ok;
}

void dk_linear_forward_then(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y,
                            const dk_linear_end *end)
{
    const dk_ops *ops = queue->backend->ops;
    const int64_t half = linear->out / 2;
    ops->linear_forward(queue, linear, precision, x, y);
    if (dk_view_present(end->onto)) ops->add(queue, end->onto, y, end->out);
    else
        ops->glu(queue, end->activation, dk_view_columns(y, 0, half), dk_view_columns(y, half, linear->out - half),
                 end->out);
}
