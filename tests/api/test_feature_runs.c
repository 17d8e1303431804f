/* Losses on features from a recipe to files: trained, told, kept in checkpoints, refused where they cannot be; and by
 * hosts that deliver places inside their own models. */
#include "small.h"

static distill_error err;

static const char list[] =
    "[{type: forward_kl, weight: 0.5}, {type: hidden_mse, weight: 0.3, hidden_mse.layers: [0, -1], "
    "hidden_mse.teacher_layers: [1, -1], hidden_mse.projection: linear}, {type: attention_mse, weight: 2}, "
    "{type: hidden_cosine, weight: 0.1}, {type: relation, weight: {schedule: linear, from: 0.1, to: 0.4, steps: 4}}]";

static int32_t open_list(small *s, const char *loss, const char *more)
{
    return small_open(s, small_text("loss: %s\n%s", loss, more ? more : ""), &err);
}

static int same_file(const char *a, const char *b, const char *name)
{
    size_t sizes[2] = {0, 1};
    char *x = small_read(small_text("%s/%s", a, name), &sizes[0]),
         *y = small_read(small_text("%s/%s", b, name), &sizes[1]);
    const int same = x && y && sizes[0] == sizes[1] && !memcmp(x, y, sizes[0]);
    free(x);
    free(y);
    return same;
}

static const char *place(const char *name) { return small_text("%s/%s", small_folder, name); }

static int32_t open_threaded(small *s, int64_t threads, const char *more)
{
    memset(s, 0, sizeof *s);
    int32_t rc = small_env(s, NULL, small_text("loss: %s\n%s", list, more), &err);
    if (!rc) rc = distill_env_set_threads(s->env, threads, NULL, NULL, NULL, &err);
    if (!rc && small_own_products()) rc = distill_env_set_products(s->env, "portable", &err);
    if (!rc) rc = small_handles(s, &err);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, &err);
    return rc;
}

/* Going on from a checkpoint is bitwise the same, with threads and with recomputed activations, projections included;
 * they are no part of the student. */
TEST(goes_on_bitwise)
{
    char whole[600], half[600], again[600];
    size_t size = 0;
    small s;
    REQUIRE(small_models("feature_runs"));
    snprintf(whole, sizeof whole, "%s", place("whole"));
    snprintf(half, sizeof half, "%s", place("half"));
    snprintf(again, sizeof again, "%s", place("again"));
    REQUIRE_OK(open_threaded(&s, 1, "train: {projection_rate: 3}\n"));
    for (int i = 0; i < 6; i++) {
        REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
        if (i == 2) CHECK_OK(distill_trainer_save(s.trainer, half, &err));
    }
    CHECK_OK(distill_trainer_save(s.trainer, whole, &err));
    small_close(&s);
    REQUIRE_OK(open_threaded(&s, 3, "train: {projection_rate: 3, activation_checkpointing: true}\n"));
    CHECK_OK(distill_trainer_load(s.trainer, half, &err));
    for (int i = 0; i < 3; i++) REQUIRE_OK(distill_trainer_step(s.trainer, NULL, &err));
    CHECK_OK(distill_trainer_save(s.trainer, again, &err));
    CHECK(same_file(whole, again, "student/model.safetensors"));
    CHECK(same_file(whole, again, "projections/model.safetensors"));
    CHECK(!same_file(whole, half, "projections/model.safetensors"));
    char *student = small_read(small_text("%s/student/model.safetensors", whole), &size),
         *kept = small_read(small_text("%s/projections/model.safetensors", whole), &size);
    CHECK(student && kept);
    CHECK(strstr(kept + 8, "\"loss.1.hidden_mse.projection.0-1\""));
    CHECK(strstr(kept + 8, "\"v.loss.1.hidden_mse.projection.final-final\""));
    CHECK(!strstr(student + 8, "projection"));
    free(student);
    free(kept);
    small_close(&s);
    /* another layer map is another run */
    REQUIRE_OK(
        open_list(&s,
                  "[{type: forward_kl, weight: 0.5}, {type: hidden_mse, weight: 0.3, hidden_mse.layers: [1, -1], "
                  "hidden_mse.teacher_layers: [1, -1], hidden_mse.projection: linear}, {type: attention_mse, "
                  "weight: 2}, {type: hidden_cosine, weight: 0.1}, {type: relation, weight: 0.4}]",
                  NULL));
    CHECK_INT(distill_trainer_load(s.trainer, half, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "loss.1.hidden_mse.layers");
    small_close(&s);
}

/* micro_batch_size changes no update beyond rounding. */
TEST(windows_add_up)
{
    double values[2][2];
    REQUIRE(small_models("feature_runs"));
    for (int i = 0; i < 2; i++) {
        small s;
        distill_progress p;
        DISTILL_INIT(&p);
        REQUIRE_OK(open_list(&s, "[{type: hidden_mse}, {type: relation}]",
                             i ? "train: {micro_batch_size: 1}\n" : "train: {micro_batch_size: 4}\n"));
        for (int k = 0; k < 3; k++) REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        values[i][0] = p.loss;
        values[i][1] = p.grad_norm;
        CHECK_NEAR(p.term_values[0] + p.term_values[1], p.loss, 1e-9);
        small_close(&s);
    }
    CHECK_NEAR(values[0][0], values[1][0], 1e-5 * values[0][0]);
    CHECK_NEAR(values[0][1], values[1][1], 1e-4 * values[0][1]);
}

/* It learns what it is asked for, frozen parts stay, and figures are told. */
TEST(learns_and_tells)
{
    small s;
    distill_progress p;
    double first = 0;
    REQUIRE(small_models("feature_runs"));
    REQUIRE_OK(open_list(&s, "[{type: hidden_mse, hidden_mse.layers: [1], hidden_mse.teacher_layers: [2]}]",
                         small_text("student: {freeze: ['model.layers.0.*', 'model.embed_tokens.weight']}\n"
                                    "train: {steps: 40, learning_rate: 0.1, schedule: constant}\noutput: '%s'\n",
                                    place("learns"))));
    DISTILL_INIT(&p);
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    first = p.loss;
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    char *metrics = small_read(small_text("%s/metrics.jsonl", place("learns")), NULL),
         *result = small_read(small_text("%s/result.json", place("learns")), NULL);
    CHECK(metrics && result);
    const char *last = metrics;
    for (const char *at = metrics; (at = strstr(at, "\"terms\":[{\"loss\":\"hidden_mse\",\"weight\":1,\"value\":"));
         at++)
        last = at;
    const double end = strtod(strstr(last, "\"value\":") + 8, NULL);
    if (!(end < 0.9 * first)) FAIL("%g after %g", end, first);
    CHECK(strstr(result, "\"features\":{\"terms\":[{\"loss\":\"hidden_mse\",\"pairs\":[[1,2]],\"projections\":0}],"
                         "\"parameters\":0,\"bytes\":"));
    free(metrics);
    free(result);
    small_close(&s);
}

static void check_refused(const char *loss, const char *more, int32_t code, const char *why)
{
    small s;
    const int32_t rc = open_list(&s, loss, more);
    if (rc != code || !strstr(err.message, why)) FAIL("%s: %d %s", loss, rc, rc ? err.message : "");
    small_close(&s);
}

TEST(refusals)
{
    small s;
    distill_teacher *blend = NULL, *cached = NULL, *route = NULL;
    distill_trainer *trainer = NULL;
    distill_member members[2];
    REQUIRE(small_models("feature_runs"));
    check_refused("{type: hidden_mse}", "student: {freeze: ['model.layers.0.*', 'model.embed_tokens.weight']}\n",
                  DISTILL_E_OPTION,
                  "loss hidden_mse: block 0 of the student and all below it are frozen: nothing would learn from its "
                  "output");
    check_refused("{type: forward_kl}", "train: {projection_rate: 2}\n", DISTILL_E_OPTION, "train.projection_rate");
    check_refused("{type: forward_kl, hidden_mse.layers: [1]}", NULL, DISTILL_E_OPTION,
                  "loss.hidden_mse goes with type=hidden_mse only");
    REQUIRE_OK(small_parts(&s, NULL, "loss: hidden_mse\n", &err));
    for (int i = 0; i < 2; i++) {
        DISTILL_INIT(&members[i]);
        members[i].teacher = s.teacher;
        members[i].name = i ? "b" : "a";
    }
    REQUIRE_OK(distill_teacher_blend(s.env, members, 2, NULL, &blend, &err));
    CHECK_INT(distill_trainer_create(s.env, blend, s.student, s.train, NULL, s.options, &trainer, &err),
              DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "loss hidden_mse: a blend of teachers gives nothing of what is inside");
    CHECK_OK(distill_options_set(s.options, "teacher.cache.tier", "hidden", &err));
    REQUIRE_OK(distill_teacher_cached(s.env, place("targets.bin"), s.teacher, s.options, &cached, &err));
    CHECK_OK(distill_options_set(s.options, "teacher.cache.tier", NULL, &err));
    CHECK_INT(distill_trainer_create(s.env, cached, s.student, s.train, NULL, s.options, &trainer, &err),
              DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message,
              "a target cache gives nothing of what is inside: a file of targets keeps what a teacher says");
    CHECK_OK(distill_options_set(s.options, "teacher.route.default", "a", &err));
    REQUIRE_OK(distill_teacher_route(s.env, members, 2, NULL, NULL, NULL, s.options, &route, &err));
    CHECK_INT(distill_trainer_create(s.env, route, s.student, s.train, NULL, s.options, &trainer, &err),
              DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "a route of teachers gives nothing of what is inside");
    distill_teacher_free(blend);
    distill_teacher_free(cached);
    distill_teacher_free(route);
    small_close(&s);
}

/* A call on rows has no models to look into. */
TEST(no_loss_on_rows)
{
    small s;
    distill_loss *loss = NULL;
    float q[6] = {0}, p[6] = {0};
    int64_t shape[2] = {2, 3};
    distill_tensor own = {.device_type = DISTILL_CPU,
                          .ndim = 2,
                          .dtype_code = DISTILL_FLOAT,
                          .dtype_bits = 32,
                          .dtype_lanes = 1,
                          .shape = shape,
                          .data = q},
                   other = own;
    distill_target student, teacher;
    distill_loss_args args;
    other.data = p;
    DISTILL_INIT(&student);
    DISTILL_INIT(&teacher);
    DISTILL_INIT(&args);
    student.kind = teacher.kind = DISTILL_DENSE;
    student.values = &own;
    teacher.values = &other;
    args.student = &student;
    args.teacher = &teacher;
    REQUIRE(small_models("feature_runs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    REQUIRE_OK(distill_loss_create(s.env, "relation", NULL, &loss, &err));
    CHECK_INT(distill_loss_eval(loss, &args, &err), DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "loss relation compares what is inside two models");
    distill_loss_free(loss);
    small_close(&s);
}

/* Live: a weight may fall to 0 and rise again; one that was 0 at create may not. */
TEST(live_weights)
{
    small s;
    distill_progress p;
    REQUIRE(small_models("feature_runs"));
    REQUIRE_OK(
        open_list(&s, "[{type: forward_kl}, {type: hidden_mse, weight: 0.5}, {type: relation, weight: 0}]", NULL));
    DISTILL_INIT(&p);
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_INT(p.term_count, 2);
    CHECK_OK(distill_options_set(s.options, "loss.1.weight", "0", &err));
    CHECK_OK(distill_trainer_configure(s.trainer, s.options, &err));
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_INT(p.term_count, 1);
    CHECK_OK(distill_options_set(s.options, "loss.1.weight", "2", &err));
    CHECK_OK(distill_trainer_configure(s.trainer, s.options, &err));
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_NEAR(p.loss, p.term_values[0] + 2 * p.term_values[1], 1e-9);
    CHECK_OK(distill_options_set(s.options, "loss.2.weight", "1", &err));
    CHECK_INT(distill_trainer_configure(s.trainer, s.options, &err), DISTILL_E_STAGE);
    CHECK_HAS(err.message, "a loss on features would count from now on");
    small_close(&s);
}

/* ---- hosts ---- */

enum { WIDTH = 4 };
typedef struct host {
    int of_student, reads, gradients, rows, wrong;
    double sum; /* of squared distances of a step, weights 1 */
} host;

static float number(int of_student, int32_t id, int64_t d)
{
    return 0.1f * (float)((id * (of_student ? 7 : 5) + d * 3) % 11);
}

static int32_t read_tap(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *values)
{
    host *h = user;
    h->reads++;
    h->wrong += tap != 1 || values->shape[0] != batch->offsets[batch->sequences] || values->shape[1] != WIDTH;
    for (int64_t i = 0; i < values->shape[0]; i++)
        for (int64_t d = 0; d < WIDTH; d++)
            ((float *)values->data)[i * values->strides[0] + d] = number(h->of_student, batch->ids[i], d);
    return DISTILL_CB_OK;
}

/* Of 0.5 * mean of squares; the last token of a sequence is no position. */
static int32_t tap_gradient(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *gradient)
{
    host *h = user;
    int64_t last = 0;
    h->gradients++;
    h->wrong += tap != 1 || h->reads != h->gradients;
    for (int64_t s = 0; s < batch->sequences; s++)
        for (int64_t i = batch->offsets[s]; i < batch->offsets[s + 1]; i++)
            for (int64_t d = 0; d < WIDTH; d++) {
                const double apart = (double)number(1, batch->ids[i], d) - (double)number(0, batch->ids[i], d);
                const double have = ((float *)gradient->data)[i * gradient->strides[0] + d];
                last = i + 1 == batch->offsets[s + 1];
                h->wrong += fabs(have - (last ? 0 : 0.5 * 2 * apart / WIDTH)) > 1e-6;
                h->sum += last ? 0 : apart * apart / WIDTH;
            }
    return DISTILL_CB_OK;
}

static int32_t give_rows(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : SMALL_VOCAB;
    host *h = user;
    h->rows += (int)count;
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < SMALL_VOCAB; v++)
            ((float *)out->values->data)[r * stride + v] = 0.1f * (float)((batch->ids[batch->rows[first + r]] + v) % 5);
    return DISTILL_CB_OK;
}

static int32_t take_rows(void *user, int64_t first, int64_t count, const distill_tensor *gradient)
{
    (void)user, (void)first, (void)count, (void)gradient;
    return DISTILL_CB_OK;
}

static int32_t update(void *user, int64_t step, double learning_rate, double scale)
{
    (void)user, (void)step, (void)learning_rate, (void)scale;
    return DISTILL_CB_OK;
}

static void two_taps(distill_tap taps[2])
{
    for (int i = 0; i < 2; i++) {
        DISTILL_INIT(&taps[i]);
        taps[i].kind = DISTILL_TAP_OUTPUT;
        taps[i].layer = 3 * i;
        taps[i].width = WIDTH + 1 - i;
    }
}

static int32_t open_hosts(small *s, host *student, host *teacher, const char *yaml)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = {.device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_target form;
    distill_tap taps[2];
    distill_student_callbacks own;
    distill_teacher_callbacks other;
    int32_t rc = small_parts(s, NULL, yaml, &err);
    if (rc) return rc;
    distill_student_free(s->student);
    distill_teacher_free(s->teacher);
    s->student = NULL;
    s->teacher = NULL;
    DISTILL_INIT(&form);
    DISTILL_INIT(&own);
    DISTILL_INIT(&other);
    two_taps(taps);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    own.user = student;
    own.forward = give_rows;
    own.backward = take_rows;
    own.apply = update;
    other.user = teacher;
    other.score = give_rows;
    own.form = other.form = &form;
    own.taps = other.taps = taps;
    own.tap_count = other.tap_count = 2;
    own.read_tap = other.read_tap = read_tap;
    own.tap_gradient = tap_gradient;
    rc = distill_student_from_callbacks(s->env, &own, NULL, &s->student, &err);
    if (!rc) rc = distill_teacher_from_callbacks(s->env, &other, NULL, &s->teacher, &err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, &err);
    return rc;
}

TEST(hosts_deliver_places)
{
    static const char yaml[] = "loss: [{type: cross_entropy}, {type: hidden_mse, weight: 0.5, hidden_mse.layers: [3], "
                               "hidden_mse.teacher_layers: [3]}]\n";
    host student = {.of_student = 1}, teacher = {.of_student = 0};
    small s;
    distill_progress p;
    REQUIRE(small_models("feature_runs"));
    REQUIRE_OK(open_hosts(&s, &student, &teacher, yaml));
    DISTILL_INIT(&p);
    REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
    CHECK_INT(student.wrong, 0);
    CHECK_INT(teacher.wrong, 0);
    CHECK_INT(student.reads, 2); /* micro-batches */
    CHECK_INT(teacher.reads, 2);
    CHECK_INT(student.gradients, 2);
    CHECK_INT(teacher.rows, 0); /* no loss looks at them */
    CHECK_NEAR(p.term_values[1], student.sum / p.weight_sum, 1e-6);
    small_close(&s);
    CHECK_INT(open_hosts(&s, &student, &teacher,
                         "loss: {type: hidden_mse, hidden_mse.layers: [2], "
                         "hidden_mse.teacher_layers: [3]}\n"),
              DISTILL_E_UNSUPPORTED);
    CHECK_HAS(err.message, "the student is the host's own, and its taps have no output of block 2");
    small_close(&s);
    CHECK_INT(open_hosts(&s, &student, &teacher, "loss: {type: hidden_mse}\n"), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "give loss.hidden_mse.layers: how many blocks the student has is not known");
    small_close(&s);
}

/* A table of an older caller, who knows no places, is as it was; bad ones are named. */
TEST(tables_of_hosts)
{
    int64_t shape[2] = {1, SMALL_VOCAB};
    distill_tensor values = {.device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    small s;
    distill_tap taps[2];
    distill_target form;
    distill_student_callbacks own;
    distill_student *student = NULL;
    REQUIRE(small_models("feature_runs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    DISTILL_INIT(&form);
    DISTILL_INIT(&own);
    two_taps(taps);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    own.forward = give_rows;
    own.backward = take_rows;
    own.apply = update;
    own.form = &form;
    own.taps = taps;
    own.tap_count = 2;
    CHECK_INT(distill_student_from_callbacks(s.env, &own, NULL, &student, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "table->read_tap is NULL, and there are taps");
    own.struct_size = offsetof(distill_student_callbacks, taps);
    CHECK_OK(distill_student_from_callbacks(s.env, &own, NULL, &student, &err));
    distill_student_free(student);
    student = NULL;
    own.struct_size = sizeof own;
    own.read_tap = read_tap;
    own.tap_gradient = tap_gradient;
    taps[1].kind = 9;
    CHECK_INT(distill_student_from_callbacks(s.env, &own, NULL, &student, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "taps[1].kind 9 is none of DISTILL_TAP_OUTPUT");
    taps[1].kind = DISTILL_TAP_KEYS;
    taps[1].heads = 3;
    CHECK_INT(distill_student_from_callbacks(s.env, &own, NULL, &student, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "taps[1]: 3 heads do not divide a width of 4");
    small_close(&s);
}

TEST_MAIN(TEST_CASE(goes_on_bitwise) TEST_CASE(windows_add_up) TEST_CASE(learns_and_tells) TEST_CASE(refusals)
              TEST_CASE(no_loss_on_rows) TEST_CASE(live_weights) TEST_CASE(hosts_deliver_places)
                  TEST_CASE(tables_of_hosts))
