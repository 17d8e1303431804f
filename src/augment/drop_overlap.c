/* drop_overlap.c - drop: overlap. Samples that share a run of words with a file, which is to stay unseen. */
#include "augment/curate/overlap.h"
#include "augment/look.h"
#include "augment/seeds.h"

enum { WORDS = 13 };

typedef struct drop_overlap {
    const di_step *step;
    di_look look;
    di_overlap overlap;
    dk_strbuf line;
} drop_overlap;

static void free_state(void *state)
{
    drop_overlap *d = state;
    di_look_free(&d->look);
    di_overlap_free(&d->overlap);
    dk_strbuf_free(&d->line);
    dk_free(d->step->host, d);
}

typedef int32_t (*sample_fn)(drop_overlap *d, const dk_node *sample, int32_t *found, dk_error *err);

static int32_t add_sample(drop_overlap *d, const dk_node *sample, int32_t *found, dk_error *err)
{
    (void)found;
    return di_overlap_sample(&d->overlap, sample, err);
}

static int32_t find_in_sample(drop_overlap *d, const dk_node *sample, int32_t *found, dk_error *err)
{
    return di_overlap_find_in(&d->overlap, sample, found, err);
}

static int32_t with_sample(drop_overlap *d, const di_record *record, sample_fn fn, int32_t *found, dk_error *err)
{
    dk_document *document = NULL;
    int32_t rc;
    dk_strbuf_clear(&d->line);
    di_record_write(record, 0, &d->line);
    DK_TRY(dk_strbuf_check(&d->line, err));
    DK_TRY(dk_json_parse(d->step->host, d->line.data, d->line.size, record->id, &document, err));
    rc = fn(d, dk_document_root(document), found, err);
out:
    dk_document_free(document);
    return rc;
}

static int32_t read_file(drop_overlap *d, const char *path, dk_error *err)
{
    di_seeds *seeds = NULL;
    int32_t rc, unused;
    DK_TRY(di_seeds_open(d->step->host, path, 0, NULL, &seeds, err));
    for (;;) {
        di_record *record = NULL;
        if ((rc = di_seeds_next(seeds, &record, err)) == DK_E_END) break;
        DK_TRY(rc);
        rc = with_sample(d, record, add_sample, &unused, err);
        di_record_free(record);
        DK_TRY(rc);
    }
    rc = DK_OK;
out:
    di_seeds_close(seeds);
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    const char *path = di_options_text(step->options, "with");
    const int32_t n = (int32_t)di_options_i64(step->options, "ngram");
    drop_overlap *d = NULL;
    int32_t rc;
    if (!path) return di_step_fail(step, err, "with is missing: the file whose words are to stay unseen");
    DK_TRY(dk_new(step->host, 1, &d, err));
    d->step = step;
    di_look_init(&d->look, step, 1);
    dk_strbuf_init(&d->line, step->host);
    di_overlap_init(&d->overlap, step->host, n ? n : WORDS);
    DK_TRY(read_file(d, path, err));
    if (!d->overlap.count)
        DK_TRY(di_step_fail(step, err, "%s has no text of %d words or more: nothing would be dropped", path,
                            d->overlap.n < DI_OVERLAP_LEAST ? d->overlap.n : DI_OVERLAP_LEAST));
    if (d->overlap.too_short)
        dk_log(step->host, DK_LOG_WARN, "augment", "%s: %lld of %lld texts are too short to be looked for", path,
               (long long)d->overlap.too_short, (long long)d->overlap.texts);
    *state = d;
    return DK_OK;
out:
    if (d) free_state(d);
    return rc;
}

/* Without a field every text of the sample is looked at, its prompt too. */
static int32_t find(drop_overlap *d, const di_record *record, int32_t *found, dk_error *err)
{
    const char *text;
    size_t size;
    int64_t word = -1;
    int32_t rc;
    if (!d->look.field) return with_sample(d, record, find_in_sample, found, err);
    DK_TRY(di_look_at(&d->look, record, &text, &size, err));
    if (text) DK_TRY(di_overlap_find(&d->overlap, text, size, &word, err));
    *found = word >= 0;
out:
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    drop_overlap *d = state;
    int32_t rc = DK_OK, found;
    for (int64_t i = 0; i < count; i++) {
        DK_TRY(find(d, in[i], &found, err));
        DK_TRY(di_keep_or_drop(flow, &in[i], found ? "overlaps" : NULL, err));
    }
out:
    return rc;
}

const di_operator_functions di_drop_overlap = {.create = create, .free = free_state, .apply = apply};
