/* Routes in whole runs: what each sample is taught, in push and pull mode, over micro-batches, evaluations and
 * resumes. */
#include <math.h>

#include "small.h"

enum { EVAL_ROWS = SMALL_EVAL * (SMALL_LENGTH - 1) };

typedef struct routed {
    small s;
    distill_student *second; /* that teacher b looks at */
    distill_teacher *a, *b;
} routed;

/* Samples of sources a and b in turn. */
static int32_t routed_dataset(const small *s, int64_t sequences, uint32_t seed, distill_dataset **out,
                              distill_error *err)
{
    static const char *const names[2] = {"a", "b"};
    int32_t ids[SMALL_SEQUENCES * SMALL_LENGTH];
    int64_t offsets[SMALL_SEQUENCES + 1];
    const char *sources[SMALL_SEQUENCES];
    distill_batch batch;
    for (int64_t i = 0; i <= sequences; i++) offsets[i] = i * SMALL_LENGTH;
    for (int64_t i = 0; i < sequences; i++) {
        small_ids(ids + offsets[i], SMALL_LENGTH, seed + (uint32_t)i);
        sources[i] = names[i % 2];
    }
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = sequences;
    batch.sources = sources;
    return distill_dataset_from_tokens(s->env, &batch, s->options, out, err);
}

static int32_t make_route(routed *r, double temperature, distill_error *err)
{
    distill_member members[2];
    for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
    members[0].teacher = r->a;
    members[0].name = "a";
    members[1].teacher = r->b;
    members[1].name = "b";
    members[1].temperature = temperature;
    return distill_teacher_route(r->s.env, members, 2, NULL, NULL, NULL, r->s.options, &r->s.teacher, err);
}

static int32_t open_parts(routed *r, const char *yaml, distill_error *err)
{
    small *s = &r->s;
    memset(r, 0, sizeof *r);
    int32_t rc = small_parts(s, NULL, yaml, err);
    if (rc) return rc;
    r->a = s->teacher;
    s->teacher = NULL;
    distill_dataset_free(s->train);
    distill_dataset_free(s->eval);
    s->train = s->eval = NULL;
    rc = distill_student_create(s->env, test_path(small_folder, "student.json"), NULL, s->options, &r->second, err);
    if (!rc) rc = distill_teacher_from_student(r->second, &r->b, err);
    if (!rc) rc = routed_dataset(s, SMALL_SEQUENCES, 100, &s->train, err);
    if (!rc) rc = routed_dataset(s, SMALL_EVAL, 900, &s->eval, err);
    return rc;
}

static int32_t open_trainer(small *s, distill_error *err)
{
    return distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
}

static int32_t routed_open(routed *r, const char *yaml, double temperature, distill_error *err)
{
    int32_t rc = open_parts(r, yaml, err);
    if (!rc) rc = make_route(r, temperature, err);
    return rc ? rc : open_trainer(&r->s, err);
}

static void routed_close(routed *r)
{
    distill_teacher_free(r->a);
    distill_teacher_free(r->b);
    distill_student_free(r->second);
    small_close(&r->s);
}

/* log p of the tokens that follow in one sequence, at a temperature. */
static void log_probs_of(const distill_teacher *teacher, const distill_batch *batch, int64_t sequence,
                         double temperature, float *out)
{
    const int64_t offsets[2] = {0, batch->offsets[sequence + 1] - batch->offsets[sequence]},
                  shape[1] = {offsets[1] - 1};
    distill_tensor chosen = {.data = out,
                             .ndim = 1,
                             .shape = shape,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .device_type = DISTILL_CPU};
    distill_batch one;
    distill_error err;
    DISTILL_INIT(&one);
    one.ids = batch->ids + batch->offsets[sequence];
    one.offsets = offsets;
    one.sequences = 1;
    CHECK_OK(distill_teacher_log_probs(teacher, &one, temperature, &chosen, NULL, &err));
}

static double log_p(const float *logits, int64_t vocab, double temperature, int32_t id)
{
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocab; v++) top = fmax(top, (double)logits[v]);
    for (int64_t v = 0; v < vocab; v++) sum += exp(((double)logits[v] - top) / temperature);
    return ((double)logits[id] - top) / temperature - log(sum);
}

/* Rows that the host is given are those of each sample's own teacher, at the loss's temperature where they are formed
 * at one. */
static void check_pull(double temperature)
{
    routed r;
    distill_error err;
    distill_forward forward;
    distill_strip strip;
    int seen[2] = {0, 0};
    REQUIRE_OK(routed_open(&r, "loss: {temperature: 2}\ntrain: {micro_batch_size: 4}\n", temperature, &err));
    DISTILL_INIT(&forward);
    DISTILL_INIT(&strip);
    REQUIRE_OK(distill_trainer_forward(r.s.trainer, 0, &forward, &err));
    REQUIRE_OK(distill_trainer_next_rows(r.s.trainer, &strip, &err));
    CHECK_INT(strip.rows, 4 * (SMALL_LENGTH - 1));
    CHECK(forward.batch->sources != NULL);
    for (int64_t i = 0, row = 0; i < forward.batch->sequences; i++) {
        const int is_b = !strcmp(forward.batch->sources[i], "b");
        const double own = is_b && temperature > 0 ? temperature : 1, asked = temperature > 0 ? 2 : 1;
        float want[SMALL_LENGTH];
        seen[is_b]++;
        log_probs_of(is_b ? r.b : r.a, forward.batch, i, own * asked, want);
        for (int64_t k = 0; k + 1 < SMALL_LENGTH; k++, row++) {
            const int32_t next = forward.batch->ids[forward.batch->offsets[i] + k + 1];
            CHECK_NEAR(log_p(strip.teacher + row * strip.teacher_stride, strip.vocab, 1, next), (double)want[k], 1e-5);
        }
    }
    CHECK(seen[0] > 0 && seen[1] > 0);
    routed_close(&r);
}

TEST(pull)
{
    REQUIRE(small_models("routed_runs"));
    check_pull(0);
    check_pull(1.5);
}

/* However a batch is cut, each sample has its own teacher. */
TEST(micro_batches)
{
    static const char *const cuts[2] = {"train: {micro_batch_size: 4}\n", "train: {micro_batch_size: 1}\n"};
    routed r[2];
    distill_error err;
    REQUIRE(small_models("routed_runs"));
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(routed_open(&r[i], cuts[i], 1.5, &err));
        REQUIRE_OK(distill_trainer_run(r[i].s.trainer, &err));
    }
    CHECK_NEAR(small_distance(r[0].s.student, r[1].s.student), 0, 1e-3);
    for (int i = 0; i < 2; i++) routed_close(&r[i]);
}

/* The figures of a routed teacher are those of each held-out sample's own. */
TEST(evaluation)
{
    routed r;
    distill_error err;
    distill_report *report = NULL;
    double nats = 0, perplexity = 0;
    REQUIRE(small_models("routed_runs"));
    REQUIRE_OK(open_parts(&r, NULL, &err));
    REQUIRE_OK(make_route(&r, 0, &err));
    for (int64_t i = 0; i < SMALL_EVAL; i++) {
        int32_t ids[SMALL_LENGTH];
        const int64_t offsets[2] = {0, SMALL_LENGTH};
        float found[SMALL_LENGTH];
        distill_batch one;
        small_ids(ids, SMALL_LENGTH, 900 + (uint32_t)i);
        DISTILL_INIT(&one);
        one.ids = ids;
        one.offsets = offsets;
        one.sequences = 1;
        log_probs_of(i % 2 ? r.b : r.a, &one, 0, 1, found);
        for (int k = 0; k + 1 < SMALL_LENGTH; k++) nats -= (double)found[k];
    }
    REQUIRE_OK(distill_evaluate(r.s.student, r.s.teacher, r.s.eval, r.s.options, &report, &err));
    CHECK_OK(distill_report_get_f64(report, "teacher_perplexity", &perplexity, &err));
    CHECK_NEAR(perplexity, exp(nats / EVAL_ROWS), 1e-4 * perplexity);
    distill_report_free(report);
    routed_close(&r);
}

/* Whoever has no samples has cost nothing. */
TEST(flops)
{
    routed r;
    distill_error err;
    double flops[3] = {0};
    char out[600];
    REQUIRE(small_models("routed_runs"));
    snprintf(out, sizeof out, "%s/flops", small_folder);
    for (int i = 0; i < 3; i++) { /* all samples to a, to b, and to a alone without a route */
        REQUIRE_OK(open_parts(&r, small_text("output: {path: '%s', overwrite: true}\n", out), &err));
        REQUIRE_OK(distill_options_set(r.s.options, "teacher.route",
                                       i == 1 ? "{map: {a: b, b: b}}" : "{map: {a: a, b: a}}", &err));
        REQUIRE_OK(make_route(&r, 0, &err));
        REQUIRE_OK(distill_options_set(r.s.options, "teacher.route", "null", &err));
        if (i == 2) {
            distill_teacher_free(r.s.teacher);
            r.s.teacher = r.a;
            r.a = NULL;
        }
        REQUIRE_OK(open_trainer(&r.s, &err));
        REQUIRE_OK(distill_trainer_run(r.s.trainer, &err));
        char *result = small_read(test_path(out, "result.json"), NULL);
        const char *at = result ? strstr(result, "\"flops\":") : NULL;
        if (at) flops[i] = atof(at + 8);
        free(result);
        routed_close(&r);
    }
    CHECK_NEAR(flops[0], flops[2], 1e-9 * flops[2]);
    CHECK(flops[1] > 0 && flops[1] < 0.95 * flops[0]); /* b has fewer layers */
}

/* A source that no teacher is for is said before the first step; by a function, when it comes to it. */
TEST(nobodys_source)
{
    routed r;
    distill_error err;
    distill_member member;
    REQUIRE(small_models("routed_runs"));
    REQUIRE_OK(open_parts(&r, NULL, &err));
    DISTILL_INIT(&member);
    member.teacher = r.a;
    member.name = "a";
    REQUIRE_OK(distill_teacher_route(r.s.env, &member, 1, NULL, NULL, NULL, r.s.options, &r.s.teacher, &err));
    CHECK_INT(open_trainer(&r.s, &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "a sample (source b) has no teacher in the route (a): none is called b");
    CHECK(r.s.trainer == NULL);
    routed_close(&r);
}

/* A teacher of b that has one bad logit, in the sequence that begins with a certain id. */
static int32_t speak_badly(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : SMALL_VOCAB;
    for (int64_t r = 0; r < count; r++) {
        const int64_t sequence = (first + r) / (SMALL_LENGTH - 1);
        const int is_bad = batch->ids[batch->offsets[sequence]] == *(int32_t *)user;
        for (int64_t v = 0; v < SMALL_VOCAB; v++)
            ((float *)out->values->data)[r * stride + v] = is_bad && v == 7 ? NAN : 0;
    }
    return DISTILL_CB_OK;
}

static int32_t take_bad_teacher(routed *r, int32_t *bad, distill_error *err)
{
    int64_t shape[1] = {SMALL_VOCAB};
    distill_tensor values = {.ndim = 1,
                             .shape = shape,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .device_type = DISTILL_CPU};
    distill_teacher_callbacks table;
    distill_target form;
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.form = &form;
    table.user = bad;
    table.score = speak_badly;
    distill_teacher_free(r->b);
    r->b = NULL;
    return distill_teacher_from_callbacks(r->s.env, &table, NULL, &r->b, err);
}

/* The sample of the data that an error in a micro-batch is about, and its number there. */
static void check_sample(routed *r, int64_t index, const char *why)
{
    char name[64];
    distill_error err;
    int32_t rc = DISTILL_OK;
    snprintf(name, sizeof name, "sample %lld of %s: ", (long long)index, index % 2 ? "b" : "a");
    while (!rc) rc = distill_trainer_step(r->s.trainer, NULL, &err);
    if (index >= 0) CHECK_HAS(err.message, name);
    CHECK_HAS(err.message, "sample ");
    CHECK_HAS(err.message, why);
    CHECK(err.position >= 0 && err.position < 2);
}

TEST(samples_in_errors)
{
    routed r;
    distill_error err;
    int32_t bad[SMALL_LENGTH];
    REQUIRE(small_models("routed_runs"));
    small_ids(bad, SMALL_LENGTH, 100 + 33);
    for (int32_t blended = 0; blended < 2; blended++) {
        distill_member members[2];
        distill_teacher *blend = NULL;
        REQUIRE_OK(open_parts(&r, "train: {steps: 200}\n", &err));
        REQUIRE_OK(take_bad_teacher(&r, bad, &err));
        for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
        members[0].teacher = r.a;
        members[1].teacher = r.b;
        if (blended) {
            REQUIRE_OK(distill_teacher_blend(r.s.env, members, 2, NULL, &blend, &err));
            distill_teacher_free(r.b);
            r.b = blend;
        }
        REQUIRE_OK(make_route(&r, 0, &err));
        REQUIRE_OK(open_trainer(&r.s, &err));
        check_sample(&r, 33, blended ? "teacher b, of its part of the batch: " : "loss forward_kl");
        routed_close(&r);
    }
    REQUIRE_OK(open_parts(&r, NULL, &err));
    REQUIRE_OK(distill_options_set(r.s.options, "teacher.route", "{by: prompt_perplexity}", &err));
    REQUIRE_OK(make_route(&r, 0, &err));
    REQUIRE_OK(open_trainer(&r.s, &err));
    check_sample(&r, -1, "it has no prompt of two tokens or more");
    routed_close(&r);
}

/* ---- resumes ---- */

static int32_t stop_at_3(void *user, const distill_progress *p)
{
    (void)user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == 3 ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

/* Member b is drawn: what a draw hangs on is the same in a part of a batch, and after a resume. */
static int32_t open_drawn(routed *r, const char *out, distill_error *err)
{
    distill_member members[2];
    distill_teacher *drawn = NULL;
    distill_options *options = NULL;
    const char *yaml = "teacher: {blend: {mode: stochastic, draw: token}}\n";
    int32_t rc = open_parts(r, small_text("output: '%s'\n", out), err);
    for (int i = 0; i < 2; i++) DISTILL_INIT(&members[i]);
    members[0].teacher = r->a;
    members[1].teacher = r->b;
    if (!rc) rc = distill_options_create(r->s.env, &options, err);
    if (!rc) rc = distill_options_parse(options, yaml, strlen(yaml), "blend", err);
    if (!rc) rc = distill_teacher_blend(r->s.env, members, 2, options, &drawn, err);
    distill_options_free(options);
    if (rc) return rc;
    distill_teacher_free(r->b);
    r->b = drawn;
    rc = make_route(r, 0, err);
    return rc ? rc : open_trainer(&r->s, err);
}

TEST(resumed)
{
    routed whole, stopped;
    distill_error err;
    char out[600];
    REQUIRE(small_models("routed_runs"));
    snprintf(out, sizeof out, "%s/whole", small_folder);
    REQUIRE_OK(open_drawn(&whole, out, &err));
    REQUIRE_OK(distill_trainer_run(whole.s.trainer, &err));
    snprintf(out, sizeof out, "%s/stopped", small_folder);
    REQUIRE_OK(open_drawn(&stopped, out, &err));
    REQUIRE_OK(distill_trainer_on_progress(stopped.s.trainer, stop_at_3, NULL, NULL, &err));
    CHECK_INT(distill_trainer_run(stopped.s.trainer, &err), DISTILL_E_CANCELLED);
    routed_close(&stopped);
    REQUIRE_OK(open_drawn(&stopped, out, &err));
    CHECK_OK(distill_trainer_resume(stopped.s.trainer, &err));
    CHECK_OK(distill_trainer_run(stopped.s.trainer, &err));
    CHECK(small_same_bits(whole.s.student, stopped.s.student));
    routed_close(&whole);
    routed_close(&stopped);
}

/* ---- callers ---- */

static int destroyed;
static void count_destroy(void *user) { (void)user, destroyed++; }
static int32_t first_member(void *user, const distill_batch *batch, int64_t sequence, const char *source,
                            const char *tag, int64_t *member)
{
    (void)user, (void)batch, (void)sequence, (void)source, (void)tag;
    *member = 0;
    return DISTILL_CB_OK;
}

TEST(calls)
{
    routed r;
    distill_error err;
    distill_member member;
    distill_teacher *route = NULL;
    int64_t offsets[2] = {0, 2}, shape[1] = {1};
    const int32_t ids[2] = {1, 2};
    float found = 1;
    distill_tensor chosen = {.data = &found,
                             .ndim = 1,
                             .shape = shape,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .device_type = DISTILL_CPU};
    distill_batch batch;
    REQUIRE(small_models("routed_runs"));
    REQUIRE_OK(open_parts(&r, NULL, &err));
    REQUIRE_OK(distill_options_set(r.s.options, "teacher.route", "{map: {x: a}}", &err));
    DISTILL_INIT(&member);
    member.teacher = r.a;
    member.name = "a";
    CHECK_INT(distill_teacher_route(r.s.env, &member, 1, first_member, NULL, count_destroy, r.s.options, &route, &err),
              DISTILL_E_OPTION);
    CHECK_HAS(err.message, "teacher.route.map is given beside fn");
    CHECK_INT(distill_teacher_route(r.s.env, NULL, 0, first_member, NULL, count_destroy, NULL, &route, &err),
              DISTILL_E_INVALID);
    CHECK_INT(distill_teacher_route(NULL, &member, 1, first_member, NULL, count_destroy, NULL, &route, &err),
              DISTILL_E_INVALID);
    CHECK_INT(destroyed, 3);
    CHECK_OK(distill_teacher_route(r.s.env, &member, 1, NULL, NULL, NULL, r.s.options, &route, &err));
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    CHECK_INT(distill_teacher_log_probs(route, &batch, 1, &chosen, NULL, &err), DISTILL_E_NOT_FOUND);
    batch.sources = (const char *const[]){"x"};
    CHECK_OK(distill_teacher_log_probs(route, &batch, 1, &chosen, NULL, &err));
    CHECK(found < 0);
    batch.struct_size = 56; /* of a caller who knows no sources */
    CHECK_INT(distill_teacher_log_probs(route, &batch, 1, &chosen, NULL, &err), DISTILL_E_NOT_FOUND);
    CHECK_OK(distill_teacher_log_probs(r.a, &batch, 1, &chosen, NULL, &err));
    distill_teacher_free(route);
    routed_close(&r);
}

TEST_MAIN(TEST_CASE(pull) TEST_CASE(micro_batches) TEST_CASE(evaluation) TEST_CASE(flops) TEST_CASE(nobodys_source)
              TEST_CASE(samples_in_errors) TEST_CASE(resumed) TEST_CASE(calls))
