/* place.c - where output.path may not be: what a run reads must not lie where it writes. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "run/run.h"

char *di_real_path(dk_host *host, const char *path)
{
    char found[PATH_MAX], *folder, *above, *whole;
    if (realpath(path, found)) return dk_strdup(host, found);
    folder = dk_path_folder(host, path);
    above = folder && strcmp(folder, path) != 0 ? di_real_path(host, folder) : NULL;
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

typedef struct place {
    dk_host *host;
    const char *output;
    char *real; /* of it */
} place;

/* A folder of a model is closed to the output; beside a file of a model or of data there may be folders. */
static int32_t check_folder(const place *at, const char *what, const char *path, char *folder, dk_error *err)
{
    int32_t is_folder = dk_path_exists(path) == 2, rc = DK_OK;
    char *real = folder ? di_real_path(at->host, folder) : NULL;
    const char *where = !real                                   ? NULL
                        : strcmp(at->real, real) == 0           ? "is"
                        : is_above(at->real, real)              ? "is above"
                        : is_folder && is_above(real, at->real) ? "is inside"
                                                                : NULL;
    if (where)
        rc = dk_fail(err, DK_E_OPTION,
                     "output.path %s %s the folder of %s (%s), whose files a run must not replace: give another one",
                     at->output, where, what, path);
    dk_free(at->host, folder);
    dk_free(at->host, real);
    return rc;
}

/* Where it is, and where a link to a file leads. */
static int32_t check_one(const place *at, const char *what, const char *path, dk_error *err)
{
    dk_host *host = at->host;
    if (dk_path_exists(path) == 2) return check_folder(at, what, path, dk_strdup(host, path), err);
    char *file = di_real_path(host, path), *folder = file ? dk_path_folder(host, file) : NULL;
    dk_free(host, file);
    int32_t rc = check_folder(at, what, path, dk_path_folder(host, path), err);
    if (rc == DK_OK) return check_folder(at, what, path, folder, err);
    dk_free(host, folder);
    return rc;
}

static int32_t check_options(const place *at, const di_options *options, dk_error *err)
{
    static const char *const keys[] = {"teacher.path", "student.path", "student.config"};
    static const char *const lists[] = {"data.train", "data.eval"};
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < di_options_list_size(options, "teachers"); i++) {
        const char *value = di_options_text(di_options_item(options, "teachers", i), "path");
        if (value) DK_TRY(check_one(at, "one of teachers", value, err));
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = di_options_text(options, keys[i]);
        if (value) DK_TRY(check_one(at, keys[i], value, err));
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (int64_t k = 0; k < di_options_list_size(options, lists[i]); k++) {
            const char *value = di_options_text(di_options_item(options, lists[i], k), "path");
            if (value) DK_TRY(check_one(at, lists[i], value, err));
        }
out:
    return rc;
}

int32_t di_output_check_place(dk_host *host, const char *output, const di_options *options, const char *teacher,
                              dk_error *err)
{
    place at = {host, output, output ? di_real_path(host, output) : NULL};
    int32_t rc = DK_OK;
    if (!at.real) return DK_OK;
    if (*teacher) DK_TRY(check_one(&at, "the teacher", teacher, err));
    DK_TRY(check_options(&at, options, err));
out:
    dk_free(host, at.real);
    return rc;
}
