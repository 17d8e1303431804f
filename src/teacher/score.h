/* score.h - a batch through a teacher strip by strip, for the functions that answer at once. */
#ifndef DI_TEACHER_SCORE_H
#define DI_TEACHER_SCORE_H

#include "teacher/teacher.h"

enum { DI_STRIP_ROWS = 64 };
/* Rows [first, first + count) of the batch: [count, width] logits, or log-probabilities at a temperature. */
typedef int32_t (*di_strip_fn)(void *user, const di_session *session, int64_t first, int64_t count, const float *rows,
                               dk_error *err);
/* temperature 0 = logits. E_NUMERIC names the first row that holds NaN or +inf; E_UNSUPPORTED: a teacher of targets
 * without logits. */
int32_t di_teacher_strips(di_teacher *teacher, const distill_batch *batch, double temperature, di_strip_fn fn,
                          void *user, dk_error *err);
/* The same with the memory kept from batch to batch, which are at most so large. */
typedef struct di_scorer di_scorer;
int32_t di_scorer_create(di_teacher *teacher, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                         di_scorer **out, dk_error *err);
int32_t di_scorer_run(di_scorer *scorer, const distill_batch *batch, double temperature, di_strip_fn fn, void *user,
                      dk_error *err);
void di_scorer_free(di_scorer *scorer);                 /* NULL is fine */
di_session *di_scorer_session(const di_scorer *scorer); /* what it scores with, free for others between its runs */
/* The k likeliest of a row, descending (of equal ones the smaller id), and the log of the mass of all others. */
void di_row_best(const float *row, int64_t valid, int64_t k, float *values, int32_t *ids);
float di_row_rest(const float *row, int64_t valid, int64_t k, const float *values, const int32_t *ids);
/* E_NUMERIC "row R (sequence S, token T): WHAT is VALUE" */
int32_t di_fail_row(const distill_batch *batch, int64_t row, int64_t place, const char *what, double value,
                    dk_error *err);

#endif
