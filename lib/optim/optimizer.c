#include "optim/optim.h"

#include <float.h>
#include <math.h>

struct dk_optimizer {
    dk_backend *backend;
    dk_parameter *parameters;
    int64_t count, step;
    dk_arena moments; /* empty without moments */
    dk_view *first, *second;
    dk_arena scalars;
    dk_view sum, factor, norm; /* F64 [1] */
    dk_dtype kept;             /* what moments are kept in; 0 = there are none */
    int64_t rank, shares;      /* the own share of so many; 0 of 1 = all */
};

static int32_t is_trained(const dk_parameter *parameter)
{
    return !parameter->frozen && dk_view_present(parameter->gradient);
}

static dk_view own_part(const dk_optimizer *optimizer, dk_view view)
{
    if (optimizer->shares == 1) return view;
    return dk_share_view(view, optimizer->shares, optimizer->rank, 0, dk_view_count(&view));
}

static void take_moments(dk_optimizer *optimizer)
{
    for (int64_t i = 0; i < optimizer->count; i++) {
        const dk_view value = own_part(optimizer, optimizer->parameters[i].value);
        if (!is_trained(&optimizer->parameters[i]) || !dk_view_present(value)) continue;
        optimizer->first[i] = dk_arena_take(&optimizer->moments, optimizer->kept, value.rank, value.shape);
        optimizer->second[i] = dk_arena_take(&optimizer->moments, optimizer->kept, value.rank, value.shape);
    }
}

static void take_scalars(dk_optimizer *optimizer)
{
    const int64_t one = 1;
    optimizer->sum = dk_arena_take(&optimizer->scalars, DK_F64, 1, &one);
    optimizer->factor = dk_arena_take(&optimizer->scalars, DK_F64, 1, &one);
    optimizer->norm = dk_arena_take(&optimizer->scalars, DK_F64, 1, &one);
}

static int32_t check_gradients(const dk_parameter *parameters, int64_t count, dk_error *err)
{
    for (int64_t i = 0; i < count; i++)
        if (!parameters[i].frozen && !dk_view_present(parameters[i].gradient))
            return dk_fail(err, DK_E_INVALID, "optimizer: parameter %s is not frozen and has no gradient",
                           parameters[i].name);
    return DK_OK;
}

int32_t dk_update_check(const dk_update *update, dk_error *err)
{
    const double product = update->learning_rate * update->weight_decay;
    if (product <= 1) return DK_OK;
    return dk_fail(
        err, DK_E_OPTION,
        "train.learning_rate %.6g times train.weight_decay %.6g is %.6g: each step would multiply weights by "
        "%.6g; lower one until the product is at most 1",
        update->learning_rate, update->weight_decay, product, 1 - product);
}

int32_t dk_optimizer_create(dk_backend *backend, dk_parameter *parameters, int64_t count, dk_dtype moments,
                            dk_optimizer **out, dk_error *err)
{
    return dk_optimizer_create_share(backend, parameters, count, moments, 0, 1, out, err);
}

int32_t dk_optimizer_create_share(dk_backend *backend, dk_parameter *parameters, int64_t count, dk_dtype moments,
                                  int64_t rank, int64_t size, dk_optimizer **out, dk_error *err)
{
    dk_optimizer *optimizer = NULL;
    int32_t rc;
    DK_TRY(check_gradients(parameters, count, err));
    DK_TRY(dk_new(backend->host, 1, &optimizer, err));
    optimizer->backend = backend;
    optimizer->parameters = parameters;
    optimizer->count = count;
    optimizer->kept = moments;
    optimizer->rank = rank;
    optimizer->shares = size;
    dk_arena_init(&optimizer->moments, backend);
    dk_arena_init(&optimizer->scalars, backend);
    DK_TRY(dk_new(backend->host, count ? count : 1, &optimizer->first, err));
    DK_TRY(dk_new(backend->host, count ? count : 1, &optimizer->second, err));
    take_scalars(optimizer);
    DK_TRY(dk_arena_commit(&optimizer->scalars, err));
    take_scalars(optimizer);
    if (moments) {
        take_moments(optimizer);
        DK_TRY(dk_arena_commit(&optimizer->moments, err));
        take_moments(optimizer);
    }
out:
    if (rc) {
        dk_optimizer_free(optimizer);
        return rc;
    }
    *out = optimizer;
    return DK_OK;
}

void dk_optimizer_free(dk_optimizer *optimizer)
{
    dk_host *host;
    if (!optimizer) return;
    host = optimizer->backend->host;
    dk_arena_free(&optimizer->moments);
    dk_arena_free(&optimizer->scalars);
    dk_free(host, optimizer->first);
    dk_free(host, optimizer->second);
    dk_free(host, optimizer);
}

void dk_optimizer_zero(dk_optimizer *optimizer, dk_queue *queue)
{
    for (int64_t i = 0; i < optimizer->count; i++)
        if (is_trained(&optimizer->parameters[i])) queue->backend->ops->clear(queue, &optimizer->parameters[i]);
}

void dk_optimizer_settle(dk_optimizer *optimizer, dk_queue *queue)
{
    for (int64_t i = 0; i < optimizer->count; i++)
        if (is_trained(&optimizer->parameters[i])) queue->backend->ops->settle(queue, &optimizer->parameters[i]);
}

static int32_t read_scalar(dk_queue *queue, dk_view view, double *value, dk_error *err)
{
    queue->backend->ops->copy_out(queue, view, value);
    return dk_queue_wait(queue, err);
}

static void add_squares(dk_optimizer *optimizer, dk_queue *queue, int64_t i)
{
    const dk_view gradient = own_part(optimizer, optimizer->parameters[i].gradient);
    if (is_trained(&optimizer->parameters[i]) && dk_view_present(gradient))
        queue->backend->ops->sum_squares(queue, gradient, optimizer->sum);
}

int32_t dk_optimizer_squares(dk_optimizer *optimizer, dk_queue *queue, double *squares, dk_error *err)
{
    queue->backend->ops->fill(queue, optimizer->sum, 0);
    dk_optimizer_settle(optimizer, queue);
    for (int64_t i = 0; i < optimizer->count; i++) add_squares(optimizer, queue, i);
    return read_scalar(queue, optimizer->sum, squares, err);
}

static int32_t name_not_finite(dk_optimizer *optimizer, dk_queue *queue, dk_error *err)
{
    const dk_ops *ops = queue->backend->ops;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < optimizer->count; i++) {
        double sum = 0;
        if (!is_trained(&optimizer->parameters[i])) continue;
        ops->fill(queue, optimizer->sum, 0);
        add_squares(optimizer, queue, i);
        if ((rc = read_scalar(queue, optimizer->sum, &sum, err)) != DK_OK) return rc;
        if (!isfinite(sum))
            return dk_fail(err, DK_E_NUMERIC,
                           "gradient of %s is not finite at step %lld; lower train.learning_rate or look at the data",
                           optimizer->parameters[i].name, (long long)optimizer->step + 1);
    }
    return dk_fail(err, DK_E_NUMERIC, "norm of the gradients is not finite at step %lld",
                   (long long)optimizer->step + 1);
}

/* Largest norm whose square the second moment still holds, in fp32 and in BF16. */
#define MOST_SQUARED 1e19

/* Every gradient times the factor is at most the norm after clipping. */
static int32_t check_scale(const dk_optimizer *optimizer, const dk_update *update, double norm, dk_error *err)
{
    const double clipped = update->clip_norm > 0 && norm > update->clip_norm ? update->clip_norm : norm;
    const double factor = clipped < norm ? clipped / norm / update->divisor : 1 / update->divisor;
    const double most = optimizer->kept ? MOST_SQUARED : FLT_MAX;
    if (clipped > most)
        return dk_fail(err, DK_E_NUMERIC,
                       "norm of the gradients is %.3g at step %lld, more than %s (%.3g); give train.clip_norm", norm,
                       (long long)optimizer->step + 1,
                       optimizer->kept ? "AdamW's second moment holds squared" : "fp32 holds", most);
    if (factor >= FLT_MIN && factor <= FLT_MAX) return DK_OK;
    return dk_fail(err, DK_E_NUMERIC,
                   "gradients of norm %.3g, divided by weights that are %.3g together, would be multiplied by %.3g at "
                   "step %lld, which fp32 does not hold; look at the weights of the data",
                   norm, update->divisor, factor, (long long)optimizer->step + 1);
}

int32_t dk_optimizer_norm(dk_optimizer *optimizer, dk_queue *queue, const dk_update *update, double *norm,
                          dk_error *err)
{
    const dk_ops *ops = queue->backend->ops;
    double value = 0;
    int32_t rc;
    if (!(update->divisor > 0) || !isfinite(update->divisor))
        return dk_fail(err, DK_E_INVALID,
                       "optimizer: divisor must be positive; a window without any position with loss has no update");
    ops->fill(queue, optimizer->sum, update->squares_beside);
    dk_optimizer_settle(optimizer, queue);
    for (int64_t i = 0; optimizer->shares == 1 && i < optimizer->count; i++) add_squares(optimizer, queue, i);
    ops->clip_factor(queue, optimizer->sum, update->divisor, update->clip_norm, optimizer->factor, optimizer->norm);
    if ((rc = read_scalar(queue, optimizer->norm, &value, err)) != DK_OK) return rc;
    if (!isfinite(value)) return name_not_finite(optimizer, queue, err);
    if ((rc = check_scale(optimizer, update, value, err)) != DK_OK) return rc;
    *norm = value;
    return DK_OK;
}

static void update_share(dk_optimizer *optimizer, dk_queue *queue, const dk_adamw_args *args, int64_t i)
{
    const dk_parameter *parameter = &optimizer->parameters[i];
    const dk_view value = own_part(optimizer, parameter->value);
    if (dk_view_present(value))
        queue->backend->ops->adamw(queue, args, optimizer->factor, value, own_part(optimizer, parameter->gradient),
                                   optimizer->first[i], optimizer->second[i]);
}

int32_t dk_optimizer_apply(dk_optimizer *optimizer, dk_queue *queue, const dk_update *update, dk_error *err)
{
    dk_adamw_args args = {update->learning_rate, update->beta1, update->beta2, update->epsilon, 0, optimizer->step + 1};
    if (!optimizer->kept) return dk_fail(err, DK_E_STAGE, "optimizer: made without moments, so it cannot update");
    for (int64_t i = 0; i < optimizer->count; i++) {
        dk_parameter *parameter = &optimizer->parameters[i];
        if (!is_trained(parameter)) continue;
        args.weight_decay = parameter->value.rank >= 2 ? update->weight_decay : 0;
        if (optimizer->shares > 1) update_share(optimizer, queue, &args, i);
        else
            queue->backend->ops->update(queue, &args, optimizer->factor, parameter, optimizer->first[i],
                                        optimizer->second[i]);
    }
    optimizer->step++;
    /* The update is whole even where a loop of the process failed: the next wait tells it, before anything changes. */
    return queue->error.code ? dk_queue_wait(queue, err) : DK_OK;
}

int32_t dk_optimizer_average(dk_optimizer *optimizer, dk_queue *queue, dk_error *err)
{
    double factor = 0;
    int32_t rc = read_scalar(queue, optimizer->factor, &factor, err);
    if (rc) return rc;
    for (int64_t i = 0; i < optimizer->count; i++)
        if (is_trained(&optimizer->parameters[i]))
            queue->backend->ops->scale(queue, optimizer->parameters[i].gradient, factor);
    return dk_queue_wait(queue, err);
}

dk_view dk_optimizer_factor(const dk_optimizer *optimizer) { return optimizer->factor; }

dk_dtype dk_optimizer_kept(const dk_optimizer *optimizer) { return optimizer->kept; }

int64_t dk_optimizer_step(const dk_optimizer *optimizer) { return optimizer->step; }

void dk_optimizer_set_step(dk_optimizer *optimizer, int64_t step) { optimizer->step = step; }

dk_view dk_optimizer_moment(const dk_optimizer *optimizer, int64_t index, int32_t second)
{
    return second ? optimizer->second[index] : optimizer->first[index];
}
