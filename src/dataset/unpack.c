#include "dataset/unpack.h"

#include <string.h>

#if DI_WITH_ZLIB
#include <zlib.h>
#endif
#if DI_WITH_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif

enum { BLOCK = 256 << 10 };

typedef struct unpacking {
    dk_host *host;
    const char *path;
    const uint8_t *data;
    uint64_t size, at;
    uint64_t limit; /* of what comes out */
    di_spool *out;
    uint8_t *block; /* [BLOCK] */
} unpacking;

int32_t di_unpack_knows(di_packed packed)
{
    return packed == DI_PACKED_GZIP ? DI_WITH_ZLIB : packed == DI_PACKED_ZSTD ? DI_WITH_ZSTD : 0;
}

static int32_t fail_unbuilt(const unpacking *u, di_packed packed, dk_error *err)
{
    const char *name = di_packed_name(packed);
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: is compressed with %s, which this build does not read: unpack it first: "
                   "%s -d",
                   u->path, name, name);
}

#if DI_WITH_ZLIB || DI_WITH_ZSTD
static int32_t fail_damaged(const unpacking *u, const char *format, const char *reason, dk_error *err)
{
    return dk_fail_at(err, DK_E_FORMAT, (int64_t)u->at, "%s: is damaged as %s at byte %llu of %llu: %s", u->path,
                      format, (unsigned long long)u->at, (unsigned long long)u->size, reason);
}

static int32_t put(unpacking *u, uint64_t count, dk_error *err)
{
    if (dk_host_cancelled(u->host))
        return dk_fail(err, DK_E_CANCELLED, "%s: unpacking was cancelled at byte %llu of %llu", u->path,
                       (unsigned long long)u->at, (unsigned long long)u->size);
    if (u->out->size + count > u->limit)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: its %llu bytes unpack to more than %llu, the limit against files made to fill the disk; if "
                       "it is meant so, unpack it first",
                       u->path, (unsigned long long)u->size, (unsigned long long)u->limit);
    return di_spool_append(u->out, u->block, count, err);
}
#endif

#if DI_WITH_ZLIB
static void *take(void *host, unsigned count, unsigned size) { return dk_alloc(host, count, size); }

static void give(void *host, void *ptr) { dk_free(host, ptr); }

enum { GZIP_WINDOW = 15 + 16, PART = 1 << 30 };

static int32_t member(unpacking *u, z_stream *z, dk_error *err)
{
    int code = Z_OK;
    int32_t rc = DK_OK;
    while (code != Z_STREAM_END) {
        uint64_t left = u->size - u->at;
        z->next_in = (Bytef *)(uintptr_t)(u->data + u->at);
        z->avail_in = left < PART ? (unsigned)left : PART;
        unsigned given = z->avail_in;
        z->next_out = u->block;
        z->avail_out = BLOCK;
        code = inflate(z, Z_NO_FLUSH);
        u->at += given - z->avail_in;
        if (code == Z_MEM_ERROR) return dk_fail_nomem(err, BLOCK);
        if (code == Z_BUF_ERROR || (code == Z_OK && !given && z->avail_out))
            return fail_damaged(u, "gzip", "it ends too early", err);
        if (code != Z_OK && code != Z_STREAM_END) return fail_damaged(u, "gzip", z->msg ? z->msg : "bad data", err);
        DK_TRY(put(u, BLOCK - z->avail_out, err));
    }
out:
    return rc;
}

/* Blocks of tape are filled up with zeros. */
static int32_t only_zeros(const unpacking *u)
{
    for (uint64_t i = u->at; i < u->size; i++)
        if (u->data[i]) return 0;
    return 1;
}

static int32_t unpack_gzip(unpacking *u, dk_error *err)
{
    z_stream z = {.zalloc = take, .zfree = give, .opaque = u->host};
    int32_t rc = DK_OK;
    if (inflateInit2(&z, GZIP_WINDOW) != Z_OK) return dk_fail_nomem(err, 1 << 16);
    while (u->at < u->size && !only_zeros(u)) {
        DK_TRY(member(u, &z, err));
        inflateReset(&z);
    }
out:
    inflateEnd(&z);
    return rc;
}
#endif

#if DI_WITH_ZSTD
static int32_t unpack_zstd(unpacking *u, dk_error *err)
{
    ZSTD_DStream *z = ZSTD_createDStream();
    ZSTD_inBuffer in = {u->data, (size_t)u->size, 0};
    size_t left = 1, before;
    int32_t rc = DK_OK;
    if (!z) return dk_fail_nomem(err, 1 << 18);
    while (in.pos < in.size || left) {
        ZSTD_outBuffer out = {u->block, BLOCK, 0};
        before = in.pos;
        left = ZSTD_decompressStream(z, &out, &in);
        u->at = in.pos;
        if (ZSTD_isError(left)) {
            rc = ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation
                     ? dk_fail_nomem(err, 1 << 18)
                     : fail_damaged(u, "zstd", ZSTD_getErrorName(left), err);
            goto out;
        }
        if (left && !out.pos && in.pos == before) {
            rc = fail_damaged(u, "zstd", "it ends too early", err);
            goto out;
        }
        DK_TRY(put(u, out.pos, err));
    }
out:
    ZSTD_freeDStream(z);
    return rc;
}
#endif

int32_t di_unpack(dk_host *host, const char *path, di_packed packed, const uint8_t *data, uint64_t size, di_spool *out,
                  dk_error *err)
{
    unpacking u = {.host = host, .path = path, .data = data, .size = size, .out = out};
    int32_t rc;
    u.limit = DI_UNPACK_FREE + (size < UINT64_MAX / (2 * DI_UNPACK_RATIO) ? DI_UNPACK_RATIO * size : UINT64_MAX / 2);
    if (!di_unpack_knows(packed)) return fail_unbuilt(&u, packed, err);
    DK_TRY(dk_new(host, BLOCK, &u.block, err));
    switch (packed) {
#if DI_WITH_ZLIB
    case DI_PACKED_GZIP:
        rc = unpack_gzip(&u, err);
        break;
#endif
#if DI_WITH_ZSTD
    case DI_PACKED_ZSTD:
        rc = unpack_zstd(&u, err);
        break;
#endif
    default:
        rc = fail_unbuilt(&u, packed, err);
    }
out:
    dk_free(host, u.block);
    return rc;
}
