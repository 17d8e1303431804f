/* output.c - the output folder: may this run write there, and the student's files, each of which appears at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "trainer/trainer_state.h"

static const char *const traces[] = {"result.json", "metrics.jsonl", "checkpoints", "config.json"};

static int32_t trace_of_run(di_trainer *t, const char **found, dk_error *err)
{
    *found = NULL;
    for (size_t i = 0; i < sizeof traces / sizeof *traces && !*found; i++) {
        char *path = dk_path_join(t->host, t->set.output, traces[i]);
        if (!path) return dk_fail_nomem(err, strlen(t->set.output));
        if (dk_path_exists(path)) *found = traces[i];
        dk_free(t->host, path);
    }
    return DK_OK;
}

/* A folder that cannot be written to is found out now, not after the last step. */
static int32_t probe(di_trainer *t, dk_error *err)
{
    char *path = dk_path_join(t->host, t->set.output, ".probe");
    dk_writer *writer = NULL;
    int32_t rc = path ? dk_writer_open(t->host, path, &writer, err) : dk_fail_nomem(err, 64);
    dk_writer_abort(writer);
    dk_free(t->host, path);
    return rc;
}

static int32_t clear(di_trainer *t, dk_error *err)
{
    int32_t rc = DK_OK;
    for (size_t i = 0; i < 3 && rc == DK_OK; i++) { /* the student's own files are replaced at the end */
        char *path = dk_path_join(t->host, t->set.output, traces[i]);
        if (!path) return dk_fail_nomem(err, strlen(t->set.output));
        if (dk_path_exists(path) == 2) rc = dk_dir_remove(t->host, path, err);
        else if (dk_path_exists(path) && remove(path) != 0)
            rc = dk_fail_errno(err, errno, "%s cannot be removed", path);
        dk_free(t->host, path);
    }
    return rc;
}

int32_t di_output_prepare(di_trainer *t, dk_error *err)
{
    const char *found;
    int32_t rc;
    DK_TRY(dk_dir_create(t->host, t->set.output, err));
    DK_TRY(probe(t, err));
    if (t->resumed) goto out;
    DK_TRY(trace_of_run(t, &found, err));
    if (!found) goto out;
    if (!t->set.overwrite)
        return dk_fail(
            err, DK_E_INVALID,
            "%s already holds a run (%s): resume it, give another output.path, or set output.overwrite to true",
            t->set.output, found);
    DK_TRY(clear(t, err));
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
int32_t di_output_student(di_trainer *t, dk_error *err)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(t->student);
    char *staging = dk_path_join(t->host, t->set.output, "student.tmp");
    mover m = {t->host, staging, t->set.output};
    int32_t rc;
    if (!staging) return dk_fail_nomem(err, strlen(t->set.output));
    DK_TRY(dk_dir_remove(t->host, staging, err));
    if (callbacks && !callbacks->save) goto out;
    DK_TRY(di_student_save(t->student, staging, t->set.save_dtype, err));
    DK_TRY(dk_dir_list(t->host, staging, move_one, &m, err));
    DK_TRY(dk_dir_remove(t->host, staging, err));
out:
    dk_free(t->host, staging);
    return rc;
}
