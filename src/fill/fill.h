/* fill.h - a whole dataset through a teacher whose targets are kept, before any training. */
#ifndef DI_FILL_FILL_H
#define DI_FILL_FILL_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

/* Rows that path has are not asked for again, so that it goes on where an earlier call stopped; one that is cancelled
 * leaves what it has. options: teacher.cache (but for the path). */
int32_t di_cache_build(dk_backend *backend, di_teacher *teacher, di_dataset *data, const char *path,
                       const di_options *options, distill_progress_fn fn, void *user, dk_error *err);

#endif
