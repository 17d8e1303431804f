/* reference_route.inc.h - rows that go to experts, and what comes back from them. */

static int32_t *chosen_at(const dk_view *chosen, int64_t r, int64_t i)
{
    return (int32_t *)(void *)element(chosen, r, i);
}

static int32_t is_before(const dk_view *chosen, int64_t r, int64_t count, int64_t e)
{
    for (int64_t i = 0; i < count; i++)
        if (*chosen_at(chosen, r, i) == e) return 1;
    return 0;
}

/* Number i of a row: the highest of what is left, the lowest id of several. */
static int32_t next_of(const dk_view *logits, const dk_view *chosen, int64_t r, int64_t i)
{
    int32_t best = -1;
    for (int64_t e = 0; e < width_of(logits); e++)
        if (!is_before(chosen, r, i, e) && (best < 0 || get(logits, r, e) > get(logits, r, best))) best = (int32_t)e;
    return best;
}

static void op_route(dk_queue *queue, dk_view logits, int32_t alone, dk_view chosen, dk_view weights)
{
    if (!dk_check_route(queue, &logits, &chosen, &weights)) return;
    for (int64_t r = 0; r < rows_of(&logits); r++) {
        REAL sum = 0, top = 0;
        for (int64_t i = 0; i < width_of(&weights); i++) *chosen_at(&chosen, r, i) = next_of(&logits, &chosen, r, i);
        top = get(&logits, r, *chosen_at(&chosen, r, 0));
        for (int64_t e = 0; e < width_of(&logits); e++)
            if (!alone || is_before(&chosen, r, width_of(&weights), e)) sum += exp(get(&logits, r, e) - top);
        for (int64_t i = 0; i < width_of(&weights); i++)
            put(&weights, r, i, exp(get(&logits, r, *chosen_at(&chosen, r, i)) - top) / sum);
    }
}

static void op_scatter_weighted(dk_queue *queue, dk_view x, dk_view rows, dk_view weights, dk_view y)
{
    if (!dk_check_scatter_weighted(queue, &x, &rows, &weights, &y)) return;
    for (int64_t i = 0; i < rows_of(&x); i++)
        for (int64_t c = 0; c < width_of(&x); c++) add_to(&y, id_at(&rows, i), c, get(&weights, 0, i) * get(&x, i, c));
}

static void fill_route(dk_ops *ops)
{
    ops->route = op_route;
    ops->scatter_weighted = op_scatter_weighted;
}
