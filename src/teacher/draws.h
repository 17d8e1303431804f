/* draws.h - ids drawn from a row of log-probabilities. */
#ifndef DI_TEACHER_DRAWS_H
#define DI_TEACHER_DRAWS_H

#include <stdint.h>

typedef struct di_draws { /* a function of these alone */
    uint64_t seed, stream, position;
    int64_t count;
} di_draws;
/* ids ascending, each once, with how often each was drawn; returns how many. uniform, ids, counts: [draws->count]. */
int64_t di_row_draw(const float *log_p, int64_t valid, const di_draws *draws, double *uniform, int32_t *ids,
                    float *counts);

double di_row_entropy(const float *log_p, int64_t valid); /* nats, of what log_p are scaled to */

#endif
