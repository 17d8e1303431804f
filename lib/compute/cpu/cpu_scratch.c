#include "compute/cpu/scratch.h"

int32_t dk_scratch_init(dk_scratch *scratch, dk_host *host)
{
    *scratch = (dk_scratch){.host = host};
    if (pthread_mutex_init(&scratch->lock, NULL)) return 0;
    if (!pthread_cond_init(&scratch->freed, NULL)) return 1;
    pthread_mutex_destroy(&scratch->lock);
    return 0;
}

void dk_scratch_free(dk_scratch *scratch)
{
    for (int64_t i = 0; i < scratch->count; i++) dk_free(scratch->host, scratch->block[i]);
    pthread_cond_destroy(&scratch->freed);
    pthread_mutex_destroy(&scratch->lock);
}

/* The slot is the caller's: taken by it, or nobody else looks. */
static int32_t grow(dk_scratch *scratch, int64_t slot, int64_t bytes)
{
    if (scratch->block[slot] && scratch->bytes[slot] >= bytes) return 1;
    dk_free(scratch->host, scratch->block[slot]);
    scratch->block[slot] = dk_alloc(scratch->host, 1, (uint64_t)(bytes > 0 ? bytes : 1));
    scratch->bytes[slot] = scratch->block[slot] ? bytes : 0;
    return scratch->block[slot] != NULL;
}

int32_t dk_scratch_prepare(dk_scratch *scratch, int64_t slots, int64_t bytes)
{
    int32_t ok = 1;
    pthread_mutex_lock(&scratch->lock);
    if (slots > DK_SLOTS) slots = DK_SLOTS;
    if (scratch->count < slots) scratch->count = slots;
    for (int64_t i = 0; ok && i < slots; i++)
        if (!scratch->taken[i]) ok = grow(scratch, i, bytes);
    pthread_mutex_unlock(&scratch->lock);
    return ok;
}

void *dk_scratch_take(dk_scratch *scratch, int64_t bytes)
{
    int64_t slot;
    pthread_mutex_lock(&scratch->lock);
    for (;;) {
        for (slot = 0; slot < scratch->count && scratch->taken[slot]; slot++) continue;
        if (slot < DK_SLOTS) break;
        pthread_cond_wait(&scratch->freed, &scratch->lock);
    }
    if (slot == scratch->count) scratch->count++;
    void *block = grow(scratch, slot, bytes) ? scratch->block[slot] : NULL;
    scratch->taken[slot] = block != NULL;
    pthread_mutex_unlock(&scratch->lock);
    return block;
}

void dk_scratch_give(dk_scratch *scratch, void *block)
{
    if (!block) return;
    pthread_mutex_lock(&scratch->lock);
    for (int64_t i = 0; i < scratch->count; i++)
        if (scratch->block[i] == block) scratch->taken[i] = 0;
    pthread_cond_signal(&scratch->freed);
    pthread_mutex_unlock(&scratch->lock);
}
