/* team.c - one window by several processes: which part of it is this one's, gradients and figures summed over all, and
 * what all do when one of them fails. Alone, none of it does anything. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "trainer/trainer_state.h"

/* ---- what goes ---- */

int32_t di_ranks_check(const di_trainer *t, dk_error *err)
{
    const int64_t ranks = dk_ranks(t->host);
    int32_t rc = DK_OK;
    if (ranks == 1) return DK_OK;
    if (t->data.batch_size < ranks)
        return dk_fail(err, DK_E_OPTION,
                       "train.batch_size %lld is below the %lld ranks, of which each takes a part of it: raise it, or "
                       "start fewer ranks",
                       (long long)t->data.batch_size, (long long)ranks);
    if (di_student_callbacks(t->student)) DK_TRY(dk_ranks_refuse(t->host, "training of a student of callbacks", err));
    if (t->on_policy.lambda > 0)
        DK_TRY(dk_ranks_refuse(t->host, "text that the student writes (train.on_policy)", err));
    if (t->preference.on) DK_TRY(dk_ranks_refuse(t->host, "a loss that compares pairs", err));
    if (di_shape_reads_text(t->options)) DK_TRY(dk_ranks_refuse(t->host, "choosing a student's shape by text", err));
out:
    return rc;
}

/* ---- planning ---- */

int32_t di_ranks_names(di_trainer *t, dk_error *err)
{
    char own[DI_RANK_NAME] = "";
    if (gethostname(own, sizeof own - 1)) own[0] = 0; /* it is only for messages */
    own[sizeof own - 1] = 0;
    const int32_t rc = dk_ranks_gather(t->host, own, t->team.names, sizeof own, err);
    for (int64_t j = 1; rc == DK_OK && j <= dk_ranks(t->host); j++) t->team.names[j * DI_RANK_NAME - 1] = 0;
    return rc;
}

static int32_t plan_student(di_trainer *t, dk_error *err)
{
    dk_model *model = di_student_model(t->student);
    const int32_t half = di_options_is(t->options, "train.gradient_wire", "bf16");
    dk_exchange_spec spec = {.parameters = model->parameters,
                             .count = model->parameter_count,
                             .wire = half ? DK_BF16 : t->backend->real,
                             .sharded = t->team.sharded};
    int64_t *stages = NULL;
    int32_t rc;
    DK_TRY(dk_new(t->host, spec.count + 1, &stages, err));
    for (int64_t i = 0; i < spec.count; i++) stages[i] = dk_model_whole_at(model, &model->parameters[i]);
    spec.stages = stages;
    DK_TRY(dk_exchange_create(t->backend, &spec, &t->team.gradients, err));
out:
    dk_free(t->host, stages);
    return rc;
}

static int32_t plan_projections(di_trainer *t, dk_error *err)
{
    dk_exchange_spec spec = {.wire = t->backend->real};
    spec.count = di_features_parameters(t->objective.features, &spec.parameters);
    return spec.count ? dk_exchange_create(t->backend, &spec, &t->team.projections, err) : DK_OK;
}

int32_t di_ranks_plan(di_trainer *t, dk_error *err)
{
    const int64_t ranks = dk_ranks(t->host);
    int32_t rc;
    if (ranks == 1) return DK_OK;
    if (t->learned.count) DK_TRY(dk_ranks_refuse(t->host, "learning the weights of a blend", err));
    t->team.capacity = DI_RANK_FIGURES + 3 * t->members.count;
    DK_TRY(dk_new(t->host, t->team.capacity, &t->team.own, err));
    DK_TRY(dk_new(t->host, t->team.capacity * ranks, &t->team.all, err));
    DK_TRY(di_straggler_create(&t->team.straggler, t->host, ranks, err));
    DK_TRY(dk_new(t->host, ranks * DI_RANK_NAME, &t->team.names, err));
    DK_TRY(plan_student(t, err));
    DK_TRY(plan_projections(t, err));
    dk_log(t->host, DK_LOG_INFO, "trainer", "%lld ranks share each window; gradients go in %s, moments are kept %s",
           (long long)ranks, di_options_text(t->options, "train.gradient_wire"),
           t->team.sharded ? "in shares" : "by every rank");
out:
    return rc;
}

void di_ranks_free(di_trainer *t)
{
    dk_exchange_free(t->team.gradients);
    dk_exchange_free(t->team.projections);
    dk_free(t->host, t->team.own);
    dk_free(t->host, t->team.all);
    di_straggler_free(&t->team.straggler, t->host);
    dk_free(t->host, t->team.names);
}

int32_t di_ranks_optimizer(di_trainer *t, dk_model *model, dk_dtype moments, dk_error *err)
{
    const int64_t ranks = dk_ranks(t->host);
    t->team.sharded = ranks > 1 && moments && di_options_flag(t->options, "train.shard_optimizer");
    return dk_optimizer_create_share(t->backend, model->parameters, model->parameter_count, moments,
                                     t->team.sharded ? dk_rank(t->host) : 0, t->team.sharded ? ranks : 1,
                                     &t->update.optimizer, err);
}

/* ---- whose part of a batch ---- */

/* Windows in order, each rank about as many tokens, none without one where there are enough. */
di_part di_ranks_part(const di_trainer *t, const di_batch *batch)
{
    const int64_t ranks = dk_ranks(t->host), rank = dk_rank(t->host), windows = batch->windows;
    const double all = windows ? (double)batch->offsets[batch->window_first[windows]] : 0;
    di_part part = {0, windows};
    if (ranks == 1) return part;
    for (int64_t r = 0, begin = 0; r <= rank; r++, begin = part.end) {
        part = (di_part){begin, begin < windows ? begin + 1 : windows};
        while (part.end < windows - (ranks - 1 - r)) {
            const int64_t from = batch->offsets[batch->window_first[part.end]],
                          to = batch->offsets[batch->window_first[part.end + 1]];
            if (r + 1 < ranks && (double)(from + to) / 2 > all * (double)(r + 1) / (double)ranks) break;
            part.end++;
        }
    }
    return part;
}

/* ---- on the way ---- */

static void whole(void *user, dk_queue *queue, int64_t layer)
{
    di_trainer *t = user;
    dk_exchange_reached(t->team.gradients, queue, layer);
}

void di_ranks_listen(di_trainer *t)
{
    const int32_t last = t->window.micro_index + 1 == t->window.micro_count;
    if (t->team.gradients) di_trainee_on_whole(t->trainee, last ? whole : NULL, t);
}

/* ---- figures ---- */

enum { MOST_OF = 2, MOST_KIND, MOST_ENTROPY, SUMMED }; /* behind rc and seconds; from SUMMED on sums */

static void put_sums(const di_loss_sums *s, int64_t terms, double **at)
{
    const double fixed[] = {s->sum,           s->weight_sum,        (double)s->count,   (double)s->floored,
                            (double)s->pairs, (double)s->preferred, s->pair_weight_sum, s->margin};
    memcpy(*at, fixed, sizeof fixed);
    *at += sizeof fixed / sizeof *fixed;
    for (int64_t i = 0; i < terms; i++) *(*at)++ = s->terms[i];
    for (int64_t i = 0; i < terms; i++) *(*at)++ = s->squares[i];
}

static void take_sums(di_loss_sums *s, int64_t terms, const double **at)
{
    const double *v = *at;
    s->sum = v[0];
    s->weight_sum = v[1];
    s->count = (int64_t)v[2];
    s->floored = (int64_t)v[3];
    s->pairs = (int64_t)v[4];
    s->preferred = (int64_t)v[5];
    s->pair_weight_sum = v[6];
    s->margin = v[7];
    memcpy(s->terms, v + 8, (size_t)terms * sizeof *v);
    memcpy(s->squares, v + 8 + terms, (size_t)terms * sizeof *v);
    *at = v + 8 + 2 * terms;
}

/* What this rank's part of the window gave; the number of figures. */
static int64_t put(const di_trainer *t, int32_t rc, double *out)
{
    const di_loss_sums *s = &t->objective.sums;
    double *at = out + SUMMED;
    out[0] = rc;
    out[1] = t->team.busy;
    out[MOST_OF] = s->of;
    out[MOST_KIND] = s->teacher_kind;
    out[MOST_ENTROPY] = s->without_entropy;
    put_sums(s, di_loss_count(t->objective.loss), &at);
    *at++ = (double)t->objective.common.rows;
    *at++ = t->objective.common.mass;
    *at++ = t->objective.common.least;
    *at++ = t->members.flops;
    for (int64_t i = 0; i < t->members.count; i++) {
        *at++ = (double)t->members.window[i].asked;
        *at++ = (double)t->members.window[i].rows;
        *at++ = t->members.window[i].weight;
    }
    return at - out;
}

static void take(di_trainer *t, const double *in)
{
    di_loss_sums *s = &t->objective.sums;
    const double *at = in + SUMMED;
    s->of = (int32_t)in[MOST_OF];
    s->teacher_kind = (int32_t)in[MOST_KIND];
    s->without_entropy = (int32_t)in[MOST_ENTROPY];
    s->step = t->counters.step;
    take_sums(s, di_loss_count(t->objective.loss), &at);
    t->objective.common.rows = (int64_t)*at++;
    t->objective.common.mass = *at++;
    t->objective.common.least = *at++;
    t->members.flops = *at++;
    for (int64_t i = 0; i < t->members.count; i++) {
        t->members.window[i].asked = (int64_t)*at++;
        t->members.window[i].rows = (int64_t)*at++;
        t->members.window[i].weight = *at++;
    }
    for (int64_t i = 0; t->balance.on && i < 2; i++) s->factors[i] = t->balance.factors[i];
}

/* In the order of ranks, and so the same bits on each. */
static void merge(di_trainer *t, int64_t count)
{
    const int64_t ranks = dk_ranks(t->host);
    double *out = t->team.own;
    memcpy(out, t->team.all, (size_t)count * sizeof *out);
    for (int64_t j = 1; j < ranks; j++) {
        const double *other = t->team.all + j * count;
        for (int64_t i = MOST_OF; i < SUMMED; i++) out[i] = other[i] > out[i] ? other[i] : out[i];
        for (int64_t i = SUMMED; i < count; i++) out[i] += other[i];
    }
    take(t, out);
}

/* ---- who is slow ---- */

static void watch_stragglers(di_trainer *t, int64_t count)
{
    double ratio;
    int64_t slow;
    if (++t->team.steps == 1 || t->team.told) return; /* the first one has more to do */
    if ((slow = di_straggler_step(&t->team.straggler, t->team.all + 1, count, &ratio)) < 0) return;
    t->team.told = 1;
    dk_log(t->host, DK_LOG_WARN, "trainer",
           "rank %lld (%s) takes %.0f %% longer for its part of a window than the others, which wait for it",
           (long long)slow, t->team.names + slow * DI_RANK_NAME, 100 * (ratio - 1));
}

/* ---- the end of a window ---- */

int32_t di_ranks_meet(di_trainer *t, int32_t rc, dk_error *err)
{
    dk_error problem;
    int32_t sent, failed = 0;
    if (!t->team.gradients) return rc;
    t->team.busy = dk_seconds() - t->window.begun;
    sent = dk_exchange_finish(t->team.gradients, &problem);
    if (sent == DK_OK && t->team.projections) sent = dk_exchange_finish(t->team.projections, &problem);
    const int64_t count = put(t, rc, t->team.own);
    if (sent == DK_OK)
        sent = dk_ranks_gather(t->host, t->team.own, t->team.all, count * (int64_t)sizeof(double), &problem);
    if (sent != DK_OK) { /* a failure of this rank's own says more */
        if (rc == DK_OK && err) *err = problem;
        return rc == DK_OK ? sent : rc;
    }
    for (int64_t j = 0; j < dk_ranks(t->host); j++) failed |= t->team.all[j * count] != 0;
    if (failed) return dk_ranks_agree(t->host, rc, err);
    merge(t, count);
    watch_stragglers(t, count);
    return DK_OK;
}

int32_t di_ranks_squares(di_trainer *t, dk_update *update, dk_error *err)
{
    double own = 0, *all = t->team.all;
    int32_t rc = DK_OK;
    if (!t->team.sharded) return DK_OK;
    DK_TRY(dk_optimizer_squares(t->update.optimizer, &t->queue, &own, err));
    DK_TRY(dk_ranks_gather(t->host, &own, all, sizeof own, err));
    for (int64_t j = 0; j < dk_ranks(t->host); j++) update->squares_beside += all[j];
out:
    return rc;
}

int32_t di_ranks_values(di_trainer *t, dk_error *err)
{
    return t->team.sharded ? dk_exchange_values(t->team.gradients, err) : DK_OK;
}
