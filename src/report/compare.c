/* compare.c - each model is measured the same way on the same machine, one after the other; what needs ids that mean
 * the same (KL, agreement, acceptance) is left out, with the reason, where they do not. */
#include "report/compare.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/ranks.h"
#include "base/resident.h"
#include "evaluate/evaluate.h"
#include "evaluate/answer_time.h"
#include "evaluate/draft_trial.h"
#include "meter/machine.h"

enum { STAGES = 5 }; /* of progress: the data, twice the speed, twice the questions */

typedef struct side { /* one model */
    di_evaluation evaluation;
    int32_t evaluated;
    di_answer_time latency;
    double load_seconds; /* -1 = not opened here */
    int64_t memory;      /* bytes in RAM with the model and an answer; -1 = not known */
    int64_t run_length;  /* of the windows of the run that left it; 0 = not known */
    di_cost cost;        /* of the answers that were timed */
    dk_strbuf energy;    /* cost as JSON */
    dk_strbuf tasks;
} side;

typedef struct comparing {
    const di_compare_args *args;
    dk_host *host;
    side sides[2];
    int32_t same;         /* ids mean the same */
    di_draft_trial draft; /* of b for a */
    int32_t drafted;
    di_meter meter; /* of all of it */
    dk_error apart;
    double told;
    int64_t stage;
    int64_t length; /* of windows of data, at most */
} comparing;

/* ---- on the way ---- */

static int32_t tell(comparing *c, int64_t done, int64_t total, dk_error *err)
{
    const double now = dk_seconds();
    distill_progress p;
    di_meter_poll(&c->meter);
    if (dk_host_cancelled(c->host)) return dk_fail(err, DK_E_CANCELLED, "the comparison was cancelled");
    if (!c->args->fn || (done && done < total && now - c->told < 0.1)) return DK_OK;
    c->told = now;
    DISTILL_INIT(&p);
    p.phase = DISTILL_PHASE_EVALUATING;
    p.total = 1000 * STAGES;
    p.done = 1000 * c->stage + (total ? 1000 * done / total : 0);
    p.seconds_left = -1;
    const int32_t code = c->args->fn(c->args->user, &p);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "the comparison was stopped by the progress callback");
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static int32_t on_windows(void *user, int64_t done, int64_t total) { return tell(user, done, total, NULL) != DK_OK; }

static int32_t on_questions(void *user, const distill_progress *now)
{
    return tell(user, now->done, now->total, NULL) == DK_OK ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
}

/* ---- quality ---- */

static const char *name_of(const di_compare_args *args, int which)
{
    const char *path = di_teacher_path(args->models[which]);
    return *path ? path : which ? "b" : "a";
}

/* What a result.json beside the model says of its run's windows. It is said and not taken: data.separator and others
 * would have to go with it, and eval of the same data by the same options would say other figures. */
static int32_t read_run(comparing *c, int which, dk_error *err)
{
    const char *folder = di_teacher_path(c->args->models[which]);
    char *path = dk_path_join(c->host, folder, "result.json");
    dk_document *doc = NULL;
    if (!path) return dk_fail_nomem(err, strlen(folder));
    if (*folder && dk_path_exists(path) == 1 && dk_json_open(c->host, path, &doc, NULL) == DK_OK) {
        const dk_node *data = dk_node_get(dk_node_get(dk_document_root(doc), "options"), "data");
        if (dk_node_i64(doc, data, "sequence_length", 2, 1 << 20, 0, &c->sides[which].run_length, NULL) != DK_OK)
            c->sides[which].run_length = 0;
    }
    dk_document_free(doc);
    dk_free(c->host, path);
    return DK_OK;
}

/* Windows as long as the option says, but no longer than both see, where the option was left alone. */
static int32_t fit_windows(comparing *c, di_options **out, dk_error *err)
{
    int64_t least = 0;
    int32_t rc;
    DK_TRY(di_options_copy(c->args->options, c->host, -1, out, err));
    for (int i = 0; i < 2; i++) {
        const int64_t context = di_teacher_facts(c->args->models[i]).context_length;
        if (context > 0 && (!least || context < least)) least = context;
    }
    if (!di_options_is_set(*out, "data.sequence_length") && least &&
        least < di_options_i64(*out, "data.sequence_length"))
        DK_TRY(di_options_set_i64(*out, "data.sequence_length", least, err));
    c->length = di_options_i64(*out, "data.sequence_length");
out:
    return rc;
}

static int32_t evaluate(comparing *c, int which, di_teacher *teacher, const di_options *options, dk_error *err)
{
    const di_compare_args *args = c->args;
    di_dataset *data = NULL;
    dk_precision precision = DK_PRECISION_FULL;
    int32_t rc;
    DK_TRY(di_choose_precision(args->backend, di_options_text(options, "train.eval_precision"), "train.eval_precision",
                               &precision, err));
    DK_TRY(di_dataset_open(c->host, args->data, di_teacher_tokenizer(args->models[which]), options, &data, err));
    const di_evaluate_args one = {.backend = args->backend,
                                  .student = args->models[which],
                                  .teacher = teacher,
                                  .data = data,
                                  .tokens = di_options_i64(options, "train.eval_tokens"),
                                  .memory = di_options_i64(options, "train.loss_memory"),
                                  .precision = precision,
                                  .meter = &c->meter,
                                  .progress = on_windows,
                                  .user = c};
    DK_TRY(di_evaluate(&one, &c->sides[which].evaluation, err));
    c->sides[which].evaluated = 1;
out:
    di_dataset_release(data);
    return rc;
}

/* Where ids mean the same one pass over the data measures both. */
static int32_t quality(comparing *c, dk_error *err)
{
    di_options *options = NULL;
    int32_t rc = DK_OK;
    if (!c->args->data) return DK_OK;
    for (int i = 0; i < 2; i++) DK_TRY(read_run(c, i, err));
    DK_TRY(fit_windows(c, &options, err));
    DK_TRY(evaluate(c, 1, c->same ? c->args->models[0] : NULL, options, err));
    const int32_t both = c->same && c->sides[1].evaluation.teacher_kind == DISTILL_DENSE;
    if (!both) DK_TRY(evaluate(c, 0, NULL, options, err));
out:
    di_options_free(options);
    return rc;
}

/* ---- b as a's draft ---- */

static int32_t draft(comparing *c, dk_error *err)
{
    const di_compare_args *args = c->args;
    di_draft_trial_args how = {.host = c->host,
                               .teacher = args->models[0],
                               .draft = args->models[1],
                               .tokens = di_options_i64(args->options, "train.eval_draft_tokens"),
                               .options = args->options};
    di_options *options = NULL;
    int32_t rc = DK_OK;
    if (!args->data || !c->same || !how.tokens) return DK_OK;
    DK_TRY(fit_windows(c, &options, err));
    DK_TRY(di_dataset_open(c->host, args->data, di_teacher_tokenizer(args->models[0]), options, &how.data, err));
    DK_TRY(di_draft_trial_measure(&how, &c->draft, err));
    c->drafted = 1;
out:
    di_dataset_release(how.data);
    di_options_free(options);
    return rc;
}

/* ---- speed ---- */

/* The model is opened anew, which says how long that takes and what it needs; one without a file is timed as it is. */
static int32_t speed(comparing *c, int which, dk_error *err)
{
    side *s = &c->sides[which];
    di_teacher *given = c->args->models[which], *fresh = NULL;
    const char *path = di_teacher_path(given);
    const int64_t before = dk_resident_bytes();
    const double begin = dk_seconds();
    di_meter meter = {0};
    int32_t rc = DK_OK;
    s->load_seconds = -1;
    s->memory = -1;
    if (di_teacher_model(given) && *path) {
        DK_TRY(di_teacher_open(c->args->backend, path, di_options_flag(c->args->options, "teacher.mmap"), &fresh, err));
        s->load_seconds = dk_seconds() - begin;
    }
    DK_TRY(di_meter_start(c->host, c->args->options, 0, &meter, err));
    DK_TRY(di_answer_time_measure(c->host, fresh ? fresh : given, c->args->options, &di_answer_thorough, &s->latency,
                                  err));
    s->cost = di_meter_read(&meter);
    di_cost_json(&meter, &s->cost, &s->energy);
    if (fresh && before >= 0) s->memory = dk_resident_bytes() - before;
out:
    di_meter_end(&meter);
    di_teacher_release(fresh);
    return rc;
}

static int32_t tasks(comparing *c, int which, dk_error *err)
{
    const di_compare_args *args = c->args;
    const di_tasks_args asked = {.host = c->host,
                                 .model = args->models[which],
                                 .options = args->options,
                                 .writing = args->writing,
                                 .user_options = args->user_options,
                                 .fn = on_questions,
                                 .user = c};
    return di_tasks_members(&asked, &c->sides[which].tasks, err);
}

/* ---- as JSON ---- */

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static void quality_json(double nats, const di_evaluation *e, const di_calibration *calibration, dk_strbuf *out)
{
    double accuracy;
    const double apart = di_expected_calibration_error(calibration, &accuracy);
    number(out, "tokens", (double)e->tokens);
    number(out, "perplexity", exp(nats));
    number(out, "nats", nats);
    if (e->text_bytes > 0) number(out, "bits_per_byte", nats * (double)e->tokens / log(2.0) / (double)e->text_bytes);
    if (apart < 0) return;
    number(out, "accuracy", accuracy);
    number(out, "calibration_error", apart);
}

static void latency_json(const side *s, dk_strbuf *out)
{
    const di_answer_time *l = &s->latency;
    if (!l->tries) return;
    di_answer_time_json(l, out);
    const double thousands = (double)l->written_tokens / 1000;
    number(out, "cpu_seconds_per_1000_tokens", s->cost.cpu / thousands);
    if (s->cost.joules >= 0) number(out, "joules_per_1000_tokens", s->cost.joules / thousands);
    if (s->cost.eur >= 0) number(out, "eur_per_1000_tokens", s->cost.eur / thousands);
    if (s->cost.usd >= 0) number(out, "usd_per_1000_tokens", s->cost.usd / thousands);
    dk_strbuf_puts(out, ",\"cost_of_timing\":");
    dk_strbuf_append(out, s->energy.data, s->energy.size);
}

static void side_json(const comparing *c, int which, dk_strbuf *out)
{
    const side *s = &c->sides[which], *b = &c->sides[1];
    const di_facts facts = di_teacher_facts(c->args->models[which]);
    dk_strbuf_printf(out, ",\"%s\":{\"name\":", which ? "b" : "a");
    dk_strbuf_json(out, name_of(c->args, which), strlen(name_of(c->args, which)));
    if (facts.parameters >= 0) number(out, "parameters", (double)facts.parameters);
    if (facts.bytes >= 0) number(out, "bytes", (double)facts.bytes);
    if (s->run_length) number(out, "run_sequence_length", (double)s->run_length);
    if (s->memory >= 0) number(out, "memory_bytes", (double)s->memory);
    if (s->load_seconds >= 0) number(out, "load_seconds", s->load_seconds);
    if (s->evaluated) quality_json(s->evaluation.nats, &s->evaluation, &s->evaluation.calibration, out);
    else if (b->evaluated)
        quality_json(b->evaluation.teacher_nats, &b->evaluation, &b->evaluation.teacher_calibration, out);
    latency_json(s, out);
    if (s->tasks.size) {
        dk_strbuf_puts(out, ",\"tasks\":{");
        dk_strbuf_append(out, s->tasks.data, s->tasks.size);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "}");
}

/* What is said of b as a's student, and as its draft. */
static void between_json(const comparing *c, dk_strbuf *out)
{
    const di_evaluation *e = &c->sides[1].evaluation;
    dk_strbuf_printf(out, ",\"between\":{\"same_tokens\":%s", c->same ? "true" : "false");
    if (!c->same) {
        dk_strbuf_puts(out, ",\"problem\":");
        dk_strbuf_json(out, c->apart.message, strlen(c->apart.message));
        dk_strbuf_puts(out, ",\"left_out\":[\"forward_kl\",\"top1_agreement\",\"expected_acceptance\"]");
    } else if (c->sides[1].evaluated && !e->without_entropy) {
        number(out, "forward_kl", e->kl_mean);
        if (e->teacher_kind != DISTILL_SAMPLED) {
            number(out, "forward_kl_median", e->kl_median);
            number(out, "forward_kl_p99", e->kl_p99);
            number(out, "top1_agreement", e->top1_agreement);
            number(out, "expected_acceptance", e->acceptance);
        }
    }
    if (c->drafted) di_draft_trial_json(&c->draft, out);
    dk_strbuf_puts(out, "}");
}

static void whole_json(comparing *c, dk_strbuf *json)
{
    const di_cost cost = di_meter_read(&c->meter);
    dk_strbuf_puts(json, "{\"kind\":\"comparison\"");
    if (c->args->data) {
        dk_strbuf_puts(json, ",\"data\":");
        dk_strbuf_json(json, c->args->data, strlen(c->args->data));
        number(json, "sequence_length", (double)c->length);
        di_evaluation_precision_json(&c->sides[1].evaluation, json);
    }
    side_json(c, 0, json);
    side_json(c, 1, json);
    between_json(c, json);
    dk_strbuf_puts(json, ",\"cost\":");
    di_cost_json(&c->meter, &cost, json);
    dk_strbuf_puts(json, ",\"machine\":");
    di_machine_json(c->args->backend, json);
    dk_strbuf_puts(json, "}");
}

/* ---- all of it ---- */

static int32_t measure(comparing *c, dk_error *err)
{
    int32_t rc;
    DK_TRY(tell(c, 0, 0, err));
    DK_TRY(quality(c, err));
    for (int i = 0; i < 2; i++) {
        c->stage = 1 + i;
        DK_TRY(tell(c, 0, 0, err));
        DK_TRY(speed(c, i, err));
    }
    DK_TRY(draft(c, err));
    for (int i = 0; i < 2; i++) {
        c->stage = 3 + i;
        DK_TRY(tell(c, 0, 0, err));
        DK_TRY(tasks(c, i, err));
    }
    c->stage = STAGES;
    DK_TRY(tell(c, 0, 0, err));
out:
    return rc;
}

int32_t di_compare(const di_compare_args *args, dk_strbuf *json, dk_error *err)
{
    dk_host *host = args->backend->host;
    comparing *c = NULL;
    int32_t rc;
    DK_TRY(dk_ranks_refuse(host, "a comparison, which times both models,", err));
    DK_TRY(dk_new(host, 1, &c, err));
    c->args = args;
    c->host = host;
    for (int i = 0; i < 2; i++) {
        dk_strbuf_init(&c->sides[i].energy, host);
        dk_strbuf_init(&c->sides[i].tasks, host);
    }
    c->same = di_check_same_tokenizers(name_of(args, 0), args->models[0], name_of(args, 1), args->models[1],
                                       &c->apart) == DK_OK;
    DK_TRY(di_meter_start(host, args->options, 0, &c->meter, err));
    DK_TRY(measure(c, err));
    whole_json(c, json);
    rc = dk_strbuf_check(json, err);
out:
    for (int i = 0; c && i < 2; i++) {
        dk_strbuf_free(&c->sides[i].energy);
        dk_strbuf_free(&c->sides[i].tasks);
    }
    if (c) di_meter_end(&c->meter);
    dk_free(host, c);
    return rc;
}
