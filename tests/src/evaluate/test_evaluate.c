/* Evaluation without a trainer: against sums over the logits themselves, part of the data, and what stops it. */
#include <sys/stat.h>

#include "../teacher/model_fixture.h"
#include "dataset/dataset_parts.h"
#include "evaluate/answer_time.h"
#include "evaluate/evaluate.h"
#include "student/student.h"

typedef struct measured {
    fixture f;
    di_student *student, *other; /* the teacher's weights */
    di_teacher *model, *teacher;
    di_dataset *data;
} measured;

static void open_measured(measured *m, const char *name)
{
    distill_batch batch = tiny_batch();
    dk_error err;
    memset(m, 0, sizeof *m);
    open_fixture(&m->f, name);
    CHECK_OK(di_options_set(m->f.options, "data.sequence_length", "7", &err));
    CHECK_OK(di_options_set(m->f.options, "data.pack", "false", &err));
    CHECK_OK(di_student_create(m->f.backend, m->f.config, NULL, m->f.options, &m->student, &err));
    CHECK_OK(di_options_set(m->f.options, "train.seed", "5", &err));
    CHECK_OK(di_student_create(m->f.backend, m->f.config, NULL, m->f.options, &m->other, &err));
    CHECK_OK(di_student_as_teacher(m->student, &m->model, &err));
    CHECK_OK(di_student_as_teacher(m->other, &m->teacher, &err));
    CHECK_OK(di_dataset_from_tokens(m->f.host, &batch, m->f.options, &m->data, &err));
}

static void close_measured(measured *m)
{
    di_dataset_release(m->data);
    di_teacher_release(m->model);
    di_teacher_release(m->teacher);
    di_student_release(m->student);
    di_student_release(m->other);
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
    double nats = 0, kl = 0, accepted = 0;
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
            accepted += exp(fmin(log_p, (double)row_q[v] - total_q));
        }
    }
    for (int at_once = 0; at_once < 2; at_once++) { /* row by row, and at once */
        di_evaluate_args args = args_of(&m);
        args.memory = at_once ? 1 << 20 : 2 * TINY_VOCAB * (int64_t)sizeof(float);
        REQUIRE_OK(di_evaluate(&args, &got, &err));
        CHECK_INT(got.tokens, 9);
        CHECK_NEAR(got.nats, nats / 9, 1e-6);
        CHECK_NEAR(got.kl_mean, kl / 9, 1e-6);
        CHECK_NEAR(got.acceptance, accepted / 9, 1e-6);
        CHECK(got.kl_median <= got.kl_p99);
    }
    di_evaluate_args args = args_of(&m);
    args.memory = 2 * TINY_VOCAB * (int64_t)sizeof(float) - 1;
    CHECK_INT(di_evaluate(&args, &got, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "train.loss_memory of ");
    CHECK_HAS(err.message, " bytes does not hold one row of logits");
    close_measured(&m);
}

/* bf16 is another arithmetic, near the first one, of both models. */
TEST(precision)
{
    di_evaluation full, half, again;
    measured m;
    dk_error err;
    open_measured(&m, "precision");
    if (dk_backend_set_products(m.f.backend, "portable", &err)) {
        CHECK_HAS(err.message, "this build forms them by cblas alone");
        close_measured(&m);
        SKIP("this build forms products by cblas alone, which has no bf16");
    }
    di_evaluate_args args = args_of(&m);
    REQUIRE_OK(di_evaluate(&args, &full, &err));
    args.precision = DK_PRECISION_BF16;
    REQUIRE_OK(di_evaluate(&args, &half, &err));
    CHECK(half.nats != full.nats && half.teacher_nats != full.teacher_nats);
    CHECK_NEAR(half.nats, full.nats, 5e-2);
    CHECK_NEAR(half.teacher_nats, full.teacher_nats, 5e-2);
    CHECK_NEAR(half.kl_mean, full.kl_mean, 5e-2);
    CHECK(half.precision == DK_PRECISION_BF16 && full.precision == DK_PRECISION_FULL);
    args.precision = DK_PRECISION_FULL;
    REQUIRE_OK(di_evaluate(&args, &again, &err));
    CHECK(again.nats == full.nats && again.kl_mean == full.kl_mean);
    close_measured(&m);
}

/* What the teacher said is kept: the second time it is not asked, and the numbers are the same bits. */
TEST(teacher_side)
{
    di_evaluation first, second, fresh;
    di_teacher_side *side = NULL, *small = NULL;
    measured m;
    dk_error err;
    open_measured(&m, "teacher_side");
    di_evaluate_args args = args_of(&m);
    REQUIRE_OK(di_evaluate(&args, &fresh, &err));
    CHECK_OK(di_teacher_side_create(m.f.host, 1 << 20, &side, &err));
    args.teacher_side = side;
    REQUIRE_OK(di_evaluate(&args, &first, &err));
    CHECK_INT(di_teacher_side_bytes(side), 9 * TINY_WIDTH * 4);
    REQUIRE_OK(di_evaluate(&args, &second, &err));
    CHECK_INT(di_teacher_side_bytes(side), 9 * TINY_WIDTH * 4);
    for (int i = 0; i < 2; i++) {
        const di_evaluation *got = i ? &second : &first;
        CHECK_NEAR(got->kl_mean, fresh.kl_mean, 0);
        CHECK_NEAR(got->teacher_nats, fresh.teacher_nats, 0);
        CHECK_NEAR(got->kl_p99, fresh.kl_p99, 0);
        CHECK_NEAR(got->top1_agreement, fresh.top1_agreement, 0);
    }
    CHECK_OK(
        di_teacher_side_create(m.f.host, 9 * TINY_WIDTH * 4 - 1, &small, &err)); /* too little room: scored again */
    args.teacher_side = small;
    for (int i = 0; i < 2; i++) REQUIRE_OK(di_evaluate(&args, &second, &err));
    CHECK_INT(di_teacher_side_bytes(small), 0);
    CHECK_NEAR(second.kl_mean, fresh.kl_mean, 0);
    di_teacher_side_free(side);
    di_teacher_side_free(small);
    close_measured(&m);
}

/* A trunk that is changed behind its back shows that the teacher is not asked again; once the change is said, it is. */
TEST(teacher_side_of_weights_that_change)
{
    di_evaluation first, second, fresh;
    di_teacher_side *side = NULL;
    distill_tensor norm;
    measured m;
    dk_error err;
    open_measured(&m, "teacher_side_changes");
    di_evaluate_args args = args_of(&m);
    CHECK_OK(di_teacher_side_create(m.f.host, 1 << 20, &side, &err));
    args.teacher_side = side;
    REQUIRE_OK(di_evaluate(&args, &first, &err));
    REQUIRE_OK(di_student_parameter(m.other, "model.norm.weight", DISTILL_WEIGHT, &norm, &err));
    for (int i = 0; i < TINY_WIDTH; i++) ((float *)norm.data)[i] *= 3;
    REQUIRE_OK(di_evaluate(&args, &second, &err));
    CHECK_NEAR(second.teacher_nats, first.teacher_nats, 0);
    CHECK_NEAR(second.kl_mean, first.kl_mean, 0);
    CHECK_OK(di_student_weights_changed(m.other, &err));
    REQUIRE_OK(di_evaluate(&args, &second, &err));
    args.teacher_side = NULL;
    REQUIRE_OK(di_evaluate(&args, &fresh, &err));
    CHECK(fresh.teacher_nats != first.teacher_nats);
    CHECK_NEAR(second.teacher_nats, fresh.teacher_nats, 0);
    CHECK_NEAR(second.kl_mean, fresh.kl_mean, 0);
    CHECK_INT(di_teacher_side_bytes(side), 9 * TINY_WIDTH * 4);
    di_teacher_side_free(side);
    close_measured(&m);
}

/* ---- several sources ---- */

/* The sequences of tiny_batch, each `times` times, as a source of its own. */
static di_dataset *source_of(const measured *m, int sequence, const char *name, int times)
{
    const distill_batch whole = tiny_batch();
    int32_t ids[256];
    int64_t offsets[33] = {0};
    distill_batch batch;
    di_dataset *out = NULL;
    dk_error err;
    const int64_t first = whole.offsets[sequence], count = whole.offsets[sequence + 1] - first;
    for (int i = 0; i < times; i++) {
        memcpy(ids + i * count, whole.ids + first, (size_t)count * sizeof *ids);
        offsets[i + 1] = (i + 1) * count;
    }
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = times;
    CHECK_OK(di_dataset_from_tokens(m->f.host, &batch, m->f.options, &out, &err));
    if (out) out->name = dk_strdup(m->f.host, name);
    return out;
}

TEST(sources_are_measured_apart)
{
    di_evaluation whole, alone[2], some;
    di_dataset *sources[2], *mix = NULL;
    measured m;
    dk_error err;
    dk_strbuf json;
    open_measured(&m, "sources");
    for (int s = 0; s < 2; s++) sources[s] = source_of(&m, s, s ? "en" : "pt", 20);
    REQUIRE_OK(di_dataset_mix(m.f.host, sources, 2, NULL, &mix, &err));
    di_evaluate_args args = args_of(&m);
    args.data = mix;
    REQUIRE_OK(di_evaluate(&args, &whole, &err));
    CHECK_INT(whole.source_count, 2);
    CHECK_INT(whole.tokens, 9 * 20);
    for (int s = 0; s < 2; s++) {
        const di_source_scores *scores = &whole.sources[s];
        args.data = sources[s];
        REQUIRE_OK(di_evaluate(&args, &alone[s], &err));
        CHECK_INT(alone[s].source_count, 0);
        CHECK_STR(scores->name, s ? "en" : "pt");
        CHECK_INT(scores->tokens, s ? 60 : 120);
        CHECK_NEAR(scores->nats, alone[s].nats, 1e-12);
        CHECK_NEAR(scores->teacher_nats, alone[s].teacher_nats, 1e-12);
        CHECK_NEAR(scores->kl_mean, alone[s].kl_mean, 1e-12);
        CHECK_NEAR(scores->kl_median, alone[s].kl_median, 1e-7);
        CHECK_NEAR(scores->kl_p99, alone[s].kl_p99, 1e-7);
        CHECK_NEAR(scores->top1_agreement, alone[s].top1_agreement, 1e-12);
    }
    CHECK(fabs(alone[0].kl_mean - alone[1].kl_mean) > 1e-6);
    CHECK_NEAR(whole.nats, (2 * alone[0].nats + alone[1].nats) / 3, 1e-12);
    CHECK_NEAR(whole.kl_mean, (2 * alone[0].kl_mean + alone[1].kl_mean) / 3, 1e-12);
    args.data = mix;
    args.tokens = 9; /* of each its share, in batches of 8 windows */
    REQUIRE_OK(di_evaluate(&args, &some, &err));
    CHECK(some.sources[0].tokens == 48 && some.sources[1].tokens == 24 && some.tokens == 72);
    dk_strbuf_init(&json, m.f.host);
    di_evaluation_json(&whole, NULL, &json);
    CHECK_HAS(json.data, "\"sources\":{\"pt\":{\"tokens\":120,\"perplexity\":");
    CHECK_HAS(json.data, "\"en\":{\"tokens\":60,");
    dk_strbuf_free(&json);
    for (int s = 0; s < 2; s++) di_dataset_release(sources[s]);
    di_dataset_release(mix);
    close_measured(&m);
}

/* ---- a sparse teacher: its ids and the rest ---- */

typedef struct sparse_teacher {
    int32_t kind;
    const float *p; /* [9, TINY_VOCAB] logits that it knows two ids of */
} sparse_teacher;

enum { FIRST_ID = 3, SECOND_ID = 20 };

static int32_t score_sparse(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const sparse_teacher *t = user;
    (void)batch;
    for (int64_t i = 0; i < count; i++) {
        const float *row = t->p + (first + i) * TINY_VOCAB;
        int32_t *ids = out->ids->data;
        if (t->kind == DISTILL_ONE_HOT) {
            ids[i] = FIRST_ID;
            continue;
        }
        ids[2 * i] = FIRST_ID;
        ids[2 * i + 1] = SECOND_ID;
        for (int j = 0; j < 2; j++)
            ((float *)out->values->data)[2 * i + j] =
                t->kind == DISTILL_SAMPLED ? (float)(1 + 2 * j) : (float)((double)row[ids[2 * i + j]] - log_total(row));
    }
    return DISTILL_CB_OK;
}

static double bucket_kl(const double *p, const double *q, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        if (p[i] > 0) sum += p[i] * log(p[i] / q[i]);
    return sum;
}

static void check_sparse_teacher(int32_t kind)
{
    static float q[9 * TINY_VOCAB];
    const int64_t shape[2] = {9, 2};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, shape),
                   ids = di_tensor_of(NULL, DISTILL_INT, 32, kind == DISTILL_ONE_HOT ? 1 : 2, shape);
    sparse_teacher state = {kind, q};
    distill_teacher_callbacks table;
    distill_target form;
    double kl = 0, accepted = 0;
    int64_t agreed = 0;
    measured m;
    di_evaluation got, alone;
    dk_error err;
    dk_strbuf json;
    open_measured(&m, "sparse_teacher");
    distill_batch batch = tiny_batch();
    CHECK_OK(score_with(m.model, &batch, q, &err));
    static float p[9 * TINY_VOCAB];
    CHECK_OK(score_with(m.teacher, &batch, p, &err));
    state.p = p;
    DISTILL_INIT(&form);
    form.kind = kind;
    form.values = kind == DISTILL_ONE_HOT ? NULL : &values;
    form.ids = &ids;
    DISTILL_INIT(&table);
    table.user = &state;
    table.score = score_sparse;
    table.form = &form;
    di_evaluate_args args = args_of(&m);
    args.teacher = NULL;
    REQUIRE_OK(di_evaluate(&args, &alone, &err));
    REQUIRE_OK(di_teacher_from_callbacks(m.f.backend, &table, NULL, &args.teacher, &err));
    REQUIRE_OK(di_evaluate(&args, &got, &err));
    for (int r = 0; r < 9; r++) {
        const float *row_q = q + r * TINY_VOCAB, *row_p = p + r * TINY_VOCAB;
        const double total_q = log_total(row_q), total_p = log_total(row_p);
        double pb[3] = {exp((double)row_p[FIRST_ID] - total_p), exp((double)row_p[SECOND_ID] - total_p), 0},
               qb[3] = {exp((double)row_q[FIRST_ID] - total_q), exp((double)row_q[SECOND_ID] - total_q), 0};
        int best = 0, top = pb[0] > pb[1] ? FIRST_ID : SECOND_ID;
        pb[2] = 1 - pb[0] - pb[1];
        qb[2] = 1 - qb[0] - qb[1];
        if (kind == DISTILL_SAMPLED) pb[0] = 0.25, pb[1] = 0.75, pb[2] = 0;
        if (kind == DISTILL_ONE_HOT) pb[0] = 1, pb[1] = pb[2] = 0, top = FIRST_ID;
        kl += bucket_kl(pb, qb, 3);
        for (int b = 0; b < 3; b++) accepted += fmin(pb[b], qb[b]) / 9;
        if (kind == DISTILL_SAMPLED) kl -= 0.25 * log(0.25) + 0.75 * log(0.75); /* the soft cross-entropy */
        for (int v = 1; v < TINY_VOCAB; v++)
            if (row_q[v] > row_q[best]) best = v;
        agreed += best == top;
    }
    CHECK_NEAR(got.nats, alone.nats, 0); /* the student's perplexity always */
    CHECK_NEAR(got.kl_mean, kl / 9, 1e-6);
    dk_strbuf_init(&json, m.f.host);
    di_evaluation_json(&got, NULL, &json);
    CHECK_HAS(json.data, kind == DISTILL_SAMPLED ? "\"soft_cross_entropy\":" : "\"forward_kl\":");
    CHECK(kind != DISTILL_SAMPLED || !strstr(json.data, "forward_kl"));
    CHECK_HAS(json.data, di_kind_name(kind));
    CHECK(!strstr(json.data, "teacher_perplexity"));
    if (kind == DISTILL_SAMPLED) CHECK(!strstr(json.data, "top1_agreement"));
    else CHECK_NEAR(got.top1_agreement, (double)agreed / 9, 1e-12);
    if (kind == DISTILL_SAMPLED) CHECK(!strstr(json.data, "expected_acceptance"));
    else CHECK_NEAR(got.acceptance, accepted, 1e-6);
    dk_strbuf_free(&json);
    di_teacher_release(args.teacher);
    close_measured(&m);
}

TEST(sparse_teachers)
{
    check_sparse_teacher(DISTILL_TOPK);
    check_sparse_teacher(DISTILL_SAMPLED);
    check_sparse_teacher(DISTILL_ONE_HOT);
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

/* ---- energy of an evaluation that outlasts its counter ---- */

typedef struct counter {
    dk_host *host;
    char path[1300];
    di_meter meter;
    long long value;
} counter;

static int32_t put_counter(counter *c, long long value)
{
    char text[32];
    dk_error err;
    c->value = value;
    snprintf(text, sizeof text, "%lld\n", value);
    return dk_file_replace(c->host, c->path, text, strlen(text), &err) == DK_OK;
}

/* Between two windows the counter goes on by 700 of 1000, and ten seconds pass. */
static int32_t go_round(void *user, int64_t done, int64_t total)
{
    counter *c = user;
    (void)done, (void)total;
    CHECK(put_counter(c, (c->value + 700) % 1000));
    c->meter.polled -= 11;
    return 0;
}

TEST(counters_are_read_on_the_way)
{
    static counter c;
    char root[1100], zone[1200];
    di_evaluation got;
    measured m;
    dk_error err;
    open_measured(&m, "counters");
    c.host = m.f.host;
    snprintf(root, sizeof root, "%s/powercap", test_folder("evaluate_counters"));
    snprintf(zone, sizeof zone, "%s/intel-rapl:0", root);
    CHECK(mkdir(root, 0700) == 0 && mkdir(zone, 0700) == 0);
    snprintf(c.path, sizeof c.path, "%s/name", zone);
    CHECK_OK(dk_file_replace(m.f.host, c.path, "package-0\n", 10, &err));
    snprintf(c.path, sizeof c.path, "%s/max_energy_range_uj", zone);
    CHECK_OK(dk_file_replace(m.f.host, c.path, "1000\n", 5, &err));
    snprintf(c.path, sizeof c.path, "%s/energy_uj", zone);
    CHECK(put_counter(&c, 0));
    CHECK_OK(di_options_set_str(m.f.options, "cost.powercap", root, &err));
    CHECK_OK(di_meter_start(m.f.host, m.f.options, 0, &c.meter, &err));
    di_evaluate_args args = args_of(&m);
    args.meter = &c.meter;
    args.progress = go_round;
    args.user = &c;
    for (int i = 0; i < 3; i++) CHECK_OK(di_evaluate(&args, &got, &err));
    const double joules = di_meter_read(&c.meter).joules;
    CHECK(joules > 2 * 1000e-6); /* it went round more than once */
    CHECK_NEAR(fmod(joules * 1e6 + 0.5, 1000), (double)c.value + 0.5, 1e-3);
    di_meter_end(&c.meter);
    close_measured(&m);
}

static void check_ordered(const di_answer_time *t)
{
    CHECK(t->first_token[0] > 0 && t->first_token[1] >= t->first_token[0]);
    CHECK(t->token[0] > 0 && t->token[1] >= t->token[0] && t->token[2] >= t->token[1]);
    CHECK(t->prompt_speed > 0 && t->decode_speed > 0 && t->prompt_tokens > 0);
    CHECK_INT(t->written_tokens, t->gaps + t->tries);
}

TEST(answers_are_timed)
{
    const di_answer_effort within = di_answer_within(2), cut = {32, 256, 1e-9, 1e-9};
    di_answer_time time;
    measured m;
    dk_error err;
    open_measured(&m, "timed");
    CHECK_OK(di_answer_time_measure(m.f.host, m.model, m.f.options, &within, &time, &err));
    check_ordered(&time);
    CHECK(time.tries >= 3);
    CHECK_OK(di_answer_time_measure(m.f.host, m.model, m.f.options, &cut, &time, &err));
    check_ordered(&time);
    CHECK_INT(time.tries, 1);
    CHECK_INT(time.written_tokens, 2);
    CHECK_OK(di_answer_time_measure(m.f.host, NULL, m.f.options, &within, &time, &err));
    CHECK_INT(time.tries, 0);
    close_measured(&m);
}

TEST_MAIN(TEST_CASE(values) TEST_CASE(precision) TEST_CASE(teacher_side) TEST_CASE(teacher_side_of_weights_that_change)
              TEST_CASE(sources_are_measured_apart) TEST_CASE(sparse_teachers) TEST_CASE(stopped)
                  TEST_CASE(counters_are_read_on_the_way) TEST_CASE(answers_are_timed))
