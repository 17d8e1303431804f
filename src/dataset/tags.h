/* tags.h - what samples say of themselves: the source that they are from, and the teacher that is to teach them. Each
 * pair is kept once and has a number. Private to src/dataset. */
#ifndef DI_DATASET_TAGS_H
#define DI_DATASET_TAGS_H

#include "base/host.h"

enum { DI_TAG_SIZE = 64, DI_TAGS_MAX = 1024 };
typedef struct di_tag { /* "" = not said */
    char source[DI_TAG_SIZE], teacher[DI_TAG_SIZE];
} di_tag;
typedef struct di_tags {
    di_tag *items; /* never moved: batches point into them */
    int64_t count;
    int64_t left_out; /* samples whose pair did not fit */
} di_tags;
/* The number of a pair, from 1; 0 = it says nothing, or there are DI_TAGS_MAX others. */
int32_t di_tags_add(di_tags *tags, dk_host *host, const di_tag *tag, int64_t *number, dk_error *err);
void di_tags_tell(const di_tags *tags, dk_host *host, const char *name);

#endif
