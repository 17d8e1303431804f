/* promise.h - how often two that answer the same agree, as bounds that hold for finite samples; and the least
 * confidence from which on a small model may answer by itself. No models live here. */
#ifndef DI_CLASSIFIER_PROMISE_H
#define DI_CLASSIFIER_PROMISE_H

#include "base/memory.h"

typedef struct di_judged { /* a held-out text */
    double confidence;     /* the likeliest class's probability */
    int32_t agrees;        /* with the teacher's answer */
} di_judged;

/* A cascade answers texts of confidence >= threshold by itself and asks the teacher about the others, so it differs
 * from the teacher with the chance R(t) that a text is answered and wrong. R falls as t rises, so that the lowest t
 * from which on all upper bounds of R stay within 1 - agreement keeps R(t) within it with a chance of at least `surety`
 * over the draw of the held-out texts, however many thresholds are looked at (Bates et al. 2021, Theorem 1). */
typedef struct di_promise {
    double agreement, surety;       /* asked for */
    double threshold;               /* above 1 = always ask */
    int64_t texts, answered, wrong; /* held out; of them answered by itself; of these not as the teacher */
    double bound;                   /* upper, of R(threshold); of R(2) = 0 where all are asked */
    int64_t least_texts;            /* with fewer than so many nothing can be promised */
} di_promise;
/* Sorts judged [count]. */
void di_promise_choose(di_judged *judged, int64_t count, double agreement, double surety, di_promise *out);

#endif
