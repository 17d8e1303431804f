/* serve_sampling.c - how a request's tokens are drawn, as options of section generate. */
#include <sys/random.h>

#include "serve.h"

static int32_t set_lists(serve_job *job, distill_error *err)
{
    const serve_request *request = &job->request;
    char name[64];
    int32_t rc = DISTILL_OK;
    for (int64_t i = 0; !rc && i < request->stop_count; i++) {
        snprintf(name, sizeof name, "generate.stop.%lld", (long long)i);
        rc = distill_options_set_str(job->options, name, request->stops[i], err);
    }
    for (int64_t i = 0; !rc && i < request->stop_id_count; i++) {
        snprintf(name, sizeof name, "generate.stop_ids.%lld", (long long)i);
        rc = distill_options_set_i64(job->options, name, request->stop_ids[i], err);
    }
    for (int64_t i = 0; !rc && i < request->bias_count; i++) {
        snprintf(name, sizeof name, "generate.logit_bias.%d", request->bias[i].id);
        rc = distill_options_set_f64(job->options, name, request->bias[i].value, err);
    }
    return rc;
}

static int32_t set_numbers(serve_job *job, distill_error *err)
{
    const serve_request *request = &job->request;
    distill_options *options = job->options;
    int32_t rc = distill_options_set_i64(options, "generate.max_tokens", job->max_tokens ? job->max_tokens : 1, err);
    if (!rc) rc = distill_options_set_f64(options, "generate.temperature", request->temperature, err);
    if (!rc && request->presence_penalty != 0)
        rc = distill_options_set_f64(options, "generate.presence_penalty", request->presence_penalty, err);
    if (!rc && request->repetition_penalty != 1)
        rc = distill_options_set_f64(options, "generate.repetition_penalty", request->repetition_penalty, err);
    if (!rc && request->logprobs > 0)
        rc = distill_options_set_i64(options, "generate.top_logprobs", request->logprobs, err);
    if (rc || request->temperature == 0) return rc; /* nothing is drawn: what follows would have no effect */
    if (request->top_p < 1) rc = distill_options_set_f64(options, "generate.top_p", request->top_p, err);
    if (!rc && request->top_k > 0) rc = distill_options_set_i64(options, "generate.top_k", request->top_k, err);
    if (!rc && request->min_p > 0) rc = distill_options_set_f64(options, "generate.min_p", request->min_p, err);
    return rc;
}

int serve_options_make(serve_job *job)
{
    distill_error err;
    uint32_t random;
    if (job->request.seed < 0) {
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) random = (uint32_t)job->created;
        job->request.seed = random;
    }
    int32_t rc = distill_options_create(job->server->session->env, &job->options, &err);
    if (!rc) rc = set_numbers(job, &err);
    if (!rc) rc = set_lists(job, &err);
    if (rc) serve_job_fail_code(job, rc, &err);
    return !rc;
}
