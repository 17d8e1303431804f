/* counts.h - what became of the samples of a dataset, counted by reason and told. Private to src/dataset. */
#ifndef DI_DATASET_COUNTS_H
#define DI_DATASET_COUNTS_H

#include "base/strbuf.h"

typedef struct di_counts {
    int64_t samples;
    int64_t skipped;                    /* too long */
    int64_t truncated;                  /* lost their beginning or their end */
    int64_t split;                      /* cut into several sequences, nothing lost */
    int64_t no_labels;                  /* not learnt from: nothing is to be learnt in what is left */
    int64_t lost_labels;                /* of these: had something before they were truncated */
    int64_t lost_tokens, lost_learnt;   /* in what was skipped or cut off, and those of them that were to be learnt */
    int64_t dropped;                    /* sequences without a label */
    int64_t pairs;                      /* samples with a chosen and a rejected side that are learnt from */
    int64_t tokens, learnt, max_length; /* of the sequences that stay */
} di_counts;

void di_counts_add(di_counts *to, const di_counts *from); /* max_length: the larger one */
/* One line in the log: a warning where something was lost. windows -1 = a stream. */
void di_counts_tell(const di_counts *counts, int64_t windows, int64_t length, dk_host *host, const char *name);
/* "samples":...,"skipped":{"too_long":...},...: members without their braces */
void di_counts_json(const di_counts *counts, dk_strbuf *out);
/* Where no sample is left. */
int32_t di_counts_fail(const di_counts *counts, int64_t length, const char *name, dk_error *err);

#endif
