/* Fields by their numbers in sentencepiece_model.proto. Settings of the training that produced a model (how much text,
 * how many threads, ...) change nothing for whoever uses it and are passed over; a field that is not known is named. */
#include "text/spm_proto.h"

#include <string.h>

enum { PIECE_LIMIT = 1 << 24, WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

typedef struct reader {
    dk_spm_model *out;
    const char *name, *begin, *at, *end;
    const char *message; /* the one that is read */
    dk_error *err;
} reader;
typedef struct field {
    uint32_t number, wire;
    uint64_t value;
    dk_slice bytes;
} field;

static int32_t fail_at(const reader *r, const char *what)
{
    return dk_fail(r->err, DK_E_FORMAT, "%s: byte %lld: %s in %s; is this a SentencePiece model?", r->name,
                   (long long)(r->at - r->begin), what, r->message);
}

static int32_t read_varint(reader *r, uint64_t *out)
{
    *out = 0;
    for (int32_t shift = 0; shift < 70; shift += 7) {
        if (r->at == r->end) return fail_at(r, "a number that is cut off");
        const uint8_t byte = (uint8_t)*r->at++;
        if (shift == 63 && byte > 1) return fail_at(r, "a number of more than 64 bits");
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return DK_OK;
    }
    return fail_at(r, "a number of more than 64 bits");
}

static int32_t read_fixed(reader *r, size_t size, uint64_t *out)
{
    if ((size_t)(r->end - r->at) < size) return fail_at(r, "a number that is cut off");
    *out = 0;
    for (size_t i = 0; i < size; i++) *out |= (uint64_t)(uint8_t)r->at[i] << 8 * i;
    r->at += size;
    return DK_OK;
}

static int32_t read_field(reader *r, field *out)
{
    uint64_t key;
    int32_t rc = read_varint(r, &key);
    if (rc) return rc;
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff) return fail_at(r, "a field without a number");
    out->number = (uint32_t)(key >> 3);
    out->wire = (uint32_t)(key & 7);
    if (out->wire == WIRE_VARINT) return read_varint(r, &out->value);
    if (out->wire == WIRE_32) return read_fixed(r, 4, &out->value);
    if (out->wire == WIRE_64) return read_fixed(r, 8, &out->value);
    if (out->wire != WIRE_BYTES) return fail_at(r, "a field of a kind that is not known");
    if ((rc = read_varint(r, &out->value))) return rc;
    if (out->value > (uint64_t)(r->end - r->at)) return fail_at(r, "a field that is longer than what is left");
    out->bytes = (dk_slice){r->at, (size_t)out->value};
    r->at += out->value;
    return DK_OK;
}

/* ---- messages: each has a function that takes one field ---- */
typedef int32_t (*take_field)(reader *r, const field *f);

static int32_t read_message(const reader *outer, dk_slice bytes, const char *message, take_field take)
{
    reader r = *outer;
    int32_t rc = DK_OK;
    r.at = bytes.data;
    r.end = bytes.data + bytes.size;
    r.message = message;
    while (r.at < r.end && !rc) {
        field f;
        rc = read_field(&r, &f);
        if (!rc) rc = take(&r, &f);
    }
    return rc;
}

static int32_t wants(const reader *r, const field *f, uint32_t wire)
{
    if (f->wire == wire) return DK_OK;
    return dk_fail(r->err, DK_E_FORMAT,
                   "%s: field %u of %s has wire type %u, must be %u; is this a SentencePiece model?", r->name,
                   (unsigned)f->number, r->message, (unsigned)f->wire, (unsigned)wire);
}

static void name_unused(reader *r, const field *f)
{
    dk_strbuf_printf(&r->out->unused, "%sfield %u of %s", r->out->unused.size ? ", " : "", (unsigned)f->number,
                     r->message);
}

static int32_t grow(reader *r)
{
    dk_spm_model *m = r->out;
    int64_t capacity = m->capacity ? m->capacity * 2 : 1024;
    dk_slice *pieces = dk_realloc(m->host, m->pieces, (uint64_t)capacity, sizeof *pieces);
    if (pieces) m->pieces = pieces;
    float *scores = pieces ? dk_realloc(m->host, m->scores, (uint64_t)capacity, sizeof *scores) : NULL;
    if (scores) m->scores = scores;
    int32_t *types = scores ? dk_realloc(m->host, m->types, (uint64_t)capacity, sizeof *types) : NULL;
    if (!types) return dk_fail_nomem(r->err, (uint64_t)capacity * sizeof *pieces);
    m->types = types;
    m->capacity = capacity;
    return DK_OK;
}

static int32_t take_piece(reader *r, const field *f)
{
    dk_spm_model *m = r->out;
    const int64_t at = m->count - 1;
    const uint32_t bits = (uint32_t)f->value;
    int32_t rc = f->number > 3 ? DK_OK
                               : wants(r, f,
                                       f->number == 1   ? WIRE_BYTES
                                       : f->number == 2 ? WIRE_32
                                                        : WIRE_VARINT);
    if (rc) return rc;
    if (f->number == 1) m->pieces[at] = f->bytes;
    else if (f->number == 2) memcpy(&m->scores[at], &bits, sizeof bits);
    else if (f->number == 3 && (f->value < 1 || f->value > 6)) return fail_at(r, "a type that is not 1 to 6");
    else if (f->number == 3) m->types[at] = (int32_t)f->value;
    else name_unused(r, f);
    return DK_OK;
}

static int32_t add_piece(reader *r, const field *f)
{
    dk_spm_model *m = r->out;
    int32_t rc;
    if (m->count == PIECE_LIMIT) return fail_at(r, "more than 16777216 pieces");
    if (m->count == m->capacity && (rc = grow(r))) return rc;
    m->pieces[m->count] = (dk_slice){"", 0};
    m->scores[m->count] = 0;
    m->types[m->count++] = 1;
    return read_message(r, f->bytes, "a piece", take_piece);
}

typedef struct known { /* a field that something goes by */
    uint32_t number;
    int64_t *value;
    dk_slice *bytes;
} known;

static int32_t take_known(reader *r, const field *f, const known *list, size_t count, int32_t *taken)
{
    *taken = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].number != f->number) continue;
        int32_t rc = wants(r, f, list[i].bytes ? WIRE_BYTES : WIRE_VARINT);
        if (rc) return rc;
        *taken = 1;
        if (list[i].bytes) *list[i].bytes = f->bytes;
        else *list[i].value = (int64_t)f->value;
    }
    return DK_OK;
}

static int32_t take_trainer(reader *r, const field *f)
{
    static const uint8_t training[] = {1,  2,  4,  5,  6,  7,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
                                       23, 25, 26, 30, 31, 32, 33, 34, 36, 40, 41, 42, 43, 49, 50, 51, 52, 53, 54};
    dk_spm_model *m = r->out;
    const known list[] = {{3, &m->type, NULL},
                          {24, &m->suffix, NULL},
                          {35, &m->byte_fallback, NULL},
                          {44, NULL, &m->unk_surface},
                          {45, NULL, &m->names[DK_SPM_UNK]},
                          {46, NULL, &m->names[DK_SPM_BOS]},
                          {47, NULL, &m->names[DK_SPM_EOS]},
                          {48, NULL, &m->names[DK_SPM_PAD]}};
    int32_t taken, rc = take_known(r, f, list, sizeof list / sizeof *list, &taken);
    if (!rc && !taken && (f->number > 255 || !memchr(training, (int)f->number, sizeof training))) name_unused(r, f);
    return rc;
}

static int32_t take_normalizer(reader *r, const field *f)
{
    dk_spm_model *m = r->out;
    const known list[] = {
        {2, NULL, &m->charsmap}, {3, &m->prefix, NULL}, {4, &m->merge_spaces, NULL}, {5, &m->escape, NULL}};
    int32_t taken, rc = take_known(r, f, list, sizeof list / sizeof *list, &taken);
    if (!rc && !taken && f->number != 1 && f->number != 6) name_unused(r, f); /* its name, the rules it was made of */
    return rc;
}

static int32_t take_denormalizer(reader *r, const field *f)
{
    if (f->number != 2) return DK_OK;
    r->out->denormal = f->bytes;
    return wants(r, f, WIRE_BYTES);
}

static int32_t take_part(reader *r, const field *f)
{
    static const take_field takes[] = {NULL, NULL, take_trainer, take_normalizer, NULL, take_denormalizer};
    static const char *const names[] = {"", "", "trainer_spec", "normalizer_spec", "", "denormalizer_spec"};
    if (f->number < 1 || f->number > 5) return name_unused(r, f), DK_OK;
    int32_t rc = wants(r, f, WIRE_BYTES);
    if (rc) return rc;
    if (f->number == 1) return add_piece(r, f);
    if (f->number == 4) return DK_OK; /* samples that its makers test with */
    return read_message(r, f->bytes, names[f->number], takes[f->number]);
}

int32_t dk_spm_read(dk_host *host, const char *name, const char *bytes, size_t size, dk_spm_model *out, dk_error *err)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>", "<pad>"};
    reader r = {.out = out, .name = name, .begin = bytes, .at = bytes, .err = err};
    memset(out, 0, sizeof *out);
    out->host = host;
    out->type = DK_SPM_UNIGRAM;
    out->prefix = out->merge_spaces = out->escape = 1;
    for (int32_t i = 0; i < DK_SPM_NAMES; i++) out->names[i] = (dk_slice){names[i], strlen(names[i])};
    dk_strbuf_init(&out->unused, host);
    int32_t rc = read_message(&r, (dk_slice){bytes, size}, "the model", take_part);
    if (!rc && !out->count) rc = dk_fail(err, DK_E_FORMAT, "%s: has no pieces; is this a SentencePiece model?", name);
    if (!rc) rc = dk_strbuf_check(&out->unused, err);
    if (rc) dk_spm_free(out);
    return rc;
}

void dk_spm_free(dk_spm_model *model)
{
    if (!model->host) return;
    dk_free(model->host, model->pieces);
    dk_free(model->host, model->scores);
    dk_free(model->host, model->types);
    dk_strbuf_free(&model->unused);
    memset(model, 0, sizeof *model);
}
