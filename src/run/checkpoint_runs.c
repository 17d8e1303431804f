/* checkpoint_runs.c - the checkpoints of one run, below output.path/checkpoints: step-00000100, ..., and best-00000080.
 *
 * The best ones go only when no kept checkpoint looks at them any more, so that going on from an older one finds its
 * best weights, too. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "run/checkpoint_parts.h"

static char *path_below(dk_host *host, const char *output, const char *kind, int64_t step)
{
    char name[48], *folder = dk_path_join(host, output, "checkpoints"), *path;
    snprintf(name, sizeof name, "%s-%08lld", kind, (long long)step);
    path = folder ? dk_path_join(host, folder, name) : NULL;
    dk_free(host, folder);
    return path;
}

static char *checkpoint_path(const di_run *run, const char *kind, int64_t step)
{
    return path_below(run->host, run->output.path, kind, step);
}

/* ---- what is there ---- */

typedef struct finder {
    const char *kind;
    int64_t below;          /* only steps below this */
    int64_t newest, oldest; /* of those; count 0 = none */
    int64_t count;
} finder;

static int32_t find_step(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    finder *f = user;
    int64_t step;
    size_t kind = strlen(f->kind), digits;
    (void)err;
    if (!is_dir || strncmp(name, f->kind, kind) != 0 || name[kind] != '-') return DK_OK;
    digits = strspn(name + kind + 1, "0123456789");
    if (name[kind + 1 + digits] != '\0' || !dk_parse_i64(name + kind + 1, digits, &step) || step >= f->below)
        return DK_OK; /* a folder that was never finished, or somebody else's */
    if (f->count == 0 || step > f->newest) f->newest = step;
    if (f->count == 0 || step < f->oldest) f->oldest = step;
    f->count++;
    return DK_OK;
}

static int32_t for_each(dk_host *host, const char *output, dk_dir_fn fn, void *user, dk_error *err)
{
    char *folder = dk_path_join(host, output, "checkpoints");
    if (!folder) return dk_fail_nomem(err, strlen(output));
    int32_t rc = dk_path_exists(folder) == 2 ? dk_dir_list(host, folder, fn, user, err) : DK_OK;
    dk_free(host, folder);
    return rc;
}

static int32_t find_steps(const di_run *run, const char *kind, int64_t below, finder *f, dk_error *err)
{
    *f = (finder){.kind = kind, .below = below};
    return for_each(run->host, run->output.path, find_step, f, err);
}

int32_t di_checkpoint_newest(dk_host *host, const char *output, char **path, dk_error *err)
{
    finder f = {.kind = "step", .below = INT64_MAX};
    int32_t rc;
    *path = NULL;
    DK_TRY(for_each(host, output, find_step, &f, err));
    if (f.count && !(*path = path_below(host, output, "step", f.newest))) rc = dk_fail_nomem(err, strlen(output));
out:
    return rc;
}

/* ---- what goes ---- */

static int32_t remove_one(const di_run *run, const char *kind, int64_t step, dk_error *err)
{
    char *path = checkpoint_path(run, kind, step);
    int32_t rc = path ? dk_dir_remove(run->host, path, err) : dk_fail_nomem(err, 64);
    dk_free(run->host, path);
    return rc;
}

/* Those of later steps were passed over when the run went on from an older one. */
static int32_t prune_steps(const di_run *run, dk_error *err)
{
    int64_t now = run->trainer->counters.step;
    finder f;
    int32_t rc;
    for (;;) {
        DK_TRY(find_steps(run, "step", INT64_MAX, &f, err));
        if (f.count && f.newest > now) DK_TRY(remove_one(run, "step", f.newest, err));
        else if (f.count > run->checkpoints.keep) DK_TRY(remove_one(run, "step", f.oldest, err));
        else break;
    }
out:
    return rc;
}

/* The best step that the oldest kept checkpoint knows of; what is older is nobody's. */
static int32_t prune_best(const di_run *run, dk_error *err)
{
    int64_t needed = run->evaluation.best.step;
    char *path = NULL;
    finder f;
    int32_t rc;
    DK_TRY(find_steps(run, "step", INT64_MAX, &f, err));
    if (f.count) {
        if (!(path = checkpoint_path(run, "step", f.oldest))) DK_TRY(dk_fail_nomem(err, 64));
        DK_TRY(di_checkpoint_best_step(run->host, path, &needed, err));
    }
    for (;;) {
        DK_TRY(find_steps(run, "best", INT64_MAX, &f, err));
        if (f.count && f.oldest < needed) DK_TRY(remove_one(run, "best", f.oldest, err));
        else if (f.count && f.newest > run->trainer->counters.step) DK_TRY(remove_one(run, "best", f.newest, err));
        else break;
    }
out:
    dk_free(run->host, path);
    return rc;
}

/* The new checkpoint is in place: what fails now costs room, not work. */
static void prune(const di_run *run)
{
    dk_error problem;
    if (dk_rank(run->host)) return;
    if (prune_steps(run, &problem) != DK_OK || prune_best(run, &problem) != DK_OK)
        dk_log(run->host, DK_LOG_WARN, "checkpoint", "an old checkpoint stays: %s", problem.message);
}

typedef struct cleaner {
    dk_host *host;
    const char *folder;
    int32_t shared; /* other files may lie there: only what begins as one of ours goes */
} cleaner;

static int32_t is_ours(const char *name)
{
    static const char *const begins[] = {"student.tmp", "result.json.tmp.", "metrics.jsonl.tmp."};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(name, begins[i], strlen(begins[i])) == 0) return 1;
    return 0;
}

static int32_t remove_leftover(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    const cleaner *c = user;
    (void)is_dir;
    if (!dk_is_temporary(name) || (c->shared && !is_ours(name))) return DK_OK;
    char *path = dk_path_join(c->host, c->folder, name);
    int32_t rc = path ? dk_dir_remove(c->host, path, err) : dk_fail_nomem(err, strlen(name));
    dk_free(c->host, path);
    return rc;
}

/* What a killed process was writing. */
static void remove_leftovers(di_run *run)
{
    if (dk_rank(run->host)) return;
    char *checkpoints = dk_path_join(run->host, run->output.path, "checkpoints");
    cleaner output = {run->host, run->output.path, 1}, inner = {run->host, checkpoints, 0};
    dk_error problem;
    int32_t rc = dk_dir_list(run->host, output.folder, remove_leftover, &output, &problem);
    if (rc == DK_OK && checkpoints) rc = for_each(run->host, run->output.path, remove_leftover, &inner, &problem);
    if (rc != DK_OK)
        dk_log(run->host, DK_LOG_WARN, "checkpoint", "what an interrupted run left behind stays: %s", problem.message);
    dk_free(run->host, checkpoints);
}

/* ---- writing ---- */

static int32_t write_one(di_run *run, const char *kind, dk_error *err)
{
    char *path = checkpoint_path(run, kind, run->trainer->counters.step);
    int32_t rc = path ? di_checkpoint_save(run, path, err) : dk_fail_nomem(err, strlen(run->output.path));
    dk_free(run->host, path);
    return rc;
}

int32_t di_checkpoint_write(di_run *run, dk_error *err)
{
    int32_t rc = write_one(run, "step", err);
    if (rc != DK_OK) return rc;
    run->checkpoints.written = dk_seconds();
    prune(run);
    return DK_OK;
}

int32_t di_checkpoint_best(di_run *run, dk_error *err)
{
    int32_t rc = write_one(run, "best", err);
    if (rc == DK_OK) prune(run);
    return rc;
}

/* ---- reading ---- */

static int32_t load_weights(di_run *run, const char *kind, int64_t step, dk_error *err)
{
    char *path = checkpoint_path(run, kind, step);
    int32_t rc = path ? di_checkpoint_load_weights(run, path, err) : dk_fail_nomem(err, 64);
    dk_free(run->host, path);
    return rc;
}

int32_t di_checkpoint_load_best(di_run *run, dk_error *err)
{
    return load_weights(run, "best", run->evaluation.best.step, err);
}

int32_t di_checkpoint_load_last(di_run *run, dk_error *err)
{
    return load_weights(run, "step", run->trainer->counters.step, err);
}

static int32_t is_damage(int32_t code) { return code == DK_E_FORMAT || code == DK_E_NOT_FOUND || code == DK_E_IO; }

/* All ranks read what rank 0 found: folders of a network appear late. */
static int32_t take_newest(const di_run *run, finder *f, dk_error *err)
{
    int64_t found[2] = {f->count, f->newest};
    const int32_t rc = dk_ranks_broadcast(run->host, found, sizeof found, 0, err);
    f->count = found[0];
    f->newest = found[1];
    return rc;
}

/* The newest whole one. Damaged ones are named, and left as they are until a checkpoint of this run is in place. */
static int32_t load_newest(di_run *run, char **path, dk_error *err)
{
    dk_error first;
    finder f;
    int32_t rc;
    dk_error_clear(&first);
    for (int64_t below = INT64_MAX;; below = f.newest) {
        DK_TRY(dk_ranks_agree(run->host, find_steps(run, "step", below, &f, err), err));
        DK_TRY(take_newest(run, &f, err));
        if (!f.count) break;
        dk_free(run->host, *path);
        if (!(*path = checkpoint_path(run, "step", f.newest))) DK_TRY(dk_fail_nomem(err, 64));
        rc = di_checkpoint_load(run, *path, err);
        if (rc == DK_OK || !is_damage(rc)) return rc;
        dk_log(run->host, DK_LOG_WARN, "checkpoint", "%s is not whole, the one before it is tried: %s", *path,
               err->message);
        if (!first.code) first = *err;
    }
    if (!first.code)
        return dk_fail(err, DK_E_NOT_FOUND, "%s/checkpoints holds no checkpoint: start without resume",
                       run->output.path);
    *err = first;
    return dk_error_context(err, "no checkpoint below %s/checkpoints is whole", run->output.path);
out:
    return rc;
}

/* Weights that are not there cannot be kept to the end; that is known now. */
static int32_t check_best(di_run *run, dk_error *err)
{
    di_best *best = &run->evaluation.best;
    dk_error problem;
    if (!run->evaluation.keep_best || best->step < 0) return DK_OK;
    char *path = checkpoint_path(run, "best", best->step);
    if (!path) return dk_fail_nomem(err, strlen(run->output.path));
    int32_t rc = di_checkpoint_check(run, path, &problem);
    dk_free(run->host, path);
    if (rc == DK_OK) return DK_OK;
    if (!is_damage(rc)) {
        *err = problem;
        return rc;
    }
    di_run_warn(run, "the best weights so far, of step %lld, are lost, later evaluations are compared without: %s",
                (long long)best->step, problem.message);
    *best = (di_best){.step = -1};
    return DK_OK;
}

static void forget_incomparable(di_run *run)
{
    di_best *best = &run->evaluation.best;
    if (run->evaluation.incomparable) run->trainer->on_policy.adaptive.has_last = 0;
    if (!run->evaluation.incomparable || best->step < 0) return;
    di_run_warn(run, "evaluations are compared anew from here: what was best at step %lld was measured otherwise",
                (long long)best->step);
    *best = (di_best){.step = -1};
}

int32_t di_run_resume(di_run *run, dk_error *err)
{
    char *path = NULL;
    dk_error own;
    int32_t rc;
    if (!err) err = &own;
    if (!run->output.path) return dk_fail(err, DK_E_OPTION, "resume needs output.path: checkpoints are below it");
    DK_TRY(dk_ranks_agree(run->host, di_progress_call(run->trainer, DISTILL_PHASE_LOADING, err), err));
    DK_TRY(di_output_shared(&run->output, err));
    DK_TRY(load_newest(run, &path, err));
    DK_TRY(check_best(run, err));
    forget_incomparable(run);
    if (dk_rank(run->host) == 0)
        rc = di_metrics_rewind(&run->output, run->trainer->counters.step, run->evaluation.evaluated, err);
    DK_TRY(dk_ranks_agree(run->host, rc, err));
    remove_leftovers(run);
    run->resumed = 1;
    dk_log(run->host, DK_LOG_INFO, "trainer", "resumed from %s", path);
    dk_error_clear(err);
out:
    dk_free(run->host, path);
    return rc;
}
