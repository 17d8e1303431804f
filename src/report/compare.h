/* compare.h - two models side by side: how good, how large, how fast, at what cost. */
#ifndef DI_REPORT_COMPARE_H
#define DI_REPORT_COMPARE_H

#include "evaluate/tasks.h"

typedef struct di_compare_args {
    dk_backend *backend;
    di_teacher *models[2];     /* a, the one that is imitated, and b */
    const char *data;          /* a file of samples, which each model reads with its own tokenizer; NULL = none */
    const di_options *options; /* data, train (eval_tokens, eval_precision, loss_memory), tasks, generate, cost */
    di_options *writing;       /* of di_tasks_args */
    const distill_options *user_options;
    distill_progress_fn fn; /* or NULL */
    void *user;
} di_compare_args;
/* {"kind":"comparison","a":{...},"b":{...},"between":{...},"cost":{...}} */
int32_t di_compare(const di_compare_args *args, dk_strbuf *json, dk_error *err);

#endif
