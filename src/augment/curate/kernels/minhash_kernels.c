#include "augment/curate/minhash.h"
#include "compute/simd.h"

enum { LANES = 32 }; /* stay in registers while all shingles pass */

void DK_VARIANT(di_minhash_rows)(const uint64_t *x, int64_t count, const uint32_t *a, const uint32_t *b, uint32_t *out)
{
    for (int32_t first = 0; first < DI_MINHASH_SIZE; first += LANES) {
        uint32_t least[LANES];
        for (int32_t k = 0; k < LANES; k++) least[k] = UINT32_MAX;
        for (int64_t i = 0; i < count; i++) {
            const uint32_t low = (uint32_t)x[i];
            for (int32_t k = 0; k < LANES; k++) {
                const uint32_t hash = (low ^ b[first + k]) * a[first + k];
                least[k] = hash < least[k] ? hash : least[k];
            }
        }
        for (int32_t k = 0; k < LANES; k++) out[first + k] = least[k];
    }
}
