/* ngrams.h - a text as hashed n-grams of words and of characters (Weinberger et al. 2009): no vocabulary is kept, and
 * the sign of a feature is hashed, too, so that two which share an input cancel on average. */
#ifndef DI_CLASSIFIER_NGRAMS_H
#define DI_CLASSIFIER_NGRAMS_H

#include "base/strbuf.h"

typedef enum { DI_COUNT_BINARY, DI_COUNT_TF, DI_COUNT_LOG_TF } di_count_kind;
enum { DI_BITS_LEAST = 4, DI_BITS_MOST = 24, DI_WORDS_MOST = 5, DI_CHARACTERS_MOST = 8 };
typedef struct di_ngrams {
    int32_t words;                             /* n-grams of 1 .. words words; 0 = none */
    int32_t characters_least, characters_most; /* and of so many characters; most 0 = none */
    int32_t bits;                              /* 1 << bits inputs */
    int32_t lowercase;
    di_count_kind
        counts; /* of an n-gram: 1, how often it is there, or 1 + its log; then all are divided by their norm */
} di_ngrams;

/* Inputs of a text that are not 0, ids ascending; memory that is used again. */
typedef struct di_inputs {
    dk_host *host;
    int32_t *ids;  /* [count] */
    float *values; /* [count] */
    int64_t count, cap;
    uint64_t *hashes; /* [cap] of the n-grams */
    size_t *starts;   /* [start_cap] of words or characters */
    int64_t start_cap;
    dk_strbuf escaped, text;
} di_inputs;
void di_inputs_init(di_inputs *features, dk_host *host);
void di_inputs_free(di_inputs *features);
int32_t di_inputs_room(di_inputs *features, int64_t count, dk_error *err); /* of ids, values and hashes */

/* A text without a word or sign has count 0. Bytes that are not UTF-8 count as U+FFFD. */
int32_t di_ngrams_of(const di_ngrams *ngrams, const char *text, size_t size, di_inputs *out, dk_error *err);

#endif
