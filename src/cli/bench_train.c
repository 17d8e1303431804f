/* bench_train.c - distill bench step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { WARM = 2 }; /* steps that are not counted: memory is touched, operands are packed */

typedef struct step_bench {
    bench b;
    const char *teacher_config, *student_config, *precision;
    int64_t batch, length, steps;
    int alone; /* no teacher */
    bench_model teacher;
    distill_student *student;
    distill_dataset *data;
    distill_trainer *trainer;
} step_bench;

/* What is not said by --set is what the step of other libraries is raced with. */
static int take_settings(step_bench *t)
{
    cli_session *s = &t->b.session;
    int32_t rc = distill_options_set_str(s->options, "train.precision", t->precision, &s->err);
    if (!rc) rc = distill_options_set_i64(s->options, "train.steps", t->steps + WARM, &s->err);
    if (!rc) rc = distill_options_set_i64(s->options, "train.batch_size", t->batch, &s->err);
    if (!rc) rc = distill_options_set_i64(s->options, "data.sequence_length", t->length, &s->err);
    return rc ? cli_fail(&s->err) : -1;
}

static int open_data(step_bench *t)
{
    cli_session *s = &t->b.session;
    int64_t sequences = t->batch * (t->steps + WARM), vocab = 0;
    distill_batch batch;
    int32_t rc = distill_student_get_i64(t->student, "vocab_valid", &vocab, &s->err);
    if (rc) return cli_fail(&s->err);
    int32_t *ids = cli_memory(NULL, (size_t)(sequences * t->length) * sizeof *ids);
    int64_t *offsets = cli_memory(NULL, (size_t)(sequences + 1) * sizeof *offsets);
    bench_fill_ids(ids, sequences * t->length, vocab);
    for (int64_t i = 0; i <= sequences; i++) offsets[i] = i * t->length;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = sequences;
    rc = distill_dataset_from_tokens(s->env, &batch, s->options, &t->data, &s->err);
    free(ids);
    free(offsets);
    return rc ? cli_fail(&s->err) : -1;
}

static int open_trainer(step_bench *t)
{
    cli_session *s = &t->b.session;
    int code = take_settings(t);
    if (code < 0) code = bench_make_student(&t->b, t->student_config, bench_student_config, &t->student);
    if (code < 0 && !t->alone)
        code = bench_open_model(&t->b, NULL, t->teacher_config, bench_teacher_config, &t->teacher);
    if (code < 0) code = open_data(t);
    if (code >= 0) return code;
    int32_t rc = t->alone ? distill_options_set_f64(s->options, "loss.hard_label_weight", 1, &s->err) : DISTILL_OK;
    if (!rc)
        rc = distill_trainer_create(s->env, t->teacher.teacher, t->student, t->data, NULL, s->options, &t->trainer,
                                    &s->err);
    return rc ? cli_fail(&s->err) : -1;
}

static int run_steps(step_bench *t, double *seconds)
{
    cli_session *s = &t->b.session;
    distill_progress now;
    cli_watch(t->trainer);
    for (int64_t i = 0; i < t->steps + WARM; i++) {
        double begin = bench_seconds();
        DISTILL_INIT(&now);
        if (distill_trainer_step(t->trainer, &now, &s->err)) return cli_fail(&s->err);
        if (i >= WARM) seconds[i - WARM] = bench_seconds() - begin;
        cli_progress_share(&t->b.progress, "training", i + 1, t->steps + WARM);
    }
    return -1;
}

static int flops_of_token(step_bench *t, double *out)
{
    cli_session *s = &t->b.session;
    distill_report *report = NULL;
    double flops = 0, tokens = 0;
    int32_t rc = distill_trainer_report(t->trainer, &report, &s->err);
    if (!rc) rc = distill_report_get_f64(report, "training.flops", &flops, &s->err);
    if (!rc) rc = distill_report_get_f64(report, "training.tokens", &tokens, &s->err);
    distill_report_free(report);
    *out = tokens > 0 ? flops / tokens : 0;
    return rc ? cli_fail(&s->err) : -1;
}

/* Which limit a step is held against. What is bf16 in name and has no instructions is computed in fp32. */
static const char *limit_of(const char *precision, const char *products)
{
    int native = !strcmp(products, "amx") || !strcmp(products, "avx512_bf16");
    return native && strcmp(precision, "fp32") != 0 ? "bf16" : "fp32";
}

static json_t *step_result(step_bench *t, double *seconds, double flops, int64_t peak, const json_t *library)
{
    double step = bench_median(seconds, t->steps), tokens = (double)(t->batch * t->length) / step;
    const char *products = json_string_value(json_object_get(library, "products")),
               *kind = limit_of(t->precision, products ? products : "");
    double limit = bench_limit(&t->b, kind, "flops");
    json_t *result = json_pack("{s:f, s:f, s:I}", "tokens_per_second", tokens, "step_seconds", step, "peak_rss_mb",
                               (json_int_t)peak);
    json_object_set_new(result, "mfu", bench_share(tokens * flops, limit));
    json_object_set_new(result, "flop_per_token", json_real(flops));
    json_object_set_new(result, "limit_of", json_string(kind));
    json_object_set(result, "isa", json_object_get(library, "isa"));
    json_object_set(result, "products", json_object_get(library, "products"));
    json_object_set(result, "limits", t->b.limits);
    return result;
}

int bench_step(const cli_command *command, int argc, char **argv)
{
    static const char *const own[] = {
        "train.precision", "--precision",          "train.steps", "--steps", "train.batch_size",
        "--batch",         "data.sequence_length", "--seq",       NULL};
    step_bench t = {.precision = "fp32", .batch = 4, .length = 256, .steps = 10};
    cli_settings settings = {.reads = " train loss data student.init_std student.freeze compute ", .own = own};
    json_t *result = NULL, *library = NULL;
    double flops = 0;
    const cli_option options[] = {{"--teacher-config", CLI_TEXT, &t.teacher_config, NULL},
                                  {"--student-config", CLI_TEXT, &t.student_config, NULL},
                                  {"--no-teacher", CLI_FLAG, &t.alone, NULL},
                                  {"--batch", CLI_INT, &t.batch, NULL},
                                  {"--seq", CLI_INT, &t.length, NULL},
                                  {"--precision", CLI_TEXT, &t.precision, NULL},
                                  {"--steps", CLI_INT, &t.steps, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &t.b.as_json, NULL}};
    int code = cli_parse(command, options, 9, argc, argv, NULL, 0);
    if (code >= 0) return code;
    if (t.alone && t.teacher_config) return cli_usage(command, "--no-teacher and --teacher-config exclude each other");
    if (t.batch < 1 || t.batch > 4096 || t.length < 2 || t.length > 1 << 20 || t.steps < 1 || t.steps > 100000)
        return cli_usage(command, "--batch is 1 to 4096, --seq 2 to 1048576, --steps 1 to 100000");
    double *seconds = cli_memory(NULL, (size_t)t.steps * sizeof *seconds);
    code = bench_open(&t.b, command, &settings);
    if (code < 0) code = open_trainer(&t);
    if (code < 0) code = run_steps(&t, seconds);
    if (code < 0) code = flops_of_token(&t, &flops);
    const int64_t peak = bench_peak_rss_mb();
    if (code < 0) code = bench_measure_limits(&t.b);
    if (code < 0) code = bench_describe_library(&t.b, &library);
    if (code < 0) result = step_result(&t, seconds, flops, peak, library);
    json_decref(library);
    cli_watch(NULL);
    distill_trainer_free(t.trainer);
    distill_dataset_free(t.data);
    distill_student_free(t.student);
    bench_free_model(&t.teacher);
    free(seconds);
    return bench_close(&t.b, code, result);
}
