/* marked.c - a text whose parts are asked for, or are plain: which tokens lie in them. */
#include "text/tokenizer_impl.h"

#include <string.h>

typedef struct marked {
    const dk_tokenizer *tok;
    const dk_marked_text *in;
    dk_text_scratch *scratch;
    dk_strbuf cuts, decoded;
    const int32_t *ids; /* [count] of the whole text */
    int64_t count;
    dk_error *err;
} marked;

typedef struct piece { /* between added tokens */
    size_t begin;
    int64_t first, last; /* its ids */
    uint32_t flags;
} piece;

static int32_t append_ids(dk_host *host, const dk_id_list *from, int32_t **ids, int64_t *cap, int64_t *count,
                          dk_error *err)
{
    dk_id_list list = {.host = host, .items = *ids, .count = *count, .capacity = *cap};
    int32_t rc = dk_id_list_reserve(&list, from->count, err);
    *ids = list.items;
    *cap = list.capacity;
    if (rc) return rc;
    if (from->count) memcpy(list.items + list.count, from->items, (size_t)from->count * sizeof *list.items);
    *count += from->count;
    return DK_OK;
}

/* The piece that byte `at` lies in. Returns 0 where it lies inside of an added token: *piece begins behind that. */
static int32_t find_piece(const marked *m, size_t at, piece *out)
{
    const dk_text_cut *cuts = (const dk_text_cut *)(const void *)m->cuts.data;
    const int64_t count = (int64_t)(m->cuts.size / sizeof *cuts);
    int64_t low = 0, high = count; /* the first token that ends behind `at` */
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (cuts[middle].end > at) high = middle;
        else low = middle + 1;
    }
    *out = (piece){0, 0, m->count, 0};
    if (low < count && cuts[low].begin < at) return out->first = cuts[low].id, 0;
    if (low < count) out->last = cuts[low].id - 1;
    if (low > 0) {
        out->begin = cuts[low - 1].end;
        out->first = cuts[low - 1].id;
        out->flags = DK_ENCODE_BEHIND;
    }
    return 1;
}

/* 1 = the ids of the piece up to `at` are the first ones of the whole piece: no token lies across. */
static int32_t ends_token(marked *m, const piece *p, size_t at, int64_t *place, int32_t *yes)
{
    const dk_text_marks marks = {p->begin, m->in->plain, m->in->plain_count, NULL};
    int32_t rc = dk_text_encode(m->tok, m->scratch, m->in->text + p->begin, at - p->begin, p->flags, &marks, m->err);
    const dk_id_list *part = &m->scratch->ids;
    if (rc) return rc;
    *yes = part->count <= p->last - p->first &&
           (!part->count || !memcmp(part->items, m->ids + p->first, (size_t)part->count * sizeof *part->items));
    *place = p->first + part->count;
    return DK_OK;
}

/* Bytes of the piece's text that its first `count` ids spell; SIZE_MAX = they spell something else. */
static int32_t spelled(marked *m, const piece *p, int64_t count, size_t *size)
{
    const char *text = m->in->text + p->begin;
    const size_t most = m->in->size - p->begin;
    int32_t rc;
    dk_strbuf_clear(&m->decoded);
    if ((rc = dk_tokenizer_decode_to(m->tok, m->ids + p->first, count, 0, &m->decoded, m->err))) return rc;
    const char *got = m->decoded.data ? m->decoded.data : "";
    const size_t length = m->decoded.size;
    if (length <= most && !memcmp(got, text, length)) *size = length;
    else if (length < most && text[0] == ' ' && !memcmp(got, text + 1, length))
        *size = length + 1; /* decoding strips */
    else *size = SIZE_MAX;
    return DK_OK;
}

static int32_t across(marked *m, const piece *p, size_t at, int32_t is_end, int64_t *place)
{
    const size_t wanted = at - p->begin;
    int32_t rc = DK_OK;
    for (int64_t i = 1; i <= p->last - p->first; i++) {
        size_t size;
        DK_TRY(spelled(m, p, i, &size));
        if (size == SIZE_MAX) break;
        if (is_end ? size < wanted : size <= wanted) continue;
        *place = p->first + i - !is_end;
        return DK_OK;
    }
    rc = dk_fail(m->err, DK_E_UNSUPPORTED,
                 "byte %zu of the text lies inside of a token, and the tokenizer changes the text there: which tokens "
                 "stand behind it cannot be told",
                 at);
out:
    return rc;
}

static int32_t place_of(marked *m, size_t at, int32_t is_end, int64_t *place)
{
    piece p;
    int32_t rc, yes;
    if (!find_piece(m, at, &p)) return *place = p.first, DK_OK;
    if (at == p.begin) return *place = p.first, DK_OK;
    DK_TRY(ends_token(m, &p, at, place, &yes));
    if (!yes) rc = across(m, &p, at, is_end, place);
out:
    return rc;
}

int32_t dk_tokenizer_append_marked(const dk_tokenizer *tok, dk_host *host, const dk_marked_text *in, int32_t **ids,
                                   int64_t *cap, int64_t *count, int64_t *places, dk_error *err)
{
    marked m = {.tok = tok, .in = in, .err = err};
    const int64_t first = *count;
    int32_t rc;
    dk_strbuf_init(&m.cuts, host);
    dk_strbuf_init(&m.decoded, host);
    const dk_text_marks marks = {0, in->plain, in->plain_count, &m.cuts};
    DK_TRY(dk_text_scratch_take(tok, &m.scratch, err));
    DK_TRY(dk_text_encode(tok, m.scratch, in->text, in->size, 0, &marks, err));
    DK_TRY(dk_strbuf_check(&m.cuts, err));
    DK_TRY(append_ids(host, &m.scratch->ids, ids, cap, count, err));
    m.ids = *ids + first;
    m.count = *count - first;
    for (int64_t i = 0; i < in->wanted_count; i++) {
        DK_TRY(place_of(&m, in->wanted[i].begin, 0, &places[2 * i]));
        DK_TRY(place_of(&m, in->wanted[i].end, 1, &places[2 * i + 1]));
    }
out:
    if (rc) *count = first;
    if (m.scratch) dk_text_scratch_give(tok, m.scratch);
    dk_strbuf_free(&m.cuts);
    dk_strbuf_free(&m.decoded);
    return rc;
}
