/* cached.h - a cached teacher from inside. Private to src/teacher. */
#ifndef DI_TEACHER_CACHED_H
#define DI_TEACHER_CACHED_H

#include "cache/target_cache.h"
#include "teacher/teacher_parts.h"

typedef struct di_cached {
    di_cache *cache;
    di_teacher *from;    /* a reference; NULL = what is not there is an error */
    int64_t version;     /* of its weights, when its hash was taken */
    distill_target form; /* DENSE, TOPK or SAMPLED */
    distill_tensor values;
    int64_t shape[2];
} di_cached;
int32_t di_cached_session(di_session *session, dk_error *err);
void di_cached_session_free(di_session *session);
int32_t di_cached_forward(di_session *session, dk_error *err);
double di_cached_flops(di_session *session);
const distill_target *di_cached_hidden(di_session *session);

/* ---- what is not there: cached_fill.c ---- */
typedef struct di_filler di_filler;
int32_t di_filler_create(di_session *session, di_filler **out, dk_error *err);
void di_filler_free(di_filler *filler);
/* Rows [count] of the session's batch (numbers of rows, ascending) are asked for and added. keys: of its sequences. */
int32_t di_filler_run(di_filler *filler, const uint8_t (*keys)[16], const int64_t *rows, int64_t count, dk_error *err);
double di_filler_flops(const di_filler *filler); /* of asking for them; the head of tier hidden is not in it */
/* The sequence of a place of the batch, not below `from`. */
static inline int64_t di_sequence_of(const distill_batch *batch, int64_t place, int64_t from)
{
    while (from + 1 < batch->sequences && batch->offsets[from + 1] <= place) from++;
    return from;
}

#endif
