#include "compute/cpu/product/product.h"

#include "base/threads.h"
#include "compute/cpu/product/product_parts.h"

#define SLAB_BYTES ((int64_t)8 << 20) /* of packed panels of B */
#define SLAB_K 2048                   /* about: a multiple of the block is taken */
#define A_BYTES ((int64_t)512 << 10)  /* of packed A: about a quarter of L2 */
#define ROWS_LOW 96                   /* fewer rows of a task are not worth reading all of B for */
#define PANELS_LOW 4                  /* likewise panels, for packing A */

/* ---- the plan of one slab: K and panels of B in a range, cut into tasks ---- */
typedef struct plan {
    const dk_product *product;
    dk_scratch *workers;
    int64_t k_first, k_count;
    int64_t panel_first, panel_count;
    int64_t block_rows, blocks;   /* rows of A of one task; blocks of all row parts */
    int64_t group_panels, groups; /* panels of B of one task */
    int64_t a_bytes, b_bytes;     /* of a task's scratch; b_bytes 0 = it packs no B */
    uint8_t *slab;                /* the packed panels of this range, or NULL */
    _Atomic int32_t failed;
} plan;

static int64_t rows_of(const dk_product *product)
{
    int64_t rows = 0;
    for (int64_t i = 0; i < product->row_parts; i++) rows += product->rows[i].count;
    return rows;
}

static void count_blocks(plan *p, int64_t block_rows)
{
    p->block_rows = block_rows;
    p->blocks = 0;
    for (int64_t i = 0; i < p->product->row_parts; i++)
        p->blocks += (p->product->rows[i].count + block_rows - 1) / block_rows;
}

/* Rows are divided first, since dividing columns packs A once more for each group; both until every thread has about
 * two tasks. */
static void cut(plan *p, int64_t threads)
{
    const dk_micro *micro = p->product->micro;
    int64_t rows = rows_of(p->product), k = dk_least(dk_whole(p->k_count, micro->group), micro->block),
            tasks = threads > 1 ? 2 * threads : 1;
    int64_t most = A_BYTES / (k * micro->k_bytes), wanted = (rows + tasks - 1) / tasks;
    if (wanted < ROWS_LOW) wanted = ROWS_LOW;
    most = most / micro->rows * micro->rows;
    if (most < micro->rows) most = micro->rows;
    count_blocks(p, dk_least(most, dk_whole(dk_least(wanted, rows), micro->rows)));
    int64_t groups = p->blocks < tasks ? (tasks + p->blocks - 1) / p->blocks : 1,
            size = (p->panel_count + groups - 1) / groups;
    p->group_panels = size < PANELS_LOW ? PANELS_LOW : size;
    p->groups = (p->panel_count + p->group_panels - 1) / p->group_panels;
    p->a_bytes = dk_whole(p->block_rows * k * micro->k_bytes + DK_PACK_SLACK, 64);
}

static const void *packed_panel(const plan *p, int64_t index, int64_t k, int64_t count, uint8_t *own)
{
    const dk_micro *micro = p->product->micro;
    dk_panel of = dk_find_panel(p->product, index);
    if (of.part->packed)
        return of.part->packed + of.line / micro->columns * dk_panel_bytes(micro, micro->columns, p->product->k) +
               k * micro->columns * micro->k_bytes;
    if (p->slab)
        return p->slab + (index - p->panel_first) * dk_panel_bytes(micro, micro->columns, p->k_count) +
               (k - p->k_first) * micro->columns * micro->k_bytes;
    micro->pack_b(&of.part->b, of.line, of.lines, micro->columns, k, count, own);
    return own;
}

/* ---- one task ---- */
typedef struct task {
    const plan *plan;
    const dk_product_rows *part;
    int64_t row, rows; /* within the part */
    uint8_t *a, *b;
} task;

/* Where rows of memory lie across the lines, a few of them are cut into all panels before the next few are read. */
static void pack_rows(const task *t, int64_t k, int64_t count)
{
    const dk_product *product = t->plan->product;
    const dk_micro *micro = product->micro;
    int64_t most = product->a.across ? DK_ACROSS_K : count;
    for (int64_t at = 0; at < count; at += most) {
        uint8_t *to = t->a;
        for (int64_t i = 0; i < t->rows; i += micro->rows) {
            int64_t lines = dk_least(t->rows - i, micro->rows), height = micro->height(lines);
            micro->pack_a(&product->a, t->part->first + t->row + i, lines, height, k + at, dk_least(count - at, most),
                          to + at * height * micro->k_bytes);
            to += dk_panel_bytes(micro, height, count);
        }
    }
}

/* A tile that C has no room for goes through a buffer. */
static void partial_tile(const dk_micro *micro, int64_t height, int64_t k, const void *a, const void *b, float *c,
                         int64_t c_step, int64_t rows, int64_t columns, int32_t add)
{
    float tile[DK_TILE_MOST];
    dk_load_tile(micro, tile, c, c_step, rows, columns, add);
    micro->tile(height, k, a, b, tile, micro->columns, add);
    dk_store_tile(micro, tile, c, c_step, rows, columns);
}

static void multiply_panel(const task *t, int64_t index, const void *b, int64_t count, int32_t add)
{
    const dk_micro *micro = t->plan->product->micro;
    dk_panel of = dk_find_panel(t->plan->product, index);
    const uint8_t *a = t->a;
    float *c = t->part->c + t->row * t->part->c_step + of.part->column + of.line;
    int64_t k = dk_whole(count, micro->group);
    for (int64_t i = 0; i < t->rows; i += micro->rows, c += micro->rows * t->part->c_step) {
        int64_t rows = dk_least(t->rows - i, micro->rows), height = micro->height(rows);
        if (rows == height && of.lines == micro->columns) micro->tile(height, k, a, b, c, t->part->c_step, add);
        else partial_tile(micro, height, k, a, b, c, t->part->c_step, rows, of.lines, add);
        a += dk_panel_bytes(micro, height, count);
    }
}

static void run_task(const task *t, int64_t panel_first, int64_t panel_end)
{
    const plan *p = t->plan;
    const dk_micro *micro = p->product->micro;
    if (micro->begin) micro->begin();
    for (int64_t k = p->k_first; k < p->k_first + p->k_count; k += micro->block) {
        int64_t count = dk_least(p->k_first + p->k_count - k, micro->block);
        pack_rows(t, k, count);
        for (int64_t i = panel_first; i < panel_end; i++)
            multiply_panel(t, i, packed_panel(p, i, k, count, t->b), count, p->product->add || k > 0);
    }
    if (micro->end) micro->end();
}

static void tasks_body(void *context, int64_t begin, int64_t end)
{
    plan *p = context;
    uint8_t *scratch = dk_scratch_take(p->workers, p->a_bytes + p->b_bytes);
    if (!scratch) {
        p->failed = 1;
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        task t = {.plan = p, .part = p->product->rows, .a = scratch, .b = scratch + p->a_bytes};
        int64_t block = i % p->blocks, first = p->panel_first + i / p->blocks * p->group_panels;
        for (; block * p->block_rows >= t.part->count; t.part++)
            block -= (t.part->count + p->block_rows - 1) / p->block_rows;
        t.row = block * p->block_rows;
        t.rows = dk_least(t.part->count - t.row, p->block_rows);
        run_task(&t, first, dk_least(first + p->group_panels, p->panel_first + p->panel_count));
    }
    dk_scratch_give(p->workers, scratch);
}

static int32_t run_tasks(dk_host *host, plan *p, int64_t *bytes)
{
    *bytes = p->a_bytes + p->b_bytes;
    if (!dk_scratch_prepare(p->workers, dk_least(dk_host_threads(host), p->blocks * p->groups), *bytes)) return 0;
    dk_parallel_for(host, p->blocks * p->groups, 1, tasks_body, p);
    return !p->failed;
}

/* ---- panels of B that several tasks need ---- */
static void slab_body(void *context, int64_t begin, int64_t end)
{
    const plan *p = context;
    const dk_micro *micro = p->product->micro;
    int64_t bytes = dk_panel_bytes(micro, micro->columns, p->k_count);
    for (int64_t at = 0; at < p->k_count; at += DK_ACROSS_K) {
        for (int64_t i = begin; i < end; i++) {
            dk_panel of = dk_find_panel(p->product, p->panel_first + i);
            int64_t most = of.part->b.across ? DK_ACROSS_K : p->k_count;
            if (most > DK_ACROSS_K && at > 0) continue;
            micro->pack_b(&of.part->b, of.line, of.lines, micro->columns, p->k_first + at,
                          dk_least(p->k_count - at, most), p->slab + i * bytes + at * micro->columns * micro->k_bytes);
        }
    }
}

static int32_t run_slabs(dk_host *host, dk_scratch *callers, plan *p, int64_t panels, int64_t *bytes)
{
    const dk_micro *micro = p->product->micro;
    int64_t k_most = dk_least(SLAB_K / micro->block * micro->block, p->product->k),
            one = dk_panel_bytes(micro, micro->columns, k_most), most = SLAB_BYTES / one > 0 ? SLAB_BYTES / one : 1;
    int32_t ok = 1;
    *bytes = dk_least(most, panels) * one;
    p->slab = dk_scratch_take(callers, *bytes);
    if (!p->slab) return 0;
    for (p->k_first = 0; ok && p->k_first < p->product->k; p->k_first += k_most) {
        p->k_count = dk_least(p->product->k - p->k_first, k_most);
        for (p->panel_first = 0; ok && p->panel_first < panels; p->panel_first += most) {
            p->panel_count = dk_least(panels - p->panel_first, most);
            cut(p, dk_host_threads(host));
            dk_parallel_for(host, p->panel_count, DK_PACK_GRAIN, slab_body, p);
            ok = run_tasks(host, p, bytes);
        }
    }
    dk_scratch_give(callers, p->slab);
    return ok;
}

int32_t dk_product_run(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_product *product,
                       int64_t *bytes)
{
    const dk_micro *micro = product->micro;
    plan p = {.product = product, .workers = workers, .k_count = product->k, .panel_count = dk_panels(product)};
    if (!rows_of(product) || !p.panel_count || !product->k) return 1;
    cut(&p, dk_host_threads(host));
    if (product->columns->packed) return run_tasks(host, &p, bytes);
    if (p.blocks > 1) return run_slabs(host, callers, &p, p.panel_count, bytes);
    p.b_bytes = dk_panel_bytes(micro, micro->columns, dk_least(product->k, micro->block));
    return run_tasks(host, &p, bytes);
}
