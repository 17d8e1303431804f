/* runner.c - segments one after the other: a segment is the steps up to the next barrier. */
#include "augment/runner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "augment/paths.h"
#include "base/file.h"

int32_t di_runner_open(di_runner *r, dk_error *err)
{
    int32_t rc;
    DK_TRY(di_path_beside(r->host, r->out, "partial", &r->partial, err));
    DK_TRY(di_path_beside(r->host, r->out, "state", &r->state, err));
    DK_TRY(di_path_beside(r->host, r->out, "aside.jsonl", &r->aside, err));
out:
    return rc;
}

void di_runner_close(di_runner *r)
{
    dk_free(r->host, r->partial);
    dk_free(r->host, r->state);
    dk_free(r->host, r->aside);
    r->partial = r->state = r->aside = NULL;
}

/* What went into step number, where that is a barrier. */
static int32_t remove_before(const di_runner *r, int64_t number, dk_error *err)
{
    char *path = NULL;
    int32_t rc;
    DK_TRY(di_path_before(r->host, r->out, number, &path, err));
    rc = di_path_remove(path, err);
out:
    dk_free(r->host, path);
    return rc;
}

/* OUT.state stays where a budget ended the run: a larger one goes on. */
static int32_t put_in_place(di_runner *r, dk_error *err)
{
    const int32_t whole = !strcmp(r->saved.ended, "whole");
    int32_t rc = DK_OK;
    if (rename(r->partial, r->out)) return dk_fail_errno(err, errno, "%s: cannot be replaced", r->out);
    if (!whole) return DK_OK;
    if (!r->saved.aside) DK_TRY(di_path_remove(r->aside, err));
    for (int64_t i = di_pipeline_cut(r->pipeline, 0); i < r->pipeline->count; i = di_pipeline_cut(r->pipeline, i))
        DK_TRY(remove_before(r, i + 1, err));
    for (int64_t i = 0; i < r->pipeline->count; i++)
        if (r->pipeline->links[i].functions->remove)
            DK_TRY(r->pipeline->links[i].functions->remove(r->pipeline->links[i].state, err));
    rc = di_path_remove(r->state, err);
out:
    return rc;
}

/* The next segment begins at the beginning of what this one wrote. */
static int32_t go_on(di_runner *r, int64_t next, dk_error *err)
{
    const int64_t first = r->saved.first;
    int32_t rc;
    r->saved.first = next;
    r->saved.place = (di_seed_place){0};
    r->saved.bytes = r->saved.written = r->saved.chunk_end = 0;
    r->saved.tokens_before = r->saved.tokens;
    r->saved.seconds_before = r->saved.seconds;
    DK_TRY(di_saved_write(&r->saved, r->pipeline, r->state, err));
    if (first) rc = remove_before(r, first + 1, err);
out:
    return rc;
}

int32_t di_runner_run(di_runner *r, dk_error *err)
{
    int32_t rc = DK_OK;
    for (;;) {
        const int64_t last = di_pipeline_cut(r->pipeline, r->saved.first);
        if (!*r->saved.ended) DK_TRY(di_segment_run(r, last, err));
        if (*r->saved.ended && last < r->pipeline->count) break; /* a budget's end before a barrier */
        if (*r->saved.ended) {
            rc = put_in_place(r, err);
            break;
        }
        DK_TRY(go_on(r, last, err));
    }
out:
    return rc;
}
