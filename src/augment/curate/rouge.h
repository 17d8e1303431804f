/* rouge.h - ROUGE-L (Lin 2004): F1 of the longest common subsequence of two texts' words. As the rouge-score package
 * has it without stemming where words are DI_WORDS_ASCII; on ASCII texts DI_WORDS_UNICODE is the same. */
#ifndef DI_AUGMENT_CURATE_ROUGE_H
#define DI_AUGMENT_CURATE_ROUGE_H

#include "augment/curate/kept_log.h"
#include "augment/curate/words.h"

/* One text to which many are compared: where its words stand, as bits (Crochemore et al. 2001). */
typedef struct di_lcs {
    dk_host *host;
    int64_t count, blocks; /* words; 64 of them a block */
    uint64_t *keys;        /* [slots] words, each once; an open table */
    int32_t *places;       /* [slots] 1 + number of the word's masks; 0 = free */
    uint64_t *masks;       /* [distinct, blocks] */
    uint64_t *row;         /* [blocks] */
    int64_t slots, mask_capacity, slot_capacity, row_capacity;
} di_lcs;
void di_lcs_init(di_lcs *lcs, dk_host *host);
void di_lcs_free(di_lcs *lcs); /* zeroed is fine */
int32_t di_lcs_set(di_lcs *lcs, const uint64_t *words, int64_t count, dk_error *err);
int64_t di_lcs_length(di_lcs *lcs, const uint64_t *words, int64_t count);
/* 2 L / (m + n); 0 where either has no words */
double di_rouge_l_f1(int64_t common, int64_t m, int64_t n);
int32_t di_rouge_l(dk_host *host, di_word_kind kind, const char *a, size_t a_size, const char *b, size_t b_size,
                   double *out, dk_error *err);

/* ---- novelty (Wang et al. 2023, self-instruct): a text that is like none of the last `window` that were kept ---- */
/* Memory: window * 8 * DI_NOVELTY_WORDS bytes at most; on disk 8 bytes for each word and 8 more a text. Of a longer
 * text the first DI_NOVELTY_WORDS words are compared. */
enum { DI_NOVELTY_WORDS = 512 };
typedef struct di_novelty di_novelty;
int32_t di_novelty_open(dk_host *host, const char *path, double threshold, int64_t window, const di_kept_state *at,
                        di_novelty **out, dk_error *err);
void di_novelty_close(di_novelty *novelty); /* NULL is fine */
/* *nearest = the highest ROUGE-L with what was kept, 0 if nothing was, or the first one that reaches the threshold:
 * then the text is not new. Else it is kept from now on. */
int32_t di_novelty_add(di_novelty *novelty, const char *text, size_t size, double *nearest, int32_t *is_new,
                       dk_error *err);
int32_t di_novelty_flush(di_novelty *novelty, di_kept_state *state, dk_error *err);

#endif
