#include "base/file.h"

#include "base/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int32_t dk_path_exists(const char *path)
{
    struct stat info;
    if (stat(path, &info)) return 0;
    return S_ISDIR(info.st_mode) ? 2 : 1;
}

int32_t dk_path_look(const char *path, int32_t *found, dk_error *err)
{
    struct stat info;
    *found = 0;
    if (stat(path, &info))
        return errno == ENOENT || errno == ENOTDIR ? DK_OK : dk_fail_errno(err, errno, "%s: cannot be opened", path);
    *found = S_ISDIR(info.st_mode) ? 2 : 1;
    return DK_OK;
}

/* Length without slashes at the end; "/" keeps its one. */
static size_t trimmed_length(const char *path)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    return size;
}

const char *dk_path_name(const char *path)
{
    size_t at = trimmed_length(path);
    while (at && path[at - 1] != '/') at--;
    return path + at;
}

char *dk_path_join(dk_host *host, const char *folder, const char *name)
{
    size_t size = strlen(folder), more = strlen(name);
    if (name[0] == '/' || !size) return dk_strdup(host, name);
    if (size > SIZE_MAX - more - 2) return NULL;
    char *path = dk_alloc(host, (uint64_t)size + more + 2, 1);
    if (!path) return NULL;
    memcpy(path, folder, size);
    if (path[size - 1] != '/') path[size++] = '/';
    memcpy(path + size, name, more + 1);
    return path;
}

char *dk_path_folder(dk_host *host, const char *path)
{
    size_t size = (size_t)(dk_path_name(path) - path);
    if (!size) return dk_strdup(host, ".");
    while (size > 1 && path[size - 1] == '/') size--;
    return dk_strndup(host, path, size);
}

void dk_temporary_name(char *out, size_t size, const char *path, int n)
{
    snprintf(out, size, "%.*s.tmp.%ld.%d", (int)trimmed_length(path), path, (long)getpid(), n);
}

static size_t temporary_size(const char *text)
{
    static const char mark[] = ".tmp.";
    size_t size = sizeof mark - 1, digits;
    if (strncmp(text, mark, size) != 0) return 0;
    if ((digits = strspn(text + size, "0123456789")) == 0 || text[size + digits] != '.') return 0;
    size += digits + 1;
    digits = strspn(text + size, "0123456789");
    return digits ? size + digits : 0;
}

int32_t dk_is_temporary_end(const char *end)
{
    const size_t size = temporary_size(end);
    return size && !end[size];
}

void dk_hide_temporary(dk_error *err)
{
    if (!err) return;
    for (char *at = err->message; (at = strstr(at, ".tmp."));) {
        size_t size = temporary_size(at);
        if (size) memmove(at, at + size, strlen(at + size) + 1);
        else at++;
    }
}

int32_t dk_is_temporary(const char *name)
{
    const char *at = name;
    while ((at = strstr(at, ".tmp.")) && !temporary_size(at)) at++;
    return at != NULL;
}

int32_t dk_sync_folder_of(dk_host *host, const char *path, dk_error *err)
{
    int32_t rc = DK_OK;
    char *folder = dk_path_folder(host, path);
    if (!folder) return dk_fail_nomem(err, strlen(path) + 1);
    int fd = open(folder, O_RDONLY | O_CLOEXEC);
    if (fd < 0) rc = errno == EACCES ? DK_OK : dk_fail_errno(err, errno, "%s: cannot be opened", folder);
    else if (fsync(fd) && errno != EINVAL && errno != ENOTSUP) /* a file system that cannot do it */
        rc = dk_fail_errno(err, errno, "%s: cannot be written", folder);
    if (fd >= 0) close(fd);
    dk_free(host, folder);
    return rc;
}
