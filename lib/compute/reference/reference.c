#include "compute/reference/reference.h"

#include "compute/check.h"

static void destroy(dk_backend *backend)
{
    dk_host *host = backend->host;
    dk_free(host, backend->state);
    dk_free(host, backend);
    dk_host_release(host);
}

int32_t dk_backend_reference(dk_host *host, dk_dtype real, dk_backend **out, dk_error *err)
{
    dk_backend *backend = NULL;
    dk_ops *ops = NULL;
    int32_t rc;
    if (real != DK_F32 && real != DK_F64)
        return dk_fail(err, DK_E_INVALID, "the reference computes in f32 or f64, not %s", dk_dtype_name(real));
    DK_TRY(dk_new(host, 1, &backend, err));
    DK_TRY(dk_new(host, 1, &ops, err));
    if (real == DK_F32) dk_reference_fill_f32(ops);
    else dk_reference_fill_f64(ops);
    backend->ops = ops;
    backend->state = ops;
    backend->host = dk_host_retain(host);
    backend->real = real;
    backend->reads = DK_TYPES_FLOAT | DK_TYPES_BLOCKS;
    backend->invariant_rows = INT64_MAX;
    backend->precisions = backend->native = 1u << DK_PRECISION_FULL;
    backend->isa = DK_ISA_PORTABLE;
    backend->products = "reference";
    backend->name = real == DK_F32 ? "reference-f32" : "reference-f64";
    backend->destroy = destroy;
    *out = backend;
    return DK_OK;
out:
    dk_free(host, backend);
    return rc;
}
