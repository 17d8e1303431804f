/* trial.h - a tier tried out: rows become bytes and rows again, and what was lost is measured. Private to src/fill. */
#ifndef DI_FILL_TRIAL_H
#define DI_FILL_TRIAL_H

#include "cache/cache_rows.h"
#include "dataset/dataset.h"
#include "teacher/row_maker.h"

typedef struct di_truth { /* what the teacher says of a row: log p = row * scale - lse over the ids that count */
    const float *row;
    double scale, lse;
    double plogp, pp; /* sums of p log p and of p^2 */
    int64_t valid;
} di_truth;
void di_truth_of(const float *row, double scale, int64_t valid, di_truth *out);
double di_truth_log(const di_truth *truth, int64_t id);

typedef struct di_trial {
    di_cache_header header;
    dk_host *host;
    di_row_maker *maker;
    float *powers;         /* of top_k */
    int32_t *ids;          /* [width] of a decoded row */
    float *values;         /* [width] */
    float *log_p;          /* [valid] of sparse tiers */
    double kl, kl_largest; /* sum and largest of KL(teacher || decoded); nothing of draws, which are no distribution */
    double kl_listed;      /* top_k: sum over its ids and the rest as one, what a loss sees */
    double error;          /* sum of the lengths |p - decoded|: how far the gradient of a row is off */
    int64_t rows, bytes;
} di_trial;
int32_t di_trial_open(dk_host *host, const di_cache_header *header, di_trial *out, dk_error *err);
void di_trial_close(di_trial *trial); /* one that is zero is fine */
typedef struct di_trial_rows {        /* rows [first, first + count) of a window */
    const di_batch *window;
    const uint8_t (*keys)[16];
    int64_t first, count;
    const di_truth *truths; /* [count]; of full and sparse tiers */
    const float *states;    /* [count, width]; of tier hidden */
} di_trial_rows;
/* They become bytes, to be read one after the other. */
int32_t di_trial_put(di_trial *trial, const di_trial_rows *rows, di_row_reader *reader, dk_error *err);
/* The next row, compared; of tier hidden it is only read, to trial->values. */
int32_t di_trial_compare(di_trial *trial, di_row_reader *reader, const di_truth *truth, dk_error *err);
/* The same for what comes out of decoded hidden states: log q = row * scale - their log-sum-exp. */
void di_trial_compare_logits(di_trial *trial, const float *row, double scale, const di_truth *truth);
/* Of its sequences. parts: of a header's key_parts. */
void di_trial_keys(const di_batch *window, uint32_t parts, uint8_t (*keys)[16]);

#endif
