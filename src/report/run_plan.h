/* run_plan.h - a run before it is made: memory, disk, time, energy, money. */
#ifndef DI_REPORT_RUN_PLAN_H
#define DI_REPORT_RUN_PLAN_H

#include "run/run.h"

typedef struct di_plan_args {
    dk_backend *backend;
    di_registry *registry;
    const di_options *options;
    distill_progress_fn fn; /* or NULL */
    void *user;
} di_plan_args;
/* {"kind":"plan","steps":...,"memory":{...},"disk":{...},"time":{...},"cost":{...},"cache":{...},
 * "not_planned":[...]} */
int32_t di_plan(const di_plan_args *args, dk_strbuf *json, dk_error *err);

#endif
