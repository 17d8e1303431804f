/* fill_parts.h - what a cache is filled with. Private to src/fill. */
#ifndef DI_FILL_FILL_PARTS_H
#define DI_FILL_FILL_PARTS_H

#include "fill/fill.h"

enum { DI_FILL_SETS = 2 };
typedef struct di_fill_parts {
    di_teacher *teacher;
    di_dataset *sets[DI_FILL_SETS]; /* training and held-out data */
    int64_t windows[DI_FILL_SETS];
    int64_t count, total; /* sets, windows in all */
} di_fill_parts;
int32_t di_fill_parts_open(const di_fill_args *args, di_fill_parts *out, dk_error *err);
/* By several ranks: rank 0 adds to the files, all hold what they ask for. A call of all of them. */
int32_t di_fill_parts_together(const di_fill_args *args, di_fill_parts *out, dk_error *err);
/* To look at: no cache is made or written. */
int32_t di_fill_parts_look(const di_fill_args *args, di_fill_parts *out, dk_error *err);
/* The same without teacher.cache around it, as what would be asked. */
int32_t di_fill_parts_look_bare(const di_fill_args *args, di_fill_parts *out, dk_error *err);
void di_fill_parts_close(di_fill_parts *parts);

#endif
