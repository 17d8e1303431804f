/* log_probs.c - log-probabilities of the tokens that follow, and the likeliest ids with the mass of all others, a strip
 * of rows at a time: distill_teacher_log_probs. */
#include <math.h>

#include "teacher/score.h"
#include "teacher/teacher_parts.h"

typedef struct asked {
    const distill_tensor *chosen, *values, *ids, *tail; /* NULL = not wanted */
    int64_t k;
    dk_host *host;
    /* of the strip under work */
    const float *rows;
    int64_t width, valid, count;
    float *best; /* [count, k] descending */
    int32_t *best_ids;
    float *tails;
} asked;

static int32_t likelier(float value, int32_t id, float than, int32_t than_id)
{
    return value > than || (value == than && id < than_id);
}

/* Moves the entry at `at` down the heap of count, whose root is the least likely. */
static void sift(float *values, int32_t *ids, int64_t count, int64_t at)
{
    const float value = values[at];
    const int32_t id = ids[at];
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && likelier(values[child], ids[child], values[child + 1], ids[child + 1])) child++;
        if (!likelier(value, id, values[child], ids[child])) break;
        values[at] = values[child];
        ids[at] = ids[child];
    }
    values[at] = value;
    ids[at] = id;
}

void di_row_best(const float *row, int64_t valid, int64_t k, float *values, int32_t *ids)
{
    for (int64_t i = 0; i < k; i++) {
        values[i] = row[i];
        ids[i] = (int32_t)i;
    }
    for (int64_t i = k / 2 - 1; i >= 0; i--) sift(values, ids, k, i);
    for (int64_t v = k; v < valid; v++) {
        if (!likelier(row[v], (int32_t)v, values[0], ids[0])) continue;
        values[0] = row[v];
        ids[0] = (int32_t)v;
        sift(values, ids, k, 0);
    }
    for (int64_t left = k - 1; left > 0; left--) { /* the root is the least likely: it goes to the end */
        const float value = values[0];
        const int32_t id = ids[0];
        values[0] = values[left];
        ids[0] = ids[left];
        values[left] = value;
        ids[left] = id;
        sift(values, ids, left, 0);
    }
}

/* log of the mass outside the k likeliest, summed over it alone: 1 - the others' mass would cancel. */
float di_row_rest(const float *row, int64_t valid, int64_t k, const float *values, const int32_t *ids)
{
    double sum = 0;
    if (k == valid) return -INFINITY;
    const float least = values[k - 1];
    const int32_t least_id = ids[k - 1];
    float peak = -INFINITY;
    for (int64_t v = 0; v < valid; v++)
        if (row[v] > peak && likelier(least, least_id, row[v], (int32_t)v)) peak = row[v];
    if (!(peak > -INFINITY)) return -INFINITY;
    for (int64_t v = 0; v < valid; v++)
        if (likelier(least, least_id, row[v], (int32_t)v)) sum += exp((double)row[v] - (double)peak);
    return (float)((double)peak + log(sum));
}

static void best_rows(void *context, int64_t begin, int64_t end)
{
    const asked *a = context;
    for (int64_t r = begin; r < end; r++) {
        const float *row = a->rows + r * a->width;
        di_row_best(row, a->valid, a->k, a->best + r * a->k, a->best_ids + r * a->k);
        if (a->tail) a->tails[r] = di_row_rest(row, a->valid, a->k, a->best + r * a->k, a->best_ids + r * a->k);
    }
}

static void write_ids(const distill_tensor *tensor, int64_t first, int64_t count, const int32_t *ids)
{
    const int64_t k = tensor->shape[1];
    const int64_t down = tensor->strides ? tensor->strides[0] : k, across = tensor->strides ? tensor->strides[1] : 1;
    int32_t *out = (int32_t *)(void *)((uint8_t *)tensor->data + tensor->byte_offset);
    for (int64_t r = 0; r < count; r++)
        for (int64_t j = 0; j < k; j++) out[(first + r) * down + j * across] = ids[r * k + j];
}

static void write_numbers(const distill_tensor *tensor, int64_t first, int64_t count, const float *numbers)
{
    const int64_t stride = tensor->strides ? tensor->strides[0] : 1;
    float *out = (float *)(void *)((uint8_t *)tensor->data + tensor->byte_offset);
    for (int64_t r = 0; r < count; r++) out[(first + r) * stride] = numbers[r];
}

static void write_chosen(const asked *a, const di_session *s, int64_t first)
{
    for (int64_t r = 0; r < a->count; r++) {
        const int32_t next = s->batch.ids[s->places[first + r] + 1];
        write_numbers(a->chosen, first + r, 1, a->rows + r * a->width + next);
    }
}

static int32_t on_strip(void *user, const di_session *s, int64_t first, int64_t count, const float *rows, dk_error *err)
{
    asked *a = user;
    (void)err;
    a->rows = rows;
    a->width = s->source.width;
    a->valid = s->source.vocab_valid;
    a->count = count;
    if (a->chosen) write_chosen(a, s, first);
    if (!a->k) return DK_OK;
    dk_parallel_for(a->host, count, 1, best_rows, a);
    di_tensor_write_rows(a->values, first, count, a->best, 0);
    write_ids(a->ids, first, count, a->best_ids);
    if (a->tail) write_numbers(a->tail, first, count, a->tails);
    return DK_OK;
}

/* ---- what is asked for ---- */

static int32_t check_chosen(di_teacher *t, const distill_batch *batch, const distill_tensor *chosen, dk_error *err)
{
    const int64_t rows = di_batch_rows(batch), shape[1] = {rows}, valid = di_teacher_vocab_valid(t);
    int32_t rc;
    DK_TRY(di_check_tensor(chosen, "chosen", 1, shape, 1, err));
    for (int64_t s = 0, r = 0; s < batch->sequences && batch->rows; s++)
        for (; r < rows && batch->rows[r] < batch->offsets[s + 1]; r++)
            if (batch->rows[r] + 1 == batch->offsets[s + 1])
                return dk_fail(err, DK_E_INVALID, "row %lld is the last token of sequence %lld: none follows it",
                               (long long)r, (long long)s);
    for (int64_t s = 0; s < batch->sequences; s++)
        for (int64_t i = batch->offsets[s] + 1; i < batch->offsets[s + 1]; i++)
            if (batch->ids[i] >= valid)
                return dk_fail(err, DK_E_INVALID,
                               "id %d (sequence %lld, token %lld) is outside the %lld ids that count",
                               (int)batch->ids[i], (long long)s, (long long)(i - batch->offsets[s]), (long long)valid);
out:
    return rc;
}

static int32_t check_top(di_teacher *t, const distill_batch *batch, const distill_target *top, dk_error *err)
{
    int64_t shape[2] = {di_batch_rows(batch), -1};
    int32_t rc;
    if (top->kind != DISTILL_TOPK || !top->values || !top->ids)
        return dk_fail(err, DK_E_INVALID, "top is not a TOPK target with values and ids");
    DK_TRY(di_check_tensor(top->values, "top->values", 2, shape, 1, err));
    shape[1] = top->values->shape[1];
    DK_TRY(di_check_ids(top->ids, "top->ids", 2, shape, err));
    if (top->ids->dtype_bits != 32) return dk_fail(err, DK_E_INVALID, "top->ids: int32 is written, not int64");
    if (top->tail) DK_TRY(di_check_tensor(top->tail, "top->tail", 1, shape, 1, err));
    if (shape[1] < 1 || shape[1] > di_teacher_vocab_valid(t))
        return dk_fail(err, DK_E_INVALID, "top->values has k = %lld, not in [1, %lld], the ids that count",
                       (long long)shape[1], (long long)di_teacher_vocab_valid(t));
out:
    return rc;
}

int32_t di_teacher_log_probs(di_teacher *t, const distill_batch *batch, double temperature,
                             const distill_tensor *chosen, distill_target *top, dk_error *err)
{
    asked a = {.chosen = chosen, .host = t->host};
    int32_t rc;
    if (temperature == 0) temperature = 1;
    if (!(temperature >= 1e-3 && temperature <= 1e3)) {
        char text[32];
        dk_format_f64(temperature, text);
        return dk_fail(err, DK_E_INVALID, "temperature is %s, not in [0.001, 1000]; 0 = 1", text);
    }
    if (chosen) DK_TRY(check_chosen(t, batch, chosen, err));
    if (top) {
        DK_TRY(check_top(t, batch, top, err));
        a.values = top->values;
        a.ids = top->ids;
        a.tail = top->tail;
        a.k = top->values->shape[1];
        DK_TRY(dk_new(t->host, DI_STRIP_ROWS * a.k, &a.best, err));
        DK_TRY(dk_new(t->host, DI_STRIP_ROWS * a.k, &a.best_ids, err));
        DK_TRY(dk_new(t->host, DI_STRIP_ROWS, &a.tails, err));
    }
    DK_TRY(di_teacher_strips(t, batch, temperature, on_strip, &a, err));
    if (top) top->temperature = temperature;
    if (top) top->vocab_valid = di_teacher_vocab_valid(t);
out:
    dk_free(t->host, a.best);
    dk_free(t->host, a.best_ids);
    dk_free(t->host, a.tails);
    return rc;
}
