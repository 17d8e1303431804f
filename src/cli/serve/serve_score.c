/* serve_score.c - log-probabilities of a prompt's own tokens: what a model is a teacher for other tools by. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

static distill_tensor tensor_of(void *data, uint8_t code, int32_t ndim, const int64_t *shape)
{
    distill_tensor tensor;
    memset(&tensor, 0, sizeof tensor);
    tensor.data = data;
    tensor.device_type = DISTILL_CPU;
    tensor.ndim = ndim;
    tensor.dtype_code = code;
    tensor.dtype_bits = 32;
    tensor.dtype_lanes = 1;
    tensor.shape = shape;
    return tensor;
}

static int allocate(serve_read *prompt, int64_t width)
{
    const size_t rows = (size_t)prompt->count - 1;
    prompt->width = width;
    prompt->chosen = malloc((rows + 1) * sizeof *prompt->chosen);
    if (width) prompt->top_ids = malloc((rows + 1) * (size_t)width * sizeof *prompt->top_ids);
    if (width) prompt->top_log_probs = malloc((rows + 1) * (size_t)width * sizeof *prompt->top_log_probs);
    return prompt->chosen && (!width || (prompt->top_ids && prompt->top_log_probs));
}

static int32_t score(const serve_server *server, serve_read *prompt, distill_error *err)
{
    const int64_t rows = prompt->count - 1, offsets[2] = {0, prompt->count}, shape[2] = {rows, prompt->width};
    const distill_tensor chosen = tensor_of(prompt->chosen, DISTILL_FLOAT, 1, shape),
                         values = tensor_of(prompt->top_log_probs, DISTILL_FLOAT, 2, shape),
                         ids = tensor_of(prompt->top_ids, DISTILL_INT, 2, shape);
    distill_batch batch;
    distill_target top;
    DISTILL_INIT(&batch);
    DISTILL_INIT(&top);
    batch.ids = prompt->ids;
    batch.offsets = offsets;
    batch.sequences = 1;
    top.kind = DISTILL_TOPK;
    top.values = &values;
    top.ids = &ids;
    return distill_teacher_log_probs(server->teacher, &batch, 0, &chosen, prompt->width ? &top : NULL, err);
}

int serve_score_prompts(serve_job *job)
{
    const int64_t wide = job->request.prompt_logprobs, beside = job->request.echo ? job->request.logprobs : -1;
    int64_t width = wide > beside ? wide : beside;
    distill_error err;
    if (width < 0) return 1;
    if (width > job->server->vocab) width = job->server->vocab;
    for (int64_t i = 0; i < job->prompt_count; i++) {
        if (!allocate(&job->prompts[i], width)) return serve_no_memory(&job->problem);
        int32_t rc = job->prompts[i].count > 1 ? score(job->server, &job->prompts[i], &err) : DISTILL_OK;
        if (rc) return serve_job_fail_code(job, rc, &err), 0;
    }
    return 1;
}
