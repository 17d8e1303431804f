/* test_cached_teacher.c - teachers whose targets are kept: filled on a miss, read on a hit, refused where they are of
 * something else. */
#include <math.h>

#include "cache/target_cache.h"
#include "model_fixture.h"
#include "teacher/score.h"

enum { ROWS = 9 };

typedef struct kept {
    fixture f;
    di_teacher *live;
    char path[600];
} kept;

static int open_kept(kept *k, const char *name, const char *tier)
{
    dk_document *config = NULL;
    dk_model *model = NULL;
    open_fixture(&k->f, name);
    snprintf(k->path, sizeof k->path, "%s/targets.dtc", k->f.folder);
    if (dk_json_open(k->f.host, k->f.config, &config, &k->f.err) ||
        dk_model_create(k->f.backend, config, 0.4, 3, &model, &k->f.err) ||
        dk_model_save(model, k->f.folder, DK_F32, &k->f.err) ||
        di_teacher_open(k->f.backend, k->f.folder, 1, &k->live, &k->f.err) ||
        di_options_set(k->f.options, "teacher.cache.tier", tier, &k->f.err))
        FAIL("%s", k->f.err.message);
    dk_model_free(model);
    dk_document_free(config);
    return k->live != NULL;
}

static void close_kept(kept *k)
{
    di_teacher_release(k->live);
    close_fixture(&k->f);
}

static void set(kept *k, const char *key, const char *value)
{
    if (di_options_set(k->f.options, key, value, &k->f.err)) FAIL("%s", k->f.err.message);
}

/* from_live 0 = the file alone */
static di_teacher *cached(kept *k, int from_live)
{
    di_teacher *out = NULL;
    if (di_teacher_cached(k->f.backend, k->path, from_live ? k->live : NULL, k->f.options, &out, &k->f.err))
        FAIL("%s", k->f.err.message);
    return out;
}

static int64_t records(di_teacher *teacher, kept *k)
{
    di_cache *cache = NULL;
    int64_t rows = -1;
    dk_error err;
    CHECK_OK(di_teacher_flush(teacher, &err));
    if (di_cache_open(k->f.host, k->path, 0, &cache, &err) == DK_OK) rows = di_cache_get_info(cache).rows;
    di_cache_free(cache);
    return rows;
}

typedef struct sparse { /* rows of a cached teacher */
    int32_t ids[ROWS * 64];
    float values[ROWS * 64], tail[ROWS];
    int64_t k;
} sparse;

static int32_t read_sparse(di_teacher *teacher, const distill_batch *batch, sparse *out, dk_error *err)
{
    di_session *session = NULL;
    const distill_target *target = NULL;
    int32_t rc = di_session_create(teacher, 11, 2, ROWS, &session, err);
    if (!rc) rc = di_session_forward(session, batch, err);
    if (!rc) {
        const di_source *source = di_session_source(session);
        const int64_t rows = di_batch_rows(batch);
        for (int64_t first = 0; first < rows && !rc; first += 4) { /* in strips */
            const int64_t count = rows - first < 4 ? rows - first : 4;
            rc = source->rows(source->self, first, count, dk_view_none(), &target, err);
            if (rc) break;
            out->k = target->values->shape[1];
            memcpy(out->ids + first * out->k, target->ids->data, (size_t)(count * out->k) * 4);
            memcpy(out->values + first * out->k, target->values->data, (size_t)(count * out->k) * 4);
            if (target->tail) memcpy(out->tail + first, target->tail->data, (size_t)count * 4);
        }
    }
    di_session_free(session);
    return rc;
}

TEST(hidden_states_give_the_live_logits_bit_by_bit)
{
    static float live[ROWS * TINY_VOCAB], filled[ROWS * TINY_VOCAB], read[ROWS * TINY_VOCAB];
    distill_batch batch = tiny_batch();
    kept k;
    dk_error err;
    REQUIRE(open_kept(&k, "kept_hidden", "hidden"));
    REQUIRE_OK(score_with(k.live, &batch, live, &err));
    di_teacher *teacher = cached(&k, 1);
    REQUIRE(teacher);
    REQUIRE_OK(score_with(teacher, &batch, filled, &err));
    CHECK_INT(records(teacher, &k), ROWS);
    REQUIRE_OK(score_with(teacher, &batch, read, &err));
    CHECK_INT(records(teacher, &k), ROWS); /* nothing was asked again */
    CHECK(memcmp(live, filled, sizeof live) == 0);
    CHECK(memcmp(live, read, sizeof live) == 0);
    CHECK(di_teacher_model(teacher) == di_teacher_model(k.live)); /* a student may begin as a copy */
    di_teacher_release(teacher);
    teacher = NULL;
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, NULL, k.f.options, &teacher, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "keeps hidden states, of which the teacher's head makes logits");
    close_kept(&k);
}

TEST(bf16_states_and_full_logits_keep_their_bounds)
{
    static float live[ROWS * TINY_VOCAB], got[ROWS * TINY_VOCAB];
    const char *const tiers[] = {"hidden", "full"};
    distill_batch batch = tiny_batch();
    for (int i = 0; i < 2; i++) {
        kept k;
        dk_error err;
        double worst = 0;
        REQUIRE(open_kept(&k, "kept_rounded", tiers[i]));
        if (!i) set(&k, "teacher.cache.precision", "bf16");
        REQUIRE_OK(score_with(k.live, &batch, live, &err));
        di_teacher *teacher = cached(&k, 1);
        REQUIRE_OK(score_with(teacher, &batch, got, &err));
        for (int r = 0; r < ROWS; r++) {
            float top = -INFINITY;
            for (int v = 0; v < TINY_VOCAB; v++) top = fmaxf(top, live[r * TINY_VOCAB + v]);
            for (int v = 0; v < TINY_VOCAB; v++) {
                const double want = (double)(live[r * TINY_VOCAB + v] - (i ? top : 0));
                worst = test_worst(worst, fabs((double)got[r * TINY_VOCAB + v] - want) / (1 + fabs(want)));
            }
        }
        CHECK(worst < (i ? 0x1p-11 : 0.03));
        CHECK(worst > 1e-6); /* rounded it is */
        di_teacher_release(teacher);
        if (i) {
            teacher = cached(&k, 0); /* the file alone */
            static float again[ROWS * TINY_VOCAB];
            REQUIRE_OK(score_with(teacher, &batch, again, &err));
            CHECK(memcmp(got, again, sizeof got) == 0);
            di_teacher_release(teacher);
        }
        close_kept(&k);
    }
}

TEST(top_k_is_the_teachers_at_the_temperature)
{
    static float log_p[ROWS * 6], rest[ROWS];
    static int32_t ids[ROWS * 6];
    int64_t shape[2] = {ROWS, 6};
    distill_tensor values = di_tensor_of(log_p, DISTILL_FLOAT, 32, 2, shape),
                   id_tensor = di_tensor_of(ids, DISTILL_INT, 32, 2, shape),
                   tail = di_tensor_of(rest, DISTILL_FLOAT, 32, 1, shape);
    distill_batch batch = tiny_batch();
    distill_target top;
    static sparse got, again;
    kept k;
    dk_error err;
    REQUIRE(open_kept(&k, "kept_top", "top_k"));
    set(&k, "teacher.cache.k", "6");
    set(&k, "teacher.cache.temperature", "2");
    DISTILL_INIT(&top);
    top.kind = DISTILL_TOPK;
    top.values = &values;
    top.ids = &id_tensor;
    top.tail = &tail;
    REQUIRE_OK(di_teacher_log_probs(k.live, &batch, 2, NULL, &top, &err));
    di_teacher *teacher = cached(&k, 1);
    CHECK_NEAR(di_teacher_form(teacher)->temperature, 2, 0);
    REQUIRE_OK(read_sparse(teacher, &batch, &got, &err));
    for (int r = 0; r < ROWS; r++) {
        CHECK_NEAR((double)got.tail[r], (double)rest[r], 1.0 / 1024);
        for (int i = 0; i < 6; i++) {
            int found = -1;
            for (int j = 0; j < 6; j++)
                if (got.ids[r * 6 + j] == ids[r * 6 + i]) found = j;
            REQUIRE(found >= 0);
            CHECK_NEAR((double)got.values[r * 6 + found], (double)log_p[r * 6 + i], 1.0 / 32 + 1.0 / 1024);
        }
    }
    di_teacher_release(teacher);
    teacher = cached(&k, 0);
    REQUIRE_OK(read_sparse(teacher, &batch, &again, &err));
    CHECK(memcmp(&got, &again, sizeof got) == 0);
    di_teacher_release(teacher);
    close_kept(&k);
}

/* A blend is kept as any other teacher is; two handles of one model say what it says. */
TEST(a_blend_is_kept_as_formed)
{
    static sparse alone, mixed;
    const di_blend_settings linear = {.softness = 1};
    distill_batch batch = tiny_batch();
    di_teacher *second = NULL, *blend = NULL, *teacher;
    kept k;
    dk_error err;
    REQUIRE(open_kept(&k, "kept_blend", "top_k"));
    set(&k, "teacher.cache.k", "6");
    set(&k, "teacher.cache.temperature", "2");
    teacher = cached(&k, 1);
    REQUIRE_OK(read_sparse(teacher, &batch, &alone, &err));
    di_teacher_release(teacher);
    REQUIRE_OK(di_teacher_open(k.f.backend, k.f.folder, 1, &second, &err));
    const di_blend_member members[] = {{k.live, "a", 0.7, 1}, {second, "b", 0.3, 1}};
    REQUIRE_OK(di_teacher_blend(k.f.backend, members, 2, &linear, &blend, &err));
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, blend, k.f.options, &teacher, &err), DK_E_MISMATCH);
    remove(k.path);
    REQUIRE_OK(di_teacher_cached(k.f.backend, k.path, blend, k.f.options, &teacher, &err));
    REQUIRE_OK(read_sparse(teacher, &batch, &mixed, &err));
    for (int i = 0; i < ROWS * 6; i++) {
        CHECK_INT(mixed.ids[i], alone.ids[i]);
        CHECK_NEAR((double)mixed.values[i], (double)alone.values[i], 1.0 / 32);
    }
    di_teacher_release(teacher);
    remove(k.path);
    set(&k, "teacher.cache.temperature", "null");
    set(&k, "teacher.cache.k", "null");
    set(&k, "teacher.cache.tier", "full");
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, blend, k.f.options, &teacher, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "take top_k or sampled instead of full");
    di_teacher_release(blend);
    di_teacher_release(second);
    close_kept(&k);
}

/* The mean of the counts over many seeds is the distribution; one seed gives one file, in whatever order. */
TEST(draws_are_unbiased_and_repeat)
{
    enum { SEEDS = 200, DRAWS = 12 };
    static double mean[ROWS * TINY_VOCAB];
    static float log_p[ROWS * TINY_VOCAB];
    static sparse got, again;
    distill_batch batch = tiny_batch();
    kept k;
    dk_error err;
    char text[16];
    REQUIRE(open_kept(&k, "kept_draws", "sampled"));
    set(&k, "teacher.cache.temperature", "2");
    REQUIRE_OK(score_with(k.live, &batch, log_p, &err));
    for (int seed = 0; seed < SEEDS; seed++) {
        remove(k.path);
        snprintf(text, sizeof text, "%d", seed);
        set(&k, "teacher.cache.seed", text);
        di_teacher *teacher = cached(&k, 1);
        REQUIRE_OK(read_sparse(teacher, &batch, &got, &err));
        for (int r = 0; r < ROWS; r++)
            for (int64_t j = 0; j < got.k; j++)
                if (got.ids[r * got.k + j] >= 0)
                    mean[r * TINY_VOCAB + got.ids[r * got.k + j]] +=
                        (double)got.values[r * got.k + j] / (SEEDS * DRAWS);
        di_teacher_release(teacher);
    }
    for (int r = 0; r < ROWS; r++) {
        double sum = 0, top = -INFINITY;
        for (int v = 0; v < TINY_VOCAB; v++) top = fmax(top, (double)log_p[r * TINY_VOCAB + v]);
        for (int v = 0; v < TINY_VOCAB; v++) sum += exp(((double)log_p[r * TINY_VOCAB + v] - top) / 2);
        for (int v = 0; v < TINY_VOCAB; v++) {
            const double p = exp(((double)log_p[r * TINY_VOCAB + v] - top) / 2) / sum;
            CHECK_NEAR(mean[r * TINY_VOCAB + v], p, 5 * sqrt(p / (SEEDS * DRAWS)) + 1e-3);
        }
    }
    remove(k.path); /* the second sequence first, alone: the same draws */
    di_teacher *teacher = cached(&k, 1);
    distill_batch second = batch;
    const int64_t offsets[2] = {0, 4};
    second.ids = tiny_ids + 7;
    second.offsets = offsets;
    second.sequences = 1;
    static sparse alone;
    REQUIRE_OK(read_sparse(teacher, &second, &alone, &err));
    REQUIRE_OK(read_sparse(teacher, &batch, &again, &err));
    CHECK(memcmp(&got, &again, sizeof got) == 0);
    CHECK_INT(records(teacher, &k), ROWS);
    di_teacher_release(teacher);
    close_kept(&k);
}

TEST(a_miss_without_a_teacher_names_the_sequence)
{
    static sparse got;
    distill_batch batch = tiny_batch(), first = tiny_batch();
    kept k;
    dk_error err;
    REQUIRE(open_kept(&k, "kept_miss", "top_k"));
    set(&k, "teacher.cache.k", "6");
    di_teacher *teacher = cached(&k, 1);
    first.sequences = 1;
    REQUIRE_OK(read_sparse(teacher, &first, &got, &err));
    di_teacher_release(teacher);
    teacher = cached(&k, 0);
    REQUIRE_OK(read_sparse(teacher, &first, &got, &err));
    CHECK_INT(read_sparse(teacher, &batch, &got, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, k.path);
    CHECK_HAS(err.message, "of 4 tokens (1, 2, 4, 6, ...), position 0, and 3 rows in all");
    di_teacher_release(teacher);
    remove(k.path);
    teacher = NULL;
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, NULL, k.f.options, &teacher, &err), DK_E_NOT_FOUND);
    CHECK_HAS(err.message, "there is no target cache, and no teacher to make one of");
    close_kept(&k);
}

TEST(another_teacher_or_other_settings_are_refused)
{
    static sparse got;
    distill_batch batch = tiny_batch();
    dk_document *config = NULL;
    dk_model *model = NULL;
    di_teacher *teacher, *other = NULL;
    kept k;
    dk_error err;
    REQUIRE(open_kept(&k, "kept_other", "top_k"));
    set(&k, "teacher.cache.k", "6");
    teacher = cached(&k, 1);
    REQUIRE_OK(read_sparse(teacher, &batch, &got, &err));
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, k.live, k.f.options, &other, &err), DK_E_BUSY);
    di_teacher_release(teacher);
    REQUIRE_OK(dk_json_open(k.f.host, k.f.config, &config, &err));
    REQUIRE_OK(dk_model_create(k.f.backend, config, 0.4, 4, &model, &err)); /* other weights */
    REQUIRE_OK(di_teacher_from_model(k.f.backend, model, NULL, NULL, NULL, NULL, &other, &err));
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, other, k.f.options, &teacher, &err), DK_E_MISMATCH);
    CHECK_HAS(err.message, "holds targets of the teacher ");
    CHECK_HAS(err.message, ", wanted is ");
    di_teacher_release(other);
    set(&k, "teacher.cache.temperature", "3");
    for (int from = 0; from < 2; from++) {
        CHECK_INT(di_teacher_cached(k.f.backend, k.path, from ? k.live : NULL, k.f.options, &teacher, &err),
                  DK_E_MISMATCH);
        CHECK_HAS(err.message, "holds targets of temperature 1, wanted is 3");
    }
    set(&k, "teacher.cache.temperature", "null");
    set(&k, "teacher.cache.k", "30");
    remove(k.path);
    CHECK_INT(di_teacher_cached(k.f.backend, k.path, k.live, k.f.options, &teacher, &err), DK_E_OPTION);
    CHECK_HAS(err.message, "teacher.cache.k is 30, above the 29 ids that count");
    dk_model_free(model);
    dk_document_free(config);
    close_kept(&k);
}

/* Who it is: the file, what it keeps and of whom; and the teacher that is asked, where there is one. */
TEST(manifest)
{
    kept k;
    dk_error err;
    dk_strbuf json, with;
    char hash[65];
    REQUIRE(open_kept(&k, "kept_manifest", "top_k"));
    set(&k, "teacher.cache.k", "5");
    dk_strbuf_init(&json, k.f.host);
    dk_strbuf_init(&with, k.f.host);
    di_teacher *teacher = cached(&k, 1);
    REQUIRE(teacher);
    REQUIRE_OK(di_teacher_manifest(teacher, &with, &err));
    CHECK_OK(di_teacher_hash(k.live, hash, &err));
    CHECK_HAS(with.data, "{\"kind\":\"cached\",\"path\":\"");
    CHECK_HAS(with.data, "\"tier\":\"top_k\",\"made_of\":\"");
    CHECK_HAS(with.data, "\"members\":[{\"name\":\"from\",\"temperature\":1,\"kind\":\"model\",\"path\":\"");
    const char *made_of = strstr(with.data, "\"made_of\":\""), *member = strstr(with.data, "\"kind\":\"model\"");
    CHECK(made_of && strncmp(made_of + 11, hash, 64) == 0);
    CHECK(member && strstr(member, hash));
    di_teacher_release(teacher);
    teacher = cached(&k, 0);
    REQUIRE(teacher);
    REQUIRE_OK(di_teacher_manifest(teacher, &json, &err));
    CHECK(!strstr(json.data, "members"));
    CHECK_HAS(json.data, hash);
    CHECK(strncmp(json.data, with.data, json.size - 1) == 0); /* the same teacher, with or without */
    di_teacher_release(teacher);
    dk_strbuf_free(&json);
    dk_strbuf_free(&with);
    close_kept(&k);
}

TEST_MAIN(TEST_CASE(manifest) TEST_CASE(hidden_states_give_the_live_logits_bit_by_bit)
              TEST_CASE(bf16_states_and_full_logits_keep_their_bounds)
                  TEST_CASE(top_k_is_the_teachers_at_the_temperature) TEST_CASE(draws_are_unbiased_and_repeat)
                      TEST_CASE(a_blend_is_kept_as_formed) TEST_CASE(a_miss_without_a_teacher_names_the_sequence)
                          TEST_CASE(another_teacher_or_other_settings_are_refused))
