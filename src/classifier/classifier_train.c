/* classifier_train.c - the loop. Batch k is a pure function of (texts, train.seed, k): every epoch goes through the
 * texts in an order of its own and ends with a smaller batch where need be. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ranks.h"
#include "base/hash.h"
#include "base/random.h"
#include "classifier/classifier_parts.h"
#include "meter/machine.h"
#include "meter/meter.h"

typedef struct run {
    const di_classifier_args *args;
    const di_options *options;
    dk_host *host;
    di_fit_texts texts;
    di_classifier *classifier;
    di_loss *loss;
    di_fit *fit;
    di_fit_output output;
    di_fit_state state;
    di_meter meter;
    int64_t steps, per_epoch, batch_size, *indices, from;
    int64_t no_inputs, cut; /* texts of which nothing is read; longer than an embedding reads */
    uint64_t seed;
    double begun, written; /* of this process; of the last checkpoint */
    dk_strbuf warnings;    /* "...","..." */
    di_measured measured;
} run;

/* ---- made from the options ---- */

static int32_t make_loss(run *r, dk_error *err)
{
    di_feature_term term;
    int32_t rc;
    DK_TRY(di_loss_create(r->args->registry, NULL, r->options, &r->loss, err));
    if (di_loss_feature(r->loss, 0, &term))
        return dk_fail(err, DK_E_OPTION, "loss on features: a classifier has none inside; give forward_kl");
    if (di_loss_whole_sequences(r->loss) || di_loss_sum_count(r->loss))
        return dk_fail(err, DK_E_OPTION, "loss on whole sequences: a text is one row here; give forward_kl");
    DK_TRY(di_preset_refuse(r->loss, err));
    DK_TRY(di_loss_check(r->loss, DISTILL_DENSE, 1, 1, err));
    DK_TRY(di_loss_check_shifted(r->loss, err));
out:
    return rc;
}

static int32_t make_classifier(run *r, dk_error *err)
{
    const di_options *o = r->options;
    const char *path = di_options_text(o, "classifier.embedding.path"), *question;
    di_classifier_spec spec = {.embed = di_options_is(o, "classifier.embedding.states", "tokens") ? DI_EMBED_TOKENS
                                                                                                  : DI_EMBED_HIDDEN,
                               .hidden = di_options_i64(o, "classifier.hidden"),
                               .classes = r->texts.names.count,
                               .names = (const char *const *)r->texts.names.names,
                               .seed = r->seed,
                               .store = di_options_is(o, "classifier.type", "f32")   ? DI_WEIGHT_F32
                                        : di_options_is(o, "classifier.type", "f16") ? DI_WEIGHT_F16
                                                                                     : DI_WEIGHT_INT8};
    int32_t rc;
    di_classifier_read_ngrams(o, &spec.ngrams);
    if (di_options_is(o, "classifier.inputs", "embedding")) {
        if (!path) return dk_fail(err, DK_E_OPTION, "classifier.embedding.path is not set: a model with a tokenizer");
        DK_TRY(di_embedding_open(r->args->backend, path, spec.embed, &spec.embedding, err));
    }
    DK_TRY(di_classifier_create(r->args->backend, &spec, &r->classifier, err));
    di_question *q = &r->classifier->question;
    q->chat = di_options_flag(o, "classifier.question_chat");
    q->per_token = di_options_flag(o, "classifier.per_token");
    if (!(question = di_options_text(o, "classifier.question"))) goto out;
    if (!strstr(question, "{text}"))
        return dk_fail(err, DK_E_OPTION, "classifier.question has no {text}, where the text goes");
    if (!(q->text = dk_strdup(r->host, question))) rc = dk_fail_nomem(err, strlen(question));
out:
    return rc;
}

/* The texts, and which of them are learnt. */
static uint64_t hash_texts(const di_fit_texts *t)
{
    const uint64_t parts[2] = {t->all.hash, dk_hash64(t->train, sizeof *t->train * (size_t)t->train_count)};
    return dk_hash64(parts, sizeof parts);
}

static void plan_steps(run *r)
{
    const di_options *o = r->options;
    const double epochs = di_options_f64(o, "train.epochs");
    r->batch_size = di_options_i64(o, "train.batch_size");
    r->per_epoch = (r->texts.train_count + r->batch_size - 1) / r->batch_size;
    r->steps = di_options_i64(o, "train.steps");
    if (epochs > 0 && !di_options_is_set(o, "train.steps")) r->steps = (int64_t)ceil(epochs * (double)r->per_epoch);
}

/* ---- told ---- */

static void warn(run *r, const char *format, ...) DK_PRINTF(2, 3);
static void warn(run *r, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dk_log(r->host, DK_LOG_WARN, "classifier", "%s", text);
    if (r->warnings.size) dk_strbuf_puts(&r->warnings, ",");
    dk_strbuf_json(&r->warnings, text, strlen(text));
}

static int32_t tell(run *r, int32_t phase, int64_t done, int64_t total, dk_error *err)
{
    const di_fit *f = r->fit;
    const double spent = dk_seconds() - r->begun;
    distill_progress p;
    if (!r->args->fn) return DK_OK;
    DISTILL_INIT(&p);
    p.phase = phase;
    p.steps = r->steps;
    p.done = done;
    p.total = total;
    p.seconds_left = -1;
    if (f) {
        p.step = f->step;
        p.tokens = f->step * r->batch_size;
        p.count = r->batch_size;
        p.loss = f->last_loss;
        p.grad_norm = f->grad_norm;
        p.learning_rate = f->update.learning_rate * dk_schedule_at(&f->schedule, f->step ? f->step - 1 : 0);
        if (f->step > r->from && spent > 0) {
            p.tokens_per_second = (double)((f->step - r->from) * r->batch_size) / spent;
            p.seconds_left = spent / (double)(f->step - r->from) * (double)(r->steps - f->step);
        }
    }
    const int32_t code = r->args->fn(r->args->user, &p);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "the progress callback stopped the training");
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static void number(dk_strbuf *out, const char *name, double value)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

static void write_line(run *r, const dk_strbuf *line)
{
    dk_error problem;
    if (r->output.path && r->output.metrics && di_fit_output_metric(&r->output, line, &problem))
        warn(r, "a line of metrics is missing: %s", problem.message);
}

static void step_line(run *r)
{
    const di_fit *f = r->fit;
    const int64_t every = di_options_i64(r->options, "train.log_every");
    dk_strbuf line;
    if (f->step % every != 0 && f->step != 1 && f->step != r->steps) return;
    dk_strbuf_init(&line, r->host);
    dk_strbuf_printf(&line, "{\"step\":%lld,\"floored\":%lld", (long long)f->step, (long long)f->floored);
    number(&line, "loss", f->last_loss);
    number(&line, "learning_rate", f->update.learning_rate * dk_schedule_at(&f->schedule, f->step - 1));
    number(&line, "grad_norm", f->grad_norm);
    number(&line, "seconds", r->state.seconds + dk_seconds() - r->begun);
    dk_strbuf_puts(&line, "}\n");
    write_line(r, &line);
    dk_strbuf_free(&line);
}

/* ---- vectors of an embedding ---- */

/* Mean 0 and, together, length 1 over the texts that are learnt. */
static void standardise(run *r)
{
    di_classifier *c = r->classifier;
    const int64_t n = r->texts.train_count, width = c->inputs;
    for (int64_t j = 0; j < width; j++) {
        double mean = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) mean += (double)r->fit->vectors[r->texts.train[i] * width + j] / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double off = (double)r->fit->vectors[r->texts.train[i] * width + j] - mean;
            squares += off * off / (double)n;
        }
        c->mean[j] = (float)mean;
        c->scale[j] = (float)(squares > 1e-20 ? 1 / sqrt(squares * (double)width) : 0);
    }
    for (int64_t i = 0; i < r->texts.all.count; i++)
        for (int64_t j = 0; j < width; j++) {
            float *x = &r->fit->vectors[i * width + j];
            *x = (*x - c->mean[j]) * c->scale[j];
        }
}

/* With words every text has an input; with characters alone short ones have none. */
static int32_t count_without_inputs(run *r, dk_error *err)
{
    const di_labelled *texts = &r->texts.all;
    di_inputs inputs;
    int32_t rc = DK_OK;
    if (r->classifier->ngrams.words) return DK_OK;
    di_inputs_init(&inputs, r->host);
    for (int64_t i = 0; i < texts->count && !rc; i++) {
        rc = di_ngrams_of(&r->classifier->ngrams, texts->texts[i], texts->sizes[i], &inputs, err);
        r->no_inputs += !rc && !inputs.count;
    }
    di_inputs_free(&inputs);
    if (r->no_inputs)
        warn(r,
             "%lld texts are shorter than ngrams.characters_from, and ngrams.words is 0: nothing of them is read, and "
             "they are all answered alike",
             (long long)r->no_inputs);
    return rc;
}

static int32_t make_vectors(run *r, dk_error *err)
{
    di_classifier *c = r->classifier;
    const di_labelled *texts = &r->texts.all;
    double told = dk_seconds();
    int64_t tokens;
    int32_t rc = DK_OK;
    if (!c->embedding) return count_without_inputs(r, err);
    DK_TRY(dk_new(r->host, texts->count * c->inputs, &r->fit->vectors, err));
    for (int64_t i = 0; i < texts->count; i++) {
        DK_TRY(dk_host_cancelled(r->host) ? dk_fail(err, DK_E_CANCELLED, "cancelled at text %lld of %lld", (long long)i,
                                                    (long long)texts->count)
                                          : DK_OK);
        DK_TRY(di_embedding_of(c->embedding, texts->texts[i], texts->sizes[i], r->fit->vectors + i * c->inputs, &tokens,
                               err));
        di_meter_poll(&r->meter);
        r->no_inputs += !tokens;
        r->cut += tokens > di_embedding_longest(c->embedding);
        if (dk_seconds() - told < 0.5) continue;
        told = dk_seconds();
        DK_TRY(tell(r, DISTILL_PHASE_LOADING, i + 1, texts->count, err));
    }
    standardise(r);
    if (r->cut) warn(r, "%lld texts are longer than the embedding's model reads and were cut", (long long)r->cut);
    if (r->no_inputs) warn(r, "%lld texts have no token", (long long)r->no_inputs);
out:
    return rc;
}

/* ---- steps ---- */

static int64_t gather_batch(const run *r, int64_t k)
{
    const int64_t n = r->texts.train_count, epoch = k / r->per_epoch, first = k % r->per_epoch * r->batch_size;
    const int64_t count = n - first < r->batch_size ? n - first : r->batch_size;
    const int32_t shuffle = di_options_flag(r->options, "data.shuffle");
    const uint64_t seed = dk_random_u64(r->seed, DK_STREAM_SHUFFLE, (uint64_t)epoch);
    for (int64_t i = 0; i < count; i++) {
        const int64_t place =
            shuffle ? (int64_t)dk_random_permute(seed, DK_STREAM_SHUFFLE, (uint64_t)(first + i), (uint64_t)n)
                    : first + i;
        r->indices[i] = r->texts.train[place];
    }
    return count;
}

static int32_t keep(run *r, dk_error *err)
{
    di_fit_state state = r->state;
    state.seconds += dk_seconds() - r->begun;
    r->written = dk_seconds();
    return di_fit_save(r->fit, &state, r->output.path, di_options_i64(r->options, "train.checkpoint_keep"), err);
}

static int32_t stopped(run *r, int32_t rc, dk_error *err)
{
    const dk_error first = *err;
    dk_error problem;
    if (!r->output.path || !r->fit->step) return rc;
    if (keep(r, &problem))
        return dk_fail(err, rc, "%s; step %lld, and its checkpoint could not be written: %s", first.message,
                       (long long)r->fit->step, problem.message);
    dk_fail(err, rc, "%s; step %lld of %lld is kept in %s/checkpoints, resume goes on from there", first.message,
            (long long)r->fit->step, (long long)r->steps, r->output.path);
    err->user_code = first.user_code;
    return rc;
}

static int32_t is_due(const run *r)
{
    const int64_t every = di_options_i64(r->options, "train.checkpoint_every");
    const double minutes = di_options_f64(r->options, "train.checkpoint_minutes");
    if (!r->output.path || r->fit->step >= r->steps) return 0;
    return (every && r->fit->step % every == 0) || (minutes > 0 && dk_seconds() - r->written >= 60 * minutes);
}

static int32_t evaluate_now(run *r, dk_error *err)
{
    const int64_t every = di_options_i64(r->options, "train.eval_every"), count = r->texts.held_out_count;
    di_judged *judged = NULL;
    dk_strbuf line;
    di_measured m;
    int32_t rc;
    if (!every || !count || r->fit->step % every) return DK_OK;
    dk_strbuf_init(&line, r->host);
    DK_TRY(dk_new(r->host, count, &judged, err));
    DK_TRY(di_classifier_judge_texts(r->classifier, &r->texts.all, r->texts.held_out, count, NULL, judged, &m, err));
    dk_strbuf_printf(&line, "{\"step\":%lld,\"eval\":", (long long)r->fit->step);
    di_measured_json(&m, &line);
    dk_strbuf_puts(&line, "}\n");
    write_line(r, &line);
out:
    dk_free(r->host, judged);
    dk_strbuf_free(&line);
    return rc;
}

/* ---- as JSON ---- */

static void head_json(const run *r, int32_t live, dk_strbuf *out)
{
    const char *name = di_options_text(r->options, "name");
    const long long step = (long long)r->fit->step, steps = (long long)r->steps;
    dk_strbuf_printf(out, "{\"version\":\"%s\"", DISTILL_VERSION);
    if (live)
        dk_strbuf_printf(out,
                         ",\"finished\":false,\"live\":{\"step\":%lld,\"steps\":%lld},\"reason\":\"%lld of %lld steps "
                         "were made\"",
                         step, steps, step, steps);
    else dk_strbuf_printf(out, ",\"finished\":true,\"reason\":\"all %lld steps were made\"", step);
    if (!name) return;
    dk_strbuf_puts(out, ",\"name\":");
    dk_strbuf_json(out, name, strlen(name));
}

/* live: of a training under way, for its page. */
static int32_t result_json(run *r, int32_t live, dk_strbuf *out, dk_error *err)
{
    const di_cost cost = di_meter_read(&r->meter);
    const di_fit *f = r->fit;
    dk_strbuf loss;
    int32_t rc;
    dk_strbuf_init(&loss, r->host);
    di_loss_describe(r->loss, &loss);
    head_json(r, live, out);
    dk_strbuf_puts(out, ",\"classifier\":");
    di_classifier_json(r->classifier, out);
    dk_strbuf_printf(out, ",\"training\":{\"steps\":%lld,\"loss\":", (long long)f->step);
    dk_strbuf_json(out, loss.data ? loss.data : "", loss.size);
    number(out, "last_loss", f->last_loss);
    number(out, "epochs", (double)f->step / (double)r->per_epoch);
    number(out, "seconds", r->state.seconds + (live ? dk_seconds() - r->begun : 0));
    dk_strbuf_printf(out, ",\"floored\":%lld,\"used_rows\":%lld,\"rows\":%lld}", (long long)f->floored,
                     (long long)f->used_rows, (long long)r->classifier->inputs);
    dk_strbuf_printf(out,
                     ",\"data\":{\"hash\":\"%016llx\",\"train\":%lld,\"held_out\":%lld,\"seen_in_training\":%lld,"
                     "\"without_inputs\":%lld,"
                     "\"unused_keys\":",
                     (unsigned long long)r->state.data, (long long)r->texts.train_count,
                     (long long)r->texts.held_out_count, (long long)r->texts.seen, (long long)r->no_inputs);
    di_labelled_unused_json(&r->texts.all, out);
    dk_strbuf_puts(out, "},\"cost\":");
    di_cost_json(&r->meter, &cost, out);
    dk_strbuf_puts(out, ",\"machine\":");
    di_machine_json(r->args->backend, out);
    dk_strbuf_puts(out, ",\"warnings\":[");
    if (r->warnings.size) dk_strbuf_append(out, r->warnings.data, r->warnings.size);
    dk_strbuf_puts(out, "],\"options\":");
    DK_TRY(di_options_write_json(r->options, 0, out, err));
    dk_strbuf_puts(out, "}");
    DK_TRY(dk_strbuf_check(out, err));
out:
    dk_strbuf_free(&loss);
    return rc;
}

/* ---- one after another ---- */

static void show(run *r, const dk_strbuf *json, int32_t live, dk_error *problem)
{
    if (di_fit_output_page(&r->output, json, live, problem) == DK_OK) return;
    warn(r, "report.html was not written: %s", problem->message);
    r->output.page = 0; /* said once */
}

static void show_live(run *r)
{
    dk_strbuf json;
    dk_error problem;
    if (!di_fit_output_page_due(&r->output)) return;
    dk_strbuf_init(&json, r->host);
    if (result_json(r, 1, &json, &problem) == DK_OK) show(r, &json, 1, &problem);
    dk_strbuf_free(&json);
}

static int32_t one_step(run *r, dk_error *err)
{
    dk_error problem;
    int32_t rc;
    if (dk_host_cancelled(r->host)) return dk_fail(err, DK_E_CANCELLED, "cancelled");
    di_meter_poll(&r->meter);
    DK_TRY(di_fit_step(r->fit, r->indices, gather_batch(r, r->fit->step), err));
    step_line(r);
    DK_TRY(evaluate_now(r, err));
    show_live(r);
    if (is_due(r) && keep(r, &problem))
        warn(r, "no checkpoint of step %lld, training goes on: %s", (long long)r->fit->step, problem.message);
    DK_TRY(tell(r, DISTILL_PHASE_TRAINING, 0, 0, err));
out:
    return rc;
}

static int32_t all_steps(run *r, dk_error *err)
{
    dk_error problem, *at = err ? err : &problem;
    int32_t rc = DK_OK;
    r->begun = r->written = dk_seconds();
    r->from = r->fit->step;
    while (r->fit->step < r->steps && rc == DK_OK) rc = one_step(r, at);
    return rc ? stopped(r, rc, at) : DK_OK;
}

/* ---- held-out texts ---- */

static void tell_promise(run *r)
{
    const di_promise *p = &r->classifier->promise;
    char agreement[32], surety[32], bound[32];
    dk_format_f64(p->agreement, agreement);
    dk_format_f64(p->surety, surety);
    if (p->threshold <= 1) return;
    if (p->texts < p->least_texts) {
        warn(r,
             "an agreement of %s with confidence %s cannot be promised: %lld held-out texts, at least %lld are needed; "
             "the teacher is always asked",
             agreement, surety, (long long)p->texts, (long long)p->least_texts);
        return;
    }
    dk_format_f64(1 - p->agreement, bound);
    warn(r,
         "an agreement of %s with confidence %s cannot be promised: even of the surest of %lld held-out texts so many "
         "are answered otherwise that no bound is within %s; the teacher is always asked",
         agreement, surety, (long long)p->texts, bound);
}

/* Of the held-out texts every second one gives the temperature, if any, and the others are measured and promised on. */
static int32_t measure(run *r, dk_error *err)
{
    di_classifier *c = r->classifier;
    const double agreement = di_options_f64(r->options, "classifier.agreement");
    const int32_t calibrate = di_options_is(r->options, "classifier.calibrate", "temperature");
    int64_t count = r->texts.held_out_count, first = calibrate ? count / 2 : 0, *order = NULL;
    di_judged *judged = NULL;
    float *logits = NULL;
    int32_t rc;
    DK_TRY(dk_new(r->host, count + 1, &order, err));
    DK_TRY(dk_new(r->host, count + 1, &judged, err));
    DK_TRY(dk_new(r->host, count * c->classes + 1, &logits, err));
    for (int64_t i = 0; i < count; i++) {
        const int64_t place = !calibrate ? i : i % 2 && i / 2 < first ? i / 2 : first + (i + 1) / 2;
        order[place] = r->texts.held_out[i];
    }
    if (first) {
        DK_TRY(di_classifier_judge_texts(c, &r->texts.all, order, first, logits, judged, &r->measured, err));
        DK_TRY(di_classifier_fit_temperature(c, &r->texts.all, order, first, logits, err));
    }
    DK_TRY(
        di_classifier_judge_texts(c, &r->texts.all, order + first, count - first, logits, judged, &r->measured, err));
    dk_strbuf_clear(&c->held_out);
    di_measured_json(&r->measured, &c->held_out);
    if (agreement > 0) {
        di_promise_choose(judged, count - first, agreement, di_options_f64(r->options, "classifier.confidence_level"),
                          &c->promise);
        tell_promise(r);
    }
out:
    dk_free(r->host, order);
    dk_free(r->host, judged);
    dk_free(r->host, logits);
    return rc;
}

/* ---- the end ---- */

static int32_t finish(run *r, dk_strbuf *json, dk_error *err)
{
    dk_error problem;
    int32_t rc;
    dk_error_clear(&problem);
    r->state.seconds += dk_seconds() - r->begun;
    DK_TRY(di_classifier_round(r->classifier, err));
    DK_TRY(tell(r, DISTILL_PHASE_EVALUATING, 0, 0, err));
    if (r->texts.held_out_count) DK_TRY(measure(r, err));
    DK_TRY(tell(r, DISTILL_PHASE_SAVING, 0, 0, err));
    if (r->output.path) DK_TRY(di_classifier_save(r->classifier, r->output.path, err));
    DK_TRY(result_json(r, 0, json, err));
    DK_TRY(dk_strbuf_check(&r->warnings, err));
    if (r->output.path) DK_TRY(di_fit_output_result(&r->output, json, err));
    if (r->output.path) show(r, json, 0, &problem);
out:
    return rc;
}

static int32_t prepare(run *r, dk_error *err)
{
    const di_options *o = r->options;
    int32_t rc;
    DK_TRY(di_fit_texts_open(r->args, &r->texts, err));
    if (r->texts.seen)
        warn(r, "%lld held-out texts are among those that are learnt, and were left out", (long long)r->texts.seen);
    DK_TRY(di_classifier_check_promise(o, r->texts.held_out_count, err));
    plan_steps(r);
    DK_TRY(dk_new(r->host, r->batch_size, &r->indices, err));
    DK_TRY(make_loss(r, err));
    DK_TRY(make_classifier(r, err));
    DK_TRY(di_fit_create(r->classifier, &r->texts.all, r->loss, o, &r->fit, err));
    r->fit->schedule.steps = r->steps;
    r->state.data = hash_texts(&r->texts);
    DK_TRY(di_classifier_settings_hash(o, r->host, &r->state.settings, err));
    if (r->output.path)
        DK_TRY(di_fit_output_prepare(&r->output, di_options_flag(o, "output.overwrite"), r->args->resume, err));
    DK_TRY(make_vectors(r, err));
    if (!r->args->resume) goto out;
    DK_TRY(di_fit_load(r->fit, &r->state, r->output.path, err));
    DK_TRY(di_fit_output_rewind(&r->output, r->fit->step, err));
out:
    return rc;
}

int32_t di_classifier_train(const di_classifier_args *args, di_classifier **out, dk_strbuf *json, dk_error *err)
{
    const di_options *o = args->options;
    run r = {.args = args,
             .options = o,
             .host = args->backend->host,
             .output = {args->backend->host, di_options_text(o, "output.path"), di_options_flag(o, "output.metrics"),
                        di_options_is(o, "output.report", "html"), di_options_is(o, "output.language", "pt"), 0, 0},
             .seed = (uint64_t)di_options_i64(o, "train.seed"),
             .begun = dk_seconds()};
    int32_t rc;
    dk_strbuf_init(&r.warnings, r.host);
    DK_TRY(dk_ranks_refuse(r.host, "training of a classifier", err));
    DK_TRY(di_meter_start(r.host, o, 1, &r.meter, err));
    DK_TRY(di_classifier_check_options(o, args->lines != NULL, err));
    if (args->resume && !r.output.path)
        DK_TRY(dk_fail(err, DK_E_OPTION, "output.path is not set: there is nothing to go on from"));
    DK_TRY(prepare(&r, err));
    DK_TRY(all_steps(&r, err));
    DK_TRY(finish(&r, json, err));
    *out = r.classifier;
    r.classifier = NULL;
out:
    di_fit_free(r.fit);
    di_classifier_free(r.classifier);
    di_loss_release(r.loss);
    di_fit_texts_free(r.host, &r.texts);
    dk_free(r.host, r.indices);
    dk_strbuf_free(&r.warnings);
    di_meter_end(&r.meter);
    return rc;
}
