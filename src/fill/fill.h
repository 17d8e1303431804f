/* fill.h - data through a teacher whose targets are kept, before any training.
 *
 *   fill_parts.c  teacher and data, as given or as the options name them    fill.c  the way through them */
#ifndef DI_FILL_FILL_H
#define DI_FILL_FILL_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

typedef struct di_fill_args {
    dk_backend *backend;
    di_teacher *teacher; /* NULL = as sections teacher and teachers say */
    di_dataset *data;    /* NULL = data.train and what a run would hold out, as section data says */
    const char *path;    /* of the cache, with the settings of teacher.cache; NULL = the caches of the teacher */
    const di_options *options;
    distill_progress_fn fn; /* or NULL */
    void *user;
} di_fill_args;
/* Rows that are there are not asked for again, so that it goes on where an earlier call stopped; one that is cancelled
 * leaves what it has. json: {"windows","tokens","rows","added","seconds","caches":[...]}. */
int32_t di_cache_build(const di_fill_args *args, dk_strbuf *json, dk_error *err);

#endif
