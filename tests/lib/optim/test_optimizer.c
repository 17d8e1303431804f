#include "npz.h"
#include "optim/optim.h"
#include "test.h"

enum { TENSORS = 3, BIGGEST = 35 };
static const char *const names[TENSORS] = {"w", "b", "u"};
static const int64_t shapes[TENSORS][2] = {{7, 5}, {5, 1}, {3, 4}};
static const int32_t ranks[TENSORS] = {2, 1, 2};

typedef struct fixture {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    dk_buffer *buffers[2 * TENSORS];
    dk_parameter parameters[TENSORS];
    dk_error err;
} fixture;

static int open_fixture(fixture *f)
{
    dk_error err;
    memset(f, 0, sizeof *f);
    if (dk_host_create(NULL, &f->host, &err) || dk_backend_cpu(f->host, &f->backend, &err)) return 0;
    (void)dk_queue_open(&f->queue, f->backend, NULL);
    for (int i = 0; i < TENSORS; i++) {
        dk_parameter *p = &f->parameters[i];
        if (f->backend->ops->buffer_create(f->backend, 256, &f->buffers[2 * i], &err) ||
            f->backend->ops->buffer_create(f->backend, 256, &f->buffers[2 * i + 1], &err))
            return 0;
        p->name = names[i];
        p->value = dk_view_make(f->buffers[2 * i], 0, DK_F32, ranks[i], shapes[i]);
        p->gradient = dk_view_make(f->buffers[2 * i + 1], 0, DK_F32, ranks[i], shapes[i]);
    }
    return 1;
}

static void close_fixture(fixture *f)
{
    for (int i = 0; i < 2 * TENSORS; i++) f->backend->ops->buffer_free(f->backend, f->buffers[i]);
    dk_backend_free(f->backend);
    dk_host_release(f->host);
}

static void put(fixture *f, dk_view view, const double *values)
{
    float data[BIGGEST];
    for (int64_t i = 0; i < dk_view_count(&view); i++) data[i] = (float)values[i];
    f->backend->ops->copy_in(&f->queue, view, data);
}

static void check_view(fixture *f, dk_view view, const double *want, double tolerance, const char *what)
{
    float data[BIGGEST];
    f->backend->ops->copy_out(&f->queue, view, data);
    for (int64_t i = 0; i < dk_view_count(&view); i++)
        if (!(fabs((double)data[i] - want[i]) <= tolerance * (1 + fabs(want[i])))) {
            FAIL("%s[%d] is %.9g, not %.9g", what, (int)i, (double)data[i], want[i]);
            return;
        }
}

static npz_array get(const npz_file *file, const char *part, int tensor)
{
    char key[64];
    snprintf(key, sizeof key, "%s/%s", part, names[tensor]);
    return npz_get(file, key);
}

/* Ten steps of torch.optim.AdamW: parameters and both moments after each. Gradients come as sums over a window of 4. */
static void check_run(const char *name, dk_update update, int bias_is_decayed)
{
    npz_array start[TENSORS], gradients[TENSORS], results[TENSORS], first[TENSORS], second[TENSORS], lr, norms;
    dk_optimizer *optimizer = NULL;
    char path[128];
    npz_file file;
    fixture f;
    dk_error err;
    snprintf(path, sizeof path, "oracle/optim/%s.npz", name);
    REQUIRE(npz_open(test_path(test_assets(), path), &file));
    REQUIRE(open_fixture(&f));
    lr = npz_get(&file, "lr");
    norms = npz_get(&file, "grad_norm_before_clip");
    for (int i = 0; i < TENSORS; i++) {
        start[i] = get(&file, "p0", i), gradients[i] = get(&file, "grad", i), results[i] = get(&file, "param", i);
        first[i] = get(&file, "exp_avg", i), second[i] = get(&file, "exp_avg_sq", i);
        put(&f, f.parameters[i].value, start[i].values);
    }
    CHECK_OK(dk_optimizer_create(f.backend, f.parameters, TENSORS, f.backend->real, &optimizer, &err));
    for (int step = 0; step < 10; step++) {
        double norm = 0, sum = 0;
        update.learning_rate = lr.values[step];
        dk_optimizer_zero(optimizer, &f.queue);
        for (int i = 0; i < TENSORS; i++) {
            const int64_t count = dk_view_count(&f.parameters[i].value);
            double scaled[BIGGEST];
            for (int64_t k = 0; k < count; k++) {
                scaled[k] = gradients[i].values[step * count + k] * update.divisor;
                sum += gradients[i].values[step * count + k] * gradients[i].values[step * count + k];
            }
            put(&f, f.parameters[i].gradient, scaled);
        }
        CHECK_OK(dk_optimizer_norm(optimizer, &f.queue, &update, &norm, &err));
        CHECK_NEAR(norm, sqrt(sum), 1e-6 * (1 + norm));
        if (norms.count) CHECK_NEAR(norm, norms.values[step], 1e-5 * (1 + norm));
        CHECK_OK(dk_optimizer_apply(optimizer, &f.queue, &update, &err));
        for (int i = 0; i < TENSORS; i++) {
            const int64_t at = step * dk_view_count(&f.parameters[i].value);
            if (ranks[i] > 1 || !bias_is_decayed)
                check_view(&f, f.parameters[i].value, results[i].values + at, 2e-6, names[i]);
            check_view(&f, dk_optimizer_moment(optimizer, i, 0), first[i].values + at, 1e-6, "exp_avg");
            check_view(&f, dk_optimizer_moment(optimizer, i, 1), second[i].values + at, 1e-6, "exp_avg_sq");
            CHECK_INT(f.parameters[i].version, step + 1);
        }
    }
    CHECK_INT(dk_optimizer_step(optimizer), 10);
    dk_optimizer_free(optimizer);
    for (int i = 0; i < TENSORS; i++)
        free(start[i].values), free(gradients[i].values), free(results[i].values), free(first[i].values),
            free(second[i].values);
    free(lr.values), free(norms.values);
    npz_close(&file);
    close_fixture(&f);
}

TEST(oracle)
{
    if (!test_assets()) SKIP("DISTILL_TEST_ASSETS is not set");
    check_run("adamw_plain", (dk_update){0, 0.9, 0.999, 1e-8, 0, 4, 0, 0}, 0);
    check_run("adamw_decay", (dk_update){0, 0.9, 0.95, 1e-8, 0.1, 4, 0, 0}, 1); /* there vectors decay too */
    check_run("adamw_decay_clip_cosine", (dk_update){0, 0.9, 0.95, 1e-8, 0.1, 4, 1, 0}, 0);
    check_run("adamw_bigeps", (dk_update){0, 0.8, 0.9, 1e-3, 0.05, 4, 0.5, 0}, 0);
}

/* Decay touches matrices only; frozen parameters neither have moments nor move. */
TEST(who_is_decayed)
{
    static const double ones[BIGGEST] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                         1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const dk_update update = {0.5, 0.9, 0.95, 1e-8, 0.5, 1, 0, 0};
    double decayed[BIGGEST], norm;
    dk_optimizer *optimizer = NULL;
    dk_error err;
    fixture f;
    REQUIRE(open_fixture(&f));
    f.parameters[2].frozen = 1;
    f.parameters[2].gradient = dk_view_none();
    for (int i = 0; i < TENSORS; i++) put(&f, f.parameters[i].value, ones);
    for (int i = 0; i < BIGGEST; i++) decayed[i] = 0.75;
    CHECK_OK(dk_optimizer_create(f.backend, f.parameters, TENSORS, f.backend->real, &optimizer, &err));
    dk_optimizer_zero(optimizer, &f.queue);
    CHECK_OK(dk_optimizer_norm(optimizer, &f.queue, &update, &norm, &err));
    CHECK_OK(dk_optimizer_apply(optimizer, &f.queue, &update, &err));
    check_view(&f, f.parameters[0].value, decayed, 1e-7, "w");
    check_view(&f, f.parameters[1].value, ones, 0, "b");
    check_view(&f, f.parameters[2].value, ones, 0, "u");
    CHECK_INT(f.parameters[2].version, 0);
    CHECK(!dk_view_present(dk_optimizer_moment(optimizer, 2, 0)));
    dk_optimizer_free(optimizer);
    close_fixture(&f);
}

TEST(refusals)
{
    const dk_update update = {0.1, 0.9, 0.95, 1e-8, 0, 1, 1, 0}, nothing = {0.1, 0.9, 0.95, 1e-8, 0, 0, 1, 0};
    double bad[BIGGEST] = {0}, half[BIGGEST] = {0}, norm = -1;
    dk_optimizer *optimizer = NULL;
    dk_error err;
    fixture f;
    REQUIRE(open_fixture(&f));
    CHECK_OK(dk_optimizer_create(f.backend, f.parameters, TENSORS, 0, &optimizer, &err));
    CHECK_INT(dk_optimizer_norm(optimizer, &f.queue, &nothing, &norm, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "divisor");
    bad[3] = NAN;
    put(&f, f.parameters[1].gradient, bad);
    CHECK_INT(dk_optimizer_norm(optimizer, &f.queue, &update, &norm, &err), DK_E_NUMERIC);
    CHECK_HAS(err.message, "gradient of b is not finite at step 1");
    CHECK_NEAR(norm, -1, 0);
    bad[3] = 4;
    half[3] = 1;
    put(&f, f.parameters[1].gradient, bad);
    CHECK_OK(dk_optimizer_norm(optimizer, &f.queue, &update, &norm, &err));
    CHECK_NEAR(norm, 4, 0);
    CHECK_INT(dk_optimizer_apply(optimizer, &f.queue, &update, &err), DK_E_STAGE);
    CHECK_OK(dk_optimizer_average(optimizer, &f.queue, &err));
    check_view(&f, f.parameters[1].gradient, half, 1e-6, "averaged");
    dk_optimizer_free(optimizer);
    f.parameters[0].gradient = dk_view_none();
    CHECK_INT(dk_optimizer_create(f.backend, f.parameters, TENSORS, f.backend->real, &optimizer, &err), DK_E_INVALID);
    CHECK_HAS(err.message, "parameter w is not frozen and has no gradient");
    close_fixture(&f);
}

/* What no number of fp32 holds is said before weights or moments change: finite gradients that the second moment cannot
 * square, and factors that are infinite or nothing. */
TEST(gradients_that_moments_do_not_hold)
{
    static const struct {
        double gradient, divisor, clip;
        const char *part; /* NULL = it is an update */
    } cases[] = {
        {1e18, 1, 0, NULL},
        {1e20, 1, 0, "norm of the gradients is 1e+20 at step 1, more than AdamW's second moment holds squared"},
        {1e20, 1, 1, NULL},
        {1, 1e-30, 0, "norm of the gradients is 1e+30 at step 1"},
        {1, 1e-30, 1, NULL},
        {0, 1e-42, 1, "divided by weights that are 1e-42 together, would be multiplied by 1e+42"},
        {3e38, 1, 1e-3, "would be multiplied by"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int half = 0; half < 2; half++) {
            const dk_update update = {0.1, 0.9, 0.95, 1e-8, 0, cases[k].divisor, cases[k].clip, 0};
            double gradient[BIGGEST] = {0}, norm = -1;
            float weights[BIGGEST];
            dk_optimizer *optimizer = NULL;
            dk_error err;
            fixture f;
            REQUIRE(open_fixture(&f));
            CHECK_OK(dk_optimizer_create(f.backend, f.parameters, TENSORS, half ? DK_BF16 : DK_F32, &optimizer, &err));
            gradient[1] = cases[k].gradient;
            put(&f, f.parameters[1].gradient, gradient);
            const int32_t rc = dk_optimizer_norm(optimizer, &f.queue, &update, &norm, &err);
            CHECK_INT(rc, cases[k].part ? DK_E_NUMERIC : DK_OK);
            if (cases[k].part) CHECK_HAS(err.message, cases[k].part);
            else CHECK_OK(dk_optimizer_apply(optimizer, &f.queue, &update, &err));
            f.backend->ops->copy_out(&f.queue, f.parameters[1].value, weights);
            CHECK_NEAR((double)weights[1], cases[k].part ? 0 : -0.1, 1e-5);
            dk_optimizer_free(optimizer);
            close_fixture(&f);
        }
}

TEST_MAIN(TEST_CASE(gradients_that_moments_do_not_hold) TEST_CASE(oracle) TEST_CASE(who_is_decayed) TEST_CASE(refusals))
