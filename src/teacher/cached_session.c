/* cached_session.c - rows out of a target cache, as logits or as they are kept. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/ranks.h"
#include "target/host_rows.h"
#include "teacher/cached.h"

typedef struct work { /* a session's state */
    dk_queue queue;
    di_staging copied;
    dk_arena arena;
    dk_view hidden;      /* [max_rows, width] of tier hidden */
    uint8_t (*keys)[16]; /* [max_sequences] of the batch */
    int64_t *missing;    /* [max_rows] rows that are not kept */
    di_filler *filler;   /* NULL until something is missing */
    double flops;        /* of asking for it */
    di_session *live;    /* of the teacher, where what is missing is not to be kept; NULL = not yet */
    int32_t is_live;     /* the batch is asked of it */
    int32_t *ids;        /* [max_rows, width] of sparse tiers; [width] */
    float *values, *beside;
    distill_tensor value_tensor, id_tensor, beside_tensor;
    int64_t shape[2], row_shape[1];
    distill_target out;
    /* the record that is being read */
    di_row_reader reader;
    di_cache_rows record;
    int64_t sequence; /* of it; -1 = none */
    dk_strbuf bytes;
    /* for pull mode */
    distill_target target;
    distill_tensor hidden_values, head, bias;
    int64_t value_shape[2], head_shape[2], bias_shape[1];
} work;

static const di_cached *cached_of(const di_session *s) { return s->teacher->state; }
static const di_cache_header *header_of(const di_session *s) { return di_cache_get_header(cached_of(s)->cache); }

void di_cached_session_free(di_session *s)
{
    work *w = s->state;
    dk_host *host = s->teacher->host;
    di_filler_free(w->filler);
    di_session_free(w->live);
    di_staging_free(host, &w->copied);
    dk_arena_free(&w->arena);
    dk_queue_close(&w->queue);
    dk_strbuf_free(&w->bytes);
    dk_free(host, w->keys);
    dk_free(host, w->missing);
    dk_free(host, w->ids);
    dk_free(host, w->values);
    dk_free(host, w->beside);
    dk_free(host, w);
    s->state = NULL;
}

/* ---- one row ---- */

static int32_t find_record(di_session *s, work *w, int64_t sequence, int64_t position, dk_error *err)
{
    const int64_t length = s->batch.offsets[sequence + 1] - s->batch.offsets[sequence];
    di_cache *cache = cached_of(s)->cache;
    int32_t rc;
    w->sequence = -1;
    rc = di_cache_find(cache, w->keys[sequence], length, position, &w->bytes, &w->record, err);
    if (rc == DK_E_END)
        return dk_fail(err, DK_E_FORMAT, "%s: position %lld of sequence %lld was there and is damaged",
                       di_cache_path(cache), (long long)position, (long long)sequence);
    DK_TRY(rc);
    DK_TRY(di_cache_reader(cache, &w->record, &w->reader, err));
    w->sequence = sequence;
out:
    return rc;
}

/* Row r of the batch: ids and values [width], *count of them. Ascending rows go on where the last one ended. */
static int32_t get_row(di_session *s, int64_t r, int32_t *ids, float *values, int64_t *count, float *beside,
                       dk_error *err)
{
    work *w = s->state;
    const int64_t place = s->places[r],
                  from = w->sequence >= 0 && s->batch.offsets[w->sequence] <= place ? w->sequence : 0;
    const int64_t sequence = di_sequence_of(&s->batch, place, from), position = place - s->batch.offsets[sequence];
    int32_t rc = DK_OK;
    int64_t at = w->sequence == sequence ? position - w->record.record.first : -1;
    if (at < w->reader.row || at >= w->record.record.rows) {
        DK_TRY(find_record(s, w, sequence, position, err));
        at = position - w->record.record.first;
    }
    DK_TRY(di_row_skip(&w->reader, at - w->reader.row, ids, values, err));
    DK_TRY(di_row_get(&w->reader, ids, values, count, beside, err));
out:
    if (rc) {
        w->sequence = -1;
        dk_error_context(err, "%s: row %lld", di_cache_path(cached_of(s)->cache), (long long)r);
    }
    return rc;
}

/* ---- rows of a strip ---- */

static int32_t sparse_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_session *s = self;
    work *w = s->state;
    const int64_t width = header_of(s)->width;
    int64_t k = 0;
    int32_t rc = DK_OK;
    (void)strip;
    for (int64_t r = 0; r < count; r++) {
        int32_t *ids = w->ids + r * width;
        float *values = w->values + r * width;
        DK_TRY(get_row(s, first + r, ids, values, &k, &w->beside[r], err));
        for (; k < width; k++) {
            ids[k] = -1;
            values[k] = 0;
        }
    }
    w->shape[0] = w->row_shape[0] = count;
    w->shape[1] = width;
    w->value_tensor = di_tensor_of(w->values, DISTILL_FLOAT, 32, 2, w->shape);
    w->id_tensor = di_tensor_of(w->ids, DISTILL_INT, 32, 2, w->shape);
    w->beside_tensor = di_tensor_of(w->beside, DISTILL_FLOAT, 32, 1, w->row_shape);
    if (target) *target = &w->out;
out:
    return rc;
}

/* Values [count, width] straight into a view. */
static int32_t read_into(di_session *s, int64_t first, int64_t count, dk_view view, dk_error *err)
{
    work *w = s->state;
    di_host_rows rows;
    int64_t width;
    float beside;
    int32_t rc;
    DK_TRY(di_host_place(&w->queue, &w->copied, view, &rows, err));
    for (int64_t r = 0; r < count; r++)
        DK_TRY(get_row(s, first + r, NULL, (float *)(void *)(rows.data + r * rows.step), &width, &beside, err));
    DK_TRY(di_host_write(&w->queue, view, &rows, err));
out:
    return rc;
}

static int32_t live_rows(const work *w, int64_t first, int64_t count, dk_view strip, dk_error *err)
{
    const di_source *source = di_session_source(w->live);
    const distill_target *none = NULL;
    return source->rows(source->self, first, count, strip, &none, err);
}

static int32_t full_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                         dk_error *err)
{
    di_session *s = self;
    const work *w = s->state;
    if (target) *target = NULL;
    return w->is_live ? live_rows(w, first, count, strip, err) : read_into(s, first, count, strip, err);
}

static int32_t hidden_rows(void *self, int64_t first, int64_t count, dk_view strip, const distill_target **target,
                           dk_error *err)
{
    di_session *s = self;
    work *w = s->state;
    if (target) *target = NULL;
    if (w->is_live) return live_rows(w, first, count, strip, err);
    dk_head_forward(&w->queue, di_teacher_model(s->teacher), s->precision, dk_view_rows(w->hidden, first, count),
                    strip);
    return dk_queue_wait(&w->queue, err);
}

const distill_target *di_cached_hidden(di_session *s)
{
    work *w = s->state;
    if (header_of(s)->tier != DI_TIER_HIDDEN) return NULL;
    if (w->is_live) return di_session_hidden(w->live);
    dk_view rows = dk_view_rows(w->hidden, 0, s->row_count > 0 ? s->row_count : 1);
    return di_hidden_target(di_teacher_model(s->teacher), s->source.vocab_valid, rows, s->row_count, &w->target,
                            &w->hidden_values, &w->head, &w->bias, w->value_shape, w->head_shape, w->bias_shape);
}

/* ---- a batch ---- */

static int32_t is_asked(const di_session *s, int64_t place)
{
    int64_t low = 0, high = s->row_count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (s->places[middle] < place) low = middle + 1;
        else high = middle;
    }
    return low < s->row_count && s->places[low] == place;
}

/* Does the same sequence stand in the batch before this one, with the same row? */
static int32_t is_repeated(const di_session *s, const work *w, int64_t sequence, int64_t position)
{
    const int64_t *offsets = s->batch.offsets, length = offsets[sequence + 1] - offsets[sequence];
    for (int64_t i = 0; i < sequence; i++)
        if (offsets[i + 1] - offsets[i] == length && memcmp(w->keys[i], w->keys[sequence], sizeof *w->keys) == 0 &&
            is_asked(s, offsets[i] + position))
            return 1;
    return 0;
}

static int32_t is_missing(const di_session *s, const work *w, int64_t sequence, int64_t place)
{
    const int64_t begin = s->batch.offsets[sequence], length = s->batch.offsets[sequence + 1] - begin;
    return !di_cache_has(cached_of(s)->cache, w->keys[sequence], length, place - begin) &&
           !is_repeated(s, w, sequence, place - begin);
}

/* Who goes by the prompt needs the row where it ends: such a sequence is asked from its first row on. */
static int64_t all_of_it(const di_session *s, work *w, int64_t sequence, int64_t row, int64_t count)
{
    const int64_t begin = s->batch.offsets[sequence];
    if (!(header_of(s)->key_parts & DI_CACHE_BY_PROMPT) || !row || s->places[row - 1] < begin) return count;
    if (count && s->places[w->missing[count - 1]] >= begin) return count;
    while (row > 0 && s->places[row - 1] >= begin) row--;
    w->missing[count] = row;
    return count + 1;
}

static int64_t find_missing(di_session *s, work *w)
{
    int64_t count = 0, sequence = 0;
    for (int64_t r = 0; r < s->row_count; r++) {
        sequence = di_sequence_of(&s->batch, s->places[r], sequence);
        if (!is_missing(s, w, sequence, s->places[r])) continue;
        count = all_of_it(s, w, sequence, r, count);
        w->missing[count++] = r;
    }
    return count;
}

static int32_t refuse_missing(const di_session *s, const work *w, int64_t count, dk_error *err)
{
    const int64_t place = s->places[w->missing[0]], sequence = di_sequence_of(&s->batch, place, 0);
    const int64_t begin = s->batch.offsets[sequence], length = s->batch.offsets[sequence + 1] - begin;
    const char *way_out = "give the teacher that it is filled from";
    char key[33], ids[64] = "";
    if (cached_of(s)->from) way_out = "it cannot be written";
    if (cached_of(s)->from && dk_ranks(s->teacher->host) > 1)
        way_out = "several ranks read it alone, and fill it before a run: distill cache build does";
    dk_hex(w->keys[sequence], 16, key);
    for (int64_t i = 0, at = 0; i < length && i < 4; i++)
        at += snprintf(ids + at, sizeof ids - (size_t)at, "%s%d", i ? ", " : "", (int)s->batch.ids[begin + i]);
    return dk_fail_at(err, DK_E_NOT_FOUND, sequence,
                      "%s: lacks sequence %s of %lld tokens (%s, ...), position %lld, and %lld rows in all: %s",
                      di_cache_path(cached_of(s)->cache), key, (long long)length, ids, (long long)(place - begin),
                      (long long)count, way_out);
}

static void make_keys(di_session *s, work *w)
{
    const uint32_t parts = header_of(s)->key_parts;
    const distill_batch *batch = &s->batch;
    int64_t row = 0;
    for (int64_t i = 0; i < batch->sequences; i++) {
        const int64_t begin = batch->offsets[i], end = batch->offsets[i + 1];
        di_cache_origin origin = {batch->sources && batch->sources[i] ? batch->sources[i] : "",
                                  batch->tags && batch->tags[i] ? batch->tags[i] : "", 0};
        if (row < s->row_count && s->places[row] < end) origin.prompt = s->places[row] - begin + 1;
        while (row < s->row_count && s->places[row] < end) row++;
        di_cache_key_of(batch->ids + begin, end - begin, parts, &origin, w->keys[i]);
    }
}

/* Tiers that give logits; who keeps other ones is not part of what is kept in turn. */
static int32_t ask_live(di_session *s, work *w, dk_error *err)
{
    int32_t rc;
    if (!w->live)
        DK_TRY(di_session_create(cached_of(s)->from, s->max_tokens, s->max_sequences, s->max_rows, &w->live, err));
    di_session_follow(w->live, s);
    DK_TRY(di_session_forward(w->live, &s->batch, err));
    w->is_live = 1;
out:
    return rc;
}

int32_t di_cached_forward(di_session *s, dk_error *err)
{
    const di_cached *cached = cached_of(s);
    work *w = s->state;
    int32_t rc = DK_OK;
    if (cached->from && di_teacher_version(cached->from) != cached->version)
        return dk_fail(err, DK_E_MISMATCH, "%s: the teacher that it is filled from was trained since it was opened",
                       di_cache_path(cached->cache));
    w->sequence = -1;
    w->flops = 0;
    w->is_live = 0;
    make_keys(s, w);
    const int64_t missing = find_missing(s, w);
    if (missing && s->look && cached->from && cached->form.kind == DISTILL_DENSE) return ask_live(s, w, err);
    if (missing) {
        if (!cached->from || !di_cache_can_add(cached->cache)) return refuse_missing(s, w, missing, err);
        if (!w->filler) DK_TRY(di_filler_create(s, &w->filler, err));
        DK_TRY(di_filler_run(w->filler, (const uint8_t(*)[16])w->keys, w->missing, missing, err));
        w->flops = di_filler_flops(w->filler);
    }
    if (header_of(s)->tier == DI_TIER_HIDDEN && s->row_count && !di_cache_holds(cached->cache))
        DK_TRY(read_into(s, 0, s->row_count, dk_view_rows(w->hidden, 0, s->row_count), err));
out:
    return rc;
}

/* What is kept costs nothing but the head of tier hidden. */
double di_cached_flops(di_session *s)
{
    const work *w = s->state;
    if (header_of(s)->tier != DI_TIER_HIDDEN || !s->batch.sequences) return w->flops;
    return w->flops + dk_head_flops(di_teacher_model(s->teacher), s->batch.offsets[s->batch.sequences]);
}

/* ---- a session ---- */

static int32_t plan_rows(di_session *s, work *w, dk_error *err)
{
    const di_cache_header *header = header_of(s);
    dk_host *host = s->teacher->host;
    int32_t rc = DK_OK;
    if (!header->bits) {
        DK_TRY(dk_new(host, s->max_rows * header->width, &w->ids, err));
        DK_TRY(dk_new(host, s->max_rows * header->width, &w->values, err));
        DK_TRY(dk_new(host, s->max_rows, &w->beside, err));
    }
    for (int pass = 0; header->tier == DI_TIER_HIDDEN && pass < 2; pass++) {
        w->hidden = dk_arena_2d(&w->arena, s->teacher->backend->real, s->max_rows, header->width);
        if (!pass) DK_TRY(dk_arena_commit(&w->arena, err));
    }
out:
    return rc;
}

static void plan_source(di_session *s, work *w)
{
    const di_cache_header *header = header_of(s);
    const int32_t kind = cached_of(s)->form.kind;
    s->source = (di_source){.self = s,
                            .kind = kind,
                            .width = kind == DISTILL_DENSE ? header->vocab : 0,
                            .vocab_valid = header->vocab_valid,
                            .temperature = header->temperature,
                            .has_entropy = (int32_t)header->entropy,
                            .rows = header->tier == DI_TIER_HIDDEN ? hidden_rows
                                    : header->tier == DI_TIER_FULL ? full_rows
                                                                   : sparse_rows};
    w->out = cached_of(s)->form;
    w->out.values = &w->value_tensor;
    w->out.ids = &w->id_tensor;
    di_target_set_beside(&w->out, kind == DISTILL_TOPK || header->entropy ? &w->beside_tensor : NULL);
}

int32_t di_cached_session(di_session *s, dk_error *err)
{
    dk_host *host = s->teacher->host;
    work *w = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &w, err));
    s->state = w;
    w->sequence = -1;
    dk_strbuf_init(&w->bytes, host);
    dk_arena_init(&w->arena, s->teacher->backend);
    DK_TRY(dk_queue_open(&w->queue, s->teacher->backend, err));
    DK_TRY(dk_new(host, s->max_sequences > 0 ? s->max_sequences : 1, &w->keys, err));
    DK_TRY(dk_new(host, s->max_rows, &w->missing, err));
    DK_TRY(plan_rows(s, w, err));
    plan_source(s, w);
out:
    return rc;
}
