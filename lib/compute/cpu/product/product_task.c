/* product_task.c - carries out what product.c has cut: packs, and multiplies a block of A by one panel of B after the
 * other, tile by tile. While a tile is multiplied, the piece of B behind the one in L1 and the rows of C that the next
 * tile writes are fetched, a few lines of the cache at each step: all at once would fill the places where a core waits
 * for memory. */
#include "compute/cpu/product/product_plan.h"

/* ---- packing ---- */
typedef struct block { /* of rows of A */
    const dk_product_rows *part;
    int64_t row, rows; /* within the part */
} block;

static block block_of(const dk_plan *p, int64_t index)
{
    block b = {.part = p->product->rows};
    for (; index * p->block_rows >= b.part->count; b.part++)
        index -= (b.part->count + p->block_rows - 1) / p->block_rows;
    b.row = index * p->block_rows;
    b.rows = dk_least(b.part->count - b.row, p->block_rows);
    return b;
}

/* k [at, at + count) of the range, of the panel that begins `line` rows into the block. */
static void pack_panel(const dk_plan *p, const block *b, int64_t line, int64_t at, int64_t count, uint8_t *to)
{
    const dk_micro *micro = p->product->micro;
    int64_t lines = dk_least(b->rows - line, micro->rows), height = micro->height(lines);
    micro->pack_a(&p->product->a, b->part->first + b->row + line, lines, height, p->k_first + at, count,
                  to + line / micro->rows * p->a_step + at * height * micro->k_bytes);
}

/* Where rows of memory lie across the lines, a few of them are cut into all panels before the next few are read. */
static void pack_lines(const dk_plan *p, const block *b, int64_t line, int64_t end, uint8_t *to)
{
    int64_t most = p->product->a.across ? DK_ACROSS_K : p->k_count;
    for (int64_t at = 0; at < p->k_count; at += most)
        for (int64_t i = line; i < end; i += p->product->micro->rows)
            pack_panel(p, b, i, at, dk_least(p->k_count - at, most), to);
}

void dk_plan_pack_a(void *plan, int64_t begin, int64_t end)
{
    const dk_plan *p = plan;
    int64_t panels = dk_block_panels(p), rows = p->product->micro->rows;
    while (begin < end) {
        int64_t index = begin / panels, first = begin % panels, last = dk_least(panels, first + end - begin);
        block b = block_of(p, index);
        pack_lines(p, &b, first * rows, dk_least(last * rows, b.rows), p->a + index * panels * p->a_step);
        begin += last - first;
    }
}

void dk_plan_pack_b(void *plan, int64_t begin, int64_t end)
{
    const dk_plan *p = plan;
    const dk_micro *micro = p->product->micro;
    int64_t bytes = dk_b_bytes(micro, p->k_count);
    for (int64_t at = 0; at < p->k_count; at += DK_ACROSS_K) {
        for (int64_t i = begin; i < end; i++) {
            dk_panel of = dk_find_panel(p->product, p->panel_first + i);
            int64_t most = of.part->b.across ? DK_ACROSS_K : p->k_count;
            if (most > DK_ACROSS_K && at > 0) continue;
            micro->pack_b(&of.part->b, of.line, of.lines, micro->columns, p->k_first + at,
                          dk_least(p->k_count - at, most),
                          p->slab + i * bytes + at * micro->columns * dk_b_number(micro));
        }
    }
}

/* A panel of B over the range of K; NULL = it is not packed. */
static const uint8_t *packed_panel(const dk_plan *p, const dk_panel *of, int64_t index)
{
    const dk_micro *micro = p->product->micro;
    if (of->part->packed)
        return of->part->packed + of->line / micro->columns * dk_b_bytes(micro, p->product->k) +
               p->k_first * micro->columns * dk_b_number(micro);
    return p->slab ? p->slab + (index - p->panel_first) * dk_b_bytes(micro, p->k_count) : NULL;
}

/* ---- one task ---- */
typedef struct task {
    const dk_plan *plan;
    block of;
    const uint8_t *a;
    uint8_t *b; /* where it packs a panel of B */
    float *c;   /* sums on their way: the tiles of one panel, `columns` wide, one below the other */
} task;

typedef struct column { /* a panel of B, and C under it */
    dk_panel of;
    const uint8_t *b, *next; /* the panel behind it, NULL = there is none that is packed */
    float *c;                /* at the first row of the block: C, or where sums wait for what finishes them */
    int64_t c_step;
    int32_t waits;
    const float *fetch; /* where it waits: what will be needed then */
    int64_t fetch_step;
} column;

static float *c_of(const task *t, const dk_panel *of)
{
    return t->of.part->c + t->of.row * t->of.part->c_step + of->part->column + of->line;
}

/* Sums that wait lie where those on their way do. */
static void wait_for_finish(const task *t, int64_t index, column *c)
{
    const dk_product *product = t->plan->product;
    const dk_product_finish *finish = product->finish;
    const int64_t second = dk_in_pairs(product) ? index % 2 : 0;
    const float *to = finish->onto ? finish->onto : finish->active;
    c->waits = 1;
    c->fetch_step = finish->onto ? finish->onto_step : finish->active_step;
    c->fetch = finish->onto || second ? to + t->of.row * c->fetch_step + c->of.line : NULL;
    c->c = t->c + second * t->plan->sum_floats;
    c->c_step = product->micro->columns;
}

static column open_column(const task *t, int64_t index, int64_t end)
{
    const dk_plan *p = t->plan;
    const dk_micro *micro = p->product->micro;
    column c = {.of = dk_find_panel(p->product, index), .c_step = t->of.part->c_step};
    c.c = c_of(t, &c.of);
    if (p->product->finish) wait_for_finish(t, index, &c);
    c.b = packed_panel(p, &c.of, index);
    if (!c.b) {
        micro->pack_b(&c.of.part->b, c.of.line, c.of.lines, micro->columns, p->k_first, p->k_count, t->b);
        c.b = t->b;
    } else if (index + 1 < end) {
        dk_panel next = dk_find_panel(p->product, index + 1);
        c.next = packed_panel(p, &next, index + 1);
    }
    return c;
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

/* Tile by tile in C, a block of K of the panel after the other. */
static void multiply(const task *t, const column *at)
{
    const dk_plan *p = t->plan;
    const dk_micro *micro = p->product->micro;
    for (int64_t k = 0; k < p->k_count; k += micro->block) {
        int64_t count = dk_whole(dk_least(p->k_count - k, micro->block), micro->group);
        const uint8_t *b = at->b + k * micro->columns * dk_b_number(micro);
        int32_t add = p->product->add || p->k_first + k > 0;
        for (int64_t i = 0; i < t->of.rows; i += micro->rows) {
            int64_t rows = dk_least(t->of.rows - i, micro->rows), height = micro->height(rows);
            const uint8_t *a = t->a + i / micro->rows * p->a_step + k * height * micro->k_bytes;
            float *c = at->c + i * at->c_step;
            if (at->waits || (rows == height && at->of.lines == micro->columns))
                micro->tile(height, count, a, b, c, at->c_step, add);
            else partial_tile(micro, height, count, a, b, c, at->c_step, rows, at->of.lines, add);
        }
    }
}

/* ---- the same where sums are on their way in a place of their own, and what comes next is fetched ---- */
/* A piece of B is fetched by the tiles of the piece before it, so many lines of the cache at each of their steps. */
static void fetch_b(const task *t, const column *at, int64_t k, dk_tile_part *part)
{
    const dk_plan *p = t->plan;
    const dk_micro *micro = p->product->micro;
    int64_t next = k + p->piece < p->k_count ? k + p->piece : 0,
            bytes = dk_b_bytes(micro, dk_least(p->k_count - next, p->piece)),
            steps = (t->of.rows + micro->rows - 1) / micro->rows * (part->k / micro->group);
    part->next_b = next ? at->b + next * micro->columns * dk_b_number(micro) : at->next;
    part->next_b_lines = part->next_b ? (bytes / 64 + steps - 1) / steps : 0;
}

/* Where sums wait, the rows of the tile itself: it is finished when all tiles are. */
static void fetch_waiting(const task *t, const column *at, int64_t row, dk_tile_part *part)
{
    part->next_c_step = at->fetch_step;
    part->next_c_rows = dk_least(t->of.rows - row, t->plan->product->micro->rows);
    part->next_c = at->fetch ? at->fetch + row * at->fetch_step : NULL;
}

static void fetch_c(const task *t, const column *at, int64_t row, dk_tile_part *part)
{
    const dk_micro *micro = t->plan->product->micro;
    const int64_t below = row + micro->rows;
    part->next_c_step = t->of.part->c_step;
    part->next_c_rows = dk_least(below < t->of.rows ? t->of.rows - below : t->of.rows, micro->rows);
    if (below < t->of.rows) part->next_c = at->c + below * part->next_c_step;
    else if (at->next) part->next_c = at->c + micro->columns;
}

/* One tile over one block of K: from C, zeros or the sums on their way, to C or these. */
static void run_part(const task *t, const column *at, int64_t row, int64_t k, dk_tile_part *part)
{
    const dk_plan *p = t->plan;
    const dk_micro *micro = p->product->micro;
    int64_t rows = dk_least(t->of.rows - row, micro->rows), step = at->c_step;
    int32_t first = k == 0, last = k + p->piece >= p->k_count, add = p->product->add || p->k_first > 0,
            whole = at->waits || (rows == part->height && at->of.lines == micro->columns);
    float *c = at->c + row * step, *on = at->waits ? c : t->c + row * micro->columns;
    if (first && add && !whole) dk_load_tile(micro, on, c, step, rows, at->of.lines, add);
    part->from = first && !add ? NULL : first && whole ? c : on;
    part->from_step = part->from == c ? step : micro->columns;
    part->to = last && whole ? c : on;
    part->to_step = last && whole ? step : micro->columns;
    part->next_c = NULL;
    if (at->waits && first) fetch_waiting(t, at, row, part);
    else if (!at->waits && (last || (first && add))) fetch_c(t, at, row, part);
    micro->part(part);
    if (last && !whole) dk_store_tile(micro, on, c, step, rows, at->of.lines);
    if (part->next_b) part->next_b += part->next_b_lines * 64 * (part->k / micro->group);
}

static void multiply_parts(const task *t, const column *at)
{
    const dk_plan *p = t->plan;
    const dk_micro *micro = p->product->micro;
    for (int64_t k = 0; k < p->k_count; k += p->piece) {
        dk_tile_part part = {.k = dk_whole(dk_least(p->k_count - k, p->piece), micro->group)};
        part.b = at->b + k * micro->columns * dk_b_number(micro);
        fetch_b(t, at, k, &part);
        for (int64_t i = 0; i < t->of.rows; i += micro->rows) {
            part.height = micro->height(dk_least(t->of.rows - i, micro->rows));
            part.a = t->a + i / micro->rows * p->a_step + k * part.height * micro->k_bytes;
            run_part(t, at, i, k, &part);
        }
    }
}

static void run_task(const dk_plan *p, int64_t index, uint8_t *scratch)
{
    const dk_micro *micro = p->product->micro;
    int64_t number = index / p->groups, first = p->panel_first + index % p->groups * p->group_panels,
            end = dk_least(first + p->group_panels, p->panel_first + p->panel_count);
    task t = {.plan = p,
              .of = block_of(p, number),
              .a = p->a ? p->a + number * dk_block_panels(p) * p->a_step : scratch + p->c_bytes,
              .b = scratch + p->c_bytes + p->a_bytes,
              .c = (float *)(void *)scratch};
    if (!p->a) pack_lines(p, &t.of, 0, t.of.rows, scratch + p->c_bytes);
    if (micro->begin) micro->begin();
    for (int64_t i = first; i < end; i++) {
        column at = open_column(&t, i, end);
        if (micro->part) multiply_parts(&t, &at);
        else multiply(&t, &at);
        if (p->product->finish && (i % 2 || !dk_in_pairs(p->product))) dk_plan_finish(p, i, t.of.row, t.of.rows, t.c);
    }
    if (micro->end) micro->end();
}

void dk_plan_tasks(void *plan, int64_t begin, int64_t end)
{
    dk_plan *p = plan;
    uint8_t *scratch = dk_scratch_take(p->workers, p->c_bytes + p->a_bytes + p->b_bytes);
    if (!scratch) p->failed = 1;
    for (int64_t i = begin; scratch && i < end; i++) run_task(p, i, scratch);
    dk_scratch_give(p->workers, scratch);
}
