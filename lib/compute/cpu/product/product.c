/* product.c - cuts a product into tasks (product.h says by what). Blocks of A are as high as half of L2 holds; there
 * are as many for each thread as for any other, or the panels of B are divided, too, whichever moves fewer lines
 * between caches and memory. Where B is not packed by one task alone it is packed in slabs of 8 MB by all threads, and
 * a long K is cut into ranges, each of which adds to C. */
#include "compute/cpu/product/product.h"

#include "base/threads.h"
#include "compute/cpu/product/product_plan.h"

#define SLAB_BYTES ((int64_t)8 << 20) /* of packed panels of B */
#define SLAB_K 2048                   /* about: a multiple of the block is taken */
#define SLAB_ROWS 128                 /* of A, that K is cut for */
#define ROWS_MOST 512                 /* of a block: their sums on the way stay in L2 as well */
#define ROWS_LOW 96                   /* fewer rows of a task are not worth reading all of B for */
#define PANELS_LOW 6                  /* likewise panels, for reading A */

static int64_t rows_of(const dk_product *product)
{
    int64_t rows = 0;
    for (int64_t i = 0; i < product->row_parts; i++) rows += product->rows[i].count;
    return rows;
}

static void count_blocks(dk_plan *p, int64_t block_rows)
{
    p->block_rows = block_rows;
    p->blocks = 0;
    for (int64_t i = 0; i < p->product->row_parts; i++)
        p->blocks += (p->product->rows[i].count + block_rows - 1) / block_rows;
}

static void count_groups(dk_plan *p, int64_t tasks)
{
    int64_t groups = p->blocks < tasks ? (tasks + p->blocks - 1) / p->blocks : 1,
            size = (p->panel_count + groups - 1) / groups;
    p->group_panels = dk_whole(size < PANELS_LOW ? PANELS_LOW : size, 2); /* pairs stay together */
    p->groups = (p->panel_count + p->group_panels - 1) / p->group_panels;
}

/* Lines that pass between the caches of threads and memory: B goes by each block; A that several tasks share is written
 * to be read by each, else it never leaves L2. */
static int64_t lines_moved(const dk_plan *p)
{
    int64_t b = p->panel_count * p->product->micro->columns, a = rows_of(p->product);
    return p->blocks * b + (p->groups > 1 ? (2 + p->groups) * a : 0);
}

/* As many blocks for every thread as for any other, so that all of A is the task's own. */
static void cut_evenly(dk_plan *p, int64_t threads, int64_t most)
{
    const dk_micro *micro = p->product->micro;
    int64_t rows = rows_of(p->product), moved = lines_moved(p);
    for (int64_t each = 2; each > 0; each--) {
        dk_plan other = *p;
        count_blocks(&other, dk_whole((rows + each * threads - 1) / (each * threads), micro->rows));
        if (other.blocks % threads || other.block_rows < ROWS_LOW || other.block_rows > most) continue;
        other.groups = 1;
        other.group_panels = p->panel_count;
        if (lines_moved(&other) >= moved) continue;
        *p = other;
        break;
    }
}

/* Blocks of rows as high as A fits its cache, since all of B passes by each of them; then panels are divided, and where
 * these are few the blocks get lower, until every thread has a few tasks. */
static void cut(dk_plan *p, int64_t threads)
{
    const dk_micro *micro = p->product->micro;
    int64_t rows = rows_of(p->product), k = dk_whole(p->k_count, micro->group), tasks = threads > 1 ? 4 * threads : 1,
            most = dk_least(micro->a_bytes / (k * micro->k_bytes), ROWS_MOST) / micro->rows * micro->rows;
    if (most < micro->rows) most = micro->rows;
    most = dk_least(most, dk_whole(rows, micro->rows));
    count_blocks(p, most);
    count_groups(p, tasks);
    while (p->blocks * p->groups < 2 * threads && p->block_rows / 2 >= ROWS_LOW && threads > 1) {
        count_blocks(p, dk_whole(p->block_rows / 2, micro->rows));
        count_groups(p, tasks);
    }
    if (threads > 1 && p->groups > 1) cut_evenly(p, threads, most);
    p->a_step = dk_whole(dk_panel_bytes(micro, micro->rows, k) + (micro->rows % 16 ? DK_PACK_SLACK : 0), 64);
    p->sum_floats = p->block_rows * micro->columns;
    p->c_bytes =
        p->product->finish || micro->part ? (1 + dk_in_pairs(p->product)) * p->sum_floats * (int64_t)sizeof(float) : 0;
    p->a_bytes = p->groups > 1 ? 0 : dk_block_panels(p) * p->a_step;
}

static int32_t run_tasks(dk_host *host, dk_scratch *callers, dk_plan *p, int64_t *bytes)
{
    int64_t panels = p->blocks * dk_block_panels(p), tasks = p->blocks * p->groups;
    int32_t ok = 1;
    if (p->groups > 1) {
        *bytes = panels * p->a_step;
        if (!(p->a = dk_scratch_take(callers, *bytes))) return 0;
        dk_parallel_for(host, panels, 1 + panels / (4 * dk_host_threads(host)), dk_plan_pack_a, p);
    }
    *bytes = p->a_bytes + p->b_bytes + p->c_bytes;
    ok = dk_scratch_prepare(p->workers, dk_least(dk_host_threads(host), tasks), *bytes);
    if (ok) dk_parallel_for(host, tasks, 1, dk_plan_tasks, p);
    dk_scratch_give(callers, p->a);
    p->a = NULL;
    return ok && !p->failed;
}

static int32_t run_slabs(dk_host *host, dk_scratch *callers, dk_plan *p, int64_t panels, int64_t *bytes)
{
    const dk_micro *micro = p->product->micro;
    int64_t one = dk_b_bytes(micro, p->k_count), most = SLAB_BYTES / one / 2 > 0 ? SLAB_BYTES / one / 2 * 2 : 2;
    int32_t ok = 1;
    *bytes = dk_least(most, panels) * one;
    p->slab = dk_scratch_take(callers, *bytes);
    if (!p->slab) return 0;
    for (p->panel_first = 0; ok && p->panel_first < panels; p->panel_first += most) {
        p->panel_count = dk_least(panels - p->panel_first, most);
        cut(p, dk_host_threads(host));
        dk_parallel_for(host, p->panel_count, DK_PACK_GRAIN, dk_plan_pack_b, p);
        ok = run_tasks(host, callers, p, bytes);
    }
    dk_scratch_give(callers, p->slab);
    p->slab = NULL;
    return ok;
}

/* Of K at a time: what leaves room for some rows of A. */
static int64_t k_range(const dk_micro *micro)
{
    int64_t k = dk_least(micro->a_bytes / (SLAB_ROWS * micro->k_bytes), SLAB_K) / micro->block * micro->block;
    return k > micro->block ? k : micro->block;
}

int32_t dk_product_finishes(const dk_micro *micro, int64_t k) { return k > 0 && k <= k_range(micro); }

int32_t dk_product_run(dk_host *host, dk_scratch *workers, dk_scratch *callers, const dk_product *product,
                       int64_t *bytes)
{
    const dk_micro *micro = product->micro;
    dk_plan p = {.product = product, .workers = workers};
    int64_t panels = dk_panels(product), most = k_range(micro);
    int32_t ok = 1;
    if (!rows_of(product) || !panels) return 1;
    for (p.k_first = 0; ok && p.k_first < product->k; p.k_first += most) {
        p.k_count = dk_least(product->k - p.k_first, most);
        p.piece = p.k_count <= micro->block * 3 / 2 && !micro->own_blocks ? p.k_count : micro->block;
        p.panel_first = 0;
        p.panel_count = panels;
        cut(&p, dk_host_threads(host));
        p.b_bytes = product->columns->packed || p.blocks > 1 ? 0 : dk_b_bytes(micro, p.k_count);
        ok = product->columns->packed || p.b_bytes ? run_tasks(host, callers, &p, bytes)
                                                   : run_slabs(host, callers, &p, panels, bytes);
    }
    return ok;
}
