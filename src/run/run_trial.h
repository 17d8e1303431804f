/* run_trial.h - some steps and a small evaluation of a run that is not made: what each takes. Nothing is written. */
#ifndef DI_RUN_RUN_TRIAL_H
#define DI_RUN_RUN_TRIAL_H

#include "meter/meter.h"
#include "run/run.h"

typedef struct di_pace { /* of one, on average */
    double wall, cpu;    /* seconds */
} di_pace;
typedef struct di_run_trial {
    int64_t steps, step_tokens; /* of the run; of a step */
    int64_t tried;              /* steps that were measured */
    di_pace setup, step;        /* setup: until the first step */
    double step_flops;
    double step_model_tokens;         /* as meters count them */
    int64_t evaluations, eval_tokens; /* while it trains; of each */
    int64_t final_tokens;             /* of the evaluations of what was saved: 0 = there is no held-out data */
    int64_t finals;                   /* evaluations of what was saved */
    di_pace eval_first, eval_again;   /* of a token: with the teacher, and once what it says is kept */
    di_pace eval_teachers;            /* of a token: each of those that the teacher is made of */
    int32_t teachers_always;          /* at every evaluation, not for the result alone */
    di_pace timing;                   /* of the measurements of speed at the end, and of samples */
    int64_t parameters, trainable, teacher_parameters;    /* -1 = not known */
    int64_t student_bytes, checkpoint_bytes, checkpoints; /* on disk; how many at once */
    int64_t resident;                                     /* most memory while that ran; -1 = not known */
    int64_t kept_bytes;                /* of the teacher's hidden states, by evaluations of all held-out data */
    int64_t kept_more;                 /* of these, what the trial did not keep */
    int64_t data_tokens;               /* of the data, held-out data included; -1 = a stream */
    int32_t asks_teacher, writes_text; /* the loss has a teacher; the student writes what it learns from */
} di_run_trial;
typedef int32_t (*di_trial_fn)(void *user, int64_t done, int64_t total, dk_error *err);
/* parts.teacher NULL = as the options say. E_OPTION where there are no steps to count. */
int32_t di_run_try(const di_parts *parts, const di_options *options, di_trial_fn fn, void *user, di_run_trial *out,
                   dk_error *err);

#endif
