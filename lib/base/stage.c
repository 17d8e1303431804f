/* stage.c - a new folder beside its place. */
#include "base/file.h"

#include "base/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int32_t dk_dir_stage(dk_host *host, const char *path, dk_staged *staged, dk_error *err)
{
    int32_t rc;
    size_t size = strlen(path) + DK_TEMPORARY_EXTRA;
    char *name = NULL, *folder = dk_path_folder(host, path);
    int made = -1;
    if (!folder) DK_TRY(dk_fail_nomem(err, size));
    if (!*path) DK_TRY(dk_fail(err, DK_E_INVALID, "the path of the folder to be written is empty"));
    DK_TRY(dk_new(host, size, &name, err));
    DK_TRY(dk_dir_create(host, folder, err));
    DK_TRY(dk_remove_leftovers(host, path, err));
    for (int n = 0; made && n < DK_TEMPORARY_TRIES; n++) {
        dk_temporary_name(name, size, path, n);
        made = mkdir(name, 0777);
        if (made && errno != EEXIST) break;
    }
    if (made) DK_TRY(dk_fail_errno(err, errno, "%s: the folder cannot be created", path));
    /* a disk that knows no locks goes on without: the number of the process is in the name */
    const int lock = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (lock >= 0 && flock(lock, LOCK_EX) && errno == EINTR) continue; /* who looks for leftovers has it a moment */
    *staged = (dk_staged){.path = name, .lock = lock};
    name = NULL;
out:
    dk_free(host, folder);
    dk_free(host, name);
    return rc;
}

void dk_staged_end(dk_host *host, dk_staged *staged)
{
    if (!staged->path) return;
    dk_dir_remove(host, staged->path, NULL);
    if (staged->lock >= 0) close(staged->lock);
    dk_free(host, staged->path);
    *staged = (dk_staged){.path = NULL};
}
