/* grown_file.c - appending, and cutting back. */
#include "augment/grown_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct di_grown {
    dk_host *host;
    char *path;
    int fd;
    int64_t length;
    int32_t dirty; /* appended to since the last sync */
};

static int32_t cut(di_grown *file, int64_t length, dk_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info)) return dk_fail_errno(err, errno, "%s: cannot be read", file->path);
    if (info.st_size < length)
        return dk_fail(err, DK_E_MISMATCH, "%s: has %lld bytes, and %lld were written when the run stopped", file->path,
                       (long long)info.st_size, (long long)length);
    if (ftruncate(file->fd, (off_t)length)) return dk_fail_errno(err, errno, "%s: cannot be cut", file->path);
    if (lseek(file->fd, 0, SEEK_END) < 0) return dk_fail_errno(err, errno, "%s: cannot be appended to", file->path);
    file->length = length;
    return DK_OK;
}

static int32_t lock(int fd, const char *path, dk_error *err)
{
    if (!flock(fd, LOCK_EX | LOCK_NB) || errno != EWOULDBLOCK) return DK_OK;
    return dk_fail(err, DK_E_BUSY, "%s: another process writes it", path);
}

int32_t di_grown_check_free(const char *path, dk_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return DK_OK;
    const int32_t rc = lock(fd, path, err);
    close(fd);
    return rc;
}

int32_t di_grown_open(dk_host *host, const char *path, int64_t length, di_grown **out, dk_error *err)
{
    di_grown *file = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &file, err));
    file->host = host;
    file->fd = -1;
    if (!(file->path = dk_strdup(host, path))) DK_TRY(dk_fail_nomem(err, strlen(path) + 1));
    do file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) DK_TRY(dk_fail_errno(err, errno, "%s: cannot be written", path));
    DK_TRY(lock(file->fd, path, err));
    DK_TRY(cut(file, length, err));
    file->dirty = 1;
    *out = file;
    return DK_OK;
out:
    di_grown_close(file);
    return rc;
}

int32_t di_grown_append(di_grown *file, const void *data, size_t size, dk_error *err)
{
    const uint8_t *at = data;
    while (size) {
        const ssize_t put = write(file->fd, at, size);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return dk_fail_errno(err, put ? errno : ENOSPC, "%s: cannot be written", file->path);
        at += put, size -= (size_t)put, file->length += put;
        file->dirty = 1;
    }
    return DK_OK;
}

int32_t di_grown_sync(di_grown *file, dk_error *err)
{
    if (!file->dirty) return DK_OK;
    if (fsync(file->fd)) return dk_fail_errno(err, errno, "%s: cannot be written", file->path);
    file->dirty = 0;
    return DK_OK;
}

int64_t di_grown_length(const di_grown *file) { return file->length; }

void di_grown_close(di_grown *file)
{
    if (!file) return;
    if (file->fd >= 0) close(file->fd);
    dk_free(file->host, file->path);
    dk_free(file->host, file);
}
