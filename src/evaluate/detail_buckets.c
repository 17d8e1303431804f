/* detail_buckets.c - positions by how much was read before them, and by how often their label occurs. */
#include "evaluate/detail.h"

enum { WINDOWS = 32 }; /* read at a time */

/* 1, 2-3, 4-7, ...: context doubles from one to the next */
int64_t di_position_bucket(int64_t position)
{
    int64_t bucket = 0;
    while (position > 1 && bucket + 1 < DI_POSITIONS) {
        position /= 2;
        bucket++;
    }
    return bucket;
}

void di_position_bounds(int64_t bucket, int64_t *from, int64_t *to)
{
    *from = (int64_t)1 << bucket;
    *to = bucket + 1 < DI_POSITIONS ? 2 * *from - 1 : -1;
}

/* 1, 2-9, 10-99, ... */
int64_t di_frequency_bucket(int64_t count)
{
    int64_t bucket = 0;
    if (count < 2) return 0;
    for (bucket = 1; count >= 10 && bucket + 1 < DI_FREQUENCIES; bucket++) count /= 10;
    return bucket;
}

void di_frequency_bounds(int64_t bucket, int64_t *from, int64_t *to)
{
    int64_t power = 1;
    *from = *to = 1;
    if (bucket == 0) return;
    for (int64_t i = 1; i < bucket; i++) power *= 10;
    *from = bucket == 1 ? 2 : power;
    *to = bucket + 1 < DI_FREQUENCIES ? 10 * power - 1 : -1;
}

int32_t di_count_labels(dk_host *host, di_dataset *data, int64_t vocab, uint32_t *counts, dk_error *err)
{
    int64_t windows = 0;
    di_batch *batch = NULL;
    int32_t rc;
    (void)host;
    DK_TRY(di_dataset_get_i64(data, "windows", &windows, err));
    DK_TRY(di_batch_create(data, WINDOWS, &batch, err));
    for (int64_t first = 0; first < windows; first += WINDOWS) {
        DK_TRY(di_dataset_windows(data, first, WINDOWS, batch, err));
        for (int64_t r = 0; r < batch->rows; r++)
            if (batch->labels[r] >= 0 && batch->labels[r] < vocab) counts[batch->labels[r]]++;
    }
out:
    di_batch_free(batch);
    return rc;
}
