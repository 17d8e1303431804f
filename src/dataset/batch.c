#include "dataset/batch.h"

#include <string.h>

int32_t di_batch_plan(dk_host *host, int64_t windows, int64_t tokens, int64_t sequences, di_batch **out, dk_error *err)
{
    di_batch *batch = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &batch, err));
    batch->host = host;
    batch->max_windows = windows;
    batch->max_tokens = tokens;
    batch->max_sequences = sequences;
    DK_TRY(dk_new(host, windows + 1, &batch->window_first, err));
    DK_TRY(dk_new(host, windows + 1, &batch->window_row, err));
    DK_TRY(dk_new(host, sequences + 1, &batch->offsets, err));
    DK_TRY(dk_new(host, sequences, &batch->origins, err));
    DK_TRY(dk_new(host, sequences, &batch->sources, err));
    DK_TRY(dk_new(host, sequences, &batch->tags, err));
    DK_TRY(dk_new(host, sequences, &batch->sides, err));
    DK_TRY(dk_new(host, tokens, &batch->ids, err));
    DK_TRY(dk_new(host, tokens, &batch->learn, err));
    DK_TRY(dk_new(host, tokens, &batch->row, err));
    DK_TRY(dk_new(host, tokens, &batch->labels, err));
    DK_TRY(dk_new(host, tokens, &batch->weights, err));
    DK_TRY(dk_new(host, tokens, &batch->row_sequence, err));
    *out = batch;
    return DK_OK;
out:
    di_batch_free(batch);
    return rc;
}

void di_batch_free(di_batch *batch)
{
    if (!batch) return;
    void *parts[] = {batch->window_first, batch->window_row, batch->offsets, batch->ids,          batch->learn,
                     batch->row,          batch->labels,     batch->weights, batch->row_sequence, batch->origins,
                     batch->sources,      batch->tags,       batch->sides,   batch->walk.windows, batch->walk.tokens};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) dk_free(batch->host, parts[i]);
    dk_free(batch->host, batch);
}

void di_batch_clear(di_batch *batch)
{
    batch->windows = batch->sequences = batch->rows = batch->pairs = 0;
    batch->window_first[0] = batch->window_row[0] = batch->offsets[0] = 0;
    batch->weight_sum = batch->pair_weight_sum = 0;
}

static void copy_ids(const di_tokens *tokens, int64_t first, int64_t count, int32_t *out)
{
    if (tokens->id_size == 4) {
        memcpy(out, (const int32_t *)tokens->ids + first, (size_t)count * sizeof *out);
        return;
    }
    const uint16_t *ids = (const uint16_t *)tokens->ids + first;
    for (int64_t i = 0; i < count; i++) out[i] = ids[i];
}

static int64_t begin_sequence(di_batch *batch, di_origin origin)
{
    const int64_t begin = batch->offsets[batch->sequences];
    batch->origins[batch->sequences] = origin;
    batch->sources[batch->sequences] = origin.source;
    batch->tags[batch->sequences] = origin.teacher;
    batch->sides[batch->sequences] = (uint8_t)origin.side;
    batch->learn[begin] = 0;
    return begin;
}

/* The token at this place is a label. */
static void add_row(di_batch *batch, int64_t place, float weight)
{
    const int64_t row = batch->rows++;
    batch->row[row] = place - 1;
    batch->labels[row] = batch->ids[place];
    batch->weights[row] = weight;
    batch->row_sequence[row] = batch->sequences;
    if (batch->sides[batch->sequences] != DISTILL_REJECTED) batch->weight_sum += (double)weight;
}

void di_batch_add_sequence(di_batch *batch, const di_tokens *tokens, int64_t first, int64_t count, di_origin origin)
{
    const int64_t begin = begin_sequence(batch, origin), first_row = batch->rows;
    copy_ids(tokens, first, count, batch->ids + begin);
    for (int64_t i = 1; i < count; i++) {
        const int32_t learnt = di_tokens_learnt(tokens, first + i);
        batch->learn[begin + i] = (uint8_t)learnt;
        if (learnt) add_row(batch, begin + i, tokens->weights ? tokens->weights[first + i] : 1.0f);
    }
    if (origin.side == DISTILL_CHOSEN) {
        batch->pairs++;
        batch->pair_weight_sum += (double)batch->weights[first_row];
    }
    batch->offsets[++batch->sequences] = begin + count;
}

void di_batch_add_text(di_batch *batch, const int32_t *ids, int64_t count, int64_t prompt, float weight,
                       di_origin origin)
{
    const int64_t begin = begin_sequence(batch, origin);
    memcpy(batch->ids + begin, ids, (size_t)count * sizeof *ids);
    for (int64_t i = 1; i < count; i++) {
        batch->learn[begin + i] = i >= prompt;
        if (i >= prompt) add_row(batch, begin + i, weight);
    }
    batch->offsets[++batch->sequences] = begin + count;
}

void di_origin_tag(di_origin *origin, const di_tag *tag)
{
    if (tag && *tag->source) origin->source = tag->source;
    if (tag && *tag->teacher) origin->teacher = tag->teacher;
}

void di_batch_end_window(di_batch *batch)
{
    batch->windows++;
    batch->window_first[batch->windows] = batch->sequences;
    batch->window_row[batch->windows] = batch->rows;
}

void di_batch_view(const di_batch *batch, distill_batch *out)
{
    DISTILL_INIT(out);
    out->ids = batch->ids;
    out->offsets = batch->offsets;
    out->rows = batch->row;
    out->sequences = batch->sequences;
    out->row_count = batch->rows;
    out->sources = batch->sources;
    out->tags = batch->tags;
}

void di_batch_name_sample(const di_batch *batch, int64_t sequence, dk_error *err)
{
    const di_origin *origin = &batch->origins[sequence];
    dk_error_context(err, "sample %lld of %.200s", (long long)origin->index, origin->source);
}

di_identity di_batch_identity(const di_batch *batch, int64_t sequence)
{
    int64_t begin = batch->offsets[sequence], count = batch->offsets[sequence + 1] - begin;
    return (di_identity){batch->origins[sequence], dk_hash64(batch->ids + begin, (size_t)count * sizeof *batch->ids)};
}
