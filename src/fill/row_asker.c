#include "fill/row_asker.h"

#include <math.h>
#include <string.h>

static dk_host *host_of(const di_row_asker *a) { return a->queue.backend->host; }

void di_row_asker_close(di_row_asker *a)
{
    if (!a->queue.backend) return;
    dk_free(host_of(a), a->rows);
    di_session_free(a->session);
    dk_arena_free(&a->arena);
    dk_queue_close(&a->queue);
    memset(a, 0, sizeof *a);
}

static int32_t open_strip(dk_backend *backend, int64_t most, di_row_asker *a, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int pass = 0; pass < 2; pass++) {
        a->strip = dk_arena_2d(&a->arena, backend->real, most, a->width);
        if (!pass) DK_TRY(dk_arena_commit(&a->arena, err));
    }
    DK_TRY(dk_new(backend->host, most * a->width, &a->rows, err));
out:
    return rc;
}

int32_t di_row_asker_open(dk_backend *backend, di_teacher *teacher, const di_batch *batch, int64_t most,
                          double temperature, di_row_asker *a, dk_error *err)
{
    const int32_t kind = di_teacher_form(teacher)->kind;
    int32_t rc;
    memset(a, 0, sizeof *a);
    if (kind != DISTILL_DENSE && kind != DISTILL_HIDDEN)
        return dk_fail(err, DK_E_UNSUPPORTED, "tiers are compared with a teacher's logits, and this one gives %s",
                       di_kind_name(kind));
    DK_TRY(dk_queue_open(&a->queue, backend, err));
    dk_arena_init(&a->arena, backend);
    DK_TRY(di_session_create(teacher, batch->max_tokens, batch->max_sequences, batch->max_tokens, &a->session, err));
    di_session_set_look(a->session, 1);
    a->most = most;
    a->temperature = temperature;
    a->width = di_session_source(a->session)->width;
    a->formed = di_session_source(a->session)->rows_at != NULL;
    a->scale = a->formed ? 1 : di_session_source(a->session)->temperature / temperature;
    DK_TRY(open_strip(backend, most, a, err));
out:
    if (rc) di_row_asker_close(a);
    return rc;
}

int32_t di_row_asker_begin(di_row_asker *a, const di_batch *window, dk_error *err)
{
    distill_batch batch;
    di_batch_view(window, &batch);
    return di_session_forward(a->session, &batch, err);
}

int32_t di_row_asker_read(di_row_asker *a, int64_t first, int64_t count, dk_error *err)
{
    const di_source *source = di_session_source(a->session);
    const dk_view strip = dk_view_rows(a->strip, 0, count);
    const distill_target *target = NULL;
    int32_t rc;
    if (a->formed) DK_TRY(source->rows_at(source->self, first, count, 1, &a->temperature, &strip, err));
    else DK_TRY(source->rows(source->self, first, count, strip, &target, err));
    a->queue.backend->ops->copy_out(&a->queue, strip, a->rows);
    DK_TRY(dk_queue_wait(&a->queue, err));
    for (int64_t r = 0; r < count; r++) {
        float peak = -INFINITY;
        for (int64_t v = 0; v < source->vocab_valid && !isnan(peak); v++)
            if (!(a->rows[r * a->width + v] <= peak)) peak = a->rows[r * a->width + v];
        if (!isfinite(peak))
            DK_TRY(dk_fail(err, DK_E_NUMERIC, "row %lld: a logit is %s", (long long)(first + r),
                           isnan(peak) ? "nan"
                           : peak > 0  ? "inf"
                                       : "-inf"));
    }
out:
    return rc;
}

int64_t di_row_asker_state_width(di_row_asker *a)
{
    const distill_target *hidden = di_session_hidden(a->session);
    return hidden && hidden->values->dtype_code == DISTILL_FLOAT && hidden->values->dtype_bits == 32
               ? hidden->values->shape[1]
               : 0;
}

void di_row_asker_get_states(di_row_asker *a, int64_t first, int64_t count, float *out)
{
    di_tensor_read_rows(di_session_hidden(a->session)->values, first, count, out);
}

void di_row_asker_set_states(di_row_asker *a, int64_t first, int64_t count, const float *states)
{
    di_tensor_write_rows(di_session_hidden(a->session)->values, first, count, states, 0);
}
