#include "base/job.h"

#include "base/fpenv.h"

void dk_job_run(dk_job *job, int64_t limit)
{
    uint32_t saved = dk_fp_enter();
    for (; limit > 0; limit--) {
        int64_t chunk = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (chunk >= job->chunks) break;
        int64_t begin = chunk * job->grain;
        job->body(job->context, begin, job->n - begin < job->grain ? job->n : begin + job->grain);
    }
    dk_fp_leave(saved);
}
