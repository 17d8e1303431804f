/* student_parts.h - what a kind of student is: a table of functions over a state of its own, and another over what it
 * needs at work; for the files of this folder only. */
#ifndef DI_STUDENT_STUDENT_PARTS_H
#define DI_STUDENT_STUDENT_PARTS_H

#include <stdatomic.h>

#include "student/student.h"

typedef struct di_student_kind {
    void (*free)(di_student *student);                          /* student->state and what it holds */
    void (*describe)(const di_student *student, di_facts *out); /* out arrives with nothing known */
    dk_model *(*model)(const di_student *student);              /* parameters that our optimiser updates; NULL = none */
    const distill_student_callbacks *(*callbacks)(const di_student *student); /* who updates itself; NULL = none */
    double (*flops)(const di_student *student, int64_t tokens, int64_t mean_length);
    /* what stands at a place inside */
    int32_t (*place)(const di_student *student, const dk_tap_spec *tap, di_place *out, dk_error *err);
    int32_t (*save)(const di_student *student, const char *folder, const di_files *files, dk_error *err);
    int32_t (*as_teacher)(di_student *student, di_teacher **out, dk_error *err);
    /* di_student_write, and whether there is anything to write with */
    int32_t (*write)(di_student *student, const dk_tokens *prompts, const dk_generate_args *args, const int64_t *most,
                     dk_error *err);
    int32_t (*writes)(const di_student *student);

    /* at work; trainee->state is the kind's own */
    int32_t (*begin)(di_trainee *trainee, int64_t max_sequences, int32_t checkpointing, dk_error *err);
    void (*end)(di_trainee *trainee);
    int32_t (*forward)(di_trainee *trainee, dk_error *err); /* trainee->batch and ->rows are set */
    int32_t (*backward)(di_trainee *trainee, const distill_tensor *dhidden, dk_error *err);
    const distill_target *(*hidden)(di_trainee *trainee);                                    /* NULL = gives none */
    int64_t (*bytes)(const di_student *student, const dk_pass_spec *spec, int64_t max_rows); /* estimate */
} di_student_kind;

struct di_student {
    atomic_int references, held;
    dk_host *host;
    dk_backend *backend;
    const di_student_kind *kind;
    dk_tokenizer *tokenizer; /* a reference, or NULL */
    char *chat_template;     /* Jinja text that it was trained with; NULL = the tokenizer's own */
    dk_dtype storage;        /* of saved weights where nothing else is said */
    dk_saved_fn saved;       /* who is told how far saving is, or NULL */
    void *saved_user;
    void *state; /* the kind's own */
};
/* Names an option that nothing would read: 0 = layers, init_std or mmap mean nothing here. */
int32_t di_student_refuse(const di_options *options, int32_t layers, int32_t init_std, int32_t mapped, dk_error *err);
int32_t di_student_make(dk_backend *backend, const di_student_kind *kind, di_student **out, dk_error *err);

struct di_trainee {
    di_student *student; /* a reference */
    dk_host *host;
    dk_backend *backend;
    di_source source;
    di_asked asked; /* its taps are the trainee's own */
    di_taps taps;
    distill_batch batch;
    int64_t rows, max_rows, max_tokens;
    dk_precision precision; /* of a model's products */
    dk_whole_fn whole;      /* told within backward, or NULL */
    void *whole_user;
    void *state; /* the kind's own */
};

/* ---- a host's student writes: student_write.c ---- */
int32_t di_hosted_write(dk_host *host, const distill_student_callbacks *table, const dk_tokens *prompts,
                        const dk_generate_args *args, const int64_t *most, dk_error *err);

/* ---- a model at work: trainee_model.c. The state of such a student is its model ---- */
/* Of the gradients of logits that wait for one product; 0 = they do not. */
int64_t di_trained_halves_bytes(const dk_model *model, int64_t max_rows);
int32_t di_trained_begin(di_trainee *trainee, int64_t max_sequences, int32_t checkpointing, dk_error *err);
void di_trained_end(di_trainee *trainee);
int32_t di_trained_forward(di_trainee *trainee, dk_error *err);
int32_t di_trained_backward(di_trainee *trainee, const distill_tensor *dhidden, dk_error *err);
const distill_target *di_trained_hidden(di_trainee *trainee);

#endif
