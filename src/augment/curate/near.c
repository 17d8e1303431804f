#include "augment/curate/near.h"

#include <string.h>

#include "augment/curate/seen_slots.h"
#include "base/file.h"

struct di_near {
    dk_host *host;
    double threshold;
    di_minhash minhash;
    di_bands bands;
    di_kept_log *log;
    di_slots *slots;
};

static int32_t add_bands(di_near *near, const uint32_t *signature, int64_t number, dk_error *err)
{
    int32_t rc = DK_OK;
    for (int32_t band = 0; band < near->bands.bands; band++)
        DK_TRY(di_slots_add(near->slots, di_band_hash(near->bands, band, signature), (uint32_t)number, err));
out:
    return rc;
}

static int32_t fill_slots(di_near *near, dk_error *err)
{
    const void *signature;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < di_kept_log_count(near->log); i++) {
        DK_TRY(di_kept_log_walk(near->log, i, &signature, err));
        DK_TRY(add_bands(near, signature, i, err));
    }
out:
    return rc;
}

int32_t di_near_open(dk_host *host, const char *path, double threshold, di_shingles shingles, int32_t isa,
                     const di_kept_state *at, di_near **out, dk_error *err)
{
    char *folder = dk_path_folder(host, path);
    const uint64_t settings = UINT64_C(0x4e45415200000000) | (uint64_t)(threshold * 1e6) << 8 |
                              (uint64_t)(2 * shingles.n + !!shingles.characters);
    di_near *near = NULL;
    int32_t rc;
    DK_TRY(folder ? DK_OK : dk_fail_nomem(err, strlen(path)));
    if (!(threshold > 0 && threshold <= 1) || shingles.n < 1 || shingles.n > 64)
        DK_TRY(dk_fail(err, DK_E_INVALID, "a threshold in (0, 1] and shingles of 1 to 64 are needed, not of %d",
                       (int)shingles.n));
    DK_TRY(dk_new(host, 1, &near, err));
    near->host = host;
    near->threshold = threshold;
    near->bands = di_bands_for(threshold);
    di_minhash_init(&near->minhash, host, shingles, isa);
    DK_TRY(di_kept_log_open(host, path, DI_MINHASH_SIZE * sizeof(uint32_t), settings, at, &near->log, err));
    DK_TRY(di_slots_create(host, folder, &near->slots, err));
    DK_TRY(fill_slots(near, err));
    *out = near;
    near = NULL;
out:
    di_near_close(near);
    dk_free(host, folder);
    return rc;
}

void di_near_close(di_near *near)
{
    if (!near) return;
    di_minhash_free(&near->minhash);
    di_kept_log_close(near->log);
    di_slots_free(near->slots);
    dk_free(near->host, near);
}

/* Texts that meet in several bands are looked at once: where an earlier band met, too, they were. */
static int32_t met_before(const di_near *near, int32_t band, const uint32_t *a, const uint32_t *b)
{
    const size_t rows = (size_t)near->bands.rows;
    for (int32_t earlier = 0; earlier < band; earlier++)
        if (memcmp(a + (size_t)earlier * rows, b + (size_t)earlier * rows, rows * sizeof *a) == 0) return 1;
    return 0;
}

static int32_t look_in(di_near *near, int32_t band, const uint32_t *signature, di_near_found *found, dk_error *err)
{
    uint32_t numbers[DI_NEAR_MOST + 1];
    const void *kept;
    int64_t count;
    int32_t rc;
    DK_TRY(
        di_slots_find(near->slots, di_band_hash(near->bands, band, signature), numbers, DI_NEAR_MOST + 1, &count, err));
    found->crowded |= count > DI_NEAR_MOST;
    for (int64_t i = 0; i < count && i < DI_NEAR_MOST; i++) {
        DK_TRY(di_kept_log_read(near->log, numbers[i], &kept, err));
        if (met_before(near, band, signature, kept)) continue;
        const double jaccard = di_minhash_jaccard(signature, kept);
        if (jaccard < near->threshold || jaccard < found->jaccard) continue;
        if (jaccard == found->jaccard && found->before <= (int64_t)numbers[i]) continue;
        found->before = numbers[i];
        found->jaccard = jaccard;
    }
out:
    return rc;
}

int32_t di_near_add(di_near *near, const char *text, size_t size, di_near_found *found, dk_error *err)
{
    uint32_t signature[DI_MINHASH_SIZE];
    int64_t shingles;
    int32_t rc;
    *found = (di_near_found){.before = -1};
    DK_TRY(di_minhash_text(&near->minhash, text, size, signature, &shingles, err));
    if (!shingles) goto out;
    for (int32_t band = 0; band < near->bands.bands; band++) DK_TRY(look_in(near, band, signature, found, err));
    if (found->before >= 0) goto out;
    DK_TRY(add_bands(near, signature, di_kept_log_count(near->log), err));
    DK_TRY(di_kept_log_append(near->log, signature, err));
out:
    return rc;
}

int32_t di_near_flush(di_near *near, di_kept_state *state, dk_error *err)
{
    return di_kept_log_flush(near->log, state, err);
}
