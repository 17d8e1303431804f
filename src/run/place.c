/* place.c - where output.path may not be: what a run reads must not lie where it writes. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/run_state.h"

/* Links followed; of a path that does not exist yet, as far as it does. NULL = no memory, or no way there. */
static char *real_path(dk_host *host, const char *path)
{
    char found[PATH_MAX], *folder, *above, *whole;
    if (realpath(path, found)) return dk_strdup(host, found);
    folder = dk_path_folder(host, path);
    above = folder && strcmp(folder, path) != 0 ? real_path(host, folder) : NULL;
    whole = above ? dk_path_join(host, above, dk_path_name(path)) : NULL;
    dk_free(host, folder);
    dk_free(host, above);
    return whole;
}

static int32_t is_above(const char *folder, const char *path)
{
    size_t size = strlen(folder);
    if (size == 1) return 1; /* the root */
    return strncmp(folder, path, size) == 0 && path[size] == '/';
}

/* A folder of a model is closed to the output; beside a file of a model or of data there may be folders. */
static int32_t check_folder(const di_run *run, const char *output, const char *what, const char *path, char *folder,
                            dk_error *err)
{
    int32_t is_folder = dk_path_exists(path) == 2, rc = DK_OK;
    char *real = folder ? real_path(run->host, folder) : NULL;
    const char *where = !real                                 ? NULL
                        : strcmp(output, real) == 0           ? "is"
                        : is_above(output, real)              ? "is above"
                        : is_folder && is_above(real, output) ? "is inside"
                                                              : NULL;
    if (where)
        rc = dk_fail(err, DK_E_OPTION,
                     "output.path %s %s the folder of %s (%s), whose files a run must not replace: give another one",
                     run->output.path, where, what, path);
    dk_free(run->host, folder);
    dk_free(run->host, real);
    return rc;
}

/* Where it is, and where a link to a file leads. */
static int32_t check_one(const di_run *run, const char *output, const char *what, const char *path, dk_error *err)
{
    dk_host *host = run->host;
    if (dk_path_exists(path) == 2) return check_folder(run, output, what, path, dk_strdup(host, path), err);
    char *file = real_path(host, path), *folder = file ? dk_path_folder(host, file) : NULL;
    dk_free(host, file);
    int32_t rc = check_folder(run, output, what, path, dk_path_folder(host, path), err);
    if (rc == DK_OK) return check_folder(run, output, what, path, folder, err);
    dk_free(host, folder);
    return rc;
}

int32_t di_output_check_place(const di_run *run, dk_error *err)
{
    static const char *const keys[] = {"teacher.path", "student.path", "student.config"};
    static const char *const lists[] = {"data.train", "data.eval"};
    const di_trainer *t = run->trainer;
    const char *path = t->teacher ? di_teacher_path(t->teacher) : "";
    char *output;
    int32_t rc = DK_OK;
    if (!run->output.path || !(output = real_path(run->host, run->output.path))) return DK_OK;
    if (*path) DK_TRY(check_one(run, output, "the teacher", path, err));
    for (int64_t i = 0; i < di_options_list_size(t->options, "teachers"); i++) {
        const char *value = di_options_text(di_options_item(t->options, "teachers", i), "path");
        if (value) DK_TRY(check_one(run, output, "one of teachers", value, err));
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = di_options_text(t->options, keys[i]);
        if (value) DK_TRY(check_one(run, output, keys[i], value, err));
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (int64_t k = 0; k < di_options_list_size(t->options, lists[i]); k++) {
            const char *value = di_options_text(di_options_item(t->options, lists[i], k), "path");
            if (value) DK_TRY(check_one(run, output, lists[i], value, err));
        }
out:
    dk_free(run->host, output);
    return rc;
}
