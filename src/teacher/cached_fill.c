/* cached_fill.c - rows that a target cache lacks: their sequences go through the teacher as a batch of their own, and
 * what it says is added as records. */
#include <string.h>

#include "teacher/cached.h"
#include "teacher/row_maker.h"
#include "teacher/score.h"

enum { RECORD_BYTES = 1 << 24 }; /* after which a run of rows goes on in a record of its own */

struct di_filler {
    di_session *session; /* that lacks them; borrowed */
    di_cache *cache;
    const di_cache_header *header;
    di_scorer *scorer;  /* logits of the teacher; of tier hidden: */
    di_session *states; /* its hidden states */
    di_row_maker *maker;
    di_row_writer *writer;  /* the maker's */
    di_cache_record record; /* that is being made; rows 0 = none */
    const uint8_t (*keys)[16];
    /* the batch: sequences that lack rows */
    distill_batch batch;
    int32_t *ids;                 /* [max_tokens] */
    int64_t *offsets;             /* [max_sequences + 1] */
    int64_t *sequences;           /* [max_sequences] of the session's batch */
    const char **sources, **tags; /* [max_sequences] */
    int64_t *rows;                /* [max_rows] */
    int64_t at;                   /* sequence of the batch that rows are of */
    float *state;                 /* [width] one row of tier hidden or full */
    double flops;                 /* of the batch */
};

static dk_host *host_of(const di_filler *f) { return f->session->teacher->host; }

void di_filler_free(di_filler *f)
{
    if (!f) return;
    dk_host *host = host_of(f);
    di_scorer_free(f->scorer);
    di_session_free(f->states);
    di_row_maker_free(f->maker);
    dk_free(host, f->ids);
    dk_free(host, f->offsets);
    dk_free(host, f->sequences);
    dk_free(host, f->sources);
    dk_free(host, f->tags);
    dk_free(host, f->rows);
    dk_free(host, f->state);
    dk_free(host, f);
}

int32_t di_filler_create(di_session *s, di_filler **out, dk_error *err)
{
    const di_cached *cached = s->teacher->state;
    const di_cache_header *header = di_cache_get_header(cached->cache);
    dk_host *host = s->teacher->host;
    di_filler *f = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &f, err));
    f->session = s;
    f->cache = cached->cache;
    f->header = header;
    DK_TRY(dk_new(host, s->max_tokens > 0 ? s->max_tokens : 1, &f->ids, err));
    DK_TRY(dk_new(host, s->max_sequences + 1, &f->offsets, err));
    DK_TRY(dk_new(host, s->max_sequences > 0 ? s->max_sequences : 1, &f->sequences, err));
    DK_TRY(dk_new(host, s->max_sequences, &f->sources, err));
    DK_TRY(dk_new(host, s->max_sequences, &f->tags, err));
    DK_TRY(dk_new(host, s->max_rows, &f->rows, err));
    DK_TRY(dk_new(host, header->width, &f->state, err));
    DK_TRY(di_row_maker_create(host, header, &f->maker, err));
    f->writer = di_row_maker_writer(f->maker);
    if (header->tier == DI_TIER_HIDDEN)
        DK_TRY(di_session_create(cached->from, s->max_tokens, s->max_sequences, s->max_rows, &f->states, err));
    else DK_TRY(di_scorer_create(cached->from, s->max_tokens, s->max_sequences, s->max_rows, &f->scorer, err));
    *out = f;
    f = NULL;
out:
    di_filler_free(f);
    return rc;
}

/* ---- rows become records ---- */

static int32_t end_record(di_filler *f, dk_error *err)
{
    const void *data;
    size_t size;
    int64_t rows;
    int32_t rc = DK_OK;
    if (!f->record.rows) return DK_OK;
    DK_TRY(di_row_writer_take(f->writer, &data, &size, &rows, err));
    DK_TRY(di_cache_add(f->cache, &f->record, data, size, err));
out:
    f->record.rows = 0;
    return rc;
}

/* The record that row r of the batch belongs to. */
static int32_t aim_record(di_filler *f, int64_t r, dk_error *err)
{
    const int64_t place = f->rows[r];
    int32_t rc = DK_OK;
    f->at = di_sequence_of(&f->batch, place, r ? f->at : 0);
    const int64_t position = place - f->offsets[f->at];
    const uint8_t *key = f->keys[f->sequences[f->at]];
    const uint32_t length = (uint32_t)(f->offsets[f->at + 1] - f->offsets[f->at]);
    const int32_t goes_on = f->record.rows && memcmp(f->record.key, key, 16) == 0 && f->record.length == length &&
                            position == (int64_t)f->record.first + f->record.rows &&
                            di_row_writer_bytes(f->writer) < RECORD_BYTES;
    if (goes_on) return DK_OK;
    DK_TRY(end_record(f, err));
    memcpy(f->record.key, key, 16);
    f->record.length = length;
    f->record.first = (uint32_t)position;
out:
    return rc;
}

static int32_t put_row(di_filler *f, int64_t r, const float *row, dk_error *err)
{
    int32_t rc;
    DK_TRY(aim_record(f, r, err));
    DK_TRY(di_row_maker_put(f->maker, f->record.key, (int64_t)f->record.first + f->record.rows, row, err));
    f->record.rows++;
out:
    return rc;
}

/* Logits that its teacher gives at another temperature. */
static const float *at_temperature_1(const di_filler *f, const di_session *s, const float *row)
{
    for (int64_t v = 0; v < s->source.width; v++) f->state[v] = row[v] * (float)s->source.temperature;
    return f->state;
}

static int32_t on_strip(void *user, const di_session *s, int64_t first, int64_t count, const float *rows, dk_error *err)
{
    di_filler *f = user;
    int32_t rc = DK_OK;
    if (!first) f->flops = di_session_flops(di_scorer_session(f->scorer));
    for (int64_t r = 0; r < count; r++) {
        const float *row = rows + r * s->source.width;
        if (f->header->tier == DI_TIER_FULL) row = at_temperature_1(f, s, row);
        DK_TRY(put_row(f, first + r, row, err));
    }
out:
    return rc;
}

static int32_t put_states(di_filler *f, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_session_forward(f->states, &f->batch, err));
    f->flops = di_session_flops(f->states) -
               dk_head_flops(di_teacher_model(f->states->teacher), f->batch.offsets[f->batch.sequences]);
    const distill_target *target = di_session_hidden(f->states);
    if (!target)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "%s: the teacher's hidden states are not in the host's memory",
                       di_cache_path(f->cache)));
    for (int64_t r = 0; r < f->batch.row_count; r++) {
        di_tensor_read_rows(target->values, r, 1, f->state);
        DK_TRY(put_row(f, r, f->state, err));
    }
out:
    return rc;
}

/* ---- the batch ---- */

static void gather(di_filler *f, const int64_t *rows, int64_t count)
{
    const distill_batch *batch = &f->session->batch;
    int64_t sequence = -1, sequences = 0;
    f->offsets[0] = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t place = f->session->places[rows[i]];
        const int64_t own = di_sequence_of(batch, place, sequence < 0 ? 0 : sequence);
        const int64_t begin = batch->offsets[own], length = batch->offsets[own + 1] - begin;
        if (own != sequence) {
            memcpy(f->ids + f->offsets[sequences], batch->ids + begin, (size_t)length * sizeof *f->ids);
            f->sequences[sequences] = sequence = own;
            if (batch->sources) f->sources[sequences] = batch->sources[own];
            if (batch->tags) f->tags[sequences] = batch->tags[own];
            f->offsets[sequences + 1] = f->offsets[sequences] + length;
            sequences++;
        }
        f->rows[i] = f->offsets[sequences - 1] + place - begin;
    }
    DISTILL_INIT(&f->batch);
    f->batch.ids = f->ids;
    f->batch.offsets = f->offsets;
    f->batch.sequences = sequences;
    f->batch.rows = f->rows;
    f->batch.row_count = count;
    f->batch.sources = batch->sources ? f->sources : NULL;
    f->batch.tags = batch->tags ? f->tags : NULL;
}

double di_filler_flops(const di_filler *f) { return f->flops; }

int32_t di_filler_run(di_filler *f, const uint8_t (*keys)[16], const int64_t *rows, int64_t count, dk_error *err)
{
    const double temperature = f->header->tier == DI_TIER_FULL ? 0 : f->header->temperature;
    const void *left;
    size_t size;
    int64_t left_rows;
    int32_t rc;
    f->keys = keys;
    f->record.rows = 0;
    DK_TRY(di_row_writer_take(f->writer, &left, &size, &left_rows, err)); /* of a run that failed */
    gather(f, rows, count);
    if (f->states) DK_TRY(put_states(f, err));
    else DK_TRY(di_scorer_run(f->scorer, &f->batch, temperature, on_strip, f, err));
    DK_TRY(end_record(f, err));
out:
    if (rc && di_names_sequence(err, f->batch.sequences)) {
        err->position = f->sequences[err->position];
        dk_error_context(err, "%s: sequence %lld, of those that it lacks", di_cache_path(f->cache),
                         (long long)err->position);
    }
    return rc;
}
