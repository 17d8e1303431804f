/* product_few.c - few rows of A by all of B, as product_few.h has it: A packed once into L2, B read once from end to
 * end. A panel of lines that are rows of memory is multiplied where it lies for up to micro->few_rows rows; for more it
 * is packed a block of K at a time, into BF16 pairs where the micro-kernel takes them, and all tiles of A pass by that
 * block while it is in L1. */
#include "compute/cpu/product/product_few.h"

#include "compute/cpu/product/product_parts.h"

#define ROWS_MOST 64
#define A_MOST ((int64_t)512 << 10) /* bytes of packed A: what stays in L2 beside a panel of B */

typedef struct few {
    const dk_product *product;
    const dk_product_rows *rows;
    dk_scratch *workers;
    const uint8_t *a; /* blocks of K behind one another, in each the panels of all rows */
    int64_t a_lines;  /* lines of A in them, with those that fill up the last panel */
    int64_t panel_bytes;
    _Atomic int32_t failed;
} few;

int32_t dk_product_is_few(const dk_product *product)
{
    int64_t rows = product->rows[0].count;
    int32_t is_few =
        product->row_parts == 1 && rows <= ROWS_MOST && rows * product->k * product->micro->k_bytes <= A_MOST;
    for (int64_t i = 0; i < product->column_parts; i++) is_few &= !product->columns[i].b.across;
    return is_few;
}

static int64_t a_lines(const dk_micro *micro, int64_t rows)
{
    int64_t lines = rows / micro->rows * micro->rows;
    return rows > lines ? lines + micro->height(rows - lines) : lines;
}

static void pack_a(const dk_product *product, int64_t lines, uint8_t *to)
{
    const dk_micro *micro = product->micro;
    const dk_pack_fn pack =
        micro->pack_few && product->rows->count <= micro->few_rows ? micro->pack_few : micro->pack_a;
    const dk_product_rows *rows = product->rows;
    for (int64_t k = 0; k < product->k; k += micro->block) {
        int64_t count = dk_least(product->k - k, micro->block);
        uint8_t *at = to + k * lines * micro->k_bytes;
        for (int64_t i = 0; i < rows->count; i += micro->rows) {
            int64_t own = dk_least(rows->count - i, micro->rows), height = micro->height(own);
            pack(&product->a, rows->first + i, own, height, k, count, at);
            at += dk_panel_bytes(micro, height, count);
        }
    }
}

/* ---- a block of K of a panel ---- */
typedef struct piece {
    dk_panel of;
    int64_t k, count;
    const uint8_t *b; /* packed; NULL = it is read where it lies */
    int32_t halves;
} piece;

static int32_t reads_lines(const few *f, const dk_panel *of)
{
    const dk_micro *micro = f->product->micro;
    dk_dtype dtype = of->part->b.dtype;
    return f->rows->count <= micro->few_rows && (of->lines == micro->columns || micro->few_tails) &&
           (dtype == DK_F32 || dtype == DK_F16 || dtype == DK_BF16);
}

static piece open_piece(const few *f, const dk_panel *of, int64_t k, uint8_t *scratch)
{
    const dk_micro *micro = f->product->micro;
    piece p = {.of = *of, .k = k, .count = dk_least(f->product->k - k, micro->block)};
    if (reads_lines(f, of)) return p;
    p.halves = micro->pack_halves && of->part->b.dtype == DK_BF16;
    p.b = scratch;
    (p.halves ? micro->pack_halves : micro->pack_b)(&of->part->b, of->line, of->lines, micro->columns, k, p.count,
                                                    scratch);
    return p;
}

static void tile(const few *f, const piece *p, int64_t rows, int64_t height, const uint8_t *a, float *c, int64_t c_step,
                 int32_t add)
{
    const dk_micro *micro = f->product->micro;
    int64_t k = dk_whole(p->count, micro->group);
    if (!p->b) micro->few(&p->of.part->b, p->of.line, rows, height, p->k, p->count, a, c, c_step, add);
    else if (p->halves) micro->tile_halves(height, k, a, p->b, c, c_step, add);
    else micro->tile(height, k, a, p->b, c, c_step, add);
}

static void multiply(const few *f, const piece *p)
{
    const dk_micro *micro = f->product->micro;
    const dk_product_rows *rows = f->rows;
    const uint8_t *a = f->a + p->k * f->a_lines * micro->k_bytes;
    int32_t add = f->product->add || p->k > 0;
    float edge[DK_TILE_MOST], *c = rows->c + p->of.part->column + p->of.line;
    for (int64_t i = 0; i < rows->count; i += micro->rows, c += micro->rows * rows->c_step) {
        int64_t own = dk_least(rows->count - i, micro->rows), height = micro->height(own);
        if (own == height && p->of.lines == micro->columns) tile(f, p, own, height, a, c, rows->c_step, add);
        else {
            dk_load_tile(micro, edge, c, rows->c_step, own, p->of.lines, add);
            tile(f, p, own, height, a, edge, micro->columns, add);
            dk_store_tile(micro, edge, c, rows->c_step, own, p->of.lines);
        }
        a += dk_panel_bytes(micro, height, p->count);
    }
}

static void panels_body(void *context, int64_t begin, int64_t end)
{
    few *f = context;
    const dk_micro *micro = f->product->micro;
    uint8_t *scratch = dk_scratch_take(f->workers, f->panel_bytes);
    if (!scratch) f->failed = 1;
    if (scratch && micro->begin) micro->begin();
    for (int64_t i = begin; scratch && i < end; i++) {
        dk_panel of = dk_find_panel(f->product, i);
        dk_product_columns part = *of.part; /* fetched ahead is what this task reads, and no more */
        part.b.lines = dk_least(part.b.lines, of.line + (end - i) * micro->columns);
        of.part = &part;
        for (int64_t k = 0; k < f->product->k; k += micro->block) {
            piece p = open_piece(f, &of, k, scratch);
            multiply(f, &p);
        }
    }
    if (scratch && micro->end) micro->end();
    dk_scratch_give(f->workers, scratch);
}

int32_t dk_product_few(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_product *product,
                       int64_t *bytes)
{
    const dk_micro *micro = product->micro;
    few f = {.product = product, .rows = product->rows, .workers = workers};
    int64_t panels = dk_panels(product), one = dk_dtype_bytes(product->columns->b.dtype, micro->columns * product->k);
    if (!f.rows->count || !panels || !product->k) return 1;
    f.a_lines = a_lines(micro, f.rows->count);
    f.panel_bytes = *bytes = dk_b_bytes(micro, dk_least(product->k, micro->block)) + DK_PACK_SLACK;
    if (!dk_scratch_prepare(workers, dk_least(dk_host_threads(host), panels), f.panel_bytes)) return 0;
    *bytes = dk_panel_bytes(micro, f.a_lines, product->k) + DK_PACK_SLACK;
    uint8_t *a = dk_scratch_take(callers, *bytes);
    if (!a) return 0;
    pack_a(product, f.a_lines, a);
    f.a = a;
    dk_parallel_for(host, panels, dk_run_panels(host, panels, one), panels_body, &f);
    dk_scratch_give(callers, a);
    return !f.failed;
}
