/* on_policy.c - windows that the student writes itself (GKD, arXiv 2306.13649): with probability train.on_policy.lambda
 * the prompts of a step's data are kept, the student's weights as they stand write what follows, and the loss is that
 * of the written tokens alone, which are the window's divisor.
 *
 * The draw is one for a window, not for a sequence: a window is of one kind, so that it has one divisor, and the mean
 * of a step's loss is of one distribution. What is drawn hangs on (train.seed, step) alone, and each text on these, the
 * weights and its number in the window: a step that is undone, or comes after a resume, writes the same again. */
#include <string.h>

#include "base/random.h"
#include "trainer/trainer_state.h"

enum { DRAW_KIND, DRAW_TEXT, DRAW_REPLAY, DRAW_PICK, DRAWS }; /* numbers of a step in the stream */

static uint64_t draw_number(int64_t step, int which) { return (uint64_t)step * DRAWS + (uint64_t)which; }

void di_on_policy_read(di_trainer *t)
{
    const di_options *o = t->options;
    t->on_policy.lambda = di_options_f64(o, "train.on_policy.lambda");
    t->on_policy.temperature = di_options_f64(o, "train.on_policy.temperature");
    t->on_policy.top_p = di_options_f64(o, "train.on_policy.top_p");
    t->on_policy.rules.most = di_options_i64(o, "train.on_policy.max_new_tokens");
    t->on_policy.rules.plain = di_options_i64(o, "train.on_policy.prompt_tokens");
    t->on_policy.replay.share = di_options_f64(o, "train.on_policy.replay.share");
    t->on_policy.replay.age = di_options_i64(o, "train.on_policy.replay.age");
    t->on_policy.replay.capacity =
        t->on_policy.replay.share > 0 ? di_options_i64(o, "train.on_policy.replay.capacity") : 0;
    t->on_policy.replay.keeps_log_probs = di_options_f64(o, "train.on_policy.replay.importance") > 0;
    t->on_policy.importance.bound = di_options_f64(o, "train.on_policy.replay.importance");
    t->on_policy.adaptive = (di_adaptive){.start = di_options_f64(o, "train.on_policy.adaptive.start"),
                                          .rise = di_options_f64(o, "train.on_policy.adaptive.rise"),
                                          .tolerance = di_options_f64(o, "train.on_policy.adaptive.tolerance")};
    t->on_policy.adaptive.share = t->on_policy.adaptive.rise > 0 ? t->on_policy.adaptive.start : t->on_policy.lambda;
}

/* ---- what cannot be is said at create ---- */

static int32_t check_length(di_trainer *t, dk_error *err)
{
    di_prompt_rules *rules = &t->on_policy.rules;
    const int64_t limit = di_options_i64(t->options, "data.sequence_length");
    int64_t length = 0;
    const int32_t rc = di_dataset_get_i64(t->data.train, "max_length", &length, err);
    if (rc != DK_OK) return rc;
    if (rules->most >= limit)
        return dk_fail(err, DK_E_OPTION,
                       "train.on_policy.max_new_tokens %lld leaves no room for a prompt in data.sequence_length %lld: "
                       "lower it, or raise data.sequence_length",
                       (long long)rules->most, (long long)limit);
    rules->longest = length + rules->most < limit ? length + rules->most : limit;
    return DK_OK;
}

/* What the share goes by. */
static int32_t check_adaptive(const di_trainer *t, dk_error *err)
{
    const di_adaptive *a = &t->on_policy.adaptive;
    const int64_t every = di_options_i64(t->options, "train.eval_every");
    if (a->rise == 0) return DK_OK;
    if (a->start > t->on_policy.lambda)
        return dk_fail(err, DK_E_OPTION, "train.on_policy.adaptive.start is above train.on_policy.lambda: lower it");
    if (!t->data.eval || !every)
        return dk_fail(
            err, DK_E_OPTION,
            "train.on_policy.adaptive goes by evaluations, and there are none in this run: give data.eval or "
            "data.eval_fraction, and train.eval_every");
    if (a->start == 0 && t->steps && every >= t->steps)
        dk_log(
            t->host, DK_LOG_WARN, "trainer",
            "train.on_policy.adaptive begins at 0 and train.eval_every is %lld of %lld steps: the student never writes",
            (long long)every, (long long)t->steps);
    return DK_OK;
}

/* A window's texts are drawn out of as many at least. */
static int32_t check_replay(const di_trainer *t, dk_error *err)
{
    const di_replay *r = &t->on_policy.replay;
    if (!r->capacity || r->capacity >= t->data.batch_size) return DK_OK;
    return dk_fail(
        err, DK_E_OPTION,
        "train.on_policy.replay.capacity %lld is below train.batch_size %lld: no window's texts would be drawn "
        "from it; raise it",
        (long long)r->capacity, (long long)t->data.batch_size);
}

/* Windows of each kind that there will be have a loss. */
static int32_t check_apart(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    const di_on_policy *p = &t->on_policy;
    if (!di_loss_is_of(loss, DI_OF_STUDENT) && p->lambda > 0)
        return dk_fail(err, DK_E_OPTION,
                       "no loss is on text that the student writes itself, and train.on_policy has it write: give one "
                       "with on: student, or all");
    if (!di_loss_is_of(loss, DI_OF_DATA) && (p->lambda < 1 || p->adaptive.rise > 0))
        return dk_fail(err, DK_E_OPTION, "no loss is on the data, and %s: give one with on: data, or all",
                       p->lambda > 0 ? "not all windows are the student's" : "there is no train.on_policy");
    if (di_loss_apart(loss) && p->lambda == 0)
        return dk_fail(err, DK_E_OPTION,
                       "loss.on of %s: without train.on_policy all text is the data's; leave it out, or give "
                       "train.on_policy",
                       di_loss_apart(loss));
    return DK_OK;
}

int32_t di_on_policy_check_loss(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    const char *name = di_loss_imitates_labels(loss, DI_OF_STUDENT);
    if (t->on_policy.lambda > 0 && name)
        return dk_fail(
            err, DK_E_OPTION,
            "loss %s learns from labels, and text that the student writes itself (train.on_policy) has none "
            "but its own: give it as a term of a list with on: data (also instead of loss.hard_label_weight)",
            name);
    return check_apart(t, loss, err);
}

static int32_t fail_unasked(const di_trainer *t, dk_error *err)
{
    dk_strbuf text;
    dk_strbuf_init(&text, t->host);
    di_loss_describe(t->objective.loss, &text);
    dk_fail(err, DK_E_OPTION,
            "train.on_policy needs a teacher's word on what the student writes, and loss %s asks for none: take one "
            "that does (forward_kl, jsd, ...)",
            text.data ? text.data : "");
    dk_strbuf_free(&text);
    return DK_E_OPTION;
}

int32_t di_on_policy_check(di_trainer *t, dk_error *err)
{
    int32_t rc = DK_OK;
    if (t->on_policy.lambda == 0) return di_on_policy_check_loss(t, t->objective.loss, err);
    if (!t->teacher)
        return dk_fail(err, DK_E_OPTION,
                       "train.on_policy needs a teacher, which scores what the student writes: give teacher.path");
    if (!t->objective.uses_teacher) return fail_unasked(t, err);
    if (!di_student_writes(t->student))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "train.on_policy: this student of callbacks does not write text: its table has no generate");
    DK_TRY(di_on_policy_check_loss(t, t->objective.loss, err));
    if ((rc = di_teacher_check_new_text(t->teacher, err)) != DK_OK) {
        dk_error_context(err, "train.on_policy");
        goto out;
    }
    DK_TRY(check_length(t, err));
    DK_TRY(check_adaptive(t, err));
    DK_TRY(check_replay(t, err));
out:
    return rc;
}

/* ---- room ---- */

int64_t di_on_policy_length(const di_trainer *t, int64_t length)
{
    return t->on_policy.lambda > 0 && t->on_policy.rules.longest > length ? t->on_policy.rules.longest : length;
}

int32_t di_on_policy_plan(di_trainer *t, int64_t tokens, int64_t sequences, dk_error *err)
{
    di_on_policy *p = &t->on_policy;
    const dk_model *model = di_student_model(t->student);
    int32_t rc = DK_OK;
    if (p->lambda == 0) goto out;
    p->texts.host = t->host;
    p->window_tokens = tokens / t->data.micro_batch_size;
    p->window_sequences = sequences / t->data.micro_batch_size;
    if (p->replay.capacity) DK_TRY(di_replay_plan(&p->replay, t->host, p->rules.longest, err));
    if (model && !model->config.stop_count)
        dk_log(t->host, DK_LOG_WARN, "trainer",
               "the student has no token that ends a text: what it writes is always %lld tokens long",
               (long long)p->rules.most);
out:
    return rc;
}

void di_on_policy_free(di_trainer *t)
{
    di_texts_free(&t->on_policy.texts);
    di_replay_free(&t->on_policy.replay);
    di_batch_free(t->on_policy.other);
}

/* ---- a window ---- */

static double draw(const di_trainer *t, int64_t step, int which)
{
    return dk_random_uniform(t->data.seed, DK_STREAM_ON_POLICY, draw_number(step, which));
}

static uint64_t draw_seed(const di_trainer *t, int which)
{
    return dk_random_u64(t->data.seed, DK_STREAM_ON_POLICY, draw_number(t->counters.step, which));
}

/* The share may yet go up, to lambda at most. */
int32_t di_on_policy_may_write(const di_trainer *t, int64_t step)
{
    return t->on_policy.lambda > 0 && draw(t, step, DRAW_KIND) < t->on_policy.lambda;
}

static int32_t take_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    enum { GO_ON = 0, CANCELLED = 2 };
    di_trainer *t = user;
    di_text *text = &t->on_policy.texts.items[sequence];
    t->on_policy.texts.log_probs[text->first + text->prompt + text->written] = (float)log_prob;
    t->on_policy.texts.ids[text->first + text->prompt + text->written++] = id;
    text->ended = finished == 1;
    if (t->cancel) return CANCELLED;
    return text->written == text->room && !finished ? DK_TEXT_ENDS : GO_ON;
}

static int32_t write_texts(di_trainer *t, dk_error *err)
{
    const di_on_policy *p = &t->on_policy;
    const dk_model *model = di_student_model(t->student);
    const dk_tokens prompts = {p->texts.prompts, p->texts.offsets, p->texts.count};
    const dk_generate_args args = {.max_tokens = p->rules.most,
                                   .precision = t->precision,
                                   .temperature = p->temperature,
                                   .top_p = p->top_p,
                                   .seed = draw_seed(t, DRAW_TEXT),
                                   .vocab_valid = t->objective.vocab_valid,
                                   .stop = model ? model->config.stops : NULL,
                                   .stop_count = model ? model->config.stop_count : 0,
                                   .emit = take_token,
                                   .user = t};
    int32_t rc;
    DK_TRY(dk_queue_wait(&t->queue, err));
    rc = di_student_write(t->student, &prompts, &args, p->texts.most, err);
    if (rc == DK_E_CANCELLED)
        rc = dk_fail(err, DK_E_CANCELLED, "cancelled in step %lld, which is undone", (long long)t->counters.step + 1);
    else if (rc != DK_OK) dk_error_context(err, "step %lld, nothing was changed", (long long)t->counters.step + 1);
out:
    return rc;
}

static void count_texts(di_on_policy *p)
{
    di_written *w = &p->window;
    w->texts = p->texts.count;
    for (int64_t i = 0; i < p->texts.count; i++) {
        w->tokens += p->texts.items[i].written;
        w->ended += p->texts.items[i].ended;
        w->read += p->texts.items[i].prompt + p->texts.items[i].written;
    }
}

/* The window's batch gives way to the written one, and comes back before the next window is read. */
static void swap_batches(di_trainer *t)
{
    di_batch *batch = t->data.batch;
    t->data.batch = t->on_policy.other;
    t->on_policy.other = batch;
    t->on_policy.is_written = !t->on_policy.is_written;
}

int32_t di_on_policy_of(const di_trainer *t) { return t->on_policy.is_written ? DI_OF_STUDENT : DI_OF_DATA; }

void di_on_policy_restore(di_trainer *t)
{
    if (t->on_policy.is_written) swap_batches(t);
}

/* Packed windows have as many prompts as fit: how many is not known before they are read. */
static void tell_capacity(di_trainer *t)
{
    di_on_policy *p = &t->on_policy;
    if (p->told_capacity || p->texts.count <= p->replay.capacity) return;
    p->told_capacity = 1;
    dk_log(t->host, DK_LOG_WARN, "trainer",
           "step %lld: the window has %lld texts and train.on_policy.replay.capacity is %lld: a window of so many is "
           "written anew each time; raise it to twice that at least",
           (long long)t->counters.step + 1, (long long)p->texts.count, (long long)p->replay.capacity);
}

/* Texts of earlier steps, or new ones. */
static int32_t find_texts(di_trainer *t, dk_error *err)
{
    di_on_policy *p = &t->on_policy;
    int32_t drawn = 0, rc = DK_OK;
    if (p->replay.capacity) tell_capacity(t);
    if (p->replay.capacity && draw(t, t->counters.step, DRAW_REPLAY) < p->replay.share)
        DK_TRY(di_replay_draw(&p->replay, draw_seed(t, DRAW_PICK), &p->texts, &drawn, err));
    p->window.windows = 1;
    p->window.replayed = drawn;
    if (drawn) goto out;
    DK_TRY(write_texts(t, err));
    count_texts(p);
out:
    return rc;
}

int32_t di_on_policy_window(di_trainer *t, dk_error *err)
{
    di_on_policy *p = &t->on_policy;
    int32_t rc = DK_OK;
    memset(&p->window, 0, sizeof p->window);
    if (p->lambda == 0 || draw(t, t->counters.step, DRAW_KIND) >= p->adaptive.share) goto out;
    DK_TRY(di_texts_take_prompts(&p->texts, t->data.batch, &p->rules, &p->window.full, err));
    if (!p->texts.count) goto out; /* no prompt leaves room: the window stays the data's */
    DK_TRY(find_texts(t, err));
    DK_TRY(di_texts_batch(&p->texts, p->window_tokens, p->window_sequences, &p->other, err));
    swap_batches(t);
out:
    return rc;
}

double di_on_policy_flops(const di_trainer *t)
{
    const dk_model *model = di_student_model(t->student);
    const di_written *w = &t->on_policy.window;
    return w->texts && model ? dk_model_flops(model, w->read, w->read / w->texts, 0) : 0;
}

static void add_written(const di_written *from, di_written *to)
{
    to->windows += from->windows;
    to->replayed += from->replayed;
    to->texts += from->texts;
    to->tokens += from->tokens;
    to->ended += from->ended;
    to->full += from->full;
    to->read += from->read;
}

/* What is kept changes here and nowhere else: a window that is undone draws from the same texts again. */
void di_on_policy_end(di_trainer *t)
{
    di_on_policy *p = &t->on_policy;
    add_written(&p->window, &p->total);
    if (!p->replay.capacity) return;
    if (p->window.texts) di_replay_add(&p->replay, &p->texts, t->counters.step);
    di_replay_age(&p->replay, t->counters.step + 1);
}

/* ---- a share that adapts (DistiLLM, arXiv 2402.03898, 4.2) ---- */

void di_on_policy_evaluated(di_trainer *t, double value, int32_t by)
{
    di_adaptive *a = &t->on_policy.adaptive;
    const int32_t comparable = a->has_last && a->by == by;
    if (a->rise == 0) return;
    if (comparable && !(value < a->last - a->tolerance) && a->share < t->on_policy.lambda) {
        a->share = a->share + a->rise < t->on_policy.lambda ? a->share + a->rise : t->on_policy.lambda;
        dk_log(t->host, DK_LOG_INFO, "trainer",
               "step %lld: no better than the evaluation before: the student writes %.3g "
               "of the windows",
               (long long)t->counters.step, a->share);
    }
    a->last = value;
    a->by = by;
    a->has_last = 1;
}

/* ---- what is said of it ---- */

void di_on_policy_json(const di_trainer *t, const di_written *w, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"share\":");
    dk_strbuf_f64(out, t->on_policy.adaptive.share);
    dk_strbuf_printf(out,
                     ",\"windows\":%lld,\"replayed\":%lld,\"texts\":%lld,\"tokens\":%lld,\"ended\":%lld,\"full\":%lld",
                     (long long)w->windows, (long long)w->replayed, (long long)w->texts, (long long)w->tokens,
                     (long long)w->ended, (long long)w->full);
    dk_strbuf_puts(out, ",\"mean_length\":");
    dk_strbuf_f64(out, w->texts ? (double)w->tokens / (double)w->texts : 0);
    if (t->on_policy.replay.capacity) dk_strbuf_printf(out, ",\"kept\":%lld", (long long)t->on_policy.replay.count);
    dk_strbuf_puts(out, "}");
}
