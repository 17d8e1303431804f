/* One chunk of unmasked rows through all terms of a loss.
 *
 * q holds log-probabilities at one temperature (or logits); terms that want the same share it, and their gradients add
 * up in `group` before one softmax backward takes them to the logits. A term that wants another q closes the group:
 * what it gave goes to `done`, and the last group adds `done` on its way into the strip. */
#include <math.h>
#include <string.h>

#include "loss/loss_parts.h"

/* ---- memory ---- */

static int32_t may_regroup(const di_loss *loss)
{
    const di_term *first = &loss->terms[0];
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback)
            if (di_term_logs(&loss->terms[i], entry) != di_term_logs(first, first->entry) ||
                di_term_heat_differs(&loss->terms[i], entry, first, first->entry))
                return 1;
    return 0;
}

/* Built-in losses take log q and log p from the logits; a host's sees them written down. */
static int32_t has_callbacks(const di_loss *loss)
{
    for (int64_t i = 0; i < loss->count; i++)
        for (const di_entry *entry = loss->terms[i].entry; entry; entry = entry->fallback)
            if (!entry->builtin) return 1;
    return 0;
}

/* Rows that a second cache holds beside their logits and gradients: exponentials are kept, and not made again. */
static int32_t keeps_masses(const di_loss *loss, int64_t vocab)
{
    enum { NEAR = 65536 };
    return vocab <= NEAR && !has_callbacks(loss) && !loss->precise;
}

int64_t di_chunk_buffers(const di_loss *loss, int64_t vocab, int32_t with_teacher, int32_t narrows)
{
    const int64_t sides = 1 + (with_teacher != 0), written = has_callbacks(loss) || narrows ? sides : 0;
    return 1 + written + (keeps_masses(loss, vocab) ? sides : 0) + (loss->count > 1) + may_regroup(loss);
}

static int32_t make_masses(di_chunk *chunk, const di_loss *loss, int32_t with_teacher, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!keeps_masses(loss, chunk->vocab)) return DK_OK;
    for (int side = 0; side < 1 + (with_teacher != 0); side++) {
        DK_TRY(dk_new(chunk->host, chunk->capacity * chunk->vocab, &chunk->masses[side], err));
        DK_TRY(dk_new(chunk->host, chunk->capacity * di_blocks(chunk->vocab), &chunk->scales[side], err));
    }
out:
    return rc;
}

int64_t di_chunk_row_bytes(int64_t listed)
{
    return (int64_t)(2 * sizeof(di_logits) + 3 * sizeof(double) + sizeof(int64_t) + sizeof(int32_t) +
                     2 * sizeof(float)) +
           listed * (int64_t)(sizeof(float) + sizeof(int32_t));
}

int32_t di_chunk_create(dk_host *host, di_chunk *chunk, const di_loss *loss, int64_t capacity, int64_t vocab,
                        int32_t with_teacher, int32_t narrows, dk_error *err)
{
    const int64_t size = capacity * vocab;
    const int32_t writes = has_callbacks(loss) || narrows;
    int32_t rc;
    chunk->host = host;
    chunk->capacity = capacity;
    chunk->vocab = vocab;
    if (writes) DK_TRY(dk_new(host, size, &chunk->q, err));
    DK_TRY(dk_new(host, size, &chunk->group, err));
    if (writes && with_teacher) DK_TRY(dk_new(host, size, &chunk->p, err));
    if (loss->count > 1) DK_TRY(dk_new(host, size, &chunk->term, err));
    if (may_regroup(loss)) DK_TRY(dk_new(host, size, &chunk->done, err));
    DK_TRY(make_masses(chunk, loss, with_teacher, err));
    DK_TRY(dk_new(host, capacity, &chunk->student_logits, err));
    DK_TRY(dk_new(host, capacity, &chunk->teacher_logits, err));
    DK_TRY(dk_new(host, capacity, &chunk->values, err));
    DK_TRY(dk_new(host, capacity, &chunk->sums, err));
    DK_TRY(dk_new(host, capacity, &chunk->group_sums, err));
    DK_TRY(dk_new(host, capacity, &chunk->labels, err));
    DK_TRY(dk_new(host, capacity, &chunk->sequences, err));
    DK_TRY(dk_new(host, capacity, &chunk->weights, err));
    DK_TRY(dk_new(host, loss->count, &chunk->fits, err));
out:
    return rc;
}

void di_chunk_free(di_chunk *chunk)
{
    void *blocks[] = {chunk->q,          chunk->p,         chunk->group,          chunk->term,
                      chunk->done,       chunk->values,    chunk->student_logits, chunk->teacher_logits,
                      chunk->labels,     chunk->sequences, chunk->target_values,  chunk->target_beside,
                      chunk->target_ids, chunk->sums,      chunk->group_sums,     chunk->masses[0],
                      chunk->masses[1],  chunk->scales[0], chunk->scales[1],      chunk->weights,
                      chunk->fits};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dk_free(chunk->host, blocks[i]);
}

/* Planned at the first chunk of a teacher with k ids per row; later chunks find it there. */
static int32_t reserve_target(di_chunk *chunk, int64_t k, dk_error *err)
{
    int32_t rc = DK_OK;
    if (chunk->target_ids && k <= chunk->target_k) goto out;
    dk_free(chunk->host, chunk->target_values);
    dk_free(chunk->host, chunk->target_ids);
    dk_free(chunk->host, chunk->target_beside);
    chunk->target_values = chunk->target_beside = NULL;
    chunk->target_ids = NULL;
    DK_TRY(dk_new(chunk->host, chunk->capacity * k, &chunk->target_values, err));
    DK_TRY(dk_new(chunk->host, chunk->capacity * k, &chunk->target_ids, err));
    DK_TRY(dk_new(chunk->host, chunk->capacity, &chunk->target_beside, err));
out:
    chunk->target_k = k;
    return rc;
}

/* ---- the strip's rows come in ---- */

typedef struct di_fill {
    di_chunk *chunk;
    const di_host_rows *rows;
    float *out;        /* NULL = logits alone */
    di_logits *logits; /* [rows] out; NULL = not wanted */
    double divisor;    /* 0 = logits as they are, and nothing is known of them */
    int32_t raw;       /* out is the logits as they are */
    int32_t raise, precise;
} di_fill;

static int64_t strip_row(const di_chunk *chunk, int64_t row) { return chunk->strip->rows[chunk->first + row]; }

static void *row_of(const di_chunk *chunk, const di_host_rows *rows, int64_t row)
{
    return rows->data + strip_row(chunk, row) * rows->step;
}

/* Memory that is near when it is asked for beforehand: the row that is read when those of this chunk are done, and
 * where the gradient goes. */
static void say_next(const di_chunk *chunk, const di_host_rows *rows, int64_t row, di_logits *logits)
{
    const di_strip *strip = chunk->strip;
    const int64_t side = rows != &strip->student_rows, at = chunk->first + row + chunk->capacity,
                  after = (at < chunk->end ? at : chunk->upcoming + row) - chunk->first;
    memset(logits, 0, sizeof *logits);
    if (chunk->masses[side]) {
        logits->masses = chunk->masses[side] + row * chunk->vocab;
        logits->scales = chunk->scales[side] + row * di_blocks(chunk->vocab);
    }
    if (strip->backend->real != DK_F32) return;
    if (chunk->first + after < strip->count) logits->next = row_of(chunk, rows, after);
    if (!side && dk_view_present(strip->gradient) && !strip->past)
        logits->into = row_of(chunk, &strip->gradient_rows, row);
}

static const float *narrowed(const void *row, dk_dtype dtype, int64_t n, float *out)
{
    if (dtype != DK_F64) return row;
    for (int64_t i = 0; i < n; i++) out[i] = (float)((const double *)row)[i];
    return out;
}

static void fill_rows(void *context, int64_t begin, int64_t end)
{
    const di_fill *fill = context;
    di_chunk *chunk = fill->chunk;
    const int64_t n = chunk->vocab;
    void (*const log_sum)(const float *z, int64_t n, double divisor, di_logits *out) =
        fill->precise ? chunk->strip->kernels->log_sum_double : chunk->strip->kernels->log_sum;
    for (int64_t r = begin; r < end; r++) {
        float *out = fill->out ? fill->out + r * n : NULL;
        const float *z = narrowed(row_of(chunk, fill->rows, r), chunk->strip->backend->real, n, out);
        di_logits own, *logits = fill->logits ? &fill->logits[r] : &own;
        if (fill->divisor > 0) {
            say_next(chunk, fill->rows, r, logits);
            logits->z = z;
            logits->factor = 1 / fill->divisor;
            if (chunk->has_sums) log_sum(z, n, fill->divisor, logits);
            else logits->masses = NULL;
            if (out && fill->raw && z != out) memcpy(out, z, (size_t)n * sizeof *out);
            if (out && fill->raw) continue;
            if (out) chunk->strip->kernels->log_softmax(logits, n, out);
            if (z == out) log_sum(out, n, 1, logits); /* the logits are no more */
        } else if (z != out) {
            memcpy(out, z, (size_t)n * sizeof *out);
        }
        if (fill->raise) chunk->raised += chunk->strip->kernels->raise(out, n, chunk->floor);
    }
}

static int64_t row_grain(const di_chunk *chunk) { return chunk->vocab < 32768 ? 65536 / (chunk->vocab + 1) + 1 : 1; }

static void fill(di_chunk *chunk, const di_host_rows *rows, float *out, di_logits *logits, double divisor, int32_t raw,
                 int32_t raise)
{
    const int32_t precise = chunk->strip->target || chunk->strip->loss->precise;
    di_fill context = {chunk, rows, out, logits, divisor, raw, raise, precise};
    dk_parallel_for(chunk->host, chunk->rows, row_grain(chunk), fill_rows, &context);
}

static void gather_labels(di_chunk *chunk)
{
    const di_strip *strip = chunk->strip;
    for (int64_t r = 0; r < chunk->rows; r++) {
        const int64_t row = strip->first + strip_row(chunk, r);
        if (strip->labels) chunk->labels[r] = strip->labels[row - strip->label_first];
        chunk->sequences[r] = strip->batch->sequences ? strip->batch->sequences[row] : 0;
        chunk->weights[r] = strip->batch->weights ? strip->batch->weights[row] : 1;
    }
}

static int32_t gather_target(di_chunk *chunk, dk_error *err)
{
    const distill_target *target = chunk->strip->target;
    const int64_t k = target->ids->ndim == 2 ? target->ids->shape[1] : 1;
    const size_t size = (size_t)k * 4;
    int32_t rc = reserve_target(chunk, k, err);
    if (rc) return rc;
    for (int64_t r = 0; r < chunk->rows; r++) {
        const int64_t row = strip_row(chunk, r);
        memcpy(chunk->target_ids + r * k, (const int32_t *)target->ids->data + row * k, size);
        if (target->values) memcpy(chunk->target_values + r * k, (const float *)target->values->data + row * k, size);
        if (di_target_beside(target)) chunk->target_beside[r] = ((const float *)di_target_beside(target)->data)[row];
    }
    return DK_OK;
}

/* ---- gradients go out ---- */

typedef struct di_flush {
    di_chunk *chunk;
    int32_t last; /* into the strip; else into done */
} di_flush;

static void widen(const float *from, double *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++) to[i] = (double)from[i];
}

static void zero_behind(void *row, const dk_view *view, int64_t n)
{
    const size_t size = dk_dtype_size(view->dtype);
    memset((uint8_t *)row + (size_t)n * size, 0, (size_t)(view->shape[1] - n) * size);
}

/* The largest floats round to an infinity of BF16, whose exponent is all ones. */
static int32_t halves_finite(const uint16_t *x, int64_t n)
{
    uint16_t seen = 0;
    for (int64_t i = 0; i < n; i++) seen |= (uint16_t)((x[i] & 0x7f80) + 0x80);
    return !(seen & 0x8000);
}

static void note_overflow(di_chunk *chunk, int64_t row)
{
    int64_t first = atomic_load(&chunk->overflows);
    while (row < first && !atomic_compare_exchange_weak(&chunk->overflows, &first, row)) continue;
}

static void flush_rows(void *context, int64_t begin, int64_t end)
{
    const di_flush *flush = context;
    di_chunk *chunk = flush->chunk;
    const di_strip *strip = chunk->strip;
    const int64_t n = chunk->vocab;
    const dk_dtype dtype = strip->gradient.dtype;
    for (int64_t r = begin; r < end; r++) {
        const int64_t row = strip->first + strip_row(chunk, r);
        const double weight =
            (strip->batch->weights ? (double)strip->batch->weights[row] : 1) * strip->batch->grad_scale;
        const float a = (float)(chunk->scale * weight / (chunk->logs ? chunk->temperature : 1));
        const float *add = chunk->has_done ? chunk->done + r * n : NULL;
        float *h = chunk->group + r * n, *strip_out = flush->last ? row_of(chunk, &strip->gradient_rows, r) : NULL;
        float *out = !flush->last ? chunk->done + r * n : dtype == DK_F32 ? strip_out : h;
        const int32_t past = flush->last && strip->past && (uintptr_t)out % DI_PAST_ALIGNMENT == 0;
        int32_t finite =
            chunk->logs && chunk->group_sums[r] != 0
                ? strip->kernels->backward(&chunk->student_logits[r], h, n, chunk->group_sums[r], a, add, out, past)
                : strip->kernels->scale_add(h, n, a, add, out, past);
        if (!flush->last) continue;
        if (dtype == DK_F64) widen(h, (double *)(void *)strip_out, n);
        if (dtype == DK_BF16) {
            strip->kernels->halve(h, n, (uint16_t *)(void *)strip_out);
            finite = finite && halves_finite((const uint16_t *)(const void *)strip_out, n);
        }
        if (!finite) note_overflow(chunk, r);
        zero_behind(strip_out, &strip->gradient, n);
    }
}

static void flush_group(di_chunk *chunk, int32_t last)
{
    di_flush context = {chunk, last};
    if (!chunk->has_group) return;
    dk_parallel_for(chunk->host, chunk->rows, row_grain(chunk), flush_rows, &context);
    chunk->has_group = 0;
    chunk->has_done = !last;
}

/* ---- terms ---- */

/* Built-in losses take log p from the teacher's logits; only where those are doubles it is written down in p. */
static void prepare_logits(di_chunk *chunk, double divisor)
{
    const dk_view teacher = chunk->strip->teacher;
    const int32_t narrow = teacher.dtype == DK_F64;
    if (chunk->has_teacher_logits) return;
    fill(chunk, &chunk->strip->teacher_rows[chunk->level], narrow ? chunk->p : NULL, chunk->teacher_logits, divisor,
         narrow, 0);
    chunk->has_teacher_logits = 1;
    if (narrow) chunk->has_p = 0;
}

/* The strip that has the teacher at this temperature. */
static void choose_level(di_chunk *chunk, double temperature)
{
    const di_strip *strip = chunk->strip;
    int64_t level = 0;
    while (level + 1 < strip->levels && strip->temperatures[level] != temperature) level++;
    if (level != chunk->level) chunk->has_p = chunk->has_teacher_logits = 0;
    chunk->level = level;
}

static void prepare(di_chunk *chunk, const di_term *term, const di_entry *entry)
{
    const di_strip *strip = chunk->strip;
    const int32_t logs = di_term_logs(term, entry), floors = di_entry_floors(entry);
    const double temperature = di_term_temperature(term, entry);
    const float floor = floors ? term->log_floor : -INFINITY;
    const int32_t same = chunk->has_q && chunk->logs == logs && chunk->temperature == temperature;
    const int32_t sums = !entry->builtin || !entry->builtin->raw;
    double divisor = temperature;
    if (!same) flush_group(chunk, 0);
    if (!same || (sums && !chunk->has_sums)) {
        chunk->has_sums = sums;
        fill(chunk, &strip->student_rows, chunk->q, chunk->student_logits, temperature,
             !logs || !has_callbacks(strip->loss), 0);
        chunk->has_q = 1;
        chunk->has_p = chunk->has_teacher_logits = 0;
        chunk->logs = logs;
        chunk->temperature = temperature;
    }
    if (!entry->table.targets || !dk_view_present(strip->teacher)) return;
    choose_level(chunk, temperature);
    divisor /= strip->temperatures[chunk->level];
    if (entry->builtin) prepare_logits(chunk, divisor);
    if (entry->builtin || (chunk->has_p && chunk->floor == floor)) return;
    chunk->floor = floor;
    fill(chunk, &strip->teacher_rows[chunk->level], chunk->p, NULL, logs ? divisor : 0, 0, floors);
    chunk->has_p = 1;
    if (strip->teacher.dtype == DK_F64) chunk->has_teacher_logits = 0; /* they stood in p */
}

typedef struct di_join {
    di_chunk *chunk;
    float factor;
} di_join;

static void join_rows(void *context, int64_t begin, int64_t end)
{
    const di_join *join = context;
    di_chunk *chunk = join->chunk;
    for (int64_t r = begin; r < end; r++)
        chunk->strip->kernels->axpy(join->factor, chunk->term + r * chunk->vocab, chunk->group + r * chunk->vocab,
                                    chunk->vocab);
}

/* The group's gradient is scale * group, scale not 0; another term's joins it in that unit. */
static void join(di_chunk *chunk, double scale)
{
    const double factor = chunk->has_group ? scale / chunk->scale : 1;
    di_join context = {chunk, (float)factor};
    for (int64_t r = 0; r < chunk->rows; r++)
        chunk->group_sums[r] = (chunk->has_group ? chunk->group_sums[r] : 0) + (double)(float)factor * chunk->sums[r];
    if (chunk->has_group) {
        dk_parallel_for(chunk->host, chunk->rows, row_grain(chunk), join_rows, &context);
        return;
    }
    chunk->scale = scale;
    chunk->has_group = 1;
}

/* No term has a weight at this step, or none since the last group. */
static void join_nothing(di_chunk *chunk)
{
    memset(chunk->group, 0, (size_t)(chunk->rows * chunk->vocab) * sizeof *chunk->group);
    memset(chunk->group_sums, 0, (size_t)chunk->rows * sizeof *chunk->group_sums);
    chunk->scale = 0;
    chunk->has_group = 1;
}

/* What a loss on rows says of the rejected sides of pairs is not learnt. */
static void leave_rejected(di_chunk *chunk, float *gradient)
{
    const di_pairs *pairs = chunk->strip->batch->pairs;
    for (int64_t r = 0; r < chunk->rows; r++) {
        if (pairs->sides[chunk->sequences[r]] != DISTILL_REJECTED) continue;
        chunk->values[r] = chunk->sums[r] = 0;
        if (gradient) memset(gradient + r * chunk->vocab, 0, (size_t)chunk->vocab * sizeof *gradient);
    }
}

/* A term whose weight is 0 at this step tells its value, and has no gradient. */
static int32_t run_term(di_chunk *chunk, const di_term *term, const di_entry *entry)
{
    const int32_t wanted = dk_view_present(chunk->strip->gradient) && term->weight != 0;
    double *parts = chunk->strip->parts + (term - chunk->strip->terms) * chunk->strip->capacity + chunk->first;
    float *gradient;
    int32_t rc;
    prepare(chunk, term, entry);
    gradient = !wanted ? NULL : chunk->has_group ? chunk->term : chunk->group;
    rc = di_chunk_call(chunk, term, entry, gradient, &chunk->error);
    if (rc == DISTILL_CB_DEFAULT) return run_term(chunk, term, entry->fallback);
    if (rc) return rc;
    if (chunk->strip->batch->pairs && !di_entry_is_pair(entry)) leave_rejected(chunk, gradient);
    for (int64_t r = 0; r < chunk->rows; r++) {
        parts[r] = di_term_t_squared(term, entry) * chunk->values[r];
        chunk->strip->totals[chunk->first + r] += term->weight * parts[r];
    }
    if ((rc = di_chunk_check_totals(chunk, entry, &chunk->error))) return rc;
    if (wanted && chunk->strip->squares) di_chunk_squares(chunk, term, entry, gradient);
    if (wanted) join(chunk, term->weight * di_term_t_squared(term, entry));
    return DK_OK;
}

/* A term on features is no matter of rows, and one of other text none of these. */
static void leave_out(di_chunk *chunk, int64_t term)
{
    double *parts = chunk->strip->parts + term * chunk->strip->capacity + chunk->first;
    memset(parts, 0, (size_t)chunk->rows * sizeof *parts);
}

static int32_t run_terms(di_chunk *chunk)
{
    const di_strip *strip = chunk->strip;
    int32_t rc = DK_OK;
    memset(strip->totals + chunk->first, 0, (size_t)chunk->rows * sizeof *strip->totals);
    for (int64_t i = 0; i < strip->loss->count; i++) {
        if (di_entry_is_feature(strip->terms[i].entry) || strip->terms[i].passed) leave_out(chunk, i);
        else DK_TRY(run_term(chunk, &strip->terms[i], strip->terms[i].entry));
    }
    if (dk_view_present(strip->gradient) && !chunk->has_group) join_nothing(chunk);
    flush_group(chunk, 1);
    DK_TRY(di_chunk_check_gradients(chunk, &chunk->error));
    chunk->floored += chunk->raised;
out:
    return rc;
}

/* The numbers of those terms that measure; what is floored is counted in the pass that has values. */
static int32_t measure_terms(di_chunk *chunk)
{
    const di_strip *strip = chunk->strip;
    int32_t rc = DK_OK;
    for (int64_t i = 0, at = 0; i < strip->loss->count && rc == DK_OK; i++) {
        const di_term *term = &strip->terms[i];
        if (!term->entry->table.sums) continue;
        if (!term->passed) {
            prepare(chunk, term, term->entry);
            rc = di_chunk_measure(chunk, term, at, &chunk->error);
        }
        at += term->entry->table.sums;
    }
    return rc;
}

void di_chunk_run(di_chunk *chunk, const di_strip *strip, int64_t first, int64_t rows)
{
    int32_t rc = DK_OK;
    chunk->strip = strip;
    chunk->first = first;
    chunk->rows = rows;
    chunk->has_q = chunk->has_p = chunk->has_teacher_logits = chunk->has_group = chunk->has_done = 0;
    chunk->level = 0;
    chunk->raised = 0;
    chunk->overflows = chunk->capacity;
    gather_labels(chunk);
    if (strip->target) DK_TRY(gather_target(chunk, &chunk->error));
    rc = strip->measured ? measure_terms(chunk) : run_terms(chunk);
out:
    chunk->rc = rc;
}
