/* unigram.h - the most probable way to cut a word into tokens (Kudo 2018), found by Viterbi. Private to lib/text. */
#ifndef DK_TEXT_UNIGRAM_H
#define DK_TEXT_UNIGRAM_H

#include "text/bpe.h"
#include "text/pieces.h"

#define DK_UNKNOWN_PENALTY 10.0 /* an unknown character scores so much below the worst token */

typedef struct dk_unigram {
    double *scores; /* [tokens.count] by id; NULL = the tokenizer has another model */
    int64_t count;
    double unk_score;
    dk_pieces pieces;
    int32_t single;  /* scores are added in single precision, as SentencePiece does; else in double */
    int32_t by_text; /* a row of unknown characters that spells a token is that token */
} dk_unigram;
typedef struct dk_path_node { /* the best path that ends here */
    double score;
    int64_t begin; /* of its last token; -1 = no path ends here */
    int32_t id;
} dk_path_node;
typedef struct dk_unigram_scratch { /* of one thread */
    dk_host *host;
    dk_path_node *nodes; /* a window of places in the word */
    int64_t capacity;
} dk_unigram_scratch;
/* scores are there: the trie of all tokens of bpe that they belong to, and what an unknown character scores. */
int32_t dk_unigram_build(dk_unigram *unigram, const dk_bpe *bpe, dk_error *err);
void dk_unigram_free(dk_host *host, dk_unigram *unigram);
void dk_unigram_scratch_free(dk_unigram_scratch *scratch);
/* unknown tokens, byte tokens and the texts of all are bpe's. */
int32_t dk_unigram_encode(const dk_unigram *unigram, const dk_bpe *bpe, dk_unigram_scratch *scratch, const char *word,
                          size_t size, dk_id_list *out, dk_error *err);

#endif
