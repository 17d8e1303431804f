/* Teachers that are the student itself, and teachers that read a prefix which the student does not. */
#include "small.h"

enum { STEPS = 8, PREFIX = 3 };
static const char prefixed[] = "teacher: {self: student, prefix: {ids: [3, 41, 7]}}\n";
static const int32_t prefix_ids[PREFIX] = {3, 41, 7};

static int32_t open_self(small *s, const char *yaml, distill_error *err)
{
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL, yaml, err);
    if (!rc)
        rc =
            distill_student_create(s->env, test_path(small_folder, "student.json"), NULL, s->options, &s->student, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_SEQUENCES, 100, &s->train, err);
    if (!rc) rc = small_dataset_seeded(s, SMALL_EVAL, 900, &s->eval, err);
    if (!rc) rc = distill_trainer_create(s->env, NULL, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

/* ---- a prefix ---- */

static distill_teacher *open_teacher(small *s, const char *yaml)
{
    distill_teacher *teacher = NULL;
    distill_options *options = NULL;
    distill_error err;
    int32_t rc = distill_options_create(s->env, &options, &err);
    if (!rc) rc = distill_options_parse(options, yaml, strlen(yaml), "teacher", &err);
    if (!rc) rc = distill_teacher_open(s->env, test_path(small_folder, "teacher"), options, &teacher, &err);
    if (rc) FAIL("%s: %s", yaml, err.message);
    distill_options_free(options);
    return teacher;
}

static void score(distill_teacher *teacher, const distill_batch *batch, int64_t rows, float *out)
{
    int64_t shape[2] = {rows, SMALL_VOCAB};
    distill_tensor values = {0};
    distill_target target;
    distill_error err;
    values.device_type = DISTILL_CPU;
    values.data = out;
    values.shape = shape;
    values.ndim = 2;
    values.dtype_code = DISTILL_FLOAT;
    values.dtype_bits = 32;
    values.dtype_lanes = 1;
    DISTILL_INIT(&target);
    target.kind = DISTILL_DENSE;
    target.values = &values;
    CHECK_OK(distill_teacher_score(teacher, batch, &target, &err));
}

/* Two sequences with the prefix in front, and the rows of what stands behind it. */
TEST(prefix_rows)
{
    enum { ROWS = 9 };
    static float with[ROWS * SMALL_VOCAB], whole[ROWS * SMALL_VOCAB], without[ROWS * SMALL_VOCAB];
    int32_t ids[11], longer[17];
    const int64_t offsets[3] = {0, 7, 11}, longer_offsets[3] = {0, 10, 17};
    int64_t rows[ROWS], used = 0;
    double worst = 0, moved = 0;
    small s;
    distill_error err;
    distill_batch batch, concatenated;
    REQUIRE(small_models("self_teacher"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    small_ids(ids, 11, 77);
    for (int i = 0; i < 2; i++) {
        const int64_t length = offsets[i + 1] - offsets[i];
        memcpy(longer + longer_offsets[i], prefix_ids, sizeof prefix_ids);
        memcpy(longer + longer_offsets[i] + PREFIX, ids + offsets[i], (size_t)length * sizeof *ids);
        for (int64_t k = 0; k + 1 < length; k++) rows[used++] = longer_offsets[i] + PREFIX + k;
    }
    DISTILL_INIT(&batch);
    DISTILL_INIT(&concatenated);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = concatenated.sequences = 2;
    concatenated.ids = longer;
    concatenated.offsets = longer_offsets;
    concatenated.rows = rows;
    concatenated.row_count = ROWS;
    distill_teacher *reader = open_teacher(&s, "teacher: {prefix: {ids: [3, 41, 7]}}\n");
    score(reader, &batch, ROWS, with);
    score(s.teacher, &concatenated, ROWS, whole);
    score(s.teacher, &batch, ROWS, without);
    for (int i = 0; i < ROWS * SMALL_VOCAB; i++) {
        worst = test_worst(worst, fabs((double)with[i] - whole[i]));
        moved = fmax(moved, fabs((double)with[i] - without[i]));
    }
    CHECK_NEAR(worst, 0, 1e-5);
    CHECK(moved > 0.1);
    int64_t context = 0;
    CHECK_OK(distill_teacher_get_i64(reader, "context_length", &context, &err));
    CHECK_INT(context, 64 - PREFIX);
    distill_teacher_free(reader);
    small_close(&s);
}

static int32_t take(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                    int32_t finished)
{
    int32_t **at = user;
    (void)log_prob, (void)text, (void)size, (void)finished;
    if (sequence == 0) *(*at)++ = id;
    return DISTILL_CB_OK;
}

static void write_text(small *s, distill_teacher *teacher, const int32_t *ids, int64_t count, int32_t *out)
{
    const int64_t offsets[2] = {0, count};
    distill_batch batch;
    distill_error err;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    CHECK_OK(distill_teacher_generate(teacher, &batch, s->options, take, &out, &err));
}

TEST(prefix_writes)
{
    int32_t ids[PREFIX + 4] = {3, 41, 7, 9, 10, 11, 12}, a[6] = {0}, b[6] = {0};
    small s;
    distill_error err;
    REQUIRE(small_models("self_teacher"));
    REQUIRE_OK(small_parts(&s, NULL, "generate: {max_tokens: 6, temperature: 0}\n", &err));
    distill_teacher *reader = open_teacher(&s, "teacher: {prefix: {ids: [3, 41, 7]}}\n");
    write_text(&s, reader, ids + PREFIX, 4, a);
    write_text(&s, s.teacher, ids, PREFIX + 4, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    distill_teacher_free(reader);
    small_close(&s);
}

/* ---- the student with a prefix ---- */

/* A step by the live student is a step by its frozen copy: nothing comes back from the teacher's side. */
TEST(student_teaches)
{
    small live, frozen;
    distill_error err;
    const char *path;
    REQUIRE(small_models("self_teacher"));
    REQUIRE_OK(open_self(&live, prefixed, &err));
    path = small_text("%s/copy", small_folder);
    CHECK_OK(distill_student_save(live.student, path, live.options, &err));
    REQUIRE_OK(open_self(&frozen, small_text("teacher: {path: '%s', prefix: {ids: [3, 41, 7]}}\n", path), &err));
    CHECK(small_same_bits(live.student, frozen.student));
    for (int i = 0; i < 2; i++) {
        distill_progress a, b;
        DISTILL_INIT(&a);
        DISTILL_INIT(&b);
        REQUIRE_OK(distill_trainer_step(live.trainer, &a, &err));
        REQUIRE_OK(distill_trainer_step(frozen.trainer, &b, &err));
        CHECK_INT(small_same_bits(live.student, frozen.student), i == 0); /* the copy stays behind */
        CHECK(a.loss > 0);
    }
    small_close(&live);
    small_close(&frozen);
}

/* With decay 0 the average is the student as it stands. */
TEST(average_of_now)
{
    small live, average;
    distill_error err;
    REQUIRE(small_models("self_teacher"));
    REQUIRE_OK(open_self(&live, prefixed, &err));
    REQUIRE_OK(open_self(&average, "teacher: {self: average, average.decay: 0, prefix: {ids: [3, 41, 7]}}\n", &err));
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(distill_trainer_step(live.trainer, NULL, &err));
        REQUIRE_OK(distill_trainer_step(average.trainer, NULL, &err));
    }
    CHECK(small_same_bits(live.student, average.student));
    small_close(&live);
    small_close(&average);
}

/* ---- the average ---- */

static int64_t gather(distill_student *student, double *out)
{
    int64_t used = 0;
    const char *name;
    for (int64_t i = 0; (name = distill_student_parameter_name(student, i)); i++) {
        distill_tensor x;
        if (distill_student_parameter(student, name, DISTILL_WEIGHT, &x, NULL)) return -1;
        for (int64_t k = 0; k < small_elements(&x); k++, used++)
            if (out) out[used] = ((const float *)x.data)[k];
    }
    return used;
}

/* Against the same in double, weight by weight; what is frozen stays. */
TEST(average_is)
{
    const double decay = 0.7;
    small s;
    distill_error err;
    distill_student *saved = NULL;
    double worst = 0, moved = 0;
    REQUIRE(small_models("self_teacher"));
    REQUIRE_OK(open_self(&s,
                         "teacher: {self: average, average: {decay: 0.7}}\nstudent: {freeze: ['*norm*']}\n"
                         "loss: [{type: forward_kl}, {type: cross_entropy}]\n",
                         &err));
    const int64_t count = gather(s.student, NULL);
    double *want = calloc((size_t)count, sizeof *want), *now = calloc((size_t)count, sizeof *now);
    REQUIRE(count > 0 && want && now);
    gather(s.student, want);
    for (int step = 0; step < STEPS - 2; step++) {
        REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
        gather(s.student, now);
        for (int64_t i = 0; i < count; i++) want[i] = decay * want[i] + (1 - decay) * now[i];
    }
    const char *path = small_text("%s/saved", small_folder);
    CHECK_OK(distill_trainer_save(s.trainer, path, &err));
    REQUIRE_OK(distill_student_open(s.env, test_path(path, "average"), s.options, &saved, &err));
    for (int64_t i = 0; i < count; i++) moved = fmax(moved, fabs(want[i] - now[i]));
    CHECK_INT(gather(saved, now), count);
    for (int64_t i = 0; i < count; i++) worst = test_worst(worst, fabs(want[i] - now[i]));
    CHECK_NEAR(worst, 0, 1e-6);
    CHECK(moved > 1e-3);
    distill_student_free(saved);
    free(want);
    free(now);
    small_close(&s);
}

static const char *recipe(const char *out)
{
    return small_text("output: {path: '%s', overwrite: true}\ntrain: {steps: %d, eval_every: 3, keep_best: true}\n"
                      "teachers: {big: {path: '%s/teacher'}, own: {self: average, average.decay: 0.8, prefix: {ids: "
                      "[5]}}}\nteacher: {blend: {of: [big, own], weights: [0.6, 0.4]}}\n",
                      out, STEPS, small_folder);
}

static int32_t stop_at(void *user, const distill_progress *p)
{
    const int64_t *step = user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == *step ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

/* A blend of a real teacher and the average goes on with the same bits, and with the same teacher. */
TEST(resumed)
{
    small whole, s;
    distill_error err;
    char out[600], part[600];
    int64_t at = 5;
    REQUIRE(small_models("self_teacher"));
    snprintf(out, sizeof out, "%s/run", small_folder);
    snprintf(part, sizeof part, "%s/part", small_folder);
    REQUIRE_OK(open_self(&whole, recipe(out), &err));
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));

    REQUIRE_OK(open_self(&s, recipe(part), &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_self(&s, recipe(part), &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, whole.student));
    char *result = small_read(test_path(part, "result.json"), NULL);
    CHECK_HAS(result, "\"self\":\"average\",\"decay\":0.8");
    CHECK_HAS(result, "\"prefix_tokens\":1");
    CHECK(!strstr(result, "\"changes\":[{"));
    free(result);
    small_close(&s);
    small_close(&whole);
}

/* ---- what is refused ---- */

static void refused(const char *yaml, const char *part)
{
    small s;
    distill_error err;
    const int32_t rc = open_self(&s, yaml, &err);
    if (!rc) FAIL("%s is not refused", yaml);
    else CHECK_HAS(err.message, part);
    small_close(&s);
}

TEST(refusals)
{
    REQUIRE(small_models("self_teacher"));
    refused("teacher: {self: student}\n", "teacher.prefix, or average");
    refused("teacher: {self: average, path: x}\n", "a teacher is one of them");
    refused("teacher: {self: average, cache: {path: c.dtc}}\n", "change over the steps");
    refused("teacher: {self: student, average.decay: 0.5, prefix: {ids: [1]}}\n", "self=average");
    refused("teacher: {self: average}\ntrain: {optimizer: none}\n", "train.optimizer none");
    refused("teacher: {self: average, prefix: {ids: [1], text: a}}\n", "one of text, file and ids");
    refused("teacher: {self: average, prefix: hello}\n", "no tokenizer");
    refused("teacher: {self: average, prefix: {ids: [64]}}\n", "id 64");
    refused("teachers: {a: {self: average}, b: {self: average}}\nteacher: {blend: {of: [a, b]}}\n", "one is kept");
    refused(small_text("teachers: {a: {self: average}, b: {path: '%s/teacher'}}\n"
                       "teacher: {blend: {of: [a, b]}, prefix: {ids: [1]}}\n",
                       small_folder),
            "teachers.NAME.prefix");
    small s;
    distill_error err;
    distill_teacher *teacher = NULL;
    distill_options *options = NULL;
    REQUIRE_OK(small_env(memset(&s, 0, sizeof s), NULL, NULL, &err));
    REQUIRE_OK(distill_options_create(s.env, &options, &err));
    REQUIRE_OK(distill_options_set(options, "teacher.self", "average", &err));
    CHECK(distill_teacher_open(s.env, NULL, options, &teacher, &err) != DISTILL_OK);
    CHECK_HAS(err.message, "only a training has");
    distill_options_free(options);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(prefix_rows) TEST_CASE(prefix_writes) TEST_CASE(student_teaches) TEST_CASE(average_of_now)
              TEST_CASE(average_is) TEST_CASE(resumed) TEST_CASE(refusals))
