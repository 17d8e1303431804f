/* compute_cases.h - a case for every op with a gradient, shared by the tests of the reference and of the CPU
 * backend. */
#ifndef TESTS_COMPUTE_CASES_H
#define TESTS_COMPUTE_CASES_H

#include "compute_fixture.h"

/* p: rows, in, out of the first weight, out of the second (0 = none), in_out, dtype of frozen weights (0 = trained),
 * gap */
static inline void case_linear(fx *f)
{
    int64_t rows = f->p[0], in = f->p[1], outs[2] = {f->p[2], f->p[3]}, out = outs[0] + outs[1], gap = f->p[6];
    int32_t count = outs[1] ? 2 : 1, in_out = (int32_t)f->p[4], frozen = f->p[5] != 0;
    dk_parameter weights[2] = {{0}}, biases[2] = {{0}}, *w[2] = {&weights[0], &weights[1]}, *b[2] = {&biases[0], NULL};
    for (int i = 0; i < count; i++) {
        int64_t shape[2] = {in_out ? in : outs[i], in_out ? outs[i] : in};
        weights[i].name = "weight";
        weights[i].frozen = frozen;
        weights[i].value = fx_input(f, 10 + i, (int)f->p[5], -1, 1, 2, shape, 0);
        if (!frozen) weights[i].gradient = fx_view(f, f->backend->real, 2, shape, 0);
    }
    biases[0].name = "bias";
    biases[0].value = fx_input_1d(f, 12, 0, -1, 1, outs[0]);
    biases[0].gradient = fx_view(f, f->backend->real, 1, &outs[0], 0);
    dk_linear_spec spec = {.weights = w, .biases = b, .count = count, .in_out = in_out, .uses = DK_USE_ALL};
    dk_linear *linear = NULL;
    dk_error err;
    CHECK_OK(OPS(f)->linear_create(f->backend, &spec, &linear, &err));
    if (!linear) return;
    dk_view x = fx_input_2d(f, 1, -1, 1, rows, in, gap), dy = fx_input_2d(f, 2, -1, 1, rows, out, gap);
    dk_view y = fx_view(f, f->backend->real, 2, dy.shape, gap), dx = fx_view(f, f->backend->real, 2, x.shape, gap);
    OPS(f)->fill(&f->queue, y, NAN);
    OPS(f)->fill(&f->queue, dx, NAN);
    OPS(f)->linear_forward(&f->queue, linear, DK_PRECISION_FULL, x, y);
    fx_loss(f, y, dy);
    OPS(f)->linear_backward_input(&f->queue, linear, DK_PRECISION_FULL, dy, dx, 0);
    fx_gradient(f, 1, dx);
    OPS(f)->linear_backward_input(&f->queue, linear, DK_PRECISION_FULL, dy, dx, 1);
    fx_out(f, dx);
    OPS(f)->linear_backward_weight(&f->queue, linear, DK_PRECISION_FULL, x, dy);
    for (int i = 0; !frozen && i < count; i++) fx_gradient(f, 10 + i, weights[i].gradient);
    fx_gradient(f, 12, biases[0].gradient);
    OPS(f)->linear_backward_weight(&f->queue, linear, DK_PRECISION_FULL, x, dy); /* adds */
    fx_out(f, biases[0].gradient);
    OPS(f)->linear_free(f->backend, linear);
}

/* p: kind, rows, heads (0 = rank 2), width, has bias, dtype of weight and bias, gap, weight offset */
static inline void case_norm(fx *f)
{
    int64_t rows = f->p[1], heads = f->p[2], width = f->p[3], gap = f->p[6];
    int64_t shape2[2] = {rows, width}, shape3[3] = {rows, heads, width}, all = rows * (heads ? heads : 1);
    const int64_t *shape = heads ? shape3 : shape2;
    int32_t rank = heads ? 3 : 2;
    dk_norm_args args = {.kind = (dk_norm_kind)f->p[0], .epsilon = 1e-5, .weight_offset = (double)f->p[7]};
    args.weight = fx_input_1d(f, 10, (int)f->p[5], -1, 1, width);
    if (f->p[4]) args.bias = fx_input_1d(f, 11, (int)f->p[5], -1, 1, width);
    dk_view x = fx_input(f, 1, 0, -1, 2, rank, shape, gap), dy = fx_input(f, 2, 0, -1, 1, rank, shape, gap);
    dk_view y = fx_view(f, f->backend->real, rank, shape, gap), dx = fx_view(f, f->backend->real, rank, shape, 0);
    int64_t stats_shape[2] = {all, 2};
    dk_view stats = fx_view(f, f->backend->real, 2, stats_shape, 0);
    dk_view dweight = fx_view(f, f->backend->real, 1, &width, 0), dbias = fx_view(f, f->backend->real, 1, &width, 0);
    OPS(f)->norm(&f->queue, &args, x, y, stats);
    fx_loss(f, y, dy);
    OPS(f)->norm_backward(&f->queue, &args, x, stats, dy, dx, 0, dweight, dbias);
    fx_gradient(f, 1, dx);
    fx_gradient(f, 10, dweight);
    if (f->p[4]) fx_gradient(f, 11, dbias);
    OPS(f)->norm_backward(&f->queue, &args, x, stats, dy, dx, 1, dweight, dk_view_none());
    fx_out(f, dx);
    OPS(f)->norm_backward(&f->queue, &args, x, stats, dy, dy, 0, dk_view_none(), dk_view_none()); /* in place */
    fx_out(f, dy);
}

/* p: kind, rows, width, gated, gap, range */
static inline void case_glu(fx *f)
{
    dk_activation kind = (dk_activation)f->p[0];
    int64_t shape[2] = {f->p[1], f->p[2]}, gap = f->p[4];
    double range = (double)f->p[5];
    dk_view gate = fx_input(f, 1, 0, -range, range, 2, shape, gap), dy = fx_input(f, 3, 0, -1, 1, 2, shape, gap);
    dk_view up = f->p[3] ? fx_input(f, 2, 0, -1, 1, 2, shape, gap) : dk_view_none(),
            y = fx_view(f, f->backend->real, 2, shape, 0);
    dk_view dgate = fx_view(f, f->backend->real, 2, shape, 0), dup = fx_view(f, f->backend->real, 2, shape, 0);
    OPS(f)->glu(&f->queue, kind, gate, up, y);
    fx_loss(f, y, dy);
    OPS(f)->glu_backward(&f->queue, kind, gate, up, dy, dgate, f->p[3] ? dup : dk_view_none());
    fx_gradient(f, 1, dgate);
    if (f->p[3]) fx_gradient(f, 2, dup);
    OPS(f)->glu_backward(&f->queue, kind, gate, up, dy, gate, up); /* in place */
    fx_out(f, gate);
}

/* p: rows, heads, dim, turned dims, gap */
static inline void case_rope(fx *f)
{
    int64_t shape[3] = {f->p[0], f->p[1], f->p[2]}, table_shape[3] = {50, f->p[3] / 2, 2};
    dk_view x = fx_input(f, 1, 0, -1, 1, 3, shape, f->p[4]), dy = fx_input(f, 2, 0, -1, 1, 3, shape, f->p[4]);
    dk_view table = fx_input(f, 3, DK_F32, -1, 1, 3, table_shape, 0), positions = fx_ids(f, 4, shape[0], 50);
    OPS(f)->rope(&f->queue, x, table, positions, 0);
    fx_loss(f, x, dy);
    OPS(f)->rope(&f->queue, dy, table, positions, 1);
    fx_gradient(f, 1, dy);
}

/* p: rows, table rows, width, dtype of the table, add */
static inline void case_embed(fx *f)
{
    int64_t shape[2] = {f->p[1], f->p[2]};
    dk_view table = fx_input(f, 1, (int)f->p[3], -1, 1, 2, shape, 0), ids = fx_ids(f, 2, f->p[0], f->p[1]);
    dk_view y = fx_input_2d(f, 3, -1, 1, f->p[0], f->p[2], 6), dy = fx_input_2d(f, 4, -1, 1, f->p[0], f->p[2], 6);
    dk_view gradient = fx_view(f, f->backend->real, 2, shape, 0);
    OPS(f)->embed(&f->queue, table, ids, 1.5, y, (int32_t)f->p[4]);
    fx_loss(f, y, dy);
    OPS(f)->embed_backward(&f->queue, gradient, ids, 1.5, dy);
    fx_gradient(f, 1, gradient);
}

/* p: rows, width, vocab, 100*temperature, cap, weights, gap, range of the logits */
static inline void case_log_softmax(fx *f)
{
    int64_t rows = f->p[0], width = f->p[1], vocab = f->p[2], gap = f->p[6];
    double temperature = (double)f->p[3] / 100, cap = (double)f->p[4], range = (double)f->p[7];
    dk_view z = fx_input_2d(f, 1, -range, range, rows, width, gap), h = fx_input_2d(f, 2, -1, 1, rows, width, gap);
    dk_view weights = f->p[5] ? fx_input_1d(f, 3, 0, 0, 2, rows) : dk_view_none();
    dk_view y = fx_view(f, f->backend->real, 2, z.shape, 0);
    OPS(f)->softcap(&f->queue, z, 0.5, cap);
    OPS(f)->log_softmax(&f->queue, z, vocab, temperature, y);
    double *log_q = fx_read(f, y), *slopes = fx_read(f, h), *by = f->p[5] ? fx_read(f, weights) : NULL;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < vocab; c++) f->loss += (by ? by[r] : 1) * log_q[r * width + c] * slopes[r * width + c];
    free(log_q);
    free(slopes);
    free(by);
    fx_out(f, y);
    OPS(f)->log_softmax_backward(&f->queue, y, vocab, temperature, weights, h);
    OPS(f)->softcap_backward(&f->queue, z, 0.5, cap, h);
    fx_gradient(f, 1, h);
    OPS(f)->log_softmax(&f->queue, z, vocab, temperature, z); /* in place */
    fx_out(f, z);
}

/* What products of a precision take exactly, so that only what they make themselves is rounded. */
static inline dk_view case_rounded(fx *f, dk_precision precision, dk_view view)
{
    double *values = fx_read(f, view);
    for (int64_t i = 0; precision == DK_PRECISION_BF16 && i < fx_count(view); i++)
        values[i] = (double)dk_bf16_to_f32(dk_f32_to_bf16((float)values[i]));
    fx_write(f, view, values);
    free(values);
    return view;
}

/* p: kind of batch + 10 in BF16, kv heads, group, dim, window, cap, gap, longest */
static inline void case_attention(fx *f)
{
    const dk_precision precision = f->p[0] >= 10 ? DK_PRECISION_BF16 : DK_PRECISION_FULL;
    const int64_t kind = f->p[0] % 10;
    static const int64_t lengths[3][5] = {{1, 0, 0, 0, 0}, {3, 1, 5, 2, 0}, {4, 7, 1, 0, 33}};
    static const int64_t counts[3] = {1, 4, 5};
    int64_t offsets[6] = {0}, sequences = counts[kind], kv = f->p[1], heads = kv * f->p[2], dim = f->p[3];
    for (int64_t s = 0; s < sequences; s++)
        offsets[s + 1] = offsets[s] + lengths[kind][s] * f->p[7] / (kind == 0 ? 1 : 4);
    int64_t rows = offsets[sequences], q_shape[3] = {rows, heads, dim}, k_shape[3] = {rows, kv, dim},
            lse_shape[2] = {rows, heads}, gap = f->p[6];
    dk_attention_args args = {.sequences = sequences,
                              .query_offsets = offsets,
                              .window = f->p[4],
                              .scale = 1.0 / sqrt((double)dim),
                              .softcap = (double)f->p[5]};
    if (f->backend->precisions >> precision & 1) args.precision = precision; /* the reference is always exact */
    dk_dtype real = f->backend->real;
    dk_view q = case_rounded(f, precision, fx_input(f, 1, 0, -2, 2, 3, q_shape, gap)),
            k = case_rounded(f, precision, fx_input(f, 2, 0, -2, 2, 3, k_shape, gap)),
            v = case_rounded(f, precision, fx_input(f, 3, 0, -1, 1, 3, k_shape, gap)),
            dy = case_rounded(f, precision, fx_input(f, 4, 0, -1, 1, 3, q_shape, gap));
    dk_view y = fx_view(f, real, 3, q_shape, gap), lse = fx_view(f, real, 2, lse_shape, 0);
    dk_view dq = fx_view(f, real, 3, q_shape, gap), dk = fx_view(f, real, 3, k_shape, gap),
            dv = fx_view(f, real, 3, k_shape, 0);
    OPS(f)->fill(&f->queue, dq, NAN);
    OPS(f)->fill(&f->queue, dk, NAN);
    OPS(f)->attention(&f->queue, &args, q, k, v, y, lse);
    fx_loss(f, y, dy);
    fx_out(f, lse);
    OPS(f)->attention_backward(&f->queue, &args, q, k, v, y, lse, dy, dq, dk, dv);
    fx_gradient(f, 1, dq);
    fx_gradient(f, 2, dk);
    fx_gradient(f, 3, dv);
}

#endif
