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
/* E_NUMERIC "row R (sequence S, token T): WHAT is VALUE" */
int32_t di_fail_row(const distill_batch *batch, int64_t row, int64_t place, const char *what, double value,
                    dk_error *err);

#endif
