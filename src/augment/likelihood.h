/* likelihood.h - how likely a model finds what a sample teaches: the mean log-probability of the tokens that training
 * would learn of it (dataset/sample.h), the one that ends it among them. */
#ifndef DI_AUGMENT_LIKELIHOOD_H
#define DI_AUGMENT_LIKELIHOOD_H

#include "augment/operator.h"

typedef struct di_likelihood {
    const di_step *step;
    di_teacher *teacher; /* borrowed */
    int64_t context;     /* 0 = not known */
    di_encoded one;      /* the sample under work */
    int32_t *ids;        /* of the batch */
    int64_t *offsets, *rows;
    float *chosen;
    int64_t count, row_count, capacity, sequences, sequence_capacity;
    int64_t number; /* among rank_calls */
} di_likelihood;
/* teacher: of the step's tokenizer. The likelihood stays where it is. */
int32_t di_likelihood_init(di_likelihood *likelihood, const di_step *step, di_teacher *teacher, dk_error *err);
void di_likelihood_free(di_likelihood *likelihood); /* zeroed is fine */
/* means [count], of records [count]: NAN where *why[i] says why there is none ("nothing_learnt",
 * "longer_than_context"). */
int32_t di_likelihood_of(di_likelihood *likelihood, di_record *const *records, int64_t count, double *means,
                         const char **why, dk_error *err);

#endif
