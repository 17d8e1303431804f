#include "format/format_parts.h"

#include <math.h>
#include <string.h>

static int32_t fail_type(const dk_checkpoint *checkpoint, const char *key, const char *wanted, dk_error *err)
{
    return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is not %s", checkpoint->path, key, wanted);
}

int32_t dk_metadata_i64(const dk_checkpoint *checkpoint, const char *key, int64_t low, int64_t high, int64_t fallback,
                        int64_t *out, dk_error *err)
{
    const dk_metadata *found = dk_metadata_find(checkpoint, key);
    if (!found) {
        *out = fallback;
        return DK_OK;
    }
    if (found->type != DK_META_INT) return fail_type(checkpoint, key, "a whole number", err);
    if (found->i64 < low || found->i64 > high)
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is %lld; %lld to %lld is expected", checkpoint->path,
                       key, (long long)found->i64, (long long)low, (long long)high);
    *out = found->i64;
    return DK_OK;
}

int32_t dk_metadata_f64(const dk_checkpoint *checkpoint, const char *key, double fallback, double *out, dk_error *err)
{
    const dk_metadata *found = dk_metadata_find(checkpoint, key);
    if (!found) {
        *out = fallback;
        return DK_OK;
    }
    if ((found->type != DK_META_FLOAT && found->type != DK_META_INT) || !isfinite(found->f64))
        return fail_type(checkpoint, key, "a finite number", err);
    *out = found->f64;
    return DK_OK;
}

int32_t dk_metadata_bool(const dk_checkpoint *checkpoint, const char *key, int32_t fallback, int32_t *out,
                         dk_error *err)
{
    const dk_metadata *found = dk_metadata_find(checkpoint, key);
    if (found && found->type != DK_META_BOOL) return fail_type(checkpoint, key, "a boolean", err);
    *out = found ? (int32_t)found->i64 : fallback;
    return DK_OK;
}

int32_t dk_metadata_text(const dk_checkpoint *checkpoint, const char *key, char **out, dk_error *err)
{
    const dk_metadata *found = dk_metadata_find(checkpoint, key);
    if (!found) {
        *out = NULL;
        return DK_OK;
    }
    if (found->type != DK_META_TEXT || memchr(found->text.data, 0, found->text.size))
        return fail_type(checkpoint, key, "text", err);
    char *copy = dk_strndup(checkpoint->host, found->text.data, found->text.size);
    if (!copy) return dk_fail_nomem(err, found->text.size + 1);
    *out = copy;
    return DK_OK;
}
