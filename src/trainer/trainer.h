/* trainer.h - the step: one window of the data forward, its loss, backward, one update; driven whole or by the host.
 *
 * A trainer brings teacher, student, data, loss and optimiser together. It reads and writes no files of its own: the
 * loop, the output folder and checkpoints live in run/.
 *
 *   trainer.c     create, free, what is planned once          parts.c       opens what the options name
 *   learned.c     weights of teachers that are learned
 *   inside.c      losses on what is inside the two models
 *   balance.c     two terms by the norms of their gradients
 *   on_policy.c   windows that the student writes itself      generated.c   prompts and texts as a batch
 *   replay.c      its texts of earlier steps
 *   importance.c  weights of these by how likely they are now
 *   preference.c  pairs of sequences, and their reference
 *   average.c     teachers that are the student itself
 *   window.c      one window: forward, loss, backward, apply  strips.c      pull mode
 *   progress.c    what the host is told                    team.c    a window by several processes */
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
    const char *shape; /* JSON of what an earlier run chose for its student; NULL = nothing is known */
} di_parts;

int32_t di_trainer_create(const di_parts *parts, const di_options *options, di_trainer **out, dk_error *err);
void di_trainer_free(di_trainer *trainer);
int32_t di_trainer_configure(di_trainer *trainer, const di_options *options, dk_error *err);
void di_trainer_on_progress(di_trainer *trainer, distill_progress_fn fn, void *user, distill_destroy_fn destroy);
void di_trainer_cancel(di_trainer *trainer, int32_t on); /* any thread, signal handlers */
di_student *di_trainer_student(di_trainer *trainer);     /* borrowed */
atomic_int *di_trainer_guard(di_trainer *trainer);       /* for the caller's check that only one call is inside */

int32_t di_trainer_step(di_trainer *trainer, distill_progress *out, dk_error *err);
int32_t di_trainer_forward(di_trainer *trainer, int32_t flags, distill_forward *out, dk_error *err);
int32_t di_trainer_next_rows(di_trainer *trainer, distill_strip *strip, dk_error *err);
int32_t di_trainer_backward(di_trainer *trainer, const distill_tensor *gradient, double loss, dk_error *err);
int32_t di_trainer_apply(di_trainer *trainer, distill_progress *out, dk_error *err);

#endif
