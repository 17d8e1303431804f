/* tile.h - small matrix products in registers, for attention: C [m, n] (+)= A [m, k] B [k, n].
 *
 * A is read element by element with any strides, so A may be a transpose; rows of B and C are contiguous and n is a
 * multiple of DK_VF. Each element of C is summed in order of k, whatever the tile that it falls in. Large products do
 * not live here. */
#ifndef DK_COMPUTE_TILE_H
#define DK_COMPUTE_TILE_H

#include "compute/simd.h"

#if defined(__GNUC__)
#define DK_INLINE static inline __attribute__((always_inline))
#else
#define DK_INLINE static inline
#endif

#if DK_VF == 16
#define DK_TILE_ROWS 8
#else
#define DK_TILE_ROWS 4
#endif

typedef struct dk_tile {
    const float *a, *b;
    float *c;
    int64_t a_row, a_column, b_row, c_row; /* floats between neighbours */
    int64_t m, n, k;
    int32_t add;
} dk_tile;

/* rows and vectors are constants where this is inlined, so the sums stay in registers. */
DK_INLINE void dk_tile_part(const dk_tile *t, int64_t i, int64_t j, const int rows, const int vectors)
{
    dk_vf sum[DK_TILE_ROWS][2];
    const float *a = t->a + i * t->a_row, *b = t->b + j;
    float *c = t->c + i * t->c_row + j;
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < vectors; s++) sum[r][s] = t->add ? dk_vf_load(c + r * t->c_row + s * DK_VF) : dk_vf_set(0);
    for (int64_t k = 0; k < t->k; k++) {
        dk_vf line[2];
        for (int s = 0; s < vectors; s++) line[s] = dk_vf_load(b + k * t->b_row + s * DK_VF);
        for (int r = 0; r < rows; r++) {
            dk_vf by = dk_vf_set(a[r * t->a_row + k * t->a_column]);
            for (int s = 0; s < vectors; s++) sum[r][s] = dk_vf_fma(by, line[s], sum[r][s]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int s = 0; s < vectors; s++) dk_vf_store(c + r * t->c_row + s * DK_VF, sum[r][s]);
}

DK_INLINE void dk_tile_rows(const dk_tile *t, int64_t i, const int rows)
{
    int64_t j = 0;
    for (; j + 2 * DK_VF <= t->n; j += 2 * DK_VF) dk_tile_part(t, i, j, rows, 2);
    if (j < t->n) dk_tile_part(t, i, j, rows, 1);
}

static void dk_tile_run(const dk_tile *t)
{
    int64_t i = 0;
    for (; i + DK_TILE_ROWS <= t->m; i += DK_TILE_ROWS) dk_tile_rows(t, i, DK_TILE_ROWS);
#if DK_TILE_ROWS > 4
    for (; i + 4 <= t->m; i += 4) dk_tile_rows(t, i, 4);
#endif
    for (; i + 2 <= t->m; i += 2) dk_tile_rows(t, i, 2);
    if (i < t->m) dk_tile_rows(t, i, 1);
}

static inline int64_t dk_lanes_up(int64_t n) { return (n + DK_VF - 1) / DK_VF * DK_VF; }

/* Rows of `dim` floats as rows of whole vectors: in place where dim allows it, else copied with zeros behind. */
static inline const float *dk_whole_rows(const float *x, int64_t *step, int64_t rows, int64_t dim, float *scratch)
{
    int64_t width = dk_lanes_up(dim);
    if (width == dim) return x;
    for (int64_t r = 0; r < rows; r++) {
        memcpy(scratch + r * width, x + r * *step, (size_t)dim * sizeof *x);
        memset(scratch + r * width + dim, 0, (size_t)(width - dim) * sizeof *x);
    }
    *step = width;
    return scratch;
}

#endif
