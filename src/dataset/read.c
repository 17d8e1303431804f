#include "dataset/read.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum {
    PIECE_BYTES = 1 << 20,
    CONTEXT_BYTES = 64,
    ROUND_PIECES = 512,
    ROUND_BYTES = 8 << 20,
    GRAIN = 8,
    SLOTS = ROUND_PIECES / GRAIN
};

typedef struct piece { /* one unit of work: a document, a part of one, or a line */
    const char *text;
    size_t size, before;
    int64_t number;
    int32_t part; /* DI_PIECE_* */
} piece;

typedef struct slot { /* what GRAIN pieces gave */
    di_encoded encoded;
    dk_error error;
    int32_t status;
} slot;

typedef struct reader {
    const di_reading *reading;
    const char *data, *end, *at;
    const char *separator;
    size_t separator_size;
    const char *document_end; /* of the document that `at` is in; NULL = between documents */
    const char *document;
    int64_t number;
    di_format format;
    int32_t array_ended;
    piece *pieces;
    int64_t count;
    slot *slots;
    double told; /* time of the last progress */
    di_notes notes;
} reader;

/* ---- cutting the source ---- */

static const char *find(const char *at, const char *end, const char *what, size_t size)
{
    while (size && (size_t)(end - at) >= size && (at = memchr(at, what[0], (size_t)(end - at) - size + 1))) {
        if (memcmp(at, what, size) == 0) return at;
        at++;
    }
    return NULL;
}

static int32_t is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!memchr(" \t\r\n\v\f", text[i], 6)) return 0;
    return 1;
}

static int32_t is_space(char c) { return is_blank(&c, 1); }

/* Where a piece that begins at `begin` ends: a line end or a space between two other characters, else between two
 * characters. */
static const char *cut(const char *begin, const char *end)
{
    const char *last = begin + PIECE_BYTES, *first = begin + PIECE_BYTES / 2;
    if (end - begin <= PIECE_BYTES + PIECE_BYTES / 4) return end;
    for (const char *p = last; p > first; p--)
        if (p[-1] == '\n' && !is_space(p[-2]) && !is_space(p[0])) return p;
    for (const char *p = last; p > first; p--)
        if (p[0] == ' ' && !is_space(p[-1]) && !is_space(p[1])) return p;
    for (int back = 0; back < 4; back++)
        if (((unsigned char)last[-back] & 0xc0) != 0x80) return last - back;
    return last;
}

/* Bytes of the document before `at` that are context, beginning with a character. */
static size_t context_before(const reader *r, const char *at)
{
    size_t before = (size_t)(at - r->document) < CONTEXT_BYTES ? (size_t)(at - r->document) : CONTEXT_BYTES;
    while (before && ((unsigned char)*(at - before) & 0xc0) == 0x80) before--;
    return before;
}

/* The next document that is not blank. 0 = the end. */
static int32_t next_document(reader *r)
{
    while (r->at < r->end) {
        const char *stop = find(r->at, r->end, r->separator, r->separator_size);
        r->document = r->at;
        r->document_end = stop ? stop : r->end;
        r->number++;
        if (!is_blank(r->document, (size_t)(r->document_end - r->document))) return 1;
        r->at = stop ? stop + r->separator_size : r->end;
    }
    r->document_end = NULL;
    return 0;
}

static int32_t next_text(reader *r, piece *out)
{
    if (!r->document_end && !next_document(r)) return 0;
    const char *stop = cut(r->at, r->document_end);
    *out = (piece){r->at, (size_t)(stop - r->at), context_before(r, r->at), r->number, 0};
    if (r->at == r->document) out->part |= DI_PIECE_FIRST;
    r->at = stop;
    if (stop < r->document_end) return 1;
    out->part |= DI_PIECE_LAST;
    if (stop < r->end) r->at += r->separator_size;
    r->document_end = NULL;
    return 1;
}

static int32_t next_line(reader *r, piece *out)
{
    while (r->at < r->end) {
        const char *begin = r->at, *stop = memchr(begin, '\n', (size_t)(r->end - begin));
        r->at = stop ? stop + 1 : r->end;
        r->number++;
        if (!stop) stop = r->end;
        if (is_blank(begin, (size_t)(stop - begin))) continue;
        *out = (piece){begin, (size_t)(stop - begin), 0, r->number, DI_PIECE_FIRST | DI_PIECE_LAST};
        return 1;
    }
    return 0;
}

static int32_t fail_array(const reader *r, const char *at, const char *what, dk_error *err)
{
    return dk_fail_at(err, DK_E_FORMAT, at - r->data, "%s: the JSON array of samples %s (byte %lld)", r->reading->name,
                      what, (long long)(at - r->data));
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && memchr(" \t\r\n", *at, 4)) at++;
    return at;
}

/* Where the value at `at` ends: at a comma or bracket of the array itself. NULL = nowhere. */
static const char *end_of_element(const char *at, const char *end)
{
    for (int64_t depth = 0; at < end; at++) {
        if (*at == '"') {
            for (at++; at < end && *at != '"'; at++)
                if (*at == '\\') at++;
        } else if (*at == '[' || *at == '{') depth++;
        else if ((*at == ',' || *at == ']') && !depth) return at;
        else if (*at == ']' || *at == '}') depth--;
    }
    return NULL;
}

/* 1 = there is one, 0 = the end, else an error. What an element holds is checked when it is parsed. */
static int32_t next_element(reader *r, piece *out, dk_error *err)
{
    const char *begin = skip_space(r->at, r->end), *stop;
    if (r->array_ended) return begin == r->end ? 0 : fail_array(r, begin, "ended, and more follows", err);
    if (r->number == 0) {
        if (begin == r->end || *begin != '[') return fail_array(r, begin, "does not begin with [", err);
        begin = skip_space(begin + 1, r->end);
    }
    if (r->number == 0 && begin < r->end && *begin == ']') {
        r->at = begin + 1;
        r->array_ended = 1;
        return next_element(r, out, err);
    }
    if (!(stop = end_of_element(begin, r->end))) return fail_array(r, r->end, "does not end: a ] is missing", err);
    if (is_blank(begin, (size_t)(stop - begin))) return fail_array(r, stop, "has a sample that is empty", err);
    *out = (piece){begin, (size_t)(stop - begin), 0, ++r->number, DI_PIECE_FIRST | DI_PIECE_LAST};
    r->array_ended = *stop == ']';
    r->at = stop + 1;
    return 1;
}

/* ---- rounds: cut, encode in parallel, store in order ---- */

static int32_t next_round(reader *r, dk_error *err)
{
    size_t bytes = 0;
    for (r->count = 0; r->count < ROUND_PIECES && bytes < ROUND_BYTES; r->count++) {
        piece *next = &r->pieces[r->count];
        int32_t more = r->format == DI_FORMAT_JSONL   ? next_line(r, next)
                       : r->format == DI_FORMAT_ARRAY ? next_element(r, next, err)
                                                      : next_text(r, next);
        if (more <= 0) return more;
        bytes += next->size;
    }
    return DK_OK;
}

static int32_t encode_piece(const reader *r, const piece *p, slot *to)
{
    const di_encoder *encoder = r->reading->encoder;
    uint32_t flags = DI_DOCUMENT_FILE;
    char place[360];
    int32_t rc;
    to->encoded.number = p->number;
    to->encoded.noted = 0;
    memset(&to->encoded.tag, 0, sizeof to->encoded.tag);
    snprintf(place, sizeof place, r->format == DI_FORMAT_ARRAY ? "%.320s, sample %lld" : "%.320s:%lld",
             r->reading->name, (long long)p->number);
    if (r->format != DI_FORMAT_TEXT)
        DK_TRY(di_encode_json(encoder, p->text, p->size, place, &flags, &to->encoded, &to->error));
    else DK_TRY(di_encode_text(encoder, p->text, p->size, p->before, p->part, &to->encoded, &to->error));
    if (p->part & DI_PIECE_LAST) DK_TRY(di_encoded_end(&to->encoded, p->number, flags, &to->error));
out:
    if (rc != DK_OK && r->format != DI_FORMAT_TEXT) to->error.position = p->number;
    return rc;
}

static void encode_range(void *context, int64_t begin, int64_t end)
{
    reader *r = context;
    for (int64_t i = begin; i < end; i++) {
        slot *to = &r->slots[i / GRAIN];
        if (i % GRAIN == 0) {
            di_encoded_clear(&to->encoded);
            to->status = DK_OK;
        }
        if (to->status == DK_OK && !dk_host_cancelled(r->reading->encoder->host))
            to->status = encode_piece(r, &r->pieces[i], to);
    }
}

static int32_t fail_cancelled(const reader *r, dk_error *err)
{
    return dk_fail(err, DK_E_CANCELLED, "%s: tokenising was cancelled at byte %lld of %lld", r->reading->name,
                   (long long)(r->at - r->data), (long long)(r->end - r->data));
}

static int32_t tell(reader *r, dk_error *err)
{
    double now = dk_seconds();
    if (dk_host_cancelled(r->reading->encoder->host)) return fail_cancelled(r, err);
    if (!r->reading->progress || (now - r->told < 0.1 && r->at < r->end)) return DK_OK;
    r->told = now;
    return r->reading->progress(r->reading->user, r->at - r->data, r->end - r->data) ? fail_cancelled(r, err) : DK_OK;
}

static int32_t read_all(reader *r, dk_error *err)
{
    dk_host *host = r->reading->encoder->host;
    dk_error wrong;
    int32_t rc = DK_OK;
    for (;;) {
        int32_t ends = next_round(r, &wrong); /* samples before a wrong place are looked at first */
        if (!r->count) {
            if (ends < 0 && err) *err = wrong;
            rc = ends;
            break;
        }
        dk_parallel_for(host, r->count, GRAIN, encode_range, r);
        DK_TRY(dk_parallel_check(host, err));
        DK_TRY(tell(r, err));
        for (int64_t i = 0; i * GRAIN < r->count; i++) {
            if (r->slots[i].status != DK_OK) {
                if (err) *err = r->slots[i].error;
                return r->slots[i].status;
            }
            di_notes_add(&r->notes, &r->slots[i].encoded.notes);
            DK_TRY(di_encoded_store(&r->slots[i].encoded, r->reading->builder, err));
        }
    }
out:
    return rc;
}

int32_t di_read_file(const di_reading *reading, const uint8_t *data, uint64_t size, di_format format,
                     const char *separator, dk_error *err)
{
    dk_host *host = reading->encoder->host;
    const char *text = (const char *)data;
    reader r = {.reading = reading,
                .data = text,
                .at = text,
                .end = text + size,
                .separator = separator ? separator : "",
                .format = format};
    int32_t rc;
    if (!size) return DK_OK;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) r.at += 3;
    r.separator_size = strlen(r.separator);
    DK_TRY(dk_new(host, ROUND_PIECES, &r.pieces, err));
    DK_TRY(dk_new(host, SLOTS, &r.slots, err));
    for (int i = 0; i < SLOTS; i++) di_encoded_init(&r.slots[i].encoded, host);
    DK_TRY(read_all(&r, err));
    di_notes_tell(&r.notes, host, reading->name);
    di_tags_tell(&reading->builder->store->own_tags, host, reading->name);
out:
    for (int i = 0; r.slots && i < SLOTS; i++) di_encoded_free(&r.slots[i].encoded);
    dk_free(host, r.slots);
    dk_free(host, r.pieces);
    return rc;
}
