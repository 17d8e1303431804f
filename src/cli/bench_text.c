/* bench_text.c - distill bench prefill, decode, tokenize, load. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

typedef struct clock {
    bench *b;
    double begin, first, last; /* of the first and of the latest token of all sequences */
    int64_t tokens, wanted;
    /* Turns in which all sequences write: behind the last prompt, and before any of them ends. */
    int64_t sequences, started, ended, side_by_side; /* tokens of such turns */
    double side_begin, side_end;
} clock;

/* A token of a sequence that wrote one before (its number says which turn this is) or did not. */
static void count_turn(clock *c, int64_t sequence, int32_t finished)
{
    if (sequence >= c->started) {
        c->started = sequence + 1;
        c->side_begin = c->last;
    } else if (c->started == c->sequences && !c->ended && !finished) {
        c->side_by_side++;
        c->side_end = c->last;
    }
    c->ended |= finished != 0;
}

static int32_t on_token(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                        int32_t finished)
{
    clock *c = user;
    (void)id, (void)log_prob, (void)text, (void)size;
    c->last = bench_seconds();
    if (!c->tokens++) c->first = c->last;
    count_turn(c, sequence, finished);
    cli_progress_share(&c->b->progress, "writing", c->tokens, c->wanted);
    return DISTILL_CB_OK;
}

/* `sequences` prompts of `keys` ids, each continued by `tokens`. */
static int write_texts(bench *b, const bench_model *model, int64_t sequences, int64_t keys, int64_t tokens, clock *c)
{
    cli_session *s = &b->session;
    distill_batch batch;
    int32_t *ids = cli_memory(NULL, (size_t)(sequences * keys) * sizeof *ids);
    int64_t *offsets = cli_memory(NULL, (size_t)(sequences + 1) * sizeof *offsets);
    bench_fill_ids(ids, sequences * keys, model->vocab);
    for (int64_t i = 0; i <= sequences; i++) offsets[i] = i * keys;
    DISTILL_INIT(&batch);
    batch.ids = ids;
    batch.offsets = offsets;
    batch.sequences = sequences;
    int32_t rc = distill_options_set_i64(s->options, "generate.max_tokens", tokens, &s->err);
    if (!rc) rc = distill_options_set_f64(s->options, "generate.temperature", 0, &s->err);
    *c = (clock){.b = b, .begin = bench_seconds(), .wanted = sequences * tokens, .sequences = sequences};
    if (!rc) rc = distill_teacher_generate(model->teacher, &batch, s->options, on_token, c, &s->err);
    free(ids);
    free(offsets);
    return rc ? cli_fail(&s->err) : -1;
}

typedef struct text_bench {
    bench b;
    const char *path, *config;
    int64_t tokens, keys, batch;
    bench_model model;
} text_bench;

static int parse_text(text_bench *t, const cli_command *command, int argc, char **argv, int decode)
{
    static const char *const own[] = {
        "generate.max_tokens", "--tokens", "teacher.path", "MODEL", "student.config", "--config", NULL};
    cli_settings settings = {
        .reads = " generate.quantized generate.precision generate.cache_type generate.repetition_penalty "
                 "generate.presence_penalty generate.logit_bias teacher.mmap student.init_std compute ",
        .own = own};
    const cli_option options[] = {{"--config", CLI_TEXT, &t->config, NULL}, {"--tokens", CLI_INT, &t->tokens, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL}, {"--json", CLI_FLAG, &t->b.as_json, NULL},
                                  {"--keys", CLI_INT, &t->keys, NULL},      {"--batch", CLI_INT, &t->batch, NULL}};
    int code = cli_parse(command, options, decode ? 6 : 4, argc, argv, &t->path, 1);
    if (code >= 0) return code;
    if (t->path && t->config) return cli_usage(command, "MODEL and --config exclude each other");
    if (t->tokens < 1 || t->tokens > 1 << 20 || t->keys < 1 || t->keys > 1 << 20 || t->batch < 1 || t->batch > 4096)
        return cli_usage(command, decode ? "--tokens is 2 to 1048576, --keys 1 to 1048576, --batch 1 to 4096"
                                         : "--tokens is 1 to 1048576");
    code = bench_open(&t->b, command, &settings);
    return code < 0 ? bench_open_model(&t->b, t->path, t->config, bench_teacher_config, &t->model) : code;
}

int bench_prefill(const cli_command *command, int argc, char **argv)
{
    enum { TIMES = 5 };
    text_bench t = {.tokens = 512, .keys = 1, .batch = 1};
    json_t *result = NULL;
    double seconds[TIMES];
    clock c;
    int code = parse_text(&t, command, argc, argv, 0);
    for (int i = -1; code < 0 && i < TIMES; i++) { /* the first one touches memory */
        code = write_texts(&t.b, &t.model, 1, t.tokens, 1, &c);
        if (i >= 0) seconds[i] = c.first - c.begin;
    }
    if (code < 0) {
        double median = bench_median(seconds, TIMES);
        result = json_pack("{s:f, s:f, s:I}", "tokens_per_second", (double)t.tokens / median, "seconds", median,
                           "peak_rss_mb", (json_int_t)bench_peak_rss_mb());
    }
    bench_free_model(&t.model);
    return bench_close(&t.b, code, result);
}

/* The context may be full behind a prompt, and a model of the caller's may end its text at once. */
static int check_turns(const clock *c, int64_t batch)
{
    if (c->tokens > batch && c->last > c->first) return -1;
    return cli_message("no text went on behind its first token: either it ended there, or the model's context is full; "
                       "other --keys may do, or a config.json whose eos_token_id is null");
}

/* A token of all sequences together reads all weights once, and of each the keys and values before it. */
int bench_decode(const cli_command *command, int argc, char **argv)
{
    text_bench t = {.tokens = 128, .keys = 64, .batch = 1};
    json_t *result = NULL;
    int64_t bytes = 0;
    clock c;
    int code = parse_text(&t, command, argc, argv, 1);
    if (code < 0 && t.tokens < 2) {
        code = cli_usage(command, "--tokens is 2 at least: the first one comes out of the prompt");
    }
    if (code < 0) code = bench_measure_limits_first(&t.b);
    if (code < 0) code = write_texts(&t.b, &t.model, t.batch, t.keys, 2, &c);
    if (code < 0) code = write_texts(&t.b, &t.model, t.batch, t.keys, t.tokens, &c);
    if (code < 0) code = check_turns(&c, t.batch);
    if (code < 0 && distill_teacher_get_i64(t.model.teacher, "bytes", &bytes, &t.b.session.err))
        code = cli_fail(&t.b.session.err);
    const int64_t peak = bench_peak_rss_mb();
    if (code < 0) code = bench_measure_limits(&t.b);
    if (code < 0) {
        const int32_t beside = c.side_by_side >= t.batch; /* else some ended before others began */
        const double seconds = beside ? c.side_end - c.side_begin : c.last - c.first,
                     turns = beside ? (double)(c.side_by_side / t.batch) : (double)c.tokens / (double)t.batch - 1;
        result = json_pack("{s:f, s:f, s:I}", "tokens_per_second", turns * (double)t.batch / seconds,
                           "seconds_per_turn", seconds / turns, "peak_rss_mb", (json_int_t)peak);
        json_object_set_new(result, "side_by_side", json_boolean(beside));
        json_object_set_new(
            result, "of_reading_weights",
            bench_share((double)bytes * turns / seconds, bench_limit(&t.b, "read", "bytes_per_second")));
        json_object_set(result, "limits", t.b.limits);
    }
    bench_free_model(&t.model);
    return bench_close(&t.b, code, result);
}

/* ---- tokenizing ---- */

static int time_encoding(bench *b, const char *model, const char *text, size_t size, double *median, int64_t *count)
{
    enum { TIMES = 5 };
    cli_session *s = &b->session;
    distill_tokenizer *tokenizer = NULL;
    double seconds[TIMES];
    int64_t cap = (int64_t)size + 16;
    int32_t *ids = cli_memory(NULL, (size_t)cap * sizeof *ids), rc;
    rc = distill_tokenizer_open(s->env, model, &tokenizer, &s->err);
    for (int i = 0; !rc && i < TIMES && !cli_is_interrupted(); i++) {
        double begin = bench_seconds();
        rc = distill_tokenizer_encode(tokenizer, text, size, 0, ids, cap, count, &s->err);
        seconds[i] = bench_seconds() - begin;
        cli_progress_share(&b->progress, "tokenizing", i + 1, TIMES);
    }
    distill_tokenizer_free(tokenizer);
    free(ids);
    if (rc) return cli_fail(&s->err);
    if (cli_is_interrupted()) {
        cli_message("cancelled while text was tokenized");
        return CLI_INTERRUPTED;
    }
    *median = bench_median(seconds, TIMES);
    return -1;
}

int bench_tokenize(const cli_command *command, int argc, char **argv)
{
    bench b = {.as_json = 0};
    const char *model = NULL, *path = NULL;
    json_t *result = NULL;
    double seconds = 0;
    int64_t count = 0;
    size_t size = 0;
    const cli_option options[] = {{"--data", CLI_TEXT, &path, NULL}, {"--json", CLI_FLAG, &b.as_json, NULL}};
    int code = cli_parse(command, options, 2, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model || !path) return cli_usage(command, "%s is missing", model ? "--data" : "MODEL");
    FILE *file = fopen(path, "rb");
    if (!file) return cli_message("%s: could not be opened", path);
    char *text = cli_read(file, path, (size_t)1 << 30, &size);
    fclose(file);
    if (!text) return CLI_FAILED;
    code = bench_open(&b, command, NULL);
    if (code < 0) code = time_encoding(&b, model, text, size, &seconds, &count);
    if (code < 0)
        result = json_pack("{s:f, s:f, s:I, s:I}", "megabytes_per_second", 1e-6 * (double)size / seconds,
                           "tokens_per_second", (double)count / seconds, "bytes", (json_int_t)size, "tokens",
                           (json_int_t)count);
    free(text);
    return bench_close(&b, code, result);
}

/* ---- loading ---- */

int bench_load(const cli_command *command, int argc, char **argv)
{
    enum { TIMES = 5 };
    bench b = {.as_json = 0};
    const char *model = NULL;
    json_t *result = NULL;
    double seconds[TIMES];
    int64_t bytes = 0;
    const cli_option options[] = {{"--json", CLI_FLAG, &b.as_json, NULL}};
    int code = cli_parse(command, options, 1, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "MODEL is missing");
    code = bench_open(&b, command, NULL);
    for (int i = 0; code < 0 && i < TIMES; i++) {
        distill_teacher *teacher = NULL;
        double begin = bench_seconds();
        int32_t rc = distill_teacher_open(b.session.env, model, b.session.options, &teacher, &b.session.err);
        seconds[i] = bench_seconds() - begin;
        if (!rc) rc = distill_teacher_get_i64(teacher, "bytes", &bytes, &b.session.err);
        distill_teacher_free(teacher);
        if (rc) code = cli_fail(&b.session.err);
        cli_progress_share(&b.progress, "loading", i + 1, TIMES);
    }
    if (code < 0) {
        double first = seconds[0];
        const json_int_t peak = bench_peak_rss_mb();
        const double median = bench_median(seconds, TIMES);
        result = json_pack("{s:f, s:f, s:I, s:I}", "first_seconds", first, "seconds", median, "bytes",
                           (json_int_t)bytes, "peak_rss_mb", peak);
        code = bench_measure_limits(&b);
        json_object_set_new(result, "of_reading_weights",
                            bench_share((double)bytes / median, bench_limit(&b, "read", "bytes_per_second")));
        json_object_set(result, "limits", b.limits);
    }
    return bench_close(&b, code, result);
}
