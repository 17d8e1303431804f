/* walk.h - which window of which source comes next. Private to src/dataset.
 *
 * Every source has its own endless stream of shuffled epochs. Weights count tokens: the next window is one of the
 * source that has given the fewest tokens for its weight, the first in the list where several have. So at any time
 * every source is within a window or two of its share, and by size (weight = tokens) all end their epochs together. */
#ifndef DI_DATASET_WALK_H
#define DI_DATASET_WALK_H

#include "dataset/dataset_parts.h"

typedef struct di_stop {
    const di_dataset *source;
    int64_t window;
} di_stop;
/* Room for the sources; the walk stands at the first window. */
int32_t di_walk_init(const di_dataset *dataset, di_walk *walk, dk_error *err);
/* To a place, from where it is or from the beginning: place 0 is the first window of all epochs. */
void di_walk_to(const di_dataset *dataset, uint64_t seed, int64_t place, di_walk *walk);
di_stop di_walk_next(const di_dataset *dataset, di_walk *walk);
/* The windows that begin before every source has given `times` times its tokens. */
int64_t di_walk_count(const di_dataset *dataset, uint64_t seed, double times, di_walk *walk);

#endif
