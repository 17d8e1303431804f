#include "augment/curate/minhash.h"

#include <math.h>
#include <string.h>

#include "compute/compute.h"

enum { LEAST_CHANCE = 95 }; /* per cent */

void di_minhash_init(di_minhash *minhash, dk_host *host, di_shingles shingles, int32_t isa)
{
    memset(minhash, 0, sizeof *minhash);
    minhash->shingles = shingles;
    minhash->isa = isa;
    di_hashes_init(&minhash->items, host);
    for (uint32_t k = 0; k < DI_MINHASH_SIZE; k++) {
        minhash->a[k] = (uint32_t)di_mix64(2 * k + 1) | 1;
        minhash->b[k] = (uint32_t)di_mix64(2 * k + 2);
    }
}

void di_minhash_free(di_minhash *minhash) { di_hashes_free(&minhash->items); }

static di_minhash_fn rows_for(int32_t isa)
{
#ifdef DK_X86_KERNELS
    if (isa == DK_ISA_AVX512) return di_minhash_rows_avx512;
    if (isa == DK_ISA_AVX2) return di_minhash_rows_avx2;
#endif
    (void)isa;
    return di_minhash_rows_portable;
}

/* Shingle i takes the place of item i, which none behind it needs. */
static void make_shingles(di_hashes *items, int64_t n)
{
    if (!items->count) return;
    if (n > items->count) n = items->count;
    for (int64_t i = 0; i + n <= items->count; i++) items->items[i] = di_hash_run(items->items + i, n);
    items->count -= n - 1;
}

int32_t di_minhash_text(di_minhash *minhash, const char *text, size_t size, uint32_t signature[DI_MINHASH_SIZE],
                        int64_t *count, dk_error *err)
{
    di_hashes *items = &minhash->items;
    int32_t rc = minhash->shingles.characters ? di_read_chars(items, text, size, err)
                                              : di_read_words(items, DI_WORDS_UNICODE, text, size, err);
    if (rc) return rc;
    make_shingles(items, minhash->shingles.n);
    rows_for(minhash->isa)(items->items, items->count, minhash->a, minhash->b, signature);
    *count = items->count;
    return DK_OK;
}

double di_minhash_jaccard(const uint32_t a[DI_MINHASH_SIZE], const uint32_t b[DI_MINHASH_SIZE])
{
    int32_t same = 0;
    for (int32_t k = 0; k < DI_MINHASH_SIZE; k++) same += a[k] == b[k];
    return (double)same / DI_MINHASH_SIZE;
}

double di_bands_meet(di_bands bands, double jaccard) { return 1 - pow(1 - pow(jaccard, bands.rows), bands.bands); }

di_bands di_bands_for(double threshold)
{
    di_bands best = {DI_MINHASH_SIZE, 1};
    for (int32_t rows = 2; rows <= DI_MINHASH_SIZE; rows++) {
        const di_bands bands = {DI_MINHASH_SIZE / rows, rows};
        if (100 * di_bands_meet(bands, threshold) >= LEAST_CHANCE) best = bands;
    }
    return best;
}

uint32_t di_band_hash(di_bands bands, int32_t band, const uint32_t signature[DI_MINHASH_SIZE])
{
    uint64_t hash = (uint64_t)band + 1;
    for (int32_t r = 0; r < bands.rows; r++) hash = di_mix64(hash ^ signature[band * bands.rows + r]) + hash;
    return (uint32_t)(hash >> 32);
}
