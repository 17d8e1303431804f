#include "dataset/read_memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- a batch ---- */

static int32_t check_offsets(const distill_batch *batch, dk_error *err)
{
    if (batch->sequences < 1)
        return dk_fail(err, DK_E_INVALID, "tokens: %lld sequences, at least one is needed",
                       (long long)batch->sequences);
    if (!batch->offsets || !batch->ids)
        return dk_fail(err, DK_E_INVALID, "tokens: %s is NULL", batch->ids ? "offsets" : "ids");
    if (batch->offsets[0] != 0)
        return dk_fail(err, DK_E_INVALID, "tokens: offsets[0] is %lld, not 0", (long long)batch->offsets[0]);
    for (int64_t s = 0; s < batch->sequences; s++)
        if (batch->offsets[s + 1] < batch->offsets[s])
            return dk_fail(err, DK_E_INVALID, "tokens: offsets[%lld] is %lld, less than the one before",
                           (long long)s + 1, (long long)batch->offsets[s + 1]);
    return DK_OK;
}

static int32_t check_weight(double weight, const char *what, int64_t index, dk_error *err)
{
    char number[32];
    if (di_weight_fits(weight)) return DK_OK;
    dk_format_f64(weight, number);
    return dk_fail(err, isfinite(weight) ? DK_E_INVALID : DK_E_NUMERIC,
                   "%s %lld has weight %s: a number >= 0 that a float holds is needed", what, (long long)index, number);
}

/* Marks and weights of all tokens, from rows and their weights. */
static int32_t mark_rows(const distill_batch *batch, uint8_t *learn, float *weights, dk_error *err)
{
    int64_t count = batch->offsets[batch->sequences], sequence = 0, before = -1, rows = batch->row_count, row = 0;
    int32_t rc = DK_OK;
    if (!batch->rows) rows = count;
    for (int64_t i = 0; i < rows; i++) {
        int64_t at = batch->rows ? batch->rows[i] : i;
        if (at <= before || at >= count)
            return dk_fail(err, DK_E_INVALID, "tokens: rows[%lld] is %lld; rows ascend and are less than %lld",
                           (long long)i, (long long)at, (long long)count);
        while (batch->offsets[sequence + 1] <= at) sequence++;
        before = at;
        if (at + 1 == batch->offsets[sequence + 1]) {
            if (!batch->rows) continue;
            return dk_fail(
                err, DK_E_INVALID,
                "tokens: rows[%lld] is %lld, the last token of its sequence: no token follows that could be learnt",
                (long long)i, (long long)at);
        }
        double weight = batch->weights ? (double)batch->weights[row++] : 1;
        if ((rc = check_weight(weight, "row", row - 1, err))) {
            dk_error_context(err, "tokens: token %lld, in sequence %lld", (long long)at, (long long)sequence);
            goto out;
        }
        learn[at + 1] = weight > 0;
        weights[at + 1] = (float)weight;
    }
out:
    return rc;
}

static int32_t put_name(const char *const *names, int64_t index, const char *what, char out[DI_TAG_SIZE], dk_error *err)
{
    const char *name = names && names[index] ? names[index] : "";
    if (strlen(name) >= DI_TAG_SIZE)
        return dk_fail(err, DK_E_INVALID, "its %s \"%.20s...\" has %zu bytes; names have at most %d", what, name,
                       strlen(name), DI_TAG_SIZE - 1);
    snprintf(out, DI_TAG_SIZE, "%s", name);
    return DK_OK;
}

static int32_t end_sequence(const distill_batch *batch, int64_t sequence, uint32_t flags, di_builder *builder,
                            dk_error *err)
{
    di_tag tag = {0}; /* its bytes are hashed */
    int32_t rc;
    DK_TRY(put_name(batch->sources, sequence, "source", tag.source, err));
    DK_TRY(put_name(batch->tags, sequence, "tag", tag.teacher, err));
    DK_TRY(di_builder_end(builder, sequence, flags, &tag, err));
out:
    return rc;
}

int32_t di_read_batch(const distill_batch *batch, di_builder *builder, dk_host *host, dk_error *err)
{
    uint8_t *learn = NULL;
    float *weights = NULL;
    int32_t rc, masked = batch->rows != NULL || batch->weights != NULL;
    DK_TRY(check_offsets(batch, err));
    if (batch->rows && batch->row_count < 0)
        return dk_fail(err, DK_E_INVALID, "tokens: row_count is %lld", (long long)batch->row_count);
    int64_t count = batch->offsets[batch->sequences];
    if (masked) {
        DK_TRY(dk_new(host, count + 1, &learn, err));
        DK_TRY(dk_new(host, count + 1, &weights, err));
        DK_TRY(mark_rows(batch, learn, weights, err));
    }
    for (int64_t s = 0; s < batch->sequences; s++) {
        int64_t begin = batch->offsets[s];
        rc = di_builder_add(builder, batch->ids + begin, masked ? learn + begin : NULL,
                            batch->weights ? weights + begin : NULL, batch->offsets[s + 1] - begin, err);
        if (rc == DK_OK) rc = end_sequence(batch, s, masked ? 0 : DI_DOCUMENT_TEXT, builder, err);
        if (rc != DK_OK) {
            dk_error_context(err, "tokens: sequence %lld", (long long)s);
            goto out;
        }
    }
out:
    dk_free(host, learn);
    dk_free(host, weights);
    return rc;
}

/* ---- callbacks ---- */

static int32_t encode_tokens(const di_encoder *encoder, const distill_sample *sample, uint32_t *flags, di_encoded *out,
                             dk_error *err)
{
    int64_t limit = encoder->tokenizer ? dk_tokenizer_vocab_size(encoder->tokenizer) : INT32_MAX, first = out->count;
    int32_t rc;
    if (sample->count < 0 || (sample->count && !sample->ids))
        return dk_fail(err, DK_E_INVALID, "%lld tokens, and ids is NULL or the count is negative",
                       (long long)sample->count);
    if (sample->prompt_count < 0 || sample->prompt_count > sample->count)
        return dk_fail(err, DK_E_INVALID, "prompt_count %lld is not in [0, %lld]", (long long)sample->prompt_count,
                       (long long)sample->count);
    for (int64_t i = 0; i < sample->count; i++)
        if (sample->ids[i] < 0 || sample->ids[i] >= limit)
            return dk_fail(err, DK_E_INVALID, "token %lld is id %d, outside the vocabulary of %lld", (long long)i,
                           (int)sample->ids[i], (long long)limit);
    DK_TRY(di_encoded_append(out, sample->ids, sample->count, 1, err));
    for (int64_t i = 0; i < sample->count; i++) {
        int32_t prompt = i < sample->prompt_count && !encoder->prompt_loss;
        if (!prompt && (!sample->learn || sample->learn[i])) continue;
        out->learn[first + i] = 0;
        out->masked = 1;
    }
    *flags = sample->learn || sample->prompt_count ? 0 : DI_DOCUMENT_TEXT;
out:
    return rc;
}

static int32_t encode_sample(const di_encoder *encoder, const distill_sample *sample, const char *place,
                             uint32_t *flags, di_encoded *out, dk_error *err)
{
    if (sample->kind == DISTILL_SAMPLE_TOKENS) return encode_tokens(encoder, sample, flags, out, err);
    if (sample->kind != DISTILL_SAMPLE_TEXT && sample->kind != DISTILL_SAMPLE_JSON)
        return dk_fail(err, DK_E_INVALID, "kind %d is none of DISTILL_SAMPLE_TOKENS, _TEXT, _JSON", (int)sample->kind);
    if (!encoder->tokenizer) return dk_fail(err, DK_E_INVALID, "is text, and no tokenizer was given");
    if (sample->size < 0 || (sample->size && !sample->text))
        return dk_fail(err, DK_E_INVALID, "%lld bytes of text, and text is NULL or the size is negative",
                       (long long)sample->size);
    *flags = DI_DOCUMENT_TEXT;
    if (sample->kind == DISTILL_SAMPLE_JSON)
        return di_encode_json(encoder, sample->size ? sample->text : "", (size_t)sample->size, place, flags, out, err);
    if (!sample->size) return DK_OK;
    return di_encode_text(encoder, sample->text, (size_t)sample->size, 0, DI_PIECE_FIRST | DI_PIECE_LAST, out, err);
}

static int32_t ask(const distill_dataset_callbacks *table, int64_t index, distill_sample *sample, dk_error *err)
{
    DISTILL_INIT(sample);
    int32_t answer = table->get(table->user, index, sample);
    if (answer == DISTILL_CB_OK) return DK_OK;
    if (answer == DISTILL_CB_END) return dk_fail(err, DK_E_END, "the samples end at %lld", (long long)index);
    if (answer == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "sample %lld: cancelled by the host's get", (long long)index);
    dk_fail(err, DK_E_CALLBACK, "sample %lld: the host's get returned %d", (long long)index, (int)answer);
    if (err) err->user_code = answer;
    return DK_E_CALLBACK;
}

int32_t di_read_sample(const di_encoder *encoder, const distill_dataset_callbacks *table, int64_t index,
                       di_encoded *out, dk_error *err)
{
    distill_sample sample;
    uint32_t flags = 0;
    int64_t first = out->count;
    char place[40];
    int32_t rc;
    out->number = index;
    out->noted = 0;
    memset(&out->tag, 0, sizeof out->tag);
    snprintf(place, sizeof place, "sample %lld", (long long)index);
    DK_TRY(ask(table, index, &sample, err));
    DK_TRY(check_weight(sample.weight, "sample", index, err));
    rc = encode_sample(encoder, &sample, place, &flags, out, err);
    if (rc != DK_OK) {
        if (sample.kind != DISTILL_SAMPLE_JSON || !encoder->tokenizer) dk_error_context(err, "%s", place);
        goto out;
    }
    if (sample.weight > 0) DK_TRY(di_encoded_weigh(out, first, sample.weight, err));
    DK_TRY(di_encoded_end(out, index, flags, err));
out:
    return rc;
}

int32_t di_read_callbacks(const di_encoder *encoder, const distill_dataset_callbacks *table, di_builder *builder,
                          dk_error *err)
{
    di_encoded sample;
    di_notes notes = {0};
    int32_t rc = DK_OK;
    di_encoded_init(&sample, encoder->host);
    for (int64_t i = 0; i < table->count; i++) {
        if (dk_host_cancelled(encoder->host)) {
            rc =
                dk_fail(err, DK_E_CANCELLED, "cancelled at sample %lld of %lld", (long long)i, (long long)table->count);
            goto out;
        }
        di_encoded_clear(&sample);
        rc = di_read_sample(encoder, table, i, &sample, err);
        if (rc == DK_E_END) {
            rc = dk_fail(err, DK_E_CALLBACK, "sample %lld: the host's get says that there is none, but count is %lld",
                         (long long)i, (long long)table->count);
            if (err) err->user_code = DISTILL_CB_END;
        }
        if (rc != DK_OK) goto out;
        di_notes_add(&notes, &sample.notes);
        DK_TRY(di_encoded_store(&sample, builder, err));
    }
    di_notes_tell(&notes, encoder->host, builder->store->name);
    di_tags_tell(&builder->store->own_tags, encoder->host, builder->store->name);
out:
    di_encoded_free(&sample);
    return rc;
}
