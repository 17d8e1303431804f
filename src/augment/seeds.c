/* seeds.c - samples out of a file, and empty ones. */
#include "augment/seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { READ_BYTES = 1 << 18, PIECE_LIMIT = 1 << 28 };

struct di_seeds {
    dk_host *host;
    char *path; /* NULL = no file */
    int fd;
    int32_t json;
    char *separator; /* of a text; "" = it is one document */
    dk_strbuf buffer;
    size_t at;           /* in buffer, of the next piece */
    int32_t ended;       /* the file's last byte is in the buffer */
    di_seed_place place; /* of the next piece, */
    di_record *waiting;  /* or of this one, which was read ahead */
    di_seed_place waiting_place;
    int64_t makes;
    int64_t generation; /* of what is made */
    di_record **chunk;  /* [chunk_capacity] */
    int64_t chunk_capacity;
};

/* ---- the file ---- */

static int32_t is_json(const char *path, const char *format, const char *bytes, size_t size)
{
    const size_t length = strlen(path);
    if (!strcmp(format, "jsonl")) return 1;
    if (!strcmp(format, "text")) return 0;
    while (size && memchr(" \t\r\n", *bytes, 4)) bytes++, size--;
    return (length > 6 && !strcmp(path + length - 6, ".jsonl")) || (size && *bytes == '{');
}

static int32_t refuse_kind(const char *path, const char *bytes, size_t size, dk_error *err)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (size >= 4 && ((b[0] == 0x1f && b[1] == 0x8b) || (b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd)))
        return dk_fail(err, DK_E_UNSUPPORTED, "%s: is compressed, and seeds are read as they stand: unpack it", path);
    while (size && memchr(" \t\r\n", *bytes, 4)) bytes++, size--;
    if (size > 1 && *bytes == '[')
        for (const char *at = bytes + 1; at < bytes + size && memchr(" \t\r\n{", *at, 5); at++)
            if (*at == '{')
                return dk_fail(err, DK_E_UNSUPPORTED,
                               "%s: is one JSON array, and seeds are read line by line: write "
                               "one sample a line",
                               path);
    return dk_refuse_pointer(path, bytes, size, err);
}

static int32_t fill(di_seeds *s, dk_error *err)
{
    char *block;
    int32_t rc = DK_OK;
    if (s->at) {
        memmove(s->buffer.data, s->buffer.data + s->at, s->buffer.size - s->at);
        s->buffer.size -= s->at;
        s->at = 0;
    }
    if (s->buffer.size > PIECE_LIMIT)
        return dk_fail(err, DK_E_FORMAT, "%s: sample %lld has more than %d bytes", s->path,
                       (long long)s->place.number + 1, (int)PIECE_LIMIT);
    DK_TRY(dk_new(s->host, READ_BYTES, &block, err));
    ssize_t got;
    do got = read(s->fd, block, READ_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0) rc = dk_fail_errno(err, errno, "%s: cannot be read", s->path);
    else if (!got) s->ended = 1;
    else dk_strbuf_append(&s->buffer, block, (size_t)got);
    dk_free(s->host, block);
    if (!rc) rc = dk_strbuf_check(&s->buffer, err);
out:
    return rc;
}

static int32_t open_file(di_seeds *s, const di_options *options, dk_error *err)
{
    int32_t rc;
    if (dk_path_exists(s->path) == 2) return dk_fail(err, DK_E_IO, "%s: is a folder, not a file of samples", s->path);
    s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) return dk_fail_errno(err, errno, "%s: cannot be read", s->path);
    DK_TRY(fill(s, err));
    const char *bytes = s->buffer.data ? s->buffer.data : "", *format = di_options_text(options, "data.format");
    DK_TRY(refuse_kind(s->path, bytes, s->buffer.size, err));
    if (!strcmp(format, "tokens"))
        return dk_fail(err, DK_E_OPTION, "data.format: %s is to be samples with words: jsonl or text", s->path);
    s->json = is_json(s->path, format, bytes, s->buffer.size);
    s->separator = dk_strdup(s->host, s->json ? "\n" : di_options_text(options, "data.separator"));
    if (!s->separator) rc = dk_fail_nomem(err, 16);
out:
    return rc;
}

int32_t di_seeds_open(dk_host *host, const char *path, int64_t makes, const di_options *options, di_seeds **out,
                      dk_error *err)
{
    di_seeds *s = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &s, err));
    s->host = host;
    s->fd = -1;
    s->makes = makes;
    dk_strbuf_init(&s->buffer, host);
    if (path && !(s->path = dk_strdup(host, path))) DK_TRY(dk_fail_nomem(err, strlen(path) + 1));
    if (path) DK_TRY(open_file(s, options, err));
    else s->ended = 1;
    *out = s;
    return DK_OK;
out:
    di_seeds_close(s);
    return rc;
}

void di_seeds_close(di_seeds *s)
{
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    di_record_free(s->waiting);
    dk_strbuf_free(&s->buffer);
    dk_free(s->host, s->separator);
    dk_free(s->host, s->chunk);
    dk_free(s->host, s->path);
    dk_free(s->host, s);
}

static const char *find(const char *at, size_t size, const char *what, size_t length)
{
    for (const char *end = at + size; length && (size_t)(end - at) >= length; at++) {
        if (!(at = memchr(at, what[0], (size_t)(end - at) - length + 1))) return NULL;
        if (!memcmp(at, what, length)) return at;
    }
    return NULL;
}

/* The next piece of the file, in the buffer until the next call; 0 = the end, else 1 or an error. */
static int32_t next_piece(di_seeds *s, const char **text, size_t *size, dk_error *err)
{
    const size_t length = strlen(s->separator ? s->separator : "");
    size_t looked = 0;
    int32_t rc;
    for (;;) {
        const size_t left = s->buffer.size - s->at, from = looked > length ? looked - length : 0;
        const char *begin = s->buffer.data ? s->buffer.data + s->at : "",
                   *stop = find(begin + from, left - from, s->separator ? s->separator : "", length);
        if (stop || (s->ended && left)) {
            *text = begin;
            *size = stop ? (size_t)(stop - begin) : left;
            s->at += *size + (stop ? length : 0);
            s->place.offset += (int64_t)(*size + (stop ? length : 0));
            s->place.number++;
            return 1;
        }
        if (s->ended) return 0;
        looked = left;
        if ((rc = fill(s, err))) return rc;
    }
}

static int32_t is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!memchr(" \t\r\n\v\f", text[i], 6)) return 0;
    return 1;
}

/* "FILE:1: what" of a line that is a document becomes "FILE:LINE: what". */
static void shorten(dk_error *err, const char *place)
{
    const size_t size = strlen(place);
    if (!err || strncmp(err->message, place, size) != 0 || strncmp(err->message + size, ":1: ", 4) != 0) return;
    memmove(err->message + size, err->message + size + 2, strlen(err->message + size + 2) + 1);
}

static int32_t make_record(di_seeds *s, const char *text, size_t size, di_record **out, dk_error *err)
{
    char place[360], id[32];
    int32_t rc;
    snprintf(id, sizeof id, "#%lld", (long long)s->place.number);
    snprintf(place, sizeof place, "%.320s:%lld", s->path, (long long)s->place.number);
    if (s->json) {
        const int32_t bom = s->place.number == 1 && size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3);
        rc = di_record_parse(s->host, text + (bom ? 3 : 0), size - (bom ? 3 : 0), place, id, out, err);
        if (rc) shorten(err, place);
        return rc;
    }
    DK_TRY(di_record_create(s->host, id, out, err));
    while (size && memchr("\r\n", text[0], 2)) text++, size--;
    while (size && memchr("\r\n", text[size - 1], 2)) size--;
    if ((rc = di_record_set_text(*out, "text", text, size, err))) {
        di_record_free(*out);
        *out = NULL;
    }
out:
    return rc;
}

static int32_t make_blank(di_seeds *s, di_record **out, dk_error *err)
{
    dk_strbuf id;
    int32_t rc;
    dk_strbuf_init(&id, s->host);
    di_record_blank_id(s->generation, ++s->place.made, &id);
    DK_TRY(dk_strbuf_check(&id, err));
    rc = di_record_create(s->host, id.data, out, err);
out:
    dk_strbuf_free(&id);
    return rc;
}

int32_t di_seeds_next(di_seeds *s, di_record **out, dk_error *err)
{
    const char *text = NULL;
    size_t size = 0;
    int32_t more, rc;
    if (s->waiting) {
        *out = s->waiting;
        s->waiting = NULL;
        return DK_OK;
    }
    do more = next_piece(s, &text, &size, err);
    while (more == 1 && is_blank(text, size));
    if (more != 1 && more) return more;
    if (!more && s->place.made == s->makes) return DK_E_END;
    s->place.given++;
    rc = more ? make_record(s, text, size, out, err) : make_blank(s, out, err);
    if (!rc) (*out)->generation = s->generation;
    return rc;
}

/* ---- chunks ---- */

static int32_t add_to_chunk(di_seeds *s, int64_t count, di_record *record, dk_error *err)
{
    if (count == s->chunk_capacity) {
        const int64_t capacity = s->chunk_capacity ? 2 * s->chunk_capacity : 64;
        di_record **grown = dk_realloc(s->host, s->chunk, (uint64_t)capacity, sizeof *grown);
        if (!grown) return dk_fail_nomem(err, (uint64_t)capacity * sizeof *grown);
        s->chunk = grown;
        s->chunk_capacity = capacity;
    }
    s->chunk[count] = record;
    return DK_OK;
}

int32_t di_seeds_chunk(di_seeds *s, int64_t most, di_record ***out, int64_t *count, dk_error *err)
{
    int32_t rc = DK_OK;
    *count = 0;
    for (;;) {
        const di_seed_place before = di_seeds_tell(s);
        di_record *next = NULL;
        if ((rc = di_seeds_next(s, &next, err)) == DK_E_END) break;
        if (rc) goto out;
        if (*count >= most && strcmp(di_record_root(next), di_record_root(s->chunk[*count - 1])) != 0) {
            s->waiting = next;
            s->waiting_place = before;
            break;
        }
        if ((rc = add_to_chunk(s, *count, next, err))) di_record_free(next);
        DK_TRY(rc);
        ++*count;
    }
    *out = s->chunk;
    return DK_OK;
out:
    while (*count) di_record_free(s->chunk[--*count]);
    return rc;
}

void di_seeds_set_generation(di_seeds *s, int64_t generation) { s->generation = generation; }
int64_t di_seeds_generation(const di_seeds *s) { return s->generation; }
dk_host *di_seeds_host(const di_seeds *s) { return s->host; }

const char *di_seeds_path(const di_seeds *s) { return s->path ? s->path : ""; }

di_seed_place di_seeds_tell(const di_seeds *s) { return s->waiting ? s->waiting_place : s->place; }

int32_t di_seeds_seek(di_seeds *s, const di_seed_place *place, dk_error *err)
{
    di_record_free(s->waiting);
    s->waiting = NULL;
    s->place = *place;
    s->buffer.size = s->at = 0;
    s->ended = s->fd < 0;
    if (s->fd >= 0 && lseek(s->fd, (off_t)place->offset, SEEK_SET) < 0)
        return dk_fail_errno(err, errno, "%s: no way to byte %lld", s->path, (long long)place->offset);
    return DK_OK;
}

int64_t di_seeds_makes(const di_seeds *s) { return s->makes; }

int32_t di_seeds_seek_made(di_seeds *s, dk_error *err)
{
    const int64_t end = s->fd < 0 ? 0 : (int64_t)lseek(s->fd, 0, SEEK_END);
    if (end < 0) return dk_fail_errno(err, errno, "%s: no way to its end", s->path);
    return di_seeds_seek(s, &(di_seed_place){.offset = end}, err);
}
