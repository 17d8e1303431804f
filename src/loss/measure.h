/* measure.h - what an evaluation asks of one row of two models, by the kernels that the losses run on. */
#ifndef DI_LOSS_MEASURE_H
#define DI_LOSS_MEASURE_H

#include "target/target.h"

typedef struct di_measure { /* a strip of rows of logits */
    int32_t isa;
    int64_t vocab;        /* ids that count */
    const float *student; /* row r begins at r*student_stride */
    const float *teacher; /* the same; NULL = none, or not dense */
    int64_t student_stride, teacher_stride;
    double temperature;           /* already in what the teacher says */
    const distill_target *target; /* a sparse teacher's rows, compact and checked; NULL = none, or dense */
    const int32_t *labels;        /* [rows] */
} di_measure;
typedef struct di_measured {
    double nats, teacher_nats; /* -log q and -log p of the label, at T = 1; teacher_nats of a dense teacher alone */
    /* KL(teacher || student): dense at T = 1, of a sparse one over its ids and the rest, at its T. Of SAMPLED
     * it is the soft cross-entropy -sum of frequency * log q, less the entropy where the target has it: on average
     * that of the distribution, or its KL */
    double kl;
    double
        accepted;  /* sum min(p, q), at the temperature of kl; of k ids and the rest; of SAMPLED nothing is known: 0 */
    int32_t agree; /* both have the same most likely id; -1 where the teacher's is not known (SAMPLED) */
    int64_t floored; /* ids of the teacher that the student excludes */
    /* the likeliest id at T = 1: its probability, and whether it is the label; the teacher's of a dense one alone */
    double confidence, teacher_confidence;
    int32_t right, teacher_right;
} di_measured;
void di_measure_row(const di_measure *measure, int64_t row, di_measured *out);

#endif
