/* metrics.c - metrics.jsonl in the output folder: one JSON object per logged step and per evaluation. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "run/run_state.h"

static void append(di_run *run, dk_strbuf *line)
{
    const di_output *output = &run->output;
    char *path = dk_path_join(output->host, output->path, "metrics.jsonl");
    dk_error problem;
    int32_t rc = path ? dk_strbuf_check(line, &problem) : dk_fail_nomem(&problem, strlen(output->path));
    if (rc == DK_OK) rc = dk_file_append(output->host, path, line->data, line->size, &problem);
    if (rc != DK_OK) di_run_warn(run, "a line of metrics is missing: %s", problem.message);
    dk_free(output->host, path);
}

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

/* An update of learned weights before the step that was made last. */
static void learned_line(di_run *run)
{
    const di_output *output = &run->output;
    const di_trainer *t = run->trainer;
    dk_strbuf line;
    if (!output->path || !output->metrics || !t->learned.count || t->learned.updated != t->counters.step - 1) return;
    dk_strbuf_init(&line, output->host);
    dk_strbuf_printf(&line, "{\"step\":%lld,\"learned\":", (long long)t->counters.step);
    di_learned_json(t, &line);
    dk_strbuf_puts(&line, "}\n");
    append(run, &line);
    dk_strbuf_free(&line);
}

void di_metrics_step(di_run *run)
{
    const di_output *output = &run->output;
    const di_trainer *t = run->trainer;
    dk_strbuf line;
    distill_progress p;
    learned_line(run);
    if (!output->path || !output->metrics || !output->log_every || dk_rank(output->host)) return;
    if (t->counters.step % output->log_every != 0 && t->counters.step != 1 && t->counters.step != t->steps) return;
    DISTILL_INIT(&p);
    di_progress_fill(t, DISTILL_PHASE_TRAINING, &p);
    dk_strbuf_init(&line, output->host);
    dk_strbuf_printf(&line, "{\"step\":%lld,\"tokens\":%lld,\"floored\":%lld", (long long)t->counters.step,
                     (long long)t->counters.tokens, (long long)t->objective.sums.floored);
    number(&line, "loss", p.loss);
    number(&line, "learning_rate", p.learning_rate);
    number(&line, "grad_norm", p.grad_norm);
    if (t->update.projections) number(&line, "projection_norm", t->update.projection_norm);
    number(&line, "tokens_per_second", p.tokens_per_second);
    number(&line, "seconds", t->counters.seconds);
    if (t->objective.common.rows)
        number(&line, "common_mass", t->objective.common.mass / (double)t->objective.common.rows);
    dk_strbuf_puts(&line, ",\"terms\":");
    di_loss_terms_json(t->objective.loss, &t->objective.sums, &line);
    if (t->balance.on) {
        dk_strbuf_puts(&line, ",\"balance\":");
        di_balance_json(t, &line);
    }
    if (t->on_policy.lambda > 0) {
        dk_strbuf_puts(&line, ",\"on_policy\":");
        di_on_policy_json(t, &t->on_policy.window, &line);
    }
    if (t->preference.on) {
        dk_strbuf_puts(&line, ",\"pairs\":");
        di_preference_json(t, &line);
    }
    if (t->members.count) {
        dk_strbuf_puts(&line, ",\"members\":");
        di_tally_json(t->teacher, t->members.window, &line);
    }
    dk_strbuf_puts(&line, "}\n");
    append(run, &line);
    dk_strbuf_free(&line);
}

void di_metrics_evaluation(di_run *run, const di_evaluation *evaluation, const dk_strbuf *teachers)
{
    const di_output *output = &run->output;
    dk_strbuf line;
    if (!output->path || !output->metrics || dk_rank(output->host)) return;
    dk_strbuf_init(&line, output->host);
    dk_strbuf_printf(&line, "{\"step\":%lld,\"eval\":", (long long)run->trainer->counters.step);
    di_evaluation_json(evaluation, teachers, &line);
    dk_strbuf_puts(&line, "}\n");
    append(run, &line);
    dk_strbuf_free(&line);
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

static int32_t is_evaluation(const char *line, size_t size)
{
    const char *comma = memchr(line, ',', size);
    return comma && (size_t)(comma - line) + 7 < size && memcmp(comma, ",\"eval\":", 8) == 0;
}

int32_t di_metrics_rewind(const di_output *output, int64_t step, int64_t evaluated, dk_error *err)
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
        int64_t last = is_evaluation(data + at, length) ? evaluated : step;
        if (line_step(data + at, length, &at_step) && at_step <= last) dk_strbuf_append(&kept, data + at, length);
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
