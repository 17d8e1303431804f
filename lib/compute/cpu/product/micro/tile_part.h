/* tile_part.h - a part of a product for kernels on AMX, in its place alone, and what its steps fetch: their
 * share of the next piece of B and of the rows of C where the next tile goes. All at once would fill the places where
 * a core waits for memory. */
#ifndef DK_COMPUTE_TILE_PART_H
#define DK_COMPUTE_TILE_PART_H

#include "compute/cpu/product/micro/micro.h"

/* A tile of C in its place, with nothing to fetch. */
static inline dk_tile_part dk_tile_part_in(int64_t height, int64_t k, const void *a, const void *b, float *c,
                                           int64_t c_step, int32_t add)
{
    return (dk_tile_part){.height = height,
                          .k = k,
                          .a = a,
                          .b = b,
                          .from = add ? c : NULL,
                          .to = c,
                          .from_step = c_step,
                          .to_step = c_step};
}

typedef struct dk_tile_ahead {
    const uint8_t *b, *c;
    int64_t b_lines, c_rows, c_step, left;
} dk_tile_ahead;

/* steps: into which part->k is cut. */
static inline dk_tile_ahead dk_tile_ahead_of(const dk_tile_part *part, int64_t steps)
{
    return (dk_tile_ahead){.b = part->next_b,
                           .c = (const uint8_t *)part->next_c,
                           .b_lines = part->next_b ? part->next_b_lines : 0,
                           .c_rows = (32 + steps - 1) / steps,
                           .c_step = part->next_c_step * (int64_t)sizeof(float),
                           .left = part->next_c ? part->next_c_rows : 0};
}

static inline void dk_tile_fetch(dk_tile_ahead *next)
{
    for (int64_t i = 0; i < next->b_lines; i++, next->b += 64) DK_FETCH_FAR(next->b);
    for (int64_t i = 0; i < next->c_rows && next->left > 0; i++, next->left--, next->c += next->c_step) {
        DK_FETCH_FAR(next->c);
        DK_FETCH_FAR(next->c + 64);
    }
}

#endif
