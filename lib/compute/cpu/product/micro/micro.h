/* micro.h - what a micro-kernel is: how it wants its operands packed, and the tile of C that it computes. */
#ifndef DK_COMPUTE_MICRO_H
#define DK_COMPUTE_MICRO_H

#include "base/dtype.h"

#if defined(__GNUC__)
#define DK_ALWAYS_INLINE static inline __attribute__((always_inline))
#define DK_FETCH(at) __builtin_prefetch(at)
#define DK_FETCH_FAR(at) __builtin_prefetch(at, 0, 2) /* into L2: not needed soon */
#else
#define DK_ALWAYS_INLINE static inline
#define DK_FETCH(at) (void)(at)
#define DK_FETCH_FAR(at) (void)(at)
#endif

/* Lines of K numbers in F32, F16, BF16 or a block-quantised dtype. across 0: a line is a row of memory, k side by
 * side. across 1: a row of memory is one k of all lines. */
typedef struct dk_operand {
    const uint8_t *data;
    dk_dtype dtype;
    int32_t across;
    int32_t (*widen)(dk_dtype dtype, const void *x, float *y, int64_t n); /* whole blocks; for dtypes that have them */
    int64_t lines, step; /* all that there are; elements from one row of memory to the next */
} dk_operand;

/* Where a number stands: in blocks, where its block begins. */
static inline const uint8_t *dk_operand_at(const dk_operand *operand, int64_t line, int64_t k)
{
    int64_t row = operand->across ? k : line, column = operand->across ? line : k;
    if (operand->dtype == DK_F32) return operand->data + (row * operand->step + column) * (int64_t)sizeof(float);
    int64_t block = dk_dtype_find(operand->dtype)->block;
    return operand->data + dk_dtype_bytes(operand->dtype, row * operand->step + column / block * block);
}

/* What lies as far behind the beginning of the next panel as the numbers of this one in front of k take: whoever
 * goes through a panel fetches the next one from there on, piece by piece, so that memory sees one read from end to
 * end, which the machine runs ahead of. Fetching line by line would be no faster than the few misses that a core has
 * under way at once. NULL = there is no next panel. Of dtypes without blocks. */
static inline const uint8_t *dk_stream_ahead(const dk_operand *from, int64_t line, int64_t height, int64_t k)
{
    if (line + 2 * height > from->lines) return NULL;
    return from->data + dk_dtype_bytes(from->dtype, (line + height) * from->step + height * k);
}

/* Lines [line, line + lines) at k in [k, k + count) become a panel of `height` lines: zeros for lines that are missing
 * and behind count up to a multiple of the micro-kernel's group. Where height is no
 * whole number of vectors, up to DK_PACK_SLACK bytes behind it are written too. */
#define DK_PACK_SLACK 64
typedef void (*dk_pack_fn)(const dk_operand *from, int64_t line, int64_t lines, int64_t height, int64_t k,
                           int64_t count, void *to);

/* A tile whose sums come from one place and go to another, while what is needed next comes into L2: C, where it is
 * wide, and B as it streams by are too far away to be waited for, and no machine guesses the rows of C. */
typedef struct dk_tile_part {
    int64_t height, k;
    const void *a, *b;
    const float *from; /* NULL = zeros */
    float *to;
    int64_t from_step, to_step;
    const uint8_t *next_b; /* or NULL */
    int64_t next_b_lines;  /* of 64 bytes, for each `group` of k */
    const float *next_c;   /* the first number of a tile of next_c_rows rows, or NULL */
    int64_t next_c_step, next_c_rows;
} dk_tile_part;

typedef struct dk_micro {
    const char *name;
    int64_t rows, columns;           /* of the largest tile */
    int64_t group;                   /* K is filled up to a multiple of it */
    int64_t k_bytes;                 /* what one number takes in a panel */
    int64_t b_bytes;                 /* the same of B, where it is another; else 0 */
    int64_t block;                   /* K of one pass over C, a multiple of group */
    int32_t own_blocks;              /* the sum of a block begins at zero, so no pass may be longer */
    int64_t a_bytes;                 /* of packed A that L2 holds beside the rest */
    int64_t (*height)(int64_t rows); /* lines of the panel of A for so many rows, at most rows */
    dk_pack_fn pack_a, pack_b;
    /* C [height, columns] (+)= a b, over k numbers of a line (a multiple of group) */
    void (*tile)(int64_t height, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add);
    void (*part)(const dk_tile_part *part); /* the same; NULL = there is none */
    /* The same bits from panels of B that stay BF16, which lines that are rows of memory may be packed into: pays
     * for few rows. NULL = there are none. */
    dk_pack_fn pack_halves;
    void (*tile_halves)(int64_t height, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add);
    /* The same for at most few_rows rows, from lines of F32, F16 or BF16 that are rows of memory and are not packed; a
     * is packed by pack_few, or by pack_a where that is NULL. `rows` of the height are there. few_rows 0 = there is
     * none. few_tails: from panels with fewer lines as well. */
    void (*few)(const dk_operand *b, int64_t line, int64_t rows, int64_t height, int64_t k, int64_t count,
                const void *a, float *c, int64_t c_step, int32_t add);
    dk_pack_fn pack_few;
    int64_t few_rows;
    int32_t few_tails;
    /* How its panels lie, for whoever writes them without a packer: those of B as dk_pack_pairs says, those of A as
     * dk_pack_tiles says. */
    int32_t pairs, tiles;
    void (*begin)(void), (*end)(void); /* around the tiles of one task; NULL = nothing to do */
} dk_micro;

#endif
