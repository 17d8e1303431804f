/* reference_access.inc.h - reading and writing one element of a view, whatever its dtype. */

/* A view of any rank as [row, column]: row counts through all dimensions but the last. */
static int64_t place(const dk_view *view, int64_t row, int64_t column)
{
    int64_t at = column * view->stride[view->rank - 1];
    if (view->rank == 2) at += row * view->stride[0];
    if (view->rank == 3) at += row / view->shape[1] * view->stride[0] + row % view->shape[1] * view->stride[1];
    return at;
}

/* Column 0 alone where elements come in blocks. */
static uint8_t *element(const dk_view *view, int64_t row, int64_t column)
{
    return (uint8_t *)dk_buffer_map(*view) + dk_dtype_bytes(view->dtype, place(view, row, column));
}

static int64_t rows_of(const dk_view *view)
{
    return view->rank == 1 ? 1 : view->rank == 2 ? view->shape[0] : view->shape[0] * view->shape[1];
}

static int64_t width_of(const dk_view *view) { return view->shape[view->rank - 1]; }

static REAL get_of_block(const dk_view *view, int64_t row, int64_t column)
{
    const dk_dtype_info *type = dk_dtype_find(view->dtype);
    float values[256];
    const void *block = element(view, row, column - column % type->block);
    /* no op lets another dtype than blocks through its check */
    return dk_blocks_widen(view->dtype, block, values, type->block) ? (REAL)values[column % type->block] : (REAL)NAN;
}

static REAL get(const dk_view *view, int64_t row, int64_t column)
{
    const void *data = dk_buffer_map(*view);
    switch (view->dtype) {
    case DK_F32:
        return (REAL)((const float *)data)[place(view, row, column)];
    case DK_F64:
        return (REAL)((const double *)data)[place(view, row, column)];
    case DK_F16:
        return (REAL)dk_widen_f16(((const uint16_t *)data)[place(view, row, column)]);
    case DK_BF16:
        return (REAL)dk_widen_bf16(((const uint16_t *)data)[place(view, row, column)]);
    default:
        return get_of_block(view, row, column);
    }
}

static void put(const dk_view *view, int64_t row, int64_t column, REAL value)
{
    void *data = dk_buffer_map(*view);
    int64_t at = place(view, row, column);
    switch (view->dtype) {
    case DK_F32:
        ((float *)data)[at] = (float)value;
        break;
    case DK_F64:
        ((double *)data)[at] = (double)value;
        break;
    case DK_F16:
        ((uint16_t *)data)[at] = dk_narrow_f16((float)value);
        break;
    case DK_BF16:
        ((uint16_t *)data)[at] = dk_narrow_bf16((float)value);
        break;
    default:
        break;
    }
}

static void add_to(const dk_view *view, int64_t row, int64_t column, REAL value)
{
    put(view, row, column, get(view, row, column) + value);
}

static int64_t id_at(const dk_view *ids, int64_t i) { return *(const int32_t *)element(ids, 0, i); }

static double *scalar_of(const dk_view *view) { return dk_buffer_map(*view); }
