/* Nodes are places in the word. Where no token reaches across a place, every path goes through it: the tokens in front
 * of it are settled there and the window of nodes moves on, so memory follows the longest token and not the word. */
#include "text/unigram.h"

#include "text/codepoint.h"

#include <math.h>

int32_t dk_unigram_build(dk_unigram *unigram, const dk_bpe *bpe, dk_error *err)
{
    dk_host *host = bpe->tokens.host;
    dk_piece_text *items;
    int64_t count = 0;
    int32_t rc = dk_new(host, unigram->count, &items, err);
    if (rc) return rc;
    unigram->unk_score = INFINITY;
    for (int64_t id = 0; id < unigram->count; id++) {
        const dk_token *token = dk_token_at(&bpe->tokens, id);
        if (unigram->scores[id] < unigram->unk_score) unigram->unk_score = unigram->scores[id];
        items[count++] = (dk_piece_text){{dk_token_text(&bpe->tokens, token), token->size}, (int32_t)id};
    }
    unigram->unk_score -= DK_UNKNOWN_PENALTY;
    rc = dk_pieces_build(&unigram->pieces, host, items, count, err);
    dk_free(host, items);
    return rc;
}

void dk_unigram_free(dk_host *host, dk_unigram *unigram)
{
    dk_free(host, unigram->scores);
    dk_pieces_free(&unigram->pieces);
}

void dk_unigram_scratch_free(dk_unigram_scratch *scratch) { dk_free(scratch->host, scratch->nodes); }

typedef struct walk {
    const dk_unigram *unigram;
    const dk_bpe *bpe;
    dk_unigram_scratch *scratch;
    const char *word;
    size_t base;           /* place of nodes[0] */
    size_t reached;        /* the farthest place that a path ends at */
    size_t unknown, known; /* unknown characters [unknown, known) that wait for more of them */
    dk_id_list *out;
    dk_error *err;
} walk;

static int32_t grow(walk *w, size_t nodes)
{
    dk_unigram_scratch *s = w->scratch;
    int64_t capacity = s->capacity ? s->capacity : 256;
    while (capacity < (int64_t)nodes) capacity *= 2;
    dk_path_node *grown = dk_realloc(s->host, s->nodes, (uint64_t)capacity, sizeof *grown);
    if (!grown) return dk_fail_nomem(w->err, (uint64_t)capacity * sizeof *grown);
    s->nodes = grown;
    s->capacity = capacity;
    return DK_OK;
}

/* A path that goes from begin to end with one token more. Of equal paths the one that was found first stays. */
static int32_t offer(walk *w, size_t begin, size_t end, double score, int32_t id)
{
    if (end - w->base >= (size_t)w->scratch->capacity) {
        int32_t rc = grow(w, end - w->base + 1);
        if (rc) return rc;
    }
    dk_path_node *nodes = w->scratch->nodes, *node = &nodes[end - w->base];
    for (; w->reached < end; w->reached++) nodes[w->reached + 1 - w->base].begin = -1;
    score += nodes[begin - w->base].score;
    if (w->unigram->single) score = (double)(float)score;
    if (node->begin >= 0 && !(score > node->score)) return DK_OK;
    if (id < 0) {
        uint32_t c;
        dk_codepoint(w->word + begin, &c);
        return dk_fail(w->err, DK_E_FORMAT, "the vocabulary has no token for U+%04X and no unknown token", (unsigned)c);
    }
    *node = (dk_path_node){score, (int64_t)begin, id};
    return DK_OK;
}

static int32_t offer_all(walk *w, size_t at, size_t size)
{
    const dk_unigram *u = w->unigram;
    const size_t length = dk_codepoint_size(w->word + at);
    int32_t alone = 0, rc;
    for (size_t end = at, node = 0; end < size;) {
        int32_t next = dk_pieces_next(&u->pieces, (int32_t)node, (uint8_t)w->word[end++]);
        if (next < 0) break;
        node = (size_t)next;
        int32_t id = u->pieces.units[node].id;
        if (id < 0) continue;
        if ((rc = offer(w, at, end, u->scores[id], id))) return rc;
        alone |= end - at == length;
    }
    return alone ? DK_OK : offer(w, at, at + length, u->unk_score, w->bpe->unk);
}

/* ---- what a path gives ---- */
static int32_t add_unknown(walk *w)
{
    const dk_bpe *bpe = w->bpe;
    const char *text = w->word + w->unknown;
    size_t size = w->known - w->unknown;
    if (!size) return DK_OK;
    w->unknown = w->known;
    int64_t id = w->unigram->by_text ? dk_token_table_find_model(&bpe->tokens, text, size) : -1;
    int32_t bytes = id < 0 && bpe->byte_tokens;
    for (size_t i = 0; i < size && bytes; i++) bytes = bpe->byte_ids[(uint8_t)text[i]] >= 0;
    if (!bytes) return dk_id_list_add(w->out, id >= 0 ? (int32_t)id : bpe->unk, w->err);
    for (size_t i = 0; i < size; i++) {
        int32_t rc = dk_id_list_add(w->out, bpe->byte_ids[(uint8_t)text[i]], w->err);
        if (rc) return rc;
    }
    return DK_OK;
}

static int32_t add_token(walk *w, size_t begin, size_t end, int32_t id)
{
    if (id == w->bpe->unk) {
        if (w->known != begin) w->unknown = begin;
        w->known = end;
        return DK_OK;
    }
    int32_t rc = add_unknown(w);
    w->unknown = w->known = end;
    return rc ? rc : dk_id_list_add(w->out, id, w->err);
}

/* The tokens from base to here: the links are turned round, then followed. */
static int32_t settle(walk *w, size_t here)
{
    dk_path_node *nodes = w->scratch->nodes;
    const double score = nodes[here - w->base].score;
    for (size_t at = here, next = here;;) {
        size_t begin = (size_t)nodes[at - w->base].begin;
        nodes[at - w->base].begin = (int64_t)next;
        if (at == w->base) break;
        next = at;
        at = begin;
    }
    for (size_t at = w->base; at < here;) {
        size_t end = (size_t)nodes[at - w->base].begin;
        int32_t rc = add_token(w, at, end, nodes[end - w->base].id);
        if (rc) return rc;
        at = end;
    }
    nodes[0].score = score;
    w->base = w->reached = here;
    return DK_OK;
}

int32_t dk_unigram_encode(const dk_unigram *unigram, const dk_bpe *bpe, dk_unigram_scratch *scratch, const char *word,
                          size_t size, dk_id_list *out, dk_error *err)
{
    walk w = {.unigram = unigram, .bpe = bpe, .scratch = scratch, .word = word, .out = out, .err = err};
    int32_t rc = scratch->capacity ? DK_OK : grow(&w, 1);
    if (rc) return rc;
    scratch->nodes[0] = (dk_path_node){0, 0, -1};
    for (size_t at = 0; at < size; at += dk_codepoint_size(word + at)) {
        if (at == w.reached && at > w.base) DK_TRY(settle(&w, at));
        DK_TRY(offer_all(&w, at, size));
    }
    if (size) DK_TRY(settle(&w, size));
    rc = add_unknown(&w);
out:
    return rc;
}
