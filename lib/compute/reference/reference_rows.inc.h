/* reference_rows.inc.h - elementwise ops, moves of rows, norms, rotary positions, activations. */

static void op_fill(dk_queue *queue, dk_view y, double value)
{
    if (!dk_check_fill(queue, &y)) return;
    for (int64_t r = 0; r < rows_of(&y); r++)
        for (int64_t c = 0; c < width_of(&y); c++) put(&y, r, c, (REAL)value);
}

static void op_convert(dk_queue *queue, dk_view x, dk_view y)
{
    if (!dk_check_convert(queue, &x, &y)) return;
    for (int64_t r = 0; !dk_dtype_size(y.dtype) && r < rows_of(&y); r++) /* blocks */
        memcpy(element(&y, r, 0), element(&x, r, 0), (size_t)dk_dtype_bytes(x.dtype, width_of(&x)));
    for (int64_t r = 0; dk_dtype_size(y.dtype) && r < rows_of(&y); r++)
        for (int64_t c = 0; c < width_of(&y); c++) put(&y, r, c, get(&x, r, c));
}

static void op_axpy(dk_queue *queue, double a, dk_view x, dk_view y)
{
    if (!dk_check_pair(queue, "axpy", &x, &y)) return;
    for (int64_t r = 0; r < rows_of(&y); r++)
        for (int64_t c = 0; c < width_of(&y); c++) add_to(&y, r, c, (REAL)a * get(&x, r, c));
}

static void op_scale(dk_queue *queue, dk_view y, double a)
{
    if (!dk_check_scale(queue, &y)) return;
    for (int64_t r = 0; r < rows_of(&y); r++)
        for (int64_t c = 0; c < width_of(&y); c++) put(&y, r, c, (REAL)a * get(&y, r, c));
}

static void op_add(dk_queue *queue, dk_view a, dk_view b, dk_view y)
{
    if (!dk_check_add(queue, &a, &b, &y)) return;
    for (int64_t r = 0; r < rows_of(&y); r++)
        for (int64_t c = 0; c < width_of(&y); c++) put(&y, r, c, get(&a, r, c) + get(&b, r, c));
}

static void op_embed(dk_queue *queue, dk_view table, dk_view ids, double scale, dk_view y, int32_t add)
{
    if (!dk_check_embed(queue, &table, &ids, &y)) return;
    for (int64_t r = 0; r < rows_of(&y); r++) {
        for (int64_t c = 0; c < width_of(&y); c++) {
            REAL value = (REAL)scale * get(&table, id_at(&ids, r), c);
            put(&y, r, c, add ? get(&y, r, c) + value : value);
        }
    }
}

static void op_embed_backward(dk_queue *queue, dk_view gradient, dk_view ids, double scale, dk_view dy)
{
    if (!dk_check_embed_backward(queue, &gradient, &ids, &dy)) return;
    for (int64_t r = 0; r < rows_of(&dy); r++)
        for (int64_t c = 0; c < width_of(&dy); c++) add_to(&gradient, id_at(&ids, r), c, (REAL)scale * get(&dy, r, c));
}

static void copy_row(const dk_view *x, int64_t from, const dk_view *y, int64_t to)
{
    memcpy(element(y, to, 0), element(x, from, 0), (size_t)dk_dtype_bytes(x->dtype, width_of(x)));
}

static void op_gather_rows(dk_queue *queue, dk_view x, dk_view rows, dk_view y)
{
    if (!dk_check_move_rows(queue, "gather_rows", &x, &rows, &y, 0, 0)) return;
    for (int64_t r = 0; r < rows_of(&y); r++) copy_row(&x, id_at(&rows, r), &y, r);
}

static void op_scatter_rows(dk_queue *queue, dk_view x, dk_view rows, dk_view y, int32_t add)
{
    if (!dk_check_move_rows(queue, "scatter_rows", &x, &rows, &y, 1, add)) return;
    for (int64_t r = 0; r < rows_of(&x); r++) {
        if (!add) copy_row(&x, r, &y, id_at(&rows, r));
        for (int64_t c = 0; add && c < width_of(&x); c++) add_to(&y, id_at(&rows, r), c, get(&x, r, c));
    }
}

/* ---- norms: y = (x - mean)/deviation * (offset + w) + b; RMS (Zhang & Sennrich 2019): mean is 0 ---- */
static REAL norm_weight(const dk_norm_args *args, int64_t c)
{
    return args->weight.buffer ? (REAL)args->weight_offset + get(&args->weight, 0, c) : 1;
}

static void row_stats(const dk_norm_args *args, const dk_view *x, int64_t r, REAL *mean, REAL *inverse)
{
    REAL sum = 0, squares = 0, n = (REAL)width_of(x);
    if (args->kind == DK_NORM_LAYER)
        for (int64_t c = 0; c < width_of(x); c++) sum += get(x, r, c);
    *mean = sum / n;
    for (int64_t c = 0; c < width_of(x); c++) squares += (get(x, r, c) - *mean) * (get(x, r, c) - *mean);
    *inverse = 1 / sqrt(squares / n + (REAL)args->epsilon);
}

static void op_norm(dk_queue *queue, const dk_norm_args *args, dk_view x, dk_view y, dk_view stats)
{
    if (!dk_check_norm(queue, args, &x, &y, &stats)) return;
    for (int64_t r = 0; r < rows_of(&x); r++) {
        REAL mean, inverse;
        row_stats(args, &x, r, &mean, &inverse);
        for (int64_t c = 0; c < width_of(&x); c++) {
            REAL bias = args->bias.buffer ? get(&args->bias, 0, c) : 0;
            put(&y, r, c, (get(&x, r, c) - mean) * inverse * norm_weight(args, c) + bias);
        }
        if (!stats.buffer) continue;
        put(&stats, r, 0, mean);
        put(&stats, r, 1, inverse);
    }
}

/* With n = (x - mean)*inverse and g = dy*w: dx = inverse*(g - mean(g) - n*mean(g*n)); RMS has no mean(g). */
static void norm_backward_row(const dk_norm_args *args, const dk_view *x, const dk_view *stats, const dk_view *dy,
                              const dk_view *dx, int32_t add, int64_t r)
{
    REAL mean = get(stats, r, 0), inverse = get(stats, r, 1), width = (REAL)width_of(x), sum = 0, product = 0;
    for (int64_t c = 0; c < width_of(x); c++) {
        REAL g = get(dy, r, c) * norm_weight(args, c);
        sum += g;
        product += g * (get(x, r, c) - mean) * inverse;
    }
    if (args->kind == DK_NORM_RMS) sum = 0;
    for (int64_t c = 0; c < width_of(x); c++) {
        REAL g = get(dy, r, c) * norm_weight(args, c), n = (get(x, r, c) - mean) * inverse;
        REAL value = inverse * (g - sum / width - n * product / width);
        put(dx, r, c, add ? get(dx, r, c) + value : value);
    }
}

static void op_norm_backward(dk_queue *queue, const dk_norm_args *args, dk_view x, dk_view stats, dk_view dy,
                             dk_view dx, int32_t add, dk_view dweight, dk_view dbias)
{
    if (!dk_check_norm_backward(queue, args, &x, &stats, &dy, &dx, &dweight, &dbias)) return;
    for (int64_t c = 0; c < width_of(&x); c++) {
        REAL sum = 0, product = 0;
        for (int64_t r = 0; r < rows_of(&x); r++) {
            sum += get(&dy, r, c);
            product += get(&dy, r, c) * (get(&x, r, c) - get(&stats, r, 0)) * get(&stats, r, 1);
        }
        if (dweight.buffer) add_to(&dweight, 0, c, product);
        if (dbias.buffer) add_to(&dbias, 0, c, sum);
    }
    for (int64_t r = 0; dx.buffer && r < rows_of(&x); r++) norm_backward_row(args, &x, &stats, &dy, &dx, add, r);
}

/* Su et al. 2021; inverse rotates back, which is also the gradient. */
static void op_rope(dk_queue *queue, dk_view x, dk_view table, dk_view positions, int32_t inverse)
{
    if (!dk_check_rope(queue, &x, &table, &positions)) return;
    int64_t half = table.shape[1];
    for (int64_t r = 0; r < rows_of(&x); r++) {
        for (int64_t i = 0; i < half; i++) {
            int64_t row = id_at(&positions, r / x.shape[1]) * half + i;
            REAL cosine = get(&table, row, 0), sine = inverse ? -get(&table, row, 1) : get(&table, row, 1);
            REAL a = get(&x, r, i), b = get(&x, r, i + half);
            put(&x, r, i, a * cosine - b * sine);
            put(&x, r, i + half, b * cosine + a * sine);
        }
    }
}

/* ---- activations (GELU: Hendrycks & Gimpel 2016; SiLU: Elfwing et al. 2018) ---- */
#define ROOT_2_OVER_PI ((REAL)0.797884560802865355879892)
#define ROOT_HALF ((REAL)0.707106781186547524400844)
#define ROOT_1_OVER_2PI ((REAL)0.398942280401432677939946)

static REAL activate(dk_activation kind, REAL x)
{
    switch (kind) {
    case DK_ACT_SILU:
        return x / (1 + exp(-x));
    case DK_ACT_GELU_TANH:
        return x * (1 + tanh(ROOT_2_OVER_PI * (x + (REAL)0.044715 * x * x * x))) / 2;
    case DK_ACT_GELU_ERF:
        return x * (1 + erf(x * ROOT_HALF)) / 2;
    case DK_ACT_RELU:
        return x > 0 ? x : 0;
    }
    return 0;
}

static REAL activate_slope(dk_activation kind, REAL x)
{
    REAL s, t;
    switch (kind) {
    case DK_ACT_SILU:
        s = 1 / (1 + exp(-x));
        return s * (1 + x * (1 - s));
    case DK_ACT_GELU_TANH:
        t = tanh(ROOT_2_OVER_PI * (x + (REAL)0.044715 * x * x * x));
        return (1 + t) / 2 + x * (1 - t * t) / 2 * ROOT_2_OVER_PI * (1 + 3 * (REAL)0.044715 * x * x);
    case DK_ACT_GELU_ERF:
        return (1 + erf(x * ROOT_HALF)) / 2 + x * ROOT_1_OVER_2PI * exp(-x * x / 2);
    case DK_ACT_RELU:
        return x > 0 ? 1 : 0;
    }
    return 0;
}

static void op_glu(dk_queue *queue, dk_activation kind, dk_view gate, dk_view up, dk_view y)
{
    if (!dk_check_glu(queue, kind, &gate, &up, &y)) return;
    for (int64_t r = 0; r < rows_of(&y); r++)
        for (int64_t c = 0; c < width_of(&y); c++)
            put(&y, r, c, activate(kind, get(&gate, r, c)) * (up.buffer ? get(&up, r, c) : 1));
}

static void op_glu_backward(dk_queue *queue, dk_activation kind, dk_view gate, dk_view up, dk_view dy, dk_view dgate,
                            dk_view dup)
{
    if (!dk_check_glu_backward(queue, kind, &gate, &up, &dy, &dgate, &dup)) return;
    for (int64_t r = 0; r < rows_of(&dy); r++) {
        for (int64_t c = 0; c < width_of(&dy); c++) {
            REAL x = get(&gate, r, c), u = up.buffer ? get(&up, r, c) : 1, d = get(&dy, r, c);
            put(&dgate, r, c, d * u * activate_slope(kind, x));
            if (up.buffer) put(&dup, r, c, d * activate(kind, x));
        }
    }
}

static void fill_rows(dk_ops *ops)
{
    ops->fill = op_fill;
    ops->convert = op_convert;
    ops->axpy = op_axpy;
    ops->scale = op_scale;
    ops->add = op_add;
    ops->embed = op_embed;
    ops->embed_backward = op_embed_backward;
    ops->gather_rows = op_gather_rows;
    ops->scatter_rows = op_scatter_rows;
    ops->norm = op_norm;
    ops->norm_backward = op_norm_backward;
    ops->rope = op_rope;
    ops->glu = op_glu;
    ops->glu_backward = op_glu_backward;
}
