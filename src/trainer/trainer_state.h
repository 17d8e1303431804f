/* trainer_state.h - what a trainer is made of, part by part; for this folder and run/. */
#ifndef DI_TRAINER_TRAINER_STATE_H
#define DI_TRAINER_TRAINER_STATE_H

#include "evaluate/pair_scores.h"
#include "features/features.h"
#include "loss/builtin.h"
#include "optim/gradient_exchange.h"
#include "shape/shape.h"
#include "target/host_rows.h"
#include "trainer/straggler.h"
#include "trainer/replay.h"
#include "trainer/trainer.h"

typedef enum {
    DI_STAGE_IDLE,      /* between windows */
    DI_STAGE_MICRO,     /* in a window, the next micro-batch is due */
    DI_STAGE_FORWARDED, /* a micro-batch went forward, its backward is due */
    DI_STAGE_COMPLETE   /* all micro-batches done, apply is due */
} di_stage;

typedef struct di_trainer_data {
    di_dataset *train, *eval; /* eval NULL = none */
    di_batch *batch;          /* of the window */
    uint64_t seed;
    int64_t batch_size, micro_batch_size;
    di_epochs epochs; /* total 0 = by steps */
} di_trainer_data;

typedef struct di_objective {
    di_loss *loss;
    di_workspace *workspace;
    di_features *features; /* NULL = no term is on features */
    int32_t uses_teacher;  /* the loss asks for it */
    int64_t vocab_valid, memory, max_rows, max_sequences;
    di_term_figures *terms; /* for whoever asks how it goes */
    di_loss_sums sums;      /* of the window */
    int64_t floored;        /* in all windows since the trainer was made */
    di_common common;       /* of the window; */
    di_common commons;      /* of all since the trainer was made */
} di_objective;

typedef struct di_trainer_update {
    dk_optimizer *optimizer; /* NULL for a student of callbacks */
    dk_schedule schedule;
    dk_update adamw; /* learning_rate is the peak; divisor is set per window */
    int32_t own_optimizer;
    int32_t half_moments; /* kept in BF16 */
    double grad_norm;
    dk_optimizer *projections; /* of losses on features, a group of their own; NULL = there are none */
    double projection_rate;    /* times the learning rate */
    double projection_norm;    /* of their gradients */
} di_trainer_update;

typedef struct di_window {
    di_stage stage;
    double begun; /* dk_seconds */
    int64_t micro_index, micro_count;
    int64_t *micro_offsets, *micro_rows, *micro_sequences;
    distill_batch micro;
    const int32_t *micro_labels;
    const float *micro_weights;
    int32_t with_teacher;
} di_window;

typedef struct di_ahead { /* the micro-batch after the one under work, where the teacher begins early: ahead.c */
    di_session *session;  /* NULL = this teacher does not */
    di_batch *batch;      /* of the next window */
    int64_t batch_step;   /* whose it is; -1 = nobody's */
    int64_t step, index;  /* of the micro-batch that was begun; -1 = none */
    di_window next;       /* that micro-batch, in arrays of its own */
} di_ahead;

typedef struct di_pull {              /* pull mode */
    int64_t strip_first, strip_count; /* handed out and not yet taken back; count 0 = none */
    int32_t strips_begun;
    di_staging copied[2];  /* strips of student and teacher, where the host does not see them */
    di_host_rows handed;   /* the student's rows that the host has */
    distill_target formed; /* says at which temperature the teacher's strip is, where it is at one */
    distill_tensor label_tensor, weight_tensor, sequence_tensor;
    int64_t row_shape[1];
} di_pull;

typedef struct di_counters { /* what a checkpoint keeps */
    int64_t step, tokens;
    double seconds, flops; /* of training, over all runs */
    double last_loss;
} di_counters;

typedef struct di_members { /* what the teacher's members had to say: di_teacher_member_count of them, 0 = none */
    int64_t count;
    di_tally *window; /* [count] of the window under work, or of the last one */
    di_tally *total;  /* [count] of all windows that were applied, over all runs */
    double flops;     /* of the teacher in the window under work, or in the last one: of those members who were asked */
} di_members;

typedef struct di_learned { /* weights of the teacher's members; count 0 = they are not learned */
    int64_t count;
    double *weights;         /* [count] */
    int64_t updates, window; /* made; the held-out window that the next one begins with */
    int64_t updated;         /* the step before which the last one was made; -1 = none */
    double nats;             /* of the held-out tokens before the last one */
} di_learned;

typedef struct di_balance { /* of the loss's two terms, by the norms of their gradients by the logits */
    int32_t on;
    double smoothing, floor, ceiling;
    double means[2], share; /* of the windows so far, of which `share` (below 1) has come in; */
    double norms[2];        /* of the last window */
    double factors[2];      /* of the terms' weights in the window under work, or in the last one */
} di_balance;

typedef struct di_written { /* by the student: on_policy.c */
    int64_t windows;        /* of its texts, */
    int64_t replayed;       /* and of them those of texts of earlier steps, which do not count in what follows: */
    int64_t texts, tokens;  /* texts, and tokens of them without their prompts */
    int64_t ended, full;    /* texts that end by a token for it; sequences whose prompt left no room */
    int64_t read;           /* tokens of texts and prompts */
} di_written;

typedef struct di_adaptive { /* the share goes up where evaluations get no better; rise 0 = it is lambda */
    double start, rise, tolerance;
    double share, last;   /* now; the value of the last evaluation, where */
    int32_t has_last, by; /* there was one; what it measured */
} di_adaptive;

typedef struct di_importance { /* of old texts; bound 0 = they count as new ones do */
    double bound;
    double *values; /* [rows of a micro-batch] log q of the labels */
    float *weights; /* the same: as these make them */
} di_importance;

typedef struct di_on_policy { /* windows that the student writes; lambda 0 = there are none */
    double lambda, temperature, top_p;
    di_prompt_rules rules;
    int64_t window_tokens, window_sequences; /* room of a window, of which a micro-batch has micro_batch_size */
    di_texts texts;
    di_batch *other;    /* where the window's batch is the written one the data's, else room for the next one */
    int32_t is_written; /* the window's batch is */
    di_written window;  /* the one under work, or the last one */
    di_written total;   /* all that were applied, over all runs */
    di_replay replay;   /* share 0 = nothing is kept */
    di_adaptive adaptive;
    int32_t told_capacity; /* that a window has more texts than are kept */
    di_importance importance;
} di_on_policy;

typedef struct di_average { /* moving average of the student's weights, a teacher: average.c */
    double decay;
    di_teacher *teacher; /* a reference; NULL = there is none */
    dk_model *model;     /* the teacher's */
} di_average;

enum { DI_SCORES_REFERENCE, DI_SCORES_TEACHER, DI_SCORES_EVAL, DI_SCORES };
typedef struct di_preference { /* of a loss that compares pairs: preference.c */
    int32_t on, asked;
    int64_t item;          /* of section loss */
    char by[65];           /* initial, teacher, or the hash of the model that is the reference */
    di_teacher *reference; /* until it was asked */
    /* By number of the sequence, NULL = not known: by reference and teacher of the training data, and by the reference
     * of the held-out data. */
    double *scores[DI_SCORES];
    double *micro[2]; /* [max_sequences] of the micro-batch: reference, teacher */
    di_pairs pairs;   /* the same */
} di_preference;

typedef struct di_watcher { /* who is told, and what the time left is guessed from */
    distill_progress_fn fn;
    void *user;
    distill_destroy_fn destroy;
    double step_seconds, eval_seconds; /* recent */
    int64_t eval_every;                /* 0 = the steps are not interrupted */
    int64_t stage, stages;             /* of a chain, from 1; 0 = a run by itself */
    const char *stage_name;            /* borrowed */
} di_watcher;

enum { DI_RANK_NAME = 64, DI_RANK_FIGURES = 32 + 2 * DI_LOSS_TERMS };
typedef struct di_part { /* windows [first, end) of a batch */
    int64_t first, end;
} di_part;
typedef struct di_team { /* of several ranks: team.c; all NULL alone */
    dk_exchange *gradients, *projections;
    int32_t sharded; /* moments and updates are in shares */
    int64_t capacity;
    double *own, *all;      /* [capacity], [ranks, capacity]: figures of a window */
    double busy;            /* seconds of this rank's part of it */
    di_straggler straggler; /* whom the others wait for */
    int64_t steps;          /* since create */
    int32_t told;           /* that a rank is slow */
    char *names;            /* [ranks, DI_RANK_NAME] of machines */
} di_team;

struct di_trainer {
    dk_host *host;
    dk_backend *backend;
    dk_queue queue;
    di_options *options;
    di_teacher *teacher; /* NULL = none */
    di_student *student;
    di_session *session; /* of the teacher, where the loss asks for it */
    di_trainee *trainee;
    int64_t steps;
    int32_t activation_checkpointing;
    dk_precision precision; /* of products: train.precision */
    int64_t kept_bytes;     /* of weights packed for them */
    di_trainer_data data;
    di_objective objective;
    di_trainer_update update;
    di_window window;
    di_ahead ahead;
    di_pull pull;
    di_counters counters;
    di_members members;
    di_learned learned;
    di_balance balance;
    di_on_policy on_policy;
    di_preference preference;
    di_average average;
    di_shape shape; /* of a student that was cut from its teacher by what text says; empty = of none */
    di_watcher progress;
    di_team team;
    _Atomic int32_t cancel; /* also written by signal handlers */
    atomic_int in_call;
};

/* parts.c */
void di_settings_read(di_trainer *t);
int32_t di_objective_plan(const di_trainer *t, const di_loss *loss, di_workspace **out, dk_error *err);
int32_t di_parts_open(di_trainer *t, const di_parts *parts, dk_error *err);
int32_t di_parts_check(di_trainer *t, dk_error *err);
/* origins.c */
int32_t di_origins_check(di_trainer *t, dk_error *err);
void di_origins_name(const di_trainer *t, dk_error *err); /* the sample that an error of the teacher is about */
/* window.c */
int64_t di_window_place(const di_trainer_data *data, int64_t step); /* windows of the data before it */
int32_t di_window_begin(di_trainer *t, dk_error *err);
void di_window_discard(di_trainer *t);
int32_t di_window_forward(di_trainer *t, int32_t with_teacher, dk_error *err);
int32_t di_window_backward(di_trainer *t, const distill_tensor *gradient, dk_error *err);
int32_t di_window_own_loss(di_trainer *t, dk_error *err);
int32_t di_window_apply(di_trainer *t, dk_error *err);
/* all of it; undone when it fails */
int32_t di_window_step(di_trainer *t, const _Atomic int32_t *cancel, dk_error *err);
/* inside.c */
int32_t di_inside_bind(di_trainer *t, dk_error *err);
int32_t di_inside_plan(di_trainer *t, int64_t tokens, int64_t sequences, dk_error *err);
int32_t di_inside_run(di_trainer *t, dk_error *err);                        /* the micro-batch that went forward */
int32_t di_inside_norm(di_trainer *t, double learning_rate, dk_error *err); /* before anything is changed */
int32_t di_inside_apply(di_trainer *t, double learning_rate, dk_error *err);
/* learned.c */
int32_t di_learned_plan(di_trainer *t, dk_error *err);
int32_t di_learned_is_due(const di_trainer *t, int64_t step); /* before the window of this step */
int32_t di_learned_update(di_trainer *t, dk_error *err);
void di_learned_json(const di_trainer *t, dk_strbuf *out); /* {"updates":3,"nats":2.5,"weights":{"a":0.7,"b":0.3}} */
/* balance.c */
int32_t di_balance_check(const di_trainer *t, const di_loss *loss, dk_error *err); /* this loss can be balanced */
void di_balance_read(di_trainer *t);                                               /* options that are live */
void di_balance_begin(di_trainer *t);                                              /* a window: its factors */
void di_balance_end(di_trainer *t);                                                /* it was applied */
int32_t di_balance_refuse(const di_trainer *t, dk_error *err);                     /* gradients of the host's own */
void di_balance_json(const di_trainer *t, dk_strbuf *out);                         /* {"factor":2,"norms":[0.1,0.05]} */
/* on_policy.c */
void di_on_policy_read(di_trainer *t);
int32_t di_on_policy_check(di_trainer *t, dk_error *err);
int32_t di_on_policy_check_loss(const di_trainer *t, const di_loss *loss, dk_error *err);
int64_t di_on_policy_length(const di_trainer *t, int64_t length); /* the longest sequence, data's being so long */
int32_t di_on_policy_plan(di_trainer *t, int64_t tokens, int64_t sequences, dk_error *err); /* of a micro-batch */
void di_on_policy_free(di_trainer *t);
int32_t di_on_policy_may_write(const di_trainer *t, int64_t step); /* 0 = that window is surely the data's */
int32_t di_on_policy_of(const di_trainer *t);                      /* whose text the window is: DI_OF_* */
void di_on_policy_restore(di_trainer *t);                          /* the batch of data, for the next window */
int32_t di_on_policy_window(di_trainer *t, dk_error *err);         /* in place of the data's, if it is so drawn */
double di_on_policy_flops(const di_trainer *t);                    /* of writing the window */
void di_on_policy_end(di_trainer *t);                              /* it was applied */
/* An evaluation of the student, the lower the better; by: what was measured, other ones are not compared. */
void di_on_policy_evaluated(di_trainer *t, double value, int32_t by);
/* {"share":0.5,"windows":2,"texts":8,"tokens":100,...} */
void di_on_policy_json(const di_trainer *t, const di_written *written, dk_strbuf *out);
/* importance.c */
int32_t di_importance_check(const di_trainer *t, dk_error *err);
int32_t di_importance_plan(di_trainer *t, int64_t rows, dk_error *err);
void di_importance_free(di_trainer *t);
int32_t di_importance_weigh(di_trainer *t, dk_error *err); /* the micro-batch that went forward, of old texts */
/* preference.c */
int32_t di_preference_open(di_trainer *t, dk_error *err);
int32_t di_preference_check(const di_trainer *t, const di_loss *loss, dk_error *err); /* another weighing of the loss */
int32_t di_preference_plan(di_trainer *t, int64_t sequences, dk_error *err);
void di_preference_free(di_trainer *t);
int32_t di_preference_ask(di_trainer *t, dk_error *err); /* before the first window: what is not known yet */
di_dataset *di_preference_data(const di_trainer *t, int32_t scores);
int32_t di_preference_wants(const di_trainer *t, int32_t scores);
const struct di_pairs *di_preference_pairs(di_trainer *t);        /* of the micro-batch under work; NULL = none */
int32_t di_preference_refuse(const di_trainer *t, dk_error *err); /* gradients of the host's own */
void di_preference_json(const di_trainer *t, dk_strbuf *out);     /* {"count":8,"accuracy":0.75,"margin":0.1} */
/* average.c */
int32_t di_average_open_teacher(di_trainer *t, dk_error *err); /* as options say, the student among them */
void di_average_update(di_trainer *t);                         /* the student's weights are new */
void di_average_free(di_trainer *t);
/* ahead.c */
int32_t di_ahead_plan(di_trainer *t, int64_t tokens, int64_t sequences, dk_error *err);
void di_ahead_free(di_trainer *t);
int32_t di_ahead_batch(di_trainer *t, dk_error *err); /* the window's batch: read, or the one that was read early */
/* The micro-batch that is due, begun now or before; and the one after it. */
int32_t di_ahead_begin(di_trainer *t, int32_t with_teacher, dk_error *err);
void di_ahead_drop(di_trainer *t); /* what was begun is not asked for */
/* team.c; alone each of these does nothing */
int32_t di_ranks_check(const di_trainer *t, dk_error *err);
int32_t di_ranks_optimizer(di_trainer *t, dk_model *model, dk_dtype moments, dk_error *err); /* alone a whole one */
int32_t di_ranks_plan(di_trainer *t, dk_error *err);
int32_t di_ranks_names(di_trainer *t, dk_error *err); /* of machines, once all ranks have come so far */
void di_ranks_free(di_trainer *t);
di_part di_ranks_part(const di_trainer *t, const di_batch *batch); /* that is this rank's; alone all of it */
void di_ranks_listen(di_trainer *t);                               /* before a backward: gradients go as they come */
/* The window's gradients and figures become those of all ranks. rc: what became of this rank's part; any failure is
 * everybody's, and nothing was changed. Every rank comes here once a window. */
int32_t di_ranks_meet(di_trainer *t, int32_t rc, dk_error *err);
int32_t di_ranks_squares(di_trainer *t, dk_update *update, dk_error *err); /* of gradients that other ranks update */
int32_t di_ranks_values(di_trainer *t, dk_error *err);                     /* weights that they updated */
/* progress.c */
void di_progress_fill(const di_trainer *t, int32_t phase, distill_progress *out);
int32_t di_progress_part(di_trainer *t, int32_t phase, int64_t done, int64_t total, dk_error *err);
int32_t di_progress_call(di_trainer *t, int32_t phase, dk_error *err); /* E_CANCELLED, E_CALLBACK as the host says */

#endif
