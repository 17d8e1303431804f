#include "target/taps.h"

int32_t di_tap_has_layer(dk_tap_kind kind) { return kind != DK_TAP_FINAL; }

const char *di_tap_name(dk_tap_kind kind)
{
    static const char *const names[] = {"nothing", "output", "final norm", "queries", "keys", "values"};
    return names[kind >= DK_TAP_BLOCK && kind <= DK_TAP_V ? kind : 0];
}

int32_t di_place_of_model(const dk_model *model, const dk_tap_spec *tap, const char *name, di_place *out, dk_error *err)
{
    const dk_config *c = &model->config;
    if (di_tap_has_layer(tap->kind) && (tap->layer < 0 || tap->layer >= c->layers))
        return dk_fail(err, DK_E_OPTION, "%s has blocks 0 to %lld, and block %lld is named", name,
                       (long long)c->layers - 1, (long long)tap->layer);
    *out = (di_place){.width = c->hidden_size};
    if (tap->kind < DK_TAP_Q) return DK_OK;
    out->heads = tap->kind == DK_TAP_Q ? c->heads : c->kv_heads;
    out->width = out->heads * c->head_dim;
    if (tap->kind != DK_TAP_Q) return DK_OK;
    out->window = c->window ? c->window[tap->layer] : 0;
    out->scale = c->scale_by_layer ? c->attention_scale / (double)(tap->layer + 1) : c->attention_scale;
    out->softcap = c->attention_softcap;
    return DK_OK;
}
