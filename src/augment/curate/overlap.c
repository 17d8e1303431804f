#include "augment/curate/overlap.h"

void di_overlap_init(di_overlap *overlap, dk_host *host, int32_t n)
{
    *overlap = (di_overlap){.host = host, .n = n};
    di_hashes_init(&overlap->words, host);
}

void di_overlap_free(di_overlap *overlap)
{
    if (!overlap->host) return;
    dk_free(overlap->host, overlap->runs);
    di_hashes_free(&overlap->words);
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
    DK_TRY(di_read_words(&overlap->words, DI_WORDS_UNICODE, text, size, err));
    for (int64_t i = 0; i < overlap->words.count && *word < 0; i++)
        if (has_run_at(overlap, i)) *word = i;
out:
    return rc;
}

/* ---- every text of a sample ---- */

typedef int32_t (*text_fn)(di_overlap *overlap, const char *text, size_t size, void *user, dk_error *err);

static int32_t each_text(di_overlap *overlap, const dk_node *node, text_fn fn, void *user, dk_error *err)
{
    int32_t rc = DK_OK;
    if (!node) return DK_OK;
    if (node->type == DK_NODE_TEXT) return fn(overlap, node->text, node->size, user, err);
    if (node->type == DK_NODE_MAP) { /* a message, or a part of one */
        DK_TRY(each_text(overlap, dk_node_get(node, "content"), fn, user, err));
        DK_TRY(each_text(overlap, dk_node_get(node, "text"), fn, user, err));
    } else if (node->type == DK_NODE_LIST)
        for (size_t i = 0; i < node->size; i++) DK_TRY(each_text(overlap, node->items[i], fn, user, err));
out:
    return rc;
}

static int32_t each_of_sample(di_overlap *overlap, const dk_node *sample, text_fn fn, void *user, dk_error *err)
{
    static const char *const fields[] = {"text", "prompt", "completion", "messages", "chosen", "rejected"};
    int32_t rc = DK_OK;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        DK_TRY(each_text(overlap, dk_node_get(sample, fields[i]), fn, user, err));
out:
    return rc;
}

static int32_t add_text(di_overlap *overlap, const char *text, size_t size, void *user, dk_error *err)
{
    (void)user;
    return di_overlap_text(overlap, text, size, err);
}

int32_t di_overlap_sample(di_overlap *overlap, const dk_node *sample, dk_error *err)
{
    return each_of_sample(overlap, sample, add_text, NULL, err);
}

static int32_t find_text(di_overlap *overlap, const char *text, size_t size, void *user, dk_error *err)
{
    int32_t *found = user;
    int64_t word = -1;
    int32_t rc = *found ? DK_OK : di_overlap_find(overlap, text, size, &word, err);
    *found |= word >= 0;
    return rc;
}

int32_t di_overlap_find_in(di_overlap *overlap, const dk_node *sample, int32_t *found, dk_error *err)
{
    *found = 0;
    return each_of_sample(overlap, sample, find_text, found, err);
}
