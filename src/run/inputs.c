/* inputs.c - several ranks: is what they train on, with and from the same on all of them? A difference is named before
 * the first step. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/ranks.h"
#include "cache/target_cache.h"
#include "run/run_state.h"

/* ---- before anything is opened ---- */

static int32_t describe_options(dk_host *host, const di_options *options, dk_ranks_item *items, dk_error *err)
{
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, host);
    snprintf(items[0].value, sizeof items->value, "%s", DISTILL_VERSION);
    DK_TRY(di_options_write_json(options, 0, &json, err));
    DK_TRY(dk_strbuf_check(&json, err));
    dk_ranks_item_hash(&items[1], json.data, json.size);
out:
    dk_strbuf_free(&json);
    return rc;
}

int32_t di_run_same_options(dk_host *host, const di_options *options, dk_error *err)
{
    dk_ranks_item items[] = {{.name = "version of the library"},
                             {.name = "options (give all ranks the same recipe and settings)"}};
    dk_error problem;
    if (dk_ranks(host) == 1) return DK_OK;
    const int32_t rc = dk_ranks_same(host, describe_options(host, options, items, err), items, 2, err);
    if (rc != DK_E_MISMATCH || !di_options_name_difference(host, options, &problem)) return rc;
    if (err) *err = problem;
    return problem.code;
}

/* ---- what was opened ---- */

static int32_t add_cache(void *user, di_cache *cache, dk_error *err)
{
    const di_cache_info info = di_cache_get_info(cache);
    const int64_t counts[2] = {info.records, info.rows};
    (void)err;
    dk_strbuf_append(user, (const char *)counts, sizeof counts);
    return DK_OK;
}

static int32_t describe(di_run *run, dk_ranks_item *items, dk_error *err)
{
    di_trainer *t = run->trainer;
    const dk_model *model = di_student_model(t->student);
    const char *teacher = NULL;
    dk_strbuf kept;
    int32_t rc;
    dk_strbuf_init(&kept, run->host);
    DK_TRY(di_dataset_hash(t->data.train, items[0].value, err));
    if (t->data.eval) DK_TRY(di_dataset_hash(t->data.eval, items[1].value, err));
    DK_TRY(di_run_manifest(run, &teacher, err));
    dk_ranks_item_hash(&items[2], teacher, strlen(teacher));
    if (model) DK_TRY(dk_model_hash(model, items[3].value, err));
    snprintf(items[4].value, sizeof items->value, "%s, evaluations %s", dk_precision_name(t->precision),
             dk_precision_name(run->evaluation.precision));
    snprintf(items[5].value, sizeof items->value, "%s", t->backend->products);
    if (!t->team.sharded) snprintf(items[6].value, sizeof items->value, "%d", (int)t->backend->isa);
    if (t->teacher) DK_TRY(di_teacher_caches(t->teacher, add_cache, &kept, err));
    DK_TRY(dk_strbuf_check(&kept, err));
    dk_ranks_item_hash(&items[7], kept.data, kept.size);
out:
    dk_strbuf_free(&kept);
    return rc;
}

int32_t di_run_inputs(di_run *run, dk_error *err)
{
    dk_ranks_item items[] = {
        {.name = "training data"},
        {.name = "held-out data"},
        {.name = "teacher"},
        {.name = "weights of the student"},
        {.name = "precision of products"},
        {.name = "kernels of products (compute.products)"},
        {.name =
             "instructions that rows are computed with (train.shard_optimizer lets each weight come from one rank)"},
        {.name = "targets that are kept (teacher.cache): give a file that all ranks share"}};
    int32_t rc = DK_OK;
    if (dk_ranks(run->host) == 1) return DK_OK;
    DK_TRY(dk_ranks_same(run->host, describe(run, items, err), items, sizeof items / sizeof *items, err));
    rc = di_ranks_names(run->trainer, err);
out:
    return rc;
}

/* ---- the output folder ---- */

/* Whether each rank sees what rank 0 wrote. The name is that of a leftover, should rank 0 be killed. */
static int32_t see(const di_output *output, const char *name, dk_error *err)
{
    char *path = dk_path_join(output->host, output->path, name);
    int32_t rc = path ? DK_OK : dk_fail_nomem(err, strlen(output->path));
    if (rc == DK_OK && dk_rank(output->host) == 0) rc = dk_file_replace(output->host, path, name, strlen(name), err);
    rc = dk_ranks_agree(output->host, rc, err);
    if (rc == DK_OK && dk_path_exists(path) != 1)
        rc = dk_fail(err, DK_E_MISMATCH,
                     "output.path %s is not the folder that rank 0 writes to: give one that all ranks share",
                     output->path);
    rc = dk_ranks_agree(output->host, rc, err);
    if (path && dk_rank(output->host) == 0) (void)dk_dir_remove(output->host, path, NULL);
    dk_free(output->host, path);
    return rc;
}

int32_t di_output_shared(const di_output *output, dk_error *err)
{
    char name[64];
    uint64_t number = (uint64_t)(dk_seconds() * 1e6);
    int32_t rc;
    if (dk_ranks(output->host) == 1) return DK_OK;
    DK_TRY(dk_ranks_broadcast(output->host, &number, sizeof number, 0, err));
    snprintf(name, sizeof name, "result.json.tmp.ranks-%016llx", (unsigned long long)number);
    DK_TRY(see(output, name, err));
out:
    return rc;
}
