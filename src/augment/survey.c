/* survey.c - all seeds once, before the first token is generated. */
#include <stdio.h>
#include <string.h>

#include "augment/seeds.h"
#include "base/hash.h"

typedef struct known { /* ids that were seen: open addressing, grown at half */
    dk_host *host;
    uint64_t *hashes; /* [capacity] 0 = free */
    int64_t *samples; /* [capacity] */
    int64_t capacity, count;
} known;

static int64_t slot_of(const known *k, uint64_t hash)
{
    int64_t at = (int64_t)(hash & (uint64_t)(k->capacity - 1));
    while (k->hashes[at] && k->hashes[at] != hash) at = (at + 1) & (k->capacity - 1);
    return at;
}

static int32_t grow(known *k, dk_error *err)
{
    known larger = {.host = k->host, .capacity = k->capacity ? 2 * k->capacity : 1024, .count = k->count};
    int32_t rc;
    DK_TRY(dk_new(k->host, larger.capacity, &larger.hashes, err));
    if ((rc = dk_new(k->host, larger.capacity, &larger.samples, err))) dk_free(k->host, larger.hashes);
    DK_TRY(rc);
    for (int64_t i = 0; i < k->capacity; i++) {
        if (!k->hashes[i]) continue;
        const int64_t to = slot_of(&larger, k->hashes[i]);
        larger.hashes[to] = k->hashes[i];
        larger.samples[to] = k->samples[i];
    }
    dk_free(k->host, k->hashes);
    dk_free(k->host, k->samples);
    *k = larger;
out:
    return rc;
}

/* *before = the sample that has this id already, 0 = none. */
static int32_t add(known *k, const char *id, int64_t sample, int64_t *before, dk_error *err)
{
    uint64_t hash = dk_hash64(id, strlen(id));
    int32_t rc = DK_OK;
    *before = 0;
    hash += !hash;
    if (2 * k->count >= k->capacity) DK_TRY(grow(k, err));
    const int64_t at = slot_of(k, hash);
    if (k->hashes[at]) return *before = k->samples[at], DK_OK;
    k->hashes[at] = hash;
    k->samples[at] = sample;
    k->count++;
out:
    return rc;
}

/* Ids that lines have for want of others differ by themselves: nothing is kept until the first of a sample's own. */
static int32_t add_id(known *k, const char *id, int64_t sample, int64_t *before, dk_error *err)
{
    char number[32];
    int32_t rc = DK_OK;
    *before = 0;
    snprintf(number, sizeof number, "#%lld", (long long)sample);
    if (!k->count && !strcmp(id, number)) return DK_OK;
    for (int64_t i = k->count ? sample : 1; i < sample; i++) {
        snprintf(number, sizeof number, "#%lld", (long long)i);
        DK_TRY(add(k, number, i, before, err));
    }
    rc = add(k, id, sample, before, err);
out:
    return rc;
}

static int32_t check_sample(const di_record *record, int64_t sample, const char *path, known *ids, dk_error *err)
{
    int64_t before = 0;
    int32_t rc;
    if (record->kept)
        return dk_fail_at(err, DK_E_FORMAT, sample,
                          "%s:%lld: \"provenance\" has \"kept\", which only an unfinished run writes: take it out",
                          path, (long long)sample);
    if (di_record_what(record) == DI_RECORD_OTHER)
        return dk_fail_at(err, DK_E_FORMAT, sample,
                          "%s:%lld: a sample has exactly one of \"text\", \"prompt\" (with or without \"completion\"), "
                          "\"messages\", or \"chosen\" and \"rejected\"",
                          path, (long long)sample);
    DK_TRY(add_id(ids, record->id, sample, &before, err));
    if (before)
        rc = dk_fail_at(err, DK_E_FORMAT, sample,
                        "%s:%lld: id \"%.80s\" is that of sample %lld, too: draws hang on it, so ids must differ", path,
                        (long long)sample, record->id, (long long)before);
out:
    return rc;
}

int32_t di_seeds_survey(di_seeds *seeds, di_survey *out, dk_error *err)
{
    const char *path = di_seeds_path(seeds);
    known ids = {.host = di_seeds_host(seeds)};
    dk_sha256 sha;
    dk_strbuf line;
    int32_t rc;
    dk_sha256_begin(&sha);
    dk_strbuf_init(&line, ids.host);
    int64_t generation = 0;
    for (out->samples = 0;; out->samples++) {
        di_record *record = NULL;
        if ((rc = di_seeds_next(seeds, &record, err)) == DK_E_END) break;
        DK_TRY(rc);
        if (dk_host_cancelled(ids.host)) rc = dk_fail(err, DK_E_CANCELLED, "%s: reading the seeds was cancelled", path);
        if (!rc && !di_seeds_tell(seeds).made) rc = check_sample(record, di_seeds_tell(seeds).number, path, &ids, err);
        if (!di_seeds_tell(seeds).made && di_id_generation(record->id) > generation)
            generation = di_id_generation(record->id);
        dk_strbuf_clear(&line);
        di_record_write(record, 1, &line);
        dk_sha256_add(&sha, line.data, line.size);
        di_record_free(record);
        if (!rc) rc = dk_strbuf_check(&line, err);
        DK_TRY(rc);
    }
    dk_sha256_end(&sha, out->hash);
    di_seeds_set_generation(seeds, generation + 1);
    rc = di_seeds_seek(seeds, &(di_seed_place){0}, err);
out:
    dk_strbuf_free(&line);
    dk_free(ids.host, ids.hashes);
    dk_free(ids.host, ids.samples);
    return rc;
}
