#include "dataset/tags.h"

#include <string.h>

static int32_t same(const di_tag *a, const di_tag *b)
{
    return !strcmp(a->source, b->source) && !strcmp(a->teacher, b->teacher);
}

int32_t di_tags_add(di_tags *tags, dk_host *host, const di_tag *tag, int64_t *number, dk_error *err)
{
    int32_t rc = DK_OK;
    *number = 0;
    if (!*tag->source && !*tag->teacher) return DK_OK;
    if (!tags->items) DK_TRY(dk_new(host, DI_TAGS_MAX, &tags->items, err));
    for (int64_t i = 0; i < tags->count && !*number; i++)
        if (same(&tags->items[i], tag)) *number = i + 1;
    if (*number) return DK_OK;
    if (tags->count == DI_TAGS_MAX) {
        tags->left_out++;
        return DK_OK;
    }
    tags->items[tags->count++] = *tag;
    *number = tags->count;
out:
    return rc;
}

void di_tags_tell(const di_tags *tags, dk_host *host, const char *name)
{
    if (tags->left_out)
        dk_log(host, DK_LOG_WARN, "dataset",
               "%s: samples name more than %d different sources and teachers; those of %lld samples are not kept", name,
               DI_TAGS_MAX, (long long)tags->left_out);
}
