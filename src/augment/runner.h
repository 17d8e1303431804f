/* runner.h - chunks through the steps, and commits. Private to src/augment.
 *
 *   runner.c   segments one after the other, and the end    segment.c  one of them, chunk by chunk */
#ifndef DI_AUGMENT_RUNNER_H
#define DI_AUGMENT_RUNNER_H

#include "augment/saved.h"
#include "meter/meter.h"

typedef struct di_runner {
    dk_host *host;
    di_pipeline *pipeline;
    const di_options *options;
    const char *out;
    char *partial, *state, *aside; /* paths: OUT.partial, OUT.state, OUT.aside.jsonl */
    di_seeds *seeds;               /* what the first step is given */
    int64_t samples;               /* of them */
    di_saved saved;                /* as it would be written now */
    int64_t budget_tokens;         /* 0 = no bound */
    double budget_seconds;
    double began, before;  /* when this run began, and the seconds of earlier ones */
    int64_t tokens_before; /* of earlier ones */
    di_meter meter;        /* of this run */
    distill_progress_fn fn;
    void *user;
} di_runner;
static inline double di_runner_seconds(const di_runner *runner) /* of all runs */
{
    return runner->before + dk_seconds() - runner->began;
}
int32_t di_runner_open(di_runner *runner, dk_error *err); /* fills in the paths */
void di_runner_close(di_runner *runner);
/* From where saved stands to the end or to a budget's, which saved.ended says; the result is in place then, if the
 * last segment was come to. */
int32_t di_runner_run(di_runner *runner, dk_error *err);
/* Runs the segment that saved stands in. */
int32_t di_segment_run(di_runner *runner, int64_t last, dk_error *err);

#endif
