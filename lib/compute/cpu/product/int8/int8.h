/* int8.h - what a kernel of products with quantised weights is: activations in blocks of 32 whole numbers, multiplied
 * by the whole numbers of Q8_0, Q4_0 and Q4_1 as they lie in their file. */
#ifndef DK_COMPUTE_INT8_H
#define DK_COMPUTE_INT8_H

#include "base/dtype.h"

#define DK_INT8_BLOCK 32 /* numbers of a block, of activations and of each of the three types */

/* A number is scale * q, |q| <= 127; the largest of a block is the scale's 127th. */
typedef struct dk_int8_rows {
    int8_t *q;      /* [rows, k] */
    float *scale;   /* [rows, k / 32] */
    float *sum;     /* [rows, k / 32] of q */
    int32_t *start; /* [rows, k / 32] of a block's products: what makes up for that weights go in with an offset */
    int64_t count, k;
} dk_int8_rows;

typedef struct dk_int8 {
    const char *name;
    int64_t lanes;        /* lines of a panel */
    int32_t isa;          /* DK_ISA_* that has its instructions, but for */
    int32_t (*has)(void); /* what else the processor must have; NULL = nothing */
    /* Row `row` of what rows holds, for weights of a dtype; 0 = there is NaN or infinity in it, and nothing of it may
     * be used */
    int32_t (*quantise)(dk_dtype dtype, const float *x, const dk_int8_rows *rows, int64_t row);
    /* c [rows, lanes] = rows times `lanes` lines of blocks, `step` bytes apart; `more`: as many lines behind them are
     * next */
    void (*panel)(dk_dtype dtype, const uint8_t *b, int64_t step, int32_t more, const dk_int8_rows *rows, float *c,
                  int64_t c_step);
} dk_int8;

static inline int32_t dk_int8_takes(dk_dtype dtype) { return dtype == DK_Q8_0 || dtype == DK_Q4_0 || dtype == DK_Q4_1; }

extern const dk_int8 dk_int8_portable, dk_int8_avx2, dk_int8_avx_vnni, dk_int8_avx512_vnni;

/* The best of those that isa allows and the processor has; never by timing. */
const dk_int8 *dk_int8_choose(int32_t isa);
/* By name, for tests: NULL = this machine or this build has not its instructions. */
const dk_int8 *dk_int8_named(const char *name, int32_t isa);

#endif
