/* Calling a loss on the rows of a chunk, and judging what comes back. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "loss/loss_parts.h"

typedef struct di_call {
    di_chunk *chunk;
    const di_term *term;
    const di_entry *entry;
    float *gradient;
    const distill_target *target; /* NULL = no teacher */
    const di_logits *teacher;     /* [rows] for a built-in loss; NULL = none, or not dense */
    double *measured;             /* [rows, sums] of the entry; NULL = values are asked for */
    atomic_int first_failure;     /* what a callback returned */
} di_call;

static void cut_tensor(distill_tensor *to, const distill_tensor *from, int64_t first, int64_t width, int64_t *shape)
{
    *to = *from;
    to->data = (uint8_t *)from->data + first * width * (from->dtype_bits / 8);
    shape[0] = 0;
    to->shape = shape;
}

static int32_t call_builtin(di_call *call, const distill_loss_rows *rows, int64_t begin)
{
    di_chunk *chunk = call->chunk;
    const int32_t is_alone = rows->rows == chunk->rows; /* else other threads have the chunk's other rows */
    di_builtin_call builtin = {.student = chunk->student_logits + begin,
                               .teacher = call->teacher ? call->teacher + begin : NULL,
                               .student_floor = -INFINITY,
                               .teacher_floor = (double)call->term->log_floor,
                               .by_logits = call->term->by_logits,
                               .sums = chunk->sums + begin,
                               .measured = call->measured ? call->measured + begin * call->entry->table.sums : NULL,
                               .pairs = chunk->strip->batch->pairs,
                               .fit = is_alone ? &chunk->fits[call->term - chunk->strip->terms] : NULL,
                               .floors = call->entry->builtin->floors};
    memcpy(builtin.options, call->term->options, sizeof builtin.options);
    int32_t rc = di_entry_eval(call->entry, chunk->strip->backend->isa)(&builtin, rows);
    chunk->raised += builtin.floored;
    return rc;
}

static int32_t call_host(const di_call *call, const distill_loss_rows *rows, int64_t begin)
{
    const distill_loss_callbacks *table = &call->entry->table;
    if (call->measured) return table->measure(table->user, rows, call->measured + begin * table->sums);
    return table->eval(table->user, rows);
}

static void call_range(void *context, int64_t begin, int64_t end)
{
    di_call *call = context;
    di_chunk *chunk = call->chunk;
    const int64_t vocab = chunk->vocab;
    const int32_t with_teacher = call->entry->table.targets != 0;
    distill_tensor tensors[3];
    int64_t shapes[3][2];
    distill_target target;
    distill_loss_rows rows;
    int32_t rc, none = 0;
    DISTILL_INIT(&rows);
    rows.rows = end - begin;
    rows.vocab = vocab;
    rows.student = chunk->q ? chunk->q + begin * vocab : NULL;
    rows.labels = chunk->strip->labels ? chunk->labels + begin : NULL;
    rows.sequences = chunk->sequences + begin;
    rows.weights = chunk->weights + begin;
    rows.sequence_count = chunk->strip->sequence_count;
    rows.value = call->measured ? NULL : chunk->values + begin;
    if (!call->measured && call->entry->table.sums)
        rows.sequence_sums = chunk->strip->sums[call->term - chunk->strip->terms];
    rows.gradient = call->gradient ? call->gradient + begin * vocab : NULL;
    rows.temperature = di_term_temperature(call->term, call->entry);
    rows.step = chunk->strip->batch->step;
    if (with_teacher && !call->entry->builtin && dk_view_present(chunk->strip->teacher))
        rows.teacher = chunk->p + begin * vocab;
    if (with_teacher && call->target) {
        const distill_tensor *from[3] = {call->target->values, call->target->ids, di_target_beside(call->target)};
        target = *call->target;
        for (int i = 0; i < 3; i++) {
            if (!from[i]) continue;
            cut_tensor(&tensors[i], from[i], begin, from[i]->ndim == 2 ? from[i]->shape[1] : 1, shapes[i]);
            shapes[i][0] = end - begin;
            shapes[i][1] = from[i]->ndim == 2 ? from[i]->shape[1] : 1;
        }
        target.values = from[0] ? &tensors[0] : NULL;
        target.ids = from[1] ? &tensors[1] : NULL;
        di_target_set_beside(&target, from[2] ? &tensors[2] : NULL);
        rows.target = &target;
    }
    rc = call->entry->builtin ? call_builtin(call, &rows, begin) : call_host(call, &rows, begin);
    for (int64_t r = begin; call->gradient && r < end; r++)
        if (isnan(chunk->sums[r])) chunk->sums[r] = chunk->strip->kernels->sum(call->gradient + r * vocab, vocab);
    if (rc != DISTILL_CB_OK) atomic_compare_exchange_strong(&call->first_failure, &none, rc);
}

static int32_t refuse_value(const di_call *call, int64_t row, const char *what, double value, dk_error *err)
{
    const di_strip *strip = call->chunk->strip;
    const int64_t at = strip->first + strip->rows[call->chunk->first + row];
    char text[32];
    dk_format_f64(value, text);
    return dk_fail_at(err, DK_E_NUMERIC, strip->batch->sequences ? strip->batch->sequences[at] : -1,
                      "loss %s: %s of row %lld is %s; look at the logits of that row, or lower train.learning_rate",
                      call->entry->name, what, (long long)di_batch_number(strip->batch, at), text);
}

/* A student that excludes what its teacher holds possible is infinitely far from it. */
static int32_t refuse_infinite(const di_call *call, int64_t row, dk_error *err)
{
    const di_strip *strip = call->chunk->strip;
    const int64_t at = strip->first + strip->rows[call->chunk->first + row];
    const float *z = call->chunk->student_logits[row].z;
    int64_t id = 0;
    while (id < call->chunk->vocab && z[id] != -INFINITY) id++;
    if (id == call->chunk->vocab) return refuse_value(call, row, "value", INFINITY, err);
    return dk_fail_at(err, DK_E_NUMERIC, strip->batch->sequences ? strip->batch->sequences[at] : -1,
                      "loss %s: value of row %lld is inf: the student gives id %lld the probability 0 (its logit is "
                      "-inf), and the target does not; leave -inf out of the student's logits",
                      call->entry->name, (long long)di_batch_number(strip->batch, at), (long long)id);
}

static int32_t refuse_large(const di_chunk *chunk, const char *name, const char *what, int64_t row, dk_error *err)
{
    const di_strip *strip = chunk->strip;
    const int64_t at = strip->first + strip->rows[chunk->first + row];
    return dk_fail_at(err, DK_E_NUMERIC, strip->batch->sequences ? strip->batch->sequences[at] : -1,
                      "loss %s: %s of row %lld is more than %s; look at the logits of that row and at what multiplies "
                      "it (weights, args.grad_scale, T squared), or lower train.learning_rate",
                      name, what, (long long)di_batch_number(strip->batch, at),
                      strip->gradient.dtype == DK_BF16 ? "bf16 holds (3.39e38)" : "fp32 holds (3.4e38)");
}

int32_t di_chunk_check_totals(const di_chunk *chunk, const di_entry *entry, dk_error *err)
{
    const double *totals = chunk->strip->totals + chunk->first;
    for (int64_t r = 0; r < chunk->rows; r++)
        if (!(fabs(totals[r]) <= FLT_MAX)) return refuse_large(chunk, entry->name, "value", r, err);
    return DK_OK;
}

int32_t di_chunk_check_gradients(const di_chunk *chunk, dk_error *err)
{
    const di_loss *loss = chunk->strip->loss;
    const int64_t row = atomic_load(&chunk->overflows);
    if (row >= chunk->rows) return DK_OK;
    return refuse_large(chunk, loss->count == 1 ? loss->terms->entry->name : "of all terms", "gradient", row, err);
}

static double first_not_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return (double)x[i];
    return 0;
}

static int32_t check_results(const di_call *call, dk_error *err)
{
    const di_chunk *chunk = call->chunk;
    for (int64_t r = 0; r < chunk->rows; r++) {
        if (call->entry->builtin && chunk->values[r] == INFINITY) return refuse_infinite(call, r, err);
        if (!isfinite(chunk->values[r])) return refuse_value(call, r, "value", chunk->values[r], err);
        const float *gradient = call->gradient ? call->gradient + r * chunk->vocab : NULL;
        if (gradient && !isfinite(chunk->sums[r]))
            return refuse_value(call, r, "gradient", first_not_finite(gradient, chunk->vocab), err);
    }
    return DK_OK;
}

static int32_t translate(const di_entry *entry, int32_t returned, dk_error *err)
{
    int32_t rc;
    if (returned == DISTILL_CB_CANCEL) return dk_fail(err, DK_E_CANCELLED, "cancelled by loss %s", entry->name);
    if (returned == DISTILL_CB_DEFAULT)
        rc = dk_fail(err, DK_E_CALLBACK, "loss %s asked for its fallback and has none", entry->name);
    else rc = dk_fail(err, DK_E_CALLBACK, "loss %s failed with code %d", entry->name, (int)returned);
    if (err) err->user_code = returned;
    return rc;
}

/* The teacher's rows as the loss sees them: a dense one says only what it is, its numbers stand in rows->teacher. */
static void describe_target(const di_chunk *chunk, distill_target *target, distill_tensor tensors[3], int64_t shape[2])
{
    const di_strip *strip = chunk->strip;
    DISTILL_INIT(target);
    target->kind = strip->teacher_kind;
    target->temperature = strip->temperatures[chunk->level];
    target->vocab_valid = strip->vocab;
    if (!strip->target) return;
    shape[0] = chunk->rows;
    shape[1] = chunk->target_k;
    tensors[0] = di_tensor_of(chunk->target_values, DISTILL_FLOAT, 32, 2, shape);
    tensors[1] =
        di_tensor_of(chunk->target_ids, DISTILL_INT, 32, strip->teacher_kind == DISTILL_ONE_HOT ? 1 : 2, shape);
    tensors[2] = di_tensor_of(chunk->target_beside, DISTILL_FLOAT, 32, 1, shape);
    target->values = strip->target->values ? &tensors[0] : NULL;
    target->ids = &tensors[1];
    di_target_set_beside(target, di_target_beside(strip->target) ? &tensors[2] : NULL);
}

/* What the callbacks returned first. */
static int32_t call_rows(di_call *call)
{
    const uint32_t flags = call->entry->table.flags;
    di_chunk *chunk = call->chunk;
    distill_target target;
    distill_tensor tensors[3];
    int64_t shape[2];
    if (chunk->strip->teacher_kind) {
        describe_target(chunk, &target, tensors, shape);
        call->target = &target;
    }
    if (!(flags & DISTILL_LOSS_MT) || (flags & DISTILL_LOSS_WHOLE_SEQUENCES)) call_range(call, 0, chunk->rows);
    else dk_parallel_for(chunk->host, chunk->rows, 16, call_range, call);
    return atomic_load(&call->first_failure);
}

int32_t di_chunk_measure(di_chunk *chunk, const di_term *term, int64_t before, dk_error *err)
{
    const di_entry *entry = term->entry;
    const int64_t sums = entry->table.sums, count = chunk->rows * sums;
    di_call call = {.chunk = chunk, .term = term, .entry = entry};
    call.measured = chunk->strip->measured + before * chunk->strip->capacity + chunk->first * sums;
    memset(call.measured, 0, (size_t)count * sizeof *call.measured);
    const int32_t returned = call_rows(&call);
    if (returned == DISTILL_CB_DEFAULT && entry->fallback) return DK_OK; /* which measures nothing */
    if (returned != DISTILL_CB_OK) return translate(entry, returned, err);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(call.measured[i]))
            return refuse_value(&call, i / sums, "a number that it measured", call.measured[i], err);
    return DK_OK;
}

int32_t di_chunk_call(di_chunk *chunk, const di_term *term, const di_entry *entry, float *gradient, dk_error *err)
{
    di_call call = {.chunk = chunk, .term = term, .entry = entry, .gradient = gradient};
    int32_t returned;
    memset(chunk->values, 0, (size_t)chunk->rows * sizeof *chunk->values);
    for (int64_t r = 0; r < chunk->rows; r++) chunk->sums[r] = NAN;
    if (chunk->has_teacher_logits && entry->table.targets) call.teacher = chunk->teacher_logits;
    if (gradient && !(entry->builtin && entry->builtin->fills && call.teacher))
        memset(gradient, 0, (size_t)(chunk->rows * chunk->vocab) * sizeof *gradient);
    returned = call_rows(&call);
    if (returned == DISTILL_CB_DEFAULT && entry->fallback) return returned;
    if (returned != DISTILL_CB_OK) return translate(entry, returned, err);
    return check_results(&call, err);
}
