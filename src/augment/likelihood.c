#include "augment/likelihood.h"

#include "augment/prompts.h"
#include "augment/rank_calls.h"
#include "augment/rank_messages.h"
#include "base/ranks.h"

#include <math.h>
#include <string.h>

enum { BATCH_TOKENS = 4096 };

static int32_t answer_part(void *self, const dk_strbuf *question, dk_strbuf *answer, dk_error *err);

int32_t di_likelihood_init(di_likelihood *l, const di_step *step, di_teacher *teacher, dk_error *err)
{
    const di_facts facts = di_teacher_facts(teacher);
    memset(l, 0, sizeof *l);
    l->step = step;
    l->teacher = teacher;
    l->context = facts.context_length > 0 ? facts.context_length : 0;
    di_encoded_init(&l->one, step->host);
    return step->calls ? di_rank_calls_join(step->calls, l, answer_part, &l->number, err) : DK_OK;
}

void di_likelihood_free(di_likelihood *l)
{
    if (!l->step) return;
    dk_host *host = l->step->host;
    di_encoded_free(&l->one);
    dk_free(host, l->ids);
    dk_free(host, l->offsets);
    dk_free(host, l->rows);
    dk_free(host, l->chosen);
}

static int32_t widen(dk_host *host, void **block, int64_t count, size_t size, dk_error *err)
{
    void *grown = dk_realloc(host, *block, (uint64_t)count, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)count * size);
    *block = grown;
    return DK_OK;
}

static int32_t make_room(di_likelihood *l, int64_t tokens, dk_error *err)
{
    dk_host *host = l->step->host;
    int32_t rc = DK_OK;
    if (l->sequences + 2 > l->sequence_capacity) {
        const int64_t capacity = 2 * (l->sequences + 2);
        DK_TRY(widen(host, (void **)&l->offsets, capacity, sizeof *l->offsets, err));
        l->sequence_capacity = capacity;
    }
    if (l->count + tokens > l->capacity) {
        const int64_t capacity = 2 * (l->count + tokens);
        DK_TRY(widen(host, (void **)&l->ids, capacity, sizeof *l->ids, err));
        DK_TRY(widen(host, (void **)&l->rows, capacity, sizeof *l->rows, err));
        DK_TRY(widen(host, (void **)&l->chosen, capacity, sizeof *l->chosen, err));
        l->capacity = capacity;
    }
out:
    return rc;
}

/* ---- a sample as tokens ---- */

static int32_t encode(di_likelihood *l, const di_record *record, dk_error *err)
{
    uint32_t flags;
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, l->step->host);
    di_record_write_learnt(record, &json);
    di_encoded_clear(&l->one);
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_encode_json(l->step->encoder, json.data, json.size, record->id, &flags, &l->one, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

static int32_t can_be_asked(const di_record *record)
{
    const di_record_kind kind = di_record_what(record);
    return kind == DI_RECORD_TEXT || kind == DI_RECORD_PAIR || kind == DI_RECORD_MESSAGES;
}

static int64_t count_learnt(const di_encoded *one)
{
    int64_t count = 0;
    for (int64_t i = 1; i < one->count; i++) count += one->learn[i] != 0;
    return count;
}

/* *why NULL = the sample is the next sequence of the batch. */
static int32_t add(di_likelihood *l, const di_record *record, const char **why, dk_error *err)
{
    dk_error problem;
    int32_t rc = DK_OK;
    *why = "nothing_learnt";
    if (!can_be_asked(record)) return DK_OK;
    rc = encode(l, record, &problem);
    if (di_is_of_sample(rc)) return *why = "refused", DK_OK;
    if (rc && err) *err = problem;
    DK_TRY(rc);
    if (!count_learnt(&l->one)) return DK_OK;
    *why = "longer_than_context";
    if (l->context && l->one.count > l->context) return DK_OK;
    DK_TRY(make_room(l, l->one.count, err));
    memcpy(l->ids + l->count, l->one.ids, (size_t)l->one.count * sizeof *l->ids);
    for (int64_t i = 1; i < l->one.count; i++)
        if (l->one.learn[i]) l->rows[l->row_count++] = l->count + i - 1;
    l->offsets[l->sequences] = l->count;
    l->count += l->one.count;
    l->offsets[++l->sequences] = l->count;
    *why = NULL;
out:
    return rc;
}

/* ---- what the model says ---- */

/* Sequences [first, last) of the batch. */
static int32_t run_part(di_likelihood *l, int64_t first, int64_t last, int64_t first_row, int64_t rows, dk_error *err)
{
    const int64_t shape[1] = {rows}, begin = l->offsets[first];
    const distill_tensor chosen = {.data = l->chosen + first_row,
                                   .device_type = DISTILL_CPU,
                                   .ndim = 1,
                                   .dtype_code = DISTILL_FLOAT,
                                   .dtype_bits = 32,
                                   .dtype_lanes = 1,
                                   .shape = shape};
    distill_batch batch;
    int32_t rc;
    for (int64_t i = first; i <= last; i++) l->offsets[i] -= begin;
    for (int64_t i = first_row; i < first_row + rows; i++) l->rows[i] -= begin;
    DISTILL_INIT(&batch);
    batch.ids = l->ids + begin;
    batch.offsets = l->offsets + first;
    batch.rows = l->rows + first_row;
    batch.sequences = last - first;
    batch.row_count = rows;
    rc = di_teacher_log_probs(l->teacher, &batch, 1, &chosen, NULL, err);
    for (int64_t i = first; i <= last; i++) l->offsets[i] += begin;
    for (int64_t i = first_row; i < first_row + rows; i++) l->rows[i] += begin;
    return rc;
}

/* ---- by several ranks: a question is the batch, a part of the answer what rows of some sequences are ---- */

static int32_t ask_ranks(di_likelihood *l, dk_error *err)
{
    const int64_t counts[3] = {l->sequences, l->count, l->row_count};
    dk_strbuf question, answers;
    dk_message told;
    int32_t rc;
    dk_strbuf_init(&question, l->step->host);
    dk_strbuf_init(&answers, l->step->host);
    dk_strbuf_append(&question, counts, sizeof counts);
    dk_strbuf_append(&question, l->offsets, (size_t)(l->sequences + 1) * sizeof *l->offsets);
    dk_strbuf_append(&question, l->rows, (size_t)l->row_count * sizeof *l->rows);
    dk_strbuf_append(&question, l->ids, (size_t)l->count * sizeof *l->ids);
    DK_TRY(di_rank_call(l->step->calls, l->number, &question, &answers, err));
    dk_message_open(&told, answers.data, answers.size);
    dk_message_take(&told, l->chosen, l->row_count, sizeof *l->chosen);
    rc = dk_message_end(&told, "likelihoods that ranks found", err);
out:
    dk_strbuf_free(&question);
    dk_strbuf_free(&answers);
    return rc;
}

static void copy(void *to, const void *items, int64_t count, size_t size)
{
    if (count) memcpy(to, items, (size_t)count * size);
}

static int32_t take_question(di_likelihood *l, const dk_strbuf *question, dk_error *err)
{
    di_rows_question asked;
    int32_t rc;
    DK_TRY(di_rows_question_read(question, &asked, err));
    l->sequences = asked.sequences;
    l->count = 0;
    DK_TRY(make_room(l, asked.count, err));
    l->count = asked.count;
    l->row_count = asked.row_count;
    copy(l->offsets, asked.offsets, l->sequences + 1, sizeof *l->offsets);
    copy(l->rows, asked.rows, l->row_count, sizeof *l->rows);
    copy(l->ids, asked.ids, l->count, sizeof *l->ids);
out:
    return rc;
}

static int32_t answer_part(void *self, const dk_strbuf *question, dk_strbuf *answer, dk_error *err)
{
    di_likelihood *l = self;
    dk_host *host = l->step->host;
    int64_t row = 0, end = 0;
    int32_t rc = DK_OK;
    if (dk_rank(host)) DK_TRY(take_question(l, question, err));
    const int64_t first = di_rank_share(host, l->sequences, 0), last = di_rank_share(host, l->sequences, 1);
    while (row < l->row_count && l->rows[row] < l->offsets[first]) row++;
    for (end = row; end < l->row_count && l->rows[end] < l->offsets[last];) end++;
    if (first == last) goto out;
    DK_TRY(run_part(l, first, last, row, end - row, err));
    dk_strbuf_append(answer, l->chosen + row, (size_t)(end - row) * sizeof *l->chosen);
    rc = dk_strbuf_check(answer, err);
out:
    return rc;
}

static int32_t run(di_likelihood *l, dk_error *err)
{
    return l->step->calls ? ask_ranks(l, err) : run_part(l, 0, l->sequences, 0, l->row_count, err);
}

static double mean_of(const di_likelihood *l, int64_t sequence, int64_t *row)
{
    const int64_t first = *row;
    double sum = 0;
    while (*row < l->row_count && l->rows[*row] < l->offsets[sequence + 1]) sum += (double)l->chosen[(*row)++];
    return sum / (double)(*row - first);
}

/* Records [first, last) stand in the batch, but those that have no mean. */
static int32_t flush(di_likelihood *l, int64_t first, int64_t last, double *means, const char *const *why,
                     dk_error *err)
{
    int64_t sequence = 0, row = 0;
    int32_t rc = DK_OK;
    if (l->sequences) DK_TRY(run(l, err));
    for (int64_t i = first; i < last; i++) means[i] = why[i] ? NAN : mean_of(l, sequence++, &row);
    l->count = l->row_count = l->sequences = 0;
out:
    return rc;
}

int32_t di_likelihood_of(di_likelihood *l, di_record *const *records, int64_t count, double *means, const char **why,
                         dk_error *err)
{
    int64_t first = 0;
    int32_t rc = DK_OK;
    l->count = l->row_count = l->sequences = 0;
    for (int64_t i = 0; i < count; i++) {
        DK_TRY(add(l, records[i], &why[i], err));
        if (l->count < BATCH_TOKENS && i + 1 < count) continue;
        DK_TRY(flush(l, first, i + 1, means, why, err));
        first = i + 1;
    }
out:
    return rc;
}
