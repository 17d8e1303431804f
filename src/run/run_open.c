/* run_open.c - a run that may go on: what its last checkpoint says of the student's shape is not chosen again. */
#include "run/checkpoint_parts.h"

/* Without a checkpoint, or with one that cannot be read, the shape is chosen as in a new run. */
static void read_shape(dk_host *host, const char *output, dk_strbuf *out)
{
    char *newest = NULL;
    dk_error problem;
    if (di_checkpoint_newest(host, output, &newest, &problem) == DK_OK && newest)
        di_checkpoint_shape(host, newest, out);
    dk_free(host, newest);
}

int32_t di_run_open(const di_parts *parts, const di_options *options, di_run **out, dk_error *err)
{
    const char *output = di_options_text(options, "output.path");
    dk_host *host = parts->backend->host;
    di_parts known = *parts;
    di_run *run = NULL;
    dk_strbuf shape;
    int32_t rc;
    dk_strbuf_init(&shape, host);
    DK_TRY(di_run_same_options(host, options, err));
    DK_TRY(di_run_fill(parts, options, err));
    if (output && *output && di_shape_reads_text(options)) read_shape(host, output, &shape);
    if (shape.size && !shape.failed) known.shape = shape.data;
    rc = dk_ranks_agree(host, di_run_create(&known, options, &run, err), err);
    if (rc == DK_OK) rc = di_run_inputs(run, err);
    if (rc == DK_OK) *out = run;
    else di_run_free(run);
out:
    dk_strbuf_free(&shape);
    return rc;
}
