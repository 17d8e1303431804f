/* task_run.c - how far the questions are, and those that were not answered right. */
#include <string.h>

#include "base/clock.h"
#include "evaluate/tasks.h"

int32_t di_task_tell(di_task_run *run, dk_error *err)
{
    const di_tasks_args *args = run->args;
    const double now = dk_seconds();
    distill_progress p;
    if (dk_host_cancelled(args->host))
        return dk_fail(err, DK_E_CANCELLED, "cancelled at question %lld of %lld", (long long)run->done,
                       (long long)run->total);
    di_meter_poll(run->meter);
    if (!args->fn || (run->done < run->total && now - run->told < 0.1)) return DK_OK;
    run->told = now;
    DISTILL_INIT(&p);
    p.phase = DISTILL_PHASE_EVALUATING;
    p.done = run->done;
    p.total = run->total;
    p.seconds_left = run->done ? (now - run->began) * (double)(run->total - run->done) / (double)run->done : -1;
    const int32_t code = args->fn(args->user, &p);
    if (code == DISTILL_CB_OK) return DK_OK;
    if (code == DISTILL_CB_CANCEL)
        return dk_fail(err, DK_E_CANCELLED, "stopped by the progress callback at question %lld of %lld",
                       (long long)run->done, (long long)run->total);
    dk_fail(err, DK_E_CALLBACK, "the progress callback returned %d", (int)code);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

static void member(dk_strbuf *out, const char *name, const char *text, size_t size)
{
    dk_strbuf_printf(out, ",\"%s\":", name);
    dk_strbuf_json(out, text, size);
}

void di_task_aside(di_task_run *run, const di_task_file *file, const di_task *task, const char *why, const char *said,
                   size_t size)
{
    dk_strbuf *out = run->aside;
    if (!out->host) return; /* nobody wants them */
    dk_strbuf_printf(out, "{\"line\":%lld", (long long)task->number);
    member(out, "file", file->source.name, strlen(file->source.name));
    member(out, "why", why, strlen(why));
    member(out, "question", task->question.data, task->question.size);
    member(out, "said", said, size);
    member(out, "answer", task->answer.data, task->answer.size);
    dk_strbuf_puts(out, "}\n");
}
