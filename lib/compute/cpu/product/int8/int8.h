/* int8.h - what a kernel of products with quantised weights is: activations in blocks of 32 whole numbers, multiplied
 * by the whole numbers of Q8_0, Q4_0, Q4_1 and K-quants as they lie in their file. */
#ifndef DK_COMPUTE_INT8_H
#define DK_COMPUTE_INT8_H

#include "base/dtype.h"

#define DK_INT8_BLOCK 32  /* numbers of a block, of activations and of Q8_0, Q4_0 and Q4_1 */
#define DK_INT8_SUPER 256 /* of a block of a K-quant, which is eight of these, or sixteen halves, with own scales */

#define DK_INT8_FEW 8    /* so few rows never go on tiles; where more of them do, they lie in */
#define DK_INT8_GROUP 16 /* groups, the last of which may hold fewer */

/* A number is scale * q, |q| <= 127; the largest of a block is the scale's 127th. A block's numbers of all rows lie
 * behind one another, so whoever multiplies a block by all rows reads on from end to end. Tiles want groups of rows,
 * and in a block of a group four numbers of each row side by side, but for K-quants. */
typedef struct dk_int8_rows {
    int8_t *q;      /* [k / 32, count, 32], in groups [groups, k / 32, 8, DK_INT8_GROUP, 4] */
    float *scale;   /* [groups, k / 32, height]; otherwise all rows are one group */
    float *sum;     /* [groups, k / 32, height] of q */
    int32_t *start; /* [groups, k / 32, height] of a block's products: what makes up for weights' offset */
    /* The same where a type has two scales in a block: sum and start are of its first 16 numbers, these of the rest */
    float *sum_second;
    int32_t *start_second;
    int64_t count, k, height;
    int32_t in_groups;
} dk_int8_rows;

/* Of the first row of a row's group: where a block stands among scales, and, 32 times as far, its numbers. */
static inline int64_t dk_int8_at(const dk_int8_rows *rows, int64_t row, int64_t block)
{
    return (row / rows->height * (rows->k / DK_INT8_BLOCK) + block) * rows->height;
}

typedef struct dk_int8 {
    const char *name;
    int64_t lanes;        /* lines of a panel */
    int32_t isa;          /* DK_ISA_* that has its instructions, but for */
    int32_t beside_cblas; /* of a processor whose other products are CBLAS's */
    int32_t (*has)(void); /* what else the processor must have; NULL = nothing */
    /* Asked before rows go on tiles, between begin and end on each thread; NULL = it has no tiles */
    int32_t (*allow)(void);
    /* Row `row` of what rows holds, for weights of a dtype; 0 = there is NaN or infinity in it, and nothing of it may
     * be used */
    int32_t (*quantise)(dk_dtype dtype, const float *x, const dk_int8_rows *rows, int64_t row);
    /* c [rows, lanes] = rows times `lanes` lines of blocks, `step` bytes apart; `ahead`: as many lines that come later,
     * to be fetched meanwhile, or NULL */
    void (*panel)(dk_dtype dtype, const uint8_t *b, int64_t step, const uint8_t *ahead, const dk_int8_rows *rows,
                  float *c, int64_t c_step);
    void (*begin)(void), (*end)(void);
} dk_int8;

static inline int32_t dk_int8_is_k(dk_dtype dtype) { return dtype >= DK_Q2_K && dtype <= DK_Q6_K; }

/* A scale for 16 numbers: two in a block. */
static inline int32_t dk_int8_halves_of(dk_dtype dtype)
{
    return dtype == DK_Q2_K || dtype == DK_Q3_K || dtype == DK_Q6_K;
}

static inline int64_t dk_int8_bytes(dk_dtype dtype) /* of a block, of K-quants of DK_INT8_SUPER numbers */
{
    switch ((int)dtype) {
    case DK_Q8_0:
        return 34;
    case DK_Q4_0:
        return 18;
    case DK_Q4_1:
        return 20;
    case DK_Q2_K:
        return 84;
    case DK_Q3_K:
        return 110;
    case DK_Q4_K:
        return 144;
    case DK_Q5_K:
        return 176;
    default:
        return 210;
    }
}

static inline int32_t dk_int8_on_tiles(const dk_int8 *kernel, int64_t rows)
{
    return kernel->begin && rows > DK_INT8_FEW;
}

/* Tiles take rows for K-quants as they lie elsewhere. */
static inline int32_t dk_int8_in_groups(const dk_int8 *kernel, dk_dtype dtype, int64_t rows)
{
    return dk_int8_on_tiles(kernel, rows) && !dk_int8_is_k(dtype);
}

extern const dk_int8 dk_int8_portable, dk_int8_avx2, dk_int8_avx_vnni, dk_int8_avx512_vnni, dk_int8_amx,
    dk_int8_neon_dot;
/* The same as dk_int8_amx by twins of its instructions in plain C, for tests. */
extern const dk_int8 dk_int8_amx_twin;

/* The best of those that isa and `tiles` allow and the processor has; never by timing. */
const dk_int8 *dk_int8_choose(int32_t isa, int32_t tiles);
/* By name, for tests: NULL = this machine or this build has not its instructions. */
const dk_int8 *dk_int8_named(const char *name, int32_t isa);

#endif
