/* Pull mode: the host owns the loop, the loss, or the optimiser, and gets what distill_trainer_step gives. */
#include "small.h"

/* A large epsilon keeps Adam from blowing up the last bits of gradients that are nearly zero. */
#define PULL "train: {epsilon: 1e-3}\n"

static int32_t pull_open(small *s, const char *more, distill_error *err)
{
    int32_t rc = small_parts(s, NULL, PULL, err);
    if (!rc && more) rc = distill_options_parse(s->options, more, strlen(more), "more", err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, err);
    return rc;
}

static void log_softmax(const float *z, int64_t count, double *out)
{
    double peak = z[0], sum = 0;
    for (int64_t i = 1; i < count; i++) peak = fmax(peak, z[i]);
    for (int64_t i = 0; i < count; i++) sum += exp(z[i] - peak);
    for (int64_t i = 0; i < count; i++) out[i] = z[i] - peak - log(sum);
}

/* KL(p||q) of the strip; its gradient over the logits. */
static double host_kl(distill_strip *strip)
{
    double p[SMALL_VOCAB], q[SMALL_VOCAB], loss = 0;
    for (int64_t r = 0; r < strip->rows; r++) {
        float *z = strip->student + r * strip->student_stride;
        log_softmax(z, strip->vocab, q);
        log_softmax(strip->teacher + r * strip->teacher_stride, strip->vocab, p);
        for (int64_t i = 0; i < strip->vocab; i++) {
            loss += strip->weights[r] * exp(p[i]) * (p[i] - q[i]);
            z[i] = (float)(strip->weights[r] * (exp(q[i]) - exp(p[i])));
        }
    }
    return loss;
}

/* One window by next_rows. */
static int32_t window_by_rows(small *s, distill_progress *p, int64_t *strips, distill_error *err)
{
    distill_forward forward;
    int32_t rc;
    do {
        distill_strip strip;
        int64_t next = 0;
        DISTILL_INIT(&forward);
        DISTILL_INIT(&strip);
        if ((rc = distill_trainer_forward(s->trainer, 0, &forward, err))) return rc;
        while (!(rc = distill_trainer_next_rows(s->trainer, &strip, err))) {
            CHECK_INT(strip.first_row, next);
            CHECK_INT(strip.vocab, SMALL_VOCAB);
            CHECK(strip.teacher && strip.labels && strip.weights);
            CHECK(!memcmp(strip.labels, (const int32_t *)forward.labels->data + next,
                          sizeof(int32_t) * (size_t)strip.rows));
            next += strip.rows;
            strip.loss = host_kl(&strip);
            ++*strips;
        }
        if (rc != DISTILL_E_END) return rc;
        CHECK_INT(next, forward.rows);
        if ((rc = distill_trainer_backward(s->trainer, NULL, 0, err))) return rc;
    } while (forward.micro_batch + 1 < forward.micro_batches);
    return distill_trainer_apply(s->trainer, p, err);
}

static void compare_rows(const char *more)
{
    small s, plain;
    distill_error err;
    int64_t strips = 0;
    REQUIRE_OK(pull_open(&s, more, &err));
    REQUIRE_OK(pull_open(&plain, more, &err));
    for (int i = 0; i < 6; i++) {
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        REQUIRE_OK(window_by_rows(&s, &a, &strips, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, 2e-6);
        CHECK_NEAR(a.grad_norm, b.grad_norm, 1e-5);
        CHECK_INT(a.step, b.step);
        CHECK_INT(a.count, b.count);
        CHECK_NEAR(a.weight_sum, b.weight_sum, 0);
        CHECK_NEAR(a.learning_rate, b.learning_rate, 0);
    }
    CHECK(strips >= 12);
    CHECK(small_distance(s.student, plain.student) <= 2e-6);
    distill_forward forward;
    DISTILL_INIT(&forward);
    CHECK_INT(distill_trainer_forward(s.trainer, 0, &forward, &err), DISTILL_E_END);
    small_close(&s);
    small_close(&plain);
}

TEST(rows)
{
    REQUIRE(small_models("pull"));
    compare_rows(NULL);
    compare_rows("train: {micro_batch_size: 3}\n"); /* the last one of the window is smaller */
    compare_rows("train: {batch_size: 30, micro_batch_size: 30, loss_memory: 65536}\n"); /* more than one strip */
}

/* The trainer's own loss, in pull mode: the very same bits. */
TEST(own_loss)
{
    small s, plain;
    distill_error err;
    REQUIRE(small_models("pull"));
    const char *more = "loss: {type: forward_kl, temperature: 2, hard_label_weight: 0.5}\n";
    REQUIRE_OK(pull_open(&s, more, &err));
    REQUIRE_OK(pull_open(&plain, more, &err));
    for (int i = 0; i < 4; i++) {
        distill_forward forward;
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        do {
            DISTILL_INIT(&forward);
            REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
            REQUIRE_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
        } while (forward.micro_batch + 1 < forward.micro_batches);
        REQUIRE_OK(distill_trainer_apply(s.trainer, &a, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, 0);
        CHECK_NEAR(a.grad_norm, b.grad_norm, 0);
        CHECK(a.tokens_per_second > 0);
    }
    CHECK(small_same_bits(s.student, plain.student));
    small_close(&s);
    small_close(&plain);
}

/* distill_loss_eval on the hidden states; the head's gradient is added to the student's own. */
TEST(hidden)
{
    small s, plain;
    distill_error err;
    distill_loss *loss = NULL;
    static float gradients[SMALL_SEQUENCES * SMALL_LENGTH * 32];
    REQUIRE(small_models("pull"));
    const char *more = "loss: {type: forward_kl, temperature: 2, hard_label_weight: 0.5}\n";
    REQUIRE_OK(pull_open(&s, more, &err));
    REQUIRE_OK(pull_open(&plain, more, &err));
    REQUIRE_OK(distill_loss_create(s.env, NULL, s.options, &loss, &err));
    for (int i = 0; i < 4; i++) {
        distill_forward forward;
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        do {
            distill_loss_args args;
            distill_tensor head;
            DISTILL_INIT(&forward);
            DISTILL_INIT(&args);
            REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
            CHECK_INT(forward.student->kind, DISTILL_HIDDEN);
            CHECK_INT(forward.teacher->kind, DISTILL_HIDDEN);
            int64_t shape[2] = {forward.rows, 32};
            distill_tensor gradient = {gradients, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
            REQUIRE_OK(distill_student_parameter(s.student, "lm_head.weight", DISTILL_GRADIENT, &head, &err));
            args.student = forward.student;
            args.teacher = forward.teacher;
            args.labels = forward.labels;
            args.weights = forward.weights;
            args.grad_values = &gradient;
            args.grad_head = &head;
            args.flags = DISTILL_ADD_HEAD;
            REQUIRE_OK(distill_loss_eval(loss, &args, &err));
            CHECK_NEAR(args.weight_sum, forward.weight_sum, 0);
            REQUIRE_OK(distill_trainer_backward(s.trainer, &gradient, args.sum, &err));
        } while (forward.micro_batch + 1 < forward.micro_batches);
        REQUIRE_OK(distill_trainer_apply(s.trainer, &a, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, 2e-6);
        CHECK_NEAR(a.grad_norm, b.grad_norm, 1e-5);
    }
    CHECK(small_distance(s.student, plain.student) <= 2e-6);
    distill_loss_free(loss);
    small_close(&s);
    small_close(&plain);
}

TEST(no_teacher)
{
    small s;
    distill_error err;
    distill_forward forward;
    distill_strip strip;
    REQUIRE(small_models("pull"));
    REQUIRE_OK(pull_open(&s, NULL, &err));
    DISTILL_INIT(&forward);
    DISTILL_INIT(&strip);
    REQUIRE_OK(distill_trainer_forward(s.trainer, DISTILL_FORWARD_NO_TEACHER, &forward, &err));
    CHECK(!forward.teacher);
    REQUIRE_OK(distill_trainer_next_rows(s.trainer, &strip, &err));
    CHECK(!strip.teacher && !strip.target && strip.student);
    CHECK_INT(distill_trainer_forward(s.trainer, 64, &forward, &err), DISTILL_E_INVALID);
    small_close(&s);
}

TEST(stages)
{
    small s;
    distill_error err;
    distill_forward forward;
    distill_strip strip;
    distill_report *report = NULL;
    REQUIRE(small_models("pull"));
    REQUIRE_OK(pull_open(&s, "train: {batch_size: 30, micro_batch_size: 30, loss_memory: 65536}\n", &err));
    DISTILL_INIT(&forward);
    DISTILL_INIT(&strip);
    CHECK_INT(distill_trainer_backward(s.trainer, NULL, 0, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "forward");
    CHECK_INT(distill_trainer_apply(s.trainer, NULL, &err), DISTILL_E_STAGE);
    CHECK_INT(distill_trainer_next_rows(s.trainer, &strip, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "forward");
    REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    CHECK_INT(distill_trainer_forward(s.trainer, 0, &forward, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "backward");
    CHECK_INT(distill_trainer_apply(s.trainer, NULL, &err), DISTILL_E_STAGE);
    CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_STAGE);
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_STAGE);
    CHECK_INT(distill_trainer_report(s.trainer, &report, &err), DISTILL_E_STAGE);
    REQUIRE_OK(distill_trainer_next_rows(s.trainer, &strip, &err));
    CHECK(strip.rows < forward.rows);
    CHECK_INT(distill_trainer_backward(s.trainer, NULL, 0, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "next_rows");
    int32_t rc;
    do {
        for (int64_t r = 0; r < strip.rows; r++)
            memset(strip.student + r * strip.student_stride, 0, sizeof(float) * (size_t)strip.vocab);
    } while (!(rc = distill_trainer_next_rows(s.trainer, &strip, &err)));
    CHECK_INT(rc, DISTILL_E_END);
    REQUIRE_OK(distill_trainer_backward(s.trainer, NULL, 0, &err));
    CHECK_INT(distill_trainer_backward(s.trainer, NULL, 0, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "apply");
    CHECK_INT(distill_trainer_forward(s.trainer, 0, &forward, &err), DISTILL_E_STAGE);
    CHECK_OK(distill_trainer_apply(s.trainer, NULL, &err));
    CHECK_INT(distill_trainer_apply(s.trainer, NULL, &err), DISTILL_E_STAGE);
    CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
    small_close(&s);
}

/* A gradient of the wrong shape or with a NaN, and a cancelled window, leave the student as it was. */
TEST(refused)
{
    small s, fresh;
    distill_error err;
    distill_forward forward;
    static float gradients[SMALL_SEQUENCES * SMALL_LENGTH * 32];
    REQUIRE(small_models("pull"));
    REQUIRE_OK(pull_open(&s, "train: {micro_batch_size: 4}\n", &err));
    REQUIRE_OK(pull_open(&fresh, "train: {micro_batch_size: 4}\n", &err));
    DISTILL_INIT(&forward);
    REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    int64_t shape[2] = {forward.rows, 31};
    distill_tensor gradient = {gradients, DISTILL_CPU, 0, 2, DISTILL_FLOAT, 32, 1, shape, NULL, 0};
    CHECK_INT(distill_trainer_backward(s.trainer, &gradient, 0, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "gradient");
    distill_trainer_cancel(s.trainer, 1);
    CHECK_INT(distill_trainer_forward(s.trainer, 0, &forward, &err), DISTILL_E_CANCELLED);
    distill_trainer_cancel(s.trainer, 0);
    REQUIRE_OK(distill_trainer_forward(s.trainer, 0, &forward, &err));
    shape[1] = 32;
    gradients[5] = NAN;
    int32_t rc = distill_trainer_backward(s.trainer, &gradient, 0, &err);
    if (!rc) rc = distill_trainer_apply(s.trainer, NULL, &err);
    CHECK_INT(rc, DISTILL_E_NUMERIC);
    gradients[5] = 0;
    CHECK(small_same_bits(s.student, fresh.student));
    for (int i = 0; i < 3; i++) { /* and the steps that follow are those of a trainer that saw none of it */
        CHECK_OK(distill_trainer_step(s.trainer, NULL, &err));
        CHECK_OK(distill_trainer_step(fresh.trainer, NULL, &err));
    }
    CHECK(small_same_bits(s.student, fresh.student));
    small_close(&s);
    small_close(&fresh);
}

/* train.optimizer none: averaged gradients for the host's plain descent; what it writes is what the next step sees. */
TEST(host_optimizer)
{
    small s;
    distill_error err;
    double first = 0, loss = 0;
    REQUIRE(small_models("pull"));
    REQUIRE_OK(pull_open(&s, "train: {steps: 60, optimizer: none, epsilon: 1e-8}\n", &err));
    for (int step = 0; step < 60; step++) {
        distill_progress p;
        const char *name;
        double norm = 0;
        DISTILL_INIT(&p);
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        loss = p.loss;
        if (!step) first = loss;
        for (int64_t i = 0; (name = distill_student_parameter_name(s.student, i)); i++) {
            distill_tensor w, g;
            REQUIRE_OK(distill_student_parameter(s.student, name, DISTILL_WEIGHT, &w, &err));
            REQUIRE_OK(distill_student_parameter(s.student, name, DISTILL_GRADIENT, &g, &err));
            for (int64_t k = 0; k < small_elements(&w); k++) {
                double value = ((const float *)g.data)[k];
                norm += value * value;
                ((float *)w.data)[k] -= (float)(0.8 * value);
            }
        }
        CHECK_NEAR(sqrt(norm), fmin(p.grad_norm, 1), 1e-4); /* clipped at train.clip_norm */
        REQUIRE_OK(distill_student_weights_changed(s.student, &err));
    }
    CHECK(loss < 0.95 * first);
    small_close(&s);
}

/* The averaged gradient is the derivative of the loss: one weight moved either way. */
TEST(averaged_gradient)
{
    enum { PLACE = 37 };
    const char *name = "model.layers.1.mlp.down_proj.weight";
    double losses[2], slope = 0;
    REQUIRE(small_models("pull"));
    for (int turn = 0; turn < 2; turn++) {
        small s;
        distill_error err;
        distill_progress p;
        distill_tensor w, g;
        DISTILL_INIT(&p);
        REQUIRE_OK(pull_open(&s, "student: {init_std: 0.2}\ntrain: {optimizer: none, epsilon: 1e-8}\n", &err));
        REQUIRE_OK(distill_student_parameter(s.student, name, DISTILL_WEIGHT, &w, &err));
        ((float *)w.data)[PLACE] += turn ? 0.02f : -0.02f;
        REQUIRE_OK(distill_student_weights_changed(s.student, &err));
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        REQUIRE_OK(distill_student_parameter(s.student, name, DISTILL_GRADIENT, &g, &err));
        losses[turn] = p.loss;
        slope += 0.5 * ((const float *)g.data)[PLACE];
        small_close(&s);
    }
    CHECK(fabs(slope) > 1e-6);
    CHECK_NEAR((losses[1] - losses[0]) / 0.04, slope, 0.02 * fabs(slope) + 2e-5);
}

/* ---- a blend: its strip is log p at the loss's temperature ---- */

enum { BLENDED = 2 };
static const double blend_weights[BLENDED] = {0.7, 0.3}, blend_temperatures[BLENDED] = {1, 3}, at_temperature = 2;

static int32_t blended_open(small *s, int blended, distill_error *err)
{
    distill_member members[BLENDED];
    distill_teacher *blend = NULL;
    int32_t rc = small_parts(s, NULL,
                             "loss: {type: forward_kl, temperature: 2, hard_label_weight: 0}\n"
                             "train: {epsilon: 1e-3, micro_batch_size: 3}\n",
                             err);
    for (int i = 0; i < BLENDED; i++) {
        DISTILL_INIT(&members[i]);
        members[i].teacher = s->teacher;
        members[i].weight = blend_weights[i];
        members[i].temperature = blend_temperatures[i];
    }
    if (!rc && blended) {
        rc = distill_teacher_blend(s->env, members, BLENDED, s->options, &blend, err);
        distill_teacher_free(s->teacher);
        s->teacher = blend;
    }
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, err);
    return rc;
}

static void soften(const float *z, double temperature, double *out)
{
    float softer[SMALL_VOCAB];
    for (int i = 0; i < SMALL_VOCAB; i++) softer[i] = (float)(z[i] / temperature);
    log_softmax(softer, SMALL_VOCAB, out);
}

/* logits: the same rows of the one model of which both members are. Writes the gradient of T^2 KL. */
static double blended_kl(distill_strip *strip, const distill_strip *logits)
{
    double p[BLENDED][SMALL_VOCAB], q[SMALL_VOCAB], loss = 0;
    for (int64_t r = 0; r < strip->rows; r++) {
        float *z = strip->student + r * strip->student_stride;
        const float *given = strip->teacher + r * strip->teacher_stride;
        for (int m = 0; m < BLENDED; m++)
            soften(logits->teacher + r * logits->teacher_stride, at_temperature * blend_temperatures[m], p[m]);
        soften(z, at_temperature, q);
        for (int64_t i = 0; i < SMALL_VOCAB; i++) {
            const double share = exp(given[i]), weight = at_temperature * strip->weights[r];
            CHECK_NEAR(given[i], log(blend_weights[0] * exp(p[0][i]) + blend_weights[1] * exp(p[1][i])), 4e-6);
            loss += at_temperature * weight * share * (given[i] - q[i]);
            z[i] = (float)(weight * (exp(q[i]) - share));
        }
    }
    return loss;
}

/* The window of a trainer, beside that of one whose teacher is the model alone. */
static int32_t blended_window(small *s, small *single, distill_progress *p, distill_error *err)
{
    distill_forward forward, other;
    int32_t rc;
    do {
        distill_strip strip, logits;
        DISTILL_INIT(&forward);
        DISTILL_INIT(&other);
        DISTILL_INIT(&strip);
        DISTILL_INIT(&logits);
        if ((rc = distill_trainer_forward(s->trainer, 0, &forward, err))) return rc;
        if ((rc = distill_trainer_forward(single->trainer, 0, &other, err))) return rc;
        while (!(rc = distill_trainer_next_rows(s->trainer, &strip, err))) {
            if ((rc = distill_trainer_next_rows(single->trainer, &logits, err))) return rc;
            CHECK_INT(logits.first_row, strip.first_row);
            if (!strip.target || logits.rows != strip.rows) return DISTILL_E_INTERNAL;
            CHECK_NEAR(strip.target->temperature, at_temperature, 0);
            CHECK(logits.target == NULL);
            strip.loss = blended_kl(&strip, &logits);
        }
        if (rc != DISTILL_E_END) return rc;
        if (distill_trainer_next_rows(single->trainer, &logits, err) != DISTILL_E_END) return DISTILL_E_INTERNAL;
        if ((rc = distill_trainer_backward(s->trainer, NULL, 0, err))) return rc;
        if ((rc = distill_trainer_backward(single->trainer, NULL, 0, err))) return rc;
    } while (forward.micro_batch + 1 < forward.micro_batches);
    if ((rc = distill_trainer_apply(single->trainer, p, err))) return rc;
    return distill_trainer_apply(s->trainer, p, err);
}

TEST(rows_of_a_blend)
{
    small s, plain, single;
    distill_error err;
    REQUIRE(small_models("pull"));
    REQUIRE_OK(blended_open(&s, 1, &err));
    REQUIRE_OK(blended_open(&plain, 1, &err));
    REQUIRE_OK(blended_open(&single, 0, &err));
    for (int i = 0; i < 6; i++) {
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        REQUIRE_OK(blended_window(&s, &single, &a, &err));
        REQUIRE_OK(distill_trainer_step(plain.trainer, &b, &err));
        CHECK_NEAR(a.loss, b.loss, 2e-6);
        CHECK_NEAR(a.grad_norm, b.grad_norm, 1e-5);
        CHECK_NEAR(a.weight_sum, b.weight_sum, 0);
    }
    CHECK(small_distance(s.student, plain.student) <= 2e-6);
    CHECK(small_distance(s.student, single.student) > 1e-4);
    small_close(&s);
    small_close(&plain);
    small_close(&single);
}

TEST_MAIN(TEST_CASE(rows) TEST_CASE(own_loss) TEST_CASE(hidden) TEST_CASE(no_teacher) TEST_CASE(stages)
              TEST_CASE(refused) TEST_CASE(host_optimizer) TEST_CASE(averaged_gradient) TEST_CASE(rows_of_a_blend))
