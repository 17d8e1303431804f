/* survey.c - all seeds once, before the first token is generated. */
#include <stdio.h>
#include <string.h>

#include "augment/curate/seen_slots.h"
#include "augment/seeds.h"
#include "base/hash.h"

enum { MOST_OF_ONE_HASH = 64 };

typedef struct known { /* ids that were seen: half of 64 bits of their hash finds the other half, on disk */
    dk_host *host;
    const char *folder;
    di_slots *slots; /* NULL = none yet */
} known;

/* *twice: this id was added before. */
static int32_t add(known *k, const char *id, int32_t *twice, dk_error *err)
{
    const uint64_t hash = dk_hash64(id, strlen(id));
    const uint32_t key = (uint32_t)hash, rest = (uint32_t)(hash >> 32) == UINT32_MAX ? 0 : (uint32_t)(hash >> 32);
    uint32_t others[MOST_OF_ONE_HASH];
    int64_t count;
    int32_t rc;
    *twice = 0;
    if (!k->slots) DK_TRY(di_slots_create(k->host, k->folder, &k->slots, err));
    DK_TRY(di_slots_find(k->slots, key, others, MOST_OF_ONE_HASH, &count, err));
    for (int64_t i = 0; i < count; i++) *twice |= others[i] == rest;
    if (!*twice) DK_TRY(di_slots_add(k->slots, key, rest, err));
out:
    return rc;
}

/* Ids that lines have for want of others differ by themselves: nothing is kept until the first of a sample's own. */
static int32_t add_id(known *k, const char *id, int64_t sample, int32_t *twice, dk_error *err)
{
    char number[32];
    int32_t rc = DK_OK;
    *twice = 0;
    snprintf(number, sizeof number, "#%lld", (long long)sample);
    if (!k->slots && !strcmp(id, number)) return DK_OK;
    for (int64_t i = k->slots ? sample : 1; i < sample; i++) {
        snprintf(number, sizeof number, "#%lld", (long long)i);
        DK_TRY(add(k, number, twice, err));
    }
    rc = add(k, id, twice, err);
out:
    return rc;
}

/* The seeds are read once more, up to the first sample that has this id, at the latest to this one. */
static int32_t fail_twice(di_seeds *seeds, const di_record *record, int64_t sample, dk_error *err)
{
    int64_t before = 0;
    int32_t rc, same = 0;
    DK_TRY(di_seeds_seek(seeds, &(di_seed_place){0}, err));
    while (!same) {
        di_record *other;
        DK_TRY(di_seeds_next(seeds, &other, err));
        same = !strcmp(other->id, record->id);
        before = di_seeds_tell(seeds).number;
        di_record_free(other);
    }
    if (before == sample) goto out; /* another id of the same hash */
    rc = dk_fail_at(err, DK_E_FORMAT, sample,
                    "%s:%lld: id \"%.80s\" is that of sample %lld, too: draws hang on it, so ids must differ",
                    di_seeds_path(seeds), (long long)sample, record->id, (long long)before);
out:
    return rc;
}

static int32_t check_sample(di_seeds *seeds, const di_record *record, known *ids, dk_error *err)
{
    const char *path = di_seeds_path(seeds);
    const int64_t sample = di_seeds_tell(seeds).number;
    int32_t rc, twice = 0;
    if (record->kept)
        return dk_fail_at(err, DK_E_FORMAT, sample,
                          "%s:%lld: \"provenance\" has \"kept\", which only an unfinished run writes: take it out",
                          path, (long long)sample);
    if (di_record_what(record) == DI_RECORD_OTHER)
        return dk_fail_at(err, DK_E_FORMAT, sample,
                          "%s:%lld: a sample has exactly one of \"text\", \"prompt\" (with or without \"completion\"), "
                          "\"messages\", or \"chosen\" and \"rejected\"",
                          path, (long long)sample);
    DK_TRY(add_id(ids, record->id, sample, &twice, err));
    if (twice) rc = fail_twice(seeds, record, sample, err);
out:
    return rc;
}

int32_t di_seeds_survey(di_seeds *seeds, const char *folder, di_survey *out, dk_error *err)
{
    const char *path = di_seeds_path(seeds);
    known ids = {.host = di_seeds_host(seeds), .folder = folder};
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
        if (!rc && !di_seeds_tell(seeds).made) rc = check_sample(seeds, record, &ids, err);
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
    di_slots_free(ids.slots);
    return rc;
}
