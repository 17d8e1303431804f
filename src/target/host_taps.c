#include "target/host_taps.h"

#include <math.h>
#include <string.h>

#include "target/host_rows.h"

typedef struct tap {
    int64_t index; /* of the host's */
    int64_t width;
    dk_view values, gradient;   /* [max_tokens, width] */
    int32_t is_read, is_graded; /* of the batch under work */
} tap;
struct di_host_taps {
    di_host_taps_spec spec;
    di_taps functions;
    tap *taps; /* [count] as asked for */
    int64_t count;
    dk_arena arena;
    dk_queue queue;
    di_staging copied;
    const distill_batch *batch;
};

/* ---- what a host says ---- */

static int32_t check_tap(const distill_tap *t, int64_t index, dk_error *err)
{
    if (t->kind < DISTILL_TAP_OUTPUT || t->kind > DISTILL_TAP_VALUES)
        return dk_fail(err, DK_E_INVALID, "taps[%lld].kind %d is none of DISTILL_TAP_OUTPUT ...", (long long)index,
                       (int)t->kind);
    if (t->width < 1 || t->width > INT32_MAX || t->layer < 0 || t->layer > INT32_MAX)
        return dk_fail(err, DK_E_INVALID, "taps[%lld]: layer %lld, width %lld; layers count from 0, widths from 1",
                       (long long)index, (long long)t->layer, (long long)t->width);
    if (t->heads < 0 || (t->heads > 0 && t->width % t->heads))
        return dk_fail(err, DK_E_INVALID, "taps[%lld]: %lld heads do not divide a width of %lld", (long long)index,
                       (long long)t->heads, (long long)t->width);
    if (t->window < 0 || !isfinite(t->scale) || !(t->softcap >= 0) || !isfinite(t->softcap))
        return dk_fail(err, DK_E_INVALID, "taps[%lld]: window %lld, scale %g, softcap %g; none is below 0 or infinite",
                       (long long)index, (long long)t->window, t->scale, t->softcap);
    return DK_OK;
}

int32_t di_host_taps_copy(dk_host *host, const distill_tap *taps, int64_t count, distill_tap **out, dk_error *err)
{
    const uint32_t size = count > 0 && taps ? taps->struct_size : 0;
    int32_t rc;
    if (count < 0 || count > INT32_MAX || (count > 0 && !taps))
        return dk_fail(err, DK_E_INVALID, "taps is %s and tap_count %lld", taps ? "given" : "NULL", (long long)count);
    if (count > 0) DK_TRY(di_check_struct(taps, "taps", offsetof(distill_tap, softcap) + sizeof taps->softcap, err));
    DK_TRY(dk_new(host, count + 1, out, err));
    for (int64_t i = 0; i < count; i++) {
        memcpy(&(*out)[i], (const uint8_t *)taps + i * size, size < sizeof **out ? size : sizeof **out);
        DK_TRY(check_tap(&(*out)[i], i, err));
    }
out:
    return rc;
}

int32_t di_host_taps_place(const distill_tap *taps, int64_t count, const char *owner, const dk_tap_spec *tap_spec,
                           int64_t *index, di_place *out, dk_error *err)
{
    for (int64_t i = 0; i < count; i++) {
        const distill_tap *t = &taps[i];
        if (t->kind != (int32_t)tap_spec->kind) continue;
        if (di_tap_has_layer(tap_spec->kind) && t->layer != tap_spec->layer) continue;
        if (index) *index = i;
        *out = (di_place){.width = t->width, .heads = t->heads, .window = t->window, .scale = t->scale};
        out->softcap = t->softcap;
        if (out->scale == 0 && t->heads) out->scale = 1 / sqrt((double)t->width / (double)t->heads);
        return DK_OK;
    }
    if (!di_tap_has_layer(tap_spec->kind))
        return dk_fail(err, DK_E_UNSUPPORTED, "%s is the host's own, and its taps have no %s", owner,
                       di_tap_name(tap_spec->kind));
    return dk_fail(err, DK_E_UNSUPPORTED, "%s is the host's own, and its taps have no %s of block %lld", owner,
                   di_tap_name(tap_spec->kind), (long long)tap_spec->layer);
}

/* ---- at work ---- */

static int32_t judge(const di_host_taps *t, const char *what, int64_t index, int32_t code, dk_error *err)
{
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "%s's %s stopped at tap %lld", t->spec.owner, what, (long long)index);
    dk_fail(err, DK_E_CALLBACK, "%s's %s returned %d for tap %lld", t->spec.owner, what, (int)code, (long long)index);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static distill_tensor tensor_of(const di_host_rows *rows, int64_t shape[2], int64_t strides[2])
{
    distill_tensor tensor = di_tensor_of(rows->data, DISTILL_FLOAT, 32, 2, shape);
    strides[0] = rows->stride;
    strides[1] = 1;
    tensor.strides = strides;
    return tensor;
}

static int32_t call_read(di_host_taps *t, const tap *at, const distill_tensor *tensor, dk_error *err)
{
    if (t->spec.busy && atomic_exchange(t->spec.busy, 1))
        return dk_fail(err, DK_E_BUSY, "%s's callbacks run in another thread, and its table has no DISTILL_CB_MT",
                       t->spec.owner);
    const int32_t code = t->spec.read(t->spec.user, t->batch, at->index, tensor);
    if (t->spec.busy) atomic_store(t->spec.busy, 0);
    return judge(t, "read_tap", at->index, code, err);
}

static int64_t tokens_of(const di_host_taps *t) { return t->batch->offsets[t->batch->sequences]; }

static int32_t values(void *self, int64_t index, dk_view *out, dk_error *err)
{
    di_host_taps *t = self;
    tap *at = &t->taps[index];
    int64_t shape[2] = {tokens_of(t), at->width}, strides[2];
    di_host_rows rows;
    int32_t rc = DK_OK;
    *out = dk_view_rows(at->values, 0, shape[0]);
    if (at->is_read) return DK_OK;
    DK_TRY(di_host_place(&t->queue, &t->copied, *out, &rows, err));
    const distill_tensor tensor = tensor_of(&rows, shape, strides);
    DK_TRY(call_read(t, at, &tensor, err));
    DK_TRY(di_host_write(&t->queue, *out, &rows, err));
    DK_TRY(dk_queue_wait(&t->queue, err));
    at->is_read = 1;
out:
    return rc;
}

static int32_t gradient(void *self, int64_t index, dk_view *out, dk_error *err)
{
    di_host_taps *t = self;
    tap *at = &t->taps[index];
    *out = dk_view_rows(at->gradient, 0, tokens_of(t));
    if (at->is_graded) return DK_OK;
    at->is_graded = 1;
    t->spec.backend->ops->fill(&t->queue, *out, 0);
    return dk_queue_wait(&t->queue, err);
}

static int32_t finish(void *self, dk_error *err)
{
    di_host_taps *t = self;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < t->count; i++) {
        tap *at = &t->taps[i];
        int64_t shape[2] = {tokens_of(t), at->width}, strides[2];
        di_host_rows rows;
        if (!at->is_graded) continue;
        DK_TRY(di_host_read(&t->queue, &t->copied, dk_view_rows(at->gradient, 0, shape[0]), &rows, err));
        const distill_tensor tensor = tensor_of(&rows, shape, strides);
        DK_TRY(judge(t, "tap_gradient", at->index, t->spec.gradient(t->spec.user, t->batch, at->index, &tensor), err));
    }
out:
    return rc;
}

void di_host_taps_begin(di_host_taps *t, const distill_batch *batch)
{
    t->batch = batch;
    for (int64_t i = 0; i < t->count; i++) t->taps[i].is_read = t->taps[i].is_graded = 0;
}

const di_taps *di_host_taps_of(const di_host_taps *t) { return &t->functions; }

static void plan(di_host_taps *t)
{
    for (int64_t i = 0; i < t->count; i++) {
        const int64_t rows = t->spec.max_tokens > 0 ? t->spec.max_tokens : 1;
        t->taps[i].values = dk_arena_2d(&t->arena, t->spec.backend->real, rows, t->taps[i].width);
        if (t->spec.gradient)
            t->taps[i].gradient = dk_arena_2d(&t->arena, t->spec.backend->real, rows, t->taps[i].width);
    }
}

int32_t di_host_taps_create(const di_host_taps_spec *spec, di_host_taps **out, dk_error *err)
{
    di_host_taps *t = NULL;
    int32_t rc;
    DK_TRY(dk_new(spec->backend->host, 1, &t, err));
    t->spec = *spec;
    t->functions = (di_taps){t, values, spec->gradient ? gradient : NULL, spec->gradient ? finish : NULL};
    dk_arena_init(&t->arena, spec->backend);
    DK_TRY(dk_queue_open(&t->queue, spec->backend, err));
    DK_TRY(dk_new(spec->backend->host, spec->asked->count + 1, &t->taps, err));
    while (t->count < spec->asked->count) {
        tap *at = &t->taps[t->count];
        di_place place;
        DK_TRY(di_host_taps_place(spec->taps, spec->tap_count, spec->owner, &spec->asked->taps[t->count], &at->index,
                                  &place, err));
        at->width = place.width;
        t->count++;
    }
    plan(t);
    if (t->count) DK_TRY(dk_arena_commit(&t->arena, err));
    plan(t);
    *out = t;
    t = NULL;
out:
    di_host_taps_free(t);
    return rc;
}

void di_host_taps_free(di_host_taps *t)
{
    if (!t) return;
    dk_host *host = t->spec.backend->host;
    dk_arena_free(&t->arena);
    di_staging_free(host, &t->copied);
    dk_queue_close(&t->queue);
    dk_free(host, t->taps);
    dk_free(host, t);
}
