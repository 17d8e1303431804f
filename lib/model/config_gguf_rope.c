/* Rotary positions of a GGUF file: keys, and tensors of frequencies. */
#include "model/gguf_source.h"

#include <math.h>
#include <string.h>

static void put_llama3(dk_gguf_source *in, const dk_llama3_factors *fit)
{
    dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"llama3\"");
    dk_gguf_say_f64(in, "factor", fit->factor);
    dk_gguf_say_f64(in, "low_freq_factor", fit->low_freq_factor);
    dk_gguf_say_f64(in, "high_freq_factor", fit->high_freq_factor);
    dk_gguf_say_i64(in, "original_max_position_embeddings", fit->original_positions);
    dk_strbuf_puts(&in->text, "}");
}

static int32_t get_original(const dk_gguf_source *in, int64_t *out, dk_error *err)
{
    int64_t positions = 1;
    int32_t rc = dk_gguf_get_size(in, "context_length", 1, &positions, err);
    return rc ? rc : dk_gguf_get_size(in, "rope.scaling.original_context_length", positions, out, err);
}

static int32_t put_divisors(dk_gguf_source *in, const dk_tensor *tensor, double theta, int64_t head_dim, dk_error *err)
{
    int64_t original = 1;
    char shape[DK_SHAPE_TEXT];
    int32_t rc;
    float *values = NULL;
    dk_llama3_factors fit;
    const char *path = dk_checkpoint_path(in->file);
    if (tensor->dtype != DK_F32 || tensor->rank != 1 || tensor->shape[0] != head_dim / 2)
        return dk_fail(err, DK_E_MISMATCH, "%s: tensor 'rope_freqs.weight' is %s %s; F32 [%lld] is expected", path,
                       tensor->type_name, dk_shape_text(tensor->rank, tensor->shape, shape), (long long)(head_dim / 2));
    DK_TRY(get_original(in, &original, err));
    DK_TRY(dk_new(in->host, head_dim / 2, &values, err));
    memcpy(values, tensor->data, (size_t)tensor->bytes);
    if (!dk_llama3_fit(values, head_dim / 2, theta, original, &fit))
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: tensor 'rope_freqs.weight' does not follow llama3 scaling, the only one with such a tensor "
                       "that is supported",
                       path));
    put_llama3(in, &fit);
out:
    dk_free(in->host, values);
    return rc;
}

/* A multiplier of the logarithm says that both of YaRN's are given, the first being 1. */
static int32_t put_query_scale(dk_gguf_source *in, dk_error *err)
{
    int32_t rc;
    double scale = 0, all_dims = 0, theta = 10000;
    DK_TRY(dk_gguf_get_number(in, "attention.temperature_scale", 0, &scale, err));
    DK_TRY(dk_gguf_get_number(in, "rope.scaling.yarn_log_multiplier", 0, &all_dims, err));
    DK_TRY(dk_gguf_get_number(in, "rope.freq_base", 10000, &theta, err));
    dk_gguf_say_f64(in, "rope_theta", theta);
    dk_gguf_say_f64(in, "llama_4_scaling_beta", scale);
    if (all_dims != 0) dk_gguf_say_f64(in, "mscale", 1);
    if (all_dims != 0) dk_gguf_say_f64(in, "mscale_all_dim", all_dims);
out:
    return rc;
}

static int32_t put_factors(dk_gguf_source *in, const dk_tensor *tensor, const char *key, int64_t pairs, dk_error *err)
{
    char shape[DK_SHAPE_TEXT];
    float value;
    if (tensor->dtype != DK_F32 || tensor->rank != 1 || tensor->shape[0] != pairs)
        return dk_fail(err, DK_E_MISMATCH, "%s: tensor '%s' is %s %s; F32 [%lld] is expected",
                       dk_checkpoint_path(in->file), tensor->name, tensor->type_name,
                       dk_shape_text(tensor->rank, tensor->shape, shape), (long long)pairs);
    dk_strbuf_printf(&in->text, ",\"%s\":[", key);
    for (int64_t i = 0; i < pairs; i++) {
        memcpy(&value, (const uint8_t *)tensor->data + 4 * i, sizeof value);
        if (!isfinite(value))
            return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' is not a finite number at %lld",
                           dk_checkpoint_path(in->file), tensor->name, (long long)i);
        if (i) dk_strbuf_puts(&in->text, ",");
        dk_strbuf_f64(&in->text, dk_gguf_as_written((double)value));
    }
    dk_strbuf_puts(&in->text, "]");
    return DK_OK;
}

static int32_t put_long(dk_gguf_source *in, int64_t pairs, dk_error *err)
{
    int32_t rc;
    int64_t positions = 1, original = 1;
    double attention = 0;
    const dk_tensor *near = dk_checkpoint_find(in->file, "rope_factors_short.weight"),
                    *far = dk_checkpoint_find(in->file, "rope_factors_long.weight");
    if (!near || !far)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: has tensor '%s' without the other one of longrope",
                       dk_checkpoint_path(in->file), (near ? near : far)->name));
    DK_TRY(dk_gguf_get_size(in, "context_length", 1, &positions, err));
    DK_TRY(get_original(in, &original, err));
    DK_TRY(dk_gguf_get_number(in, "rope.scaling.attn_factor", 0, &attention, err));
    dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"longrope\"");
    dk_gguf_say_f64(in, "factor", (double)positions / (double)original);
    DK_TRY(put_factors(in, near, "short_factor", pairs, err));
    DK_TRY(put_factors(in, far, "long_factor", pairs, err));
    double factor = (double)positions / (double)original;
    double usual = factor <= 1 ? 1 : sqrt(1 + log(factor) / log((double)original));
    if (attention != 0 && fabs(attention - usual) > 1e-6) dk_gguf_say_f64(in, "attention_factor", attention);
    dk_strbuf_puts(&in->text, "}");
    dk_gguf_say_i64(in, "original_max_position_embeddings", original);
out:
    return rc;
}

/* llama.cpp multiplies by it, whatever the way of scaling. */
static int32_t refuse_attention_factor(const dk_gguf_source *in, dk_error *err)
{
    double attention = 1;
    int32_t rc = dk_gguf_get_number(in, "rope.scaling.attn_factor", 1, &attention, err);
    if (rc || attention == 1) return rc;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: metadata key '%s.rope.scaling.attn_factor' other than 1 is not supported",
                   dk_checkpoint_path(in->file), in->row->gguf);
}

static int32_t put_yarn(dk_gguf_source *in, double factor, dk_error *err)
{
    int32_t rc;
    int64_t original = 1;
    double fast = 32, slow = 1;
    DK_TRY(get_original(in, &original, err));
    DK_TRY(dk_gguf_get_number(in, "rope.scaling.yarn_beta_fast", 32, &fast, err));
    DK_TRY(dk_gguf_get_number(in, "rope.scaling.yarn_beta_slow", 1, &slow, err));
    dk_strbuf_puts(&in->text, ",\"rope_scaling\":{\"rope_type\":\"yarn\"");
    dk_gguf_say_f64(in, "factor", factor);
    dk_gguf_say_f64(in, "beta_fast", fast);
    dk_gguf_say_f64(in, "beta_slow", slow);
    dk_gguf_say_i64(in, "original_max_position_embeddings", original);
    if (in->row->has & DK_HAS_QUERY_SCALE) DK_TRY(put_query_scale(in, err));
    dk_strbuf_puts(&in->text, "}");
out:
    return rc;
}

static int32_t refuse_query_scale(const dk_gguf_source *in, dk_error *err)
{
    double scale = 0;
    int32_t rc = DK_OK;
    if (in->row->has & DK_HAS_QUERY_SCALE) rc = dk_gguf_get_number(in, "attention.temperature_scale", 0, &scale, err);
    if (rc || scale == 0) return rc;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: metadata key '%s.attention.temperature_scale' is supported with scaling of positions by yarn",
                   dk_checkpoint_path(in->file), in->row->gguf);
}

/* A family whose class scales by itself is told otherwise. */
static void put_linear(dk_gguf_source *in, double factor, double theta)
{
    if (factor == 1 && !in->row->rope) return;
    dk_strbuf_printf(&in->text, ",\"rope_scaling\":{\"rope_type\":\"%s\"", factor == 1 ? "default" : "linear");
    if (factor != 1) dk_gguf_say_f64(in, "factor", factor);
    if (in->row->rope) dk_gguf_say_f64(in, "rope_theta", theta);
    dk_strbuf_puts(&in->text, "}");
}

static int32_t put_scaling(dk_gguf_source *in, const char *type, double theta, dk_error *err)
{
    int32_t rc = DK_OK, none = !strcmp(type, "none"), yarn = !strcmp(type, "yarn");
    char key[96];
    double factor = 1;
    if (!none && !yarn && strcmp(type, "linear") != 0)
        DK_TRY(
            dk_fail(err, DK_E_UNSUPPORTED,
                    "%s: %s '%s' is not supported; supported are none, linear, yarn, and rope_freqs.weight of llama3",
                    dk_checkpoint_path(in->file), dk_gguf_key(in, "rope.scaling.type", key), type));
    if (!none) DK_TRY(dk_gguf_get_positive(in, "rope.scale_linear", 1, &factor, err));
    if (!none) DK_TRY(dk_gguf_get_positive(in, "rope.scaling.factor", factor, &factor, err));
    DK_TRY(refuse_attention_factor(in, err));
    if (yarn) return put_yarn(in, factor, err);
    DK_TRY(refuse_query_scale(in, err));
    put_linear(in, factor, theta);
out:
    return rc;
}

/* The smallest factor that gives so many entries again. */
static void put_partial(dk_gguf_source *in, int64_t dims, int64_t head_dim)
{
    double part = (double)dims / (double)head_dim;
    while ((int64_t)((double)head_dim * part) < dims) part = nextafter(part, 2);
    dk_gguf_say_f64(in, in->row->keys->partial, part);
}

static int32_t put_bases(dk_gguf_source *in, double *theta, dk_error *err)
{
    int32_t rc;
    double local = 10000;
    DK_TRY(dk_gguf_get_positive(in, "rope.freq_base", 10000, theta, err));
    dk_gguf_say_f64(in, in->row->keys->theta, *theta);
    if (!(in->row->has & DK_HAS_LOCAL_ROPE)) goto out;
    DK_TRY(dk_gguf_get_positive(in, "rope.freq_base_swa", 10000, &local, err));
    dk_gguf_say_f64(in, "rope_local_base_freq", local);
out:
    return rc;
}

static int32_t put_dims(dk_gguf_source *in, int64_t head_dim, int64_t *dims, dk_error *err)
{
    const char *path = dk_checkpoint_path(in->file);
    int32_t rc = dk_gguf_get_size(in, "rope.dimension_count", head_dim, dims, err);
    if (rc) return rc;
    if (*dims > head_dim || *dims % 2)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: metadata key '%s.rope.dimension_count' is %lld; an even number up to a head's %lld entries "
                       "is expected",
                       path, in->row->gguf, (long long)*dims, (long long)head_dim);
    if (in->row->has & DK_HAS_PARTIAL) return put_partial(in, *dims, head_dim), DK_OK;
    if (*dims == head_dim) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: %lld of %lld entries of a head rotate; rotation of all is supported",
                   path, (long long)*dims, (long long)head_dim);
}

/* Positions are scaled in one way: tensors of frequencies, or the type of scaling (longrope is that of two tensors). */
static int32_t check_ways(const dk_gguf_source *in, const char *type, const dk_tensor *divisors,
                          const dk_tensor *factors, dk_error *err)
{
    char key[96];
    const dk_tensor *tensor = divisors ? divisors : factors;
    if (divisors && factors)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s: tensors '%s' and '%s' both scale positions; one is supported",
                       dk_checkpoint_path(in->file), divisors->name, factors->name);
    if (!tensor || !type || !strcmp(type, "none") || (factors && !strcmp(type, "longrope"))) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: tensor '%s' and metadata key '%s' (%s) both scale positions; one is supported",
                   dk_checkpoint_path(in->file), tensor->name, dk_gguf_key(in, "rope.scaling.type", key), type);
}

int32_t dk_gguf_say_rope(dk_gguf_source *in, int64_t head_dim, dk_error *err)
{
    int32_t rc;
    char key[96], *type = NULL;
    double theta = 10000;
    int64_t dims = 0;
    const dk_tensor *divisors = dk_checkpoint_find(in->file, "rope_freqs.weight"),
                    *near = dk_checkpoint_find(in->file, "rope_factors_short.weight"),
                    *far = dk_checkpoint_find(in->file, "rope_factors_long.weight");
    DK_TRY(put_bases(in, &theta, err));
    DK_TRY(put_dims(in, head_dim, &dims, err));
    if (dk_gguf_has(in, "rope.scaling.type"))
        DK_TRY(dk_metadata_text(in->file, dk_gguf_key(in, "rope.scaling.type", key), &type, err));
    DK_TRY(check_ways(in, type, divisors, near ? near : far, err));
    if (near || far) DK_TRY(put_long(in, dims / 2, err));
    else if (divisors) DK_TRY(put_divisors(in, divisors, theta, head_dim, err));
    else DK_TRY(put_scaling(in, type ? type : "linear", theta, err));
out:
    dk_free(in->host, type);
    return rc;
}
