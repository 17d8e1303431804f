/* weights.h - what opening, making and saving a model share; for lib/model only. */
#ifndef DK_MODEL_WEIGHTS_H
#define DK_MODEL_WEIGHTS_H

#include "model/architecture.h"

typedef struct dk_planned { /* one parameter before it has a value */
    char name[96], gguf[64];
    const dk_slot *slot;
    int64_t layer; /* -1 = not in a block */
    int32_t rank;
    int64_t shape[2];
} dk_planned;

typedef struct dk_model_state {
    dk_planned *plan; /* [parameter_count] */
    dk_arena values, gradients;
    dk_checkpoint *checkpoint; /* while values are mapped */
    dk_buffer **files;         /* one for each file of the checkpoint */
    char *generation;          /* generation_config.json as it was read; NULL = to be made */
} dk_model_state;

/* A model with its parameters named, shaped and linked, but without values. Takes config over (and zeroes it). */
int32_t dk_model_new(dk_backend *backend, dk_config *config, int32_t trainable, dk_model **out, dk_error *err);
static inline dk_model_state *dk_model_state_of(const dk_model *model) { return model->state; }
static inline const dk_planned *dk_model_plan(const dk_model *model, int64_t parameter)
{
    return &dk_model_state_of(model)->plan[parameter];
}
/* The pointer of model that a slot fills. */
dk_parameter **dk_model_slot(const dk_model *model, const dk_slot *slot, int64_t layer);
/* Memory for every parameter whose dtypes entry is not 0; the others have their view already. */
int32_t dk_model_place(dk_model *model, const dk_dtype *dtypes, dk_error *err);
int32_t dk_model_place_real(dk_model *model, dk_error *err);
int32_t dk_model_link(dk_model *model, dk_error *err); /* the linear objects, once every value is there */

/* generation_config.json of a folder: its ends are added to the model's, the text is kept for the next save. */
int32_t dk_generation_open(dk_model *model, const char *folder, dk_error *err);
int32_t dk_generation_save(const dk_model *model, const char *folder, dk_error *err);

/* Values of a parameter on their way out: entries [first, first + count) as dtype, at most DK_STAGE_BYTES of them. */
#define DK_STAGE_BYTES DK_TENSOR_PIECE
typedef struct dk_stage {
    dk_queue queue;
    dk_buffer *buffer;
} dk_stage;
int32_t dk_stage_open(dk_backend *backend, dk_stage *out, dk_error *err);
void dk_stage_close(dk_stage *stage);
int32_t dk_stage_read(dk_stage *stage, dk_view value, int64_t first, int64_t count, dk_dtype dtype, void *out,
                      dk_error *err);
dk_view dk_view_flat(dk_view view, int64_t first, int64_t count); /* entries of a compact view */

#endif
