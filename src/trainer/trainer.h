/* trainer.h - the step, the loop around it, checkpoints, metrics and evaluation.
 *
 * A trainer brings teacher, student, data, loss and optimiser together. What it writes: output.path gets the student,
 * metrics.jsonl, checkpoints/ and result.json. Printing does not live here, nor does the reading of files of models.
 *
 *   trainer.c     create, free, what is planned once          parts.c       opens what the options name
 *   window.c      one window: forward, loss, backward, apply  strips.c      pull mode
 *   loop.c        run: steps, evaluations, checkpoints, end   checkpoint_*  save, load, the ones of a run
 *   evaluate.c    perplexity, KL, agreement on held-out data  speed.c       prompt and decode tokens per second
 *   metrics.c     the JSONL log                               result.c      result.json */
#ifndef DI_TRAINER_TRAINER_H
#define DI_TRAINER_TRAINER_H

#include <stdatomic.h>

#include "dataset/dataset.h"
#include "loss/loss.h"
#include "optim/optim.h"
#include "student/student.h"

typedef struct di_trainer di_trainer;
typedef struct di_parts { /* borrowed by create, which keeps references; NULL = opened as the options say */
    dk_backend *backend;
    di_registry *registry;
    di_teacher *teacher;
    di_student *student;
    di_dataset *train, *eval;
} di_parts;

int32_t di_trainer_create(const di_parts *parts, const di_options *options, di_trainer **out, dk_error *err);
void di_trainer_free(di_trainer *trainer);
int32_t di_trainer_configure(di_trainer *trainer, const di_options *options, dk_error *err);
void di_trainer_on_progress(di_trainer *trainer, distill_progress_fn fn, void *user, distill_destroy_fn destroy);
void di_trainer_cancel(di_trainer *trainer, int32_t on); /* any thread, signal handlers */
di_student *di_trainer_student(di_trainer *trainer);     /* borrowed */
atomic_int *di_trainer_guard(di_trainer *trainer);       /* for the caller's check that only one call is inside */

int32_t di_trainer_run(di_trainer *trainer, dk_error *err);
int32_t di_trainer_resume(di_trainer *trainer, dk_error *err);
int32_t di_trainer_step(di_trainer *trainer, distill_progress *out, dk_error *err);
int32_t di_trainer_forward(di_trainer *trainer, int32_t flags, distill_forward *out, dk_error *err);
int32_t di_trainer_next_rows(di_trainer *trainer, distill_strip *strip, dk_error *err);
int32_t di_trainer_backward(di_trainer *trainer, const distill_tensor *gradient, double loss, dk_error *err);
int32_t di_trainer_apply(di_trainer *trainer, distill_progress *out, dk_error *err);
int32_t di_trainer_save(di_trainer *trainer, const char *path, dk_error *err);
int32_t di_trainer_load(di_trainer *trainer, const char *path, dk_error *err);
int32_t di_trainer_report(di_trainer *trainer, dk_strbuf *json, dk_error *err);

/* A checkpoint folder as JSON: step, whether every file has its checksum. */
int32_t di_checkpoint_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err);

/* ---- evaluation ---- */
typedef struct di_evaluation {
    int64_t tokens;                    /* scored positions */
    int64_t text_bytes;                /* -1 = not text */
    double nats, teacher_nats;         /* mean negative log-likelihood per scored token */
    double kl_mean, kl_median, kl_p99; /* KL(teacher || student) per position, nats */
    double top1_agreement;
    double seconds, teacher_seconds, student_seconds;
    int32_t has_teacher;
} di_evaluation;
typedef struct di_evaluate_args {
    dk_backend *backend;
    di_teacher *student; /* anything that scores */
    di_teacher *teacher; /* NULL = none */
    di_dataset *data;
    int64_t tokens; /* stop after about so many; 0 = all */
    int64_t memory; /* for strips */
    const volatile int32_t *cancel;
    int32_t (*progress)(void *user, int64_t done, int64_t total); /* windows; NULL = none; non-zero cancels */
    void *user;
} di_evaluate_args;
int32_t di_evaluate(const di_evaluate_args *args, di_evaluation *out, dk_error *err);
void di_evaluation_json(const di_evaluation *evaluation, dk_strbuf *out); /* the object of distill_evaluate */

#endif
