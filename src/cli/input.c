/* input.c - files, and the JSON that lists of ids come in. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { JSON_LIMIT = 1 << 28 }; /* bytes */

char *cli_read(FILE *file, const char *name, size_t limit, size_t *size)
{
    size_t cap = 1 << 16, used = 0, got;
    struct stat info;
    if (!fstat(fileno(file), &info) && S_ISREG(info.st_mode) && info.st_size >= 0 && (uintmax_t)info.st_size > limit) {
        cli_message("%s: is larger than %zu bytes, the limit for such input", name, limit);
        return NULL;
    }
    char *bytes = cli_memory(NULL, cap);
    while ((got = fread(bytes + used, 1, cap - used - 1, file)) > 0) {
        used += got;
        if (used > limit) {
            cli_message("%s: is larger than %zu bytes, the limit for such input", name, limit);
            free(bytes);
            return NULL;
        }
        if (cap - used < 2) bytes = cli_memory(bytes, cap *= 2);
    }
    if (ferror(file)) {
        cli_message("%s: %s", name, strerror(errno));
        free(bytes);
        return NULL;
    }
    bytes[used] = 0;
    *size = used;
    return bytes;
}

/* A pipe without a writer would keep open waiting, and a device may have no end. */
static FILE *open_regular(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && !fstat(fd, &info) && S_ISREG(info.st_mode)) return fdopen(fd, "rb");
    if (fd >= 0 || errno == ENXIO) cli_message("%s: is no regular file: a file, or - for stdin, is wanted", path);
    else cli_message("%s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return NULL;
}

json_t *cli_read_json(const char *path)
{
    int standard = !strcmp(path, "-");
    FILE *file = standard ? stdin : open_regular(path);
    size_t size;
    json_error_t problem;
    json_t *value = NULL;
    const char *name = standard ? "stdin" : path;
    if (!file) return NULL;
    char *bytes = cli_read(file, name, JSON_LIMIT, &size);
    if (!standard) fclose(file);
    if (!bytes) return NULL;
    size_t mark = size >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3) ? 3 : 0;
    if (size >= 2 && (!memcmp(bytes, "\xff\xfe", 2) || !memcmp(bytes, "\xfe\xff", 2) || !bytes[0] != !bytes[1])) {
        cli_message("%s: is UTF-16 or UTF-32; save it as UTF-8", name);
        free(bytes);
        return NULL;
    }
    value = json_loadb(bytes + mark, size - mark, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &problem);
    if (!value) cli_message("%s:%d:%d: %s", name, problem.line, problem.column, problem.text);
    free(bytes);
    return value;
}

int cli_get_ids(const json_t *value, const char *where, cli_ids *out)
{
    const json_t *list = json_is_object(value) ? json_object_get(value, "ids") : value;
    if (!json_is_array(list))
        return cli_message("%s: a list of token ids is wanted, [1, 2, ...] or {\"ids\": [1, 2, ...]}", where), 0;
    out->count = (int64_t)json_array_size(list);
    out->ids = cli_memory(NULL, (size_t)out->count * sizeof *out->ids);
    for (int64_t i = 0; i < out->count; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        json_int_t id = json_integer_value(item);
        if (!json_is_integer(item) || id < 0 || id > INT32_MAX) {
            cli_message("%s: item %lld is no token id (a whole number from 0 to %d)", where, (long long)i, INT32_MAX);
            free(out->ids);
            out->ids = NULL;
            return 0;
        }
        out->ids[i] = (int32_t)id;
    }
    return 1;
}

cli_ids *cli_get_sequences(const json_t *value, const char *where, int64_t *count)
{
    int nested = json_is_array(value) && (!json_array_size(value) || !json_is_integer(json_array_get(value, 0)));
    int64_t total = nested ? (int64_t)json_array_size(value) : 1;
    cli_ids *sequences = cli_memory(NULL, (size_t)total * sizeof *sequences);
    for (int64_t i = 0; i < total; i++) {
        char *place = cli_memory(NULL, strlen(where) + 40);
        const json_t *item = nested ? json_array_get(value, (size_t)i) : value;
        snprintf(place, strlen(where) + 40, "%s: sequence %lld", where, (long long)i);
        int good = cli_get_ids(item, nested ? place : where, &sequences[i]);
        free(place);
        if (!good) {
            cli_free_sequences(sequences, i);
            return NULL;
        }
    }
    *count = total;
    return sequences;
}

void cli_free_sequences(cli_ids *sequences, int64_t count)
{
    for (int64_t i = 0; sequences && i < count; i++) free(sequences[i].ids);
    free(sequences);
}
