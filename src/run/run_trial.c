#include "run/run_trial.h"

#include <math.h>
#include <stdlib.h>

#include "base/ranks.h"
#include "evaluate/answer_time.h"
#include "evaluate/samples.h"
#include "run/run_state.h"

enum { LEAST = 3, MOST = 32, EVAL_TOKENS = 4096 };
enum { AT_EVALUATION = LEAST, AT_TEACHERS, AT_STUDENT, AT_TEACHER, PARTS }; /* what is told of how far it is */
static const double enough = 6,                                             /* seconds of steps */
    enough_of_evaluation = 1.5;                                             /* where its first tokens are quick */

typedef struct trial {
    di_run *run;
    di_run_trial *out;
    di_meter meter;
    di_cost before;
    di_trial_fn fn;
    void *user;
} trial;

static void begin(trial *t) { t->before = di_meter_read(&t->meter); }

static di_pace passed(trial *t, double count)
{
    const di_cost now = di_meter_read(&t->meter);
    if (count <= 0) return (di_pace){0, 0};
    return (di_pace){(now.wall - t->before.wall) / count, (now.cpu - t->before.cpu) / count};
}

static int32_t tell(trial *t, int64_t done, dk_error *err)
{
    const int32_t rc = t->fn ? t->fn(t->user, done, PARTS, err) : DK_OK;
    return dk_ranks_agree(t->run->host, rc, err);
}

/* ---- steps ---- */

static int by_wall(const void *a, const void *b)
{
    const double x = ((const di_pace *)a)->wall, y = ((const di_pace *)b)->wall;
    return (x > y) - (x < y);
}

/* The median: a neighbour's moment is not the run's. Where the student writes, some steps are long by their nature. */
static di_pace typical(di_pace *steps, int64_t count, int32_t mean)
{
    di_pace sum = {0, 0};
    for (int64_t i = 0; i < count; i++) {
        sum.wall += steps[i].wall / (double)count;
        sum.cpu += steps[i].cpu / (double)count;
    }
    if (mean) return sum;
    qsort(steps, (size_t)count, sizeof *steps, by_wall);
    const di_pace low = steps[(count - 1) / 2], high = steps[count / 2];
    return (di_pace){(low.wall + high.wall) / 2, sum.cpu};
}

static int32_t one_step(trial *t, dk_error *err)
{
    int32_t rc;
    DK_TRY(tell(t, t->out->tried < LEAST ? t->out->tried : LEAST, err));
    DK_TRY(di_window_step(t->run->trainer, NULL, err));
out:
    return rc;
}

/* Rank 0's clock says it for all. */
static int32_t goes_on(const trial *t, double start, int32_t *again, dk_error *err)
{
    const di_trainer *trainer = t->run->trainer;
    *again = t->out->tried < MOST && trainer->counters.step < trainer->steps &&
             (t->out->tried < LEAST || dk_seconds() - start < enough);
    return dk_ranks_broadcast(t->run->host, again, sizeof *again, 0, err);
}

/* The first one takes what is taken once. */
static int32_t try_steps(trial *t, dk_error *err)
{
    di_trainer *trainer = t->run->trainer;
    di_run_trial *out = t->out;
    di_pace steps[MOST];
    int32_t again, rc;
    begin(t);
    DK_TRY(one_step(t, err));
    const di_pace first = passed(t, 1);
    const dk_work work = dk_host_work(t->run->host);
    const double flops = trainer->counters.flops, start = dk_seconds();
    const int64_t tokens = trainer->counters.tokens, done = trainer->counters.step;
    DK_TRY(goes_on(t, start, &again, err));
    while (again) {
        begin(t);
        DK_TRY(one_step(t, err));
        steps[out->tried++] = passed(t, 1);
        DK_TRY(goes_on(t, start, &again, err));
    }
    const double count = (double)(trainer->counters.step - done);
    if (!out->tried) steps[out->tried++] = first;
    out->step = typical(steps, out->tried, out->writes_text);
    out->setup.wall += fmax(first.wall - out->step.wall, 0);
    out->setup.cpu += fmax(first.cpu - out->step.cpu, 0);
    const dk_work after = dk_host_work(t->run->host);
    if (count > 0) out->step_tokens = (int64_t)((double)(trainer->counters.tokens - tokens) / count + 0.5);
    else out->step_tokens = trainer->counters.tokens;
    out->step_flops = count > 0 ? (trainer->counters.flops - flops) / count : trainer->counters.flops;
    out->step_model_tokens = count > 0 ? (double)(after.tokens - work.tokens) / count : (double)work.tokens;
out:
    return rc;
}

/* ---- evaluations ---- */

static int32_t evaluate(trial *t, di_teacher *live, int64_t tokens, di_evaluation *evaluation, dk_error *err)
{
    begin(t);
    return di_run_evaluate(t->run, live, tokens, evaluation, err);
}

/* Of a token that is new, from a pass in which `kept` of `tokens` were not. */
static double of_new(double all, double again, double tokens, double kept)
{
    return fmax((all - again * kept) / (tokens - kept), again);
}

/* What evaluations of `all` tokens keep of the teacher's hidden states, by those of `tokens`. */
static void count_kept(di_run_trial *out, const di_run_evaluation *e, double tokens, double all)
{
    if (!e->teacher_side || tokens <= 0) return;
    const double stands = (double)di_teacher_side_bytes(e->teacher_side);
    out->kept_bytes = (int64_t)fmin(stands / tokens * all, (double)di_teacher_side_limit(e->teacher_side));
    out->kept_more = (int64_t)fmax((double)out->kept_bytes - stands, 0);
}

/* The first tokens warm what comes behind them; where they are quick, enough for a clock follow. */
static int32_t try_evaluation(trial *t, di_teacher *live, dk_error *err)
{
    di_run_trial *out = t->out;
    di_evaluation evaluation;
    const int64_t few = out->final_tokens < EVAL_TOKENS ? out->final_tokens : EVAL_TOKENS;
    int32_t rc = DK_OK;
    if (!out->final_tokens) return DK_OK;
    DK_TRY(evaluate(t, live, few, &evaluation, err));
    out->eval_first = passed(t, (double)evaluation.tokens);
    const double kept = (double)evaluation.tokens;
    double wanted = fmin(enough_of_evaluation / fmax(out->eval_first.wall, 1e-9), (double)out->final_tokens);
    DK_TRY(dk_ranks_broadcast(t->run->host, &wanted, sizeof wanted, 0, err));
    if (wanted < 1.5 * kept) {
        DK_TRY(evaluate(t, live, few, &evaluation, err));
        out->eval_again = passed(t, (double)evaluation.tokens);
    } else {
        DK_TRY(evaluate(t, live, (int64_t)wanted, &evaluation, err));
        const di_pace both = passed(t, 1);
        DK_TRY(evaluate(t, live, (int64_t)wanted, &evaluation, err));
        const double tokens = (double)evaluation.tokens;
        out->eval_again = passed(t, tokens);
        out->eval_first.wall = of_new(both.wall, out->eval_again.wall, tokens, kept);
        out->eval_first.cpu = of_new(both.cpu, out->eval_again.cpu, tokens, kept);
    }
    count_kept(out, &t->run->evaluation, (double)evaluation.tokens, (double)out->final_tokens);
out:
    return rc;
}

/* What each teacher of a blend or route is worth, which the result says. */
static int32_t try_teachers(trial *t, di_teacher *live, dk_error *err)
{
    di_run_trial *out = t->out;
    const int64_t few = out->final_tokens < EVAL_TOKENS ? out->final_tokens : EVAL_TOKENS;
    dk_strbuf json;
    if (!few || t->run->evaluation.teachers_never) return DK_OK;
    dk_strbuf_init(&json, t->run->host);
    begin(t);
    const int32_t rc = di_run_evaluate_teachers(t->run, live, few, &json, err);
    out->eval_teachers = passed(t, (double)few);
    out->teachers_always = t->run->evaluation.teachers_always;
    dk_strbuf_free(&json);
    return rc;
}

/* What the result shows of both: a run writes them once, at its end. */
static int32_t write_samples(const trial *t, di_teacher *live, dk_error *err)
{
    const di_trainer *trainer = t->run->trainer;
    const di_sample_args args = {t->run->host,     trainer->data.eval,     live,
                                 trainer->teacher, t->run->output.samples, DI_SAMPLE_TOKENS};
    dk_strbuf json;
    if (!t->run->output.path || !trainer->data.eval || !t->run->output.samples) return DK_OK;
    dk_strbuf_init(&json, t->run->host);
    const int32_t rc = di_samples_json(&args, &json, err);
    dk_strbuf_free(&json);
    return rc;
}

static int32_t time_answers(const trial *t, di_teacher *model, dk_error *err)
{
    const di_answer_effort effort = di_answer_within(t->run->output.timing_seconds);
    di_answer_time time;
    if (!(effort.most > 0)) return DK_OK;
    return di_answer_time_measure(t->run->host, model, t->run->trainer->options, &effort, &time, err);
}

static int32_t try_draft(const trial *t, di_teacher *live, dk_error *err)
{
    dk_strbuf json;
    if (!t->run->trainer->data.eval) return DK_OK;
    dk_strbuf_init(&json, t->run->host);
    const int32_t rc = di_result_draft(t->run, live, &json, err);
    dk_strbuf_free(&json);
    return rc;
}

static int32_t try_end(trial *t, di_teacher *live, dk_error *err)
{
    int32_t rc;
    begin(t);
    DK_TRY(time_answers(t, live, err));
    const di_pace own = passed(t, 1);
    DK_TRY(write_samples(t, live, err));
    DK_TRY(tell(t, AT_TEACHER, err));
    DK_TRY(time_answers(t, t->run->trainer->teacher, err));
    DK_TRY(try_draft(t, live, err));
    t->out->timing = passed(t, 1);
    if (t->out->finals > 1) { /* a GGUF file beside the folder is timed, too */
        t->out->timing.wall += own.wall;
        t->out->timing.cpu += own.cpu;
    }
out:
    return rc;
}

/* ---- what is known without trying ---- */

static int64_t stored_bytes(const dk_model *model, dk_dtype type)
{
    int64_t bytes = 0;
    for (int64_t i = 0; i < model->parameter_count; i++) {
        const double elements = (double)dk_view_count(&model->parameters[i].value);
        bytes += (int64_t)(elements * (double)dk_dtype_bytes(type, 256) / 256);
    }
    return bytes;
}

static void count_files(const di_run *run, di_run_trial *out)
{
    const di_trainer *t = run->trainer;
    const dk_model *model = di_student_model(t->student);
    const di_files *files = &run->output.files;
    if (!model || !run->output.path) return;
    if (files->folder) out->student_bytes += stored_bytes(model, files->folder_type);
    if (files->gguf) out->student_bytes += stored_bytes(model, files->gguf_type);
    const int64_t moments = t->update.half_moments ? 4 : 8, every = run->checkpoints.every;
    out->checkpoint_bytes = 4 * dk_model_elements(model) + moments * di_student_facts(t->student).trainable_parameters;
    out->checkpoints = every ? (t->steps - 1) / every : 0;
    if (run->checkpoints.keep && out->checkpoints > run->checkpoints.keep) out->checkpoints = run->checkpoints.keep;
    out->checkpoints += run->evaluation.keep_best ? 1 : 0;
}

static int32_t count_data(const di_run *run, di_run_trial *out, dk_error *err)
{
    const di_trainer *t = run->trainer;
    int64_t tokens = 0;
    int32_t rc = DK_OK;
    out->data_tokens = -1;
    if (di_dataset_is_stream(t->data.train)) goto held_out;
    DK_TRY(di_dataset_get_i64(t->data.train, "tokens", &out->data_tokens, err));
held_out:
    if (!t->data.eval) goto out;
    DK_TRY(di_dataset_get_i64(t->data.eval, "tokens", &tokens, err));
    if (out->data_tokens >= 0) out->data_tokens += tokens;
    DK_TRY(di_dataset_get_i64(t->data.eval, "learnt", &out->final_tokens, err));
out:
    return rc;
}

static int32_t count_run(const di_run *run, di_run_trial *out, dk_error *err)
{
    const di_trainer *t = run->trainer;
    const di_run_evaluation *e = &run->evaluation;
    const di_facts student = di_student_facts(t->student);
    int32_t rc;
    if (t->steps < 1)
        return dk_fail(err, DK_E_OPTION,
                       "a plan counts steps: give train.steps, or train.epochs with data of known size");
    DK_TRY(count_data(run, out, err));
    out->steps = t->steps;
    out->asks_teacher = t->objective.uses_teacher;
    out->writes_text = t->on_policy.lambda > 0;
    out->parameters = student.parameters;
    out->trainable = student.trainable_parameters;
    out->teacher_parameters = t->teacher ? di_teacher_facts(t->teacher).parameters : -1;
    count_files(run, out);
    if (!out->final_tokens) goto out;
    out->eval_tokens = e->tokens && e->tokens < out->final_tokens ? e->tokens : out->final_tokens;
    out->evaluations = e->every ? t->steps / e->every : 0;
    const int32_t last = e->every && t->steps % e->every == 0;
    if (last && !e->keep_best && !e->tokens) out->evaluations--; /* it is the one of what was saved */
    out->finals = 1 + (run->output.path && run->output.files.folder && run->output.files.gguf);
out:
    return rc;
}

int32_t di_run_try(const di_parts *parts, const di_options *options, di_trial_fn fn, void *user, di_run_trial *out,
                   dk_error *err)
{
    trial t = {.out = out, .fn = fn, .user = user};
    dk_host *host = parts->backend->host;
    di_teacher *live = NULL;
    int32_t rc;
    *out = (di_run_trial){.resident = -1};
    DK_TRY(di_meter_start(host, options, 0, &t.meter, err));
    begin(&t);
    DK_TRY(dk_ranks_agree(host, di_run_create(parts, options, &t.run, err), err));
    DK_TRY(di_run_inputs(t.run, err));
    DK_TRY(count_run(t.run, out, err));
    if (t.run->trainer->session) di_session_set_look(t.run->trainer->session, 1);
    out->setup = passed(&t, 1);
    DK_TRY(try_steps(&t, err));
    DK_TRY(di_student_as_teacher(t.run->trainer->student, &live, err));
    DK_TRY(tell(&t, AT_EVALUATION, err));
    DK_TRY(try_evaluation(&t, live, err));
    DK_TRY(tell(&t, AT_TEACHERS, err));
    DK_TRY(try_teachers(&t, live, err));
    DK_TRY(tell(&t, AT_STUDENT, err));
    DK_TRY(try_end(&t, live, err));
    out->resident = di_meter_read(&t.meter).peak_memory;
out:
    di_teacher_release(live);
    di_run_free(t.run);
    di_meter_end(&t.meter);
    return rc;
}
