/* bench.c - what the parts of `distill bench` share. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* No id ends a text here, so that a text is as long as it was asked for. */
const char bench_teacher_config[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 32000, \"hidden_size\": 768, \"num_hidden_layers\": 12, "
    "\"num_attention_heads\": 12, \"num_key_value_heads\": 4, \"intermediate_size\": 2048, "
    "\"max_position_embeddings\": 8192, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\", "
    "\"tie_word_embeddings\": true, \"bos_token_id\": null, \"eos_token_id\": null}";
const char bench_student_config[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 32000, \"hidden_size\": 384, \"num_hidden_layers\": 6, "
    "\"num_attention_heads\": 6, \"num_key_value_heads\": 2, \"intermediate_size\": 1024, "
    "\"max_position_embeddings\": 8192, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\", "
    "\"tie_word_embeddings\": true, \"bos_token_id\": null, \"eos_token_id\": null}";

double bench_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int64_t count)
{
    if (count < 1) return 0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

int64_t bench_peak_rss_mb(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

void bench_fill_ids(int32_t *ids, int64_t count, int64_t vocab)
{
    uint64_t state = 1;
    for (int64_t i = 0; i < count; i++) { /* Knuth's MMIX generator */
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        ids[i] = (int32_t)((state >> 33) % (uint64_t)vocab);
    }
}

int bench_describe_library(bench *b, json_t **out)
{
    distill_report *report = NULL;
    char *text = distill_inspect(b->session.env, NULL, &report, &b->session.err)
                     ? NULL
                     : cli_report_text(report, &b->session.err);
    *out = text ? json_loads(text, 0, NULL) : NULL;
    distill_report_free(report);
    free(text);
    return *out ? -1 : cli_fail(&b->session.err);
}

/* ---- a bench ---- */

int bench_open(bench *b, const cli_command *command, const cli_settings *settings)
{
    int code = cli_open(&b->session, command, NULL, settings);
    cli_progress_start(&b->progress, 0);
    return code;
}

int bench_close(bench *b, int code, json_t *result)
{
    cli_progress_end(&b->progress);
    if (code >= 0) {
        json_decref(result);
    } else if (b->as_json) {
        code = cli_print_json(result);
    } else {
        cli_print_leaves(result, "");
        json_decref(result);
        code = CLI_DONE;
    }
    json_decref(b->limits);
    cli_close(&b->session);
    return code;
}

/* ---- models ---- */

/* Configurations are files to the library. */
static int write_config(const char *text, char *path)
{
    int file = mkstemp(path);
    if (file < 0) return cli_message("%s: a temporary file could not be made (TMPDIR says where)", path);
    ssize_t written = write(file, text, strlen(text));
    close(file);
    if (written == (ssize_t)strlen(text)) return -1;
    unlink(path);
    return cli_message("%s: could not be written", path);
}

int bench_make_student(bench *b, const char *config, const char *built_in, distill_student **out)
{
    cli_session *s = &b->session;
    const char *folder = getenv("TMPDIR");
    char path[4096];
    if (!config) {
        snprintf(path, sizeof path, "%s/distill-bench-XXXXXX", folder && *folder ? folder : "/tmp");
        int code = write_config(built_in, path);
        if (code >= 0) return code;
    }
    int32_t rc = distill_student_create(s->env, config ? config : path, NULL, s->options, out, &s->err);
    if (!config) unlink(path);
    return rc ? cli_fail(&s->err) : -1;
}

int bench_open_model(bench *b, const char *path, const char *config, const char *built_in, bench_model *out)
{
    cli_session *s = &b->session;
    int32_t rc;
    if (path) {
        rc = distill_teacher_open(s->env, path, s->options, &out->teacher, &s->err);
    } else {
        int code = bench_make_student(b, config, built_in, &out->student);
        if (code >= 0) return code;
        rc = distill_teacher_from_student(out->student, &out->teacher, &s->err);
    }
    if (!rc) rc = distill_teacher_get_i64(out->teacher, "vocab_valid", &out->vocab, &s->err);
    return rc ? cli_fail(&s->err) : -1;
}

void bench_free_model(bench_model *model)
{
    distill_teacher_free(model->teacher);
    distill_student_free(model->student);
}
