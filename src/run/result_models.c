/* result_models.c - what result.json says of each model: the saved student, its GGUF file, the teacher. */
#include <math.h>
#include <string.h>

#include "evaluate/answer_time.h"
#include "evaluate/draft_trial.h"
#include "run/run_state.h"

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static void quality(const di_evaluation *e, int32_t of_teacher, dk_strbuf *out)
{
    if (of_teacher && e->teacher_kind != DISTILL_DENSE) return; /* it does not say what it thinks of the text */
    double nats = of_teacher ? e->teacher_nats : e->nats;
    number(out, "perplexity", exp(nats));
    number(out, "nats", nats);
    if (e->text_bytes > 0) number(out, "bits_per_byte", nats * (double)e->tokens / log(2.0) / (double)e->text_bytes);
    double accuracy;
    const double apart =
        di_expected_calibration_error(of_teacher ? &e->teacher_calibration : &e->calibration, &accuracy);
    if (apart >= 0) number(out, "calibration_error", apart);
    if (apart >= 0) number(out, "accuracy", accuracy);
    if (!e->has_teacher) return;
    if (e->teacher_kind == DISTILL_SAMPLED) {
        number(out, e->without_entropy ? "soft_cross_entropy" : "forward_kl", e->kl_mean);
        dk_strbuf_printf(out, ",\"teacher_target\":\"%s\"", di_kind_name(e->teacher_kind));
        number(out, e->without_entropy ? "soft_cross_entropy_temperature" : "forward_kl_temperature", e->temperature);
        return;
    }
    number(out, "forward_kl", of_teacher ? 0 : e->kl_mean);
    number(out, "forward_kl_median", of_teacher ? 0 : e->kl_median);
    number(out, "forward_kl_p99", of_teacher ? 0 : e->kl_p99);
    number(out, "top1_agreement", of_teacher ? 1 : e->top1_agreement);
    number(out, "expected_acceptance", of_teacher ? 1 : e->acceptance);
    if (e->teacher_kind == DISTILL_DENSE) return;
    dk_strbuf_printf(out, ",\"teacher_target\":\"%s\"", di_kind_name(e->teacher_kind));
    number(out, "forward_kl_temperature", e->temperature);
}

static int32_t begin_section(di_run *run, const di_teacher *scorer, di_result_section of, dk_strbuf *out, dk_error *err)
{
    static const char *const names[] = {"student", "teacher", "gguf"};
    const char *path = of != DI_RESULT_STUDENT ? di_teacher_path(scorer) : run->output.path ? run->output.path : "";
    const char *manifest, *type = dk_dtype_name(run->output.files.gguf_type);
    int32_t rc = DK_OK;
    dk_strbuf_printf(out, ",\"%s\":{\"path\":", names[of]);
    dk_strbuf_json(out, path, strlen(path));
    if (of == DI_RESULT_GGUF) {
        dk_strbuf_puts(out, ",\"type\":");
        dk_strbuf_json(out, type, strlen(type));
    }
    if (of != DI_RESULT_TEACHER) return DK_OK;
    DK_TRY(di_run_manifest(run, &manifest, err));
    dk_strbuf_puts(out, ",\"manifest\":");
    dk_strbuf_puts(out, manifest);
out:
    return rc;
}

enum { SHORTEST_MS = 20 }; /* counters of energy move in steps of a millisecond */

/* Of the tokens that its speed was measured with: prompts, and what was written behind them. */
static void token_cost(di_meter *meter, dk_strbuf *out)
{
    di_cost cost = di_meter_read(meter);
    const double thousands = (double)cost.work.tokens / 1000;
    if (cost.work.tokens < 1) return;
    dk_strbuf_puts(out, ",\"cost_per_1000_tokens\":{\"cpu_seconds\":");
    dk_strbuf_f64(out, cost.cpu / thousands);
    const int32_t measured = cost.energy == DI_ENERGY_MEASURED;
    if (cost.joules > 0 && (!measured || cost.wall * 1000 > SHORTEST_MS)) {
        number(out, "joules", cost.joules / thousands);
        dk_strbuf_printf(out, ",\"energy\":\"%s\"", measured ? "measured" : "estimated");
        if (cost.eur >= 0) number(out, "eur", cost.eur / thousands);
    }
    if ((cost.usd = di_meter_price(meter, 1000)) >= 0) number(out, "usd", cost.usd);
    dk_strbuf_puts(out, "}");
}

/* What cannot be timed is no reason to lose a run: it is a warning. */
static int32_t time_model(di_run *run, di_teacher *scorer, di_answer_time *out, dk_error *err)
{
    const di_answer_effort effort = di_answer_within(run->output.timing_seconds);
    int32_t rc;
    *out = (di_answer_time){.tries = 0};
    if (!(effort.most > 0)) return DK_OK;
    rc = di_answer_time_measure(run->host, scorer, run->trainer->options, &effort, out, err);
    if (rc == DK_OK || rc == DK_E_CANCELLED || rc == DK_E_NOMEM) return rc;
    di_run_warn(run, "%s was not timed: %s", *di_teacher_path(scorer) ? di_teacher_path(scorer) : "a model",
                err->message);
    dk_error_clear(err);
    *out = (di_answer_time){.tries = 0};
    return DK_OK;
}

int32_t di_result_model(di_run *run, di_teacher *scorer, di_result_section of, dk_strbuf *out, dk_error *err)
{
    const di_facts facts = di_teacher_facts(scorer);
    const di_run_evaluation *e = &run->evaluation;
    di_meter meter = {0};
    di_answer_time time;
    int32_t rc;
    DK_TRY(di_meter_start(run->host, run->trainer->options, 0, &meter, err));
    DK_TRY(time_model(run, scorer, &time, err));
    DK_TRY(begin_section(run, scorer, of, out, err));
    if (of == DI_RESULT_GGUF ? e->has_gguf : e->has_result)
        quality(of == DI_RESULT_GGUF ? &e->gguf : &e->result, of == DI_RESULT_TEACHER, out);
    if (facts.parameters >= 0) number(out, "parameters", (double)facts.parameters);
    if (facts.bytes >= 0) number(out, "bytes", (double)facts.bytes);
    di_answer_time_json(&time, out);
    if (time.tries) token_cost(&meter, out);
    dk_strbuf_puts(out, "}");
out:
    di_meter_end(&meter);
    return rc;
}

int32_t di_result_draft(di_run *run, di_teacher *saved, dk_strbuf *out, dk_error *err)
{
    di_trainer *t = run->trainer;
    const di_draft_trial_args how = {.host = run->host,
                                     .teacher = t->teacher,
                                     .draft = saved,
                                     .data = t->data.eval,
                                     .tokens = di_options_i64(t->options, "train.eval_draft_tokens"),
                                     .options = t->options};
    di_draft_trial trial;
    int32_t rc;
    if (!how.tokens || !how.teacher || !saved) return DK_OK;
    DK_TRY(di_draft_trial_measure(&how, &trial, err));
    di_draft_trial_json(&trial, out);
out:
    return rc;
}

/* ---- of a run under way ---- */

/* How many bytes a student has on disk is known once it is saved. */
void di_result_live_model(di_run *run, int32_t of_teacher, dk_strbuf *out)
{
    const di_trainer *t = run->trainer;
    const di_facts facts = of_teacher ? di_teacher_facts(t->teacher) : di_student_facts(t->student);
    const char *path = of_teacher ? di_teacher_path(t->teacher) : run->output.path ? run->output.path : "";
    dk_strbuf_printf(out, ",\"%s\":{\"path\":", of_teacher ? "teacher" : "student");
    dk_strbuf_json(out, path, strlen(path));
    if (facts.parameters >= 0) number(out, "parameters", (double)facts.parameters);
    if (of_teacher && facts.bytes >= 0) number(out, "bytes", (double)facts.bytes);
    dk_strbuf_puts(out, "}");
}
