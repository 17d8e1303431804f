/* Losses on features where a run is not the plainest one: in pull mode, in bf16, with a teacher that has experts. */
#include "small.h"

static distill_error err;

static const char features[] = "{type: hidden_mse, weight: 0.3, hidden_mse.layers: [0, -1], "
                               "hidden_mse.teacher_layers: [1, -1], hidden_mse.projection: linear}, "
                               "{type: attention_mse, weight: 2}, {type: relation, weight: 0.4}";

/* A large epsilon: AdamW's update is nearly the gradient, and not its sign. */
static int32_t open_features(small *s, const char *rows, const char *train)
{
    return small_open(s, small_text("loss: [%s%s]\ntrain: {epsilon: 1%s}\n", rows, features, train), &err);
}

/* ---- pull mode ---- */

static void no_gradient(distill_strip *strip)
{
    for (int64_t r = 0; r < strip->rows; r++)
        memset(strip->student + r * strip->student_stride, 0, (size_t)strip->vocab * sizeof *strip->student);
}

/* p - q of forward_kl is the host's, from the logits that it is handed. */
static void softmax(const float *z, int64_t n, double *out)
{
    double top = (double)z[0], sum = 0;
    for (int64_t i = 1; i < n; i++) top = fmax(top, (double)z[i]);
    for (int64_t i = 0; i < n; i++) sum += out[i] = exp((double)z[i] - top);
    for (int64_t i = 0; i < n; i++) out[i] /= sum;
}

static void forward_kl(distill_strip *strip)
{
    double p[SMALL_VOCAB], q[SMALL_VOCAB];
    for (int64_t r = 0; r < strip->rows; r++) {
        float *z = strip->student + r * strip->student_stride;
        softmax(z, strip->vocab, q);
        softmax(strip->teacher + r * strip->teacher_stride, strip->vocab, p);
        for (int64_t i = 0; i < strip->vocab; i++) {
            strip->loss += (double)strip->weights[r] * p[i] * log(p[i] / q[i]);
            z[i] = (float)((double)strip->weights[r] * (q[i] - p[i]));
        }
    }
}

static int32_t pull_window(small *s, void (*rows)(distill_strip *strip), distill_progress *p)
{
    distill_forward forward;
    int32_t rc;
    do {
        DISTILL_INIT(&forward);
        if ((rc = distill_trainer_forward(s->trainer, 0, &forward, &err))) return rc;
        distill_strip strip;
        DISTILL_INIT(&strip);
        while (rows && !(rc = distill_trainer_next_rows(s->trainer, &strip, &err))) {
            CHECK(strip.teacher && strip.loss == 0);
            rows(&strip);
        }
        if (rows && rc != DISTILL_E_END) return rc;
        if ((rc = distill_trainer_backward(s->trainer, NULL, 0, &err))) return rc;
    } while (forward.micro_batch + 1 < forward.micro_batches);
    return distill_trainer_apply(s->trainer, p, &err);
}

/* rows NULL = the trainer's own loss on rows */
static void compare_pull(const char *of_rows, void (*rows)(distill_strip *strip), int32_t bitwise)
{
    small s, plain;
    REQUIRE_OK(open_features(&s, of_rows, ""));
    REQUIRE_OK(open_features(&plain, of_rows, ""));
    for (int i = 0; i < 4; i++) {
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        REQUIRE_OK(pull_window(&s, rows, &a));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, bitwise ? 0 : 2e-6 * b.loss);
        CHECK_NEAR(a.grad_norm, b.grad_norm, bitwise ? 0 : 1e-5 * b.grad_norm);
    }
    if (bitwise) CHECK(small_same_bits(s.student, plain.student));
    CHECK(small_distance(s.student, plain.student) <= 2e-6);
    small_close(&s);
    small_close(&plain);
}

TEST(pull_mode)
{
    REQUIRE(small_models("feature_modes"));
    compare_pull("{type: forward_kl}, ", NULL, 1);
    compare_pull("{type: forward_kl}, ", forward_kl, 0);
    compare_pull("", NULL, 1);
    compare_pull("", no_gradient, 1); /* the teacher's rows are there for who asks */
}

/* ---- bf16 ---- */

static int32_t one_step(small *s, const char *train, distill_progress *p)
{
    int32_t rc = open_features(s, "", train);
    DISTILL_INIT(p);
    return rc ? rc : distill_trainer_step(s->trainer, p, &err);
}

/* The gradient is that of fp32 but for the rounding of what is multiplied: so are the students after a step. */
TEST(bf16)
{
    small begin, full, half;
    distill_progress a, b;
    if (!small_own_products()) SKIP("this build forms products by cblas alone, which has no bf16");
    REQUIRE(small_models("feature_modes"));
    REQUIRE_OK(open_features(&begin, "", ""));
    REQUIRE_OK(one_step(&full, ", precision: fp32", &a));
    REQUIRE_OK(one_step(&half, ", precision: bf16", &b));
    const double way = small_distance(begin.student, full.student), apart = small_distance(half.student, full.student);
    CHECK(a.loss != b.loss); /* it is another precision */
    CHECK_NEAR(b.loss, a.loss, 1e-2 * a.loss);
    CHECK_NEAR(b.grad_norm, a.grad_norm, 2e-2 * a.grad_norm);
    if (!(way > 0 && apart > 0 && apart <= 0.03 * way)) FAIL("%g apart after %g", apart, way);
    small_close(&begin);
    small_close(&full);
    small_close(&half);
}

/* ---- experts ---- */

/* A teacher of another folder and another vocabulary, on ids that it knows. */
static int32_t open_experts(small *s, const char *train)
{
    enum { KNOWN = 29 };
    int32_t ids[SMALL_SEQUENCES * SMALL_LENGTH];
    int64_t offsets[SMALL_SEQUENCES + 1];
    distill_batch batch;
    memset(s, 0, sizeof *s);
    for (int64_t i = 0; i <= SMALL_SEQUENCES; i++) offsets[i] = i * SMALL_LENGTH;
    small_ids(ids, offsets[SMALL_SEQUENCES], 3);
    for (int64_t i = 0; i < offsets[SMALL_SEQUENCES]; i++) ids[i] %= KNOWN;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = SMALL_SEQUENCES;
    int32_t rc = small_env(s, NULL, small_text("loss: [%s]\ntrain: {epsilon: 1%s}\n", features, train), &err);
    if (!rc) rc = distill_teacher_open(s->env, TEST_DATA "/families/mixtral", s->options, &s->teacher, &err);
    if (!rc)
        rc = distill_student_create(s->env, test_path(small_folder, "student.json"), NULL, s->options, &s->student,
                                    &err);
    if (!rc) rc = distill_dataset_from_tokens(s->env, &batch, s->options, &s->train, &err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, &err);
    return rc;
}

static double loss_after(const char *more, int64_t steps, small *s)
{
    distill_progress p;
    int32_t rc = open_experts(s, more);
    DISTILL_INIT(&p);
    for (int64_t i = 0; i < steps && !rc; i++) rc = distill_trainer_step(s->trainer, &p, &err);
    if (rc) FAIL("%s: %s", more, err.message);
    return p.loss;
}

/* It learns, windows of any size add up, and bf16 is near. */
TEST(a_teacher_with_experts)
{
    static const char fast[] = ", learning_rate: 0.3, schedule: constant";
    small s;
    REQUIRE(small_models("feature_modes"));
    const double first = loss_after(fast, 1, &s);
    small_close(&s);
    const double last = loss_after(fast, 6, &s);
    CHECK(last < first);
    small_close(&s);
    const double whole = loss_after(", micro_batch_size: 4", 3, &s);
    small_close(&s);
    const double cut = loss_after(", micro_batch_size: 1", 3, &s);
    small_close(&s);
    CHECK_NEAR(whole, cut, 1e-5 * whole);
    if (!small_own_products()) return; /* products by cblas alone, which has no bf16 */
    const double half = loss_after(", precision: bf16", 3, &s);
    small_close(&s);
    CHECK_NEAR(half, whole, 1e-2 * whole);
}

/* ---- memory ---- */

typedef struct meter {
    int64_t now, most;
} meter;

static void *take(void *user, size_t size, size_t align)
{
    meter *m = user;
    m->now += (int64_t)size;
    m->most = m->now > m->most ? m->now : m->most;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void give(void *user, void *ptr, size_t size, size_t align)
{
    (void)align;
    ((meter *)user)->now -= (int64_t)size;
    free(ptr);
}

static int32_t open_metered(small *s, meter *m, const char *loss)
{
    distill_allocator allocator;
    DISTILL_INIT(&allocator);
    allocator.user = m;
    allocator.alloc = take;
    allocator.free = give;
    memset(m, 0, sizeof *m);
    const char *yaml = small_text("loss: [%s]\ntrain: {loss_memory: 1048576}\n", loss);
    int32_t rc = small_parts(s, &allocator, yaml, &err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, &err);
    return rc;
}

/* Room for logits is there where a loss compares them or a host pulls them, and not before. */
TEST(no_logits_no_strips)
{
    enum { MICRO = 2, STRIPS = 2 * (int)sizeof(float) * SMALL_VOCAB * MICRO * (SMALL_LENGTH - 1) }; /* of both sides */
    small s;
    meter with, without;
    distill_progress p;
    REQUIRE(small_models("feature_modes"));
    DISTILL_INIT(&p);
    REQUIRE_OK(open_metered(&s, &with, "{type: relation}, {type: forward_kl}"));
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    small_close(&s);
    REQUIRE_OK(open_metered(&s, &without, "{type: relation}"));
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    if (!(without.most + STRIPS <= with.most))
        FAIL("%lld bytes without logits, %lld with, strips of %lld", (long long)without.most, (long long)with.most,
             (long long)STRIPS);
    const int64_t before = without.now;
    REQUIRE_OK(pull_window(&s, no_gradient, &p));
    CHECK(without.now >= before + STRIPS);
    const int64_t after = without.now;
    REQUIRE_OK(pull_window(&s, no_gradient, &p));
    CHECK_INT(without.now, after);
    small_close(&s);
    CHECK_INT(without.now, 0);
}

TEST_MAIN(TEST_CASE(pull_mode) TEST_CASE(bf16) TEST_CASE(a_teacher_with_experts) TEST_CASE(no_logits_no_strips))
