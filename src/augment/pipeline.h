/* pipeline.h - the steps of a recipe, made and checked. Private to src/augment. */
#ifndef DI_AUGMENT_PIPELINE_H
#define DI_AUGMENT_PIPELINE_H

#include "augment/augment.h"
#include "augment/rank_calls.h"

typedef struct di_link { /* one step */
    di_step step;
    const di_operator_row *row;
    const di_operator_functions *functions;
    void *state;
    di_reasons reasons;
    int64_t in, out; /* records, over all chunks */
} di_link;
typedef struct di_pipeline {
    dk_host *host;
    di_teacher *teacher;     /* a reference, or NULL */
    dk_tokenizer *tokenizer; /* a reference, or NULL */
    di_encoder encoder;      /* with it */
    di_link *links;
    int64_t count;
    int64_t makes; /* samples of nothing */
    int64_t keep;  /* ids whose log-probabilities a step keeps; 0 = none does */
    di_pulse pulse;
    di_rank_calls calls;
} di_pipeline;
int32_t di_pipeline_open(const di_augment_args *args, const char *out, di_pipeline *pipeline, dk_error *err);
void di_pipeline_close(di_pipeline *pipeline); /* zeroed is fine */
/* The first step behind `from` that is a barrier, or the number of steps. */
int64_t di_pipeline_cut(const di_pipeline *pipeline, int64_t from);
/* Of everything that the result hangs on, beside teacher and seeds. */
int32_t di_pipeline_hash(const di_pipeline *pipeline, const di_options *options, char hex[65], dk_error *err);
/* Records go through links [first, last): in [count] is taken over, what comes out is flow's. */
int32_t di_pipeline_pass(di_pipeline *pipeline, int64_t first, int64_t last, di_record **in, int64_t count,
                         di_flow *flow, dk_error *err);

#endif
