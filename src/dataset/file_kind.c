#include "dataset/file_kind.h"

#include <string.h>

#include "base/file.h"
#include "base/utf8.h"

/* ---- magic numbers ---- */

#define AS_JSONL "write its rows as JSONL"
#define UNPACK "unpack it first"

typedef struct magic {
    uint64_t at;
    const char *bytes;
    uint64_t size;
    const char *what, *way;
} magic;
#define MAGIC(at, bytes, what, way)             \
    {                                           \
        at, bytes, sizeof(bytes) - 1, what, way \
    }
static const magic magics[] = {
    MAGIC(0, "PAR1", "a Parquet file", AS_JSONL),
    MAGIC(0, "PARE", "an encrypted Parquet file", AS_JSONL),
    MAGIC(0, "ARROW1", "an Arrow file", AS_JSONL),
    MAGIC(0, "FEA1", "a Feather file", AS_JSONL),
    MAGIC(0, "\xff\xff\xff\xff", "an Arrow stream", AS_JSONL),
    MAGIC(0, "Obj\x01", "an Avro file", AS_JSONL),
    MAGIC(0, "ORC", "an ORC file", AS_JSONL),
    MAGIC(0, "\x89HDF\r\n\x1a\n", "an HDF5 file", AS_JSONL),
    MAGIC(0, "SQLite format 3\0", "an SQLite database", AS_JSONL),
    MAGIC(0, "\x93NUMPY", "a NumPy array", "give ids as a token file, or text"),
    MAGIC(0, "PK\x03\x04", "a zip archive (as .npz, .docx, .xlsx and PyTorch files are)", UNPACK),
    MAGIC(0, "PK\x05\x06", "an empty zip archive", UNPACK),
    MAGIC(0,
          "\xfd"
          "7zXZ\0",
          "compressed with xz", UNPACK ": xz -d"),
    MAGIC(0, "BZh", "compressed with bzip2", UNPACK ": bzip2 -d"),
    MAGIC(0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    MAGIC(0, "Rar!\x1a\x07", "a RAR archive", UNPACK),
    MAGIC(0, "\x04\x22\x4d\x18", "compressed with lz4", UNPACK ": lz4 -d"),
    MAGIC(0, "LZIP", "compressed with lzip", UNPACK ": lzip -d"),
    MAGIC(0, "\x5d\0\0", "compressed with lzma", UNPACK ": xz -d"),
    MAGIC(0, "\xff\x06\0\0sNaPpY", "compressed with snappy", UNPACK),
    MAGIC(0, "\x1f\x9d", "compressed with compress", UNPACK ": uncompress"),
    MAGIC(0, "\x1f\x8b", "compressed with gzip", UNPACK ": gzip -d"),
    MAGIC(0, "\x28\xb5\x2f\xfd", "compressed with zstd", UNPACK ": zstd -d"),
    MAGIC(257, "ustar", "a tar archive", UNPACK ": tar -x"),
    MAGIC(0, "\x80\x02", "a pickle", AS_JSONL),
    MAGIC(0, "\x80\x03", "a pickle", AS_JSONL),
    MAGIC(0, "\x80\x04", "a pickle", AS_JSONL),
    MAGIC(0, "\x80\x05", "a pickle", AS_JSONL),
    MAGIC(0, "DITOKENS", "a token file", "set data.format to tokens"),
    MAGIC(0, "GGUF", "a GGUF model", "data is text, JSONL or a token file"),
    MAGIC(0, "%PDF-", "a PDF document", "save its text as UTF-8"),
    MAGIC(0, "{\\rtf", "a document in Rich Text Format", "save it as plain text in UTF-8"),
    MAGIC(0, "\xd0\xcf\x11\xe0", "a Microsoft Office document", "save it as plain text in UTF-8"),
    MAGIC(0, "\x89PNG", "a picture", "data is text"),
    MAGIC(0, "\xff\xd8\xff", "a picture", "data is text"),
    MAGIC(0, "GIF8", "a picture", "data is text"),
    MAGIC(0,
          "\x7f"
          "ELF",
          "a program", "data is text"),
    MAGIC(0, "\xff\xfe\0\0", "text in UTF-32", "save it as UTF-8: iconv -f UTF-32 -t UTF-8"),
    MAGIC(0, "\0\0\xfe\xff", "text in UTF-32", "save it as UTF-8: iconv -f UTF-32 -t UTF-8"),
    MAGIC(0, "\xff\xfe", "text in UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8"),
    MAGIC(0, "\xfe\xff", "text in UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8"),
};

static int32_t begins(const uint8_t *data, uint64_t size, uint64_t at, const char *bytes, uint64_t count)
{
    return size >= at + count && memcmp(data + at, bytes, (size_t)count) == 0;
}

/* "ORC", "BZh" and "PARE" are words too: a text goes on with more letters. */
static int32_t is_word(const uint8_t *data, uint64_t size, const magic *m)
{
    if (strcmp(m->bytes, "BZh") == 0) return !begins(data, size, 4, "\x31\x41\x59\x26\x53\x59", 6);
    if (strcmp(m->bytes, "PARE") == 0) return size < 8 || !begins(data, size, size - 4, "PARE", 4);
    if (strcmp(m->bytes, "ORC") == 0) return size < 4 || data[3] >= ' ' || strchr("\t\r\n", data[3]);
    if (strcmp(m->bytes, "LZIP") == 0) return size < 5 || data[4] > 1;
    return 0;
}

/* zstd may begin with a frame that is passed over: its magic number has 16 values. */
di_packed di_file_packed(const uint8_t *data, uint64_t size)
{
    if (size >= 8 && (data[0] & 0xf0) == 0x50 && begins(data, size, 1, "\x2a\x4d\x18", 3)) return DI_PACKED_ZSTD;
    if (begins(data, size, 0, "\x1f\x8b", 2)) return DI_PACKED_GZIP;
    return begins(data, size, 0, "\x28\xb5\x2f\xfd", 4) ? DI_PACKED_ZSTD : DI_PACKED_NONE;
}

const char *di_packed_name(di_packed packed)
{
    return packed == DI_PACKED_GZIP ? "gzip" : packed == DI_PACKED_ZSTD ? "zstd" : "none";
}

/* ---- bytes that are no text ---- */

enum { LOOK = 64 << 10 }; /* at the beginning, in the middle and at the end */
typedef struct census {
    int64_t bytes, controls, invalid; /* NUL is a control character */
    int64_t zero[4];                  /* NUL bytes by place modulo 4 */
} census;

static void count(const uint8_t *data, uint64_t begin, uint64_t end, census *c)
{
    for (uint64_t i = begin; i < end; i++) {
        c->bytes++;
        c->controls += data[i] < ' ' && (!data[i] || !strchr("\t\n\v\f\r\b\x1a\x1b", data[i]));
        if (!data[i]) c->zero[i & 3]++;
    }
    for (int k = 0; k < 3 && begin && begin < end && (data[begin] & 0xc0) == 0x80; k++) begin++;
    for (uint64_t i = begin, length; i < end; i += length) {
        length = dk_utf8_length(data + i, (size_t)(end - i));
        if (!length && i + 4 <= end) c->invalid++;
        if (!length) length = 1;
    }
}

static census take_census(const uint8_t *data, uint64_t size)
{
    census c = {0};
    if (size <= 3 * LOOK) {
        count(data, 0, size, &c);
        return c;
    }
    count(data, 0, LOOK, &c);
    count(data, size / 2, size / 2 + LOOK, &c);
    count(data, size - LOOK, size, &c);
    return c;
}

static int32_t fail_kind(const char *path, const char *what, const char *way, dk_error *err)
{
    return dk_fail_at(err, DK_E_FORMAT, 0, "%s: is %s: %s", path, what, way);
}

/* Text whose characters take two or four bytes has its zeros at the same places. */
static const char *wide_encoding(const census *c)
{
    int64_t quarter = c->bytes / 4, all = c->zero[0] + c->zero[1] + c->zero[2] + c->zero[3];
    if (c->bytes < 4 || all < quarter) return NULL;
    for (int i = 0; i < 4; i++)
        if (all - c->zero[i] >= 3 * quarter - quarter / 8 && c->zero[i] <= quarter / 8) return "UTF-32";
    int64_t odd = c->zero[1] + c->zero[3];
    return odd >= all - all / 16 ? "UTF-16LE" : odd <= all / 16 ? "UTF-16BE" : NULL;
}

static int32_t check_census(dk_host *host, const char *path, const census *c, dk_error *err)
{
    const char *wide = wide_encoding(c);
    if (wide)
        return dk_fail_at(err, DK_E_FORMAT, 0, "%s: is text in %s: save it as UTF-8: iconv -f %s -t UTF-8", path, wide,
                          wide);
    if (c->controls * 50 > c->bytes)
        return dk_fail_at(err, DK_E_FORMAT, 0,
                          "%s: is no text in UTF-8: %lld of %lld bytes looked at are NUL or other control characters; "
                          "save it as UTF-8, as JSONL or as a token file",
                          path, (long long)c->controls, (long long)c->bytes);
    if (c->invalid * 4 > c->bytes)
        return dk_fail_at(err, DK_E_FORMAT, 0,
                          "%s: is no text in UTF-8: %lld of %lld bytes looked at belong to no character; save it as "
                          "UTF-8 (iconv), as JSONL or as a token file",
                          path, (long long)c->invalid, (long long)c->bytes);
    if (c->invalid)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: %lld of %lld bytes looked at are not UTF-8 and are kept as they are; save text of another encoding "
               "as UTF-8 (iconv)",
               path, (long long)c->invalid, (long long)c->bytes);
    return DK_OK;
}

int32_t di_file_check_text(dk_host *host, const char *path, const uint8_t *data, uint64_t size, dk_error *err)
{
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (begins(data, size, magics[i].at, magics[i].bytes, magics[i].size) && !is_word(data, size, &magics[i]))
            return fail_kind(path, magics[i].what, magics[i].way, err);
    if (size > 9 && data[8] == '{' && begins(data, size, 4, "\0\0\0\0", 4))
        return fail_kind(path, "a safetensors file", "data is text, JSONL or a token file", err);
    int32_t rc = dk_refuse_pointer(path, data, size, err);
    if (rc) return rc;
    census c = take_census(data, size);
    return check_census(host, path, &c, err);
}

/* ---- layout ---- */

static size_t bare_length(const char *path)
{
    static const char *const packed[] = {".gz", ".zst", ".zstd"};
    size_t size = strlen(path);
    for (int i = 0; i < 3; i++) {
        size_t tail = strlen(packed[i]);
        if (size > tail && strcmp(path + size - tail, packed[i]) == 0) return size - tail;
    }
    return size;
}

static int32_t has_extension(const char *path, const char *extension)
{
    size_t size = bare_length(path), tail = strlen(extension);
    return size > tail && memcmp(path + size - tail, extension, tail) == 0;
}

static int32_t has_one_of(const char *path, const char *const *extensions)
{
    for (; *extensions; extensions++)
        if (has_extension(path, *extensions)) return 1;
    return 0;
}

int32_t di_file_is_table(const char *path) { return has_one_of(path, (const char *const[]){".csv", ".tsv", NULL}); }

const char *di_format_name(di_format format)
{
    static const char *const names[] = {"text", "jsonl", "json", "tokens"};
    return names[format];
}

static uint64_t skip_space(const uint8_t *data, uint64_t size, uint64_t at)
{
    while (at < size && memchr(" \t\r\n", data[at], 4)) at++;
    return at;
}

/* '{' and a text, or an empty object. */
static int32_t is_object(const uint8_t *data, uint64_t size, uint64_t at)
{
    if (at >= size || data[at] != '{') return 0;
    at = skip_space(data, size, at + 1);
    return at < size && (data[at] == '"' || data[at] == '}');
}

static int32_t names_a_sample(const uint8_t *data, uint64_t size, uint64_t at)
{
    static const char *const fields[] = {"\"text\":", "\"messages\":", "\"prompt\":", "\"completion\":"};
    const uint8_t *end = memchr(data + at, '\n', (size_t)(size - at));
    uint64_t line = end ? (uint64_t)(end - data) : size;
    if (line - at > LOOK) line = at + LOOK;
    for (int i = 0; i < 4; i++)
        for (uint64_t p = at, n = strlen(fields[i]); p + n <= line; p++)
            if (memcmp(data + p, fields[i], (size_t)n) == 0) return 1;
    return 0;
}

di_format di_file_guess(const char *path, const uint8_t *data, uint64_t size)
{
    static const char *const lines[] = {".jsonl", ".ndjson", NULL}, *const json[] = {".json", ".jsonl", ".ndjson",
                                                                                     NULL};
    static const char *const text[] = {".txt", ".text", ".md", ".csv", ".tsv", NULL};
    uint64_t at = skip_space(data, size, begins(data, size, 0, "\xef\xbb\xbf", 3) ? 3 : 0);
    if (at < size && data[at] == '[' &&
        (has_one_of(path, json) || is_object(data, size, skip_space(data, size, at + 1))))
        return DI_FORMAT_ARRAY;
    if (has_one_of(path, lines)) return DI_FORMAT_JSONL;
    if (at < size && data[at] == '{')
        return !has_one_of(path, text) || (is_object(data, size, at) && names_a_sample(data, size, at))
                   ? DI_FORMAT_JSONL
                   : DI_FORMAT_TEXT;
    return DI_FORMAT_TEXT;
}
