/* checkpoint_runs.c - the checkpoints of one run, below output.path/checkpoints: step-00000100, ..., and best. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "trainer/checkpoint_parts.h"

static char *checkpoint_path(const di_trainer *t, const char *name)
{
    char *folder = dk_path_join(t->host, t->set.output, "checkpoints"),
         *path = folder ? dk_path_join(t->host, folder, name) : NULL;
    dk_free(t->host, folder);
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

static int32_t find_steps(const di_trainer *t, finder *f, dk_error *err)
{
    char *folder = dk_path_join(t->host, t->set.output, "checkpoints");
    *f = (finder){0};
    if (!folder) return dk_fail_nomem(err, strlen(t->set.output));
    int32_t rc = dk_path_exists(folder) == 2 ? dk_dir_list(t->host, folder, find_step, f, err) : DK_OK;
    dk_free(t->host, folder);
    return rc;
}

static char *step_path(const di_trainer *t, int64_t step)
{
    char name[32];
    snprintf(name, sizeof name, "step-%08lld", (long long)step);
    return checkpoint_path(t, name);
}

static int32_t prune(di_trainer *t, dk_error *err)
{
    finder f;
    int32_t rc;
    for (;;) {
        DK_TRY(find_steps(t, &f, err));
        if (f.count <= t->set.checkpoint_keep) break;
        char *path = step_path(t, f.oldest);
        rc = path ? dk_dir_remove(t->host, path, err) : dk_fail_nomem(err, 64);
        dk_free(t->host, path);
        if (rc != DK_OK) break;
    }
out:
    return rc;
}

int32_t di_checkpoint_write(di_trainer *t, dk_error *err)
{
    char *folder = dk_path_join(t->host, t->set.output, "checkpoints"), *path = step_path(t, t->step);
    int32_t rc = folder && path ? DK_OK : dk_fail_nomem(err, strlen(t->set.output));
    if (rc != DK_OK) goto out;
    DK_TRY(dk_dir_create(t->host, folder, err));
    DK_TRY(di_trainer_save(t, path, err));
    DK_TRY(prune(t, err));
out:
    dk_free(t->host, folder);
    dk_free(t->host, path);
    return rc;
}

int32_t di_checkpoint_best(di_trainer *t, dk_error *err)
{
    char *folder = dk_path_join(t->host, t->set.output, "checkpoints"), *path = checkpoint_path(t, "best");
    int32_t rc = folder && path ? DK_OK : dk_fail_nomem(err, strlen(t->set.output));
    if (rc != DK_OK) goto out;
    DK_TRY(dk_dir_create(t->host, folder, err));
    DK_TRY(di_trainer_save(t, path, err));
out:
    dk_free(t->host, folder);
    dk_free(t->host, path);
    return rc;
}

int32_t di_checkpoint_load_best(di_trainer *t, dk_error *err)
{
    char *path = checkpoint_path(t, "best");
    int32_t rc = path ? di_checkpoint_load_weights(t, path, err) : dk_fail_nomem(err, 64);
    dk_free(t->host, path);
    return rc;
}

int32_t di_checkpoint_newest(di_trainer *t, char **path, dk_error *err)
{
    finder f;
    *path = NULL;
    int32_t rc = find_steps(t, &f, err);
    if (rc == DK_OK && f.count && !(*path = step_path(t, f.newest))) rc = dk_fail_nomem(err, 64);
    return rc;
}

int32_t di_trainer_resume(di_trainer *t, dk_error *err)
{
    char *path = NULL;
    int32_t rc;
    if (!t->set.output) return dk_fail(err, DK_E_OPTION, "resume needs output.path: checkpoints are below it");
    DK_TRY(di_checkpoint_newest(t, &path, err));
    if (!path) {
        rc = dk_fail(err, DK_E_NOT_FOUND, "%s/checkpoints holds no checkpoint: start without resume", t->set.output);
        goto out;
    }
    DK_TRY(di_trainer_load(t, path, err));
    DK_TRY(di_metrics_rewind(t, err));
    t->resumed = 1;
    dk_log(t->host, DK_LOG_INFO, "trainer", "resumed from %s", path);
out:
    dk_free(t->host, path);
    return rc;
}
