/* What a text file's first bytes give away. */
#include "conf/builder.h"

#include <string.h>

#include "base/file.h"

typedef struct beginning {
    const char *bytes;
    size_t size;
    const char *what; /* NULL = UTF-8 behind a mark */
} beginning;

/* Longer ones first: UTF-32's mark begins as UTF-16's. */
static const beginning beginnings[] = {
    {"\xef\xbb\xbf", 3, NULL},
    {"\xff\xfe\0\0", 4, "is UTF-32; save it as UTF-8"},
    {"\0\0\xfe\xff", 4, "is UTF-32; save it as UTF-8"},
    {"\xff\xfe", 2, "is UTF-16; save it as UTF-8"},
    {"\xfe\xff", 2, "is UTF-16; save it as UTF-8"},
    {"\x1f\x8b", 2, "is compressed by gzip; unpack it"},
    {"\x28\xb5\x2f\xfd", 4, "is compressed by zstd; unpack it"},
};

int32_t dk_text_begin(const char *data, size_t size, const char *name, size_t *begin, dk_error *err)
{
    *begin = 0;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        const beginning *known = &beginnings[i];
        if (size < known->size || memcmp(data, known->bytes, known->size) != 0) continue;
        if (known->what) return dk_fail_at(err, DK_E_FORMAT, 0, "%s: %s", name, known->what);
        *begin = known->size;
        return DK_OK;
    }
    /* of two bytes that both encodings begin with, one is a character and the other is zero */
    if (size >= 2 && !data[0] != !data[1])
        return dk_fail_at(err, DK_E_FORMAT, 0, "%s: is UTF-16 or UTF-32; save it as UTF-8", name);
    return dk_refuse_pointer(name, data, size, err);
}
