/* hidden.c - outputs of blocks row by row: hidden_mse and hidden_cosine, in strips so that nothing but the places
 * themselves grows with the batch. */
#include "features/features_parts.h"

void di_hidden_plan(di_features *f, dk_arena *arena)
{
    const int64_t rows = f->max_rows < DI_FEATURE_STRIP ? f->max_rows : DI_FEATURE_STRIP;
    const dk_dtype real = f->backend->real;
    if (!f->width) return;
    f->where = dk_arena_take(arena, DK_I32, 1, &rows);
    f->own = dk_arena_2d(arena, real, rows, f->width);
    f->made = dk_arena_2d(arena, real, rows, f->width);
    f->given = dk_arena_2d(arena, real, rows, f->width);
    f->back = dk_arena_2d(arena, real, rows, f->width);
}

typedef struct strip {
    const di_feature_call *call;
    const di_pair *pair;
    int64_t first, count, width; /* of unmasked rows; what is compared */
    dk_view own, made, given, back;
    di_host_rows student, teacher, gradient;
    int32_t want_gradient;
} strip;

/* The strip's row r: its value, and its gradient with respect to what is compared. */
static void compare_row(const strip *s, int64_t r, double *scratch)
{
    const di_feature_call *call = s->call;
    const int32_t doubles = call->features->backend->real == DK_F64,
                  squares = call->term->builtin->feature == DI_FEATURE_HIDDEN_MSE;
    const int64_t padded = di_feature_padded(s->width), row = call->features->kept[s->first + r];
    const double share = 1 / (double)call->term->count / (squares ? (double)s->width : 1),
                 weight = share * call->weight * (double)call->batch->weights[row];
    double *y = scratch, *p = scratch + padded, *d = s->want_gradient ? scratch + 2 * padded : NULL, value;
    call->kernels->take(s->student.data + r * s->student.step, doubles, s->width, y);
    call->kernels->take(s->teacher.data + r * s->teacher.step, doubles, s->width, p);
    value = squares ? call->kernels->squared(y, p, s->width, 2 * weight, d)
                    : call->kernels->cosine(y, p, s->width, weight, d);
    call->features->values[s->first + r] += share * value;
    if (!d) return;
    uint8_t *out = s->gradient.data + r * s->gradient.step;
    for (int64_t i = 0; i < s->width; i++)
        if (doubles) ((double *)(void *)out)[i] = d[i];
        else ((float *)(void *)out)[i] = (float)d[i];
}

static void compare(void *context, int64_t begin, int64_t end)
{
    const strip *s = context;
    for (int64_t task = begin; task < end; task++) {
        double *scratch = s->call->features->scratch + task * s->call->features->scratch_size;
        const int64_t slots = s->call->features->slots, last = s->count * (task + 1) / slots;
        for (int64_t r = s->count * task / slots; r < last; r++) compare_row(s, r, scratch);
    }
}

/* Rows of both, and through the projection where there is one. */
static int32_t bring(strip *s, dk_view student, dk_view teacher, dk_error *err)
{
    di_features *f = s->call->features;
    const dk_ops *ops = f->backend->ops;
    const int64_t own_width = s->pair->place[0].width;
    const dk_view where = dk_view_rows(f->where, 0, s->count);
    int32_t rc;
    s->width = s->pair->teacher_place[0].width;
    s->own = dk_view_2d(f->own.buffer, f->own.offset, f->own.dtype, s->count, own_width);
    s->back = dk_view_2d(f->back.buffer, f->back.offset, f->back.dtype, s->count, own_width);
    s->given = dk_view_2d(f->given.buffer, f->given.offset, f->given.dtype, s->count, s->width);
    s->made = s->own;
    ops->copy_in(&f->queue, where, f->numbers + s->first);
    ops->gather_rows(&f->queue, student, where, s->own);
    ops->gather_rows(&f->queue, teacher, where, s->given);
    if (s->pair->projection >= 0) {
        s->made = dk_view_2d(f->made.buffer, f->made.offset, f->made.dtype, s->count, s->width);
        ops->linear_forward(&f->queue, f->linears[s->pair->projection], s->call->batch->precision, s->own, s->made);
    }
    DK_TRY(di_host_read(&f->queue, &f->copied[0], s->made, &s->student, err));
    DK_TRY(di_host_read(&f->queue, &f->copied[1], s->given, &s->teacher, err));
    /* the teacher's rows are read before they are written over */
    if (s->want_gradient) DK_TRY(di_host_place(&f->queue, &f->copied[2], s->given, &s->gradient, err));
out:
    return rc;
}

static int32_t send_back(strip *s, dk_view gradient, dk_error *err)
{
    di_features *f = s->call->features;
    const dk_ops *ops = f->backend->ops;
    const dk_view where = dk_view_rows(f->where, 0, s->count);
    dk_view back = s->given;
    int32_t rc;
    DK_TRY(di_host_write(&f->queue, s->given, &s->gradient, err));
    if (s->pair->projection >= 0) {
        const dk_linear *linear = f->linears[s->pair->projection];
        ops->linear_backward_weight(&f->queue, linear, s->call->batch->precision, s->own, s->given);
        ops->linear_backward_input(&f->queue, linear, s->call->batch->precision, s->given, s->back, 0);
        back = s->back;
    }
    ops->scatter_rows(&f->queue, back, where, gradient, 1);
    DK_TRY(dk_queue_wait(&f->queue, err));
out:
    return rc;
}

int32_t di_hidden_run(const di_feature_call *call, const di_pair *pair, dk_error *err)
{
    const di_features_batch *batch = call->batch;
    dk_view student, teacher, gradient = dk_view_none();
    int32_t rc;
    DK_TRY(batch->student->values(batch->student->self, pair->tap[0], &student, err));
    DK_TRY(batch->teacher->values(batch->teacher->self, pair->teacher_tap[0], &teacher, err));
    if (call->weight != 0) DK_TRY(batch->student->gradient(batch->student->self, pair->tap[0], &gradient, err));
    for (int64_t first = 0; first < call->rows; first += DI_FEATURE_STRIP) {
        strip s = {.call = call, .pair = pair, .first = first, .want_gradient = dk_view_present(gradient)};
        s.count = call->rows - first < DI_FEATURE_STRIP ? call->rows - first : DI_FEATURE_STRIP;
        DK_TRY(bring(&s, student, teacher, err));
        dk_parallel_for(call->features->host, call->features->slots, 1, compare, &s);
        DK_TRY(dk_parallel_check(call->features->host, err));
        if (s.want_gradient) DK_TRY(send_back(&s, gradient, err));
    }
out:
    return rc;
}
