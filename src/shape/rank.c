#include <stdlib.h>

#include "shape/shape_parts.h"

typedef struct ranked {
    double score;
    int64_t number;
} ranked;

static int higher_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

int32_t di_rank(dk_host *host, const double *scores, int64_t count, int64_t kept, int64_t *out, dk_error *err)
{
    ranked *all = NULL;
    int32_t rc = dk_new(host, count, &all, err);
    if (rc != DK_OK) return rc;
    for (int64_t i = 0; i < count; i++) all[i] = (ranked){scores[i], i};
    qsort(all, (size_t)count, sizeof *all, higher_first);
    for (int64_t i = 0; i < kept; i++) out[i] = all[i].number;
    qsort(out, (size_t)kept, sizeof *out, ascending);
    dk_free(host, all);
    return DK_OK;
}
