/* chunk_size.h - how many samples go through the steps at a time. Private to src/augment.
 *
 * Texts that end make room for the next ones of their chunk: the larger a chunk is, the less time its last texts take
 * among all. What is at work is made again after a kill, and a budget ends between two chunks: the smaller the better.
 * Where tokens have a budget the size hangs on nothing but what was made so far, so that the same budget ends at the
 * same sample: it ends behind a whole chunk, also where a budget of time had that cut into smaller ones. */
#ifndef DI_AUGMENT_CHUNK_SIZE_H
#define DI_AUGMENT_CHUNK_SIZE_H

#include <stdint.h>

typedef struct di_chunk_facts { /* of the segment at work, over all runs of it */
    int64_t samples, tokens;
    double seconds;
    int64_t tokens_left; /* of a budget, 0 = none */
    double seconds_left;
} di_chunk_facts;
int64_t di_chunk_size(const di_chunk_facts *facts); /* 1 at least; takes no notice of seconds_left */
/* How many of `size` samples go through at a time, so that a budget of time ends soon after it is over. */
int64_t di_chunk_in_time(int64_t size, const di_chunk_facts *facts);

#endif
