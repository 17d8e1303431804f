/* job.h - one parallel loop: ranges of [0, n), claimed one after the other by whoever is free. */
#ifndef DK_BASE_JOB_H
#define DK_BASE_JOB_H

#include <stdatomic.h>
#include <stdint.h>

typedef void (*dk_body_fn)(void *context, int64_t begin, int64_t end);

typedef struct dk_job {
    dk_body_fn body;
    void *context;
    int64_t n, grain, chunks;
    _Atomic int64_t next;
} dk_job;

/* Runs at most limit chunks of the job that nobody has claimed yet, in the floating-point environment of fpenv.h. */
void dk_job_run(dk_job *job, int64_t limit);

#endif
