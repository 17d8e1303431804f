/* precision.c - what matrix products are formed in, as a recipe asks and the processor can. */
#include "teacher/teacher.h"

#include <string.h>

int32_t di_choose_precision(const dk_backend *backend, const char *wanted, const char *key, dk_precision *out,
                            dk_error *err)
{
    const int32_t native = backend->native >> DK_PRECISION_BF16 & 1;
    const int32_t half = strcmp(wanted, "auto") == 0 ? native : strcmp(wanted, "bf16") == 0;
    *out = half ? DK_PRECISION_BF16 : DK_PRECISION_FULL;
    return dk_check_precision(backend, *out, key, err);
}
