/* cmd_score.c - distill score. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { CHUNK_BYTES = 128 << 20 };

typedef struct scoring {
    cli_session *session;
    const distill_teacher *model;
    int64_t vocab, chunk; /* rows of logits at once */
    float *logits;        /* [chunk, vocab] */
    FILE *out;            /* .npy, or NULL */
    const char *out_path;
} scoring;

/* -log softmax(row)[id] over the valid ids. */
static double row_nll(const float *row, int64_t valid, int32_t id)
{
    double peak = -HUGE_VAL, sum = 0;
    for (int64_t v = 0; v < valid; v++)
        if (row[v] > peak) peak = row[v];
    for (int64_t v = 0; v < valid; v++) sum += exp((double)row[v] - peak);
    return log(sum) + peak - (double)row[id];
}

/* Logits of rows [first, first + count) of sequence number index, their values and their place in the file. */
static int score_rows(const scoring *s, const cli_ids *sequence, int64_t index, int64_t first, int64_t count,
                      json_t *values)
{
    int64_t offsets[2] = {0, sequence->count}, shape[2] = {count, s->vocab};
    int64_t *rows = cli_memory(NULL, (size_t)count * sizeof *rows);
    distill_tensor tensor = {.data = s->logits,
                             .device_type = DISTILL_CPU,
                             .ndim = 2,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = shape};
    distill_batch batch;
    distill_target target;
    DISTILL_INIT(&batch);
    DISTILL_INIT(&target);
    for (int64_t i = 0; i < count; i++) rows[i] = first + i;
    batch.ids = sequence->ids;
    batch.offsets = offsets;
    batch.rows = rows;
    batch.sequences = 1;
    batch.row_count = count;
    target.kind = DISTILL_DENSE;
    target.values = &tensor;
    int32_t rc = distill_teacher_score(s->model, &batch, &target, &s->session->err);
    free(rows);
    if (rc == DISTILL_E_NUMERIC) return cli_message("sequence %lld, %s", (long long)index, s->session->err.message);
    if (rc) return cli_fail(&s->session->err);
    int64_t valid = target.vocab_valid > 0 ? target.vocab_valid : s->vocab;
    for (int64_t i = 0; i < count && first + i + 1 < sequence->count; i++) {
        int32_t next = sequence->ids[first + i + 1];
        if (next >= valid)
            return cli_message("sequence %lld, token %lld: id %d is outside the vocabulary of %lld", (long long)index,
                               (long long)(first + i + 1), next, (long long)valid);
        const double nll = row_nll(s->logits + i * s->vocab, valid, next);
        if (!isfinite(nll))
            return cli_message("sequence %lld, token %lld: the log-probability of id %d is %s", (long long)index,
                               (long long)(first + i + 1), next, isnan(nll) ? "nan" : "-inf");
        json_array_append_new(values, cli_json_real(nll));
    }
    if (s->out && fwrite(s->logits, sizeof(float), (size_t)(count * s->vocab), s->out) != (size_t)(count * s->vocab))
        return cli_message("%s: %s", s->out_path, strerror(errno));
    return -1;
}

static int score_sequences(const scoring *s, const cli_ids *sequences, int64_t count, cli_progress *progress,
                           json_t *nll)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t rows = s->out ? sequences[i].count : sequences[i].count - 1;
        json_t *values = json_array();
        json_array_append_new(nll, values);
        for (int64_t first = 0; first < rows; first += s->chunk) {
            int code =
                score_rows(s, &sequences[i], i, first, rows - first < s->chunk ? rows - first : s->chunk, values);
            if (code >= 0) return code;
        }
        cli_progress_share(progress, "scoring", i + 1, count);
    }
    return -1;
}

static int score_all(const scoring *s, const cli_ids *sequences, int64_t count, json_t *nll)
{
    cli_progress progress;
    cli_progress_start(&progress, 0);
    int code = score_sequences(s, sequences, count, &progress, nll);
    cli_progress_end(&progress);
    return code;
}

/* The header of NumPy's format 1.0: magic, version, length, a Python dictionary padded to 64 bytes. */
static int npy_begin(scoring *s, const cli_ids *sequences, int64_t count)
{
    char header[128];
    for (int64_t i = 1; i < count; i++)
        if (sequences[i].count != sequences[0].count)
            return cli_message(
                "--logits needs sequences of equal length: sequence %lld has %lld tokens, the first %lld", (long long)i,
                (long long)sequences[i].count, (long long)sequences[0].count);
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    int used = snprintf(header + 10, sizeof header - 10,
                        "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld, %lld), }", (long long)count,
                        (long long)(count ? sequences[0].count : 0), (long long)s->vocab);
    header[10 + used] = ' ';
    header[sizeof header - 1] = '\n';
    s->out = fopen(s->out_path, "wb");
    if (!s->out || fwrite(header, 1, sizeof header, s->out) != sizeof header)
        return cli_message("%s: %s", s->out_path, strerror(errno));
    return -1;
}

static int npy_end(scoring *s, int code)
{
    int failed = s->out && fclose(s->out);
    if (failed && code < 0) code = cli_message("%s: %s", s->out_path, strerror(errno));
    if (code >= 0 && s->out) remove(s->out_path);
    return code;
}

static void print_means(const json_t *nll)
{
    size_t i, j;
    json_t *values, *value;
    json_array_foreach(nll, i, values)
    {
        double sum = 0;
        json_array_foreach(values, j, value) sum += json_number_value(value);
        double mean = j ? sum / (double)j : 0;
        printf("sequence %zu: %zu targets, %.6f nats each, perplexity %.4f\n", i, j, mean, exp(mean));
    }
}

int cli_score(const cli_command *command, int argc, char **argv)
{
    int as_json = 0;
    const char *model = NULL, *tokens = NULL, *logits = NULL;
    static const char *const own[] = {"teacher.path", "MODEL", NULL};
    cli_settings settings = {.reads = " teacher compute ", .own = own};
    const cli_option options[] = {{"--tokens", CLI_TEXT, &tokens, NULL},
                                  {"--logits", CLI_TEXT, &logits, NULL},
                                  {"--set", CLI_SETTINGS, &settings, NULL},
                                  {"--json", CLI_FLAG, &as_json, NULL}};
    cli_session session;
    distill_teacher *teacher = NULL;
    cli_ids *sequences = NULL;
    int64_t count = 0;
    json_t *input = NULL, *nll = NULL;
    int code = cli_parse(command, options, 4, argc, argv, &model, 1);
    if (code >= 0) return code;
    if (!model) return cli_usage(command, "a model is missing");
    if (!tokens) return cli_usage(command, "--tokens is missing");
    scoring s = {.session = &session, .out_path = logits};
    code = cli_open(&session, command, NULL, &settings);
    if (code >= 0) goto out;
    code = CLI_FAILED;
    if (!(input = cli_read_json(tokens)) || !(sequences = cli_get_sequences(input, tokens, &count))) goto out;
    if (distill_teacher_open(session.env, model, session.options, &teacher, &session.err) ||
        distill_teacher_get_i64(teacher, "vocab_size", &s.vocab, &session.err)) {
        code = cli_fail(&session.err);
        goto out;
    }
    s.model = teacher;
    s.chunk = CHUNK_BYTES / (s.vocab * (int64_t)sizeof(float)) + 1;
    for (int64_t i = 0, longest = 0; i < count; i++) {
        longest = sequences[i].count > longest ? sequences[i].count : longest;
        if (i + 1 == count && longest < s.chunk) s.chunk = longest + 1;
    }
    s.logits = cli_memory(NULL, (size_t)(s.chunk * s.vocab) * sizeof *s.logits);
    nll = json_array();
    code = logits ? npy_begin(&s, sequences, count) : -1;
    if (code < 0) code = score_all(&s, sequences, count, nll);
    code = npy_end(&s, code);
    if (code < 0 && as_json) code = cli_print_json(json_pack("{s:O}", "nll", nll));
    if (code < 0) print_means(nll), code = CLI_DONE;
out:
    json_decref(nll);
    json_decref(input);
    free(s.logits);
    cli_free_sequences(sequences, count);
    distill_teacher_free(teacher);
    cli_close(&session);
    return code;
}
