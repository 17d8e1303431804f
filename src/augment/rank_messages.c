#include "augment/rank_messages.h"

#include <string.h>

static int64_t item(const void *items, int64_t i)
{
    int64_t value;
    memcpy(&value, (const char *)items + i * (int64_t)sizeof value, sizeof value);
    return value;
}

/* [count] from `first` on, each at least `step` above the one before, below `end`. */
static int32_t ascends(const void *items, int64_t count, int64_t first, int64_t step, int64_t end)
{
    int64_t least = first;
    for (int64_t i = 0; i < count; i++) {
        const int64_t value = item(items, i);
        if (value < least || value >= end) return 0;
        least = value + step;
    }
    return 1;
}

/* Offsets [count + 1] of sequences that `ids` ids are cut into. */
static int32_t are_offsets(const void *offsets, int64_t count, int64_t ids)
{
    return offsets && item(offsets, 0) == 0 && item(offsets, count) == ids &&
           ascends(offsets, count + 1, 0, 0, ids + 1);
}

int32_t di_prompts_question_read(const dk_strbuf *bytes, di_prompts_question *out, dk_error *err)
{
    static const char what[] = "prompts of rank 0";
    int64_t counts[3];
    dk_message m;
    int32_t rc;
    memset(out, 0, sizeof *out);
    dk_message_open(&m, bytes->data, bytes->size);
    dk_message_counts(&m, counts, 3);
    if (counts[0] < 1 || (!m.broken && counts[1] > (int64_t)m.left / counts[0])) m.broken = 1;
    DK_TRY(dk_message_check(&m, what, err));
    out->samples = counts[0];
    out->count = counts[1];
    out->ids_count = counts[2];
    out->offsets = dk_message_next(&m, out->count + 1, sizeof(int64_t));
    out->draws = dk_message_next(&m, out->count * out->samples, sizeof(uint64_t));
    out->ids = dk_message_next(&m, out->ids_count, sizeof(int32_t));
    if (!m.broken && !are_offsets(out->offsets, out->count, out->ids_count)) m.broken = 1;
    rc = dk_message_end(&m, what, err);
out:
    return rc;
}

int32_t di_prompts_answer_read(dk_message *m, int64_t keep, di_prompts_answer *out, dk_error *err)
{
    int64_t counts[3];
    int32_t rc;
    memset(out, 0, sizeof *out);
    dk_message_counts(m, counts, 3);
    if (keep && !m->broken && counts[0] > (int64_t)m->left / keep) m->broken = 1;
    DK_TRY(dk_message_check(m, "texts that ranks wrote", err));
    out->count = counts[0];
    out->finished = counts[1];
    out->text_size = counts[2];
    out->text = dk_message_next(m, out->text_size, 1);
    out->ids = dk_message_next(m, out->count, sizeof(int32_t));
    out->top_ids = dk_message_next(m, out->count * keep, sizeof(int32_t));
    out->top = dk_message_next(m, out->count * keep, sizeof(float));
    rc = dk_message_check(m, "texts that ranks wrote", err);
out:
    return rc;
}

int32_t di_rows_question_read(const dk_strbuf *bytes, di_rows_question *out, dk_error *err)
{
    static const char what[] = "samples of rank 0";
    int64_t counts[3];
    dk_message m;
    int32_t rc;
    memset(out, 0, sizeof *out);
    dk_message_open(&m, bytes->data, bytes->size);
    dk_message_counts(&m, counts, 3);
    DK_TRY(dk_message_check(&m, what, err));
    out->sequences = counts[0];
    out->count = counts[1];
    out->row_count = counts[2];
    out->offsets = dk_message_next(&m, out->sequences + 1, sizeof(int64_t));
    out->rows = dk_message_next(&m, out->row_count, sizeof(int64_t));
    out->ids = dk_message_next(&m, out->count, sizeof(int32_t));
    if (!m.broken && (!are_offsets(out->offsets, out->sequences, out->count) ||
                      !ascends(out->rows, out->row_count, 0, 1, out->count)))
        m.broken = 1;
    rc = dk_message_end(&m, what, err);
out:
    return rc;
}
