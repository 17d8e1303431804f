#include "base/file.h"

#include "base/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { BUFFER_SIZE = 256 * 1024 };

struct dk_writer {
    dk_host *host;
    char *path;
    char *temporary;
    int fd;
    int64_t offset; /* of the first byte in buffer */
    size_t used;
    uint8_t *buffer;
};

static void free_writer(dk_writer *writer)
{
    dk_host *host = writer->host;
    if (writer->fd >= 0) close(writer->fd);
    dk_free(host, writer->path);
    dk_free(host, writer->temporary);
    dk_free(host, writer->buffer);
    dk_free(host, writer);
}

/* A name that nobody uses. The lock tells other machines that a process is at it. */
static int32_t create_temporary(dk_writer *writer, dk_error *err)
{
    size_t size = strlen(writer->path) + DK_TEMPORARY_EXTRA;
    int32_t rc = dk_new(writer->host, size, &writer->temporary, err);
    if (!rc) rc = dk_remove_leftovers(writer->host, writer->path, err);
    if (rc) return rc;
    for (int n = 0; n < DK_TEMPORARY_TRIES; n++) {
        dk_temporary_name(writer->temporary, size, writer->path, n);
        do writer->fd = open(writer->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        while (writer->fd < 0 && errno == EINTR);
        if (writer->fd >= 0 || errno != EEXIST) break;
    }
    if (writer->fd < 0) return dk_fail_errno(err, errno, "%s: cannot be created", writer->path);
    (void)flock(writer->fd, LOCK_EX | LOCK_NB);
    return DK_OK;
}

int32_t dk_writer_open(dk_host *host, const char *path, dk_writer **out, dk_error *err)
{
    int32_t rc;
    dk_writer *writer;
    if (!*path) return dk_fail(err, DK_E_INVALID, "the path of the file to be written is empty");
    DK_TRY(dk_new(host, 1, &writer, err));
    writer->host = host;
    writer->fd = -1;
    writer->path = dk_strdup(host, path);
    writer->buffer = dk_alloc(host, BUFFER_SIZE, 1);
    rc = writer->path && writer->buffer ? create_temporary(writer, err) : dk_fail_nomem(err, BUFFER_SIZE);
    if (rc) free_writer(writer);
    else *out = writer;
out:
    return rc;
}

static int32_t write_all(dk_writer *writer, const uint8_t *data, uint64_t size, dk_error *err)
{
    while (size) {
        ssize_t put = write(writer->fd, data, size < (1u << 30) ? (size_t)size : (size_t)1 << 30);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return dk_fail_errno(err, errno, "%s: cannot be written", writer->path);
        if (!put) return dk_fail_errno(err, ENOSPC, "%s: cannot be written", writer->path);
        data += put, size -= (uint64_t)put, writer->offset += put;
    }
    return DK_OK;
}

static int32_t flush(dk_writer *writer, dk_error *err)
{
    size_t used = writer->used;
    writer->used = 0;
    return write_all(writer, writer->buffer, used, err);
}

int32_t dk_writer_write(dk_writer *writer, const void *data, uint64_t size, dk_error *err)
{
    int32_t rc = DK_OK;
    if (size > BUFFER_SIZE - writer->used) DK_TRY(flush(writer, err));
    if (size >= BUFFER_SIZE) return write_all(writer, data, size, err);
    if (size) memcpy(writer->buffer + writer->used, data, (size_t)size);
    writer->used += (size_t)size;
out:
    return rc;
}

int64_t dk_writer_tell(const dk_writer *writer) { return writer->offset + (int64_t)writer->used; }

int32_t dk_writer_seek(dk_writer *writer, int64_t offset, dk_error *err)
{
    int32_t rc = flush(writer, err);
    if (rc) return rc;
    if (lseek(writer->fd, (off_t)offset, SEEK_SET) < 0)
        return dk_fail_errno(err, errno, "%s: no way to byte %lld", writer->path, (long long)offset);
    writer->offset = offset;
    return DK_OK;
}

static int32_t close_file(dk_writer *writer, dk_error *err)
{
    int fd = writer->fd;
    if (fsync(fd)) return dk_fail_errno(err, errno, "%s: cannot be written", writer->path);
    writer->fd = -1;
    return close(fd) ? dk_fail_errno(err, errno, "%s: cannot be written", writer->path) : DK_OK;
}

int32_t dk_writer_commit(dk_writer *writer, dk_error *err)
{
    int32_t rc;
    DK_TRY(flush(writer, err));
    DK_TRY(close_file(writer, err));
    if (rename(writer->temporary, writer->path))
        DK_TRY(dk_fail_errno(err, errno, "%s: cannot be replaced", writer->path));
    rc = dk_sync_folder_of(writer->host, writer->path, err);
    free_writer(writer);
    return rc;
out:
    dk_writer_abort(writer);
    return rc;
}

void dk_writer_abort(dk_writer *writer)
{
    if (!writer) return;
    unlink(writer->temporary);
    free_writer(writer);
}

int32_t dk_file_replace(dk_host *host, const char *path, const void *data, size_t size, dk_error *err)
{
    dk_writer *writer;
    int32_t rc = dk_writer_open(host, path, &writer, err);
    if (rc) return rc;
    rc = dk_writer_write(writer, data, size, err);
    if (!rc) return dk_writer_commit(writer, err);
    dk_writer_abort(writer);
    return rc;
}
