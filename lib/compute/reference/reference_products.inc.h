/* reference_products.inc.h - y = x W^T + b and its two gradients; W is [out, in], or [in, out] where in_out is set. */

static REAL weight_at(const dk_linear *linear, const dk_view *weight, int64_t out, int64_t in)
{
    return linear->in_out ? get(weight, in, out) : get(weight, out, in);
}

static int32_t op_linear_create(dk_backend *backend, const dk_linear_spec *spec, dk_linear **out, dk_error *err)
{
    return dk_linear_create(backend, spec, backend->reads, out, err);
}

static void op_linear_forward(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x, dk_view y)
{
    if (!dk_linear_check(queue, "linear_forward", linear, DK_USE_FORWARD, precision, &x, &y)) return;
    int64_t column = 0;
    for (int32_t w = 0; w < linear->count; column += dk_linear_width(linear, w), w++) {
        for (int64_t r = 0; r < x.shape[0]; r++) {
            for (int64_t o = 0; o < dk_linear_width(linear, w); o++) {
                REAL sum = 0;
                for (int64_t i = 0; i < linear->in; i++)
                    sum += get(&x, r, i) * weight_at(linear, &linear->weights[w]->value, o, i);
                if (linear->biases[w]) sum += get(&linear->biases[w]->value, 0, o);
                put(&y, r, column + o, sum);
            }
        }
    }
}

static void op_linear_backward_input(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view dy,
                                     dk_view dx, int32_t add)
{
    if (!dk_linear_check(queue, "linear_backward_input", linear, DK_USE_BACKWARD_INPUT, precision, &dx, &dy)) return;
    for (int64_t r = 0; r < dx.shape[0]; r++) {
        for (int64_t i = 0; i < linear->in; i++) {
            REAL sum = add ? get(&dx, r, i) : 0;
            int64_t column = 0;
            for (int32_t w = 0; w < linear->count; column += dk_linear_width(linear, w), w++) {
                for (int64_t o = 0; o < dk_linear_width(linear, w); o++)
                    sum += get(&dy, r, column + o) * weight_at(linear, &linear->weights[w]->value, o, i);
            }
            put(&dx, r, i, sum);
        }
    }
}

static void add_weight_gradient(const dk_linear *linear, const dk_parameter *weight, const dk_view *x,
                                const dk_view *dy)
{
    for (int64_t o = 0; o < dy->shape[1]; o++) {
        for (int64_t i = 0; i < linear->in; i++) {
            REAL sum = 0;
            for (int64_t r = 0; r < x->shape[0]; r++) sum += get(dy, r, o) * get(x, r, i);
            add_to(&weight->gradient, linear->in_out ? i : o, linear->in_out ? o : i, sum);
        }
    }
}

static void add_bias_gradient(const dk_parameter *bias, const dk_view *dy)
{
    for (int64_t o = 0; o < dy->shape[1]; o++) {
        REAL sum = 0;
        for (int64_t r = 0; r < dy->shape[0]; r++) sum += get(dy, r, o);
        add_to(&bias->gradient, 0, o, sum);
    }
}

static void op_linear_backward_weight(dk_queue *queue, const dk_linear *linear, dk_precision precision, dk_view x,
                                      dk_view dy)
{
    if (!dk_linear_check(queue, "linear_backward_weight", linear, DK_USE_BACKWARD_WEIGHT, precision, &x, &dy)) return;
    int64_t column = 0;
    for (int32_t w = 0; w < linear->count; column += dk_linear_width(linear, w), w++) {
        const dk_parameter *weight = linear->weights[w], *bias = linear->biases[w];
        dk_view part = dk_view_columns(dy, column, dk_linear_width(linear, w));
        if (!weight->frozen && dk_check_gradient(queue, weight)) add_weight_gradient(linear, weight, &x, &part);
        if (bias && !bias->frozen && dk_check_gradient(queue, bias)) add_bias_gradient(bias, &part);
    }
}

static void fill_products(dk_ops *ops)
{
    ops->linear_free = dk_linear_free;
    ops->clear = dk_linear_clear;
    ops->settle = dk_linear_settle;
    ops->refresh = dk_linear_refresh;
    ops->update = dk_linear_update;
    ops->linear_keep = dk_linear_keep;
    ops->linear_kept_bytes = dk_linear_kept_bytes;
    ops->linear_create = op_linear_create;
    ops->linear_forward = op_linear_forward;
    ops->linear_forward_then = dk_linear_forward_then;
    ops->linear_backward_input = op_linear_backward_input;
    ops->linear_backward_weight = op_linear_backward_weight;
}
