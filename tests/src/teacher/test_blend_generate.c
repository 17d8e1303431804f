/* Text by a blend: each token is drawn from what the blend says of the text so far. */
#include <math.h>

#include "model_fixture.h"

enum { TOKENS = 12, SEQUENCES = 3 };

static int32_t prompt_ids[9] = {1, 5, 9, 3, 28, 0, 7, 1, 2};
static int64_t prompt_offsets[SEQUENCES + 1] = {0, 4, 5, 9};

typedef struct text {
    int32_t ids[SEQUENCES][TOKENS];
    double log_prob[SEQUENCES][TOKENS];
    int64_t count[SEQUENCES];
} text;

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *piece, size_t size,
                        int32_t finished)
{
    text *t = user;
    (void)piece, (void)size, (void)finished;
    t->ids[sequence][t->count[sequence]] = id;
    t->log_prob[sequence][t->count[sequence]++] = log_prob;
    return DISTILL_CB_OK;
}

static int32_t write_text(fixture *f, di_teacher *teacher, const char *temperature, text *out, dk_error *err)
{
    distill_batch prompts;
    int32_t rc;
    DISTILL_INIT(&prompts);
    prompts.ids = prompt_ids;
    prompts.offsets = prompt_offsets;
    prompts.sequences = SEQUENCES;
    memset(out, 0, sizeof *out);
    DK_TRY(di_options_set(f->options, "generate.max_tokens", "12", err));
    DK_TRY(di_options_set(f->options, "generate.temperature", temperature, err));
    DK_TRY(di_teacher_generate(teacher, &prompts, f->options, NULL, on_token, out, err));
out:
    return rc;
}

static di_teacher *open_model(fixture *f, const char *name, uint64_t seed)
{
    char path[600];
    dk_document *config = NULL;
    dk_model *model = NULL;
    di_teacher *teacher = NULL;
    dk_error err;
    snprintf(path, 600, "%s/%s", f->folder, name);
    if (dk_json_open(f->host, f->config, &config, &err) ||
        dk_model_create(f->backend, config, 0.4, seed, &model, &err) || dk_dir_create(f->host, path, &err) ||
        dk_model_save(model, path, DK_F32, &err) || di_teacher_open(f->backend, path, 1, &teacher, &err))
        exit(3);
    dk_document_free(config);
    dk_model_free(model);
    return teacher;
}

static di_teacher *blend_of(fixture *f, di_teacher *a, di_teacher *b, double weight, di_blend_settings how)
{
    const di_blend_member members[2] = {{a, "a", weight, 0}, {b, "b", 1 - weight, 1.5}};
    di_teacher *blend = NULL;
    dk_error err;
    CHECK_OK(di_teacher_blend(f->backend, members, 2, &how, &blend, &err));
    return blend;
}

/* The text of a sequence, its prompt and what was written, scored by the blend itself. */
static void check_greedy(di_teacher *blend, const text *t)
{
    static float logits[TOKENS * TINY_VOCAB];
    dk_error err;
    for (int64_t s = 0; s < SEQUENCES; s++) {
        const int64_t begin = prompt_offsets[s], length = prompt_offsets[s + 1] - begin;
        int32_t ids[16];
        int64_t offsets[2] = {0, length + t->count[s] - 1}, rows[TOKENS];
        distill_batch batch;
        DISTILL_INIT(&batch);
        for (int64_t i = 0; i < length; i++) ids[i] = prompt_ids[begin + i];
        for (int64_t i = 0; i + 1 < t->count[s]; i++) ids[length + i] = t->ids[s][i];
        for (int64_t i = 0; i < t->count[s]; i++) rows[i] = length - 1 + i;
        batch.ids = ids;
        batch.offsets = offsets;
        batch.sequences = 1;
        batch.rows = rows;
        batch.row_count = t->count[s];
        CHECK(t->count[s] > 0);
        CHECK_OK(score_with(blend, &batch, logits, &err));
        for (int64_t i = 0; i < t->count[s]; i++) {
            const float *row = logits + i * TINY_VOCAB;
            int32_t best = 0;
            for (int32_t v = 1; v < TINY_VOCAB; v++)
                if (row[v] > row[best]) best = v;
            CHECK_INT(t->ids[s][i], best);
            CHECK_NEAR(t->log_prob[s][i], (double)row[best], 2e-5);
        }
    }
}

TEST(greedy_is_the_likeliest_of_the_blend)
{
    static const di_blend_mode modes[] = {DI_BLEND_LINEAR, DI_BLEND_LOG_LINEAR, DI_BLEND_MAX_CONFIDENCE,
                                          DI_BLEND_MIN_ENTROPY};
    static text got;
    fixture f;
    dk_error err;
    open_fixture(&f, "blend_generate");
    di_teacher *a = open_model(&f, "a", 3), *b = open_model(&f, "b", 4);
    for (int i = 0; i < 6; i++) {
        di_blend_settings how = {.mode = modes[i % 4], .softness = 0.5};
        if (i > 3) how.weighting = DI_WEIGH_ENTROPY;
        di_teacher *blend = blend_of(&f, a, b, i < 2 ? 0.3 : 0.5, how);
        REQUIRE_OK(write_text(&f, blend, "0", &got, &err));
        check_greedy(blend, &got);
        di_teacher *outer = blend_of(&f, blend, a, 0.6, (di_blend_settings){.softness = 1}); /* a blend in a blend */
        REQUIRE_OK(write_text(&f, outer, "0", &got, &err));
        check_greedy(outer, &got);
        di_teacher_release(outer);
        di_teacher_release(blend);
    }
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

/* Two handles of one model write what it writes, greedily and drawn with its seed. */
TEST(equal_members_write_as_one)
{
    static text alone, both;
    fixture f;
    dk_error err;
    open_fixture(&f, "blend_generate_equal");
    di_teacher *a = open_model(&f, "a", 3);
    for (int i = 0; i < 4; i++) {
        const di_blend_member members[2] = {{a, "x", 0.7, 0}, {a, "y", 0.3, 0}};
        const di_blend_settings how = {.mode = i % 2 ? DI_BLEND_LOG_LINEAR : DI_BLEND_LINEAR, .softness = 1};
        di_teacher *blend = NULL;
        REQUIRE_OK(di_teacher_blend(f.backend, members, 2, &how, &blend, &err));
        REQUIRE_OK(write_text(&f, a, i < 2 ? "0" : "0.9", &alone, &err));
        REQUIRE_OK(write_text(&f, blend, i < 2 ? "0" : "0.9", &both, &err));
        CHECK(!memcmp(alone.ids, both.ids, sizeof both.ids) && !memcmp(alone.count, both.count, sizeof both.count));
        for (int64_t s = 0; s < SEQUENCES; s++)
            for (int64_t k = 0; k < both.count[s]; k++) CHECK_NEAR(both.log_prob[s][k], alone.log_prob[s][k], 1e-5);
        di_teacher_release(blend);
    }
    di_teacher_release(a);
    close_fixture(&f);
}

/* One member for each sequence: its text is that member's own. */
TEST(drawn_members)
{
    static text of[2], got, again;
    fixture f;
    dk_error err;
    int seen[2] = {0}, mixed = 0;
    open_fixture(&f, "blend_generate_drawn");
    di_teacher *a = open_model(&f, "a", 3), *b = open_model(&f, "b", 4);
    REQUIRE_OK(write_text(&f, a, "0", &of[0], &err));
    REQUIRE_OK(write_text(&f, b, "0", &of[1], &err));
    for (uint64_t seed = 0; seed < 12; seed++) {
        di_blend_settings how = {.mode = DI_BLEND_STOCHASTIC, .softness = 1, .per_sequence = 1, .seed = seed};
        di_teacher *blend = blend_of(&f, a, b, 0.5, how);
        REQUIRE_OK(write_text(&f, blend, "0", &got, &err));
        REQUIRE_OK(write_text(&f, blend, "0", &again, &err));
        CHECK(!memcmp(&got, &again, sizeof got));
        for (int64_t s = 0; s < SEQUENCES; s++) {
            const int which = memcmp(got.ids[s], of[0].ids[s], sizeof got.ids[s]) != 0;
            CHECK(!memcmp(got.ids[s], of[which].ids[s], sizeof got.ids[s]));
            seen[which]++;
        }
        di_teacher_release(blend);
        how.per_sequence = 0;
        blend = blend_of(&f, a, b, 0.5, how);
        REQUIRE_OK(write_text(&f, blend, "0", &got, &err));
        for (int64_t s = 0; s < SEQUENCES; s++)
            mixed += memcmp(got.ids[s], of[0].ids[s], sizeof got.ids[s]) != 0 &&
                     memcmp(got.ids[s], of[1].ids[s], sizeof got.ids[s]) != 0;
        di_teacher_release(blend);
    }
    CHECK(seen[0] > 5 && seen[1] > 5);
    CHECK(mixed > 20);
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

/* Prompts have no source: a route writes as its default does, bit for bit, at the temperature that it has there. */
TEST(a_route_writes_by_its_default)
{
    static text want, got, other;
    const di_blend_settings linear = {.softness = 1};
    fixture f;
    dk_error err;
    open_fixture(&f, "route_generate");
    di_teacher *a = open_model(&f, "a", 3), *b = open_model(&f, "b", 4), *soft = NULL;
    const di_blend_member alone = {b, "b", 0, 1.5}, members[2] = {{a, "a", 0, 0}, alone};
    REQUIRE_OK(di_teacher_blend(f.backend, &alone, 1, &linear, &soft, &err));
    for (int i = 0; i < 4; i++) {
        const di_route_settings how = {.by = DI_ROUTE_SOURCE, .other = i % 2 ? "b" : "a"};
        const char *temperature = i < 2 ? "0" : "0.9";
        di_teacher *route = NULL;
        REQUIRE_OK(di_teacher_route(f.backend, members, 2, &how, &route, &err));
        REQUIRE_OK(write_text(&f, i % 2 ? soft : a, temperature, &want, &err));
        REQUIRE_OK(write_text(&f, i % 2 ? a : soft, temperature, &other, &err));
        REQUIRE_OK(write_text(&f, route, temperature, &got, &err));
        CHECK(!memcmp(&got, &want, sizeof got));
        CHECK(memcmp(&got, &other, sizeof got));
        di_teacher_release(route);
    }
    di_teacher_release(soft);
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

static int32_t speak(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    (void)user, (void)batch, (void)first, (void)count, (void)out;
    return DISTILL_CB_OK;
}

TEST(refused)
{
    static text got;
    fixture f;
    dk_error err;
    int64_t shape[1] = {TINY_VOCAB};
    distill_tensor values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 1, shape);
    distill_target form;
    distill_teacher_callbacks table;
    di_teacher *hosted = NULL;
    open_fixture(&f, "blend_generate_refused");
    di_teacher *a = open_model(&f, "a", 3), *b = open_model(&f, "b", 4);
    DISTILL_INIT(&form);
    DISTILL_INIT(&table);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.score = speak;
    table.form = &form;
    REQUIRE_OK(di_teacher_from_callbacks(f.backend, &table, NULL, &hosted, &err));
    for (int i = 0; i < 3; i++) {
        const di_blend_settings how = {.mode = i == 1 ? DI_BLEND_MIN_CROSS_ENTROPY : DI_BLEND_LINEAR,
                                       .weighting = i == 2 ? DI_WEIGH_LABEL : DI_WEIGH_STATIC,
                                       .softness = 1};
        di_teacher *blend = blend_of(&f, a, i ? b : hosted, 0.5, how);
        CHECK_INT(write_text(&f, blend, "0", &got, &err), DK_E_UNSUPPORTED);
        CHECK_HAS(err.message, i ? "there is none yet" : "teacher b is a teacher of callbacks");
        CHECK_INT(got.count[0], 0);
        di_teacher_release(blend);
    }
    di_teacher_release(hosted);
    di_teacher_release(a);
    di_teacher_release(b);
    close_fixture(&f);
}

TEST_MAIN(TEST_CASE(greedy_is_the_likeliest_of_the_blend) TEST_CASE(equal_members_write_as_one) TEST_CASE(drawn_members)
              TEST_CASE(a_route_writes_by_its_default) TEST_CASE(refused))
