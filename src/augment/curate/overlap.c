#include "augment/curate/overlap.h"

#include "augment/curate/composed.h"
#include "augment/curate/sample_texts.h"

void di_overlap_init(di_overlap *overlap, dk_host *host, int32_t n)
{
    *overlap = (di_overlap){.host = host, .n = n};
    di_hashes_init(&overlap->words, host);
    dk_strbuf_init(&overlap->composed, host);
}

void di_overlap_free(di_overlap *overlap)
{
    if (!overlap->host) return;
    dk_free(overlap->host, overlap->runs);
    di_hashes_free(&overlap->words);
    dk_strbuf_free(&overlap->composed);
    *overlap = (di_overlap){.host = overlap->host};
}

static uint64_t *place_of(uint64_t *runs, int64_t slots, uint64_t run)
{
    int64_t at = (int64_t)(run & (uint64_t)(slots - 1));
    while (runs[at] && runs[at] != run) at = (at + 1) & (slots - 1);
    return &runs[at];
}

static int32_t grow(di_overlap *overlap, dk_error *err)
{
    const int64_t slots = overlap->slots ? 2 * overlap->slots : 1024;
    uint64_t *runs;
    int32_t rc = dk_new(overlap->host, slots, &runs, err);
    if (rc) return rc;
    for (int64_t i = 0; i < overlap->slots; i++)
        if (overlap->runs[i]) *place_of(runs, slots, overlap->runs[i]) = overlap->runs[i];
    dk_free(overlap->host, overlap->runs);
    overlap->runs = runs;
    overlap->slots = slots;
    return DK_OK;
}

static uint64_t run_at(const di_overlap *overlap, int64_t first, int64_t n)
{
    const uint64_t run = di_hash_run(overlap->words.items + first, n);
    return run ? run : 1;
}

static int32_t add_run(di_overlap *overlap, uint64_t run, dk_error *err)
{
    int32_t rc = DK_OK;
    if (2 * (overlap->count + 1) > overlap->slots) DK_TRY(grow(overlap, err));
    uint64_t *place = place_of(overlap->runs, overlap->slots, run);
    overlap->count += !*place;
    *place = run;
out:
    return rc;
}

int32_t di_overlap_text(di_overlap *overlap, const char *text, size_t size, dk_error *err)
{
    const int64_t least = overlap->n < DI_OVERLAP_LEAST ? overlap->n : DI_OVERLAP_LEAST;
    int32_t rc;
    DK_TRY(di_compose(&overlap->composed, &text, &size, err));
    DK_TRY(di_read_words(&overlap->words, DI_WORDS_UNICODE, text, size, err));
    const int64_t count = overlap->words.count, n = count < overlap->n ? count : overlap->n;
    overlap->texts++;
    overlap->too_short += count < least;
    if (count < least) goto out;
    overlap->lengths |= UINT64_C(1) << (n - 1);
    for (int64_t i = 0; i + n <= count; i++) DK_TRY(add_run(overlap, run_at(overlap, i, n), err));
out:
    return rc;
}

static int32_t has_run_at(const di_overlap *overlap, int64_t first)
{
    for (int64_t n = 1; n <= overlap->n && first + n <= overlap->words.count; n++)
        if (overlap->lengths >> (n - 1) & 1 && *place_of(overlap->runs, overlap->slots, run_at(overlap, first, n)))
            return 1;
    return 0;
}

int32_t di_overlap_find(di_overlap *overlap, const char *text, size_t size, int64_t *word, dk_error *err)
{
    int32_t rc;
    *word = -1;
    if (!overlap->slots) return DK_OK;
    DK_TRY(di_compose(&overlap->composed, &text, &size, err));
    DK_TRY(di_read_words(&overlap->words, DI_WORDS_UNICODE, text, size, err));
    for (int64_t i = 0; i < overlap->words.count && *word < 0; i++)
        if (has_run_at(overlap, i)) *word = i;
out:
    return rc;
}

/* ---- every text of a sample ---- */

static int32_t add_text(void *user, const char *text, size_t size, dk_error *err)
{
    return di_overlap_text(user, text, size, err);
}

int32_t di_overlap_sample(di_overlap *overlap, const dk_node *sample, dk_error *err)
{
    return di_each_text(sample, add_text, overlap, err);
}

typedef struct looking {
    di_overlap *overlap;
    int32_t found;
} looking;

static int32_t find_text(void *user, const char *text, size_t size, dk_error *err)
{
    looking *l = user;
    int64_t word = -1;
    int32_t rc = l->found ? DK_OK : di_overlap_find(l->overlap, text, size, &word, err);
    l->found |= word >= 0;
    return rc;
}

int32_t di_overlap_find_in(di_overlap *overlap, const dk_node *sample, int32_t *found, dk_error *err)
{
    looking l = {overlap, 0};
    int32_t rc = di_each_text(sample, find_text, &l, err);
    *found = l.found;
    return rc;
}
