/* random.h - a counter-based generator (Philox 4x32-10, Salmon et al. 2011): number k of a stream is a pure function of
 * (seed, stream, k), so nothing has to be saved to go on where one stopped, and order of use does not matter. */
#ifndef DK_BASE_RANDOM_H
#define DK_BASE_RANDOM_H

#include <stdint.h>

enum { /* streams, so that one seed never gives two uses the same numbers */
       DK_STREAM_INIT = 1,
       DK_STREAM_SHUFFLE = 2,
       DK_STREAM_SAMPLE = 3,
       DK_STREAM_BLEND = 6,
       DK_STREAM_ON_POLICY = 7,
       DK_STREAM_ACCEPT = 8,
       DK_STREAM_TEST = 99
};
uint64_t dk_random_u64(uint64_t seed, uint64_t stream, uint64_t counter);
double dk_random_uniform(uint64_t seed, uint64_t stream, uint64_t counter); /* [0, 1), 53 bits */
double dk_random_normal(uint64_t seed, uint64_t stream, uint64_t counter);  /* mean 0, variance 1 */
/* The place of index in a pseudo-random permutation of [0, n): a Feistel network with cycle walking, no table. */
uint64_t dk_random_permute(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n);

#endif
