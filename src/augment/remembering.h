/* remembering.h - operators that look at one text after the other and remember those that they keep, in a file beside
 * the result (curate/kept_log.h). What they share; what makes each of them one is a di_remembering_kind. */
#ifndef DI_AUGMENT_REMEMBERING_H
#define DI_AUGMENT_REMEMBERING_H

#include "augment/curate/kept_log.h"
#include "augment/look.h"

typedef struct di_remembering di_remembering;
typedef struct di_remembering_kind {
    const char *file;                                     /* "near": of OUT.step3.near */
    int32_t (*check)(const di_step *step, dk_error *err); /* of options; NULL = all that the table allows are right */
    int32_t (*open)(const di_step *step, const char *path, const di_kept_state *at, void **index, dk_error *err);
    void (*close)(void *index);
    int32_t (*flush)(void *index, di_kept_state *state, dk_error *err);
    /* *why NULL = it is kept and remembered. */
    int32_t (*judge)(void *index, const char *text, size_t size, di_record *record, di_flow *flow, const char **why,
                     dk_error *err);
} di_remembering_kind;

int32_t di_remembering_create(const di_step *step, const di_remembering_kind *kind, void **state, dk_error *err);
#define DI_REMEMBERING(CREATE)                                                                                     \
    {                                                                                                              \
        .create = CREATE, .free = di_remembering_free, .apply = di_remembering_apply, .save = di_remembering_save, \
        .restore = di_remembering_restore, .remove = di_remembering_remove                                         \
    }
void di_remembering_free(void *state);
int32_t di_remembering_apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err);
int32_t di_remembering_save(void *state, dk_strbuf *json, dk_error *err);
int32_t di_remembering_restore(void *state, const dk_node *saved, dk_error *err);
int32_t di_remembering_remove(void *state, dk_error *err);

#endif
