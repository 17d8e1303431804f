/* result.c - result.json: what was trained, how, at what cost, and how good the saved files are. */
#include <math.h>
#include <string.h>

#include "meter/machine.h"
#include "run/run_state.h"

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static int32_t training_section(const di_run *run, dk_strbuf *out, dk_error *err)
{
    const di_trainer *t = run->trainer;
    int64_t samples = 0;
    int32_t rc = di_dataset_get_i64(t->data.train, "samples", &samples, err);
    dk_strbuf_printf(out, ",\"training\":{\"steps\":%lld,\"tokens\":%lld,\"samples\":%lld,\"loss\":",
                     (long long)t->counters.step, (long long)t->counters.tokens, (long long)samples);
    dk_strbuf text;
    dk_strbuf_init(&text, t->host);
    di_loss_describe(t->objective.loss, &text);
    dk_strbuf_json(out, text.data ? text.data : "", text.size);
    dk_strbuf_free(&text);
    number(out, "last_loss", t->counters.last_loss);
    if (t->team.gradients) /* sent: by rank 0, of gradients and weights, since the run began or went on */
        dk_strbuf_printf(out, ",\"ranks\":%lld,\"sent_bytes\":%lld", (long long)dk_ranks(t->host),
                         (long long)dk_exchange_bytes(t->team.gradients));
    dk_strbuf_puts(out, ",\"terms\":");
    di_loss_terms_json(t->objective.loss, &t->objective.sums, out);
    if (t->preference.on) {
        dk_strbuf_puts(out, ",\"pairs\":");
        di_preference_json(t, out);
    }
    if (t->balance.on) {
        dk_strbuf_puts(out, ",\"balance\":");
        di_balance_json(t, out);
    }
    if (t->on_policy.lambda > 0) {
        dk_strbuf_puts(out, ",\"on_policy\":");
        di_on_policy_json(t, &t->on_policy.total, out);
    }
    if (t->objective.features) {
        dk_strbuf_puts(out, ",\"features\":");
        di_features_json(t->objective.features, out);
    }
    if (t->members.count) {
        dk_strbuf_puts(out, ",\"members\":");
        di_tally_json(t->teacher, t->members.total, out);
    }
    if (t->learned.count) {
        dk_strbuf_puts(out, ",\"learned\":");
        di_learned_json(t, out);
    }
    number(out, "floored", (double)t->objective.floored);
    if (t->objective.commons.rows)
        number(out, "common_mass", t->objective.commons.mass / (double)t->objective.commons.rows);
    number(out, "seconds", t->counters.seconds);
    number(out, "tokens_per_second", t->counters.seconds > 0 ? (double)t->counters.tokens / t->counters.seconds : 0);
    number(out, "flops", t->counters.flops);
    if (run->evaluation.best.step >= 0) {
        number(out, "best_step", (double)run->evaluation.best.step);
        number(out, "best_value", run->evaluation.best.value);
        dk_strbuf_printf(out, ",\"best_by\":\"%s\"", di_measure_name(run->evaluation.best.by));
    }
    dk_strbuf_puts(out, "}");
    return rc;
}

/* Of what is read and how it is cut into sequences. */
static int32_t hash_of(const di_dataset *data, dk_strbuf *out, dk_error *err)
{
    char hex[65];
    const int32_t rc = di_dataset_hash(data, hex, err);
    if (rc == DK_OK) dk_strbuf_printf(out, "\"hash\":\"%s\",", hex);
    return rc;
}

/* What became of the samples: the training data's members, and the held-out data's below "eval". */
static int32_t data_section(const di_run *run, dk_strbuf *out, dk_error *err)
{
    const di_trainer *t = run->trainer;
    di_walk seen = {0};
    int32_t rc;
    DK_TRY(di_dataset_walk(t->data.train, t->data.seed, di_window_place(&t->data, t->counters.step), &seen, err));
    dk_strbuf_puts(out, ",\"data\":{");
    DK_TRY(hash_of(t->data.train, out, err));
    di_dataset_describe(t->data.train, &seen, out);
    if (t->data.eval) {
        dk_strbuf_puts(out, ",\"eval\":{");
        DK_TRY(hash_of(t->data.eval, out, err));
        di_dataset_describe(t->data.eval, NULL, out);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "}");
out:
    di_walk_free(t->data.train, &seen);
    return rc;
}

/* Of this process: what a run took before it was interrupted is not in it. And on what machine. */
static void cost_section(di_run *run, dk_strbuf *out)
{
    const di_cost cost = di_meter_read(&run->meter);
    dk_strbuf_puts(out, ",\"cost\":");
    di_cost_json(&run->meter, &cost, out);
    dk_strbuf_puts(out, ",\"machine\":");
    di_machine_json(run->trainer->backend, out);
}

static di_run_end end_of(const di_run *run)
{
    const di_trainer *t = run->trainer;
    return run->end == DI_END_NOT_YET && t->counters.step >= t->steps ? DI_END_STEPS : run->end;
}

static void reason(const di_run *run, dk_strbuf *out)
{
    long long step = (long long)run->trainer->counters.step, steps = (long long)run->trainer->steps;
    switch (end_of(run)) {
    case DI_END_STEPS:
        dk_strbuf_printf(out, "all %lld steps were made", steps);
        break;
    case DI_END_NO_BETTER:
        dk_strbuf_printf(out, "stopped early after step %lld of %lld: %lld evaluations without improvement", step,
                         steps, (long long)run->evaluation.best.without);
        break;
    case DI_END_OF_DATA:
        dk_strbuf_printf(out, "the data ended after %lld of %lld steps", step, steps);
        break;
    case DI_END_NOT_YET:
        dk_strbuf_printf(out, "%lld of %lld steps were made", step, steps);
        break;
    }
}

static int32_t eval_section(di_run *run, di_teacher *saved, dk_strbuf *out, dk_error *err)
{
    const di_evaluation *e = &run->evaluation.result;
    const dk_strbuf *teachers = &run->evaluation.teachers_json;
    int32_t rc = DK_OK;
    dk_strbuf_printf(out, ",\"eval\":{\"tokens\":%lld", (long long)e->tokens);
    di_pair_tally_json(&e->pairs, out);
    di_evaluation_precision_json(e, out);
    number(out, "seconds", e->seconds);
    di_evaluation_sources_json(e, out);
    if (teachers->size) dk_strbuf_append(out, teachers->data, teachers->size);
    if (run->evaluation.detailed >= 0) DK_TRY(di_detail_json(run->evaluation.detail, out, err));
    DK_TRY(di_result_draft(run, saved, out, err));
    dk_strbuf_puts(out, "}");
out:
    return rc;
}

static int32_t make(di_run *run, di_teacher *saved, di_teacher *gguf, dk_error *err)
{
    di_trainer *t = run->trainer;
    dk_strbuf *out = &run->result_json;
    const char *name = di_options_text(t->options, "name");
    int32_t rc;
    dk_strbuf_clear(out);
    dk_strbuf_printf(out, "{\"version\":\"%s\",\"finished\":%s,\"reason\":\"", DISTILL_VERSION,
                     end_of(run) == DI_END_STEPS || end_of(run) == DI_END_NO_BETTER ? "true" : "false");
    reason(run, out);
    dk_strbuf_puts(out, "\"");
    if (name) {
        dk_strbuf_puts(out, ",\"name\":");
        dk_strbuf_json(out, name, strlen(name));
    }
    DK_TRY(training_section(run, out, err));
    if (t->shape.report.size) {
        dk_strbuf_puts(out, ",\"shape\":");
        dk_strbuf_append(out, t->shape.report.data, t->shape.report.size);
    }
    DK_TRY(data_section(run, out, err));
    cost_section(run, out);
    if (saved) DK_TRY(di_result_model(run, saved, DI_RESULT_STUDENT, out, err));
    if (gguf) DK_TRY(di_result_model(run, gguf, DI_RESULT_GGUF, out, err));
    if (t->teacher) DK_TRY(di_result_model(run, t->teacher, DI_RESULT_TEACHER, out, err));
    if (run->evaluation.has_result) DK_TRY(eval_section(run, saved, out, err));
    if (run->evaluation.samples_json.size)
        dk_strbuf_append(out, run->evaluation.samples_json.data, run->evaluation.samples_json.size);
    dk_strbuf_printf(out, ",\"changes\":[%s],\"warnings\":[%s]", run->changes.size ? run->changes.data : "",
                     run->warnings.size ? run->warnings.data : "");
    dk_strbuf_puts(out, ",\"options\":");
    DK_TRY(di_options_write_json(t->options, 0, out, err));
    dk_strbuf_puts(out, "}\n");
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}

/* Rank 0 measures and writes; all have what it wrote. */
int32_t di_result_make(di_run *run, di_teacher *saved, di_teacher *gguf, dk_error *err)
{
    int32_t rc = dk_rank(run->host) ? DK_OK : make(run, saved, gguf, err);
    DK_TRY(dk_ranks_agree(run->host, rc, err));
    DK_TRY(dk_ranks_text(run->host, &run->result_json, err));
out:
    return rc;
}

/* ---- of a run under way ---- */

int32_t di_result_live(di_run *run, dk_strbuf *out, dk_error *err)
{
    di_trainer *t = run->trainer;
    const char *name = di_options_text(t->options, "name");
    int32_t rc;
    dk_strbuf_printf(out,
                     "{\"version\":\"%s\",\"finished\":false,\"live\":{\"step\":%lld,\"steps\":%lld},\"reason\":\"",
                     DISTILL_VERSION, (long long)t->counters.step, (long long)t->steps);
    reason(run, out);
    dk_strbuf_puts(out, "\"");
    if (name) {
        dk_strbuf_puts(out, ",\"name\":");
        dk_strbuf_json(out, name, strlen(name));
    }
    DK_TRY(training_section(run, out, err));
    cost_section(run, out);
    di_result_live_model(run, 0, out);
    if (t->teacher) di_result_live_model(run, 1, out);
    dk_strbuf_printf(out, ",\"warnings\":[%s],\"options\":", run->warnings.size ? run->warnings.data : "");
    DK_TRY(di_options_write_json(t->options, 0, out, err));
    dk_strbuf_puts(out, "}");
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}

/* What stands now: of a finished run its result, else the training so far and the student measured as it is. */
int32_t di_run_report(di_run *run, dk_strbuf *json, dk_error *err)
{
    di_trainer *t = run->trainer;
    di_teacher *live = NULL;
    int32_t rc = DK_OK;
    if (run->finished) {
        dk_strbuf_append(json, run->result_json.data, run->result_json.size);
        return dk_strbuf_check(json, err);
    }
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: a report goes between windows, after apply");
    if (t->data.eval) {
        rc = di_student_as_teacher(t->student, &live, err);
        if (rc != DK_OK && rc != DK_E_UNSUPPORTED) goto out;
        if (live) DK_TRY(di_run_evaluate_detailed(run, live, &run->evaluation.result, err));
        if (live && !run->evaluation.teachers_never)
            DK_TRY(di_run_evaluate_teachers(run, live, 0, &run->evaluation.teachers_json, err));
        run->evaluation.has_result = live != NULL;
        dk_error_clear(err);
    }
    DK_TRY(di_result_make(run, live, NULL, err));
    dk_strbuf_append(json, run->result_json.data, run->result_json.size);
    DK_TRY(dk_strbuf_check(json, err));
out:
    di_teacher_release(live);
    return rc;
}
