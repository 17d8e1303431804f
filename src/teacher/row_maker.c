#include "teacher/row_maker.h"

#include "teacher/draws.h"
#include "teacher/score.h"

struct di_row_maker {
    dk_host *host;
    const di_cache_header *header;
    di_row_writer *writer;
    int32_t *ids;    /* [width] of one row */
    float *values;   /* [width] */
    double *uniform; /* [draws] */
};

void di_row_maker_free(di_row_maker *m)
{
    if (!m) return;
    di_row_writer_free(m->writer);
    dk_free(m->host, m->ids);
    dk_free(m->host, m->values);
    dk_free(m->host, m->uniform);
    dk_free(m->host, m);
}

int32_t di_row_maker_create(dk_host *host, const di_cache_header *header, di_row_maker **out, dk_error *err)
{
    di_row_maker *m = NULL;
    int32_t rc;
    DK_TRY(dk_new(host, 1, &m, err));
    m->host = host;
    m->header = header;
    DK_TRY(dk_new(host, header->width, &m->ids, err));
    DK_TRY(dk_new(host, header->width, &m->values, err));
    DK_TRY(dk_new(host, header->width, &m->uniform, err));
    DK_TRY(di_row_writer_create(host, header, &m->writer, err));
    *out = m;
    m = NULL;
out:
    di_row_maker_free(m);
    return rc;
}

di_row_writer *di_row_maker_writer(di_row_maker *m) { return m->writer; }

int32_t di_row_maker_put(di_row_maker *m, const uint8_t key[16], int64_t position, const float *row, dk_error *err)
{
    const int64_t valid = m->header->vocab_valid, k = m->header->width;
    if (m->header->tier == DI_TIER_TOP_K) {
        di_row_best(row, valid, k, m->values, m->ids);
        const double tail = (double)di_row_rest(row, valid, k, m->values, m->ids);
        return di_row_put(m->writer, m->ids, m->values, k, tail, err);
    }
    if (m->header->tier == DI_TIER_SAMPLED) {
        const di_draws draws = {m->header->seed, di_get(key, 8), (uint64_t)position, k};
        const int64_t count = di_row_draw(row, valid, &draws, m->uniform, m->ids, m->values);
        return di_row_put(m->writer, m->ids, m->values, count, di_row_entropy(row, valid), err);
    }
    return di_row_put(m->writer, NULL, row, 0, 0, err);
}
