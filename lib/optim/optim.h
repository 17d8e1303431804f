/* optim.h - what turns gradients into new weights: AdamW, global-norm clipping, schedules of the learning rate.
 *
 *   optimizer.c   norm, clipping, AdamW                      schedule.c  the learning rate
 *   rows_adamw.c  tables of which a step uses few rows       shares.c  parameters cut for several ranks
 *   gradient_exchange.c  gradients of several ranks, summed
 *
 * Files do not live here (the owner of the optimiser writes its moments), nor does counting of steps or tokens. */
#ifndef DK_OPTIM_OPTIM_H
#define DK_OPTIM_OPTIM_H

#include "compute/compute.h"

typedef enum {
    DK_SCHEDULE_CONSTANT = 1,
    DK_SCHEDULE_LINEAR,
    DK_SCHEDULE_COSINE,
    DK_SCHEDULE_WSD,
    DK_SCHEDULE_INVERSE_SQRT
} dk_schedule_kind;
typedef struct dk_schedule {
    dk_schedule_kind kind;
    int64_t steps, warmup_steps;
    int64_t decay_steps; /* WSD: the last steps, over which the rate falls linearly to min_ratio */
    double min_ratio;    /* floor, as a share of the peak */
} dk_schedule;
/* Multiplier of the peak rate at step 0, 1, ... Warm-up is step/warmup_steps (0 at step 0), as in transformers'
 * optimization.py. */
double dk_schedule_at(const dk_schedule *schedule, int64_t step);

typedef struct dk_optimizer dk_optimizer;
typedef struct dk_update {
    double learning_rate, beta1, beta2, epsilon;
    double weight_decay; /* on parameters of two or more dimensions only */
    double divisor;      /* gradients are sums; they are divided by this once */
    double clip_norm;    /* on the divided gradients; 0 = off */
    /* Sum of squares of gradients elsewhere, not divided yet, that norm and clipping take in; 0 = there are none. Of an
     * optimizer of shares: of all shares, its own among them. */
    double squares_beside;
} dk_update;
/* Decay multiplies weights by 1 - learning_rate*weight_decay at the peak; below 0 they swing, and below -1 grow without
 * bound: E_OPTION. */
int32_t dk_update_check(const dk_update *update, dk_error *err);
#define DK_BF16_MOMENTS_MOST 0.98 /* beta1 and beta2, where moments are BF16: see dk_optimizer_create */
/* For the unfrozen parameters among parameters[count], which must have gradients and outlive it. moments: what both are
 * kept in, the backend's real or BF16; 0 = none: norm and zero only. BF16 keeps 8 bits, so a moment that would move by
 * less than 1/512 of itself stays: at beta = 0.98 one within a tenth of where it goes, at 0.95 a twenty-fifth. */
int32_t dk_optimizer_create(dk_backend *backend, dk_parameter *parameters, int64_t count, dk_dtype moments,
                            dk_optimizer **out, dk_error *err);
/* The same for share `rank` of `size` of each parameter: moments, norm and update are of it alone, and whoever puts
 * values together refreshes the parameters. 0 of 1 = whole. */
int32_t dk_optimizer_create_share(dk_backend *backend, dk_parameter *parameters, int64_t count, dk_dtype moments,
                                  int64_t rank, int64_t size, dk_optimizer **out, dk_error *err);
void dk_optimizer_free(dk_optimizer *optimizer);
/* Gradients, which products may write only when they first add; settle: in memory now, for whoever sees them there. */
void dk_optimizer_zero(dk_optimizer *optimizer, dk_queue *queue);
void dk_optimizer_settle(dk_optimizer *optimizer, dk_queue *queue);
/* Sum of squares of its gradients, not divided. */
int32_t dk_optimizer_squares(dk_optimizer *optimizer, dk_queue *queue, double *squares, dk_error *err);
/* Norm of the divided gradients before clipping. Not finite: E_NUMERIC, naming the first such parameter; so where the
 * moments would not hold what is left after clipping. Nothing was changed then. */
int32_t dk_optimizer_norm(dk_optimizer *optimizer, dk_queue *queue, const dk_update *update, double *norm,
                          dk_error *err);
/* One AdamW step with the factor of the last dk_optimizer_norm; refreshes every parameter and raises the step. */
int32_t dk_optimizer_apply(dk_optimizer *optimizer, dk_queue *queue, const dk_update *update, dk_error *err);
/* Instead of apply, for a host that updates by itself: gradients are multiplied by the factor in place. */
int32_t dk_optimizer_average(dk_optimizer *optimizer, dk_queue *queue, dk_error *err);
/* What gradients are multiplied by, as the last dk_optimizer_norm found it: F64 [1], for those elsewhere. */
dk_view dk_optimizer_factor(const dk_optimizer *optimizer);
int64_t dk_optimizer_step(const dk_optimizer *optimizer);
void dk_optimizer_set_step(dk_optimizer *optimizer, int64_t step);
dk_dtype dk_optimizer_kept(const dk_optimizer *optimizer); /* what moments are kept in; 0 = there are none */
/* Parameter index -> its moments: absent views for frozen ones. Of shares: one row of the elements of the own one,
 * absent where it is empty. */
dk_view dk_optimizer_moment(const dk_optimizer *optimizer, int64_t index, int32_t second);

/* ---- shares of several ranks ---- */
int64_t dk_share_each(int64_t elements, int64_t size); /* of one share; the last ones may be smaller, or empty */
/* Elements [first, first + count) of share `rank`, as one row; absent where there are none. */
dk_view dk_share_view(dk_view view, int64_t size, int64_t rank, int64_t first, int64_t count);

/* ---- tables of which a step uses few rows ---- */
typedef struct dk_table { /* [rows, width] each */
    dk_view value, first, second;
} dk_table;
/* AdamW of those rows of a table that have a gradient: rows I32 [n], distinct; gradient [n, width]. The others stay as
 * they are, and so do their moments, as in torch.optim.SparseAdam: the work does not hang on the size of the table.
 * scratch: [n, width] each. */
void dk_rows_adamw(dk_queue *queue, const dk_adamw_args *args, dk_view factor, const dk_table *table, dk_view rows,
                   dk_view gradient, const dk_table *scratch);

#endif
