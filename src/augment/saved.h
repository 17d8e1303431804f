/* saved.h - OUT.state: how far a run came, so that one which was stopped goes on and ends with the same bytes. Private
 * to src/augment. */
#ifndef DI_AUGMENT_SAVED_H
#define DI_AUGMENT_SAVED_H

#include "augment/pipeline.h"
#include "augment/seeds.h"

enum { DI_ENDED = 16 };
typedef struct di_saved {
    char recipe[65], teacher[65], input[65]; /* what it was made of */
    int64_t first;                           /* step that the segment at work begins with */
    di_seed_place place;                     /* in what that segment reads */
    int64_t bytes, aside;                    /* of what it writes, and of what is kept aside */
    int64_t written;                         /* samples */
    int64_t tokens;
    double seconds;
    int64_t tokens_before; /* the segment at work */
    double seconds_before;
    int64_t chunk_end;    /* samples that the segment has read behind the chunk at work */
    char ended[DI_ENDED]; /* "" = it is at work; "whole", "tokens", "minutes" */
} di_saved;
/* Written beside and renamed. Operators save what they remember first. */
int32_t di_saved_write(const di_saved *saved, di_pipeline *pipeline, const char *path, dk_error *err);
/* Steps from saved->first on get what they saved, all of them their counts. E_MISMATCH: it is of another recipe,
 * teacher or input than *saved says, which arrives with what is wanted. */
int32_t di_saved_read(const char *path, const char *out, di_pipeline *pipeline, di_saved *saved, dk_error *err);
void di_steps_json(const di_pipeline *pipeline, dk_strbuf *json); /* [{"operator","in","out","counts"}] */

#endif
