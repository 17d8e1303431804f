#include "compute/cpu/cpu.h"

#include "compute/half.h"

#define PIECE 16384 /* elements: what makes waking a thread worth it */

void dk_cpu_no_memory(dk_queue *queue, const char *op, int64_t bytes)
{
    dk_queue_fail(queue, DK_E_NOMEM, "%s: no memory for %lld bytes of scratch", op, (long long)bytes);
}

int64_t dk_cpu_grain(int64_t cost) { return cost >= PIECE ? 1 : PIECE / (cost > 0 ? cost : 1); }

/* Views without gaps are one long row; else rows stay what they are. */
dk_sweep dk_sweep_make(dk_queue *queue, dk_piece_fn piece, int64_t count, const dk_view *const *views)
{
    dk_sweep sweep = {.piece = piece, .kernels = dk_kernels_of(queue), .count = count};
    int64_t rows = 1, elements = dk_view_count(views[0]);
    int32_t flat = 1;
    for (int64_t i = 0; i < count; i++) {
        if (!views[i]->buffer) continue;
        flat &= dk_view_is_compact(views[i]);
        sweep.dtype[i] = views[i]->dtype;
        sweep.rows[i] = dk_rows_of(views[i]);
        rows = sweep.rows[i].rows;
    }
    if (elements == 0) return sweep;
    for (int64_t i = 0; flat && i < count; i++)
        sweep.rows[i] = (dk_rows){.data = sweep.rows[i].data, .rows = 1, .width = elements, .inner = 1};
    if (flat) rows = 1;
    sweep.width = elements / rows;
    sweep.pieces = (sweep.width + PIECE - 1) / PIECE;
    sweep.units = rows * sweep.pieces;
    return sweep;
}

void dk_sweep_units(const dk_sweep *sweep, int64_t begin, int64_t end)
{
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t first = unit % sweep->pieces * PIECE, left = sweep->width - first;
        void *at[DK_SWEEP_VIEWS] = {NULL};
        for (int64_t i = 0; i < sweep->count; i++) {
            if (sweep->rows[i].data)
                at[i] =
                    (uint8_t *)dk_row(&sweep->rows[i], unit / sweep->pieces) + dk_dtype_bytes(sweep->dtype[i], first);
        }
        sweep->piece(sweep, at, left < PIECE ? left : PIECE);
    }
}

static void sweep_body(void *context, int64_t begin, int64_t end) { dk_sweep_units(context, begin, end); }

void dk_sweep_run(dk_queue *queue, dk_sweep *sweep)
{
    dk_parallel_for(queue->backend->host, sweep->units, dk_cpu_grain(sweep->width), sweep_body, sweep);
}

const float *dk_cpu_widen(const dk_kernels *kernels, dk_dtype dtype, const void *x, float *y, int64_t n)
{
    switch (dtype) {
    case DK_F32:
        return x;
    case DK_BF16:
        kernels->widen_bf16(x, y, n);
        break;
    case DK_F16:
        kernels->widen_f16(x, y, n);
        break;
    case DK_F64:
        for (int64_t i = 0; i < n; i++) y[i] = (float)((const double *)x)[i];
        break;
    default:
        return kernels->widen_blocks(dtype, x, y, n) ? y : NULL;
    }
    return y;
}

void dk_cpu_widen_rows(const dk_kernels *kernels, const dk_view *matrix, int64_t first, int64_t count, float *to)
{
    const dk_rows rows = dk_rows_of(matrix);
    for (int64_t r = 0; r < count; r++, to += rows.width) {
        const float *row = dk_cpu_widen(kernels, matrix->dtype, dk_row(&rows, first + r), to, rows.width);
        if (row && row != to) memcpy(to, row, (size_t)rows.width * sizeof *to);
    }
}

void dk_cpu_narrow(const dk_kernels *kernels, const float *x, dk_dtype dtype, void *y, int64_t n)
{
    switch (dtype) {
    case DK_F32:
        memmove(y, x, (size_t)n * sizeof *x);
        break;
    case DK_BF16:
        kernels->narrow_bf16(x, y, n);
        break;
    case DK_F16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)y)[i] = dk_narrow_f16(x[i]);
        break;
    case DK_F64:
        for (int64_t i = 0; i < n; i++) ((double *)y)[i] = (double)x[i];
        break;
    default: /* no check lets another dtype through */
        break;
    }
}
