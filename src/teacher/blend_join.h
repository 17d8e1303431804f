/* blend_join.h - members' rows join a strip of a blend. Private to src/teacher. */
#ifndef DI_TEACHER_BLEND_JOIN_H
#define DI_TEACHER_BLEND_JOIN_H

#include "target/host_rows.h"
#include "teacher/blend_rows.h"
#include "teacher/teacher_parts.h"

typedef struct di_joiner { /* a member, as it is asked */
    int64_t index;
    double weight, below; /* below: weights of the members before it */
    double temperature;   /* at which its logits become log p */
    atomic_int broken;    /* a row that is no distribution, from 1; 0 = none */
} di_joiner;

/* Rows of one strip at one temperature. What stands there is always the blend of the members so far, but for the first,
 * whose logits wait as they are: a row is read into cache once, when the second member comes. */
typedef struct di_joining {
    const di_blend *blend;
    const di_blend_rows *kernels;
    int64_t height;            /* of the arrays below */
    const int32_t *labels;     /* the token that follows */
    const double *draws;       /* stochastic */
    double *best, *mass;       /* worth of the best member so far; sum of e^(worth - best) */
    double *share;             /* what shares in the strip are to be taken times */
    double *worths;            /* [count, height] of each member; NULL = nobody asks for them */
    di_host_rows strip, given; /* given: logits of `next` */
    di_host_rows spare;        /* rows that may be written to */
    di_joiner held, next;      /* held: the first */
    int32_t alone;             /* there is no other than held */
    int32_t second, last;      /* next is */
} di_joining;

enum { DI_JOIN_GRAIN = 8 }; /* rows that share a spare one, which stays in cache */
/* dk_parallel_for's body. Where there are several members of mode linear, log p stands in the strip after the last;
 * else log_softmax makes it, at held.temperature where that is alone, else at 1. */
void di_blend_join_rows(void *joining, int64_t begin, int64_t end);

int32_t di_blend_is_mixture(const di_blend_settings *how);
int32_t di_blend_is_weighed(const di_blend_settings *how);    /* per token */
int32_t di_blend_goes_by_label(const di_blend_settings *how); /* the token that follows has a part in it */

#endif
