/* Each of several teachers on held-out data: against sums in double over the logits themselves. */
#include "../teacher/model_fixture.h"
#include "dataset/dataset_parts.h"
#include "evaluate/teachers.h"
#include "student/student.h"

enum { ROWS = 9, TIMES = 10, LABELS = 6 /* of the first sequence; 3 of the second */ };

typedef struct voices {
    fixture f;
    di_student *weights[3];
    di_teacher *models[3]; /* student, a, b */
    di_dataset *sources[2], *data;
    float logits[3][ROWS * TINY_VOCAB];
} voices;

/* A sequence of tiny_batch as a source of its own. */
static di_dataset *source_of(voices *v, int sequence, const char *name)
{
    const distill_batch whole = tiny_batch();
    int32_t ids[128];
    int64_t offsets[TIMES + 1] = {0};
    distill_batch batch;
    di_dataset *out = NULL;
    dk_error err;
    const int64_t first = whole.offsets[sequence], count = whole.offsets[sequence + 1] - first;
    for (int i = 0; i < TIMES; i++) {
        memcpy(ids + i * count, whole.ids + first, (size_t)count * sizeof *ids);
        offsets[i + 1] = (i + 1) * count;
    }
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = TIMES;
    CHECK_OK(di_dataset_from_tokens(v->f.host, &batch, v->f.options, &out, &err));
    if (out) out->name = dk_strdup(v->f.host, name);
    return out;
}

static int open_voices(voices *v, const char *name)
{
    static const char *const seeds[] = {"1", "5", "9"};
    distill_batch batch = tiny_batch();
    dk_error err;
    memset(v, 0, sizeof *v);
    open_fixture(&v->f, name);
    CHECK_OK(di_options_set(v->f.options, "data.sequence_length", "7", &err));
    CHECK_OK(di_options_set(v->f.options, "data.pack", "false", &err));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(di_options_set(v->f.options, "train.seed", seeds[i], &err));
        CHECK_OK(di_student_create(v->f.backend, v->f.config, NULL, v->f.options, &v->weights[i], &err));
        CHECK_OK(di_student_as_teacher(v->weights[i], &v->models[i], &err));
        CHECK_OK(score_with(v->models[i], &batch, v->logits[i], &err));
    }
    for (int s = 0; s < 2; s++) v->sources[s] = source_of(v, s, s ? "en" : "pt");
    CHECK_OK(di_dataset_mix(v->f.host, v->sources, 2, NULL, &v->data, &err));
    return v->data != NULL;
}

static void close_voices(voices *v)
{
    for (int s = 0; s < 2; s++) di_dataset_release(v->sources[s]);
    di_dataset_release(v->data);
    for (int i = 0; i < 3; i++) {
        di_teacher_release(v->models[i]);
        di_student_release(v->weights[i]);
    }
    close_fixture(&v->f);
}

static double log_p_at(const float *row, int v)
{
    double sum = 0;
    for (int i = 0; i < TINY_VOCAB; i++) sum += exp((double)row[i]);
    return (double)row[v] - log(sum);
}

static double kl_of(const float *p, const float *q)
{
    double sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) sum += exp(log_p_at(p, v)) * (log_p_at(p, v) - log_p_at(q, v));
    return sum;
}

/* As it is defined: by the mean of both. */
static double js_of(const float *p, const float *q)
{
    double sum = 0;
    for (int v = 0; v < TINY_VOCAB; v++) {
        const double a = exp(log_p_at(p, v)), b = exp(log_p_at(q, v)), m = (a + b) / 2;
        sum += a * log(a / m) / 2 + b * log(b / m) / 2;
    }
    return sum;
}

static void check_scores(const voices *v, int model, int first, int count, const di_teacher_scores *got)
{
    double nats = 0, kl = 0, js = 0;
    for (int r = first; r < first + count; r++) {
        const float *p = v->logits[model] + r * TINY_VOCAB, *q = v->logits[0] + r * TINY_VOCAB;
        nats -= log_p_at(p, tiny_ids[r + 1 + (r >= LABELS)]);
        kl += kl_of(p, q);
        js += js_of(v->logits[1] + r * TINY_VOCAB, v->logits[2] + r * TINY_VOCAB);
    }
    CHECK_NEAR(got->nats, nats / count, 1e-6);
    CHECK_NEAR(got->kl, kl / count, 1e-6);
    CHECK_NEAR(got->disagreement, js / count, 1e-6);
    CHECK_INT(got->tokens, count * TIMES);
}

static const di_blend_settings linear = {.mode = DI_BLEND_LINEAR, .softness = 1};

static void check_all(voices *v, di_teacher *teacher, int64_t memory)
{
    di_teachers_evaluation got;
    dk_error err;
    dk_strbuf json;
    const di_evaluate_args args = {
        .backend = v->f.backend, .student = v->models[0], .teacher = teacher, .data = v->data, .memory = memory};
    REQUIRE_OK(di_evaluate_teachers(&args, &got, &err));
    CHECK_INT(got.count, 2);
    CHECK_INT(got.dense, 2);
    for (int i = 0; i < 2; i++) {
        CHECK_STR(got.teachers[i].name, i ? "b" : "a");
        check_scores(v, i + 1, 0, LABELS, &got.teachers[i].sources[0]);
        check_scores(v, i + 1, LABELS, ROWS - LABELS, &got.teachers[i].sources[1]);
        check_scores(v, i + 1, 0, ROWS, &got.teachers[i].whole);
    }
    dk_strbuf_init(&json, v->f.host);
    di_teachers_json(&got, &json);
    CHECK_HAS(json.data, ",\"teachers\":{\"a\":{\"target\":\"DENSE\",\"tokens\":90,\"perplexity\":");
    CHECK_HAS(json.data, "\"sources\":{\"pt\":{\"tokens\":60,\"perplexity\":");
    CHECK_HAS(json.data, "},\"teacher_disagreement\":");
    dk_strbuf_free(&json);
    di_teachers_evaluation_free(&got);
}

/* Whatever the blend makes of them, and whatever their weights and temperatures there. */
TEST(of_a_blend)
{
    voices v;
    dk_error err;
    di_teacher *blend = NULL;
    REQUIRE(open_voices(&v, "teachers_blend"));
    const di_blend_member members[2] = {{v.models[2], "b", 0.3, 0}, {v.models[1], "a", 0.7, 2}};
    REQUIRE_OK(di_teacher_blend(v.f.backend, members, 2, &linear, &blend, &err));
    check_all(&v, blend, 3 * TINY_VOCAB * (int64_t)sizeof(float)); /* row by row */
    check_all(&v, blend, 1 << 20);
    di_teacher_release(blend);
    close_voices(&v);
}

TEST(of_a_route)
{
    voices v;
    dk_error err;
    di_teacher *route = NULL;
    REQUIRE(open_voices(&v, "teachers_route"));
    const di_blend_member members[2] = {{.teacher = v.models[1], .name = "a"}, {.teacher = v.models[2], .name = "b"}};
    const di_route_settings by_source = {.by = DI_ROUTE_SOURCE, .other = "b"};
    REQUIRE_OK(di_teacher_route(v.f.backend, members, 2, &by_source, &route, &err));
    check_all(&v, route, 1 << 20);
    di_teacher_release(route);
    close_voices(&v);
}

/* ---- what cannot be said is absent ---- */

typedef struct sparse_voice {
    const float *logits;
    int32_t code; /* of its answer */
} sparse_voice;

/* The two likeliest ids are made up: 3 and 20, in every row alike. */
static int32_t score_sparse(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const sparse_voice *s = user;
    (void)batch, (void)first;
    for (int64_t i = 0; i < count; i++) {
        ((int32_t *)out->ids->data)[2 * i] = 3;
        ((int32_t *)out->ids->data)[2 * i + 1] = 20;
        ((float *)out->values->data)[2 * i] = logf(0.5f);
        ((float *)out->values->data)[2 * i + 1] = logf(0.4f);
    }
    return s->code;
}

static di_teacher *open_sparse(voices *v, sparse_voice *s)
{
    const int64_t shape[2] = {1, 2};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, shape),
                   ids = di_tensor_of(NULL, DISTILL_INT, 32, 2, shape);
    distill_teacher_callbacks table;
    distill_target form;
    di_teacher *out = NULL;
    dk_error err;
    DISTILL_INIT(&form);
    form.kind = DISTILL_TOPK;
    form.values = &values;
    form.ids = &ids;
    DISTILL_INIT(&table);
    table.user = s;
    table.score = score_sparse;
    table.form = &form;
    CHECK_OK(di_teacher_from_callbacks(v->f.backend, &table, NULL, &out, &err));
    return out;
}

TEST(a_sparse_one)
{
    voices v;
    dk_error err;
    dk_strbuf json;
    di_teacher *blend = NULL;
    di_teachers_evaluation got;
    sparse_voice voice = {0};
    double kl = 0;
    REQUIRE(open_voices(&v, "teachers_sparse"));
    di_teacher *sparse = open_sparse(&v, &voice);
    const di_blend_member members[2] = {{.teacher = v.models[1], .name = "a"}, {.teacher = sparse, .name = "few"}};
    REQUIRE_OK(di_teacher_blend(v.f.backend, members, 2, &linear, &blend, &err));
    const di_evaluate_args args = {
        .backend = v.f.backend, .student = v.models[0], .teacher = blend, .data = v.data, .memory = 1 << 16};
    REQUIRE_OK(di_evaluate_teachers(&args, &got, &err));
    for (int r = 0; r < ROWS; r++) {
        const float *q = v.logits[0] + r * TINY_VOCAB;
        const double a = exp(log_p_at(q, 3)), b = exp(log_p_at(q, 20));
        kl += 0.5 * log(0.5 / a) + 0.4 * log(0.4 / b) + 0.1 * log(0.1 / (1 - a - b));
    }
    CHECK_INT(got.dense, 1);
    CHECK_INT(got.teachers[1].kind, DISTILL_TOPK);
    CHECK_NEAR(got.teachers[1].whole.kl, kl / ROWS, 1e-6);
    dk_strbuf_init(&json, v.f.host);
    di_teachers_json(&got, &json);
    const char *few = strstr(json.data, "\"few\":{\"target\":\"TOPK\",\"temperature\":1,\"tokens\":90,\"forward_kl\":");
    CHECK(few && !strstr(few, "perplexity"));
    CHECK_HAS(json.data, "\"a\":{\"target\":\"DENSE\",\"tokens\":90,\"perplexity\":");
    CHECK(!strstr(json.data, "disagreement")); /* one alone has no other */
    dk_strbuf_free(&json);
    di_teachers_evaluation_free(&got);
    di_teacher_release(blend);
    di_teacher_release(sparse);
    close_voices(&v);
}

/* A teacher that is made of no others has none; a student that is stopped says so. */
static int32_t never(void *user, int64_t done, int64_t total)
{
    (void)user, (void)done, (void)total;
    return 1;
}

TEST(draws_have_a_kl_where_their_entropy_is_known)
{
    di_scored_teacher drawn = {.name = "drawn",
                               .kind = DISTILL_SAMPLED,
                               .without_entropy = 1,
                               .temperature = 2,
                               .whole = {.tokens = 3, .kl = 1.5}};
    const di_teachers_evaluation got = {.teachers = &drawn, .count = 1, .source_count = 1};
    dk_strbuf json;
    voices v;
    REQUIRE(open_voices(&v, "teachers_drawn"));
    dk_strbuf_init(&json, v.f.host);
    di_teachers_json(&got, &json);
    CHECK_STR(json.data, ",\"teachers\":{\"drawn\":{\"target\":\"SAMPLED\",\"temperature\":2,\"tokens\":3,"
                         "\"soft_cross_entropy\":1.5}}");
    dk_strbuf_clear(&json);
    drawn.without_entropy = 0;
    di_teachers_json(&got, &json);
    CHECK_HAS(json.data, "\"tokens\":3,\"forward_kl\":1.5}}");
    dk_strbuf_free(&json);
    close_voices(&v);
}

TEST(none_and_stopped)
{
    voices v;
    dk_error err;
    di_teacher *blend = NULL;
    di_teachers_evaluation got;
    dk_strbuf json;
    REQUIRE(open_voices(&v, "teachers_none"));
    di_evaluate_args args = {
        .backend = v.f.backend, .student = v.models[0], .teacher = v.models[1], .data = v.data, .memory = 1 << 16};
    dk_strbuf_init(&json, v.f.host);
    REQUIRE_OK(di_evaluate_teachers(&args, &got, &err));
    CHECK_INT(got.count, 0);
    di_teachers_json(&got, &json);
    CHECK_INT(json.size, 0);
    args.teacher = NULL;
    REQUIRE_OK(di_evaluate_teachers(&args, &got, &err));
    CHECK_INT(got.count, 0);
    const di_blend_member members[2] = {{.teacher = v.models[1], .name = "a"}, {.teacher = v.models[2], .name = "b"}};
    REQUIRE_OK(di_teacher_blend(v.f.backend, members, 2, &linear, &blend, &err));
    args.teacher = blend;
    args.progress = never;
    CHECK_INT(di_evaluate_teachers(&args, &got, &err), DK_E_CANCELLED);
    CHECK_INT(got.count, 0);
    args.progress = NULL;
    args.tokens = 9; /* as an evaluation of some: in batches of 8 windows */
    REQUIRE_OK(di_evaluate_teachers(&args, &got, &err));
    CHECK_INT(got.teachers[0].whole.tokens, 8 * ROWS);
    di_teachers_evaluation_free(&got);
    dk_strbuf_free(&json);
    di_teacher_release(blend);
    close_voices(&v);
}

TEST_MAIN(TEST_CASE(of_a_blend) TEST_CASE(of_a_route) TEST_CASE(a_sparse_one)
              TEST_CASE(draws_have_a_kl_where_their_entropy_is_known) TEST_CASE(none_and_stopped))
