/* workspace.h - the memory of an evaluation, planned once. */
#ifndef DI_LOSS_WORKSPACE_H
#define DI_LOSS_WORKSPACE_H

#include "loss/loss_parts.h"

struct di_workspace {
    dk_backend *backend;
    dk_host *host;
    const di_loss *loss;
    di_workspace_spec spec;
    int64_t strip_rows, vocab;
    dk_queue queue;
    dk_arena strips;
    di_staging copied[3];               /* of student, teacher, gradient, where the host does not see the strips */
    dk_view student, teacher, gradient; /* [strip_rows, width]; gradient where the spec keeps logits */
    /* [spec.levels] of a teacher that is asked at several temperatures: level 0 is teacher */
    dk_view levels[DI_TEMPERATURES];
    di_staging level_copied[DI_TEMPERATURES];
    di_chunk *chunks;
    int64_t chunk_count;
    int64_t *rows;           /* [strip_rows] unmasked rows of a strip */
    double *totals;          /* [strip_rows] */
    double *parts, *squares; /* [terms, strip_rows] */
    di_term *terms;          /* [terms] at the step of the batch */
    /* Of losses that measure first: numbers of the strip's rows, and of each term sums over sequences */
    double *measured;        /* [strip_rows, di_loss_sum_count] */
    double *sums;            /* [max_sequences, di_loss_sum_count], term after term */
    const double **sums_of;  /* [terms] in sums; NULL = it measures nothing */
    di_sparse_check *sparse; /* NULL = the teacher is dense */
};

#endif
