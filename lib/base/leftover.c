/* leftover.c - what a process that was killed was writing: found beside the target when the next one writes there. */
#include "base/file.h"

#include "base/sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A lock that is free says that no process, here or on another machine that shares the disk, writes the file. */
static int32_t is_locked(int folder, const char *name)
{
    const int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno != ENOENT;
    const int32_t locked = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return locked;
}

static int32_t is_written(int folder, const char *name)
{
    const int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return is_locked(folder, name);
    int32_t written = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    DIR *dir = fdopendir(fd);
    if (!dir) return close(fd), 1;
    for (struct dirent *entry; !written && (entry = readdir(dir));)
        written = dk_is_temporary(entry->d_name) && is_written(dirfd(dir), entry->d_name);
    closedir(dir);
    return written;
}

/* "<name>.tmp.<pid>.<n>", of a process that is no more. */
static int32_t is_left(const char *entry, const char *name, size_t size)
{
    if (strncmp(entry, name, size) != 0 || !dk_is_temporary_end(entry + size)) return 0;
    const long pid = strtol(entry + size + sizeof ".tmp." - 1, NULL, 10);
    return pid > 0 && (long)(pid_t)pid == pid && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static int32_t remove_one(dk_host *host, const char *folder, const char *entry, dk_error *err)
{
    char *path = dk_path_join(host, folder, entry);
    if (!path) return dk_fail_nomem(err, strlen(folder) + strlen(entry) + 2);
    if (dk_dir_remove(host, path, NULL) == DK_OK)
        dk_log(host, DK_LOG_INFO, "file", "%s is removed: a process that was killed had begun it", path);
    dk_free(host, path);
    return DK_OK;
}

int32_t dk_remove_leftovers(dk_host *host, const char *path, dk_error *err)
{
    int32_t rc = DK_OK;
    const char *name = dk_path_name(path);
    size_t size = strlen(name);
    while (size > 1 && name[size - 1] == '/') size--;
    char *folder = dk_path_folder(host, path);
    if (!folder) return dk_fail_nomem(err, strlen(path) + 1);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (is_left(entry->d_name, name, size) && !is_written(dirfd(dir), entry->d_name))
            DK_TRY(remove_one(host, folder, entry->d_name, err));
out:
    if (dir) closedir(dir);
    dk_free(host, folder);
    return rc;
}
