/* int8_tiles.h - the instructions on AMX tiles that a product of whole numbers needs. Shapes: sums are 16 lines
 * of 16 rows, weights 16 lines of 32 bytes, activations 8 times four numbers of 16 rows; for K-quants the two change
 * places, and where these have two scales in a block both are half as long. Sums are exact, so the twin in
 * plain C, which stands where the compiler has not been told of the instructions, has their bits. Numbers of tiles must
 * be constants: 0 and 1 are sums, 2 and 3 halves of both operands, 4 and 5 weights, 6 and 7 activations. */
#ifndef DK_COMPUTE_INT8_TILES_H
#define DK_COMPUTE_INT8_TILES_H

#include <stdint.h>
#include <string.h>

enum { INT8_TILES = 8 };

typedef struct int8_tile_shapes { /* what LDTILECFG reads */
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} int8_tile_shapes;

static inline void int8_shape_tiles(int8_tile_shapes *shapes)
{
    static const uint8_t bytes[INT8_TILES] = {64, 64, 16, 64, 32, 32, 64, 64},
                         rows[INT8_TILES] = {16, 16, 16, 4, 16, 16, 8, 8};
    memset(shapes, 0, sizeof *shapes);
    shapes->palette = 1;
    for (int i = 0; i < INT8_TILES; i++) shapes->bytes[i] = bytes[i], shapes->rows[i] = rows[i];
}

#if defined(__AMX_INT8__)
#include <immintrin.h>

#define INT8_TILE_ZERO(tile) _tile_zero(tile)
#define INT8_TILE_LOAD(tile, from, step) _tile_loadd(tile, from, step)
#define INT8_TILE_STORE(tile, to, step) _tile_stored(tile, to, step)
#define INT8_TILE_DOT(c, a, b) _tile_dpbssd(c, a, b)

static void int8_tiles_begin(void)
{
    int8_tile_shapes shapes;
    int8_shape_tiles(&shapes);
    __asm__ volatile("" : : "m"(shapes) : "memory"); /* gcc 12 drops the stores: it does not see that they are read */
    _tile_loadconfig(&shapes);
}

static void int8_tiles_end(void) { _tile_release(); }
#else
#define INT8_TILE_ZERO(tile) int8_twin_zero(tile)
#define INT8_TILE_LOAD(tile, from, step) int8_twin_load(tile, from, step)
#define INT8_TILE_STORE(tile, to, step) int8_twin_store(tile, to, step)
#define INT8_TILE_DOT(c, a, b) int8_twin_dot(c, a, b)

static _Thread_local struct {
    int8_tile_shapes shapes;
    int8_t tile[INT8_TILES][16][64];
} int8_twin;

static void int8_tiles_begin(void)
{
    memset(&int8_twin, 0, sizeof int8_twin);
    int8_shape_tiles(&int8_twin.shapes);
}

static void int8_tiles_end(void) { int8_twin.shapes.palette = 0; }
static inline void int8_twin_zero(int tile) { memset(int8_twin.tile[tile], 0, sizeof int8_twin.tile[tile]); }

static inline void int8_twin_load(int tile, const void *from, int64_t step)
{
    for (int r = 0; r < int8_twin.shapes.rows[tile]; r++)
        memcpy(int8_twin.tile[tile][r], (const uint8_t *)from + r * step, int8_twin.shapes.bytes[tile]);
}

static inline void int8_twin_store(int tile, void *to, int64_t step)
{
    for (int r = 0; r < int8_twin.shapes.rows[tile]; r++)
        memcpy((uint8_t *)to + r * step, int8_twin.tile[tile][r], int8_twin.shapes.bytes[tile]);
}

static inline void int8_twin_dot(int c, int a, int b)
{
    for (int m = 0; m < int8_twin.shapes.rows[a]; m++)
        for (int n = 0; n < 16; n++) {
            int32_t sum;
            memcpy(&sum, int8_twin.tile[c][m] + 4 * n, sizeof sum);
            for (int k = 0; k < int8_twin.shapes.bytes[a]; k++)
                sum += int8_twin.tile[a][m][k] * int8_twin.tile[b][k / 4][4 * n + k % 4];
            memcpy(int8_twin.tile[c][m] + 4 * n, &sum, sizeof sum);
        }
}
#endif

#endif
