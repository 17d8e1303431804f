/* checkpoint_runs.c - the checkpoints of one run, below output.path/checkpoints: step-00000100, ..., and best. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "run/checkpoint_parts.h"

static char *checkpoint_path(const di_run *run, const char *name)
{
    char *folder = dk_path_join(run->host, run->output.path, "checkpoints"),
         *path = folder ? dk_path_join(run->host, folder, name) : NULL;
    dk_free(run->host, folder);
    return path;
}

typedef struct finder {
    int64_t newest, oldest, count;
} finder;

static int32_t find_step(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    finder *f = user;
    int64_t step;
    (void)err;
    if (!is_dir || strncmp(name, "step-", 5) != 0 || !dk_parse_i64(name + 5, strspn(name + 5, "0123456789"), &step))
        return DK_OK;
    if (name[5 + strspn(name + 5, "0123456789")] != '\0') return DK_OK; /* a folder that was never finished */
    if (f->count == 0 || step > f->newest) f->newest = step;
    if (f->count == 0 || step < f->oldest) f->oldest = step;
    f->count++;
    return DK_OK;
}

static int32_t find_steps(const di_run *run, finder *f, dk_error *err)
{
    char *folder = dk_path_join(run->host, run->output.path, "checkpoints");
    *f = (finder){0};
    if (!folder) return dk_fail_nomem(err, strlen(run->output.path));
    int32_t rc = dk_path_exists(folder) == 2 ? dk_dir_list(run->host, folder, find_step, f, err) : DK_OK;
    dk_free(run->host, folder);
    return rc;
}

static char *step_path(const di_run *run, int64_t step)
{
    char name[32];
    snprintf(name, sizeof name, "step-%08lld", (long long)step);
    return checkpoint_path(run, name);
}

static int32_t prune(di_run *run, dk_error *err)
{
    finder f;
    int32_t rc;
    for (;;) {
        DK_TRY(find_steps(run, &f, err));
        if (f.count <= run->checkpoints.keep) break;
        char *path = step_path(run, f.oldest);
        rc = path ? dk_dir_remove(run->host, path, err) : dk_fail_nomem(err, 64);
        dk_free(run->host, path);
        if (rc != DK_OK) break;
    }
out:
    return rc;
}

int32_t di_checkpoint_write(di_run *run, dk_error *err)
{
    char *folder = dk_path_join(run->host, run->output.path, "checkpoints"),
         *path = step_path(run, run->trainer->counters.step);
    int32_t rc = folder && path ? DK_OK : dk_fail_nomem(err, strlen(run->output.path));
    if (rc != DK_OK) goto out;
    DK_TRY(dk_dir_create(run->host, folder, err));
    DK_TRY(di_checkpoint_save(run, path, err));
    DK_TRY(prune(run, err));
out:
    dk_free(run->host, folder);
    dk_free(run->host, path);
    return rc;
}

int32_t di_checkpoint_best(di_run *run, dk_error *err)
{
    char *folder = dk_path_join(run->host, run->output.path, "checkpoints"), *path = checkpoint_path(run, "best");
    int32_t rc = folder && path ? DK_OK : dk_fail_nomem(err, strlen(run->output.path));
    if (rc != DK_OK) goto out;
    DK_TRY(dk_dir_create(run->host, folder, err));
    DK_TRY(di_checkpoint_save(run, path, err));
out:
    dk_free(run->host, folder);
    dk_free(run->host, path);
    return rc;
}

int32_t di_checkpoint_load_best(di_run *run, dk_error *err)
{
    char *path = checkpoint_path(run, "best");
    int32_t rc = path ? di_checkpoint_load_weights(run, path, err) : dk_fail_nomem(err, 64);
    dk_free(run->host, path);
    return rc;
}

static int32_t newest(di_run *run, char **path, dk_error *err)
{
    finder f;
    *path = NULL;
    int32_t rc = find_steps(run, &f, err);
    if (rc == DK_OK && f.count && !(*path = step_path(run, f.newest))) rc = dk_fail_nomem(err, 64);
    return rc;
}

int32_t di_run_resume(di_run *run, dk_error *err)
{
    char *path = NULL;
    int32_t rc;
    if (!run->output.path) return dk_fail(err, DK_E_OPTION, "resume needs output.path: checkpoints are below it");
    DK_TRY(newest(run, &path, err));
    if (!path) {
        rc = dk_fail(err, DK_E_NOT_FOUND, "%s/checkpoints holds no checkpoint: start without resume", run->output.path);
        goto out;
    }
    DK_TRY(di_checkpoint_load(run, path, err));
    DK_TRY(di_metrics_rewind(&run->output, run->trainer->counters.step, err));
    run->resumed = 1;
    dk_log(run->host, DK_LOG_INFO, "trainer", "resumed from %s", path);
out:
    dk_free(run->host, path);
    return rc;
}
