#include "augment/curate/kept_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

#define MAGIC "DKEPT001"
enum { BUFFER = 256 * 1024, LARGEST_RECORD = 64 * 1024 };

struct di_kept_log {
    dk_host *host;
    char *path;
    int fd;
    uint32_t bytes;               /* of a record */
    int64_t count, written, safe; /* records: in all, in the file, on the disk */
    uint32_t crc;
    uint8_t *buffer; /* records [written, count) */
    size_t used;
    uint8_t *one;   /* a record that was read */
    uint8_t *ahead; /* records [first_ahead, end_ahead), read in order; NULL = none were */
    int64_t first_ahead, end_ahead;
};

static void put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static void make_header(uint32_t bytes, uint64_t settings, uint8_t out[DI_KEPT_HEADER])
{
    memset(out, 0, DI_KEPT_HEADER);
    memcpy(out, MAGIC, 8);
    put(out + 8, bytes, 4);
    put(out + 16, settings, 8);
    put(out + 28, dk_crc32c(0, out, 28), 4);
}

static int32_t write_at(di_kept_log *log, const uint8_t *data, size_t size, int64_t at, dk_error *err)
{
    while (size) {
        ssize_t done = pwrite(log->fd, data, size, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return dk_fail_errno(err, done ? errno : ENOSPC, "%s: cannot be written", log->path);
        data += done;
        size -= (size_t)done;
        at += done;
    }
    return DK_OK;
}

static int32_t read_at(di_kept_log *log, uint8_t *data, size_t size, int64_t at, dk_error *err)
{
    while (size) {
        ssize_t got = pread(log->fd, data, size, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return dk_fail_errno(err, errno, "%s: cannot be read", log->path);
        if (!got) return dk_fail_at(err, DK_E_FORMAT, at, "%s: ends at byte %lld", log->path, (long long)at);
        data += got;
        size -= (size_t)got;
        at += got;
    }
    return DK_OK;
}

static int64_t place_of(const di_kept_log *log, int64_t record) { return DI_KEPT_HEADER + record * log->bytes; }

static int32_t check_header(di_kept_log *log, uint64_t settings, dk_error *err)
{
    uint8_t there[DI_KEPT_HEADER], wanted[DI_KEPT_HEADER];
    int32_t rc;
    make_header(log->bytes, settings, wanted);
    DK_TRY(read_at(log, there, sizeof there, 0, err));
    if (memcmp(there, wanted, 8) != 0)
        DK_TRY(dk_fail_at(err, DK_E_FORMAT, 0, "%s: is no record of what was kept", log->path));
    if (memcmp(there, wanted, sizeof there) != 0)
        DK_TRY(dk_fail(err, DK_E_MISMATCH, "%s: was written with other settings of the step; begin anew", log->path));
out:
    return rc;
}

/* The records up to `at` are there and what they were; what lies behind them goes. */
static int32_t go_on(di_kept_log *log, const di_kept_state *at, dk_error *err)
{
    struct stat info;
    int32_t rc = DK_OK;
    if (fstat(log->fd, &info)) return dk_fail_errno(err, errno, "%s: cannot be examined", log->path);
    const int64_t there = ((int64_t)info.st_size - DI_KEPT_HEADER) / log->bytes;
    if (at->records < 0 || at->records > there)
        return dk_fail(err, DK_E_FORMAT, "%s: has %lld records, %lld are to go on from; begin anew", log->path,
                       (long long)there, (long long)at->records);
    const int64_t end = place_of(log, at->records);
    for (int64_t from = DI_KEPT_HEADER; from < end;) {
        const size_t part = (size_t)(end - from < BUFFER ? end - from : BUFFER);
        DK_TRY(read_at(log, log->buffer, part, from, err));
        log->crc = dk_crc32c(log->crc, log->buffer, part);
        from += (int64_t)part;
    }
    if (log->crc != at->crc)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: the first %lld records were changed; begin anew", log->path,
                       (long long)at->records));
    if (ftruncate(log->fd, (off_t)end)) DK_TRY(dk_fail_errno(err, errno, "%s: cannot be cut", log->path));
    log->count = log->written = log->safe = at->records;
out:
    return rc;
}

static int32_t begin(di_kept_log *log, uint64_t settings, dk_error *err)
{
    uint8_t header[DI_KEPT_HEADER];
    make_header(log->bytes, settings, header);
    if (ftruncate(log->fd, 0)) return dk_fail_errno(err, errno, "%s: cannot be cut", log->path);
    return write_at(log, header, sizeof header, 0, err);
}

int32_t di_kept_log_open(dk_host *host, const char *path, uint32_t record_bytes, uint64_t settings,
                         const di_kept_state *at, di_kept_log **out, dk_error *err)
{
    di_kept_log *log;
    int32_t rc = dk_new(host, 1, &log, err);
    if (rc) return rc;
    log->host = host;
    log->fd = -1;
    log->bytes = record_bytes;
    if (!record_bytes || record_bytes > LARGEST_RECORD)
        DK_TRY(dk_fail(err, DK_E_INVALID, "%s: records of %u bytes, must be 1 to %d", path, (unsigned)record_bytes,
                       LARGEST_RECORD));
    DK_TRY((log->path = dk_strdup(host, path)) ? DK_OK : dk_fail_nomem(err, strlen(path)));
    DK_TRY(dk_new(host, BUFFER, &log->buffer, err));
    DK_TRY(dk_new(host, record_bytes, &log->one, err));
    do log->fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (at ? 0 : O_CREAT), 0666);
    while (log->fd < 0 && errno == EINTR);
    if (log->fd < 0) DK_TRY(dk_fail_errno(err, errno, "%s: cannot be opened", path));
    if (at) {
        DK_TRY(check_header(log, settings, err));
        DK_TRY(go_on(log, at, err));
    } else DK_TRY(begin(log, settings, err));
    *out = log;
    log = NULL;
out:
    di_kept_log_close(log);
    return rc;
}

void di_kept_log_close(di_kept_log *log)
{
    if (!log) return;
    if (log->fd >= 0) close(log->fd);
    dk_free(log->host, log->path);
    dk_free(log->host, log->buffer);
    dk_free(log->host, log->one);
    dk_free(log->host, log->ahead);
    dk_free(log->host, log);
}

static int32_t empty_buffer(di_kept_log *log, dk_error *err)
{
    int32_t rc = write_at(log, log->buffer, log->used, place_of(log, log->written), err);
    if (rc) return rc;
    log->written = log->count;
    log->used = 0;
    return DK_OK;
}

int32_t di_kept_log_append(di_kept_log *log, const void *record, dk_error *err)
{
    int32_t rc = DK_OK;
    if (log->used + log->bytes > BUFFER) DK_TRY(empty_buffer(log, err));
    memcpy(log->buffer + log->used, record, log->bytes);
    log->used += log->bytes;
    log->crc = dk_crc32c(log->crc, record, log->bytes);
    log->count++;
out:
    return rc;
}

int64_t di_kept_log_count(const di_kept_log *log) { return log->count; }

int32_t di_kept_log_read(di_kept_log *log, int64_t number, const void **record, dk_error *err)
{
    if (number < 0 || number >= log->count)
        return dk_fail(err, DK_E_INTERNAL, "%s: record %lld of %lld", log->path, (long long)number,
                       (long long)log->count);
    *record = log->buffer + (number - log->written) * log->bytes;
    if (number >= log->written) return DK_OK;
    *record = log->one;
    return read_at(log, log->one, log->bytes, place_of(log, number), err);
}

static int32_t read_ahead(di_kept_log *log, int64_t number, dk_error *err)
{
    const int64_t room = BUFFER / log->bytes, left = log->written - number, count = left < room ? left : room;
    int32_t rc = DK_OK;
    if (!log->ahead) DK_TRY(dk_new(log->host, BUFFER, &log->ahead, err));
    log->first_ahead = log->end_ahead = 0;
    DK_TRY(read_at(log, log->ahead, (size_t)(count * log->bytes), place_of(log, number), err));
    log->first_ahead = number;
    log->end_ahead = number + count;
out:
    return rc;
}

int32_t di_kept_log_walk(di_kept_log *log, int64_t number, const void **record, dk_error *err)
{
    int32_t rc = DK_OK;
    if (number < 0 || number >= log->written) return di_kept_log_read(log, number, record, err);
    if (number < log->first_ahead || number >= log->end_ahead) DK_TRY(read_ahead(log, number, err));
    *record = log->ahead + (number - log->first_ahead) * log->bytes;
out:
    return rc;
}

int32_t di_kept_log_flush(di_kept_log *log, di_kept_state *state, dk_error *err)
{
    int32_t rc;
    DK_TRY(empty_buffer(log, err));
    if (log->safe != log->count && fsync(log->fd) && errno != EINVAL && errno != ENOTSUP)
        DK_TRY(dk_fail_errno(err, errno, "%s: cannot be written", log->path));
    log->safe = log->count;
    *state = (di_kept_state){log->count, log->crc};
out:
    return rc;
}
