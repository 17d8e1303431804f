/* overlap.h - runs of words that a set of texts has, so that none of an evaluation's is trained on (GPT-3's 13-grams;
 * Brown et al. 2020). In memory: 16 to 32 bytes for each run of the evaluation, whatever passes. */
#ifndef DI_AUGMENT_CURATE_OVERLAP_H
#define DI_AUGMENT_CURATE_OVERLAP_H

#include "augment/curate/words.h"
#include "conf/document.h"

enum { DI_OVERLAP_MOST = 64, DI_OVERLAP_LEAST = 5 };

typedef struct di_overlap {
    dk_host *host;
    int32_t n;
    uint64_t *runs; /* [slots] an open table; 0 = free */
    int64_t count, slots;
    uint64_t lengths; /* bit m - 1: there are runs of m words */
    int64_t texts, too_short;
    di_hashes words;
    dk_strbuf composed;
} di_overlap;
/* n: 1 to DI_OVERLAP_MOST */
void di_overlap_init(di_overlap *overlap, dk_host *host, int32_t n);
void di_overlap_free(di_overlap *overlap); /* zeroed is fine */
/* A text of fewer than n words is looked for whole; one of fewer than DI_OVERLAP_LEAST (or n) is counted too_short. */
int32_t di_overlap_text(di_overlap *overlap, const char *text, size_t size, dk_error *err);
/* Every text of a sample: text, prompt, completion, and the contents of messages, wherever they stand. */
int32_t di_overlap_sample(di_overlap *overlap, const dk_node *sample, dk_error *err);
/* *word = where the first shared run begins in text, counted in words; -1 = none. 64 bits stand for a run: of two that
 * differ one in 2^64 is taken for the other. */
int32_t di_overlap_find(di_overlap *overlap, const char *text, size_t size, int64_t *word, dk_error *err);
/* The same in every text of a sample. */
int32_t di_overlap_find_in(di_overlap *overlap, const dk_node *sample, int32_t *found, dk_error *err);

#endif
