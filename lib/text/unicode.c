/* Normal forms. The tables are utf8proc's; decomposition is ordered here, since its own ordering takes quadratic time
 * on a long row of marks. Text below the form's first interesting character is copied as it stands. */
#include "text/codepoint.h"
#include "text/steps.h"

#include <string.h>
#include <utf8proc.h>

/* Characters younger than Unicode 9 that normal forms would reorder, take apart or join. The reference implementation's
 * normalizers stay at Unicode 9, so they stay as they are here too. */
static const uint32_t older_normal_forms[][2] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df7, 0x1dfa},
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x10781, 0x10785},
    {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943},
    {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42},
    {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ee, 0x1e4ef},
    {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
};

enum {
    WINDOW = 4096,
    HANGUL_T_BASE = 0x11a7 /* joins nothing, but utf8proc swallows it behind a syllable */
};

typedef struct form {
    dk_host *host;
    int32_t *points, *spare; /* [capacity] */
    size_t count, capacity;
    utf8proc_option_t decompose;
    int32_t compose;
} form;

static int32_t grow(form *f, size_t wanted, dk_error *err)
{
    if (wanted <= f->capacity) return DK_OK;
    size_t capacity = f->capacity ? f->capacity : WINDOW;
    while (capacity < wanted) capacity *= 2;
    int32_t *points = dk_realloc(f->host, f->points, capacity, sizeof *points);
    if (!points) return dk_fail_nomem(err, capacity * sizeof *points);
    f->points = points;
    int32_t *spare = dk_realloc(f->host, f->spare, capacity, sizeof *spare);
    if (!spare) return dk_fail_nomem(err, capacity * sizeof *spare);
    f->spare = spare;
    f->capacity = capacity;
    return DK_OK;
}

static int32_t combining_class(int32_t point) { return utf8proc_get_property(point)->combining_class; }

/* A stable counting sort of count marks by combining class. */
static void order_marks(int32_t *marks, int32_t *spare, size_t count)
{
    size_t places[257] = {0};
    for (size_t i = 0; i < count; i++) places[combining_class(marks[i]) + 1]++;
    for (size_t c = 0; c < 256; c++) places[c + 1] += places[c];
    for (size_t i = 0; i < count; i++) spare[places[combining_class(marks[i])]++] = marks[i];
    memcpy(marks, spare, count * sizeof *marks);
}

static void order(form *f)
{
    for (size_t at = 0; at < f->count;) {
        size_t end = at;
        while (end < f->count && combining_class(f->points[end])) end++;
        if (end - at == 2 && combining_class(f->points[at]) > combining_class(f->points[at + 1])) {
            int32_t first = f->points[at];
            f->points[at] = f->points[at + 1];
            f->points[at + 1] = first;
        } else if (end - at > 2) {
            order_marks(f->points + at, f->spare, end - at);
        }
        at = end + 1;
    }
}

static int32_t decompose(form *f, const char *text, size_t size, dk_error *err)
{
    f->count = 0;
    for (size_t at = 0; at < size;) {
        uint32_t c;
        int boundary = 0;
        int32_t rc = grow(f, f->count + 32, err);
        if (rc) return rc;
        at += dk_codepoint(text + at, &c);
        utf8proc_ssize_t n = utf8proc_decompose_char((int32_t)c, f->points + f->count, 32, f->decompose, &boundary);
        if (n < 1 || n > 32) f->points[f->count] = (int32_t)c, n = 1;
        f->count += (size_t)n;
    }
    return DK_OK;
}

static int32_t normalise_run(form *f, const char *text, size_t size, dk_strbuf *out, dk_error *err)
{
    int32_t rc = decompose(f, text, size, err);
    if (rc) return rc;
    order(f);
    utf8proc_ssize_t count = (utf8proc_ssize_t)f->count;
    if (f->compose) count = utf8proc_normalize_utf32(f->points, count, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (count < 0) return dk_fail(err, DK_E_INTERNAL, "normal form failed: %s", utf8proc_errmsg(count));
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        char bytes[4];
        dk_strbuf_append(out, bytes, dk_codepoint_write((uint32_t)f->points[i], bytes));
    }
    return DK_OK;
}

/* One region from starter to starter, in runs between characters that must stay as they are. */
static int32_t normalise_region(form *f, const char *text, size_t size, dk_strbuf *out, dk_error *err)
{
    size_t begin = 0;
    for (size_t at = 0; at < size;) {
        uint32_t c;
        size_t length = dk_codepoint(text + at, &c);
        if (c == HANGUL_T_BASE || DK_IN_RANGES(older_normal_forms, c)) {
            int32_t rc = normalise_run(f, text + begin, at - begin, out, err);
            if (rc) return rc;
            dk_strbuf_append(out, text + at, length);
            begin = at + length;
        }
        at += length;
    }
    return normalise_run(f, text + begin, size - begin, out, err);
}

/* Where the text that may change begins (its starter included) and ends: at a character that can neither change nor
 * join. */
static void next_region(const char *text, size_t size, uint32_t first, size_t at, size_t *begin, size_t *end)
{
    size_t before = at;
    uint32_t c = 0;
    while (at < size) {
        size_t length = dk_codepoint(text + at, &c);
        if (c >= first) break;
        before = at;
        at += length;
    }
    *begin = at < size ? before : size;
    while (at < size) {
        size_t length = dk_codepoint(text + at, &c);
        if (c < first) break;
        at += length;
    }
    *end = at;
}

int32_t dk_normal_form(dk_step_kind kind, const char *text, size_t size, dk_strbuf *out, dk_error *err)
{
    int32_t rc = DK_OK;
    form f = {.host = out->host,
              .decompose = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE,
              .compose = kind == DK_STEP_NFC || kind == DK_STEP_NFKC};
    if (kind == DK_STEP_NFKC || kind == DK_STEP_NFKD) f.decompose |= UTF8PROC_COMPAT;
    uint32_t first = kind == DK_STEP_NFC ? 0x300 : 0x80;
    for (size_t at = 0; at < size;) {
        size_t begin, end;
        next_region(text, size, first, at, &begin, &end);
        dk_strbuf_append(out, text + at, begin - at);
        DK_TRY(normalise_region(&f, text + begin, end - begin, out, err));
        at = end;
    }
out:
    dk_free(f.host, f.points);
    dk_free(f.host, f.spare);
    return rc;
}
