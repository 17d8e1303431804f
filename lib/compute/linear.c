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

int32_t dk_linear_create(dk_backend *backend, const dk_linear_spec *spec, uint64_t types, dk_linear **out,
                         dk_error *err)
{
    dk_linear *linear = NULL;
    int32_t rc;
    if (spec->count < 1 || !spec->weights) return dk_fail(err, DK_E_INTERNAL, "linear: no weights");
    DK_TRY(dk_new(backend->host, 1, &linear, err));
    DK_TRY(dk_new(backend->host, spec->count, &linear->weights, err));
    DK_TRY(dk_new(backend->host, spec->count, &linear->biases, err));
    linear->count = spec->count;
    linear->in_out = spec->in_out;
    linear->types = types;
    linear->in = -1;
    for (int32_t i = 0; i < spec->count; i++) {
        linear->weights[i] = spec->weights[i];
        linear->biases[i] = spec->biases ? spec->biases[i] : NULL;
        DK_TRY(check_weight(backend, linear->weights[i], linear, err));
        DK_TRY(check_bias(linear->biases[i], linear->weights[i], dk_linear_width(linear, i), err));
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
    dk_free(backend->host, linear->weights);
    dk_free(backend->host, linear->biases);
    dk_free(backend->host, linear);
}

/* Rows do not overlap and every size is an int: what a CBLAS asks of a matrix. */
static void check_matrix(dk_check *check, const dk_view *view)
{
    if (!check->ok) return;
    dk_check_that(check, view->shape[0] <= INT32_MAX && view->shape[1] <= INT32_MAX && view->stride[0] <= INT32_MAX,
                  "a matrix is too large");
    dk_check_that(check, view->shape[0] < 2 || view->stride[0] >= view->shape[1], "rows of a matrix overlap");
}

int32_t dk_linear_check(dk_queue *queue, const char *op, const dk_linear *linear, const dk_view *x, const dk_view *y)
{
    dk_check c = dk_check_begin(queue, op);
    dk_check_view(&c, "x", x, dk_check_real(&c), 2, 2);
    dk_check_view(&c, "y", y, dk_check_real(&c), 2, 2);
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
