/* student.h - one interface for everything that can be trained: a local model, a host's callbacks; and how a student
 * comes to be (opened, fresh from a config, derived from a teacher's layers). The optimiser lives in trainer/, the loop
 * in run/. */
#ifndef DI_STUDENT_STUDENT_H
#define DI_STUDENT_STUDENT_H

#include "teacher/model_files.h"
#include "teacher/teacher.h"

typedef struct di_student di_student;

/* Refuses what can be a teacher only: a model with experts. */
int32_t di_student_check_kind(const dk_config *config, dk_error *err);
int32_t di_student_open(dk_backend *backend, const char *path, const di_options *options, di_student **out,
                        dk_error *err);
int32_t di_student_create(dk_backend *backend, const char *config_path, dk_tokenizer *tokenizer,
                          const di_options *options, di_student **out, dk_error *err);
int32_t di_student_derive(dk_backend *backend, const di_teacher *teacher, const di_options *options, di_student **out,
                          dk_error *err);
/* The same with what is kept said by numbers; options NULL = nothing is frozen. */
int32_t di_student_derive_kept(dk_backend *backend, const di_teacher *teacher, const dk_keep *keep,
                               const di_options *options, di_student **out, dk_error *err);
int32_t di_student_from_callbacks(dk_backend *backend, const distill_student_callbacks *table,
                                  const di_options *options, di_student **out, dk_error *err);
di_student *di_student_retain(di_student *student);
void di_student_release(di_student *student);

/* Of the parameter that makes logits; NULL = none of ours. Borrowed until the student is freed. */
const char *di_student_head_name(const di_student *student);
int32_t di_student_get_i64(const di_student *student, const char *key, int64_t *out, dk_error *err);
di_facts di_student_facts(const di_student *student);
double di_student_flops(const di_student *student, int64_t tokens,
                        int64_t mean_length); /* of training; 0 = not known */
/* Parameters that our optimiser updates and our checkpoints keep; NULL where the student does so itself. */
dk_model *di_student_model(const di_student *student);
const distill_student_callbacks *di_student_callbacks(const di_student *student); /* NULL for models */
dk_tokenizer *di_student_tokenizer(const di_student *student);                    /* borrowed; NULL = none */
/* The chat template that is saved with it instead of the tokenizer's own; NULL changes nothing. */
int32_t di_student_take_chat(di_student *student, const char *jinja, dk_error *err);
/* What stands at a place inside it, as di_teacher_place says it. */
int32_t di_student_place(const di_student *student, const dk_tap_spec *tap, di_place *out, dk_error *err);
int64_t di_student_vocab_valid(const di_student *student);      /* ids from here on are padding */
int32_t di_student_acquire(di_student *student, dk_error *err); /* for one trainer; E_BUSY when held */
void di_student_let_go(di_student *student);
/* Files say "auto" for the type in which the teacher is stored; F32 until it is known. */
void di_student_take_storage(di_student *student, const di_teacher *teacher);
/* What options of the section output say of the student's files; what cannot be written is refused. */
int32_t di_student_files(const di_student *student, const char *format, const char *type, di_files *out, dk_error *err);
/* Who is told how far saving is, until it is NULL again. */
void di_student_on_saved(di_student *student, dk_saved_fn saved, void *user);
/* atomic folder with tokenizer files */
int32_t di_student_save(const di_student *student, const char *path, const di_files *files, dk_error *err);
int32_t di_student_as_teacher(di_student *student, di_teacher **out, dk_error *err);
int32_t di_student_parameter(di_student *student, const char *name, int32_t which, distill_tensor *out, dk_error *err);
const char *di_student_parameter_name(const di_student *student, int64_t index);
int32_t di_student_weights_changed(di_student *student, dk_error *err);

/* Ids behind prompts, by the weights as they stand, as args say; most [prompts->sequences] tokens of each, which
 * args->emit need not keep to. E_CALLBACK where a host's student does not as it is told. */
int32_t di_student_write(di_student *student, const dk_tokens *prompts, const dk_generate_args *args,
                         const int64_t *most, dk_error *err);
int32_t di_student_writes(const di_student *student); /* it can */

/* ---- training: one window's work on micro-batches; held by the trainer ---- */
typedef struct di_trainee di_trainee;
/* asked: places inside that are read, and that take a gradient; NULL = none. */
int32_t di_trainee_create(di_student *student, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                          int32_t checkpointing, const di_asked *asked, di_trainee **out, dk_error *err);
void di_trainee_free(di_trainee *trainee);
/* What the products of a model are formed in from the next forward on; full at first. */
void di_trainee_set_precision(di_trainee *trainee, dk_precision precision);
/* the trunk; batch is borrowed until backward */
int32_t di_trainee_forward(di_trainee *trainee, const distill_batch *batch, dk_error *err);
/* with gradient: through the head, gathering dL/dhidden */
const di_source *di_trainee_source(const di_trainee *trainee);
/* rows of the last forward with head, for pull mode; NULL for dense callbacks */
const distill_target *di_trainee_hidden(di_trainee *trainee);
/* The trunk's backward with what the source's gradient gathered, or with dhidden [rows, width] (fp32, host) where
 * given. */
int32_t di_trainee_backward(di_trainee *trainee, const distill_tensor *dhidden, dk_error *err);
/* Told within backward of a model, which gradients are whole (dk_pass_on_whole); fn NULL = nobody. */
void di_trainee_on_whole(di_trainee *trainee, dk_whole_fn fn, void *user);
/* The places that were asked for, of the last forward; their gradients go in with the next backward. */
const di_taps *di_trainee_taps(const di_trainee *trainee);
/* estimate, for micro_batch_size 0 */
int64_t di_trainee_bytes(const di_student *student, int64_t max_tokens, int64_t max_sequences, int64_t max_rows,
                         int32_t checkpointing, const di_asked *asked);

#endif
