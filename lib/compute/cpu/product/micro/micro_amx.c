/* micro_amx.c - BF16 by AMX: tiles of 32 rows and 32 columns, which are 2 x 2 of the processor's.
 *
 * Why 2 x 2: four sums, two tiles of A and two of B are all eight. A step of 32 k loads four tiles for four products
 * of 16 cycles each, so loading (8 cycles a tile from L1, about 20 from L2) stays below multiplying while A comes out
 * of L2 and B out of L1. One tile each would load twice as much.
 *
 * Layout. A row of a tile of A is 32 k of one line, 64 bytes; the tiles of 32 lines lie one behind the other, k by k.
 * A row of a tile of B is one pair of k of 16 lines; the pairs of 32 lines lie side by side, so a row of the second
 * tile is 64 bytes behind that of the first. Up to 16 rows of C take the upper two sums alone.
 *
 * Sums begin at what C holds and go on from one block of K to the next, so a block has no bits of its own. Of 256 k a
 * panel of B and one of A are 16 KiB each: with longer ones A would drive B out of L1. Four tiles of sums are loaded
 * and stored for 32 products then, out of L2, which costs a tenth.
 *
 * Waiting for memory would cost half: eight steps a tile are over before one line has come from beyond L2. So each step
 * fetches its share of the next piece of B and of the rows of C where the next tile goes. */
#include "compute/cpu/product/micro/amx_tiles.h"
#include "compute/cpu/product/micro/micro_list.h"
#include "compute/cpu/product/micro/pack_pairs.h"
#include "compute/cpu/product/micro/tile_part.h"

enum { ROW = 64, B_STEP = 128 }; /* bytes of a row of a tile, from one row of a tile of B to the next */

static int64_t height(int64_t rows) { return rows > 16 ? 32 : 16; }

static void part_16(const dk_tile_part *part)
{
    const uint8_t *a = part->a, *b = part->b;
    const int64_t from_step = part->from_step * (int64_t)sizeof(float), step = part->to_step * (int64_t)sizeof(float);
    dk_tile_ahead next = dk_tile_ahead_of(part, part->k / DK_TILE_K);
    if (part->from) {
        DK_TILE_LOAD(0, part->from, from_step);
        DK_TILE_LOAD(1, part->from + 16, from_step);
    } else {
        DK_TILE_ZERO(0);
        DK_TILE_ZERO(1);
    }
    for (int64_t k = part->k; k > 0; k -= DK_TILE_K, a += 16 * ROW, b += 16 * B_STEP) {
        DK_TILE_LOAD(4, a, ROW);
        DK_TILE_LOAD(6, b, B_STEP);
        DK_TILE_LOAD(7, b + ROW, B_STEP);
        DK_TILE_DOT(0, 4, 6);
        DK_TILE_DOT(1, 4, 7);
        dk_tile_fetch(&next);
    }
    DK_TILE_STORE(0, part->to, step);
    DK_TILE_STORE(1, part->to + 16, step);
}

static void part_32(const dk_tile_part *part)
{
    const uint8_t *a = part->a, *b = part->b;
    const int64_t from_step = part->from_step * (int64_t)sizeof(float), step = part->to_step * (int64_t)sizeof(float);
    dk_tile_ahead next = dk_tile_ahead_of(part, part->k / DK_TILE_K);
    if (part->from) {
        const float *below = part->from + 16 * part->from_step;
        DK_TILE_LOAD(0, part->from, from_step);
        DK_TILE_LOAD(1, part->from + 16, from_step);
        DK_TILE_LOAD(2, below, from_step);
        DK_TILE_LOAD(3, below + 16, from_step);
    } else {
        DK_TILE_ZERO(0);
        DK_TILE_ZERO(1);
        DK_TILE_ZERO(2);
        DK_TILE_ZERO(3);
    }
    for (int64_t k = part->k; k > 0; k -= DK_TILE_K, a += 32 * ROW, b += 16 * B_STEP) {
        DK_TILE_LOAD(6, b, B_STEP);
        DK_TILE_LOAD(4, a, ROW);
        DK_TILE_DOT(0, 4, 6);
        DK_TILE_LOAD(7, b + ROW, B_STEP);
        DK_TILE_DOT(1, 4, 7);
        dk_tile_fetch(&next);
        DK_TILE_LOAD(5, a + 16 * ROW, ROW);
        DK_TILE_DOT(2, 5, 6);
        DK_TILE_DOT(3, 5, 7);
    }
    float *below = part->to + 16 * part->to_step;
    DK_TILE_STORE(0, part->to, step);
    DK_TILE_STORE(1, part->to + 16, step);
    DK_TILE_STORE(2, below, step);
    DK_TILE_STORE(3, below + 16, step);
}

static void part(const dk_tile_part *of)
{
    if (of->height == 32) part_32(of);
    else part_16(of);
}

static void tile(int64_t rows, int64_t k, const void *a, const void *b, float *c, int64_t c_step, int32_t add)
{
    const dk_tile_part all = dk_tile_part_in(rows, k, a, b, c, c_step, add);
    part(&all);
}

#ifndef DK_MICRO_AMX
#define DK_MICRO_AMX dk_micro_amx
#endif
const dk_micro DK_MICRO_AMX = {.name = "amx",
                               .rows = 32,
                               .columns = 32,
                               .group = DK_TILE_K,
                               .k_bytes = sizeof(uint16_t),
                               .block = 256,
                               .a_bytes = 1024 << 10,
                               .height = height,
                               .pack_a = dk_pack_tiles,
                               .pack_b = dk_pack_tile_pairs,
                               .tile = tile,
                               .part = part,
                               .pairs = 1,
                               .tiles = 1,
                               .begin = dk_tiles_begin,
                               .end = dk_tiles_end};
