/* run_evaluate.c - the student on the held-out data, while it trains and at the end. */
#include <math.h>

#include "evaluate/teachers.h"
#include "run/run_state.h"

static int32_t evaluation_progress(void *user, int64_t done, int64_t total)
{
    return di_progress_part(user, DISTILL_PHASE_EVALUATING, done, total, NULL) != DK_OK;
}

static di_evaluate_args args_of(di_run *run, di_teacher *student, int64_t tokens)
{
    di_trainer *t = run->trainer;
    return (di_evaluate_args){.backend = t->backend,
                              .student = student,
                              .teacher = t->teacher,
                              .step = t->counters.step,
                              .learned = t->learned.weights,
                              .data = t->data.eval,
                              .pair_reference = t->preference.scores[DI_SCORES_EVAL],
                              .pair_beta = di_loss_pair_beta(t->objective.loss, t->counters.step),
                              .tokens = tokens,
                              .memory = t->objective.memory,
                              .precision = run->evaluation.precision,
                              .teacher_side = run->evaluation.teacher_side,
                              .meter = &run->meter,
                              .cancel = &t->cancel,
                              .progress = evaluation_progress,
                              .user = t};
}

int32_t di_run_evaluate(di_run *run, di_teacher *student, int64_t tokens, di_evaluation *out, dk_error *err)
{
    const di_evaluate_args args = args_of(run, student, tokens);
    return di_evaluate(&args, out, err);
}

static void swap_details(di_run_evaluation *evaluation)
{
    di_detail *detail = evaluation->detail;
    const int64_t step = evaluation->detailed;
    evaluation->detail = evaluation->best_detail;
    evaluation->detailed = evaluation->best_detailed;
    evaluation->best_detail = detail;
    evaluation->best_detailed = step;
}

int32_t di_run_has_detail(di_run *run, int64_t step)
{
    di_run_evaluation *evaluation = &run->evaluation;
    if (evaluation->detailed != step && evaluation->best_detailed == step) swap_details(evaluation);
    return evaluation->detailed == step;
}

int32_t di_run_evaluate_detailed(di_run *run, di_teacher *student, di_evaluation *out, dk_error *err)
{
    di_evaluate_args args = args_of(run, student, 0);
    int32_t rc;
    if (run->evaluation.keep_best && run->evaluation.detailed == run->evaluation.best.step)
        swap_details(&run->evaluation);
    run->evaluation.detailed = -1;
    if (!run->evaluation.detail) {
        dk_tokenizer *tokenizer = di_teacher_tokenizer(student);
        if (!tokenizer && args.teacher) tokenizer = di_teacher_tokenizer(args.teacher);
        const int64_t vocab = di_teacher_facts(student).vocab_size;
        rc = di_detail_create(run->host, args.data, vocab > 0 ? vocab : 1, tokenizer, &run->evaluation.detail, err);
        DK_TRY(dk_ranks_agree(run->host, rc, err));
    }
    args.detail = run->evaluation.detail;
    DK_TRY(di_evaluate(&args, out, err));
    run->evaluation.detailed = run->trainer->counters.step;
out:
    return rc;
}

/* Several teachers against each other: rank 0 alone. */
static int32_t compare_teachers(di_run *run, di_teacher *student, int64_t tokens, dk_strbuf *json, dk_error *err)
{
    const di_evaluate_args args = args_of(run, student, tokens);
    di_teachers_evaluation teachers;
    dk_strbuf_clear(json);
    const int32_t rc = di_evaluate_teachers(&args, &teachers, err);
    if (rc != DK_OK) return rc;
    di_teachers_json(&teachers, json);
    di_teachers_evaluation_free(&teachers);
    return dk_strbuf_check(json, err);
}

int32_t di_run_evaluate_teachers(di_run *run, di_teacher *student, int64_t tokens, dk_strbuf *json, dk_error *err)
{
    int32_t rc = dk_rank(run->host) ? DK_OK : compare_teachers(run, student, tokens, json, err);
    DK_TRY(dk_ranks_agree(run->host, rc, err));
    DK_TRY(dk_ranks_text(run->host, json, err));
out:
    return rc;
}

int32_t di_run_evaluation_due(const di_run *run)
{
    const di_trainer *t = run->trainer;
    int64_t step = t->counters.step, every = run->evaluation.every;
    return t->data.eval && every && step > 0 && step % every == 0 && run->evaluation.evaluated < step;
}

/* With a teacher that is being imitated its distance is what counts; with labels alone their likelihood, and so where
 * the teacher is another one at each evaluation: distances from different teachers cannot be compared. Draws whose
 * entropy is not known give no distance; what they give differs from it by what is the same at every evaluation. A loss
 * of pairs takes the student away from both: its rewards count. */
static di_measure_kind measure_of(const di_trainer *t, const di_evaluation *evaluation)
{
    if (evaluation->pairs.has_reference) return DI_BY_REWARD_LOSS;
    if (!t->objective.uses_teacher || di_teacher_changes(t->teacher)) return DI_BY_NATS;
    return evaluation->without_entropy ? DI_BY_SOFT_CROSS_ENTROPY : DI_BY_FORWARD_KL;
}

/* Another loss, or a teacher that changes where it did not: the numbers are of different things. */
static void forget_other_measure(di_run *run, di_measure_kind by)
{
    di_best *best = &run->evaluation.best;
    if (best->step < 0 || best->by == by) return;
    di_run_warn(run, "evaluations are compared anew from here: what was best at step %lld was so by its %s",
                (long long)best->step, di_measure_name(best->by));
    *best = (di_best){.step = -1};
}

int32_t di_run_take_evaluation(di_run *run, const di_evaluation *evaluation, const dk_strbuf *teachers, dk_error *err)
{
    di_trainer *t = run->trainer;
    di_best *best = &run->evaluation.best;
    const di_measure_kind by = measure_of(t, evaluation);
    double value = by == DI_BY_NATS          ? evaluation->nats
                   : by == DI_BY_REWARD_LOSS ? evaluation->pairs.reward_loss / (double)evaluation->pairs.count
                                             : evaluation->kl_mean;
    di_best before = *best;
    int64_t evaluated = run->evaluation.evaluated;
    int32_t rc = DK_OK;
    run->evaluation.evaluated = t->counters.step;
    forget_other_measure(run, by);
    if (best->step < 0 || value < best->value) *best = (di_best){t->counters.step, value, 0, by};
    else best->without++;
    if (run->evaluation.keep_best && best->step == t->counters.step) rc = di_checkpoint_best(run, err);
    if (rc != DK_OK) { /* the weights are not kept: this evaluation is still to be made */
        *best = before;
        run->evaluation.evaluated = evaluated;
        return rc;
    }
    if (best->step == t->counters.step) {
        run->evaluation.best_result = *evaluation;
        run->evaluation.best_step = best->step;
    }
    di_on_policy_evaluated(t, value, (int32_t)by);
    di_metrics_evaluation(run, evaluation, teachers);
    if (evaluation->has_teacher)
        dk_log(t->host, DK_LOG_INFO, "trainer", "step %lld: perplexity %.4g, %s %.4g", (long long)t->counters.step,
               exp(evaluation->nats), evaluation->without_entropy ? "soft_cross_entropy" : "forward_kl",
               evaluation->kl_mean);
    else
        dk_log(t->host, DK_LOG_INFO, "trainer", "step %lld: perplexity %.4g", (long long)t->counters.step,
               exp(evaluation->nats));
    return DK_OK;
}

int32_t di_run_evaluate_now(di_run *run, dk_error *err)
{
    di_teacher *live = NULL;
    di_evaluation *evaluation = &run->evaluation.result;
    int32_t rc;
    run->evaluation.has_result = 0;
    DK_TRY(dk_ranks_agree(run->host, di_student_as_teacher(run->trainer->student, &live, err), err));
    DK_TRY(run->evaluation.tokens ? di_run_evaluate(run, live, run->evaluation.tokens, evaluation, err)
                                  : di_run_evaluate_detailed(run, live, evaluation, err));
    run->trainer->progress.eval_seconds = evaluation->seconds;
    dk_strbuf_clear(&run->evaluation.teachers_json);
    if (run->evaluation.teachers_always)
        DK_TRY(di_run_evaluate_teachers(run, live, run->evaluation.tokens, &run->evaluation.teachers_json, err));
    DK_TRY(di_run_take_evaluation(run, evaluation, &run->evaluation.teachers_json, err));
    run->evaluation.has_result = 1;
out:
    di_teacher_release(live);
    return rc;
}
