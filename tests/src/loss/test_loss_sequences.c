/* Losses of a host whose rows hang on what their whole sequence says, or on another sequence: the pass that measures,
 * against finite differences in double, whatever strips, threads, masks and weights are. */
#include "loss_fixture.h"

enum { R = 30, V = 23, W = 7, SEQUENCES = 6 };
static const int64_t lengths[SEQUENCES] = {5, 7, 1, 9, 2, 6};
static float hidden[R * W], head[V * W], teacher[R * V], weights[R], row_values[R];
static float grad_hidden[3][R * W], grad_head[3][V * W];
static int32_t labels[R], sequences[R];

enum { X, ONE, WEIGHTED_X, WEIGHT, SUMS }; /* of a row: x = log q[label] - log p[label] */

typedef struct watched {
    int measured, evaluated, first_after, poison;
} watched;

static double x_of(const distill_loss_rows *rows, int64_t i)
{
    const int64_t at = i * rows->vocab + rows->labels[i];
    return (double)rows->student[at] - (double)rows->teacher[at];
}

static int32_t measure(void *user, const distill_loss_rows *rows, double *out)
{
    watched *w = user;
    CHECK(!rows->value && !rows->gradient && !rows->sequence_sums);
    CHECK_INT(rows->sequence_count, SEQUENCES);
    w->measured += (int)rows->rows;
    if (w->evaluated) w->first_after++;
    for (int64_t i = 0; i < rows->rows; i++) {
        const double x = x_of(rows, i), weight = (double)rows->weights[i];
        out[i * SUMS + X] = w->poison ? NAN : x;
        out[i * SUMS + ONE] = 1;
        out[i * SUMS + WEIGHTED_X] = weight * x;
        out[i * SUMS + WEIGHT] = weight;
    }
    return DISTILL_CB_OK;
}

/* (x - mean of x over the sequence)^2 */
static int32_t spread(void *user, const distill_loss_rows *rows)
{
    watched *w = user;
    w->evaluated += (int)rows->rows;
    for (int64_t i = 0; i < rows->rows; i++) {
        const double *sums = rows->sequence_sums + rows->sequences[i] * SUMS, mean = sums[X] / sums[ONE],
                     x = x_of(rows, i), all = sums[WEIGHTED_X] - mean * sums[WEIGHT];
        rows->value[i] = (x - mean) * (x - mean);
        if (rows->gradient)
            rows->gradient[i * rows->vocab + rows->labels[i]] =
                (float)(2 * (x - mean) - 2 * all / sums[ONE] / (double)rows->weights[i]);
    }
    return DISTILL_CB_OK;
}

/* log(1 + exp(y - x)) of the sums of a pair of sequences 2k and 2k + 1, shared by the rows of the first. */
static int32_t pairs(void *user, const distill_loss_rows *rows)
{
    watched *w = user;
    w->evaluated += (int)rows->rows;
    for (int64_t i = 0; i < rows->rows; i++) {
        const int64_t own = rows->sequences[i], first = own / 2 * 2;
        const double *a = rows->sequence_sums + first * SUMS, *b = a + SUMS, d = a[WEIGHTED_X] - b[WEIGHTED_X],
                     slope = -1 / (1 + exp(d)), weight = (double)rows->weights[i];
        if (own == first) rows->value[i] = log1p(exp(-d)) / a[ONE] / weight;
        if (rows->gradient) rows->gradient[i * rows->vocab + rows->labels[i]] = (float)(own == first ? slope : -slope);
    }
    return DISTILL_CB_OK;
}

static void fill(void)
{
    randomize(hidden, R * W, 1, 31);
    randomize(head, V * W, 0.7, 32);
    randomize(teacher, R * V, 1, 33);
    for (int64_t s = 0, r = 0; s < SEQUENCES; s++)
        for (int64_t i = 0; i < lengths[s]; i++, r++) {
            sequences[r] = (int32_t)s;
            labels[r] = (int32_t)(r * 11 % V);
            weights[r] = 0.5f + (float)(r % 4) / 4;
        }
    labels[3] = labels[8] = -100; /* masked: in no sum */
    weights[25] = 0;
}

typedef struct call {
    dense_call c;
    int64_t shape[2], head_shape[2];
    distill_tensor hidden, head, sequences, grad_hidden, grad_head;
} call;

static void set_call(call *k, int out)
{
    set_dense(&k->c, hidden, R, W, teacher, V);
    k->shape[0] = R;
    k->shape[1] = k->head_shape[1] = W;
    k->head_shape[0] = V;
    k->hidden = di_tensor_of(hidden, DISTILL_FLOAT, 32, 2, k->shape);
    k->head = di_tensor_of(head, DISTILL_FLOAT, 32, 2, k->head_shape);
    k->sequences = di_tensor_of(sequences, DISTILL_INT, 32, 1, k->shape);
    k->grad_hidden = di_tensor_of(grad_hidden[out], DISTILL_FLOAT, 32, 2, k->shape);
    k->grad_head = di_tensor_of(grad_head[out], DISTILL_FLOAT, 32, 2, k->head_shape);
    k->c.student.kind = DISTILL_HIDDEN;
    k->c.student.values = &k->hidden;
    k->c.student.head = &k->head;
    with_labels(&k->c, labels);
    with_weights(&k->c, weights);
    with_rows(&k->c, row_values);
    k->c.args.sequences = &k->sequences;
    k->c.args.grad_values = &k->grad_hidden;
    k->c.args.grad_head = &k->grad_head;
}

static double x64(int64_t r, const double *h)
{
    double z[V], lq[V], lp[V], given[V];
    for (int v = 0; v < V; v++) {
        z[v] = 0;
        given[v] = (double)teacher[r * V + v];
        for (int w = 0; w < W; w++) z[v] += h[r * W + w] * (double)head[v * W + w];
    }
    softmax64(z, V, 1, lq);
    softmax64(given, V, 1, lp);
    return lq[labels[r]] - lp[labels[r]];
}

static double wanted(int paired, const double *h)
{
    double x[R], sum = 0, of[SEQUENCES] = {0}, count[SEQUENCES] = {0}, weighed[SEQUENCES] = {0};
    for (int64_t r = 0; r < R; r++) {
        if (labels[r] < 0 || weights[r] == 0) continue;
        x[r] = x64(r, h);
        of[sequences[r]] += x[r];
        weighed[sequences[r]] += (double)weights[r] * x[r];
        count[sequences[r]]++;
    }
    for (int s = 0; paired && s < SEQUENCES; s += 2) sum += log1p(exp(weighed[s + 1] - weighed[s]));
    for (int64_t r = 0; !paired && r < R; r++) {
        if (labels[r] < 0 || weights[r] == 0) continue;
        const double d = x[r] - of[sequences[r]] / count[sequences[r]];
        sum += (double)weights[r] * d * d;
    }
    return sum;
}

static void check_differences(int paired, const float *gradient)
{
    double h[R * W];
    for (int i = 0; i < R * W; i++) h[i] = (double)hidden[i];
    for (int i = 0; i < R * W; i += 3) {
        const double at = h[i], step = 1e-5;
        h[i] = at + step;
        const double high = wanted(paired, h);
        h[i] = at - step;
        CHECK_NEAR((double)gradient[i], (high - wanted(paired, h)) / (2 * step), 2e-5);
        h[i] = at;
    }
}

static di_loss *add(fixture *f, const char *name, watched *w, uint32_t flags, int paired)
{
    dk_error err;
    distill_loss_callbacks table;
    DISTILL_INIT(&table);
    table.flags = DISTILL_LOSS_LOG_PROBS | flags;
    table.user = w;
    table.eval = paired ? pairs : spread;
    table.measure = measure;
    table.sums = SUMS;
    table.targets = 1 << DISTILL_DENSE;
    CHECK_OK(di_registry_add(f->registry, name, &table, &err));
    return make_loss(f, name, NULL);
}

TEST(against_finite_differences)
{
    fixture f;
    dk_error err;
    open_fixture(&f);
    fill();
    const int own = strcmp(f.backend->products, "cblas") != 0; /* a CBLAS's bits hang on how many rows there are */
    for (int paired = 0; paired < 2; paired++) {
        double h[R * W];
        watched w = {0};
        call k;
        di_loss *loss = add(&f, paired ? "pairs" : "spread", &w, 0, paired);
        for (int i = 0; i < R * W; i++) h[i] = (double)hidden[i];
        set_call(&k, 0);
        CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
        CHECK_NEAR(k.c.args.sum, wanted(paired, h), 1e-6 * wanted(paired, h));
        CHECK_INT(w.measured, R - 3);
        CHECK_INT(w.evaluated, R - 3);
        CHECK_INT(w.first_after, 0); /* all rows are measured before the first is evaluated */
        check_differences(paired, grad_hidden[0]);
        /* strips of few rows, which cut sequences: the same bits but for the head's gradient, which adds up by them */
        for (int64_t memory = 12 << 10; memory < 1 << 17; memory += 5000) {
            const double sum = k.c.args.sum;
            set_call(&k, 1);
            k.c.args.memory = memory;
            CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
            CHECK_NEAR(k.c.args.sum, sum, own ? 1e-12 : 1e-6 * sum);
            if (own) CHECK(memcmp(grad_hidden[0], grad_hidden[1], sizeof grad_hidden[0]) == 0);
            for (int i = 0; i < R * W; i++) CHECK_NEAR((double)grad_hidden[1][i], (double)grad_hidden[0][i], 1e-5);
            for (int i = 0; i < V * W; i++) CHECK_NEAR((double)grad_head[1][i], (double)grad_head[0][i], 1e-5);
        }
        di_loss_release(loss);
    }
    close_fixture(&f);
}

static int32_t quiet_measure(void *user, const distill_loss_rows *rows, double *out) /* from several threads */
{
    watched own = {0};
    (void)user;
    return measure(&own, rows, out);
}

static int32_t quiet_spread(void *user, const distill_loss_rows *rows)
{
    watched own = {0};
    (void)user;
    return spread(&own, rows);
}

/* Beside other terms, at a temperature, and from several threads. */
TEST(among_other_terms)
{
    fixture f;
    dk_error err;
    watched w = {0};
    double sums[4];
    static const char *const yaml[] = {
        "[{type: spread, temperature: 2, t_squared: off}]", "[{type: forward_kl}]", "[{type: cross_entropy}]",
        ("[{type: forward_kl, weight: 2}, {type: spread, temperature: 2, t_squared: off, weight: 0.5}, "
         "{type: cross_entropy, weight: 0.25}, {type: threaded, temperature: 2, t_squared: off, weight: 0.5}]")};
    static const double factors[] = {1, 2, 0.25};
    static double together[R * W];
    open_fixture(&f);
    fill();
    di_loss_release(add(&f, "spread", &w, 0, 0));
    distill_loss_callbacks table;
    DISTILL_INIT(&table);
    table.flags = DISTILL_LOSS_LOG_PROBS | DISTILL_LOSS_MT;
    table.eval = quiet_spread;
    table.measure = quiet_measure;
    table.sums = SUMS;
    table.targets = 1 << DISTILL_DENSE;
    CHECK_OK(di_registry_add(f.registry, "threaded", &table, &err));
    CHECK_OK(dk_host_set_threads(f.host, 4, NULL, NULL, NULL, &err));
    for (int i = 0; i < 4; i++) {
        call k;
        di_loss *loss = make_loss(&f, NULL, yaml[i]);
        set_call(&k, 0);
        CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
        sums[i] = k.c.args.sum;
        for (int j = 0; i < 3 && j < R * W; j++) together[j] += factors[i] * (double)grad_hidden[0][j];
        di_loss_release(loss);
    }
    CHECK_NEAR(sums[3], sums[0] + 2 * sums[1] + 0.25 * sums[2], 1e-6 * sums[3]);
    for (int j = 0; j < R * W; j++) CHECK_NEAR((double)grad_hidden[0][j], together[j], 1e-5);
    close_fixture(&f);
}

TEST(what_is_refused)
{
    fixture f;
    dk_error err;
    watched w = {0};
    call k;
    open_fixture(&f);
    fill();
    di_loss *loss = add(&f, "spread", &w, 0, 0);
    w.poison = 1;
    set_call(&k, 0);
    CHECK_INT(di_loss_eval(f.backend, loss, &k.c.args, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "loss spread: a number that it measured of row 0 is nan");
    w.poison = 0;
    sequences[7] = 5;
    CHECK_INT(di_loss_eval(f.backend, loss, &k.c.args, &err), DK_E_INVALID);
    CHECK_HAS(err.message,
              "args.sequences: entry 7 is 5 behind 1; they begin at 0, and each is its row's before it or one more");
    sequences[7] = 0;
    CHECK_INT(di_loss_eval(f.backend, loss, &k.c.args, &err), DK_E_INVALID);
    sequences[7] = 1;
    CHECK_OK(di_loss_eval(f.backend, loss, &k.c.args, &err));
    distill_loss_callbacks table;
    DISTILL_INIT(&table);
    table.eval = spread;
    table.measure = measure;
    CHECK_INT(di_registry_add(f.registry, "x", &table, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "loss x has a measure and sums 0; it has both, 1 to 64 numbers, or neither");
    table.measure = NULL;
    table.sums = 3;
    CHECK_INT(di_registry_add(f.registry, "x", &table, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "loss x has no measure and sums 3");
    table.sums = 0;
    table.fallback = "spread";
    CHECK_INT(di_registry_add(f.registry, "x", &table, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "fallback of loss x: spread measures sequences first, which a fallback does not");
    table.fallback = NULL;
    table.struct_size = offsetof(distill_loss_callbacks, measure); /* an older caller's */
    CHECK_OK(di_registry_add(f.registry, "x", &table, &err));
    di_loss_release(loss);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(against_finite_differences) TEST_CASE(among_other_terms) TEST_CASE(what_is_refused))
