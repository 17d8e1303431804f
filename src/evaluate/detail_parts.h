/* detail_parts.h - the details of an evaluation from inside. Private to src/evaluate. */
#ifndef DI_EVALUATE_DETAIL_PARTS_H
#define DI_EVALUATE_DETAIL_PARTS_H

#include "evaluate/detail.h"

typedef struct di_detail_tally { /* what was counted */
    di_sums position[DI_POSITIONS], frequency[DI_FREQUENCIES], block[DI_BLOCKS];
    di_disagreements found;
} di_detail_tally;
struct di_detail {
    dk_host *host;
    dk_tokenizer *tokenizer; /* a reference; NULL = none */
    uint32_t *counts;        /* [vocab] of labels */
    int64_t vocab, windows, blocks;
    int32_t has_teacher, dense, has_kl;
    di_detail_tally tally;
};

#endif
