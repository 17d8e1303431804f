/* run_page.c - report.html in the output folder. */
#include "report/page/page.h"
#include "run/run_state.h"

enum {
    SECONDS = 5,
    SHARE = 100
}; /* between two pages of a run under way, which takes a hundredth of its time at most */

static int32_t write_page(di_run *run, const dk_strbuf *result, int32_t live, dk_error *err)
{
    const di_page_settings settings = {run->output.portuguese, live ? SECONDS : 0};
    return di_page_of_folder(run->host, run->output.path, result, &settings, err);
}

static int32_t is_time(const di_run *run, double now)
{
    const double wait = SHARE * run->page.took > SECONDS ? SHARE * run->page.took : SECONDS;
    return now - run->page.written >= wait;
}

static int32_t live_page(di_run *run, dk_error *err)
{
    dk_strbuf result;
    int32_t rc;
    dk_strbuf_init(&result, run->host);
    DK_TRY(di_result_live(run, &result, err));
    DK_TRY(write_page(run, &result, 1, err));
out:
    dk_strbuf_free(&result);
    return rc;
}

void di_run_page(di_run *run, int32_t live)
{
    const double begin = dk_seconds();
    dk_error problem;
    if (!run->output.path || !run->output.page || dk_rank(run->host) || (live && !is_time(run, begin))) return;
    dk_error_clear(&problem);
    const int32_t rc = live ? live_page(run, &problem) : write_page(run, &run->result_json, 0, &problem);
    run->page.written = dk_seconds();
    run->page.took = run->page.written - begin;
    if (rc != DK_OK && !run->page.failed) di_run_warn(run, "report.html was not written: %s", problem.message);
    run->page.failed = rc != DK_OK;
}
