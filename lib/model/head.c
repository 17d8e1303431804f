/* Hidden states to logits and back, on strips of rows. */
#include "base/work.h"
#include "model/model.h"

static void tell_work(const dk_model *model, int64_t rows, double times)
{
    dk_host_add_work(model->backend->host, 0, times * dk_head_flops(model, rows));
}

static int32_t is_scaled(const dk_config *config) { return config->logit_scale != 1 || config->logit_softcap != 0; }

int32_t dk_head_takes_halves(const dk_model *model)
{
    return !is_scaled(&model->config) && !model->head_bias && model->backend->real == DK_F32;
}

void dk_head_forward(dk_queue *queue, const dk_model *model, dk_precision precision, dk_view hidden, dk_view logits)
{
    const dk_ops *ops = queue->backend->ops;
    tell_work(model, hidden.shape[0], 1);
    ops->linear_forward(queue, model->head_linear, precision, hidden, logits);
    if (is_scaled(&model->config)) ops->softcap(queue, logits, model->config.logit_scale, model->config.logit_softcap);
}

void dk_head_backward(dk_queue *queue, const dk_model *model, dk_precision precision, dk_view hidden, dk_view logits,
                      dk_view dlogits, dk_view dhidden, int32_t add)
{
    const dk_config *c = &model->config;
    const dk_ops *ops = queue->backend->ops;
    tell_work(model, hidden.shape[0], dk_view_present(dhidden) ? 2 : 1);
    if (is_scaled(c))
        ops->softcap_backward(queue, c->logit_softcap != 0 ? logits : dlogits, c->logit_scale, c->logit_softcap,
                              dlogits);
    ops->linear_backward_weight(queue, model->head_linear, precision, hidden, dlogits);
    if (dk_view_present(dhidden))
        ops->linear_backward_input(queue, model->head_linear, precision, dlogits, dhidden, add);
}
