/* preference.c - a loss that compares the sides of pairs (dpo): is it the data's, whose log-probabilities are its
 * reference, and what of both belongs to the micro-batch under work.
 *
 * Reference and teacher are asked once, before the first step, over all training pairs and those of the held-out data;
 * what they said, 8 bytes for a sequence and model, stays in memory and goes into checkpoints, so that a run that goes
 * on needs neither its first weights nor the reference. */
#include <string.h>

#include "loss/builtin.h"
#include "trainer/trainer_state.h"

static int32_t has_pairs(const di_dataset *data, int64_t *pairs, dk_error *err)
{
    const int32_t rc = di_dataset_get_i64(data, "pairs", pairs, err);
    if (*pairs < 0) *pairs = 0; /* a stream has none */
    return rc;
}

static int32_t fail_plain(const di_trainer *t, int64_t pairs, dk_error *err)
{
    dk_strbuf text;
    dk_strbuf_init(&text, t->host);
    di_loss_describe(t->objective.loss, &text);
    dk_fail(err, DK_E_OPTION,
            "%lld samples of %s have chosen and rejected, which loss %s does not compare: take loss dpo, or set "
            "data.preferences to chosen to train on chosen alone",
            (long long)pairs, di_dataset_name(di_dataset_source(t->data.train, 0)), text.data ? text.data : "");
    dk_strbuf_free(&text);
    return DK_E_OPTION;
}

static int32_t check_data(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    int64_t pairs = 0, term, item;
    di_feature_term feature;
    int32_t rc;
    DK_TRY(has_pairs(t->data.train, &pairs, err));
    if (!di_loss_pair_term(loss, &term, &item)) return pairs ? fail_plain(t, pairs, err) : DK_OK;
    if (!pairs)
        return dk_fail(err, DK_E_OPTION, "loss dpo compares pairs, and %s has no sample with chosen and rejected%s%s",
                       di_dataset_name(di_dataset_source(t->data.train, 0)),
                       di_options_is(t->options, "data.preferences", "chosen") ? " (data.preferences is chosen)" : "",
                       di_dataset_is_stream(t->data.train) ? ": a stream's samples are no pairs" : "");
    if (t->on_policy.lambda > 0)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "train.on_policy beside loss dpo: what the student writes is no pair; leave one of them out");
    if (di_loss_feature(loss, 0, &feature))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "loss %s is on features, which would be compared in rejected answers, too: leave it or dpo out",
                       feature.builtin->name);
out:
    return rc;
}

/* ---- whose log-probabilities ---- */

static int32_t check_model(const di_trainer *t, const char *what, di_teacher *model, dk_error *err)
{
    const int32_t kind = di_teacher_form(model)->kind;
    int64_t length = 0;
    int32_t rc;
    if (kind != DISTILL_DENSE && kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s gives %s targets, which have no log-probability of every token", what,
                       di_kind_name(kind));
    if (di_teacher_changes(model))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s is another one at other steps, and what it says of pairs is asked for once: give a model",
                       what);
    DK_TRY(di_dataset_check_vocab(t->data.train, di_teacher_vocab_valid(model), err));
    DK_TRY(di_dataset_get_i64(t->data.train, "max_length", &length, err));
    const int64_t context = di_teacher_facts(model).context_length;
    if (context > 0 && length > context)
        return dk_fail(err, DK_E_MISMATCH,
                       "a side of a pair has %lld tokens, the context of %s is %lld: lower "
                       "data.sequence_length",
                       (long long)length, what, (long long)context);
out:
    return rc;
}

static int32_t need_teacher(const di_trainer *t, const char *key, dk_error *err)
{
    if (t->teacher) return check_model(t, "the teacher", t->teacher, err);
    return dk_fail(err, DK_E_OPTION, "%s teacher: there is no teacher; give teacher.path", key);
}

static int32_t open_reference(di_trainer *t, const char *path, dk_error *err)
{
    di_preference *p = &t->preference;
    const dk_tokenizer *own = di_student_tokenizer(t->student);
    int32_t rc;
    DK_TRY(di_teacher_open(t->backend, path, 1, &p->reference, err));
    DK_TRY(di_check_same_tokens("the student", own, "loss.dpo.reference", di_teacher_tokenizer(p->reference), err));
    DK_TRY(check_model(t, "loss.dpo.reference", p->reference, err));
    DK_TRY(di_teacher_hash(p->reference, p->by, err));
out:
    return rc;
}

/* Looks at the weights as they are when it is asked. */
static int32_t open_initial(di_trainer *t, dk_error *err)
{
    const int32_t rc = di_student_as_teacher(t->student, &t->preference.reference, err);
    if (rc) dk_error_context(err, "loss.dpo.reference initial (a model or teacher may be it, too)");
    return rc;
}

static int32_t find_reference(di_trainer *t, dk_error *err)
{
    di_preference *p = &t->preference;
    const char *name = di_options_at_text(t->options, "loss", p->item, "dpo.reference");
    int32_t rc = DK_OK;
    if (di_loss_teacher_labels(t->objective.loss)) DK_TRY(need_teacher(t, "loss.dpo.label", err));
    if (!strcmp(name, "teacher")) {
        DK_TRY(need_teacher(t, "loss.dpo.reference", err));
        p->reference = di_teacher_retain(t->teacher);
    } else if (strcmp(name, "initial") != 0) {
        return open_reference(t, name, err);
    } else {
        DK_TRY(open_initial(t, err));
        DK_TRY(check_model(t, "loss.dpo.reference initial", p->reference, err));
    }
    strcpy(p->by, name);
out:
    return rc;
}

int32_t di_preference_open(di_trainer *t, dk_error *err)
{
    di_preference *p = &t->preference;
    int64_t term;
    int32_t rc;
    DK_TRY(check_data(t, t->objective.loss, err));
    p->on = di_loss_pair_term(t->objective.loss, &term, &p->item);
    if (p->on) DK_TRY(find_reference(t, err));
out:
    return rc;
}

int32_t di_preference_check(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    int64_t term, item;
    if (t->preference.on == di_loss_pair_term(loss, &term, &item)) return check_data(t, loss, err);
    return dk_fail(err, DK_E_STAGE,
                   t->preference.on
                       ? "the data has pairs, and no loss would compare them: leave dpo a small weight"
                       : "this trainer was made while dpo had weight 0: make one with a small weight there, and then "
                         "lower it");
}

int32_t di_preference_plan(di_trainer *t, int64_t sequences, dk_error *err)
{
    di_preference *p = &t->preference;
    int32_t rc = DK_OK;
    if (!p->on) return DK_OK;
    DK_TRY(dk_new(t->host, sequences, &p->micro[DI_SCORES_REFERENCE], err));
    DK_TRY(dk_new(t->host, sequences, &p->micro[DI_SCORES_TEACHER], err));
out:
    return rc;
}

void di_preference_free(di_trainer *t)
{
    di_preference *p = &t->preference;
    di_teacher_release(p->reference);
    for (int i = 0; i < DI_SCORES; i++) dk_free(t->host, p->scores[i]);
    for (int i = 0; i < 2; i++) dk_free(t->host, p->micro[i]);
}

/* ---- asking ---- */

di_dataset *di_preference_data(const di_trainer *t, int32_t scores)
{
    return scores == DI_SCORES_EVAL ? t->data.eval : t->data.train;
}

int32_t di_preference_wants(const di_trainer *t, int32_t scores)
{
    int64_t pairs = 0;
    if (!t->preference.on) return 0;
    if (scores == DI_SCORES_TEACHER) return di_loss_teacher_labels(t->objective.loss);
    if (scores == DI_SCORES_EVAL) return t->data.eval && has_pairs(t->data.eval, &pairs, NULL) == DK_OK && pairs > 0;
    return 1;
}

static int32_t tell(void *user, int64_t done, int64_t total)
{
    return di_progress_part(user, DISTILL_PHASE_CACHING, done, total, NULL) != DK_OK;
}

static int32_t ask(di_trainer *t, int32_t scores, dk_error *err)
{
    di_preference *p = &t->preference;
    const int64_t own = di_student_vocab_valid(t->student);
    const di_pair_score_args args = {.backend = t->backend,
                                     .model = scores == DI_SCORES_TEACHER ? t->teacher : p->reference,
                                     .data = di_preference_data(t, scores),
                                     .vocab = t->objective.uses_teacher ? t->objective.vocab_valid : own,
                                     .precision = t->precision,
                                     .cancel = &t->cancel,
                                     .progress = tell,
                                     .user = t};
    const int64_t count = di_dataset_sequence_count(args.data);
    double *out = NULL;
    int32_t rc;
    DK_TRY(dk_new(t->host, count, &out, err));
    DK_TRY(di_pair_scores(&args, out, err));
    p->scores[scores] = out;
    return DK_OK;
out:
    dk_free(t->host, out);
    return rc;
}

int32_t di_preference_ask(di_trainer *t, dk_error *err)
{
    di_preference *p = &t->preference;
    int32_t rc = DK_OK;
    if (!p->on || p->asked) return DK_OK;
    const int32_t initial = !strcmp(p->by, "initial"), late = initial && t->counters.step > 0;
    if (initial && !late && !p->reference) DK_TRY(open_initial(t, err));
    for (int32_t i = 0; i < DI_SCORES; i++) {
        if (!di_preference_wants(t, i) || p->scores[i]) continue;
        if (i == DI_SCORES_TEACHER || !late) DK_TRY(ask(t, i, err));
        else
            dk_log(t->host, DK_LOG_WARN, "trainer",
                   "other held-out data than before: rewards of its pairs are not known, for the student's first "
                   "weights are gone");
    }
    p->asked = 1;
    di_teacher_release(p->reference); /* it has said all that it is asked for */
    p->reference = NULL;
    dk_log(t->host, DK_LOG_INFO, "trainer", "log-probabilities of %lld sequences by the reference are kept",
           (long long)di_dataset_sequence_count(t->data.train));
out:
    return rc;
}

const struct di_pairs *di_preference_pairs(di_trainer *t)
{
    di_preference *p = &t->preference;
    const di_batch *batch = t->data.batch;
    const int64_t first = batch->window_first[t->window.micro_index * t->data.micro_batch_size];
    if (!p->on) return NULL;
    for (int k = 0; k < 2; k++)
        for (int64_t s = 0; p->scores[k] && s < t->window.micro.sequences; s++)
            p->micro[k][s] = p->scores[k][batch->origins[first + s].number];
    p->pairs = (di_pairs){.sides = batch->sides + first,
                          .reference = p->micro[DI_SCORES_REFERENCE],
                          .teacher = p->scores[DI_SCORES_TEACHER] ? p->micro[DI_SCORES_TEACHER] : NULL,
                          .scale = batch->pairs ? batch->weight_sum / batch->pair_weight_sum : 0};
    return &p->pairs;
}

int32_t di_preference_refuse(const di_trainer *t, dk_error *err)
{
    if (!t->preference.on) return DK_OK;
    return dk_fail(err, DK_E_STAGE,
                   "loss dpo is the trainer's own, and gradients of the host's own would not be divided by the pairs: "
                   "call distill_trainer_backward with NULL");
}

void di_preference_json(const di_trainer *t, dk_strbuf *out)
{
    const di_loss_sums *sums = &t->objective.sums;
    const double count = sums->pairs > 0 ? (double)sums->pairs : 1;
    dk_strbuf_printf(out, "{\"count\":%lld,\"accuracy\":", (long long)sums->pairs);
    dk_strbuf_f64(out, (double)sums->preferred / count);
    dk_strbuf_puts(out, ",\"margin\":");
    dk_strbuf_f64(out, sums->margin / count);
    dk_strbuf_puts(out, "}");
}
