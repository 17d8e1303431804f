/* squares.c - how large the gradient of one term is, row by row, before it joins those of the others. */
#include "loss/loss_parts.h"

typedef struct di_measure_rows {
    const di_chunk *chunk;
    const float *gradient; /* [rows, vocab] */
    double factor;         /* from its square to that of dL/dlogits */
    double *out;           /* [rows] */
} di_measure_rows;

static void square_rows(void *context, int64_t begin, int64_t end)
{
    const di_measure_rows *m = context;
    const di_chunk *chunk = m->chunk;
    const di_rows *kernels = chunk->strip->kernels;
    for (int64_t r = begin; r < end; r++) {
        const float *h = m->gradient + r * chunk->vocab;
        const di_logits *q = chunk->logs ? &chunk->student_logits[r] : NULL;
        m->out[r] = m->factor * kernels->squares(q, h, chunk->vocab, chunk->sums[r]);
    }
}

void di_chunk_squares(di_chunk *chunk, const di_term *term, const di_entry *entry, const float *gradient)
{
    const double scale = di_term_t_squared(term, entry) / (chunk->logs ? chunk->temperature : 1);
    double *out = chunk->strip->squares + (term - chunk->strip->terms) * chunk->strip->capacity + chunk->first;
    di_measure_rows rows = {chunk, gradient, scale * scale, out};
    dk_parallel_for(chunk->host, chunk->rows, 16, square_rows, &rows);
}
