/* metrics.c - metrics.jsonl in the output folder: one JSON object per logged step and per evaluation. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "run/run_state.h"

static int32_t append(const di_output *output, dk_strbuf *line, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, "metrics.jsonl");
    int32_t rc = path ? dk_strbuf_check(line, err) : dk_fail_nomem(err, strlen(output->path));
    if (rc == DK_OK) rc = dk_file_append(output->host, path, line->data, line->size, err);
    dk_free(output->host, path);
    return rc;
}

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

int32_t di_metrics_step(const di_output *output, const di_trainer *t, dk_error *err)
{
    dk_strbuf line;
    distill_progress p;
    if (!output->path || !output->metrics || !output->log_every) return DK_OK;
    if (t->counters.step % output->log_every != 0 && t->counters.step != 1 && t->counters.step != t->steps)
        return DK_OK;
    DISTILL_INIT(&p);
    di_progress_fill(t, DISTILL_PHASE_TRAINING, &p);
    dk_strbuf_init(&line, output->host);
    dk_strbuf_printf(&line, "{\"step\":%lld,\"tokens\":%lld,\"floored\":%lld", (long long)t->counters.step,
                     (long long)t->counters.tokens, (long long)t->objective.sums.floored);
    number(&line, "loss", p.loss);
    number(&line, "learning_rate", p.learning_rate);
    number(&line, "grad_norm", p.grad_norm);
    number(&line, "tokens_per_second", p.tokens_per_second);
    number(&line, "seconds", t->counters.seconds);
    dk_strbuf_puts(&line, "}\n");
    int32_t rc = append(output, &line, err);
    dk_strbuf_free(&line);
    return rc;
}

int32_t di_metrics_evaluation(const di_output *output, int64_t step, const di_evaluation *evaluation, dk_error *err)
{
    dk_strbuf line;
    if (!output->path || !output->metrics) return DK_OK;
    dk_strbuf_init(&line, output->host);
    dk_strbuf_printf(&line, "{\"step\":%lld,\"eval\":", (long long)step);
    di_evaluation_json(evaluation, &line);
    dk_strbuf_puts(&line, "}\n");
    int32_t rc = append(output, &line, err);
    dk_strbuf_free(&line);
    return rc;
}

/* Every line begins with {"step":N, as written above; a torn last line has no newline and is dropped. */
static int32_t line_step(const char *line, size_t size, int64_t *step)
{
    static const char head[] = "{\"step\":";
    size_t digits = 0;
    if (size < sizeof head || memcmp(line, head, sizeof head - 1) != 0) return 0;
    line += sizeof head - 1;
    size -= sizeof head - 1;
    while (digits < size && line[digits] >= '0' && line[digits] <= '9') digits++;
    return dk_parse_i64(line, digits, step);
}

int32_t di_metrics_rewind(const di_output *output, int64_t step, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, "metrics.jsonl"), *data = NULL;
    dk_strbuf kept;
    size_t size = 0, at = 0;
    int32_t rc = DK_OK;
    dk_strbuf_init(&kept, output->host);
    if (!path) return dk_fail_nomem(err, strlen(output->path));
    if (!dk_path_exists(path)) goto out;
    DK_TRY(dk_file_read(output->host, path, (uint64_t)1 << 32, &data, &size, err));
    while (at < size) {
        const char *end = memchr(data + at, '\n', size - at);
        int64_t at_step = 0;
        if (!end) break;
        size_t length = (size_t)(end - (data + at)) + 1;
        if (line_step(data + at, length, &at_step) && at_step <= step) dk_strbuf_append(&kept, data + at, length);
        at += length;
    }
    DK_TRY(dk_strbuf_check(&kept, err));
    DK_TRY(dk_file_replace(output->host, path, kept.data ? kept.data : "", kept.size, err));
out:
    dk_strbuf_free(&kept);
    dk_free(output->host, data);
    dk_free(output->host, path);
    return rc;
}
