/* Tokens on their way in: what a ragged batch must be, and its rows before the first block; which rows are in use. */
#include "model/pass_parts.h"

int32_t dk_check_tokens(const dk_config *config, const dk_tokens *tokens, dk_error *err)
{
    int64_t vocab = config->vocab_size;
    if (tokens->offsets[0] != 0)
        return dk_fail(err, DK_E_INVALID, "tokens: the first offset is %lld, not 0", (long long)tokens->offsets[0]);
    for (int64_t s = 0; s < tokens->sequences; s++) {
        int64_t first = tokens->offsets[s], last = tokens->offsets[s + 1];
        if (last < first)
            return dk_fail(err, DK_E_INVALID, "tokens: offsets fall from %lld to %lld at sequence %lld",
                           (long long)first, (long long)last, (long long)s);
        for (int64_t i = first; i < last; i++)
            if (tokens->ids[i] < 0 || tokens->ids[i] >= vocab)
                return dk_fail(err, DK_E_INVALID,
                               "tokens: position %lld of sequence %lld holds id %d, not in [0, %lld); is this the "
                               "model's tokenizer?",
                               (long long)(i - first), (long long)s, (int)tokens->ids[i], (long long)vocab);
    }
    return DK_OK;
}

dk_view dk_used_rows(const dk_workset *set, dk_view view)
{
    return dk_view_present(view) ? dk_view_rows(view, 0, set->rows) : view;
}

void dk_embed_rows(const dk_workset *set, dk_view ids, dk_view x)
{
    const dk_ops *ops = set->queue->backend->ops;
    const dk_model *model = set->model;
    ops->embed(set->queue, model->embedding->value, dk_used_rows(set, ids), model->config.embedding_scale, x, 0);
    if (model->positions) ops->embed(set->queue, model->positions->value, dk_used_rows(set, set->positions), 1, x, 1);
}
