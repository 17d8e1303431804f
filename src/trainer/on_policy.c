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

enum { DRAW_KIND, DRAW_TEXT, DRAWS }; /* numbers of a step in the stream */

static uint64_t draw_number(int64_t step, int which) { return (uint64_t)step * DRAWS + (uint64_t)which; }

void di_on_policy_read(di_trainer *t)
{
    const di_options *o = t->options;
    t->on_policy.lambda = di_options_f64(o, "train.on_policy.lambda");
    t->on_policy.temperature = di_options_f64(o, "train.on_policy.temperature");
    t->on_policy.top_p = di_options_f64(o, "train.on_policy.top_p");
    t->on_policy.rules.most = di_options_i64(o, "train.on_policy.max_new_tokens");
    t->on_policy.rules.plain = di_options_i64(o, "train.on_policy.prompt_tokens");
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

int32_t di_on_policy_check_loss(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    const char *name = di_loss_imitates_labels(loss);
    if (t->on_policy.lambda == 0 || !name) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "loss %s learns from labels, and text that the student writes itself (train.on_policy) has none but "
                   "its own: leave it out (also loss.hard_label_weight)",
                   name);
}

int32_t di_on_policy_check(di_trainer *t, dk_error *err)
{
    int32_t rc = DK_OK;
    if (t->on_policy.lambda == 0) return DK_OK;
    if (!t->teacher || !t->objective.uses_teacher)
        return dk_fail(err, DK_E_OPTION,
                       "train.on_policy needs a teacher, which scores what the student writes: give teacher.path");
    if (!di_student_model(t->student))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "train.on_policy: a student of callbacks does not write text; leave it out");
    DK_TRY(di_on_policy_check_loss(t, t->objective.loss, err));
    if ((rc = di_teacher_check_new_text(t->teacher, err)) != DK_OK) {
        dk_error_context(err, "train.on_policy");
        goto out;
    }
    DK_TRY(check_length(t, err));
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
    DK_TRY(di_student_as_teacher(t->student, &p->writer, err));
    if (!model->config.stop_count)
        dk_log(t->host, DK_LOG_WARN, "trainer",
               "the student has no token that ends a text: what it writes is always %lld tokens long",
               (long long)p->rules.most);
out:
    return rc;
}

void di_on_policy_free(di_trainer *t)
{
    di_texts_free(&t->on_policy.texts);
    di_batch_free(t->on_policy.other);
    di_teacher_release(t->on_policy.writer);
}

/* ---- a window ---- */

int32_t di_on_policy_may_write(const di_trainer *t, int64_t step)
{
    return t->on_policy.lambda > 0 &&
           dk_random_uniform(t->data.seed, DK_STREAM_ON_POLICY, draw_number(step, DRAW_KIND)) < t->on_policy.lambda;
}

static int32_t take_token(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    enum { GO_ON = 0, CANCELLED = 2 };
    di_trainer *t = user;
    di_text *text = &t->on_policy.texts.items[sequence];
    (void)log_prob;
    t->on_policy.texts.ids[text->first + text->prompt + text->written++] = id;
    text->ended = finished == 1;
    if (t->cancel) return CANCELLED;
    return text->written == text->room && !finished ? DK_TEXT_ENDS : GO_ON;
}

static int32_t write_texts(di_trainer *t, dk_error *err)
{
    const di_on_policy *p = &t->on_policy;
    const dk_config *config = &di_student_model(t->student)->config;
    const dk_tokens prompts = {p->texts.prompts, p->texts.offsets, p->texts.count};
    const dk_generate_args args = {
        .max_tokens = p->rules.most,
        .precision = t->precision,
        .temperature = p->temperature,
        .top_p = p->top_p,
        .seed = dk_random_u64(t->data.seed, DK_STREAM_ON_POLICY, draw_number(t->counters.step, DRAW_TEXT)),
        .vocab_valid = t->objective.vocab_valid,
        .stop = config->stops,
        .stop_count = config->stop_count,
        .emit = take_token,
        .user = t};
    int32_t rc;
    DK_TRY(dk_queue_wait(&t->queue, err));
    rc = di_teacher_write(p->writer, &prompts, &args, err);
    if (rc == DK_E_CANCELLED)
        rc = dk_fail(err, DK_E_CANCELLED, "cancelled in step %lld, which is undone", (long long)t->counters.step + 1);
    else if (rc != DK_OK) dk_error_context(err, "step %lld, nothing was changed", (long long)t->counters.step + 1);
out:
    return rc;
}

static void count_texts(di_on_policy *p)
{
    di_written *w = &p->window;
    w->windows = 1;
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

void di_on_policy_restore(di_trainer *t)
{
    if (t->on_policy.is_written) swap_batches(t);
}

int32_t di_on_policy_window(di_trainer *t, dk_error *err)
{
    di_on_policy *p = &t->on_policy;
    int32_t rc = DK_OK;
    memset(&p->window, 0, sizeof p->window);
    if (!di_on_policy_may_write(t, t->counters.step)) goto out;
    DK_TRY(di_texts_take_prompts(&p->texts, t->data.batch, &p->rules, &p->window.full, err));
    if (!p->texts.count) goto out; /* no prompt leaves room: the window stays the data's */
    DK_TRY(write_texts(t, err));
    DK_TRY(di_texts_batch(&p->texts, p->window_tokens, p->window_sequences, &p->other, err));
    count_texts(p);
    swap_batches(t);
out:
    return rc;
}

double di_on_policy_flops(const di_trainer *t)
{
    const di_written *w = &t->on_policy.window;
    return w->texts ? di_teacher_flops(t->on_policy.writer, w->read, w->read / w->texts) : 0;
}

void di_on_policy_end(di_trainer *t)
{
    const di_written *w = &t->on_policy.window;
    di_written *total = &t->on_policy.total;
    total->windows += w->windows;
    total->texts += w->texts;
    total->tokens += w->tokens;
    total->ended += w->ended;
    total->full += w->full;
    total->read += w->read;
}

void di_on_policy_json(const di_trainer *t, const di_written *w, dk_strbuf *out)
{
    dk_strbuf_puts(out, "{\"share\":");
    dk_strbuf_f64(out, t->on_policy.lambda);
    dk_strbuf_printf(out, ",\"windows\":%lld,\"texts\":%lld,\"tokens\":%lld,\"ended\":%lld,\"full\":%lld",
                     (long long)w->windows, (long long)w->texts, (long long)w->tokens, (long long)w->ended,
                     (long long)w->full);
    dk_strbuf_puts(out, ",\"mean_length\":");
    dk_strbuf_f64(out, w->texts ? (double)w->tokens / (double)w->texts : 0);
    dk_strbuf_puts(out, "}");
}
