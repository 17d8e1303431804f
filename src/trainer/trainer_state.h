/* trainer_state.h - what a trainer is made of; for the files of this folder only. */
#ifndef DI_TRAINER_TRAINER_STATE_H
#define DI_TRAINER_TRAINER_STATE_H

#include <stdatomic.h>

#include "trainer/trainer.h"

typedef struct di_settings { /* options, read once and checked */
    int64_t steps, batch_size, micro_batch_size, log_every, loss_memory;
    int64_t eval_every, eval_tokens, patience, checkpoint_every, checkpoint_keep;
    int32_t keep_best, activation_checkpointing, own_optimizer, metrics, overwrite;
    uint64_t seed;
    dk_schedule schedule;
    dk_update update; /* learning_rate is the peak; divisor is set per window */
    char *output;     /* NULL = write nothing */
    char save_dtype[8];
} di_settings;

typedef enum {
    DI_STAGE_IDLE,      /* between windows */
    DI_STAGE_MICRO,     /* in a window, the next micro-batch is due */
    DI_STAGE_FORWARDED, /* a micro-batch went forward, its backward is due */
    DI_STAGE_COMPLETE   /* all micro-batches done, apply is due */
} di_stage;

typedef struct di_best {
    int64_t step;    /* -1 = no evaluation yet */
    double value;    /* what keep_best and early stopping look at: nats, or KL where there is a teacher */
    int64_t without; /* evaluations since without improvement */
} di_best;

struct di_trainer {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    di_options *options;
    di_settings set;
    di_teacher *teacher; /* NULL = none */
    di_student *student;
    di_dataset *train, *eval;
    di_loss *loss;
    int32_t uses_teacher; /* the loss asks for it */
    int64_t vocab_valid;

    di_session *session;
    di_trainee *trainee;
    di_workspace *workspace;
    dk_optimizer *optimizer; /* NULL for a student of callbacks */

    /* the window */
    di_stage stage;
    di_batch *batch;
    int64_t micro_index, micro_count;
    int64_t *micro_offsets, *micro_rows, *micro_sequences;
    distill_batch micro;
    const int32_t *micro_labels;
    const float *micro_weights;
    di_loss_sums sums;
    double grad_norm;

    /* pull mode */
    int64_t strip_first, strip_count; /* handed out and not yet taken back; count 0 = none */
    int32_t strips_begun, with_teacher;
    dk_buffer *kept_logits; /* a copy of the strip's logits, for heads with a soft-cap */
    distill_tensor label_tensor, weight_tensor;
    int64_t row_shape[1];

    /* progress: what a checkpoint keeps */
    int64_t step, tokens;
    double seconds, flops; /* of training, over all runs */
    double last_loss;
    di_best best;

    double step_seconds, eval_seconds; /* recent, for the ETA */
    int32_t resumed, finished;
    di_evaluation result;
    int32_t has_result;
    dk_strbuf result_json; /* of the finished run */
    distill_progress_fn progress;
    void *progress_user;
    distill_destroy_fn progress_destroy;
    volatile int32_t cancel; /* written by signal handlers: one aligned word */
    atomic_int in_call;
};

/* parts.c */
int32_t di_settings_read(di_trainer *t, dk_error *err);
int32_t di_parts_open(di_trainer *t, const di_parts *parts, dk_error *err);
int32_t di_parts_check(di_trainer *t, dk_error *err);
/* window.c */
int32_t di_window_begin(di_trainer *t, dk_error *err);
void di_window_discard(di_trainer *t);
int32_t di_window_forward(di_trainer *t, int32_t with_teacher, dk_error *err);
int32_t di_window_backward(di_trainer *t, const distill_tensor *gradient, dk_error *err);
int32_t di_window_own_loss(di_trainer *t, dk_error *err);
int32_t di_window_apply(di_trainer *t, dk_error *err);
/* all of it; undone when it fails */
int32_t di_window_step(di_trainer *t, const volatile int32_t *cancel, dk_error *err);
double di_window_learning_rate(const di_trainer *t);
/* loop.c */
void di_progress_fill(const di_trainer *t, int32_t phase, distill_progress *out);
int32_t di_progress_call(di_trainer *t, int32_t phase, dk_error *err); /* E_CANCELLED, E_CALLBACK as the host says */
int32_t di_trainer_evaluate(di_trainer *t, di_teacher *student, int64_t tokens, di_evaluation *out, dk_error *err);
/* output.c */
int32_t di_output_prepare(di_trainer *t, dk_error *err);
int32_t di_output_student(di_trainer *t, dk_error *err); /* the student's files, into output.path */
/* checkpoint.c */
/* the one of this step, below output.path; prunes old ones */
int32_t di_checkpoint_write(di_trainer *t, dk_error *err);
int32_t di_checkpoint_best(di_trainer *t, dk_error *err);
int32_t di_checkpoint_load_best(di_trainer *t, dk_error *err);
int32_t di_checkpoint_newest(di_trainer *t, char **path, dk_error *err); /* NULL = none */
/* metrics.c */
int32_t di_metrics_step(di_trainer *t, dk_error *err);
int32_t di_metrics_evaluation(di_trainer *t, const di_evaluation *evaluation, dk_error *err);
int32_t di_metrics_rewind(di_trainer *t, dk_error *err); /* drops lines of steps after t->step */
/* speed.c */
/* tokens/s; -1 where it is no local model */
int32_t di_speed(di_teacher *model, double *prompt, double *decode, dk_error *err);
/* result.c */
int32_t di_result_make(di_trainer *t, di_teacher *saved, dk_error *err); /* fills t->result_json */

#endif
