#include "base/file.h"

#include "base/sync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

static int remove_at(int folder, const char *name);

static int32_t make_one(const char *path, dk_error *err)
{
    if (!mkdir(path, 0777)) return DK_OK;
    int reason = errno;
    if (reason == EEXIST && dk_path_exists(path) == 2) return DK_OK;
    return dk_fail_errno(err, reason == EEXIST ? ENOTDIR : reason, "%s: the folder cannot be created", path);
}

int32_t dk_dir_create(dk_host *host, const char *path, dk_error *err)
{
    int32_t rc = DK_OK;
    if (dk_path_exists(path) == 2) return DK_OK;
    char *copy = dk_strdup(host, path);
    if (!copy) return dk_fail_nomem(err, strlen(path) + 1);
    for (char *at = copy + 1; *at; at++) {
        if (*at != '/' || at[-1] == '/') continue;
        *at = 0;
        if (dk_path_exists(copy) != 2) DK_TRY(make_one(copy, err));
        *at = '/';
    }
    DK_TRY(make_one(copy, err));
out:
    dk_free(host, copy);
    return rc;
}

/* Linux swaps two folders in one step; elsewhere the old one steps aside first. 0, or errno's value. */
static int swap_folders(const char *staged, const char *path)
{
#if defined(__linux__) && defined(SYS_renameat2)
    const unsigned exchange = 2; /* RENAME_EXCHANGE */
    if (!syscall(SYS_renameat2, AT_FDCWD, staged, AT_FDCWD, path, exchange)) return 0;
    if (errno != ENOSYS && errno != EINVAL) return errno;
#else
    (void)staged;
    (void)path;
#endif
    return ENOSYS;
}

/* The new folder is in place: what it replaced is a matter of room, no longer of failure. */
static void remove_replaced(dk_host *host, const char *old, const char *path)
{
    if (remove_at(AT_FDCWD, old))
        dk_log(host, DK_LOG_WARN, "file", "%s is in place, but what it replaced cannot be removed: %s", path,
               strerror(errno));
}

/* The old folder gets the staged one's name with ".old", so that a failure can put it back. */
static int32_t replace_in_two_steps(dk_host *host, const char *staged, const char *path, dk_error *err)
{
    int32_t rc;
    size_t size = strlen(staged) + 5;
    char *old;
    DK_TRY(dk_new(host, size, &old, err));
    snprintf(old, size, "%s.old", staged);
    if (rename(path, old)) {
        rc = dk_fail_errno(err, errno, "%s: cannot be replaced", path);
    } else if (rename(staged, path)) {
        rc = dk_fail_errno(err, errno, "%s: cannot be replaced", path);
        rename(old, path);
    } else {
        rc = DK_OK;
        remove_replaced(host, old, path);
    }
    dk_free(host, old);
out:
    return rc;
}

int32_t dk_dir_commit(dk_host *host, const dk_staged *folder, const char *path, dk_error *err)
{
    dk_error problem;
    int32_t rc = DK_OK;
    const char *staged = folder->path;
    if (rename(staged, path)) { /* works where path is missing or empty */
        int reason = errno;
        if (reason != ENOTEMPTY && reason != EEXIST) return dk_fail_errno(err, reason, "%s: cannot be replaced", path);
        reason = swap_folders(staged, path);
        if (reason && reason != ENOSYS) return dk_fail_errno(err, reason, "%s: cannot be replaced", path);
        if (reason) DK_TRY(replace_in_two_steps(host, staged, path, err));
        else remove_replaced(host, staged, path);
    }
    if (dk_sync_folder_of(host, path, &problem) != DK_OK)
        dk_log(host, DK_LOG_WARN, "file", "%s is in place, but may not survive a power cut: %s", path, problem.message);
out:
    return rc;
}

static int remove_children(DIR *dir);

/* Works by descriptors, so that nobody can put a link in the way. 0, or -1 with errno. */
static int remove_at(int folder, const char *name)
{
    int rc, reason;
    if (!unlinkat(folder, name, 0)) return 0;
    if (errno != EISDIR && errno != EPERM) return errno == ENOENT ? 0 : -1;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return -1;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -1;
    }
    rc = remove_children(dir);
    reason = errno;
    closedir(dir);
    errno = reason;
    return rc ? rc : unlinkat(folder, name, AT_REMOVEDIR);
}

static int remove_children(DIR *dir)
{
    for (struct dirent *entry; (errno = 0, entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (remove_at(dirfd(dir), entry->d_name)) return -1;
    }
    return errno ? -1 : 0;
}

int32_t dk_dir_remove(dk_host *host, const char *path, dk_error *err)
{
    (void)host;
    if (remove_at(AT_FDCWD, path)) return dk_fail_errno(err, errno, "%s: cannot be removed", path);
    return DK_OK;
}

typedef struct name_list {
    char **names;
    uint64_t count, capacity;
} name_list;

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int32_t add_name(dk_host *host, name_list *list, const char *name, dk_error *err)
{
    if (list->count == list->capacity) {
        uint64_t capacity = list->capacity ? list->capacity * 2 : 16;
        char **grown = dk_realloc(host, list->names, capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, capacity * sizeof *grown);
        list->names = grown;
        list->capacity = capacity;
    }
    list->names[list->count] = dk_strdup(host, name);
    if (!list->names[list->count]) return dk_fail_nomem(err, strlen(name) + 1);
    list->count++;
    return DK_OK;
}

static int32_t collect_names(dk_host *host, const char *path, name_list *list, dk_error *err)
{
    int32_t rc = DK_OK;
    DIR *dir = opendir(path);
    if (!dir) return dk_fail_errno(err, errno, "%s: the folder cannot be read", path);
    for (struct dirent *entry; (errno = 0, entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) DK_TRY(add_name(host, list, entry->d_name, err));
    if (errno) rc = dk_fail_errno(err, errno, "%s: the folder cannot be read", path);
out:
    closedir(dir);
    return rc;
}

int32_t dk_dir_list(dk_host *host, const char *path, dk_dir_fn fn, void *user, dk_error *err)
{
    name_list list = {NULL, 0, 0};
    int32_t rc;
    DK_TRY(collect_names(host, path, &list, err));
    if (list.count) qsort(list.names, (size_t)list.count, sizeof *list.names, compare_names);
    for (uint64_t i = 0; i < list.count; i++) {
        char *whole = dk_path_join(host, path, list.names[i]);
        if (!whole) DK_TRY(dk_fail_nomem(err, strlen(path) + strlen(list.names[i]) + 2));
        int32_t is_dir = dk_path_exists(whole) == 2;
        dk_free(host, whole);
        DK_TRY(fn(user, list.names[i], is_dir, err));
    }
out:
    for (uint64_t i = 0; i < list.count; i++) dk_free(host, list.names[i]);
    dk_free(host, list.names);
    return rc;
}
