/* output.c - the output folder: may this run write there, and the student's files, each of which appears at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "run/run_state.h"

static const char *const traces[] = {"result.json", "metrics.jsonl", "checkpoints", "config.json"};

static int32_t trace_of_run(const di_output *output, const char **found, dk_error *err)
{
    *found = NULL;
    for (size_t i = 0; i < sizeof traces / sizeof *traces && !*found; i++) {
        char *path = dk_path_join(output->host, output->path, traces[i]);
        if (!path) return dk_fail_nomem(err, strlen(output->path));
        if (dk_path_exists(path)) *found = traces[i];
        dk_free(output->host, path);
    }
    return DK_OK;
}

/* A folder that cannot be written to is found out now, not after the last step. */
static int32_t probe(const di_output *output, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, ".probe");
    dk_writer *writer = NULL;
    int32_t rc = path ? dk_writer_open(output->host, path, &writer, err) : dk_fail_nomem(err, 64);
    dk_writer_abort(writer);
    dk_free(output->host, path);
    return rc;
}

static int32_t clear(const di_output *output, dk_error *err)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; i < 3 && rc == DK_OK; i++) { /* the student's own files are replaced at the end */
        char *path = dk_path_join(output->host, output->path, traces[i]);
        if (!path) return dk_fail_nomem(err, strlen(output->path));
        if (dk_path_exists(path) == 2) rc = dk_dir_remove(output->host, path, err);
        else if (dk_path_exists(path) && remove(path) != 0)
            rc = dk_fail_errno(err, errno, "%s cannot be removed", path);
        dk_free(output->host, path);
    }
    return rc;
}

int32_t di_output_prepare(const di_output *output, int32_t resumed, dk_error *err)
{
    const char *found;
    int32_t rc;
    DK_TRY(dk_dir_create(output->host, output->path, err));
    DK_TRY(probe(output, err));
    if (resumed) goto out;
    DK_TRY(trace_of_run(output, &found, err));
    if (!found) goto out;
    if (!output->overwrite)
        return dk_fail(
            err, DK_E_INVALID,
            "%s already holds a run (%s): resume it, give another output.path, or set output.overwrite to true",
            output->path, found);
    DK_TRY(clear(output, err));
out:
    return rc;
}

typedef struct mover {
    dk_host *host;
    const char *from, *to;
} mover;

static int32_t move_one(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    mover *m = user;
    char *from = dk_path_join(m->host, m->from, name), *to = dk_path_join(m->host, m->to, name);
    int32_t rc = from && to ? DK_OK : dk_fail_nomem(err, strlen(m->to));
    (void)is_dir;
    if (rc == DK_OK && rename(from, to) != 0) rc = dk_fail_errno(err, errno, "%s cannot be renamed to %s", from, to);
    dk_free(m->host, from);
    dk_free(m->host, to);
    return rc;
}

/* Saved into a folder beside its place, then moved file by file: the output folder holds more than the student. */
int32_t di_output_student(const di_output *output, di_student *student, dk_error *err)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(student);
    char *staging = dk_path_join(output->host, output->path, "student.tmp");
    mover m = {output->host, staging, output->path};
    int32_t rc;
    if (!staging) return dk_fail_nomem(err, strlen(output->path));
    DK_TRY(dk_dir_remove(output->host, staging, err));
    if (callbacks && !callbacks->save) goto out;
    DK_TRY(di_student_save(student, staging, output->dtype, err));
    DK_TRY(dk_dir_list(output->host, staging, move_one, &m, err));
    DK_TRY(dk_dir_remove(output->host, staging, err));
out:
    dk_free(output->host, staging);
    return rc;
}

int32_t di_output_result(const di_output *output, const dk_strbuf *json, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, "result.json");
    int32_t rc = path ? dk_file_replace(output->host, path, json->data, json->size, err) : dk_fail_nomem(err, 64);
    dk_free(output->host, path);
    return rc;
}
