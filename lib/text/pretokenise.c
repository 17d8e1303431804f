/* The pre-tokenizer, depth first: a step cuts its piece and hands each part to the next step at once, so no list of
 * pieces is ever built. Behind the last step a piece is a word and goes to the model. */
#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

typedef struct run {
    const dk_tokenizer *tok;
    dk_text_scratch *scratch;
    dk_error *err;
} run;
static int32_t run_step(run *r, int32_t at, dk_piece part);

static dk_piece part_of(dk_piece whole, size_t begin, size_t end)
{
    return (dk_piece){whole.text + begin, end - begin, whole.front > begin ? whole.front - begin : 0,
                      whole.goes_on && !begin};
}

/* ---- splitting: events (begin, end, is a match) come in order, parts go out as the behavior says ---- */
typedef struct splitter {
    run *r;
    dk_piece whole;
    int32_t next; /* step for the parts */
    dk_split_behavior behavior;
    size_t begin, end; /* a part held back */
    int32_t held, was_match;
} splitter;

static int32_t emit(splitter *s, size_t begin, size_t end)
{
    return begin == end ? DK_OK : run_step(s->r, s->next, part_of(s->whole, begin, end));
}

static int32_t hold(splitter *s, size_t begin, size_t end)
{
    int32_t rc = s->held ? emit(s, s->begin, s->end) : DK_OK;
    s->begin = begin;
    s->end = end;
    s->held = 1;
    return rc;
}

static int32_t event(splitter *s, size_t begin, size_t end, int32_t is_match)
{
    int32_t was = s->was_match;
    s->was_match = is_match;
    switch (s->behavior) {
    case DK_SPLIT_REMOVED:
        return is_match ? DK_OK : emit(s, begin, end);
    case DK_SPLIT_ISOLATED:
        return emit(s, begin, end);
    case DK_SPLIT_CONTIGUOUS:
        if (s->held && is_match == was) return s->end = end, DK_OK;
        return hold(s, begin, end);
    case DK_SPLIT_PREVIOUS:
        if (s->held && is_match && !was) return s->end = end, DK_OK;
        return hold(s, begin, end);
    default:
        if (!s->held || is_match) {
            int32_t rc = s->held ? emit(s, s->begin, s->end) : DK_OK;
            s->held = is_match;
            s->begin = begin;
            s->end = end;
            return rc || is_match ? rc : emit(s, begin, end);
        }
        s->held = 0;
        return emit(s, s->begin, end);
    }
}

static int32_t split(run *r, int32_t at, const dk_step *step, dk_piece whole)
{
    splitter s = {.r = r, .whole = whole, .next = at + 1, .behavior = step->behavior};
    size_t from = 0, last_end = SIZE_MAX, done = 0;
    for (;;) {
        size_t begin, end;
        int32_t rc = dk_matcher_next(&step->matcher, r->scratch->regex, whole.text, whole.size, &from, &last_end,
                                     &begin, &end, r->err);
        if (rc) return rc;
        if (begin == SIZE_MAX) break;
        if (done != begin && (rc = event(&s, done, begin, step->matcher.invert))) return rc;
        if ((rc = event(&s, begin, end, !step->matcher.invert))) return rc;
        done = end;
    }
    if (done != whole.size) {
        int32_t rc = event(&s, done, whole.size, step->matcher.invert);
        if (rc) return rc;
    }
    return s.held ? emit(&s, s.begin, s.end) : DK_OK;
}

static int32_t cut_fixed(run *r, int32_t at, const dk_step *step, dk_piece whole)
{
    for (size_t begin = 0, end = 0; begin < whole.size; begin = end) {
        for (int64_t n = step->left; n > 0 && end < whole.size; n--) end += dk_codepoint_size(whole.text + end);
        int32_t rc = run_step(r, at + 1, part_of(whole, begin, end));
        if (rc) return rc;
    }
    return DK_OK;
}

/* ---- steps that write a new text ---- */
/* front: what old.front became. */
static int32_t pass_on(run *r, int32_t at, dk_piece old, size_t front)
{
    dk_strbuf *text = &r->scratch->stages[at];
    int32_t rc = dk_strbuf_check(text, r->err);
    if (rc || !text->size) return rc;
    return run_step(r, at + 1, (dk_piece){text->data, text->size, front, old.goes_on});
}

static int32_t prefix_space(run *r, int32_t at, dk_piece part)
{
    dk_strbuf *text = &r->scratch->stages[at];
    if (part.goes_on || part.text[0] == ' ') return run_step(r, at + 1, part);
    dk_strbuf_clear(text);
    dk_strbuf_append(text, " ", 1);
    dk_strbuf_append(text, part.text, part.size);
    return pass_on(r, at, part, part.front ? part.front + 1 : 0);
}

static int32_t metaspace(run *r, int32_t at, const dk_step *step, dk_piece part)
{
    dk_strbuf *text = &r->scratch->stages[at];
    int32_t marked = part.text[0] == ' ' || (part.size >= step->size && !memcmp(part.text, step->text, step->size));
    dk_strbuf_clear(text);
    if (!marked && !part.goes_on &&
        (step->scheme == DK_PREFIX_ALWAYS || (step->scheme == DK_PREFIX_FIRST && part.front)))
        dk_strbuf_append(text, step->text, step->size);
    const size_t front = part.front ? part.front + text->size : 0;
    dk_replace_byte(' ', step->text, step->size, part.text, part.size, text);
    return pass_on(r, at, part, front);
}

static int32_t letters(run *r, int32_t at, dk_piece part)
{
    dk_strbuf *text = &r->scratch->stages[at];
    dk_strbuf_clear(text);
    dk_append_letters(text, part.text, part.front < part.size ? part.front : part.size);
    const size_t front = text->size;
    if (part.front < part.size) dk_append_letters(text, part.text + part.front, part.size - part.front);
    return pass_on(r, at, part, front);
}

/* A word's ids are the same wherever it stands. */
static int32_t encode_unigram(run *r, dk_piece word)
{
    dk_text_scratch *scratch = r->scratch;
    dk_id_list *ids = &scratch->ids;
    dk_word_place place = {0};
    const int64_t first = ids->count;
    int32_t rc = dk_id_list_reserve(ids, DK_LONG_IDS, r->err);
    if (rc) return rc;
    if (scratch->bpe.cache) place = dk_word_find(scratch->bpe.cache, word.text, word.size);
    ids->count += dk_word_ids(&place, word.text, word.size, ids->items + first);
    if (ids->count > first) return DK_OK;
    rc = dk_unigram_encode(&r->tok->unigram, &r->tok->bpe, &scratch->unigram, word.text, word.size, ids, r->err);
    if (!rc) dk_word_keep(&place, word.text, word.size, ids->items + first, ids->count - first);
    return rc;
}

static int32_t encode_word(run *r, dk_piece word)
{
    dk_text_scratch *scratch = r->scratch;
    if (r->tok->unigram.scores) return encode_unigram(r, word);
    return dk_bpe_encode(&r->tok->bpe, &scratch->bpe, word.text, word.size, &scratch->ids, r->err);
}

static int32_t run_step(run *r, int32_t at, dk_piece part)
{
    const dk_tokenizer *tok = r->tok;
    if (at == tok->pre.count - tok->letters_last) return encode_word(r, part);
    const dk_step *step = &tok->pre.items[at];
    switch (step->kind) {
    case DK_STEP_SPLIT:
        return split(r, at, step, part);
    case DK_STEP_FIXED_LENGTH:
        return cut_fixed(r, at, step, part);
    case DK_STEP_SPACE_PREFIX:
        return prefix_space(r, at, part);
    case DK_STEP_METASPACE:
        return metaspace(r, at, step, part);
    default:
        return letters(r, at, part);
    }
}

int32_t dk_pretokenise(const dk_tokenizer *tok, dk_text_scratch *scratch, dk_piece piece, dk_error *err)
{
    run r = {tok, scratch, err};
    while (piece.size) {
        int32_t rc = DK_OK;
        size_t size = scratch->source.size ? dk_unescaped_prefix(piece.text, piece.size) : piece.size;
        if (size) rc = run_step(&r, 0, (dk_piece){piece.text, size, piece.front, piece.goes_on});
        if (rc || size == piece.size) return rc;
        int32_t byte = dk_escaped_byte(piece.text + size, piece.size - size);
        if ((rc = dk_id_list_add(&scratch->ids, tok->bad_byte_ids[byte], err))) return rc;
        piece = (dk_piece){piece.text + size + 3, piece.size - size - 3, 0, 1};
    }
    return DK_OK;
}
