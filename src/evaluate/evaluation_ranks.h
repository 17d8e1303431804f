/* evaluation_ranks.h - what several ranks scored of one source of the data, put together. Private to src/evaluate. */
#ifndef DI_EVALUATE_EVALUATION_RANKS_H
#define DI_EVALUATE_EVALUATION_RANKS_H

#include "evaluate/evaluate.h"

typedef struct di_distances { /* of positions from a teacher */
    float **values;           /* grown */
    int64_t *count, *capacity;
} di_distances;
/* part: sums over the windows of this rank, with has_teacher set; distances from `first` on are of it. Both become
 * those of all ranks. rc: what became of this rank's. Alone it does nothing. */
int32_t di_evaluation_meet(dk_host *host, int32_t rc, di_evaluation *part, di_distances *distances, int64_t first,
                           dk_error *err);

#endif
