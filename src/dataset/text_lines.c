#include "dataset/text_lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "conf/json_line.h"

static const uint64_t limit = (uint64_t)1 << 36;

static int32_t check_kind(const char *path, const char *data, size_t size, dk_error *err)
{
    static const struct {
        const char *magic;
        size_t size;
        const char *what;
    } kinds[] = {{"\x1f\x8b", 2, "packed by gzip: unpack it"},
                 {"\x28\xb5\x2f\xfd", 4, "packed by zstd: unpack it"},
                 {"\xff\xfe", 2, "UTF-16: save it as UTF-8"},
                 {"\xfe\xff", 2, "UTF-16: save it as UTF-8"},
                 {"[", 1, "a JSON array: write one object on each line"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (size >= kinds[i].size && !memcmp(data, kinds[i].magic, kinds[i].size))
            return dk_fail(err, DK_E_FORMAT, "%s is %s", path, kinds[i].what);
    return DK_OK;
}

/* The next line that is not empty, without its end; 0 = there is none. */
static int32_t next_line(const char *data, size_t size, size_t *at, int64_t *number, dk_slice *out)
{
    while (*at < size) {
        const char *line = data + *at, *end = memchr(line, '\n', size - *at);
        size_t length = end ? (size_t)(end - line) : size - *at;
        *at += length + 1;
        ++*number;
        while (length && (line[length - 1] == '\r' || line[length - 1] == ' ')) length--;
        *out = (dk_slice){line, length};
        if (length) return 1;
    }
    return 0;
}

int32_t di_source_open(dk_host *host, const char *path, di_source_text *out, dk_error *err)
{
    size_t size = 0, at = 0, begin;
    int64_t number = 0, count = 0;
    dk_slice line;
    int32_t rc;
    *out = (di_source_text){.name = path};
    DK_TRY(dk_file_read(host, path, limit, &out->data, &size, err));
    DK_TRY(dk_refuse_pointer(path, out->data, size, err));
    begin = size >= 3 && !memcmp(out->data, "\xef\xbb\xbf", 3) ? 3 : 0;
    DK_TRY(check_kind(path, out->data + begin, size - begin, err));
    for (at = begin; next_line(out->data, size, &at, &number, &line);) count++;
    if (!count) DK_TRY(dk_fail(err, DK_E_FORMAT, "%s has no text: one JSON object on each line is wanted", path));
    DK_TRY(dk_new(host, count, &out->lines, err));
    DK_TRY(dk_new(host, count, &out->numbers, err));
    for (at = begin, number = 0; next_line(out->data, size, &at, &number, &line);) {
        out->numbers[out->count] = number;
        out->lines[out->count++] = line;
    }
out:
    if (rc) di_source_free(host, out);
    return rc;
}

void di_source_free(dk_host *host, di_source_text *source)
{
    dk_free(host, source->data);
    if (source->numbers) dk_free(host, source->lines); /* a host's lines are its own */
    dk_free(host, source->numbers);
    *source = (di_source_text){0};
}

int32_t di_fail_line(const di_line *at, dk_error *err, const char *format, ...)
{
    const int64_t number = at->source->numbers ? at->source->numbers[at->index] : at->index + 1;
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return dk_fail_at(err, DK_E_FORMAT, number, "%s:%lld: %s", at->source->name, (long long)number, text);
}

int32_t di_line_parse(dk_host *host, const di_line *at, dk_document **out, dk_error *err)
{
    const dk_slice line = at->source->lines[at->index];
    dk_error problem;
    const int32_t rc = dk_json_parse(host, line.data, line.size, "line", out, &problem);
    if (rc == DK_E_NOMEM) return dk_fail_nomem(err, line.size);
    if (rc) return di_fail_line(at, err, "%.300s", dk_json_line_problem(&problem, "line"));
    if (dk_document_root(*out)->type == DK_NODE_MAP) return DK_OK;
    dk_document_free(*out);
    *out = NULL;
    return di_fail_line(at, err, "a JSON object is wanted on each line");
}

const dk_node *di_line_member(const dk_node *map, const char *key)
{
    const dk_node *node = dk_node_get(map, key);
    return node && node->type != DK_NODE_NULL ? node : NULL;
}
