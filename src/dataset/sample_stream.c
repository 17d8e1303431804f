#include "dataset/sample_stream.h"

#include <string.h>

#include "dataset/pack.h"
#include "dataset/plan.h"
#include "dataset/read_memory.h"

typedef struct sample_place { /* where the tokens of a sample begin */
    int64_t begin, index, tag;
} sample_place;

struct di_sample_stream {
    dk_host *host;
    di_encoder encoder;
    distill_dataset_callbacks table; /* borrowed from the store */
    di_rules rules;
    di_packer packer;
    di_counts counts;
    di_sequences list; /* of windows that were not left behind yet */
    int64_t index;     /* of the next sample */
    int64_t base;      /* first window that can be asked for */
    int32_t ended;
    di_encoded sample;
    di_notes notes;
    int32_t *ids; /* tokens that list points into */
    uint8_t *learn;
    float *weights;
    int64_t count, capacity;
    sample_place *places; /* of the samples whose tokens are held, ascending */
    int64_t place_count, place_capacity;
    di_tags tags;
};

int32_t di_sample_stream_create(const di_encoder *encoder, const distill_dataset_callbacks *table,
                                const di_rules *rules, di_sample_stream **out, dk_error *err)
{
    di_sample_stream *stream;
    int32_t rc = dk_new(encoder->host, 1, &stream, err);
    if (rc != DK_OK) return rc;
    stream->host = encoder->host;
    stream->encoder = *encoder;
    stream->encoder.chat = dk_chat_template_retain(encoder->chat);
    stream->table = *table;
    stream->rules = *rules;
    di_packer_init(&stream->packer, rules->length, rules->pack);
    di_encoded_init(&stream->sample, encoder->host);
    *out = stream;
    return DK_OK;
}

void di_sample_stream_free(di_sample_stream *stream)
{
    if (!stream) return;
    di_encoder_free(&stream->encoder);
    di_encoded_free(&stream->sample);
    dk_free(stream->host, stream->list.items);
    dk_free(stream->host, stream->ids);
    dk_free(stream->host, stream->learn);
    dk_free(stream->host, stream->weights);
    dk_free(stream->host, stream->places);
    dk_free(stream->host, stream->tags.items);
    dk_free(stream->host, stream);
}

const di_counts *di_sample_stream_counts(const di_sample_stream *stream) { return &stream->counts; }

static int32_t resize(di_sample_stream *stream, void **block, int64_t capacity, size_t size, dk_error *err)
{
    void *grown = dk_realloc(stream->host, *block, (uint64_t)capacity, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * size);
    *block = grown;
    return DK_OK;
}

static int32_t reserve(di_sample_stream *stream, int64_t more, dk_error *err)
{
    int64_t capacity = stream->capacity ? stream->capacity : 4096;
    void *ids = stream->ids, *learn = stream->learn, *weights = stream->weights;
    int32_t rc = DK_OK;
    while (capacity < stream->count + more) capacity *= 2;
    if (capacity == stream->capacity) return DK_OK;
    DK_TRY(resize(stream, &ids, capacity, sizeof *stream->ids, err));
    stream->ids = ids;
    DK_TRY(resize(stream, &learn, capacity / 8, 1, err));
    stream->learn = learn;
    DK_TRY(resize(stream, &weights, capacity, sizeof *stream->weights, err));
    stream->weights = weights;
    stream->capacity = capacity;
out:
    return rc;
}

static int32_t add_place(di_sample_stream *stream, dk_error *err)
{
    int64_t tag = 0;
    void *places = stream->places;
    int64_t capacity = stream->place_capacity ? 2 * stream->place_capacity : 64;
    if (stream->place_count == stream->place_capacity) {
        int32_t rc = resize(stream, &places, capacity, sizeof *stream->places, err);
        if (rc != DK_OK) return rc;
        stream->places = places;
        stream->place_capacity = capacity;
    }
    int32_t rc = di_tags_add(&stream->tags, stream->host, &stream->sample.tag, &tag, err);
    if (rc == DK_OK) stream->places[stream->place_count++] = (sample_place){stream->count, stream->index, tag};
    return rc;
}

static di_origin origin_of(const di_sample_stream *stream, int64_t first)
{
    int64_t i = stream->place_count - 1;
    while (i > 0 && stream->places[i].begin > first) i--;
    const sample_place *place = &stream->places[i];
    di_origin origin = {"the host's samples", NULL, place->index, first - place->begin, 0, 0};
    di_origin_tag(&origin, place->tag ? &stream->tags.items[place->tag - 1] : NULL);
    return origin;
}

static void append(di_sample_stream *stream, const float *weights)
{
    const di_encoded *sample = &stream->sample;
    for (int64_t i = 0; i < sample->count; i++) {
        int64_t at = stream->count++;
        uint8_t bit = (uint8_t)(1u << (at & 7));
        stream->ids[at] = sample->ids[i];
        stream->weights[at] = weights ? weights[i] : 1;
        stream->learn[at >> 3] =
            sample->learn[i] ? stream->learn[at >> 3] | bit : stream->learn[at >> 3] & (uint8_t)~bit;
    }
}

static di_tokens tokens_of(const di_sample_stream *stream)
{
    return (di_tokens){stream->ids, sizeof *stream->ids, stream->learn, stream->weights};
}

static int32_t add(void *user, int64_t first, int64_t count, dk_error *err)
{
    di_sample_stream *stream = user;
    return di_sequences_add(&stream->list, stream->host, first, count, di_packer_place(&stream->packer, count), err);
}

static int32_t pull(di_sample_stream *stream, dk_error *err)
{
    const float *weights;
    int64_t first = stream->count;
    int32_t rc;
    di_encoded_clear(&stream->sample);
    rc = di_read_sample(&stream->encoder, &stream->table, stream->index, &stream->sample, err);
    if (rc == DK_E_END) {
        dk_error_clear(err);
        stream->ended = 1;
        di_counts_tell(&stream->counts, -1, stream->rules.length, stream->host, "the host's samples");
        di_notes_tell(&stream->notes, stream->host, "the host's samples");
        di_tags_tell(&stream->tags, stream->host, "the host's samples");
        return DK_OK;
    }
    if (rc != DK_OK) return rc;
    if (stream->sample.document_count > 1)
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "sample %lld has chosen and rejected, and pairs of a stream are not learnt from: say how many "
                       "samples there are",
                       (long long)stream->index);
    DK_TRY(reserve(stream, stream->sample.count, err));
    DK_TRY(add_place(stream, err));
    DK_TRY(di_encoded_weights(&stream->sample, &weights, err));
    append(stream, weights);
    di_notes_add(&stream->notes, &stream->sample.notes);
    di_tokens tokens = tokens_of(stream);
    rc = di_cut(&stream->rules, &tokens, first, stream->count - first, stream->sample.documents[0].flags,
                &stream->counts, add, stream, err);
    if (rc == DK_E_INVALID) dk_error_context(err, "sample %lld", (long long)stream->index);
    stream->index++;
out:
    return rc;
}

/* The place of a sample that is held in part stays; it begins before the tokens then. */
static void forget_places(di_sample_stream *stream, int64_t tokens)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < stream->place_count; i++) {
        if (i + 1 < stream->place_count && stream->places[i + 1].begin <= tokens) continue;
        stream->places[kept++] =
            (sample_place){stream->places[i].begin - tokens, stream->places[i].index, stream->places[i].tag};
    }
    stream->place_count = kept;
}

/* Forgets the windows before `first` and the tokens that nothing points at any more. */
static void leave_behind(di_sample_stream *stream, int64_t first)
{
    int64_t kept = 0, least = stream->count;
    for (int64_t i = 0; i < stream->list.count; i++) {
        if (stream->list.items[i].window < (uint64_t)first) continue;
        if (stream->list.items[i].first < least) least = stream->list.items[i].first;
        stream->list.items[kept++] = stream->list.items[i];
    }
    stream->list.count = kept;
    stream->base = first;
    least &= ~INT64_C(7); /* whole bytes of learn bits */
    if (least < 4096) return;
    stream->count -= least;
    memmove(stream->ids, stream->ids + least, (size_t)stream->count * sizeof *stream->ids);
    memmove(stream->weights, stream->weights + least, (size_t)stream->count * sizeof *stream->weights);
    memmove(stream->learn, stream->learn + least / 8, (size_t)(stream->count + 7) / 8);
    for (int64_t i = 0; i < kept; i++) stream->list.items[i].first -= least;
    forget_places(stream, least);
}

static void fill(di_sample_stream *stream, int64_t first, int64_t count, di_batch *out)
{
    di_tokens tokens = tokens_of(stream);
    di_batch_clear(out);
    for (int64_t window = first; window < first + count; window++) {
        for (int64_t i = 0; i < stream->list.count; i++)
            if (stream->list.items[i].window == (uint64_t)window)
                di_batch_add_sequence(out, &tokens, stream->list.items[i].first, stream->list.items[i].count,
                                      origin_of(stream, stream->list.items[i].first));
        di_batch_end_window(out);
    }
}

int32_t di_sample_stream_windows(di_sample_stream *stream, int64_t first, int64_t count, di_batch *out, dk_error *err)
{
    int32_t rc = DK_OK;
    if (first < stream->base)
        return dk_fail(err, DK_E_STAGE,
                       "window %lld of a stream was left behind: windows are read in order, the next is %lld",
                       (long long)first, (long long)stream->base);
    while (!stream->ended && di_packer_complete(&stream->packer) < first + count) {
        if (dk_host_cancelled(stream->host))
            return dk_fail(err, DK_E_CANCELLED, "cancelled at sample %lld of the stream", (long long)stream->index);
        DK_TRY(pull(stream, err));
        int64_t passed = di_packer_complete(&stream->packer);
        leave_behind(stream, passed < first ? passed : first);
    }
    if (first >= stream->packer.next)
        return dk_fail(err, DK_E_END, "the stream ended after %lld samples and %lld windows", (long long)stream->index,
                       (long long)stream->packer.next);
    if (count > stream->packer.next - first) count = stream->packer.next - first;
    leave_behind(stream, first);
    fill(stream, first, count, out);
out:
    return rc;
}
