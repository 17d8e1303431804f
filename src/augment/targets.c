/* targets.c - kept log-probabilities as rows of a target cache. */
#include "augment/targets.h"

#include <math.h>
#include <string.h>

struct di_targets {
    dk_host *host;
    const di_encoder *encoder;
    int64_t length;
    di_cache *cache;
    di_row_writer *writer;
    di_encoded scratch;
    dk_strbuf line;
};

/* ---- as training sees it ---- */

/* Runs of learnt tokens: how many there are, and the last one. */
static int64_t learnt_runs(const di_encoded *e, int64_t *first, int64_t *end)
{
    int64_t runs = 0;
    *first = *end = e->count;
    for (int64_t i = 0; i < e->count; i++) {
        if (!e->learn[i]) continue;
        *first = i;
        while (i < e->count && e->learn[i]) i++;
        *end = i;
        runs++;
    }
    return runs;
}

static void match(const di_encoded *e, const di_kept *kept, int64_t length, di_matched *out)
{
    int64_t first, end;
    const int64_t runs = learnt_runs(e, &first, &end);
    const int64_t learnt = end - first, most = learnt < kept->count ? learnt : kept->count;
    *out = (di_matched){.count = e->count, .first = first};
    while (out->rows < most && e->ids[first + out->rows] == kept->ids[out->rows]) out->rows++;
    if (e->count > length) out->rows = 0, out->why = "too_long";
    else if (out->rows < most) out->rows = 0, out->why = "other_tokens"; /* rows behind the first other one are off */
    else if (learnt > kept->count) out->why = "cut";
    else if (runs > 1) out->why = "other_answers";
    if (!first) out->rows = 0; /* nothing predicts the first token */
}

static int32_t encode(const di_encoder *encoder, const di_record *record, dk_strbuf *line, di_encoded *scratch,
                      dk_error *err)
{
    uint32_t flags;
    int32_t rc;
    dk_strbuf_clear(line);
    di_record_write_learnt(record, line);
    DK_TRY(dk_strbuf_check(line, err));
    di_encoded_clear(scratch);
    rc = di_encode_json(encoder, line->data, line->size, record->id, &flags, scratch, err);
out:
    return rc;
}

int32_t di_targets_match(const di_encoder *encoder, const di_record *record, int64_t length, di_encoded *scratch,
                         di_matched *out, dk_error *err)
{
    dk_strbuf line;
    dk_strbuf_init(&line, record->host);
    const int32_t rc = encode(encoder, record, &line, scratch, err);
    if (!rc) match(scratch, record->kept, length, out);
    dk_strbuf_free(&line);
    return rc;
}

/* ---- the file ---- */

static int32_t header_of(dk_host *host, di_teacher *teacher, const di_options *recipe, int64_t k, di_cache_header *out,
                         dk_error *err)
{
    di_options *own = NULL;
    int32_t rc, there;
    DK_TRY(di_options_create(host, &own, err));
    DK_TRY(di_options_set(own, "teacher.cache.tier", "top_k", err));
    DK_TRY(di_options_set_i64(own, "teacher.cache.k", k, err));
    if (di_options_is_set(recipe, "teacher.cache.steps_per_nat"))
        DK_TRY(di_options_set_i64(own, "teacher.cache.steps_per_nat",
                                  di_options_i64(recipe, "teacher.cache.steps_per_nat"), err));
    rc = di_teacher_cache_header(NULL, teacher, own, out, &there, err);
out:
    di_options_free(own);
    return rc;
}

int32_t di_targets_open(dk_host *host, const char *path, di_teacher *teacher, const di_encoder *encoder,
                        const di_options *recipe, int64_t k, di_targets **out, dk_error *err)
{
    di_targets *t = NULL;
    di_cache_header header;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &t, err));
    t->host = host;
    t->encoder = encoder;
    t->length = di_options_i64(recipe, "data.sequence_length");
    di_encoded_init(&t->scratch, host);
    dk_strbuf_init(&t->line, host);
    DK_TRY(header_of(host, teacher, recipe, k, &header, err));
    DK_TRY(di_cache_open_to_add(host, path, &header, 0, &t->cache, err));
    DK_TRY(di_row_writer_create(host, di_cache_get_header(t->cache), &t->writer, err));
    *out = t;
    return DK_OK;
out:
    di_targets_close(t);
    return rc;
}

void di_targets_close(di_targets *t)
{
    if (!t) return;
    di_row_writer_free(t->writer);
    di_cache_free(t->cache);
    di_encoded_free(&t->scratch);
    dk_strbuf_free(&t->line);
    dk_free(t->host, t);
}

static double rest_of(const float *log_probs, int64_t k)
{
    double sum = 0;
    for (int64_t i = 0; i < k; i++) sum += exp((double)log_probs[i]);
    return sum < 1 ? log1p(-sum) : -(double)INFINITY;
}

static int32_t put_rows(di_targets *t, const di_kept *kept, const di_matched *m, dk_error *err)
{
    di_cache_record record = {.length = (uint32_t)m->count, .first = (uint32_t)m->first - 1, .rows = (uint32_t)m->rows};
    const void *data;
    size_t size;
    int64_t rows;
    int32_t rc = DK_OK;
    di_cache_key(t->scratch.ids, m->count, record.key);
    if (di_cache_has(t->cache, record.key, m->count, m->first - 1)) return DK_OK; /* of a run that was stopped */
    DK_TRY(di_row_writer_take(t->writer, &data, &size, &rows, err));
    for (int64_t r = 0; r < m->rows; r++) {
        const float *top = kept->top + r * kept->k;
        DK_TRY(di_row_put(t->writer, kept->top_ids + r * kept->k, top, kept->k, rest_of(top, kept->k), err));
    }
    DK_TRY(di_row_writer_take(t->writer, &data, &size, &rows, err));
    rc = di_cache_add(t->cache, &record, data, size, err);
out:
    return rc;
}

int32_t di_targets_add(di_targets *t, const di_record *record, dk_error *err)
{
    di_matched m;
    int32_t rc;
    if (!record->kept) return DK_OK;
    DK_TRY(encode(t->encoder, record, &t->line, &t->scratch, err));
    match(&t->scratch, record->kept, t->length, &m);
    if (m.rows > 0) rc = put_rows(t, record->kept, &m, err);
out:
    return rc;
}

int32_t di_targets_flush(di_targets *t, dk_error *err) { return di_cache_flush(t->cache, err); }
