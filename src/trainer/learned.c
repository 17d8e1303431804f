/* learned.c - weights of the teacher's members that are learned while the student is: every n steps, on held-out data,
 * between two windows. */
#include <string.h>

#include "trainer/trainer_state.h"

enum { WINDOWS = 4 }; /* per forward */

static int32_t refuse_inner(const di_teacher *teacher, dk_error *err)
{
    const di_teacher *member;
    for (int64_t i = 0; (member = di_teacher_member(teacher, i)); i++)
        if (di_teacher_learning(member))
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "teacher.blend.weighting learned is of the whole teacher: a blend in it has weights that "
                           "are given");
    return DK_OK;
}

int32_t di_learned_plan(di_trainer *t, dk_error *err)
{
    const di_learning *how = di_teacher_learning(t->teacher);
    int32_t rc;
    DK_TRY(refuse_inner(t->teacher, err));
    t->learned.updated = -1;
    if (!how) goto out;
    if (!t->data.eval)
        return dk_fail(err, DK_E_OPTION,
                       "teacher.blend.weighting learned needs data that is held out: give data.eval or "
                       "data.eval_fraction");
    if (t->steps && how->every >= t->steps)
        dk_log(t->host, DK_LOG_WARN, "trainer",
               "teacher.blend.learn.every is %lld, and the run ends after %lld steps: the weights are never learned",
               (long long)how->every, (long long)t->steps);
    t->learned.count = how->count;
    DK_TRY(dk_new(t->host, how->count, &t->learned.weights, err));
    di_teacher_first_weights(t->teacher, t->learned.weights);
    di_session_set_learned(t->session, t->learned.weights);
out:
    return rc;
}

int32_t di_learned_is_due(const di_trainer *t, int64_t step)
{
    const di_learning *how = t->learned.count ? di_teacher_learning(t->teacher) : NULL;
    return how && step > 0 && step % how->every == 0 && t->learned.updated != step;
}

/* Held-out windows from where the last update ended, as many as have the tokens that are asked for. */
static int32_t read_held_out(di_trainer *t, const di_learning *how, di_learner *learner, di_batch *batch,
                             int64_t *window, dk_error *err)
{
    int64_t total = 0, read = 0;
    distill_batch view;
    int32_t rc;
    DK_TRY(di_dataset_get_i64(t->data.eval, "windows", &total, err));
    while (read < total && (!how->tokens || di_learner_sums(learner)->tokens < how->tokens)) {
        const int64_t left = total - *window, count = left < WINDOWS ? left : WINDOWS;
        DK_TRY(t->cancel || dk_host_cancelled(t->host)
                   ? dk_fail(err, DK_E_CANCELLED, "cancelled while the weights of teachers were learned")
                   : DK_OK);
        DK_TRY(di_dataset_windows(t->data.eval, *window, count, batch, err));
        di_batch_view(batch, &view);
        DK_TRY(di_learner_add(learner, &view, batch->labels, t->learned.weights, err));
        *window = (*window + count) % total;
        read += count;
    }
out:
    return rc;
}

int32_t di_learned_update(di_trainer *t, dk_error *err)
{
    const di_learning *how = di_teacher_learning(t->teacher);
    di_learner *learner = NULL;
    di_batch *batch = NULL;
    int64_t window = t->learned.window;
    int32_t rc;
    DK_TRY(di_batch_create(t->data.eval, WINDOWS, &batch, err));
    DK_TRY(di_learner_create(t->teacher, t->counters.step, batch->max_tokens, batch->max_sequences, &learner, err));
    DK_TRY(read_held_out(t, how, learner, batch, &window, err));
    const di_learned_sums *sums = di_learner_sums(learner);
    if (sums->tokens) {
        di_learn_step(how, sums, t->learned.count, t->learned.weights);
        t->learned.nats = sums->nats / (double)sums->tokens;
    }
    t->learned.window = window;
    t->learned.updated = t->counters.step;
    t->learned.updates++;
out:
    di_learner_free(learner);
    di_batch_free(batch);
    return rc;
}

void di_learned_json(const di_trainer *t, dk_strbuf *out)
{
    dk_strbuf_printf(out, "{\"updates\":%lld,\"nats\":", (long long)t->learned.updates);
    dk_strbuf_f64(out, t->learned.nats);
    dk_strbuf_puts(out, ",\"weights\":{");
    for (int64_t i = 0; i < t->learned.count; i++) {
        const char *of = di_teacher_learned_name(t->teacher, i);
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, of, strlen(of));
        dk_strbuf_puts(out, ":");
        dk_strbuf_f64(out, t->learned.weights[i]);
    }
    dk_strbuf_puts(out, "}}");
}
