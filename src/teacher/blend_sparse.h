/* blend_sparse.h - blends that have sparse members: what they make of a row, and the session under it. Private to
 * src/teacher.
 *
 *   blend_sparse.c          which members fit together, and what comes of them
 *   blend_sparse_session.c  members asked strip by strip, whatever is made of their rows
 *   blend_partition.c       TOPK: the ids that all members list, and the rest
 *   blend_draws.c           SAMPLED: draws of all members, weighted */
#ifndef DI_TEACHER_BLEND_SPARSE_H
#define DI_TEACHER_BLEND_SPARSE_H

#include "target/host_rows.h"
#include "teacher/teacher_parts.h"

typedef struct di_entry { /* an id that a member lists */
    int32_t id, member;
    double value; /* log p; weighted count */
} di_entry;

typedef struct di_sparse_work { /* a session's state */
    dk_queue queue;
    di_session **members; /* [count] */
    double *weights;      /* [count] of this batch */
    di_session **asked;   /* [count] of this batch; NULL = not */
    /* of the dense member under work */
    dk_buffer *buffer; /* [height, widest] log p */
    di_staging read;
    di_host_rows dense;
    int64_t dense_width; /* ids that it knows */
    /* of sparse ones */
    di_sparse_check *check;
    const distill_target **given; /* [count] of the strip; NULL = a dense member */
    /* the rows under work: [first, first + height) of the batch, which are rows from `at` on of the strip */
    int64_t height, first, at;
    int64_t index;     /* of the dense member */
    int64_t capacity;  /* entries of a row */
    di_entry *entries; /* [height, capacity] */
    int64_t *used;     /* [height] of them */
    double *sums;      /* [height, capacity] p of common ids; room for draws */
    double *rest;      /* [height] */
    atomic_int broken;
    /* what is given: tensors over [max_rows, width] */
    int64_t width;
    int32_t *ids;
    float *values, *tail;
    distill_tensor value_tensor, id_tensor, tail_tensor;
    int64_t shape[2];
    distill_target out;
    int64_t done;     /* rows of the batch so far */
    di_common common; /* of them */
} di_sparse_work;

typedef struct di_sparse_steps {                                      /* of row r of those under work */
    void (*begin)(const di_session *session, int64_t r);              /* what the sparse members say */
    void (*join)(const di_session *session, int64_t r, float *log_p); /* a dense one, whose row may be written to */
    void (*finish)(const di_session *session, int64_t r);             /* into ids, values and tail */
} di_sparse_steps;
extern const di_sparse_steps di_partition_steps, di_draw_steps;

int di_entries_ascending(const void *a, const void *b); /* by id, then member */

/* ---- the kind ---- */
/* Kind, width and temperature of what members give together; blend->form is made of them. */
int32_t di_blend_fit(di_blend *blend, dk_error *err);
int32_t di_sparse_session(di_session *session, dk_error *err);
void di_sparse_session_free(di_session *session);
int32_t di_sparse_begin(di_session *session, dk_error *err);
void di_sparse_end(di_session *session);
int32_t di_sparse_forward(di_session *session, dk_error *err);
void di_sparse_tally(di_session *session, int64_t index, di_member_view *out);
void di_sparse_common(const di_session *session, di_common *into);

#endif
