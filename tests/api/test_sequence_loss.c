/* A loss of the host's whose gradient hangs on the mean over its sequence, in training: micro-batches, packed windows,
 * strips, the host's own loop, a run that goes on, and teachers that are asked twice. */
#include "small.h"

/* (x - mean of x over the sequence)^2, x = log q[label] - log p[label]. Weights are 1. */
static int32_t measure(void *user, const distill_loss_rows *rows, double *out)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows; i++) {
        const int64_t at = i * rows->vocab + rows->labels[i];
        out[2 * i] = (double)rows->student[at] - (double)rows->teacher[at];
        out[2 * i + 1] = 1;
    }
    return DISTILL_CB_OK;
}

static int32_t spread(void *user, const distill_loss_rows *rows)
{
    (void)user;
    for (int64_t i = 0; i < rows->rows; i++) {
        const double *sums = rows->sequence_sums + 2 * rows->sequences[i], mean = sums[0] / sums[1];
        const int64_t at = i * rows->vocab + rows->labels[i];
        const double d = (double)rows->student[at] - (double)rows->teacher[at] - mean;
        rows->value[i] = d * d;
        if (rows->gradient) rows->gradient[at] = (float)(2 * d);
    }
    return DISTILL_CB_OK;
}

static int32_t blend_teacher(small *s, distill_error *err)
{
    distill_member members[2];
    distill_teacher *blend = NULL;
    for (int i = 0; i < 2; i++) {
        DISTILL_INIT(&members[i]);
        members[i].teacher = s->teacher;
        members[i].name = i ? "two" : "one";
        members[i].weight = i ? 0.25 : 0.75;
    }
    const int32_t rc = distill_teacher_blend(s->env, members, 2, s->options, &blend, err);
    if (rc) return rc;
    distill_teacher_free(s->teacher);
    s->teacher = blend;
    return DISTILL_OK;
}

static int32_t open_with(small *s, const char *yaml, distill_error *err)
{
    distill_loss_callbacks table;
    int32_t rc = small_parts(s, NULL, yaml, err);
    if (!rc && strstr(yaml, "# blended")) rc = blend_teacher(s, err);
    DISTILL_INIT(&table);
    table.flags = DISTILL_LOSS_LOG_PROBS | DISTILL_LOSS_MT;
    table.eval = spread;
    table.measure = measure;
    table.sums = 2;
    table.targets = 1 << DISTILL_DENSE;
    if (!rc) rc = distill_env_add_loss(s->env, "spread", &table, err);
    if (!rc) rc = distill_options_set(s->options, "loss.type", "spread", err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static void train(small *s, int steps)
{
    distill_error err;
    for (int i = 0; i < steps; i++) REQUIRE_OK(distill_trainer_step(s->trainer, NULL, &err));
}

TEST(micro_batches_and_strips)
{
    static const char *const others[] = {"train: {micro_batch_size: 1}\n",
                                         "train: {micro_batch_size: 2, loss_memory: 65536}\n",
                                         "train: {loss_memory: 65536}\n"};
    small whole, s;
    distill_error err;
    REQUIRE(small_models("sequence_loss"));
    REQUIRE_OK(open_with(&whole, "train: {micro_batch_size: 4}\n", &err));
    train(&whole, 3);
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(open_with(&s, others[i], &err));
        train(&s, 3);
        CHECK_NEAR(small_distance(s.student, whole.student), 0, 2e-4);
        small_close(&s);
    }
    small_close(&whole);
}

/* Several samples in a window are so many sequences: by the host's own loop, which sees whose each row is. */
TEST(packed_windows_and_pull_mode)
{
    static float gradient[4 * 64 * 32];
    for (int packed = 0; packed < 2; packed++) {
        const char *yaml = packed ? "data: {pack: true, sequence_length: 51}\ntrain: {micro_batch_size: 2}\n"
                                  : "train: {micro_batch_size: 2}\n";
        small push, pull;
        distill_error err;
        distill_loss *loss = NULL;
        distill_forward f;
        distill_tensor head;
        REQUIRE(small_models("sequence_loss"));
        REQUIRE_OK(open_with(&push, yaml, &err));
        REQUIRE_OK(open_with(&pull, yaml, &err));
        REQUIRE_OK(distill_loss_create(pull.env, NULL, pull.options, &loss, &err));
        train(&push, 2);
        int64_t steps = 0;
        while (steps < 2) {
            distill_loss_args args;
            DISTILL_INIT(&f);
            DISTILL_INIT(&args);
            REQUIRE_OK(distill_trainer_forward(pull.trainer, 0, &f, &err));
            CHECK_INT(f.sequence_count, f.batch->sequences);
            if (packed) CHECK(f.sequence_count > 2);
            for (int64_t r = 0; r < f.rows; r++) {
                const int64_t own = ((const int64_t *)f.sequences->data)[r], place = f.batch->rows[r];
                CHECK(f.batch->offsets[own] <= place && place < f.batch->offsets[own + 1]);
            }
            int64_t shape[2] = {f.rows, f.student->values->shape[1]};
            distill_tensor into = *f.student->values;
            into.data = gradient;
            into.byte_offset = 0;
            into.strides = NULL;
            into.shape = shape;
            REQUIRE(f.rows * shape[1] <= (int64_t)(sizeof gradient / sizeof *gradient));
            REQUIRE_OK(distill_student_parameter(pull.student, distill_student_head_name(pull.student),
                                                 DISTILL_GRADIENT, &head, &err));
            args.student = f.student;
            args.teacher = f.teacher;
            args.labels = f.labels;
            args.weights = f.weights;
            args.sequences = f.sequences;
            args.grad_values = &into;
            args.grad_head = &head;
            args.flags = DISTILL_ADD_HEAD;
            REQUIRE_OK(distill_loss_eval(loss, &args, &err));
            REQUIRE_OK(distill_trainer_backward(pull.trainer, &into, args.sum, &err));
            if (f.micro_batch + 1 < f.micro_batches) continue;
            REQUIRE_OK(distill_trainer_apply(pull.trainer, NULL, &err));
            steps++;
        }
        CHECK_NEAR(small_distance(pull.student, push.student), 0, 2e-4);
        distill_loss_free(loss);
        small_close(&push);
        small_close(&pull);
    }
}

static int32_t stop_at_3(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 3 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

TEST(a_run_that_goes_on)
{
    small whole, s;
    distill_error err;
    char text[2][700], command[1400];
    REQUIRE(small_models("sequence_loss"));
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command, "rm -rf '%s/run%d'", small_folder, i);
        REQUIRE(system(command) == 0);
        snprintf(text[i], sizeof text[i], "output: '%s/run%d'\ntrain: {steps: 6, loss_memory: 65536}\n", small_folder,
                 i);
    }
    REQUIRE_OK(open_with(&whole, text[0], &err));
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
    REQUIRE_OK(open_with(&s, text[1], &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at_3, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_with(&s, text[1], &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, whole.student));
    small_close(&s);
    small_close(&whole);
}

/* A blend's members say of a window's rows what they say, once. */
TEST(rows_asked_for_twice_are_counted_once)
{
    small s;
    distill_error err;
    char command[700];
    REQUIRE(small_models("sequence_loss"));
    snprintf(command, sizeof command, "rm -rf '%s/blended'", small_folder);
    REQUIRE(system(command) == 0);
    REQUIRE_OK(
        open_with(&s, small_text("output: '%s/blended'\ntrain: {loss_memory: 65536} # blended\n", small_folder), &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    char *result = small_read(test_path(test_path(small_folder, "blended"), "result.json"), NULL);
    const int tokens = 6 * 4 * (SMALL_LENGTH - 1);
    CHECK_HAS(result, small_text("\"members\":{\"one\":{\"tokens\":%d,\"weight\":0.75},\"two\":{\"tokens\":%d,", tokens,
                                 tokens));
    free(result);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(micro_batches_and_strips) TEST_CASE(packed_windows_and_pull_mode) TEST_CASE(a_run_that_goes_on)
              TEST_CASE(rows_asked_for_twice_are_counted_once))
