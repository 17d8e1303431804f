/* Caches of targets through the API: built, stopped, gone on with, trained from, merged, inspected. */
#include <unistd.h>

#include "small.h"

static distill_error err;

/* In one of eight buffers; what an earlier run left is removed. */
static const char *cache_path(const char *name)
{
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8], index[1040];
    snprintf(path, sizeof paths[0], "%s/%s", small_folder, name);
    snprintf(index, sizeof index, "%s.index", path);
    remove(path);
    remove(index);
    return path;
}

static int64_t number(distill_report *report, const char *key)
{
    double value = -1;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return (int64_t)value;
}

static int64_t rows_of(const small *s, const char *path)
{
    distill_report *report = NULL;
    if (distill_inspect(s->env, path, &report, &err)) return -1;
    const int64_t rows = number(report, "rows");
    distill_report_free(report);
    return rows;
}

typedef struct told {
    int calls, stop_after;
    int64_t done, total;
} told;

static int32_t on_progress(void *user, const distill_progress *p)
{
    told *t = user;
    CHECK_INT(p->phase, DISTILL_PHASE_CACHING);
    CHECK(p->done > t->done && p->done <= p->total);
    t->done = p->done;
    t->total = p->total;
    return ++t->calls == t->stop_after ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

TEST(a_build_tells_stops_and_goes_on)
{
    small s;
    told first = {0, 1, 0, 0}, second = {0};
    REQUIRE(small_models("cache"));
    REQUIRE_OK(small_parts(&s, NULL, "teacher: {cache: {tier: sampled}}\n", &err));
    const char *path = cache_path("build.dtc");
    CHECK_INT(distill_cache_build(s.env, s.teacher, s.train, path, s.options, on_progress, &first, NULL, &err),
              DISTILL_E_CANCELLED);
    CHECK_HAS(err.message, "stopped by the progress callback after window 8 of 40");
    CHECK_INT(rows_of(&s, path), 8 * 16);
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, path, s.options, on_progress, &second, NULL, &err));
    CHECK_INT(second.done, 40);
    CHECK_INT(rows_of(&s, path), 40 * 16);
    small_close(&s);
}

static void count_flops(const char *tier, const char *cache, double *flops)
{
    small s;
    distill_teacher *kept = NULL;
    const char *out = small_text("%s/flops", small_folder);
    REQUIRE_OK(small_parts(&s, NULL,
                           small_text("output: {path: '%s', overwrite: true}\nteacher: {cache: {tier: %s}}\n%s", out,
                                      *tier ? tier : "auto", *tier ? "" : "loss: cross_entropy\n"),
                           &err));
    if (cache) REQUIRE_OK(distill_teacher_cached(s.env, cache, s.teacher, s.options, &kept, &err));
    REQUIRE_OK(
        distill_trainer_create(s.env, kept ? kept : s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    distill_teacher_free(kept);
    small_close(&s);
    char *result = small_read(test_path(out, "result.json"), NULL);
    const char *at = result ? strstr(result, "\"flops\":") : NULL;
    if (at) *flops = atof(at + 8);
    free(result);
}

static double flops_of(const char *tier, const char *cache)
{
    double flops = -1;
    count_flops(tier, cache, &flops);
    return flops;
}

/* What it lacks costs what the teacher costs, what is there the head of hidden states. */
TEST(what_is_kept_is_not_counted_again)
{
    REQUIRE(small_models("cache"));
    const double student = flops_of("", NULL), live = flops_of("auto", NULL), teacher = live - student;
    const double head = 2.0 * 32 * SMALL_VOCAB * 6 * 4 * SMALL_LENGTH, bound = 1e-9 * live;
    CHECK(teacher > 2 * head && student > 0);
    const char *sparse = cache_path("flops_k.dtc"), *hidden = cache_path("flops_h.dtc");
    CHECK_NEAR(flops_of("top_k, k: 8", sparse), live, bound);
    CHECK_NEAR(flops_of("top_k, k: 8", sparse), student, bound);
    CHECK_NEAR(flops_of("hidden", hidden), live, bound);
    CHECK_NEAR(flops_of("hidden", hidden), student + head, bound);
}

static void train(const char *options, const char *cache, int with_teacher, float *out, double *loss)
{
    small s;
    distill_teacher *kept = NULL;
    distill_progress p;
    REQUIRE_OK(small_parts(&s, NULL, options, &err));
    if (cache)
        REQUIRE_OK(distill_teacher_cached(s.env, cache, with_teacher ? s.teacher : NULL, s.options, &kept, &err));
    REQUIRE_OK(
        distill_trainer_create(s.env, kept ? kept : s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    for (int i = 0; i < 6; i++) {
        DISTILL_INIT(&p);
        REQUIRE_OK(distill_trainer_step(s.trainer, &p, &err));
        loss[i] = p.loss;
    }
    distill_teacher *student = NULL;
    distill_batch batch;
    distill_target target;
    int32_t ids[8];
    int64_t offsets[2] = {0, 8}, shape[2] = {7, SMALL_VOCAB};
    small_ids(ids, 8, 5);
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    distill_tensor values;
    memset(&values, 0, sizeof values);
    values.data = out;
    values.device_type = DISTILL_CPU;
    values.ndim = 2;
    values.dtype_code = DISTILL_FLOAT;
    values.dtype_bits = 32;
    values.dtype_lanes = 1;
    values.shape = shape;
    DISTILL_INIT(&target);
    target.kind = DISTILL_DENSE;
    target.values = &values;
    REQUIRE_OK(distill_teacher_from_student(s.student, &student, &err));
    REQUIRE_OK(distill_teacher_score(student, &batch, &target, &err));
    distill_teacher_free(student);
    distill_teacher_free(kept);
    small_close(&s);
}

TEST(training_from_hidden_states_is_training_from_the_live_teacher)
{
    static float live[7 * SMALL_VOCAB], filled[7 * SMALL_VOCAB], read[7 * SMALL_VOCAB];
    const char *options = "teacher: {cache: {tier: hidden}}\nloss: {type: forward_kl, temperature: 2}\n";
    double losses[3][6];
    REQUIRE(small_models("cache"));
    const char *path = cache_path("hidden.dtc");
    train(options, NULL, 1, live, losses[0]);
    train(options, path, 1, filled, losses[1]);
    train(options, path, 1, read, losses[2]);
    for (int i = 0; i < 6; i++) {
        CHECK_NEAR(losses[1][i], losses[0][i], 1e-6);
        CHECK(memcmp(&losses[2][i], &losses[1][i], sizeof(double)) == 0);
    }
    for (int i = 0; i < 7 * SMALL_VOCAB; i++) CHECK_NEAR((double)filled[i], (double)live[i], 1e-5);
    CHECK(memcmp(filled, read, sizeof read) == 0);
}

/* Fewer rows than a kernel's block: products keep the rows contract, so nothing at all differs. */
TEST(few_rows_are_the_live_teachers_bit_by_bit)
{
    static float live[7 * SMALL_VOCAB], filled[7 * SMALL_VOCAB];
    const char *options = "teacher: {cache: {tier: hidden}}\nloss: {type: forward_kl}\ntrain: {batch_size: 1, "
                          "micro_batch_size: 1}\n";
    double losses[2][6];
    REQUIRE(small_models("cache"));
    const char *path = cache_path("few.dtc");
    train(options, NULL, 1, live, losses[0]);
    train(options, path, 1, filled, losses[1]);
    CHECK(memcmp(losses[0], losses[1], sizeof losses[0]) == 0);
    CHECK(memcmp(live, filled, sizeof live) == 0);
}

TEST(a_file_alone_trains_and_near_targets_give_near_losses)
{
    static float live[7 * SMALL_VOCAB], alone[7 * SMALL_VOCAB];
    const char *options = "teacher: {cache: {tier: top_k, k: 60, temperature: 2}}\n"
                          "loss: {type: forward_kl, temperature: 2}\n";
    double losses[2][6];
    small s;
    REQUIRE(small_models("cache"));
    REQUIRE_OK(small_parts(&s, NULL, options, &err));
    const char *path = cache_path("alone.dtc");
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, path, s.options, NULL, NULL, NULL, &err));
    train(options, NULL, 1, live, losses[0]);
    train(options, path, 0, alone, losses[1]);
    for (int i = 0; i < 6; i++) CHECK_NEAR(losses[1][i], losses[0][i], 0.02 * losses[0][i]);
    small_close(&s);
}

/* The recipe names the file: with the teacher it is filled, without it must hold everything. */
TEST(a_recipe_names_a_cache)
{
    small s;
    distill_teacher *second = NULL;
    REQUIRE(small_models("cache"));
    const char *path = cache_path("recipe.dtc");
    const char *with = small_text("teacher: {path: %s/teacher, cache: {path: %s, tier: top_k, k: 8}}\n"
                                  "loss: {type: forward_kl}\noutput: %s/recipe\n",
                                  small_folder, path, small_folder);
    memset(&s, 0, sizeof s);
    REQUIRE_OK(small_env(&s, NULL, with, &err));
    REQUIRE_OK(
        distill_student_create(s.env, test_path(small_folder, "student.json"), NULL, s.options, &s.student, &err));
    REQUIRE_OK(small_dataset_seeded(&s, SMALL_SEQUENCES, 100, &s.train, &err));
    REQUIRE_OK(distill_trainer_create(s.env, NULL, s.student, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_INT(distill_teacher_open(s.env, NULL, s.options, &second, &err), DISTILL_E_BUSY);
    CHECK_HAS(err.message, "another writer adds to it");
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    distill_trainer_free(s.trainer);
    s.trainer = NULL;
    CHECK_INT(rows_of(&s, path), 24 * 16); /* of six steps of four */
    REQUIRE_OK(distill_options_set(s.options, "teacher.path", "null", &err));
    REQUIRE_OK(distill_teacher_open(s.env, NULL, s.options, &s.teacher, &err)); /* the file alone */
    CHECK_INT(distill_teacher_cached(s.env, path, NULL, s.options, &second, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "teacher.cache.path is given beside path");
    small_close(&s);
}

TEST(another_temperature_than_the_loss_is_refused)
{
    small s;
    distill_teacher *kept = NULL;
    REQUIRE(small_models("cache"));
    REQUIRE_OK(small_parts(
        &s, NULL, "teacher: {cache: {tier: sampled, temperature: 2}}\nloss: {type: forward_kl, temperature: 3}\n",
        &err));
    REQUIRE_OK(distill_teacher_cached(s.env, cache_path("other.dtc"), s.teacher, s.options, &kept, &err));
    CHECK(distill_trainer_create(s.env, kept, s.student, s.train, NULL, s.options, &s.trainer, &err) < 0);
    CHECK_HAS(err.message, "temperature");
    distill_teacher_free(kept);
    small_close(&s);
}

/* Logits less the highest are no logits to a loss that compares them: said when a trainer is made. */
TEST(offsets_that_are_not_kept_are_no_logits)
{
    static const char *const tiers[] = {"full", "hidden"};
    for (int i = 0; i < 2; i++) {
        small s;
        distill_teacher *kept = NULL;
        REQUIRE(small_models("cache"));
        REQUIRE_OK(small_parts(
            &s, NULL, small_text("teacher: {cache: {tier: %s}}\nloss: [{type: tvd}, {type: logit_mse}]\n", tiers[i]),
            &err));
        REQUIRE_OK(distill_teacher_cached(s.env, cache_path(tiers[i]), s.teacher, s.options, &kept, &err));
        const int32_t rc = distill_trainer_create(s.env, kept, s.student, s.train, NULL, s.options, &s.trainer, &err);
        CHECK_INT(rc, i ? DISTILL_OK : DISTILL_E_UNSUPPORTED);
        if (!i) CHECK_HAS(err.message, "loss logit_mse compares logits");
        distill_teacher_free(kept);
        small_close(&s);
    }
}

/* The index beside the file knows nothing of the damage. */
TEST(what_is_damaged_is_asked_again_on_request)
{
    small s;
    distill_report *made = NULL;
    distill_teacher *alone = NULL;
    REQUIRE(small_models("cache"));
    REQUIRE_OK(small_parts(&s, NULL, "teacher: {cache: {tier: top_k, k: 4}}\n", &err));
    const char *path = cache_path("again.dtc");
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, path, s.options, NULL, NULL, NULL, &err));
    FILE *file = fopen(path, "r+b");
    REQUIRE(file && !fseek(file, 400, SEEK_SET) && fputc(77, file) == 77 && !fclose(file));
    REQUIRE_OK(distill_options_set(s.options, "teacher.cache.skip_damaged", "true", &err));
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, path, s.options, NULL, NULL, &made, &err));
    CHECK_INT(number(made, "added"), SMALL_SEQUENCES * 16);
    distill_report_free(made);
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, path, s.options, NULL, NULL, &made, &err));
    CHECK_INT(number(made, "added"), 0);
    distill_report_free(made);
    REQUIRE(!truncate(path, 100));
    CHECK_INT(distill_teacher_cached(s.env, path, NULL, NULL, &alone, &err), DISTILL_E_FORMAT);
    CHECK_HAS(err.message, "again.dtc: ends inside its header of 256 bytes");
    small_close(&s);
}

TEST(files_merge_and_damage_is_skipped_on_request)
{
    small s;
    distill_report *report = NULL;
    REQUIRE(small_models("cache"));
    REQUIRE_OK(small_parts(&s, NULL, "teacher: {cache: {tier: top_k, k: 4}}\n", &err));
    const char *a = cache_path("a.dtc"), *b = cache_path("b.dtc");
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, a, s.options, NULL, NULL, NULL, &err));
    REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.eval, b, s.options, NULL, NULL, NULL, &err));
    const char *both = cache_path("both.dtc");
    REQUIRE_OK(distill_cache_merge(s.env, (const char *const[]){a, b}, 2, both, NULL, &err));
    CHECK_INT(rows_of(&s, both), (SMALL_SEQUENCES + SMALL_EVAL) * 16);
    FILE *file = fopen(b, "r+b");
    REQUIRE(file && !fseek(file, 400, SEEK_SET) && fputc(77, file) == 77 && !fclose(file));
    CHECK_INT(distill_cache_merge(s.env, (const char *const[]){a, b}, 2, cache_path("kept.dtc"), NULL, &err),
              DISTILL_E_FORMAT);
    CHECK_HAS(err.message, "block 0 at byte 256 is damaged");
    REQUIRE_OK(distill_inspect(s.env, b, &report, &err));
    distill_report_free(report);
    REQUIRE_OK(distill_options_set(s.options, "teacher.cache.skip_damaged", "true", &err));
    const char *kept = cache_path("kept.dtc");
    REQUIRE_OK(distill_cache_merge(s.env, (const char *const[]){a, b}, 2, kept, s.options, &err));
    CHECK_INT(rows_of(&s, kept), SMALL_SEQUENCES * 16);
    CHECK_INT(distill_cache_merge(s.env, NULL, 0, kept, NULL, &err), DISTILL_E_INVALID);
    small_close(&s);
}

static int is_there(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

/* The size that was predicted is the one that comes, also where half of it is there. */
TEST(a_plan_is_what_a_build_makes)
{
    static const char *const tiers[] = {"hidden", "full", "top_k, k: 8", "sampled"};
    distill_report *plan = NULL, *made = NULL;
    small s;
    REQUIRE(small_models("cache"));
    for (int i = 0; i < 4; i++) {
        told first = {0, 1, 0, 0};
        const char *path = cache_path(small_text("plan%d.dtc", i));
        REQUIRE_OK(small_parts(&s, NULL, small_text("teacher: {cache: {tier: %s}}\n", tiers[i]), &err));
        for (int part = 0; part < 3; part++) {
            REQUIRE_OK(distill_cache_plan(s.env, s.teacher, s.train, path, s.options, &plan, &err));
            CHECK_INT(number(plan, "rows"), SMALL_SEQUENCES * 16);
            CHECK_INT(number(plan, "missing"), (SMALL_SEQUENCES - (part == 0 ? 0 : part == 1 ? 8 : 40)) * 16);
            if (part == 0) {
                CHECK(!is_there(path));
                CHECK_INT(
                    distill_cache_build(s.env, s.teacher, s.train, path, s.options, on_progress, &first, NULL, &err),
                    DISTILL_E_CANCELLED);
            } else {
                REQUIRE_OK(distill_cache_build(s.env, s.teacher, s.train, path, s.options, NULL, NULL, &made, &err));
                CHECK_INT(number(made, "added"), number(plan, "missing"));
                const double bytes = (double)number(made, "caches.0.bytes");
                CHECK_NEAR((double)number(plan, "bytes"), bytes, 0.05 * bytes);
                distill_report_free(made);
            }
            distill_report_free(plan);
        }
        small_close(&s);
    }
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    CHECK_INT(distill_cache_plan(s.env, s.teacher, s.train, NULL, s.options, &plan, &err), DISTILL_E_OPTION);
    CHECK_INT(distill_cache_measure(s.env, s.teacher, NULL, s.train, -1, s.options, NULL, NULL, &plan, &err),
              DISTILL_E_INVALID);
    small_close(&s);
}

static double real(distill_report *report, const char *key)
{
    double value = -1;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return value;
}

/* The student's own KL is an evaluation's; f32 states lose nothing, bf16 ones and f16 logits little. */
TEST(tiers_are_measured)
{
    distill_report *tiers = NULL, *evaluation = NULL;
    told seen = {0};
    small s;
    REQUIRE(small_models("cache"));
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    REQUIRE_OK(
        distill_cache_measure(s.env, s.teacher, s.student, s.eval, 0, s.options, on_progress, &seen, &tiers, &err));
    REQUIRE_OK(distill_evaluate(s.student, s.teacher, s.eval, s.options, &evaluation, &err));
    CHECK_INT(seen.done, SMALL_EVAL);
    CHECK_INT(number(tiers, "rows"), SMALL_EVAL * 16);
    const double own = real(tiers, "student.forward_kl");
    CHECK_NEAR(own, real(evaluation, "forward_kl"), 1e-5 * own);
    CHECK_NEAR(real(tiers, "tiers.0.forward_kl"), 0, 1e-12);
    CHECK_NEAR(real(tiers, "tiers.0.bytes_per_token"), 32 * 4 + 32 / 16.0, 1e-9);
    CHECK(real(tiers, "tiers.1.forward_kl") > 0 && real(tiers, "tiers.1.forward_kl") < 1e-4);
    CHECK(real(tiers, "tiers.2.forward_kl") > 0 && real(tiers, "tiers.2.forward_kl") < 1e-5);
    CHECK_NEAR(real(tiers, "tiers.2.share_of_student"), real(tiers, "tiers.2.forward_kl") / own, 1e-9);
    distill_report_free(tiers);
    distill_report_free(evaluation);
    small_close(&s);
}

TEST_MAIN(TEST_CASE(what_is_kept_is_not_counted_again) TEST_CASE(a_plan_is_what_a_build_makes)
              TEST_CASE(tiers_are_measured) TEST_CASE(a_build_tells_stops_and_goes_on)
                  TEST_CASE(training_from_hidden_states_is_training_from_the_live_teacher)
                      TEST_CASE(few_rows_are_the_live_teachers_bit_by_bit)
                          TEST_CASE(a_file_alone_trains_and_near_targets_give_near_losses)
                              TEST_CASE(a_recipe_names_a_cache) TEST_CASE(another_temperature_than_the_loss_is_refused)
                                  TEST_CASE(offsets_that_are_not_kept_are_no_logits)
                                      TEST_CASE(files_merge_and_damage_is_skipped_on_request)
                                          TEST_CASE(what_is_damaged_is_asked_again_on_request))
