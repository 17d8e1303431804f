/* Evaluation without a trainer: against sums over the logits themselves, part of the data, and what stops it. */
#include "../teacher/model_fixture.h"
#include "evaluate/evaluate.h"
#include "student/student.h"

typedef struct measured {
    fixture f;
    di_student *student;
    di_teacher *model, *teacher;
    di_dataset *data;
} measured;

static void open_measured(measured *m, const char *name)
{
    distill_batch batch = tiny_batch();
    di_student *other = NULL;
    dk_error err;
    memset(m, 0, sizeof *m);
    open_fixture(&m->f, name);
    CHECK_OK(di_options_set(m->f.options, "data.sequence_length", "7", &err));
    CHECK_OK(di_options_set(m->f.options, "data.pack", "false", &err));
    CHECK_OK(di_student_create(m->f.backend, m->f.config, NULL, m->f.options, &m->student, &err));
    CHECK_OK(di_options_set(m->f.options, "train.seed", "5", &err));
    CHECK_OK(di_student_create(m->f.backend, m->f.config, NULL, m->f.options, &other, &err));
    CHECK_OK(di_student_as_teacher(m->student, &m->model, &err));
    CHECK_OK(di_student_as_teacher(other, &m->teacher, &err));
    CHECK_OK(di_dataset_from_tokens(m->f.host, &batch, m->f.options, &m->data, &err));
    di_student_release(other);
}

static void close_measured(measured *m)
{
    di_dataset_release(m->data);
    di_teacher_release(m->model);
    di_teacher_release(m->teacher);
    di_student_release(m->student);
    close_fixture(&m->f);
}

static double log_total(const float *row)
{
    double sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) sum += exp((double)row[v]);
    return log(sum);
}

static di_evaluate_args args_of(const measured *m)
{
    return (di_evaluate_args){
        .backend = m->f.backend, .student = m->model, .teacher = m->teacher, .data = m->data, .memory = 1 << 20};
}

/* Rows are those of tiny_batch: 6 of the first sequence, 3 of the second. */
TEST(values)
{
    static float q[9 * TINY_VOCAB], p[9 * TINY_VOCAB];
    double nats = 0, kl = 0;
    di_evaluation got;
    measured m;
    dk_error err;
    open_measured(&m, "values");
    distill_batch batch = tiny_batch();
    CHECK_OK(score_with(m.model, &batch, q, &err));
    CHECK_OK(score_with(m.teacher, &batch, p, &err));
    for (int r = 0; r < 9; r++) {
        const float *row_q = q + r * TINY_VOCAB, *row_p = p + r * TINY_VOCAB;
        double total_q = log_total(row_q), total_p = log_total(row_p);
        nats += total_q - (double)row_q[tiny_ids[r + 1 + (r >= 6)]];
        for (int v = 0; v < TINY_VOCAB; v++) {
            double log_p = (double)row_p[v] - total_p;
            kl += exp(log_p) * (log_p - ((double)row_q[v] - total_q));
        }
    }
    for (int64_t memory = 1; memory <= 1 << 20; memory <<= 20) { /* row by row, and at once */
        di_evaluate_args args = args_of(&m);
        args.memory = memory;
        REQUIRE_OK(di_evaluate(&args, &got, &err));
        CHECK_INT(got.tokens, 9);
        CHECK_NEAR(got.nats, nats / 9, 1e-6);
        CHECK_NEAR(got.kl_mean, kl / 9, 1e-6);
        CHECK(got.kl_median <= got.kl_p99);
    }
    close_measured(&m);
}

static int32_t never(void *user, int64_t done, int64_t total)
{
    (void)user, (void)done, (void)total;
    return 1;
}

TEST(stopped)
{
    di_evaluation got = {.tokens = -1};
    measured m;
    dk_error err;
    open_measured(&m, "stopped");
    di_evaluate_args args = args_of(&m);
    args.progress = never;
    CHECK_INT(di_evaluate(&args, &got, &err), DK_E_CANCELLED);
    CHECK_INT(got.tokens, -1);
    close_measured(&m);
}

TEST(speed)
{
    double prompt = 0, decode = 0;
    measured m;
    dk_error err;
    open_measured(&m, "speed");
    CHECK_OK(di_speed(m.model, &prompt, &decode, &err));
    CHECK(prompt > 0 && decode > 0);
    CHECK_OK(di_speed(NULL, &prompt, &decode, &err));
    CHECK(prompt == -1 && decode == -1);
    close_measured(&m);
}

TEST_MAIN(TEST_CASE(values) TEST_CASE(stopped) TEST_CASE(speed))
