#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int32_t check_regular(const char *path, mode_t mode, dk_error *err)
{
    const char *kind = S_ISDIR(mode)    ? "a folder"
                       : S_ISFIFO(mode) ? "a pipe"
                       : S_ISSOCK(mode) ? "a socket"
                                        : "a device";
    return S_ISREG(mode) ? DK_OK : dk_fail(err, DK_E_IO, "%s: is %s; a file is needed", path, kind);
}

/* Opens for reading. Whatever could wait, has no end or acts when it is opened is refused before and after: the name
 * may get another meaning in between. */
static int32_t open_for_read(const char *path, int *fd, struct stat *info, dk_error *err)
{
    int opened;
    int32_t rc;
    if (stat(path, info)) return dk_fail_errno(err, errno, "%s: cannot be opened", path);
    DK_TRY(check_regular(path, info->st_mode, err));
    do opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (opened < 0 && errno == EINTR);
    if (opened < 0) return dk_fail_errno(err, errno, "%s: cannot be opened", path);
    rc = fstat(opened, info) ? dk_fail_errno(err, errno, "%s: cannot be examined", path)
                             : check_regular(path, info->st_mode, err);
    if (rc == DK_OK) *fd = opened;
    else close(opened);
out:
    return rc;
}

static int32_t fail_limit(const char *path, uint64_t limit, dk_error *err)
{
    return dk_fail(err, DK_E_FORMAT, "%s: is larger than %llu bytes, the limit for such a file", path,
                   (unsigned long long)limit);
}

typedef struct content { /* what was read so far; room for a NUL is kept */
    char *data;
    uint64_t size, capacity;
} content;

static int32_t grow(dk_host *host, content *read_so_far, dk_error *err)
{
    uint64_t wanted = read_so_far->capacity * 2;
    char *grown = dk_realloc(host, read_so_far->data, wanted, 1);
    if (!grown) return dk_fail_nomem(err, wanted);
    read_so_far->data = grown;
    read_so_far->capacity = wanted;
    return DK_OK;
}

/* Reads to the end, whatever stat said: files of the system have no size, and a file may grow meanwhile. */
static int32_t read_to_end(dk_host *host, int fd, const char *path, uint64_t limit, content *to, dk_error *err)
{
    int32_t rc = DK_OK;
    for (;;) {
        if (to->size + 1 >= to->capacity) DK_TRY(grow(host, to, err));
        ssize_t got = read(fd, to->data + to->size, (size_t)(to->capacity - to->size - 1));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return dk_fail_errno(err, errno, "%s: cannot be read", path);
        to->size += (uint64_t)got;
        if (to->size > limit) return fail_limit(path, limit, err);
        if (!got) break;
    }
    to->data[to->size] = 0;
out:
    return rc;
}

int32_t dk_file_read(dk_host *host, const char *path, uint64_t limit, char **data, size_t *size, dk_error *err)
{
    int32_t rc;
    int fd = -1;
    struct stat info;
    content to = {NULL, 0, 4096};
    DK_TRY(open_for_read(path, &fd, &info, err));
    if (info.st_size > 0 && (uint64_t)info.st_size > limit) DK_TRY(fail_limit(path, limit, err));
    if (info.st_size > 4000) to.capacity = (uint64_t)info.st_size + 2;
    DK_TRY(dk_new(host, to.capacity, &to.data, err));
    DK_TRY(read_to_end(host, fd, path, limit, &to, err));
    *data = to.data;
    *size = (size_t)to.size;
    to.data = NULL;
out:
    if (fd >= 0) close(fd);
    dk_free(host, to.data);
    return rc;
}

static int32_t map_copy(dk_host *host, const char *path, dk_mapping *out, dk_error *err)
{
    char *data;
    size_t size;
    int32_t rc = dk_file_read(host, path, INT64_MAX, &data, &size, err);
    if (rc) return rc;
    *out = (dk_mapping){(const uint8_t *)data, size, 0, host};
    return DK_OK;
}

int32_t dk_map_open(dk_host *host, const char *path, int32_t use_mmap, dk_mapping *out, dk_error *err)
{
    int fd;
    struct stat info;
    int32_t rc = open_for_read(path, &fd, &info, err);
    if (rc) return rc;
    if (!use_mmap || info.st_size <= 0) {
        close(fd);
        return map_copy(host, path, out, err);
    }
    void *data = (uint64_t)info.st_size > SIZE_MAX ? MAP_FAILED
                                                   : mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    close(fd);
    if (data == MAP_FAILED) return dk_fail_errno(err, reason, "%s: cannot be mapped into memory", path);
    *out = (dk_mapping){data, (uint64_t)info.st_size, 1, host};
    return DK_OK;
}

void dk_map_close(dk_mapping *map)
{
    if (map->mapped) munmap((void *)(uintptr_t)map->data, (size_t)map->size);
    else if (map->data) dk_free(map->host, (void *)(uintptr_t)map->data);
    memset(map, 0, sizeof *map);
}

int32_t dk_file_append(dk_host *host, const char *path, const void *data, size_t size, dk_error *err)
{
    const char *bytes = data;
    int fd, reason = 0;
    (void)host;
    do fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666); /* a pipe must not wait */
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return dk_fail_errno(err, errno, "%s: cannot be opened for appending", path);
    while (size && !reason) {
        ssize_t put = write(fd, bytes, size);
        if (put < 0 && errno != EINTR) reason = errno;
        if (put > 0) bytes += put, size -= (size_t)put;
    }
    if (close(fd) && !reason) reason = errno;
    return reason ? dk_fail_errno(err, reason, "%s: cannot be written", path) : DK_OK;
}
