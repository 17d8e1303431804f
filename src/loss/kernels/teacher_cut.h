/* teacher_cut.h - the same outcomes as teacher_head.h finds, on long dense rows in vectors of floats. */
#ifndef DI_LOSS_KERNELS_TEACHER_CUT_H
#define DI_LOSS_KERNELS_TEACHER_CUT_H

#include "loss/kernels/loss_rows.h"

typedef struct di_cut { /* those with z > least, and of those with z = least the ids up to last_id */
    float least;
    int64_t last_id; /* -1 = none */
} di_cut;

enum { DI_CUT_LIST = 4096 };

/* A logit above which a sample of the row says that there are half a list of others. */
float DK_VARIANT(di_likely_from)(const di_logits *p, int64_t n);
/* The cut, from all logits above `low`: z, count of them. 0 = it is not among them. */
int32_t DK_VARIANT(di_cut_among)(const di_logits *p, int64_t n, double mass, float low, const float *z, int64_t count,
                                 di_cut *cut);
/* 0 = not found: too many of one probability, for example. */
int32_t DK_VARIANT(di_find_cut)(const di_logits *p, int64_t n, double mass, di_cut *cut);

#endif
