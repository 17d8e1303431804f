/* kernels.h - the inner loops of the CPU backend: contiguous floats in, contiguous floats out, one thread.
 *
 * The files in kernels/ are compiled once per instruction set; each copy fills a table. Threads, strides, dtypes of
 * activations and checks do not live here but in the ops that call these. */
#ifndef DK_COMPUTE_KERNELS_H
#define DK_COMPUTE_KERNELS_H

#include "compute/buffer.h"

/* One query block of one sequence against the key head that its heads share, or that block's part of a backward pass.
 * Steps are in floats between rows; heads of a group lie `head` apart. */
#define DK_KEYS_PIECE 256                  /* whole blocks of keys: what is summed by itself (kernel_attention.c) */
#define DK_ATTENTION_PART(dim) ((dim) + 2) /* floats of a piece's maximum, partition and sums */
typedef struct dk_attention_block {
    const float *q, *k, *v; /* first query row of the sequence's block, first key row of the sequence */
    const int32_t *pages;   /* of the keys, or NULL: then k and v are row 0 of all keys */
    int32_t halves;         /* k and v are BF16 */
    float *y;
    float *lse; /* or NULL */
    int64_t q_row, q_head, k_row, v_row, y_row, y_head, lse_row, lse_head;
    int64_t group, rows, dim; /* heads, queries of the block */
    int64_t position;         /* of the first query, counted in keys */
    int64_t window;
    float scale, softcap;
    float *scratch;
    /* NULL = all keys, into y. Else piece `piece` of them alone is summed, into [group * rows, dim + 2] */
    float *part;
    int64_t piece;
} dk_attention_block;

#define DK_STRIP 32                 /* a multiple of the columns of every micro-kernel, and of every vector */
typedef struct dk_attention_strip { /* scores of some keys against queries, which are lanes */
    float *scores;                  /* [keys, lanes] */
    int64_t step, keys, lanes;      /* floats between rows; lanes: whole strips */
    int64_t key;                    /* the first one */
    const int32_t *positions;       /* [lanes] of the queries, counted in keys */
    int64_t window;
    int32_t masked; /* not every key is seen by every query */
    float scale, softcap;
    /* What becomes of the scores, as packed operands of BF16 instead of where they lie; NULL = not wanted. */
    uint32_t *pairs; /* B, whose k are the keys: [lanes / DK_STRIP][k / 2][DK_STRIP], zeros behind the keys */
    uint16_t *tiles, *weight_tiles; /* A, whose k are the queries: dk_pack_tiles' panels of tile_rows lines */
    int64_t k;                      /* keys of B with those zeros */
    int64_t tile_rows, keys_up;     /* of a whole panel of A, and lines of all panels */
} dk_attention_strip;

typedef struct dk_norm_row {
    dk_norm_kind kind;
    float epsilon, weight_offset;
    const float *weight, *bias; /* or NULL */
    int64_t width;
} dk_norm_row;

typedef struct dk_adamw_step { /* dk_adamw_args with what is constant over the elements worked out */
    float factor, keep, beta2, rest1, rest2, rate, inverse_root, epsilon;
} dk_adamw_step;

typedef struct dk_kernels {
    void (*fill)(float *y, int64_t n, float value);
    void (*axpy)(float a, const float *x, float *y, int64_t n);
    void (*scale_to)(float a, const float *x, float *y, int64_t n); /* y = a*x; y may be x */
    void (*add)(const float *a, const float *b, float *y, int64_t n);
    /* Matrices of n columns: y = a + b, or a where b is NULL; y may be either. */
    void (*add_rows)(const float *a, int64_t a_step, const float *b, int64_t b_step, float *y, int64_t y_step,
                     int64_t rows, int64_t n);
    /* x [rows, n] without gaps becomes y, which nobody reads soon: past the caches, where it lies well */
    void (*put_rows)(const float *x, float *y, int64_t y_step, int64_t rows, int64_t n);
    void (*widen_bf16)(const uint16_t *x, float *y, int64_t n);
    void (*widen_f16)(const uint16_t *x, float *y, int64_t n);
    int32_t (*widen_blocks)(dk_dtype dtype, const void *x, float *y, int64_t n); /* 0 = not such a dtype */
    void (*narrow_bf16)(const float *x, uint16_t *y, int64_t n);
    void (*glu)(dk_activation kind, const float *gate, const float *up, float *y, int64_t n);
    void (*glu_backward)(dk_activation kind, const float *gate, const float *up, const float *dy, float *dgate,
                         float *dup, int64_t n);
    void (*rope)(float *x, int64_t heads, int64_t head_step, int64_t half, const float *rotations, float sign);

    void (*norm)(const dk_norm_row *args, const float *x, float *y, float *stats);
    void (*norm_backward)(const dk_norm_row *args, const float *x, const float *stats, const float *dy, float *dx,
                          int32_t add);

    /* into `count` columns from `first`, over all rows; sums are added to, NULL = not wanted */
    void (*norm_columns)(const dk_rows *x, const dk_rows *stats, const dk_rows *dy, int64_t first, int64_t count,
                         float *dweight, float *dbias);
    void (*column_sums)(const dk_rows *x, int64_t first, int64_t count, float *sums);

    void (*softcap)(float *z, int64_t n, float scale, float cap);
    void (*softcap_backward)(const float *z, float *dz, int64_t n, float scale, float cap);
    void (*log_softmax)(const float *z, float *y, int64_t n, double temperature);
    void (*log_softmax_backward)(const float *log_q, float *h, int64_t n, float weight);
    void (*softmax_weights)(const float *z, float *y, int64_t n, float highest,
                            float inverse_temperature); /* exp((z - highest)/T) */
    float (*highest)(const float *z, int64_t n);        /* infinity if any is NaN or infinity */

    /* y[r*y_step + o] = dot(x row r, weight row o), `outputs` rows of weights; 0 = not weights of this dtype */
    int32_t (*dots)(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                    const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step);
    /* the same for weights stored [in, out]: `weight` is the first of `outputs` columns, at most DK_MATVEC_COLUMNS */
    int32_t (*columns)(dk_dtype dtype, const void *weight, int64_t weight_step, int64_t outputs, int64_t in,
                       const float *x, int64_t x_step, int64_t rows, float *y, int64_t y_step);

    int64_t (*attention_scratch)(int64_t group, int64_t dim); /* floats */
    int64_t (*attention_rows)(int64_t group);                 /* queries of one block */
    void (*attention)(const dk_attention_block *block);
    void (*attention_join)(const dk_attention_block *block, int64_t pieces); /* all from `part` on, into y */

    /* Of one strip: scores become weights; highest, partition [DK_STRIP] move on; fade = what sums of earlier keys are
     * worth now. 0 = as much as before. */
    int32_t (*attention_weigh)(const dk_attention_strip *strip, float *highest, float *partition, float *fade);
    /* v [keys, dim], some of which some queries do not see: 0 = all are numbers; else `clean` [keys, dim] is v with
     * zeros in the place of what is none, and once clean values are multiplied, attention_odd adds the rest to the
     * sums [dim, DK_STRIP] of the queries that see it (seen_values.h). */
    int32_t (*attention_clean)(const float *v, int64_t step, int64_t keys, int64_t dim, float *clean);
    void (*attention_odd)(const dk_attention_strip *strip, const float *v, int64_t step, int64_t dim, float *sums);
    void (*attention_fade)(float *x, int64_t rows, const float *factor); /* x [rows, DK_STRIP] times one per lane */
    /* Scores become P; slopes [keys, lanes], dP on entry, dS. lse, delta [lanes]: log partitions, and dy.y. Packed:
     * dS as pairs and as tiles, P as weight_tiles, all three or none. */
    void (*attention_slopes)(const dk_attention_strip *strip, float *slopes, const float *lse, const float *delta);
    void (*row_dots)(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t rows, int64_t n, float *y);
    void (*turn)(const float *x, int64_t x_step, int64_t rows, int64_t columns, float *y,
                 int64_t y_step); /* [rows, columns] -> [columns, rows] */

    double (*sum_squares)(const float *x, int64_t n);
    void (*adamw)(const dk_adamw_step *step, float *p, const float *g, float *m, float *v, int64_t n);
} dk_kernels;

#define DK_MATVEC_COLUMNS 128
#define DK_MATVEC_ROWS 4 /* rows of x that dots and columns are worth it for */

void dk_kernels_fill_portable(dk_kernels *kernels);
#ifdef DK_X86_KERNELS
void dk_kernels_fill_avx2(dk_kernels *kernels);
void dk_kernels_fill_avx512(dk_kernels *kernels);
#endif

#endif
