/* weights.h - what opening, making and saving a model share; for lib/model only. */
#ifndef DK_MODEL_WEIGHTS_H
#define DK_MODEL_WEIGHTS_H

#include "model/architecture.h"

typedef struct dk_planned { /* one parameter before it has a value */
    char name[96], gguf[64];
    const dk_slot *slot;
    int64_t layer, item; /* -1 = not in a block; not one of several */
    int32_t rank;
    int64_t shape[2];
} dk_planned;

typedef struct dk_model_state {
    dk_planned *plan; /* [parameter_count] */
    int32_t turned;   /* products lie as GGUF has them, [out, in], though the family's own order is [in, out] */
    dk_arena values, gradients;
    dk_checkpoint *checkpoint; /* while values are mapped */
    dk_buffer **files;         /* one for each file of the checkpoint */
    char *generation;          /* generation_config.json as it was read; NULL = to be made */
} dk_model_state;

/* That a model with experts is not trained, nor a part of it copied. */
int32_t dk_fail_experts(const dk_config *config, dk_error *err);
/* A model with its parameters named, shaped and linked, but without values. Takes config over (and zeroes it). */
int32_t dk_model_new(dk_backend *backend, dk_config *config, int32_t trainable, dk_model **out, dk_error *err);
static inline dk_model_state *dk_model_state_of(const dk_model *model) { return model->state; }
static inline const dk_planned *dk_model_plan(const dk_model *model, int64_t parameter)
{
    return &dk_model_state_of(model)->plan[parameter];
}
/* The shape of a parameter's value in memory. */
void dk_model_shape(const dk_model *model, int64_t parameter, int64_t shape[2]);
/* The pointer of model that a slot fills. */
dk_parameter **dk_model_slot(const dk_model *model, const dk_slot *slot, int64_t layer, int64_t item);
/* Memory for every parameter whose dtypes entry is not 0; the others have their view already. */
int32_t dk_model_place(dk_model *model, const dk_dtype *dtypes, dk_error *err);
int32_t dk_model_place_real(dk_model *model, dk_error *err);
int32_t dk_model_link(dk_model *model, dk_error *err); /* the linear objects, once every value is there */

/* Where the value of a parameter stands in a file: as a tensor of its own, or as some rows of one. */
typedef struct dk_source {
    const dk_tensor *tensor; /* NULL = nowhere */
    int64_t first;           /* of those rows, counted through all dimensions but the last */
    int64_t rows;            /* of the whole tensor, of as many dimensions; 0 = it is one of its own */
} dk_source;
dk_source dk_find_source(const dk_model *model, const dk_checkpoint *checkpoint, int64_t parameter);

/* generation_config.json of a folder: its ends are added to the model's, the text is kept for the next save. */
int32_t dk_generation_open(dk_model *model, const char *folder, dk_error *err);
int32_t dk_generation_save(const dk_model *model, const char *folder, dk_error *err);

/* Values of a parameter on their way out. */
#define DK_STAGE_BYTES DK_TENSOR_PIECE
typedef struct dk_stage {
    dk_queue queue;
    dk_buffer *buffer;
    dk_buffer *turned; /* the value that dk_stage_value gave last, where it is a copy */
} dk_stage;
int32_t dk_stage_open(dk_backend *backend, dk_stage *out, dk_error *err);
void dk_stage_close(dk_stage *stage);
/* A parameter's value in the shape of the model's plan: where it lies, or, if that is turned, a copy in F32 that lasts
 * until the next call. */
int32_t dk_stage_value(dk_stage *stage, const dk_model *model, int64_t parameter, dk_view *out, dk_error *err);
/* Entries [first, first + count) of it as dtype, at most DK_STAGE_BYTES of them. */
int32_t dk_stage_read(dk_stage *stage, dk_view value, int64_t first, int64_t count, dk_dtype dtype, void *out,
                      dk_error *err);
dk_view dk_view_flat(dk_view view, int64_t first, int64_t count); /* entries of a compact view */
dk_view dk_view_turned(dk_view matrix);                           /* its transpose, in the same memory */

#endif
