/* Small files that stand for a large one until a tool fetches it. */
#include <string.h>

#include "base/file.h"

int32_t dk_refuse_pointer(const char *path, const void *data, uint64_t size, dk_error *err)
{
    static const struct {
        const char *bytes, *what;
    } pointers[] = {
        {"version https://git-lfs.", "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"},
        {"version http://git-media.", "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"},
        {"/annex/objects/", "is a git-annex pointer, not the file itself; fetch it with git annex get"},
    };
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        size_t length = strlen(pointers[i].bytes);
        if (size >= length && !memcmp(data, pointers[i].bytes, length))
            return dk_fail_at(err, DK_E_FORMAT, 0, "%s: %s", path, pointers[i].what);
    }
    return DK_OK;
}
