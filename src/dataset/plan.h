/* plan.h - all windows of a store, made once. Private to src/dataset. */
#ifndef DI_DATASET_PLAN_H
#define DI_DATASET_PLAN_H

#include "dataset/cut.h"

typedef struct di_range { /* documents [begin, end), and of them only tokens [first_token, last_token) */
    int64_t begin, end, first_token, last_token;
} di_range;
typedef struct di_sequence {
    int64_t first;
    int32_t count;
    uint32_t window;
} di_sequence;
typedef struct di_sequences { /* a list that grows */
    di_sequence *items;
    int64_t count, capacity;
} di_sequences;
int32_t di_sequences_add(di_sequences *list, dk_host *host, int64_t first, int64_t count, int64_t window,
                         dk_error *err);

typedef struct di_plan {
    di_sequence *sequences; /* by window, inside it in order of the data */
    int64_t *first;         /* [windows + 1] of each window in sequences */
    int64_t windows;
    int64_t max_sequences, max_tokens; /* of a window */
    di_counts counts;
} di_plan;
int32_t di_plan_make(const di_store *store, const di_range *range, const di_rules *rules, di_plan *out, dk_error *err);
void di_plan_free(dk_host *host, di_plan *plan);

#endif
