/* fill.h - data through a teacher whose targets are kept, before any training.
 *
 *   fill_parts.c  teacher and data, as given or as the options name them    fill.c        the way through them
 *   cache_plan.c  what a cache will be, before it is filled                 tiers.c       what each tier keeps
 *   trial.c       a tier tried out on rows                                  row_asker.c   rows of a model
 *   fill_ranks.c  the way through them by several ranks */
#ifndef DI_FILL_FILL_H
#define DI_FILL_FILL_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

typedef struct di_fill_args {
    dk_backend *backend;
    di_teacher *teacher; /* NULL = as sections teacher and teachers say */
    di_dataset *data;    /* NULL = data.train and what a run would hold out, as section data says */
    di_dataset *eval;    /* held-out data beside it; NULL = as section data says where data is NULL, too, else none */
    int32_t of_run;      /* a run is about to read it: caches without a teacher are left as they are */
    const char *path;    /* of the cache, with the settings of teacher.cache; NULL = the caches of the teacher */
    const di_options *options;
    distill_progress_fn fn; /* or NULL */
    void *user;
} di_fill_args;
/* Rows that are there are not asked for again, so that it goes on where an earlier call stopped; one that is
 * cancelled leaves what it has. A call of all ranks, each of which asks a part; rank 0 writes what one rank would have
 * written. of_run: json stays empty where there is nobody to ask.
 * json: {"windows","tokens","rows","added","seconds","caches":[...]}. */
int32_t di_cache_build(const di_fill_args *args, dk_strbuf *json, dk_error *err);
/* What that would make: {"windows","caches":[{"path","tier","rows","missing","bytes_per_row","bytes","there",
 * "index_bytes","seconds"}],...}, and of the numbers the sums, from some windows that are asked; nothing is written. */
int32_t di_cache_plan(const di_fill_args *args, dk_strbuf *json, dk_error *err);

typedef struct di_tiers_args {
    di_fill_args fill;   /* path: NULL; data: the held-out data of the options where they name some */
    di_teacher *student; /* NULL = none */
    int64_t rows;        /* about so many, at least one window; 0 = all */
} di_tiers_args;
/* Bytes of a token and KL(teacher || decoded) of tiers and some of their settings. */
int32_t di_cache_measure(const di_tiers_args *args, dk_strbuf *json, dk_error *err);

#endif
