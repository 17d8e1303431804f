/* evaluation_ranks.c - an evaluation by several ranks, each of which scored some of the windows: sums in the order of
 * ranks, and the distances of all, for their quantiles. */
#include <stdio.h>
#include <string.h>

#include "base/ranks.h"
#include "evaluate/evaluation_ranks.h"

enum { SUMS = 22 };

static void put(const di_evaluation *e, double out[SUMS])
{
    const di_pair_tally *p = &e->pairs;
    const double all[SUMS] = {(double)e->tokens, e->nats,           e->teacher_nats,          e->kl_mean,
                              e->top1_agreement, e->acceptance,     (double)e->floored,       (double)e->common.rows,
                              e->common.mass,    e->common.least,   e->student_seconds,       e->teacher_seconds,
                              (double)p->count,  (double)p->right,  (double)p->teacher_right, (double)p->reward_right,
                              p->margin,         p->teacher_margin, p->reward_margin,         p->reward_loss,
                              p->has_teacher,    p->has_reference};
    memcpy(out, all, sizeof all);
}

static void take(di_evaluation *e, const double in[SUMS])
{
    di_pair_tally *p = &e->pairs;
    e->tokens = (int64_t)in[0];
    e->nats = in[1];
    e->teacher_nats = in[2];
    e->kl_mean = in[3];
    e->top1_agreement = in[4];
    e->acceptance = in[5];
    e->floored = (int64_t)in[6];
    e->common.rows = (int64_t)in[7];
    e->common.mass = in[8];
    e->common.least = in[9];
    e->student_seconds = in[10];
    e->teacher_seconds = in[11];
    p->count = (int64_t)in[12];
    p->right = (int64_t)in[13];
    p->teacher_right = (int64_t)in[14];
    p->reward_right = (int64_t)in[15];
    p->margin = in[16];
    p->teacher_margin = in[17];
    p->reward_margin = in[18];
    p->reward_loss = in[19];
    p->has_teacher = in[20] > 0;
    p->has_reference = in[21] > 0;
}

static int32_t sum(dk_host *host, di_evaluation *part, dk_error *err)
{
    double own[SUMS], (*all)[SUMS] = NULL;
    const int64_t ranks = dk_ranks(host);
    int32_t rc;
    put(part, own);
    DK_TRY(dk_ranks_agree(host, dk_new(host, ranks, &all, err), err));
    DK_TRY(dk_ranks_gather(host, own, all, sizeof own, err));
    memcpy(own, all[0], sizeof own);
    for (int64_t j = 1; j < ranks; j++)
        for (int i = 0; i < SUMS; i++) own[i] += all[j][i];
    take(part, own);
out:
    dk_free(host, all);
    return rc;
}

static int32_t sum_calibration(dk_host *host, di_calibration *own, dk_error *err)
{
    const int64_t ranks = dk_ranks(host);
    di_calibration *all = NULL;
    int32_t rc;
    DK_TRY(dk_ranks_agree(host, dk_new(host, ranks, &all, err), err));
    DK_TRY(dk_ranks_gather(host, own, all, sizeof *own, err));
    *own = all[0];
    for (int64_t j = 1; j < ranks; j++) di_calibration_add(own, &all[j]);
out:
    dk_free(host, all);
    return rc;
}

/* -1 = no counts. */
static int64_t largest(const int64_t *counts, int64_t ranks, int64_t *total)
{
    int64_t most = 0;
    *total = 0;
    for (int64_t j = 0; j < ranks; j++) {
        if (counts[j] < 0 || counts[j] > INT64_MAX / 64 / ranks) return -1;
        most = counts[j] > most ? counts[j] : most;
        *total += counts[j];
    }
    return most;
}

/* values [first, *count): the own ones become those of all ranks. */
static int32_t gather(dk_host *host, float **values, int64_t first, int64_t *count, int64_t *capacity, dk_error *err)
{
    const int64_t ranks = dk_ranks(host), own = *count - first;
    int64_t *counts = NULL, total = 0, most = 0;
    float *sent = NULL, *all = NULL, *grown;
    int32_t rc;
    DK_TRY(dk_ranks_agree(host, dk_new(host, ranks, &counts, err), err));
    DK_TRY(dk_ranks_gather(host, &own, counts, sizeof own, err));
    most = largest(counts, ranks, &total);
    if (most < 0) DK_TRY(dk_fail(err, DK_E_FORMAT, "ranks tell of numbers of distances that cannot be"));
    if (!most) goto out;
    rc = dk_new(host, most, &sent, err);
    if (rc == DK_OK) rc = dk_new(host, ranks * most, &all, err);
    if (rc == DK_OK && first + total > *capacity) {
        grown = dk_realloc(host, *values, (uint64_t)(first + total), sizeof *grown);
        if (!grown) rc = dk_fail_nomem(err, (uint64_t)(first + total) * sizeof *grown);
        else *values = grown, *capacity = first + total;
    }
    DK_TRY(dk_ranks_agree(host, rc, err));
    if (own) memcpy(sent, *values + first, (size_t)own * sizeof *sent);
    DK_TRY(dk_ranks_gather(host, sent, all, most * (int64_t)sizeof *sent, err));
    for (int64_t j = 0, at = first; j < ranks; at += counts[j], j++)
        if (counts[j]) memcpy(*values + at, all + j * most, (size_t)counts[j] * sizeof *all);
    *count = first + total;
out:
    dk_free(host, counts);
    dk_free(host, sent);
    dk_free(host, all);
    return rc;
}

int32_t di_evaluation_meet(dk_host *host, int32_t rc, di_evaluation *part, di_distances *distances, int64_t first,
                           dk_error *err)
{
    if (dk_ranks(host) == 1) return rc;
    DK_TRY(dk_ranks_agree(host, rc, err));
    DK_TRY(sum(host, part, err));
    DK_TRY(sum_calibration(host, &part->calibration, err));
    DK_TRY(sum_calibration(host, &part->teacher_calibration, err));
    if (part->has_teacher) DK_TRY(gather(host, distances->values, first, distances->count, distances->capacity, err));
out:
    return rc;
}

/* ---- inputs ---- */

/* A model of callbacks has no hash: its host answers for it. */
static int32_t hash_model(const di_teacher *model, char hex[65], dk_error *err)
{
    dk_error problem;
    const int32_t rc = di_teacher_hash(model, hex, &problem);
    if (rc == DK_OK || rc == DK_E_UNSUPPORTED) return DK_OK;
    if (err) *err = problem;
    return rc;
}

static int32_t describe(const di_evaluate_args *args, dk_ranks_item *items, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_dataset_hash(args->data, items[0].value, err));
    DK_TRY(hash_model(args->student, items[1].value, err));
    if (args->teacher) DK_TRY(hash_model(args->teacher, items[2].value, err));
    snprintf(items[3].value, sizeof items->value, "%s, %s", dk_precision_name(args->precision),
             args->backend->products);
    snprintf(items[4].value, sizeof items->value, "%lld", (long long)args->tokens);
out:
    return rc;
}

int32_t di_evaluation_inputs(const di_evaluate_args *args, dk_error *err)
{
    dk_ranks_item items[] = {{.name = "held-out data"},
                             {.name = "weights of the student"},
                             {.name = "teacher"},
                             {.name = "precision and kernels of products"},
                             {.name = "tokens to score (train.eval_tokens)"}};
    if (dk_ranks(args->backend->host) == 1) return DK_OK;
    return dk_ranks_same(args->backend->host, describe(args, items, err), items, sizeof items / sizeof *items, err);
}
