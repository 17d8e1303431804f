/* chain.h - several runs, one after another, as one: section stages of a recipe, or a recipe that is one run. How a run
 * goes lives in run/.
 *
 *   stages.c        a recipe as stages: what is laid over what, who takes whose output
 *   stage_check.c   what can be known of all of them before the first one runs
 *   stage_record.c  stage.json in the output folder: what a stage is made of; what of it is another since then
 *   chain.c         the runs; what is finished stays, what was interrupted goes on */
#ifndef DI_CHAIN_CHAIN_H
#define DI_CHAIN_CHAIN_H

#include "run/run.h"

typedef struct di_chain_args {
    dk_backend *backend;
    di_registry *registry;
    int32_t resume;         /* of a single run: goes on from its checkpoint; stages always do */
    int32_t again;          /* a stage that became another since it was made is made again */
    distill_progress_fn fn; /* NULL = none */
    void *user;
} di_chain_args;
/* json: result.json of a single run; {"stages":{NAME:result.json,...}} of several. */
int32_t di_chain_run(const di_chain_args *args, const di_options *options, dk_strbuf *json, dk_error *err);

#endif
