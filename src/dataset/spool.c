#include "dataset/spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST_CAPACITY = 64 * 1024, WRITE_BUFFER = 1024 * 1024 };

void di_spool_init(di_spool *spool, dk_host *host, uint64_t limit)
{
    memset(spool, 0, sizeof *spool);
    spool->host = host;
    spool->limit = limit;
    spool->fd = -1;
}

/* A file in the system's folder for large temporary files that disappears with the process. */
static int32_t create_file(di_spool *spool, dk_error *err)
{
    static const char *const folders[] = {"/var/tmp", P_tmpdir};
    char name[64];
    int reason = 0;
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/distill-tokens-XXXXXX", folders[i]);
        spool->fd = mkstemp(name);
        if (spool->fd >= 0) {
            unlink(name);
            return DK_OK;
        }
        reason = errno;
    }
    return dk_fail_errno(err, reason, "%s: no temporary file for tokenised data", P_tmpdir);
}

static int32_t flush(di_spool *spool, dk_error *err)
{
    const uint8_t *data = spool->memory;
    uint64_t left = spool->used;
    while (left) {
        ssize_t put = write(spool->fd, data, (size_t)left);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return dk_fail_errno(err, put ? errno : ENOSPC,
                                 "%s: the temporary file of %llu bytes of tokenised data cannot be written", P_tmpdir,
                                 (unsigned long long)spool->size);
        data += put;
        left -= (uint64_t)put;
    }
    spool->used = 0;
    return DK_OK;
}

static int32_t grow(di_spool *spool, uint64_t wanted, dk_error *err)
{
    uint64_t capacity = spool->capacity ? spool->capacity : FIRST_CAPACITY;
    while (capacity < wanted) capacity *= 2;
    if (capacity == spool->capacity) return DK_OK;
    uint8_t *grown = dk_realloc(spool->host, spool->memory, capacity, 1);
    if (!grown) return dk_fail_nomem(err, capacity);
    spool->memory = grown;
    spool->capacity = capacity;
    return DK_OK;
}

int32_t di_spool_append(di_spool *spool, const void *data, uint64_t size, dk_error *err)
{
    const uint8_t *bytes = data;
    int32_t rc = DK_OK;
    if (spool->fd < 0 && spool->used + size <= spool->limit) {
        DK_TRY(grow(spool, spool->used + size, err));
        if (size) memcpy(spool->memory + spool->used, bytes, (size_t)size);
        spool->used += size;
        spool->size += size;
        return DK_OK;
    }
    if (spool->fd < 0) DK_TRY(create_file(spool, err));
    DK_TRY(grow(spool, WRITE_BUFFER, err));
    while (size) {
        uint64_t room = spool->capacity - spool->used, part = size < room ? size : room;
        memcpy(spool->memory + spool->used, bytes, (size_t)part);
        spool->used += part;
        spool->size += part;
        bytes += part;
        size -= part;
        if (spool->used == spool->capacity) DK_TRY(flush(spool, err));
    }
out:
    return rc;
}

int32_t di_spool_fill(di_spool *spool, uint8_t byte, uint64_t count, dk_error *err)
{
    uint8_t block[1024];
    int32_t rc = DK_OK;
    memset(block, byte, sizeof block);
    for (uint64_t part; count; count -= part) {
        part = count < sizeof block ? count : sizeof block;
        DK_TRY(di_spool_append(spool, block, part, err));
    }
out:
    return rc;
}

int32_t di_spool_finish(di_spool *spool, const uint8_t **data, dk_error *err)
{
    int32_t rc = DK_OK;
    *data = spool->memory;
    if (spool->fd < 0) return DK_OK;
    DK_TRY(flush(spool, err));
    spool->map = mmap(NULL, (size_t)spool->size, PROT_READ, MAP_SHARED, spool->fd, 0);
    if (spool->map == MAP_FAILED) {
        spool->map = NULL;
        return dk_fail_errno(err, errno, "%llu bytes of tokenised data cannot be mapped into memory",
                             (unsigned long long)spool->size);
    }
    close(spool->fd);
    spool->fd = -1;
    dk_free(spool->host, spool->memory);
    spool->memory = NULL;
    *data = spool->map;
out:
    return rc;
}

void di_spool_free(di_spool *spool)
{
    if (spool->map) munmap(spool->map, (size_t)spool->size);
    if (spool->fd >= 0) close(spool->fd);
    dk_free(spool->host, spool->memory);
    memset(spool, 0, sizeof *spool);
    spool->fd = -1;
}
