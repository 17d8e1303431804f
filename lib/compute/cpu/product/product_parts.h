/* product_parts.h - what the drivers of products share: panels of B by number, and tiles that C has no room for. */
#ifndef DK_COMPUTE_PRODUCT_PARTS_H
#define DK_COMPUTE_PRODUCT_PARTS_H

#include <string.h>

#include "base/threads.h"
#include "compute/cpu/product/product.h"

#define DK_TILE_MOST (32 * 32) /* floats of the largest tile */

typedef struct dk_panel { /* of B */
    const dk_product_columns *part;
    int64_t line, lines;
} dk_panel;

#define DK_ACROSS_K DK_PACK_ROWS /* rows of memory that are cut into panels at a time */
#define DK_PACK_GRAIN 16         /* panels that a thread packs at a time */

static inline int64_t dk_whole(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t dk_least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t dk_panel_bytes(const dk_micro *micro, int64_t height, int64_t k)
{
    return dk_whole(k, micro->group) * height * micro->k_bytes;
}

static inline int64_t dk_b_number(const dk_micro *micro) { return micro->b_bytes ? micro->b_bytes : micro->k_bytes; }

static inline int64_t dk_b_bytes(const dk_micro *micro, int64_t k)
{
    return dk_whole(k, micro->group) * micro->columns * dk_b_number(micro);
}

static inline int64_t dk_panels_of(const dk_product *product, const dk_product_columns *part)
{
    return (part->count + product->micro->columns - 1) / product->micro->columns;
}

static inline int64_t dk_panels(const dk_product *product)
{
    int64_t panels = 0;
    for (int64_t i = 0; i < product->column_parts; i++) panels += dk_panels_of(product, &product->columns[i]);
    return panels;
}

/* Panels of a GLU are those of gate and up in turns. */
static inline int32_t dk_in_pairs(const dk_product *product) { return product->finish && !product->finish->onto; }

static inline dk_panel dk_find_panel(const dk_product *product, int64_t index)
{
    const dk_product_columns *part = product->columns;
    if (dk_in_pairs(product)) {
        part += index % 2;
        index /= 2;
    }
    for (; index >= dk_panels_of(product, part); part++) index -= dk_panels_of(product, part);
    int64_t line = index * product->micro->columns;
    return (dk_panel){part, line, dk_least(part->count - line, product->micro->columns)};
}

/* How many panels of `bytes` each are one task where B is read once: one run of memory for each thread, cut only where
 * it is long, so that what is fetched ahead is what the same thread reads next. */
#define DK_RUN_BYTES ((int64_t)1 << 20)
static inline int64_t dk_run_panels(const dk_host *host, int64_t panels, int64_t bytes)
{
    int64_t threads = dk_host_threads(host), share = (panels + threads - 1) / threads,
            runs = share * bytes / DK_RUN_BYTES + 1;
    return (share + runs - 1) / runs;
}

/* Rows of a tile, most of which are as wide as that: then the compiler knows how wide. */
static inline void dk_copy_tile(const float *x, int64_t x_step, float *y, int64_t y_step, int64_t rows, int64_t columns)
{
    if (columns == 32)
        for (int64_t r = 0; r < rows; r++) memcpy(y + r * y_step, x + r * x_step, 32 * sizeof *y);
    else
        for (int64_t r = 0; r < rows; r++) memcpy(y + r * y_step, x + r * x_step, (size_t)columns * sizeof *y);
}

static inline void dk_load_tile(const dk_micro *micro, float *tile, const float *c, int64_t c_step, int64_t rows,
                                int64_t columns, int32_t add)
{
    if (!add) return;
    memset(tile, 0, DK_TILE_MOST * sizeof *tile);
    dk_copy_tile(c, c_step, tile, micro->columns, rows, columns);
}

static inline void dk_store_tile(const dk_micro *micro, const float *tile, float *c, int64_t c_step, int64_t rows,
                                 int64_t columns)
{
    dk_copy_tile(tile, micro->columns, c, c_step, rows, columns);
}

#endif
