/* Vocabularies of SentencePiece: BPE by scores and Unigram, by its own rules or as llama.cpp has them. */
#include "text/codepoint.h"
#include "text/tokenizer_impl.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_LIMIT = 512 }; /* bytes of a token that merging by score can reach */

/* ---- BPE: any two neighbours whose texts make a token may merge, the best score first ---- */
typedef struct scored {
    float score;
    uint32_t rank;
    int64_t id;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->id < y->id ? -1 : x->id > y->id;
}

static int32_t is_piece(const dk_vocabulary *v, int64_t id)
{
    int32_t type = dk_vocabulary_type(v, id);
    return type == DK_TOKEN_NORMAL || type == DK_TOKEN_USER || type == DK_TOKEN_UNUSED;
}

/* The symbol that text is while merging: a piece, or a single character made up for this; -1 = it is never a symbol. */
static int32_t symbol_of(dk_tokenizer *tok, const dk_vocabulary *v, const char *text, size_t size, int64_t *out,
                         dk_error *err)
{
    *out = dk_token_table_find(&tok->bpe.tokens, text, size);
    if (*out >= 0) {
        if (*out < v->count && !is_piece(v, *out)) *out = -1;
        return DK_OK;
    }
    if (dk_codepoint_size(text) != size) return DK_OK;
    tok->bpe.has_hidden = 1;
    *out = tok->bpe.tokens.count;
    return dk_token_table_add(&tok->bpe.tokens, text, size, *out, DK_TOKEN_HIDDEN, err);
}

static int32_t add_splits(dk_tokenizer *tok, const dk_vocabulary *v, const scored *piece, dk_error *err)
{
    const dk_slice text = v->tokens[piece->id];
    int64_t left, right;
    for (size_t at = dk_codepoint_size(text.data); at < text.size; at += dk_codepoint_size(text.data + at)) {
        int32_t rc = symbol_of(tok, v, text.data, at, &left, err);
        if (!rc && left >= 0) rc = symbol_of(tok, v, text.data + at, text.size - at, &right, err);
        if (rc) return rc;
        if (left >= 0 && right >= 0)
            dk_merge_table_add(&tok->bpe.merges,
                               (dk_merge){(int32_t)left, (int32_t)right, piece->rank, (int32_t)piece->id});
    }
    return DK_OK;
}

static int32_t list_pieces(const dk_vocabulary *v, scored *pieces, int64_t *count, uint64_t *splits, dk_error *err)
{
    for (int64_t id = 0; id < v->count; id++) {
        if (!is_piece(v, id) || !v->tokens[id].size) continue;
        if (isnan(v->scores[id]))
            return dk_fail(err, DK_E_FORMAT, "the score of token %lld is not a number", (long long)id);
        if (v->tokens[id].size > PIECE_LIMIT)
            return dk_fail(err, DK_E_UNSUPPORTED, "token %lld has %zu bytes, supported are %d", (long long)id,
                           v->tokens[id].size, PIECE_LIMIT);
        if (v->own_rules && dk_vocabulary_type(v, id) == DK_TOKEN_UNUSED)
            return dk_fail(err, DK_E_UNSUPPORTED, "token %lld is unused, which BPE by scores is not supported with",
                           (long long)id);
        pieces[(*count)++] = (scored){v->scores[id], 0, id};
        *splits += v->tokens[id].size;
    }
    return DK_OK;
}

static int32_t build_merges(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int32_t rc;
    int64_t count = 0;
    uint64_t splits = 0;
    scored *pieces = NULL;
    DK_TRY(dk_new(tok->host, v->count, &pieces, err));
    DK_TRY(list_pieces(v, pieces, &count, &splits, err));
    qsort(pieces, (size_t)count, sizeof *pieces, by_score);
    DK_TRY(dk_merge_table_init(&tok->bpe.merges, tok->host, splits, err));
    for (int64_t i = 0; i < count; i++) {
        pieces[i].rank = !i ? 0 : pieces[i - 1].rank + (pieces[i].score != pieces[i - 1].score);
        DK_TRY(add_splits(tok, v, &pieces[i], err));
    }
out:
    dk_free(tok->host, pieces);
    return rc;
}

static int32_t add_text_step(dk_tokenizer *tok, dk_steps *steps, dk_step_kind kind, const char *what, const char *text,
                             dk_error *err)
{
    dk_step *step = dk_steps_add(steps, kind, err);
    if (!step) return DK_E_UNSUPPORTED;
    int32_t rc = dk_step_set_text(tok->host, step, text, strlen(text), err);
    step->left = 1;
    return rc || !what ? rc : dk_matcher_set_text(tok->host, &step->matcher, what, strlen(what), err);
}

/* ---- Unigram ---- */
/* A user's symbol has no score of its own, but what its length earns it (SentencePiece 0.2.3; up to 0.2.0 -0.1). */
static double score_of(const dk_vocabulary *v, int64_t id)
{
    if (dk_vocabulary_type(v, id) != DK_TOKEN_USER) return v->scores[id];
    return v->own_rules ? 0.1 * (double)((int64_t)v->tokens[id].size - 1) : 0;
}

static int32_t is_unigram_piece(const dk_vocabulary *v, int64_t id)
{
    return is_piece(v, id) && !(v->own_rules && dk_vocabulary_type(v, id) == DK_TOKEN_UNUSED);
}

static int32_t list_unigram(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int64_t count = 0;
    dk_piece_text *items;
    int32_t rc = dk_new(tok->host, v->count, &items, err);
    if (rc) return rc;
    for (int64_t id = 0; id < v->count; id++)
        if (is_unigram_piece(v, id)) items[count++] = (dk_piece_text){v->tokens[id], (int32_t)id};
    rc = dk_pieces_build(&tok->unigram.pieces, tok->host, items, count, err);
    dk_free(tok->host, items);
    return rc;
}

static int32_t build_unigram(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int32_t rc;
    float worst = FLT_MAX;
    dk_unigram *unigram = &tok->unigram;
    DK_TRY(dk_new(tok->host, v->count, &unigram->scores, err));
    unigram->count = v->count;
    for (int64_t id = 0; id < v->count; id++) {
        if (!isfinite(v->scores[id]))
            return dk_fail(err, DK_E_FORMAT, "the score of token %lld is not a finite number", (long long)id);
        if (dk_vocabulary_type(v, id) == DK_TOKEN_NORMAL && v->scores[id] < worst) worst = v->scores[id];
    }
    for (int64_t id = 0; id < v->count; id++) unigram->scores[id] = score_of(v, id);
    unigram->unk_score = (double)(worst - (float)DK_UNKNOWN_PENALTY);
    unigram->single = v->own_rules;
    DK_TRY(list_unigram(tok, v, err));
out:
    return rc;
}

/* ---- what is done to texts ---- */
static int32_t keep_symbols(dk_tokenizer *tok, const dk_vocabulary *v, dk_pieces *out, dk_error *err)
{
    int32_t rc;
    int64_t count = 0;
    dk_piece_text *items;
    DK_TRY(dk_new(tok->host, v->count, &items, err));
    for (int64_t id = 0; id < v->count; id++)
        if (dk_vocabulary_type(v, id) == DK_TOKEN_USER) items[count++] = (dk_piece_text){v->tokens[id], (int32_t)id};
    if (count) rc = dk_pieces_build(out, tok->host, items, count, err);
    dk_free(tok->host, items);
out:
    return rc;
}

/* The marks of a pre-tokenizer, which sees where a text begins and whether it has a mark already. */
static int32_t add_metaspace(dk_tokenizer *tok, dk_prefix_scheme scheme, dk_error *err)
{
    dk_step *step = dk_steps_add(&tok->pre, DK_STEP_METASPACE, err);
    if (!step) return DK_E_UNSUPPORTED;
    step->scheme = scheme;
    return dk_step_set_text(tok->host, step, DK_MARK, 3, err);
}

static int32_t add_rules(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int32_t rc;
    dk_spm_rules *rules;
    dk_step *step = dk_steps_add(&tok->normalizer, DK_STEP_SENTENCEPIECE, err);
    if (!step) return DK_E_UNSUPPORTED;
    DK_TRY(dk_spm_rules_create(tok->host, &step->rules, err));
    rules = step->rules;
    rules->llama = !v->own_rules;
    rules->prefix = v->add_space_prefix < 0 ? v->own_rules : v->add_space_prefix == DK_MARK_ALWAYS;
    if (v->add_space_prefix > DK_MARK_ALWAYS)
        DK_TRY(add_metaspace(tok, v->add_space_prefix == DK_MARK_FIRST ? DK_PREFIX_FIRST : DK_PREFIX_ALWAYS, err));
    rules->merge_spaces = v->remove_extra_whitespaces < 0 ? v->own_rules : v->remove_extra_whitespaces;
    DK_TRY(keep_symbols(tok, v, &rules->kept, err));
    if (v->charsmap.size)
        DK_TRY(dk_charsmap_create(tok->host, v->charsmap.data, v->charsmap.size, &rules->charsmap, err));
out:
    return rc;
}

static int32_t add_llama_steps(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int32_t rc = DK_OK;
    if (v->add_space_prefix) DK_TRY(add_text_step(tok, &tok->normalizer, DK_STEP_PREPEND, NULL, DK_MARK, err));
    DK_TRY(add_text_step(tok, &tok->normalizer, DK_STEP_REPLACE, " ", DK_MARK, err));
out:
    return rc;
}

static int32_t add_decoder(dk_tokenizer *tok, const dk_vocabulary *v, int32_t kind, dk_error *err)
{
    int32_t rc, prefix = v->add_space_prefix < 0 ? kind == DK_VOCABULARY_SPM || v->own_rules : v->add_space_prefix;
    const int32_t merges = v->own_rules && v->remove_extra_whitespaces; /* no text began with a space */
    DK_TRY(add_text_step(tok, &tok->decoder, DK_STEP_REPLACE, DK_MARK, " ", err));
    if (!dk_steps_add(&tok->decoder, DK_STEP_BYTE_FALLBACK, err) || !dk_steps_add(&tok->decoder, DK_STEP_FUSE, err))
        return DK_E_UNSUPPORTED;
    if (!prefix && !merges) goto out;
    DK_TRY(add_text_step(tok, &tok->decoder, DK_STEP_STRIP, NULL, " ", err));
    if (merges) tok->decoder.items[tok->decoder.count - 1].left = INT32_MAX;
out:
    return rc;
}

static int32_t has_bytes(const dk_tokenizer *tok)
{
    char name[8];
    for (int b = 0; b < 256; b++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        if (dk_token_table_find_model(&tok->bpe.tokens, name, 6) < 0) return 0;
    }
    return 1;
}

static int32_t check_bytes(const dk_tokenizer *tok, const char *why, dk_error *err)
{
    if (has_bytes(tok)) return DK_OK;
    return dk_fail(err, DK_E_FORMAT, "%s, but the vocabulary lacks some of the 256 byte tokens <0x00> to <0xFF>", why);
}

int32_t dk_build_marked(dk_tokenizer *tok, const dk_vocabulary *v, dk_error *err)
{
    int32_t rc;
    dk_vocabulary bare = *v;
    bare.add_space_prefix = v->add_space_prefix > 0;
    DK_TRY(check_bytes(tok, "its characters fall back to bytes", err));
    tok->bpe.byte_tokens = tok->bpe.fuse_unk = 1;
    tok->bpe.unk = (int32_t)v->unk;
    DK_TRY(add_llama_steps(tok, &bare, err));
    DK_TRY(add_decoder(tok, &bare, DK_VOCABULARY_BPE, err));
out:
    return rc;
}

int32_t dk_build_sentencepiece(dk_tokenizer *tok, const dk_vocabulary *v, int32_t kind, dk_error *err)
{
    int32_t rc, spm = kind == DK_VOCABULARY_SPM;
    if (!v->scores) return dk_fail(err, DK_E_FORMAT, "a \"%s\" vocabulary needs scores", spm ? "llama" : "t5");
    DK_TRY(spm ? build_merges(tok, v, err) : build_unigram(tok, v, err));
    tok->bpe.byte_tokens = v->byte_fallback < 0 ? spm : v->byte_fallback;
    tok->bpe.fuse_unk = 1;
    tok->bpe.unk = (int32_t)v->unk;
    if (v->byte_fallback > 0) DK_TRY(check_bytes(tok, "byte_fallback is set", err));
    DK_TRY(spm && !v->own_rules ? add_llama_steps(tok, v, err) : add_rules(tok, v, err));
    DK_TRY(add_decoder(tok, v, kind, err));
out:
    return rc;
}
