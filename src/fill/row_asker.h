/* row_asker.h - a window through a model, and its rows on the host, a few at a time. Private to src/fill. */
#ifndef DI_FILL_ROW_ASKER_H
#define DI_FILL_ROW_ASKER_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

typedef struct di_row_asker {
    di_session *session;
    dk_queue queue;
    dk_arena arena;
    dk_view strip; /* [most, width] */
    float *rows;   /* the same on the host */
    int64_t most, width;
    double scale;   /* log p = rows * scale - their log-sum-exp: 1 / temperature, or 1 where rows are formed at it */
    int32_t formed; /* they are */
    double temperature;
} di_row_asker;
/* Ranges of at most so many rows, of windows as large as the batch. temperature: of log p. */
int32_t di_row_asker_open(dk_backend *backend, di_teacher *teacher, const di_batch *batch, int64_t most,
                          double temperature, di_row_asker *out, dk_error *err);
void di_row_asker_close(di_row_asker *asker); /* one that is zero is fine */
int32_t di_row_asker_begin(di_row_asker *asker, const di_batch *batch, dk_error *err);
/* asker->rows [count, width]; E_NUMERIC: a row without a number. */
int32_t di_row_asker_read(di_row_asker *asker, int64_t first, int64_t count, dk_error *err);
/* Hidden states [count, width] that the head is fed, out of and into its memory; width 0 = none on the host. */
int64_t di_row_asker_state_width(di_row_asker *asker);
void di_row_asker_get_states(di_row_asker *asker, int64_t first, int64_t count, float *out);
void di_row_asker_set_states(di_row_asker *asker, int64_t first, int64_t count, const float *states);

#endif
