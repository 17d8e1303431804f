/* pack.h - which window a sequence goes to: the first of a few open ones with room (first fit), in order of the data,
 * so that packing depends on nothing but the lengths. A window holds at most data.sequence_length tokens in all; with
 * data.pack off it holds one sequence. Both sides of a pair go together, and have a window of their own where they are
 * longer than that. Private to src/dataset. */
#ifndef DI_DATASET_PACK_H
#define DI_DATASET_PACK_H

#include <stdint.h>

/* a window is shut when that many were begun after it: a stream has to go on */
enum { DI_OPEN_WINDOWS = 16, DI_OPEN_AGE = 64 };
typedef struct di_packer {
    int64_t length; /* of a window */
    int32_t pack;
    int32_t open;
    int64_t window[DI_OPEN_WINDOWS], room[DI_OPEN_WINDOWS]; /* of the open ones, ascending */
    int64_t next;                                           /* windows begun */
} di_packer;
void di_packer_init(di_packer *packer, int64_t length, int32_t pack);
/* the number of its window; windows count by when they were begun */
int64_t di_packer_place(di_packer *packer, int64_t count);
int64_t di_packer_complete(const di_packer *packer); /* windows below this number will get nothing more */

#endif
