/* One key of a GGUF file's metadata at a time, and one of the config.json that is made of them. */
#include "model/gguf_source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIZE_LIMIT = 1 << 30 };

/* ---- keys of the file ---- */
static const dk_metadata *find(const dk_gguf_source *in, const char *suffix, char key[96])
{
    const dk_metadata *found = dk_metadata_find(in->file, dk_gguf_key(in, suffix, key));
    if (found) in->asked[found - dk_metadata_at(in->file, 0)] = 1;
    return found;
}

const char *dk_gguf_key(const dk_gguf_source *in, const char *suffix, char out[96])
{
    snprintf(out, 96, "%s.%s", in->row->gguf, suffix);
    return out;
}

int32_t dk_gguf_has(const dk_gguf_source *in, const char *suffix)
{
    char key[96];
    return find(in, suffix, key) != NULL;
}

int32_t dk_gguf_get_size(const dk_gguf_source *in, const char *suffix, int64_t fallback, int64_t *out, dk_error *err)
{
    char key[96];
    (void)find(in, suffix, key);
    int32_t rc = dk_metadata_i64(in->file, key, 1, SIZE_LIMIT, fallback, out, err);
    if (rc || *out) return rc;
    return dk_fail(err, DK_E_FORMAT, "%s: has no metadata key '%s'", dk_checkpoint_path(in->file), key);
}

int32_t dk_gguf_get_uniform(const dk_gguf_source *in, const char *suffix, int64_t fallback, int64_t *out, dk_error *err)
{
    char key[96];
    int64_t layers = 0;
    const dk_metadata *found = find(in, suffix, key);
    if (!found || found->type != DK_META_LIST) return dk_gguf_get_size(in, suffix, fallback, out, err);
    int32_t rc = dk_gguf_get_size(in, "block_count", 0, &layers, err);
    if (rc) return rc;
    if (!found->items || found->item_type != DK_META_INT)
        return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is not a list of numbers", dk_checkpoint_path(in->file),
                       key);
    if (found->count != layers)
        return dk_fail(err, DK_E_MISMATCH, "%s: metadata key '%s' has %lld entries for %lld layers",
                       dk_checkpoint_path(in->file), key, (long long)found->count, (long long)layers);
    int64_t first = dk_metadata_item_i64(found, 0);
    for (int64_t i = 0; i < found->count; i++)
        if (dk_metadata_item_i64(found, i) != first || first < 1 || first > SIZE_LIMIT)
            return dk_fail(err, DK_E_UNSUPPORTED,
                           "%s: metadata key '%s' differs between layers; one value for all is supported",
                           dk_checkpoint_path(in->file), key);
    *out = first;
    return DK_OK;
}

double dk_gguf_as_written(double value)
{
    char text[48];
    double back = value;
    if (!(fabs(value) <= 1e30) || (double)(float)value != value) return value;
    for (int digits = 6; digits <= 9; digits++) {
        double scale = 1;
        int64_t exponent = 0;
        double size = value < 0 ? -value : value;
        if (size == 0 || size > 1e30 || size < 1e-30) return value;
        while (size >= 10) size /= 10, exponent++;
        while (size < 1) size *= 10, exponent--;
        for (int i = 1; i < digits; i++) scale *= 10;
        int64_t mantissa = (int64_t)(size * scale + 0.5);
        int length = snprintf(text, sizeof text, "%s%llde%lld", value < 0 ? "-" : "", (long long)mantissa,
                              (long long)(exponent - digits + 1));
        if (dk_parse_f64(text, (size_t)length, &back) && (float)back == (float)value) return back;
    }
    return value;
}

int32_t dk_gguf_get_number(const dk_gguf_source *in, const char *suffix, double fallback, double *out, dk_error *err)
{
    char key[96];
    double value = 0;
    (void)find(in, suffix, key);
    int32_t rc = dk_metadata_f64(in->file, key, fallback, &value, err);
    if (!rc) *out = dk_gguf_as_written(value);
    return rc;
}

int32_t dk_gguf_get_positive(const dk_gguf_source *in, const char *suffix, double fallback, double *out, dk_error *err)
{
    char key[96], text[32] = "";
    int32_t rc = dk_gguf_get_number(in, suffix, fallback, out, err);
    if (rc || *out > 0) return rc;
    text[dk_format_f64(*out, text)] = 0;
    return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is %s; more than 0 is expected",
                   dk_checkpoint_path(in->file), dk_gguf_key(in, suffix, key), text);
}

/* ---- keys of the config.json ---- */
void dk_gguf_say_i64(dk_gguf_source *in, const char *key, int64_t value)
{
    dk_strbuf_printf(&in->text, ",\"%s\":%lld", key, (long long)value);
}

/* With a point: transformers wants floats to look like floats. */
void dk_gguf_say_f64(dk_gguf_source *in, const char *key, double value)
{
    char text[32];
    size_t size = dk_format_f64(value, text);
    dk_strbuf_printf(&in->text, ",\"%s\":%s%s", key, text,
                     memchr(text, '.', size) || memchr(text, 'e', size) ? "" : ".0");
}

void dk_gguf_say_bool(dk_gguf_source *in, const char *key, int32_t value)
{
    dk_strbuf_printf(&in->text, ",\"%s\":%s", key, value ? "true" : "false");
}
