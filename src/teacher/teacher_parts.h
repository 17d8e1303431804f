/* teacher_parts.h - what a kind of teacher is: a table of functions; for the files of this folder only. */
#ifndef DI_TEACHER_TEACHER_PARTS_H
#define DI_TEACHER_TEACHER_PARTS_H

#include <stdatomic.h>

#include "teacher/teacher.h"

typedef struct di_teacher_kind {
    int32_t (*session)(di_session *session, dk_error *err); /* fills session->state and session->source */
    void (*session_free)(di_session *session);
    int32_t (*forward)(di_session *session, dk_error *err); /* session->batch, ->row_count and ->places are set */
    const distill_target *(*hidden)(di_session *session);
    int32_t (*generate)(di_teacher *teacher, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, distill_token_fn fn, void *user, dk_error *err);
} di_teacher_kind;
extern const di_teacher_kind di_teacher_local, di_teacher_of_callbacks;

struct di_teacher {
    atomic_int references;
    dk_host *host;
    dk_backend *backend;
    const di_teacher_kind *kind;
    dk_tokenizer *tokenizer; /* a reference, or NULL */
    char *path;
    dk_model *model; /* local */
    int32_t owns_model;
    void *owner; /* of a model that is not ours */
    void (*release_owner)(void *owner);
    distill_teacher_callbacks callbacks;
    atomic_int busy;     /* a callback that is not for several threads runs */
    distill_target form; /* with tensors of its own */
    distill_tensor form_tensors[5];
    int64_t form_shapes[5][2];
    float *form_head, *form_bias; /* compact copies */
};

struct di_session {
    di_teacher *teacher; /* a reference */
    int64_t max_tokens, max_sequences, max_rows;
    int32_t with_gradient; /* of hidden states that callbacks give */
    distill_batch batch;   /* of the forward under work */
    int64_t row_count;
    const int64_t *places; /* [row_count] */
    int64_t *place_memory; /* [max_rows] for implied rows */
    di_source source;
    void *state; /* the kind's own */
};

#endif
