/* amx_tiles.h - the instructions on AMX tiles that a product needs: eight tiles of 16 rows of 64 bytes.
 *
 * TDPBF16PS, as Intel documents it: for a row of A and a column of B the products of even k and those of odd k are two
 * chains of fused multiply-adds from zero, in order of k; their sum is added to C. All is rounded to nearest even,
 * denormals are zero on the way in and out, and MXCSR has no say. The twin in plain C does just that where the compiler
 * has not been told of the instructions: its bits are theirs. Numbers of tiles must be constants. */
#ifndef DK_COMPUTE_AMX_TILES_H
#define DK_COMPUTE_AMX_TILES_H

#include <string.h>

#include "compute/cpu/product/micro/bf16_twin.h"

#if defined(__AMX_BF16__)
#include <immintrin.h>

#define DK_TILE_ZERO(tile) _tile_zero(tile)
#define DK_TILE_LOAD(tile, from, step) _tile_loadd(tile, from, step)
#define DK_TILE_STORE(tile, to, step) _tile_stored(tile, to, step)
#define DK_TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)

typedef struct dk_tile_shapes { /* what LDTILECFG reads */
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} dk_tile_shapes;

static inline void dk_tiles_begin(void)
{
    dk_tile_shapes shapes;
    memset(&shapes, 0, sizeof shapes);
    shapes.palette = 1;
    for (int i = 0; i < 8; i++) {
        shapes.bytes[i] = 64;
        shapes.rows[i] = 16;
    }
    __asm__ volatile("" : : "m"(shapes) : "memory"); /* gcc 12 drops the stores: it does not see that they are read */
    _tile_loadconfig(&shapes);
}

static inline void dk_tiles_end(void) { _tile_release(); }
#else
#define DK_TILE_ZERO(tile) dk_twin_zero(tile)
#define DK_TILE_LOAD(tile, from, step) dk_twin_load(tile, from, step)
#define DK_TILE_STORE(tile, to, step) dk_twin_store(tile, to, step)
#define DK_TILE_DOT(c, a, b) dk_twin_dot(c, a, b)

static _Thread_local uint32_t dk_twin_tiles[8][16][16];

static inline void dk_tiles_begin(void) { memset(dk_twin_tiles, 0, sizeof dk_twin_tiles); }
static inline void dk_tiles_end(void) {}
static inline void dk_twin_zero(int tile) { memset(dk_twin_tiles[tile], 0, sizeof dk_twin_tiles[tile]); }

static inline void dk_twin_load(int tile, const void *from, int64_t step)
{
    for (int r = 0; r < 16; r++) memcpy(dk_twin_tiles[tile][r], (const uint8_t *)from + r * step, 64);
}

static inline void dk_twin_store(int tile, void *to, int64_t step)
{
    for (int r = 0; r < 16; r++) memcpy((uint8_t *)to + r * step, dk_twin_tiles[tile][r], 64);
}

static inline void dk_twin_dot(int c, int a, int b)
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float even = 0, odd = 0;
            for (int k = 0; k < 16; k++) {
                uint32_t x = dk_twin_tiles[a][m][k], y = dk_twin_tiles[b][k][n];
                even = dk_twin_fma(dk_twin_low(x), dk_twin_low(y), even);
                odd = dk_twin_fma(dk_twin_high(x), dk_twin_high(y), odd);
            }
            float sum = dk_twin_add(dk_float_from_bits(dk_twin_tiles[c][m][n]), dk_twin_add(even, odd));
            dk_twin_tiles[c][m][n] = dk_bits_from_float(sum);
        }
}
#endif

#endif
