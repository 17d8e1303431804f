/* What holds for any backend: its end, and what it can be asked for. */
#include "compute/compute.h"

const char *dk_precision_name(dk_precision precision)
{
    static const char *const names[] = {"full", "bf16", "int8"};
    return (uint32_t)precision < sizeof names / sizeof *names ? names[precision] : "?";
}

int32_t dk_check_precision(const dk_backend *backend, dk_precision precision, const char *what, dk_error *err)
{
    if ((uint32_t)precision < 32 && backend->precisions >> precision & 1) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: backend %s has no products in precision %s", what, backend->name,
                   dk_precision_name(precision));
}

void dk_backend_free(dk_backend *backend)
{
    if (backend) backend->destroy(backend);
}
