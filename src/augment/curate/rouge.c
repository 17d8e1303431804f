#include "augment/curate/rouge.h"

#include <string.h>

void di_lcs_init(di_lcs *lcs, dk_host *host) { *lcs = (di_lcs){.host = host}; }

void di_lcs_free(di_lcs *lcs)
{
    if (!lcs->host) return;
    dk_free(lcs->host, lcs->keys);
    dk_free(lcs->host, lcs->places);
    dk_free(lcs->host, lcs->masks);
    dk_free(lcs->host, lcs->row);
    di_lcs_init(lcs, lcs->host);
}

static int32_t widen(dk_host *host, void **array, int64_t *capacity, int64_t count, size_t size, dk_error *err)
{
    if (count <= *capacity) return DK_OK;
    void *grown = dk_realloc(host, *array, (uint64_t)count, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)count * size);
    *array = grown;
    *capacity = count;
    return DK_OK;
}

static int32_t make_room(di_lcs *lcs, int64_t count, dk_error *err)
{
    int64_t key_capacity = lcs->slot_capacity;
    int32_t rc;
    lcs->count = count;
    lcs->blocks = (count + 63) / 64;
    for (lcs->slots = 16; lcs->slots < 2 * count; lcs->slots *= 2) continue;
    DK_TRY(widen(lcs->host, (void **)&lcs->keys, &key_capacity, lcs->slots, sizeof *lcs->keys, err));
    DK_TRY(widen(lcs->host, (void **)&lcs->places, &lcs->slot_capacity, lcs->slots, sizeof *lcs->places, err));
    DK_TRY(widen(lcs->host, (void **)&lcs->masks, &lcs->mask_capacity, count * lcs->blocks, sizeof *lcs->masks, err));
    DK_TRY(widen(lcs->host, (void **)&lcs->row, &lcs->row_capacity, lcs->blocks, sizeof *lcs->row, err));
    memset(lcs->places, 0, (size_t)lcs->slots * sizeof *lcs->places);
    if (count) memset(lcs->masks, 0, (size_t)(count * lcs->blocks) * sizeof *lcs->masks);
out:
    return rc;
}

static int64_t slot_of(const di_lcs *lcs, uint64_t word)
{
    int64_t at = (int64_t)(word & (uint64_t)(lcs->slots - 1));
    while (lcs->places[at] && lcs->keys[at] != word) at = (at + 1) & (lcs->slots - 1);
    return at;
}

int32_t di_lcs_set(di_lcs *lcs, const uint64_t *words, int64_t count, dk_error *err)
{
    int32_t distinct = 0, rc;
    DK_TRY(make_room(lcs, count, err));
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = slot_of(lcs, words[i]);
        if (!lcs->places[at]) lcs->places[at] = ++distinct;
        lcs->keys[at] = words[i];
        lcs->masks[(lcs->places[at] - 1) * lcs->blocks + i / 64] |= UINT64_C(1) << (i % 64);
    }
out:
    return rc;
}

static int64_t count_bits(uint64_t x)
{
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int64_t)((x * UINT64_C(0x0101010101010101)) >> 56);
}

/* Hyyro's form: V' = (V + (V & M)) | (V & ~M), carried from block to block; zeros of V are the subsequence. */
int64_t di_lcs_length(di_lcs *lcs, const uint64_t *words, int64_t count)
{
    int64_t length = 0;
    if (!lcs->count) return 0;
    for (int64_t b = 0; b < lcs->blocks; b++) lcs->row[b] = ~UINT64_C(0);
    for (int64_t i = 0; i < count; i++) {
        const int32_t place = lcs->places[slot_of(lcs, words[i])];
        if (!place) continue;
        const uint64_t *mask = lcs->masks + (place - 1) * lcs->blocks;
        uint64_t carry = 0;
        for (int64_t b = 0; b < lcs->blocks; b++) {
            const uint64_t v = lcs->row[b], met = v & mask[b], sum = v + met, carried = sum + carry;
            carry = (sum < v) | (carried < sum);
            lcs->row[b] = carried | (v & ~mask[b]);
        }
    }
    for (int64_t b = 0; b < lcs->blocks; b++) {
        const int64_t left = lcs->count - 64 * b;
        const uint64_t inside = left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
        length += count_bits(~lcs->row[b] & inside);
    }
    return length;
}

double di_rouge_l_f1(int64_t common, int64_t m, int64_t n) { return m && n ? 2 * (double)common / (double)(m + n) : 0; }

int32_t di_rouge_l(dk_host *host, di_word_kind kind, const char *a, size_t a_size, const char *b, size_t b_size,
                   double *out, dk_error *err)
{
    di_hashes first, second;
    di_lcs lcs;
    int32_t rc;
    di_hashes_init(&first, host);
    di_hashes_init(&second, host);
    di_lcs_init(&lcs, host);
    DK_TRY(di_read_words(&first, kind, a, a_size, err));
    DK_TRY(di_read_words(&second, kind, b, b_size, err));
    DK_TRY(di_lcs_set(&lcs, first.items, first.count, err));
    *out = di_rouge_l_f1(di_lcs_length(&lcs, second.items, second.count), first.count, second.count);
out:
    di_lcs_free(&lcs);
    di_hashes_free(&first);
    di_hashes_free(&second);
    return rc;
}
