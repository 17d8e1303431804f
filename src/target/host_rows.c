#include "target/host_rows.h"

#include "target/target.h"

void di_staging_free(dk_host *host, di_staging *staging)
{
    dk_free(host, staging->data);
    *staging = (di_staging){0};
}

static int32_t reserve(dk_host *host, di_staging *staging, int64_t bytes, dk_error *err)
{
    if (bytes <= staging->bytes) return DK_OK;
    di_staging_free(host, staging);
    staging->data = dk_alloc(host, 1, (uint64_t)bytes);
    if (!staging->data) return dk_fail_nomem(err, (uint64_t)bytes);
    staging->bytes = bytes;
    return DK_OK;
}

int32_t di_host_place(dk_queue *queue, di_staging *staging, dk_view view, di_host_rows *out, dk_error *err)
{
    const int64_t width = view.shape[view.rank - 1];
    void *in_place = queue->backend->ops->map(view);
    int32_t rc = in_place ? DK_OK
                          : reserve(queue->backend->host, staging,
                                    dk_view_count(&view) * (int64_t)dk_dtype_size(view.dtype), err);
    if (rc) return rc;
    out->data = in_place ? in_place : staging->data;
    out->stride = in_place && view.rank > 1 ? view.stride[0] : width;
    out->step = dk_dtype_bytes(view.dtype, out->stride);
    return DK_OK;
}

int32_t di_host_read(dk_queue *queue, di_staging *staging, dk_view view, di_host_rows *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_host_place(queue, staging, view, out, err));
    if (out->data == staging->data) queue->backend->ops->copy_out(queue, view, out->data);
    DK_TRY(dk_queue_wait(queue, err));
out:
    return rc;
}

int32_t di_host_write(dk_queue *queue, dk_view view, const di_host_rows *rows, dk_error *err)
{
    if (queue->backend->ops->map(view)) return DK_OK;
    queue->backend->ops->copy_in(queue, view, rows->data);
    return dk_queue_wait(queue, err);
}

int32_t di_tensor_of_view(const dk_backend *backend, dk_view view, const char *name, int64_t *shape,
                          distill_tensor *out, dk_error *err)
{
    const int32_t is_float = view.dtype == DK_F32 || view.dtype == DK_F64 || view.dtype == DK_F16;
    void *data = backend->ops->map(view);
    if (!is_float && view.dtype != DK_BF16)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s is %s, which no tensor of the host describes", name,
                       dk_dtype_name(view.dtype));
    if (!data)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s lies in memory of backend %s that the host does not see", name,
                       backend->name);
    for (int32_t i = 0; i < view.rank; i++) shape[i] = view.shape[i];
    *out = di_tensor_of(data, is_float ? DISTILL_FLOAT : DISTILL_BFLOAT, 8 * (int32_t)dk_dtype_size(view.dtype),
                        view.rank, shape);
    return DK_OK;
}
