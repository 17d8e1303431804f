#include "fill/trial.h"

#include <math.h>
#include <string.h>

enum { FLOOR = -100 }; /* as evaluations have it, where a decoded probability is 0 */

void di_truth_of(const float *row, double scale, int64_t valid, di_truth *out)
{
    double peak = -INFINITY, sum = 0, weighted = 0, squares = 0;
    for (int64_t v = 0; v < valid; v++) peak = fmax(peak, (double)row[v]);
    for (int64_t v = 0; v < valid; v++) {
        const double z = ((double)row[v] - peak) * scale, e = exp(z);
        sum += e;
        squares += e * e;
        if (e > 0) weighted += e * z;
    }
    *out = (di_truth){row, scale, peak * scale + log(sum), weighted / sum - log(sum), squares / (sum * sum), valid};
}

double di_truth_log(const di_truth *truth, int64_t id) { return (double)truth->row[id] * truth->scale - truth->lse; }

/* ---- one tier ---- */

int32_t di_trial_open(dk_host *host, const di_cache_header *header, di_trial *out, dk_error *err)
{
    int32_t rc;
    memset(out, 0, sizeof *out);
    out->host = host;
    out->header = *header;
    DK_TRY(di_row_maker_create(host, &out->header, &out->maker, err));
    DK_TRY(dk_new(host, header->width, &out->ids, err));
    DK_TRY(dk_new(host, header->width, &out->values, err));
    if (!header->bits) DK_TRY(dk_new(host, header->vocab_valid, &out->log_p, err));
    if (header->tier == DI_TIER_TOP_K) {
        DK_TRY(dk_new(host, DI_ROW_POWERS, &out->powers, err));
        di_row_powers(header, out->powers);
    }
out:
    if (rc) di_trial_close(out);
    return rc;
}

void di_trial_close(di_trial *t)
{
    if (!t->host) return;
    di_row_maker_free(t->maker);
    dk_free(t->host, t->powers);
    dk_free(t->host, t->ids);
    dk_free(t->host, t->values);
    dk_free(t->host, t->log_p);
    memset(t, 0, sizeof *t);
}

static int32_t put_row(di_trial *t, const di_trial_rows *rows, int64_t r, dk_error *err)
{
    const di_batch *window = rows->window;
    const int64_t sequence = window->row_sequence[rows->first + r];
    const int64_t position = window->row[rows->first + r] - window->offsets[sequence];
    const float *row = t->header.tier == DI_TIER_HIDDEN ? rows->states + r * t->header.width
                       : t->header.tier == DI_TIER_FULL ? rows->truths[r].row
                                                        : t->log_p;
    if (row == t->log_p)
        for (int64_t v = 0; v < t->header.vocab_valid; v++) t->log_p[v] = (float)di_truth_log(&rows->truths[r], v);
    return di_row_maker_put(t->maker, rows->keys[sequence], position, row, err);
}

int32_t di_trial_put(di_trial *t, const di_trial_rows *rows, di_row_reader *reader, dk_error *err)
{
    const void *data;
    size_t size;
    int64_t taken;
    int32_t rc;
    for (int64_t r = 0; r < rows->count; r++) DK_TRY(put_row(t, rows, r, err));
    DK_TRY(di_row_writer_take(di_row_maker_writer(t->maker), &data, &size, &taken, err));
    t->bytes += (int64_t)size;
    t->rows += taken;
    DK_TRY(di_row_reader_begin(reader, &t->header, t->powers, data, size, taken, err));
out:
    return rc;
}

void di_trial_keys(const di_batch *window, uint32_t parts, uint8_t (*keys)[16])
{
    int64_t row = 0;
    for (int64_t i = 0; i < window->sequences; i++) {
        const int64_t begin = window->offsets[i], end = window->offsets[i + 1];
        di_cache_origin origin = {window->sources[i] ? window->sources[i] : "", window->tags[i] ? window->tags[i] : "",
                                  0};
        if (row < window->rows && window->row[row] < end) origin.prompt = window->row[row] - begin + 1;
        while (row < window->rows && window->row[row] < end) row++;
        di_cache_key_of(window->ids + begin, end - begin, parts, &origin, keys[i]);
    }
}

/* ---- what was lost ---- */

static void add(di_trial *t, double kl, double squares)
{
    if (kl < 0) kl = 0; /* rounding */
    t->kl += kl;
    t->kl_largest = fmax(t->kl_largest, kl);
    t->error += sqrt(squares > 0 ? squares : 0);
}

void di_trial_compare_logits(di_trial *t, const float *row, double scale, const di_truth *truth)
{
    di_truth other;
    double kl = 0, squares = 0;
    di_truth_of(row, scale, truth->valid, &other);
    for (int64_t v = 0; v < truth->valid; v++) {
        const double log_p = di_truth_log(truth, v), log_q = fmax(di_truth_log(&other, v), FLOOR), p = exp(log_p);
        if (p > 0) kl += p * (log_p - log_q);
        squares += (p - exp(log_q)) * (p - exp(log_q));
    }
    add(t, kl, squares);
}

/* Ids and a tail whose mass all other ids share alike. */
static void compare_top_k(di_trial *t, const di_truth *truth, int64_t count, float tail)
{
    const double others = (double)(truth->valid - count);
    const double log_other = others > 0 ? fmax((double)tail - log(others), FLOOR) : 0;
    double mass = 0, kl = truth->plogp, squares = truth->pp, listed = 0;
    for (int64_t i = 0; i < count; i++) {
        const double log_p = di_truth_log(truth, t->ids[i]), log_q = (double)t->values[i], p = exp(log_p),
                     q = exp(log_q);
        listed += p * (log_p - log_q);
        kl -= p * log_q;
        squares += q * q - 2 * p * q;
        mass += p;
    }
    if (others > 0) {
        const double q = exp(log_other);
        kl -= (1 - mass) * log_other;
        squares += others * q * q - 2 * q * (1 - mass);
    }
    if (mass < 1) listed += (1 - mass) * (log(1 - mass) - fmax((double)tail, FLOOR));
    t->kl_listed += listed > 0 ? listed : 0;
    add(t, kl, squares);
}

static void compare_draws(di_trial *t, const di_truth *truth, int64_t count)
{
    double squares = truth->pp;
    for (int64_t i = 0; i < count; i++) {
        const double q = (double)t->values[i] / t->header.width;
        squares += q * q - 2 * q * exp(di_truth_log(truth, t->ids[i]));
    }
    t->error += sqrt(squares > 0 ? squares : 0);
}

int32_t di_trial_compare(di_trial *t, di_row_reader *reader, const di_truth *truth, dk_error *err)
{
    int64_t count;
    float beside;
    int32_t rc;
    DK_TRY(di_row_get(reader, t->ids, t->values, &count, &beside, err));
    if (t->header.tier == DI_TIER_FULL) di_trial_compare_logits(t, t->values, truth->scale, truth);
    if (t->header.tier == DI_TIER_TOP_K) compare_top_k(t, truth, count, beside);
    if (t->header.tier == DI_TIER_SAMPLED) compare_draws(t, truth, count);
out:
    return rc;
}
