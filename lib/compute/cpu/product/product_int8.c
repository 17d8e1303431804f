/* product_int8.c - products with quantised weights, as product_int8.h has them.
 *
 * Rows of x are rounded first, all of them, into blocks that lie as the kernel reads them. Then each thread has one run
 * of panels (kernel->lanes lines, all of K): all rows pass by a panel while it is in L1, and 16 KiB further on the
 * weights are fetched into L2, so memory sees one long read for each thread. The last panel of a weight begins earlier
 * than it should, so that it is whole; fewer lines than a panel are filled up with the last one. */
#include "compute/cpu/product/product_int8.h"

#include <string.h>

#include "compute/cpu/product/product_parts.h"

#define TASK_NUMBERS 16384 /* of activations, about */
/* How far ahead weights are fetched: what arrives while a core multiplies for longer than memory lets wait. */
#define AHEAD_BYTES ((int64_t)16 << 10)

typedef struct int8_work {
    const dk_int8_product *product;
    dk_int8_rows rows;
    dk_scratch *workers;
    int64_t panel_bytes, distance; /* panels that what is fetched lies ahead */
    _Atomic int32_t failed;
} int8_work;

static void quantise_body(void *context, int64_t begin, int64_t end)
{
    const int8_work *w = context;
    const dk_int8_product *p = w->product;
    for (int64_t r = begin; r < end; r++)
        p->finite[r] = (uint8_t)p->kernel->quantise(p->columns->b.dtype, p->x + r * p->x_step, &w->rows, r);
}

static int64_t panels_of(const dk_int8_product *p, const dk_product_columns *part)
{
    return (part->count + p->kernel->lanes - 1) / p->kernel->lanes;
}

static int64_t line_bytes(const dk_product_columns *part) { return dk_dtype_bytes(part->b.dtype, part->b.step); }

/* Fewer lines than a panel has, with the last one in the place of those that are missing. */
static const uint8_t *fill_up(const int8_work *w, const dk_product_columns *part, uint8_t *to)
{
    const int64_t step = line_bytes(part), used = dk_dtype_bytes(part->b.dtype, w->product->k);
    for (int64_t l = 0; l < w->product->kernel->lanes; l++)
        memcpy(to + l * step, part->b.data + dk_least(l, part->count - 1) * step, (size_t)used);
    return to;
}

typedef struct place { /* of a panel */
    const dk_product_columns *part;
    int64_t line;
} place;

static place find(const dk_int8_product *p, int64_t panel)
{
    const dk_product_columns *part = p->columns;
    for (; panel >= panels_of(p, part); part++) panel -= panels_of(p, part);
    return (place){part, panel * p->kernel->lanes};
}

/* NULL = it has fewer lines, or is another thread's. */
static const uint8_t *whole_panel(const dk_int8_product *p, int64_t panel, int64_t end)
{
    if (panel >= end) return NULL;
    const place at = find(p, panel);
    if (at.line + p->kernel->lanes > at.part->count) return NULL;
    return at.part->b.data + at.line * line_bytes(at.part);
}

/* A panel at the end begins earlier, and what it has in common with the one before is left out. */
static void multiply(const int8_work *w, place at, const uint8_t *ahead, uint8_t *scratch)
{
    const dk_int8_product *p = w->product;
    const dk_product_columns *part = at.part;
    const int64_t lanes = p->kernel->lanes, line = at.line, lines = dk_least(part->count - line, lanes),
                  step = line_bytes(part);
    float *c = p->y + part->column + line, *edge = (float *)(void *)scratch;
    if (lines == lanes) {
        p->kernel->panel(part->b.dtype, part->b.data + line * step, step, ahead, &w->rows, c, p->y_step);
        return;
    }
    const int32_t few = part->count < lanes;
    const uint8_t *b = few ? fill_up(w, part, scratch + p->rows * lanes * (int64_t)sizeof *edge)
                           : part->b.data + (part->count - lanes) * step;
    p->kernel->panel(part->b.dtype, b, step, ahead, &w->rows, edge, lanes);
    for (int64_t r = 0; r < p->rows; r++)
        memcpy(c + r * p->y_step, edge + r * lanes + (few ? 0 : lanes - lines), (size_t)lines * sizeof *edge);
}

static int64_t scratch_bytes(const dk_int8_product *p)
{
    int64_t widest = 0;
    for (int64_t i = 0; i < p->column_parts; i++) {
        int64_t bytes = line_bytes(&p->columns[i]);
        if (p->columns[i].count < p->kernel->lanes && bytes > widest) widest = bytes;
    }
    return p->kernel->lanes * (p->rows * (int64_t)sizeof(float) + widest) + DK_PACK_SLACK;
}

/* What no panel before it would bring. */
static void fetch_panel(const int8_work *w, int64_t panel, int64_t end)
{
    const uint8_t *at = whole_panel(w->product, panel, end);
    for (int64_t i = 0; at && i < w->panel_bytes; i += 64) DK_FETCH_FAR(at + i);
}

static void panels_body(void *context, int64_t begin, int64_t end)
{
    int8_work *w = context;
    const dk_int8_product *p = w->product;
    uint8_t *scratch = dk_scratch_take(w->workers, scratch_bytes(p));
    const int32_t on_tiles = scratch && dk_int8_on_tiles(p->kernel, p->rows);
    if (!scratch) w->failed = 1;
    if (on_tiles) p->kernel->begin();
    for (int64_t i = 0; scratch && i < w->distance; i++) fetch_panel(w, begin + i, end);
    for (int64_t i = begin; scratch && i < end; i++)
        multiply(w, find(p, i), whole_panel(p, i + w->distance, end), scratch);
    if (on_tiles) p->kernel->end();
    dk_scratch_give(w->workers, scratch);
}

static int64_t height_of(const dk_int8_product *p)
{
    return dk_int8_in_groups(p->kernel, p->columns->b.dtype, p->rows) ? DK_INT8_GROUP : p->rows;
}

/* Of all rows, with those that fill up the last group. */
static int64_t blocks_of(const dk_int8_product *p) { return dk_whole(p->rows, height_of(p)) * (p->k / DK_INT8_BLOCK); }

static int64_t rows_bytes(const dk_int8_product *p)
{
    const int64_t sums = dk_int8_halves_of(p->columns->b.dtype) ? 2 : 1;
    return blocks_of(p) * (DK_INT8_BLOCK + (int64_t)sizeof(float) + sums * (int64_t)(sizeof(float) + sizeof(int32_t)));
}

static dk_int8_rows lay_out(const dk_int8_product *p, uint8_t *memory)
{
    const int64_t blocks = blocks_of(p);
    dk_int8_rows rows = {.q = (int8_t *)memory, .count = p->rows, .k = p->k, .height = height_of(p)};
    rows.in_groups = dk_int8_in_groups(p->kernel, p->columns->b.dtype, p->rows);
    rows.scale = (float *)(void *)(memory + blocks * DK_INT8_BLOCK);
    rows.sum = rows.scale + blocks;
    rows.start = (int32_t *)(void *)(rows.sum + blocks);
    if (!dk_int8_halves_of(p->columns->b.dtype)) return rows;
    rows.sum_second = (float *)(void *)(rows.start + blocks);
    rows.start_second = (int32_t *)(void *)(rows.sum_second + blocks);
    return rows;
}

/* Rows that the last group lacks weigh nothing: whatever stood there could be slow to add. */
static void fill_group(const dk_int8_rows *rows)
{
    if (rows->count % rows->height == 0) return;
    const int64_t at = dk_int8_at(rows, rows->count, 0), count = rows->k / DK_INT8_BLOCK * rows->height;
    memset(rows->scale + at, 0, (size_t)count * sizeof *rows->scale);
    memset(rows->sum + at, 0, (size_t)count * sizeof *rows->sum);
    if (rows->sum_second) memset(rows->sum_second + at, 0, (size_t)count * sizeof *rows->sum_second);
}

int32_t dk_product_int8(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_int8_product *product,
                        int64_t *bytes)
{
    int8_work w = {.product = product, .workers = workers};
    int64_t panels = 0, one = 1;
    for (int64_t i = 0; i < product->column_parts; i++) {
        panels += panels_of(product, &product->columns[i]);
        one = product->kernel->lanes * line_bytes(&product->columns[i]);
    }
    if (!product->rows || !panels) return 1;
    w.panel_bytes = one;
    w.distance = AHEAD_BYTES / one + 1;
    *bytes = scratch_bytes(product);
    if (!dk_scratch_prepare(workers, dk_least(dk_host_threads(host), panels), *bytes)) return 0;
    *bytes = rows_bytes(product);
    uint8_t *memory = dk_scratch_take(callers, *bytes);
    if (!memory) return 0;
    w.rows = lay_out(product, memory);
    fill_group(&w.rows);
    dk_parallel_for(host, product->rows, TASK_NUMBERS / product->k + 1, quantise_body, &w);
    dk_parallel_for(host, panels, dk_run_panels(host, panels, one), panels_body, &w);
    dk_scratch_give(callers, memory);
    return !w.failed;
}
