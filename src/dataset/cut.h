/* cut.h - a document becomes sequences of at most data.sequence_length tokens. Private to src/dataset.
 *
 * Documents of text files are cut into sequences one behind the other. So is plain text that comes as a sample (text,
 * or tokens without a mask) under data.too_long: truncate_right, where a sample with a prompt or a mask loses its end;
 * error, truncate_left and skip treat all samples alike. A pair is never truncated, for its sides would no longer be
 * what was compared: with a side that is too long it is skipped. A sequence without a label (a learnt token behind its
 * first) is dropped and counted. */
#ifndef DI_DATASET_CUT_H
#define DI_DATASET_CUT_H

#include "dataset/counts.h"
#include "dataset/store.h"
#include "options/options.h"

typedef enum { DI_TOO_LONG_ERROR, DI_TOO_LONG_LEFT, DI_TOO_LONG_RIGHT, DI_TOO_LONG_SKIP } di_too_long;
typedef struct di_rules {
    int64_t length;
    di_too_long too_long;
    int32_t pack, shuffle;
} di_rules;
void di_rules_read(di_rules *rules, const di_options *options);

typedef int32_t (*di_sequence_fn)(void *user, int64_t first, int64_t count, dk_error *err);
/* A pair, tokens [first, middle) chosen and [middle, last) rejected: both stay whole (*kept 1), or none does. */
int32_t di_cut_pair(const di_rules *rules, const di_tokens *tokens, int64_t first, int64_t middle, int64_t last,
                    di_counts *counts, int32_t *kept, dk_error *err);
/* Gives the sequences of tokens [first, first + count), in order. */
int32_t di_cut(const di_rules *rules, const di_tokens *tokens, int64_t first, int64_t count, uint32_t flags,
               di_counts *counts, di_sequence_fn fn, void *user, dk_error *err);

#endif
