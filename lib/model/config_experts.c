/* Which layers of a config.json have experts, and how rows come to them. */
#include "model/architecture.h"

enum { EXPERT_LIMIT = 1 << 12, ALL_LIMIT = 1 << 17, WIDTH_LIMIT = 1 << 22 };

/* Both names are in use, whatever the family. */
static int32_t read_count(const dk_document *doc, int64_t fallback, int64_t *out, dk_error *err)
{
    const dk_node *root = dk_document_root(doc);
    int64_t other = fallback;
    int32_t rc;
    DK_TRY(dk_node_i64(doc, root, "num_local_experts", 0, EXPERT_LIMIT, fallback, &other, err));
    DK_TRY(dk_node_i64(doc, root, "num_experts", 0, EXPERT_LIMIT, other, out, err));
    if (dk_node_get(root, "num_local_experts") && *out != other)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s: num_experts and num_local_experts are the same fact with two values; leave one",
                       dk_document_name(doc));
out:
    return rc;
}

static int32_t take_out(const dk_document *doc, dk_config *config, dk_error *err)
{
    const dk_node *list = dk_node_get(dk_document_root(doc), "mlp_only_layers");
    if (!list || list->type == DK_NODE_NULL) return DK_OK;
    if (list->type != DK_NODE_LIST)
        return dk_fail(err, DK_E_FORMAT, "%s: mlp_only_layers is not a list of layers", dk_document_name(doc));
    for (size_t i = 0; i < list->size; i++) {
        const dk_node *item = list->items[i];
        if (item->type != DK_NODE_INT || item->i64 < 0 || item->i64 >= config->layers)
            return dk_fail(err, DK_E_FORMAT, "%s: mlp_only_layers[%lld] is not a layer in [0, %lld)",
                           dk_document_name(doc), (long long)i, (long long)config->layers);
        config->layer_experts[item->i64] = 0;
    }
    return DK_OK;
}

/* Every step-th layer has experts, but for those that are named. */
static int32_t read_layers(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                           dk_error *err)
{
    int64_t step = 1, count = 0;
    int32_t rc;
    if (row->has & DK_HAS_DENSE_LAYERS)
        DK_TRY(dk_node_i64(doc, dk_document_root(doc), "decoder_sparse_step", 1, INT32_MAX, 1, &step, err));
    DK_TRY(dk_new(host, config->layers, &config->layer_experts, err));
    for (int64_t i = 0; i < config->layers; i++) config->layer_experts[i] = config->experts && (i + 1) % step == 0;
    if (row->has & DK_HAS_DENSE_LAYERS) DK_TRY(take_out(doc, config, err));
    for (int64_t i = 0; i < config->layers; i++) count += config->layer_experts[i];
    if (!count) config->experts = 0;
out:
    return rc;
}

int32_t dk_config_read_experts(dk_host *host, const dk_document *doc, const dk_architecture *row, dk_config *config,
                               dk_error *err)
{
    const dk_node *root = dk_document_root(doc);
    int32_t rc;
    DK_TRY(read_count(doc, row->experts, &config->experts, err));
    DK_TRY(read_layers(host, doc, row, config, err));
    if (!config->experts) goto out;
    if (config->experts * config->layers > ALL_LIMIT)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: %lld layers of %lld experts are not possible; up to %d experts are",
                       dk_document_name(doc), (long long)config->layers, (long long)config->experts, ALL_LIMIT));
    DK_TRY(
        dk_node_i64(doc, root, "num_experts_per_tok", 1, EXPERT_LIMIT, row->experts_used, &config->experts_used, err));
    if (config->experts_used > config->experts)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: num_experts_per_tok %lld is more than the %lld experts",
                       dk_document_name(doc), (long long)config->experts_used, (long long)config->experts));
    config->expert_size = config->intermediate_size;
    config->experts_alone = 1;
    if (!(row->has & DK_HAS_DENSE_LAYERS)) goto out;
    DK_TRY(
        dk_node_i64(doc, root, "moe_intermediate_size", 1, WIDTH_LIMIT, row->expert_size, &config->expert_size, err));
    DK_TRY(dk_node_bool(doc, root, "norm_topk_prob", 0, &config->experts_alone, err));
out:
    return rc;
}
