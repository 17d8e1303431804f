#include "fill/fill_parts.h"

#include <string.h>

#include "base/ranks.h"
#include "format/open_tokenizer.h"

static int32_t caches_of(const di_fill_args *args)
{
    return dk_ranks(args->backend->host) > 1 ? DI_CACHES_TOGETHER : DI_CACHES_ADD;
}

static int32_t count_cache(void *user, di_cache *cache, dk_error *err)
{
    (void)cache, (void)err;
    ++*(int64_t *)user;
    return DK_OK;
}

static int32_t open_teacher(const di_fill_args *args, di_teacher **out, dk_error *err)
{
    di_teacher *teacher = NULL;
    int64_t caches = 0;
    int32_t rc = DK_OK;
    if (args->teacher) teacher = di_teacher_retain(args->teacher);
    else if (caches_of(args) == DI_CACHES_ADD)
        DK_TRY(di_teacher_from_options(args->backend, args->options, NULL, &teacher, err));
    else DK_TRY(di_teacher_together(args->backend, args->options, &teacher, err));
    if (!teacher) return dk_fail(err, DK_E_OPTION, "teacher.path is not set: there is nobody to ask for targets");
    if (args->path) {
        DK_TRY(di_teacher_cached_entry(args->backend, args->path, teacher, args->options, NULL, caches_of(args), out,
                                       err));
        goto out;
    }
    DK_TRY(di_teacher_caches(teacher, count_cache, &caches, err));
    if (!caches)
        DK_TRY(dk_fail(err, DK_E_OPTION, "teacher.cache.path is not set: there is no file to keep targets in"));
    *out = di_teacher_retain(teacher);
out:
    di_teacher_release(teacher);
    return rc;
}

/* The teacher's; one that has none reads with the student's. */
static int32_t open_data(const di_fill_args *args, di_fill_parts *parts, dk_error *err)
{
    const di_options *o = args->options;
    const double fraction = di_options_f64(o, "data.eval_fraction");
    const char *student = di_options_text(o, "student.path");
    dk_host *host = args->backend->host;
    dk_tokenizer *tokenizer = di_teacher_tokenizer(parts->teacher), *own = NULL;
    di_dataset *whole = NULL;
    int32_t rc;
    if (!di_options_is_set(o, "data.train"))
        return dk_fail(err, DK_E_OPTION, "data.train is not set: there is nothing to ask about");
    if (!tokenizer && student) DK_TRY(dk_open_tokenizer(host, student, &own, err));
    if (!tokenizer) tokenizer = own;
    DK_TRY(di_dataset_open_list(host, "data.train", tokenizer, o, &whole, err));
    if (args->eval) parts->sets[1] = di_dataset_retain(args->eval);
    else if (di_options_is_set(o, "data.eval"))
        DK_TRY(di_dataset_open_list(host, "data.eval", tokenizer, o, &parts->sets[1], err));
    else if (fraction > 0) {
        DK_TRY(di_dataset_split(whole, fraction, &parts->sets[0], &parts->sets[1], err));
        goto out;
    }
    parts->sets[0] = whole;
    whole = NULL;
out:
    di_dataset_release(whole);
    dk_tokenizer_release(own);
    return rc;
}

static int32_t look_bare(const di_fill_args *args, di_teacher **out, dk_error *err)
{
    di_options *bare = NULL;
    int32_t rc = DK_OK;
    if (args->teacher) {
        *out = di_teacher_retain(args->teacher);
        return DK_OK;
    }
    DK_TRY(di_options_copy(args->options, args->backend->host, -1, &bare, err));
    DK_TRY(di_options_set(bare, "teacher.cache.path", NULL, err));
    DK_TRY(di_teacher_look(args->backend, bare, out, err));
    if (!*out) DK_TRY(dk_fail(err, DK_E_OPTION, "teacher.path is not set: there is nobody to ask for targets"));
out:
    di_options_free(bare);
    return rc;
}

/* Its caches are those of the options, or one of that path around it. */
static int32_t look(const di_fill_args *args, di_teacher **out, dk_error *err)
{
    di_teacher *teacher = NULL;
    di_cache *cache;
    int32_t rc = DK_OK;
    if (args->teacher) teacher = di_teacher_retain(args->teacher);
    else DK_TRY(di_teacher_look(args->backend, args->options, &teacher, err));
    if (!teacher) return dk_fail(err, DK_E_OPTION, "teacher.path is not set: there is nobody to ask for targets");
    const char *path = args->path ? args->path : di_options_text(args->options, "teacher.cache.path");
    if (path && (args->path || args->teacher)) {
        DK_TRY(di_teacher_cached_entry(args->backend, path, teacher, args->options, NULL, 1, out, err));
        goto out;
    }
    if (!di_teacher_cache_at(teacher, 0, &cache, NULL))
        DK_TRY(
            dk_fail(err, DK_E_OPTION, "teacher.cache.path is not set: there is no file whose size can be predicted"));
    *out = di_teacher_retain(teacher);
out:
    di_teacher_release(teacher);
    return rc;
}

typedef int32_t (*opener)(const di_fill_args *args, di_teacher **out, dk_error *err);

static int32_t open_parts(const di_fill_args *args, opener open, di_fill_parts *out, dk_error *err)
{
    int32_t rc;
    memset(out, 0, sizeof *out);
    DK_TRY(open(args, &out->teacher, err));
    if (args->data) out->sets[0] = di_dataset_retain(args->data);
    if (args->data && args->eval) out->sets[1] = di_dataset_retain(args->eval);
    if (!args->data) DK_TRY(open_data(args, out, err));
    for (int64_t i = 0; i < DI_FILL_SETS && out->sets[i]; i++) {
        if (di_dataset_is_stream(out->sets[i]))
            DK_TRY(dk_fail(err, DK_E_UNSUPPORTED, "a stream is read once: %s",
                           args->of_run ? "several ranks fill a cache before they train; leave teacher.cache out"
                                        : "train with a cached teacher, which fills the file"));
        DK_TRY(di_dataset_get_i64(out->sets[i], "windows", &out->windows[i], err));
        DK_TRY(di_dataset_check_vocab(out->sets[i], di_teacher_vocab(out->teacher), err));
        out->total += out->windows[i];
        out->count++;
    }
out:
    if (rc) di_fill_parts_close(out);
    return rc;
}

int32_t di_fill_parts_open(const di_fill_args *args, di_fill_parts *out, dk_error *err)
{
    return open_parts(args, open_teacher, out, err);
}

int32_t di_fill_parts_together(const di_fill_args *args, di_fill_parts *out, dk_error *err)
{
    dk_host *host = args->backend->host;
    int32_t rc = DK_OK;
    memset(out, 0, sizeof *out);
    if (dk_rank(host) == 0) rc = open_parts(args, open_teacher, out, err);
    DK_TRY(dk_ranks_agree(host, rc, err)); /* the files are as rank 0 begins with them */
    if (dk_rank(host)) rc = open_parts(args, open_teacher, out, err);
    DK_TRY(dk_ranks_agree(host, rc, err));
out:
    if (rc) di_fill_parts_close(out);
    return rc;
}

int32_t di_fill_parts_look(const di_fill_args *args, di_fill_parts *out, dk_error *err)
{
    return open_parts(args, look, out, err);
}

int32_t di_fill_parts_look_bare(const di_fill_args *args, di_fill_parts *out, dk_error *err)
{
    return open_parts(args, look_bare, out, err);
}

void di_fill_parts_close(di_fill_parts *parts)
{
    for (int64_t i = 0; i < DI_FILL_SETS; i++) di_dataset_release(parts->sets[i]);
    di_teacher_release(parts->teacher);
    memset(parts, 0, sizeof *parts);
}
