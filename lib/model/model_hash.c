#include "model/weights.h"

#include "base/hash.h"

#include <string.h>

static void put_f64(dk_strbuf *out, double value)
{
    dk_strbuf_f64(out, value);
    dk_strbuf_puts(out, " ");
}

static void put_i64(dk_strbuf *out, int64_t value) { dk_strbuf_printf(out, "%lld ", (long long)value); }

/* Everything of a description that changes a logit. Sizes are in the tensors' shapes. */
static void put_config(const dk_config *config, dk_strbuf *out)
{
    const dk_rope_config *rope = &config->rope;
    const int64_t numbers[] = {
        config->layers, config->heads,          config->kv_heads, config->head_dim, config->max_positions,
        config->norm,   config->activation,     config->gated,    config->in_out,   config->qk_norm,
        config->tied,   config->scale_by_layer, rope->kind,       rope->truncate,   rope->original_positions,
        rope->dims};
    const double reals[] = {config->norm_epsilon,
                            config->norm_offset,
                            config->attention_scale,
                            config->embedding_scale,
                            config->residual_scale,
                            config->logit_scale,
                            config->logit_softcap,
                            config->attention_softcap,
                            rope->theta,
                            rope->factor,
                            rope->low_freq_factor,
                            rope->high_freq_factor,
                            rope->beta_fast,
                            rope->beta_slow,
                            rope->attention_factor,
                            rope->mscale,
                            rope->mscale_all_dim};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put_i64(out, numbers[i]);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) put_f64(out, reals[i]);
    for (int64_t i = 0; i < config->layers; i++) put_i64(out, config->window[i] * 2 + config->layer_rope[i]);
    if (config->local_rope.kind != DK_ROPE_NONE) {
        put_f64(out, config->local_rope.theta);
        put_f64(out, config->local_rope.factor);
    }
    if (config->parallel) put_i64(out, 1);
    if (config->experts) put_i64(out, config->experts_used * 2 + config->experts_alone);
    if (rope->query_scale != 0) put_f64(out, rope->query_scale);
    for (int64_t i = 0; rope->short_factors && i < rope->dims / 2; i++) {
        put_f64(out, rope->short_factors[i]);
        put_f64(out, rope->long_factors[i]);
    }
}

static int32_t add_parameter(dk_stage *stage, const dk_model *model, int64_t index, void *piece, dk_sha256 *sha,
                             dk_error *err)
{
    int32_t rc;
    dk_view value;
    const dk_planned *plan = dk_model_plan(model, index);
    DK_TRY(dk_stage_value(stage, model, index, &value, err));
    int64_t total = dk_view_count(&value), most = DK_STAGE_BYTES / 4;
    dk_sha256_add(sha, plan->name, strlen(plan->name) + 1);
    dk_sha256_add(sha, plan->shape, sizeof plan->shape);
    for (int64_t at = 0; at < total; at += most) {
        int64_t count = total - at < most ? total - at : most;
        DK_TRY(dk_stage_read(stage, value, at, count, DK_F32, piece, err));
        dk_sha256_add(sha, piece, (size_t)count * 4);
    }
out:
    return rc;
}

int32_t dk_model_hash(const dk_model *model, char hex[65], dk_error *err)
{
    int32_t rc;
    dk_sha256 sha;
    uint8_t digest[32];
    dk_stage stage = {0};
    dk_strbuf text;
    void *piece = dk_alloc(model->host, DK_STAGE_BYTES, 1);
    dk_strbuf_init(&text, model->host);
    if (!piece) DK_TRY(dk_fail_nomem(err, DK_STAGE_BYTES));
    put_config(&model->config, &text);
    DK_TRY(dk_strbuf_check(&text, err));
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, text.data, text.size);
    DK_TRY(dk_stage_open(model->backend, &stage, err));
    for (int64_t i = 0; i < model->parameter_count; i++) DK_TRY(add_parameter(&stage, model, i, piece, &sha, err));
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
out:
    dk_stage_close(&stage);
    dk_strbuf_free(&text);
    dk_free(model->host, piece);
    return rc;
}
