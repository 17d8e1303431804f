/* bpe.h - merging one word into tokens. Private to lib/text.
 *
 * Byte-pair encoding (Sennrich et al. 2016) with the choices of the reference implementation: the lowest rank first, of
 * equal ranks the leftmost. SentencePiece's merging by score is the same with ranks that follow the scores. */
#ifndef DK_TEXT_BPE_H
#define DK_TEXT_BPE_H

#include "text/junctions.h"
#include "text/word_cache.h"

typedef struct dk_bpe {
    dk_token_table tokens; /* added tokens stand here too, flagged */
    dk_merge_table merges;
    int32_t byte_ids[256]; /* of the token of a single byte, -1 = none */
    int32_t byte_tokens;   /* 0 = none; else byte_ids hold tokens like <0xE9> that spell unknown characters */
    int32_t raw_bytes;     /* words come as bytes, byte_ids hold the ids of their letters */
    int32_t unk, fuse_unk; /* unk -1 = unknown characters vanish */
    int32_t ignore_merges; /* a word that is a token is that token */
    int32_t all_bytes;     /* byte_tokens, and none is missing: no character is unknown */
    int32_t has_hidden;    /* the table holds characters that are no tokens */
    char *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix */
    size_t prefix_size, suffix_size;
    dk_junctions *junctions; /* NULL = words are merged whole */
} dk_bpe;

typedef struct dk_id_list {
    dk_host *host;
    int32_t *items;
    int64_t count, capacity;
} dk_id_list;
int32_t dk_id_list_reserve(dk_id_list *list, int64_t more, dk_error *err);
static inline int32_t dk_id_list_add(dk_id_list *list, int32_t id, dk_error *err)
{
    if (list->count == list->capacity) {
        int32_t rc = dk_id_list_reserve(list, 1, err);
        if (rc) return rc;
    }
    list->items[list->count++] = id;
    return DK_OK;
}

typedef struct dk_bpe_scratch { /* of one thread */
    dk_host *host;
    dk_word_cache *cache; /* made when a text is worth it */
    dk_strbuf text;       /* a symbol or a word as it is looked up */
    struct dk_bpe_queue *queue;
    int64_t queue_capacity;
} dk_bpe_scratch;
void dk_bpe_scratch_free(dk_bpe_scratch *scratch);

void dk_bpe_free(dk_bpe *bpe);
/* left + right becomes the token that they spell together; all three must be in the table. joined is scratch. */
int32_t dk_bpe_add_merge(dk_bpe *bpe, const char *left, size_t left_size, const char *right, size_t right_size,
                         uint32_t rank, dk_strbuf *joined, dk_error *err);
/* What the tables imply: junctions. Call once they are complete. */
int32_t dk_bpe_seal(dk_bpe *bpe, dk_error *err);
int32_t dk_bpe_encode(const dk_bpe *bpe, dk_bpe_scratch *scratch, const char *word, size_t size, dk_id_list *out,
                      dk_error *err);

/* merge.c: merges ids[count] in place, *count becomes the number left. */
int32_t dk_bpe_merge(const dk_bpe *bpe, dk_bpe_scratch *scratch, int32_t *ids, int64_t *count, dk_error *err);

#endif
