/* Log-probabilities without logits: against all logits in double, ties, masses, memory, what is refused; and models
 * whose numbers are none. */
#include "small.h"

enum { LENGTH = 60, SEQUENCES = 3, ROWS = SEQUENCES * (LENGTH - 1), K = 7 };

static int32_t ids[SEQUENCES * LENGTH];
static const int64_t offsets[SEQUENCES + 1] = {0, LENGTH, 2 * LENGTH, 3 * LENGTH};

static distill_batch some_batch(void)
{
    distill_batch batch;
    DISTILL_INIT(&batch);
    for (uint32_t s = 0; s < SEQUENCES; s++) small_ids(ids + s * LENGTH, LENGTH, 40 + s);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = SEQUENCES;
    return batch;
}

static distill_tensor tensor_of(void *data, int32_t code, int32_t ndim, const int64_t *shape)
{
    return (distill_tensor){.data = data,
                            .device_type = DISTILL_CPU,
                            .ndim = ndim,
                            .dtype_code = (uint8_t)code,
                            .dtype_bits = 32,
                            .dtype_lanes = 1,
                            .shape = shape};
}

typedef struct found {
    float chosen[ROWS], values[ROWS * SMALL_VOCAB], tail[ROWS];
    int32_t ids[ROWS * SMALL_VOCAB];
    distill_target top;
} found;

static int32_t ask(const distill_teacher *teacher, const distill_batch *batch, double temperature, int64_t k,
                   found *out, distill_error *err)
{
    const int64_t shape[2] = {ROWS, k}, rows[1] = {ROWS};
    distill_tensor chosen = tensor_of(out->chosen, DISTILL_FLOAT, 1, rows),
                   values = tensor_of(out->values, DISTILL_FLOAT, 2, shape),
                   top_ids = tensor_of(out->ids, DISTILL_INT, 2, shape),
                   tail = tensor_of(out->tail, DISTILL_FLOAT, 1, rows);
    DISTILL_INIT(&out->top);
    out->top.kind = DISTILL_TOPK;
    out->top.values = &values;
    out->top.ids = &top_ids;
    out->top.tail = &tail;
    return distill_teacher_log_probs(teacher, batch, temperature, &chosen, k ? &out->top : NULL, err);
}

static void full_logits(const distill_teacher *teacher, const distill_batch *batch, float *logits)
{
    const int64_t shape[2] = {ROWS, SMALL_VOCAB};
    distill_tensor values = tensor_of(logits, DISTILL_FLOAT, 2, shape);
    distill_target out;
    distill_error err;
    DISTILL_INIT(&out);
    out.kind = DISTILL_DENSE;
    out.values = &values;
    CHECK_OK(distill_teacher_score(teacher, batch, &out, &err));
}

static void check_row(const float *logits, double temperature, int64_t k, int64_t r, const found *got)
{
    double p[SMALL_VOCAB], sum = 0, mass = 0;
    int64_t taken[SMALL_VOCAB] = {0}, s = r / (LENGTH - 1), i = r % (LENGTH - 1);
    for (int v = 0; v < SMALL_VOCAB; v++) sum += exp((double)logits[v] / temperature);
    for (int v = 0; v < SMALL_VOCAB; v++) p[v] = (double)logits[v] / temperature - log(sum);
    CHECK_NEAR((double)got->chosen[r], p[ids[s * LENGTH + i + 1]], 2e-5 * (1 + fabs(p[ids[s * LENGTH + i + 1]])));
    for (int64_t j = 0; j < k; j++) {
        int best = -1;
        for (int v = 0; v < SMALL_VOCAB; v++)
            if (!taken[v] && (best < 0 || logits[v] > logits[best])) best = v;
        taken[best] = 1;
        CHECK_INT(got->ids[r * k + j], best);
        CHECK_NEAR((double)got->values[r * k + j], p[best], 2e-5 * (1 + fabs(p[best])));
    }
    for (int v = 0; v < SMALL_VOCAB; v++)
        if (!taken[v]) mass += exp(p[v]);
    if (k && k < SMALL_VOCAB) CHECK_NEAR((double)got->tail[r], log(mass), 2e-5 * (1 + fabs(log(mass))));
    if (k == SMALL_VOCAB) CHECK(got->tail[r] == -INFINITY);
}

TEST(equals_all_logits)
{
    static float logits[ROWS * SMALL_VOCAB];
    static const double temperatures[] = {1, 0.05, 3};
    static const int64_t ks[] = {0, 1, K, SMALL_VOCAB};
    static found got;
    distill_batch batch = some_batch();
    distill_error err;
    small s;
    REQUIRE(small_models("log_probs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    full_logits(s.teacher, &batch, logits);
    for (size_t t = 0; t < 3; t++)
        for (size_t n = 0; n < 4; n++) {
            REQUIRE_OK(ask(s.teacher, &batch, temperatures[t], ks[n], &got, &err));
            for (int64_t r = 0; r < ROWS; r++) check_row(logits + r * SMALL_VOCAB, temperatures[t], ks[n], r, &got);
            if (!ks[n]) continue;
            CHECK_NEAR(got.top.temperature, temperatures[t], 0);
            CHECK_INT(got.top.vocab_valid, SMALL_VOCAB);
        }
    small_close(&s);
}

static int32_t flat(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
    (void)batch, (void)first;
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < SMALL_VOCAB; v++)
            ((float *)out->values->data)[r * stride + v] = v % 2 ? *(const float *)user : 1;
    return DISTILL_CB_OK;
}

static void host_teacher(small *s, float *odd)
{
    static const int64_t width[1] = {SMALL_VOCAB};
    distill_tensor values = tensor_of(NULL, DISTILL_FLOAT, 1, width);
    distill_teacher_callbacks table;
    distill_target form;
    distill_error err;
    DISTILL_INIT(&table);
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = odd;
    table.score = flat;
    table.form = &form;
    distill_teacher_free(s->teacher);
    s->teacher = NULL;
    CHECK_OK(distill_teacher_from_callbacks(s->env, &table, NULL, &s->teacher, &err));
}

TEST(ties_and_ids_that_never_come)
{
    static found got;
    distill_batch batch = some_batch();
    distill_error err;
    float odd = 1;
    small s;
    REQUIRE(small_models("log_probs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    host_teacher(&s, &odd);
    REQUIRE_OK(ask(s.teacher, &batch, 0, K, &got, &err));
    for (int j = 0; j < K; j++) CHECK_INT(got.ids[j], j); /* of equal ones the smaller id first */
    CHECK_NEAR((double)got.tail[0], log(1 - K / 64.0), 1e-6);
    odd = -INFINITY;
    REQUIRE_OK(ask(s.teacher, &batch, 0, K, &got, &err));
    for (int j = 0; j < K; j++) CHECK_INT(got.ids[j], 2 * j);
    CHECK_NEAR((double)got.tail[0], log(1 - K / 32.0), 1e-6);
    small_close(&s);
}

/* ---- memory ---- */

typedef struct meter {
    size_t now, peak;
} meter;

static void *take(void *user, size_t size, size_t align)
{
    meter *m = user;
    m->now += size;
    if (m->now > m->peak) m->peak = m->now;
    return align > 16 ? aligned_alloc(align, (size + align - 1) / align * align) : malloc(size);
}

static void give(void *user, void *ptr, size_t size, size_t align)
{
    (void)align;
    ((meter *)user)->now -= size;
    free(ptr);
}

enum { WIDE = 40000 };

static int32_t wide(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
    (void)user, (void)batch;
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < WIDE; v++)
            ((float *)out->values->data)[r * stride + v] = v == (first + r) % WIDE ? 20.0f : 0.0f;
    return DISTILL_CB_OK;
}

TEST(memory_is_a_strip)
{
    enum { TOKENS = 700 };
    static int32_t many[TOKENS];
    static float chosen[TOKENS - 1];
    const int64_t ends[2] = {0, TOKENS}, rows[1] = {TOKENS - 1}, width[1] = {WIDE};
    distill_tensor out = tensor_of(chosen, DISTILL_FLOAT, 1, rows), values = tensor_of(NULL, DISTILL_FLOAT, 1, width);
    meter m = {0, 0};
    distill_allocator allocator = {.struct_size = sizeof allocator, .user = &m, .alloc = take, .free = give};
    distill_teacher_callbacks table;
    distill_target form;
    distill_batch batch;
    distill_error err;
    small s = {0};
    REQUIRE_OK(small_env(&s, &allocator, NULL, &err));
    DISTILL_INIT(&table);
    DISTILL_INIT(&form);
    DISTILL_INIT(&batch);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.score = wide;
    table.form = &form;
    REQUIRE_OK(distill_teacher_from_callbacks(s.env, &table, NULL, &s.teacher, &err));
    for (int i = 0; i < TOKENS; i++) many[i] = i ? i - 1 : 0; /* row i says id i */
    batch.ids = many;
    batch.offsets = ends;
    batch.sequences = 1;
    const size_t before = m.now;
    m.peak = m.now;
    CHECK_OK(distill_teacher_log_probs(s.teacher, &batch, 1, &out, NULL, &err));
    CHECK_NEAR((double)chosen[TOKENS - 2], 20 - log(exp(20.0) + WIDE - 1), 1e-4);
    CHECK(m.peak - before < 3 * 64 * WIDE * sizeof(float)); /* all rows would take eleven strips */
    CHECK_INT((int64_t)m.now, (int64_t)before);
    small_close(&s);
}

/* ---- refused ---- */

TEST(refused)
{
    static found got;
    int64_t rows[2] = {3, LENGTH - 1};
    const int64_t two[1] = {2};
    distill_tensor chosen = tensor_of(got.chosen, DISTILL_FLOAT, 1, two);
    distill_batch batch = some_batch();
    distill_error err;
    small s;
    REQUIRE(small_models("log_probs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    CHECK_INT(distill_teacher_log_probs(s.teacher, &batch, 1, NULL, NULL, &err), DISTILL_E_INVALID);
    CHECK_INT(ask(s.teacher, &batch, 1, SMALL_VOCAB + 1, &got, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "k = 65, not in [1, 64]");
    CHECK_INT(ask(s.teacher, &batch, -1, K, &got, &err), DISTILL_E_INVALID);
    CHECK_INT(ask(s.teacher, &batch, (double)NAN, K, &got, &err), DISTILL_E_INVALID);
    batch.rows = rows;
    batch.row_count = 2;
    CHECK_INT(distill_teacher_log_probs(s.teacher, &batch, 1, &chosen, NULL, &err), DISTILL_E_INVALID);
    CHECK_HAS(err.message, "row 1 is the last token of sequence 0");
    small_close(&s);
}

/* ---- numbers that are none ---- */

static int32_t count_tokens(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                            int32_t finished)
{
    (void)sequence, (void)id, (void)log_prob, (void)text, (void)size, (void)finished;
    ++*(int *)user;
    return DISTILL_CB_OK;
}

static void check_numeric(small *s, const distill_teacher *model)
{
    static float logits[ROWS * SMALL_VOCAB];
    static found got;
    const int64_t shape[2] = {ROWS, SMALL_VOCAB};
    distill_tensor values = tensor_of(logits, DISTILL_FLOAT, 2, shape);
    distill_batch batch = some_batch();
    distill_report *report = NULL;
    distill_target out;
    distill_error err;
    int heard = 0;
    DISTILL_INIT(&out);
    out.kind = DISTILL_DENSE;
    out.values = &values;
    CHECK_INT(distill_teacher_score(model, &batch, &out, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "row 0 (sequence 0, token 0)");
    CHECK_INT(ask(model, &batch, 1, K, &got, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "row 0 (sequence 0, token 0)");
    CHECK_INT(distill_teacher_generate(model, &batch, s->options, count_tokens, &heard, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "sequence 0, token 0");
    CHECK_INT(heard, 0);
    CHECK_INT(distill_evaluate(s->student, model, s->eval, s->options, &report, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "teacher");
    CHECK(!report);
}

TEST(not_a_number)
{
    distill_student *broken = NULL;
    distill_teacher *live = NULL;
    distill_report *report = NULL;
    distill_tensor weight;
    distill_error err;
    small s;
    REQUIRE(small_models("log_probs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    for (int kind = 0; kind < 2; kind++) {
        REQUIRE_OK(distill_student_open(s.env, test_path(small_folder, "teacher"), s.options, &broken, &err));
        CHECK_OK(distill_student_parameter(broken, "model.norm.weight", DISTILL_WEIGHT, &weight, &err));
        ((float *)weight.data)[3] = kind ? INFINITY : NAN;
        CHECK_OK(distill_student_weights_changed(broken, &err));
        REQUIRE_OK(distill_teacher_from_student(broken, &live, &err));
        check_numeric(&s, live);
        CHECK_INT(distill_evaluate(broken, NULL, s.eval, s.options, &report, &err), DISTILL_E_NUMERIC);
        CHECK_HAS(err.message, "student");
        distill_teacher_free(live);
        distill_student_free(broken);
    }
    small_close(&s);
}

/* A single bad row is named, wherever its strip is. */
static int32_t bad_at(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
    float one = 1;
    flat(&one, batch, first, count, out);
    if (*(int64_t *)user >= first && *(int64_t *)user < first + count)
        ((float *)out->values->data)[(*(int64_t *)user - first) * stride + 9] = NAN;
    return DISTILL_CB_OK;
}

TEST(the_bad_row_is_named)
{
    static const int64_t width[1] = {SMALL_VOCAB};
    static found got;
    distill_tensor values = tensor_of(NULL, DISTILL_FLOAT, 1, width);
    distill_teacher_callbacks table;
    distill_target form;
    distill_batch batch = some_batch();
    distill_error err;
    int64_t row = 100;
    small s;
    REQUIRE(small_models("log_probs"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    DISTILL_INIT(&table);
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = &row;
    table.score = bad_at;
    table.form = &form;
    distill_teacher_free(s.teacher);
    s.teacher = NULL;
    REQUIRE_OK(distill_teacher_from_callbacks(s.env, &table, NULL, &s.teacher, &err));
    CHECK_INT(ask(s.teacher, &batch, 1, K, &got, &err), DISTILL_E_NUMERIC);
    CHECK_HAS(err.message, "row 100 (sequence 1, token 41): a logit is nan");
    small_close(&s);
}

/* ---- what a student says of itself ---- */

TEST(student_facts)
{
    distill_tokenizer *tokenizer = NULL;
    distill_error err;
    int64_t all = 0, trainable = 0, number = 0;
    small s;
    REQUIRE(small_models("log_probs"));
    REQUIRE_OK(small_parts(&s, NULL, "student: {freeze: ['lm_head.*']}\n", &err));
    CHECK_STR(distill_student_head_name(s.student), "lm_head.weight");
    CHECK(distill_student_head_name(NULL) == NULL);
    CHECK_OK(distill_student_get_i64(s.student, "vocab_size", &number, &err));
    CHECK_INT(number, SMALL_VOCAB);
    CHECK_OK(distill_student_get_i64(s.student, "layers", &number, &err));
    CHECK_INT(number, 2);
    CHECK_OK(distill_student_get_i64(s.student, "parameters", &all, &err));
    CHECK_OK(distill_student_get_i64(s.student, "trainable_parameters", &trainable, &err));
    CHECK_INT(all - trainable, SMALL_VOCAB * 32);
    CHECK_INT(distill_student_get_i64(s.student, "colour", &number, &err), DISTILL_E_NOT_FOUND);
    CHECK_INT(distill_teacher_get_i64(s.teacher, "trainable_parameters", &number, &err), DISTILL_E_NOT_FOUND);
    CHECK_INT(distill_student_tokenizer(s.student, &tokenizer, &err), DISTILL_E_NOT_FOUND);
    CHECK(!tokenizer);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(equals_all_logits) TEST_CASE(ties_and_ids_that_never_come) TEST_CASE(memory_is_a_strip)
              TEST_CASE(refused) TEST_CASE(not_a_number) TEST_CASE(the_bad_row_is_named) TEST_CASE(student_facts))
