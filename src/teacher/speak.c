/* speak.c - what a model writes, as text in whole characters. */
#include <string.h>

#include "teacher/teacher_parts.h"

enum { CONTEXT = 4 };
typedef struct spoken {       /* of one sequence */
    dk_strbuf pending;        /* bytes of a character that is not complete yet */
    int32_t ids[CONTEXT + 1]; /* the last tokens: some decode differently at the beginning of a text */
    int64_t count;
} spoken;
struct di_speaker {
    di_teacher *teacher; /* borrowed, for its tokenizer */
    int64_t count;       /* sequences */
    di_reader reader;
    const int32_t *top_ids; /* of the token that comes now */
    const float *top;
    int64_t top_count;
    spoken *sequences;
    dk_strbuf scratch;
    const char *const *stops; /* [stop_count] texts */
    int64_t stop_count;
    int32_t rc;
};

/* Bytes at the end that begin a character of which more is to come. */
static size_t incomplete(const char *text, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char c = (unsigned char)text[size - back];
        if ((c & 0xc0) == 0x80) continue;
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

/* What a token adds to the text of those before it, appended to pending. */
static int32_t add_text(di_speaker *s, spoken *at, int32_t id)
{
    const dk_tokenizer *tokenizer = s->teacher->tokenizer;
    size_t before;
    int32_t rc;
    dk_strbuf_clear(&s->scratch);
    DK_TRY(dk_tokenizer_decode_to(tokenizer, at->ids, at->count, DK_DECODE_SKIP_SPECIAL, &s->scratch, NULL));
    before = s->scratch.size;
    dk_strbuf_clear(&s->scratch);
    at->ids[at->count] = id;
    DK_TRY(dk_tokenizer_decode_to(tokenizer, at->ids, at->count + 1, DK_DECODE_SKIP_SPECIAL, &s->scratch, NULL));
    if (s->scratch.size > before) dk_strbuf_append(&at->pending, s->scratch.data + before, s->scratch.size - before);
    DK_TRY(dk_strbuf_check(&at->pending, NULL));
    if (at->count < CONTEXT) at->count++;
    else memmove(at->ids, at->ids + 1, CONTEXT * sizeof *at->ids);
out:
    return rc;
}

/* ---- what ends a text ---- */
static int32_t begins_with(const char *text, size_t size, const char *stop)
{
    size_t n = strlen(stop);
    return n <= size && !memcmp(text, stop, n);
}

/* Where the first stop text begins; size = there is none. */
static size_t find_stop(const di_speaker *s, const char *text, size_t size)
{
    for (size_t at = 0; at < size; at++)
        for (int64_t i = 0; i < s->stop_count; i++)
            if (begins_with(text + at, size - at, s->stops[i])) return at;
    return size;
}

/* Bytes at the end that may be the beginning of a stop text. */
static size_t half_stop(const di_speaker *s, const char *text, size_t size)
{
    size_t most = 0;
    for (int64_t i = 0; i < s->stop_count; i++) {
        size_t n = strlen(s->stops[i]) - 1;
        for (n = n < size ? n : size; n > most; n--)
            if (!memcmp(text + size - n, s->stops[i], n)) most = n;
    }
    return most;
}

static size_t held_back(const di_speaker *s, const char *text, size_t size)
{
    size_t half = half_stop(s, text, size), character = incomplete(text, size);
    return half > character ? half : character;
}

static int32_t hand_out(const di_speaker *s, int64_t sequence, const distill_token *token)
{
    const di_reader *reader = &s->reader;
    if (!reader->fn) return reader->table->token(reader->table->user, sequence, token);
    return reader->fn(reader->user, sequence, token->id, token->log_prob, token->text, (size_t)token->size,
                      (int32_t)token->finished);
}

void di_speaker_top(void *speaker, const int32_t *ids, const float *log_probs, int64_t count)
{
    di_speaker *s = speaker;
    s->top_ids = ids;
    s->top = log_probs;
    s->top_count = count;
}

int32_t di_speaker_logits(void *speaker, int64_t sequence, const int32_t *ids, int64_t count, float *logits,
                          int64_t vocab)
{
    const distill_writer_callbacks *table = ((di_speaker *)speaker)->reader.table;
    return table->logits(table->user, sequence, ids, count, logits, vocab);
}

int32_t di_speaker_emit(void *speaker, int64_t sequence, int32_t id, double log_prob, int32_t finished)
{
    di_speaker *s = speaker;
    spoken *at = &s->sequences[sequence];
    dk_strbuf *text = &at->pending;
    int32_t rc;
    if (s->teacher->tokenizer && (s->rc = add_text(s, at, id)) != DK_OK) return DISTILL_CB_CANCEL;
    size_t stop = find_stop(s, text->data, text->size), size = stop;
    if (stop < text->size) finished = DI_STOP_TEXT;
    size_t held = finished || !size ? 0 : held_back(s, text->data, size);
    size -= held;
    const distill_token token = {.struct_size = sizeof token,
                                 .id = id,
                                 .text = text->data ? text->data : "",
                                 .size = (int64_t)size,
                                 .log_prob = log_prob,
                                 .finished = finished,
                                 .top_ids = s->top_ids,
                                 .top_log_probs = s->top,
                                 .top_count = s->top_count};
    rc = hand_out(s, sequence, &token);
    if (held) memmove(text->data, text->data + size, held);
    text->size = held;
    if (rc == DK_TEXT_ENDS) return DK_TEXT_ENDS + 1; /* the host's code, which ends all */
    return rc == DISTILL_CB_OK && finished == DI_STOP_TEXT ? DK_TEXT_ENDS : rc;
}

static void open_sequence(const di_speaker *s, spoken *at, const int32_t *ids, int64_t length)
{
    const dk_tokenizer *tokenizer = s->teacher->tokenizer;
    dk_strbuf_init(&at->pending, s->teacher->host);
    at->count = length < CONTEXT ? length : CONTEXT;
    if (at->count) memcpy(at->ids, ids + length - at->count, (size_t)at->count * sizeof *at->ids);
    for (int64_t k = 0; tokenizer && k < at->count; k++) /* padding of the vocabulary has no text */
        if (at->ids[k] >= dk_tokenizer_vocab_size(tokenizer)) at->count = k;
}

int32_t di_speaker_create(di_teacher *teacher, const distill_batch *prompts, const di_writing *writing,
                          const di_reader *reader, di_speaker **out, dk_error *err)
{
    const int64_t samples = writing->args.samples, count = prompts->sequences * samples;
    di_speaker *s = NULL;
    int32_t rc;
    DK_TRY(dk_new(teacher->host, 1, &s, err));
    s->teacher = teacher;
    s->reader = *reader;
    s->stops = writing->texts;
    s->stop_count = writing->text_count;
    dk_strbuf_init(&s->scratch, teacher->host);
    DK_TRY(dk_new(teacher->host, count + 1, &s->sequences, err));
    for (; s->count < count; s->count++) {
        const int64_t prompt = s->count / samples, first = prompts->offsets[prompt];
        open_sequence(s, &s->sequences[s->count], prompts->ids + first, prompts->offsets[prompt + 1] - first);
    }
    *out = s;
    return DK_OK;
out:
    di_speaker_free(s);
    return rc;
}

int32_t di_speaker_copy(const di_speaker *from, const di_writing *writing, const di_reader *reader, di_speaker **out,
                        dk_error *err)
{
    di_speaker *s = NULL;
    int32_t rc;
    DK_TRY(dk_new(from->teacher->host, 1, &s, err));
    s->teacher = from->teacher;
    s->reader = *reader;
    s->stops = writing->texts;
    s->stop_count = writing->text_count;
    dk_strbuf_init(&s->scratch, s->teacher->host);
    DK_TRY(dk_new(s->teacher->host, from->count + 1, &s->sequences, err));
    while (s->count < from->count) {
        spoken *to = &s->sequences[s->count];
        const spoken *at = &from->sequences[s->count++];
        *to = *at;
        dk_strbuf_init(&to->pending, s->teacher->host);
        dk_strbuf_append(&to->pending, at->pending.data, at->pending.size);
        DK_TRY(dk_strbuf_check(&to->pending, err));
    }
    *out = s;
    return DK_OK;
out:
    di_speaker_free(s);
    return rc;
}

void di_speaker_free(di_speaker *s)
{
    if (!s) return;
    dk_host *host = s->teacher->host;
    for (int64_t i = 0; i < s->count; i++) dk_strbuf_free(&s->sequences[i].pending);
    dk_free(host, s->sequences);
    dk_strbuf_free(&s->scratch);
    dk_free(host, s);
}

int32_t di_speaker_status(const di_speaker *s, dk_error *err)
{
    if (s->rc == DK_OK) return DK_OK;
    return dk_fail(err, s->rc, "token of the model could not be made text: %s", dk_status_text(s->rc));
}
