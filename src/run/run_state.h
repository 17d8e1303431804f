/* run_state.h - what a run is made of, part by part; for the files of this folder only. */
#ifndef DI_RUN_RUN_STATE_H
#define DI_RUN_RUN_STATE_H

#include "meter/meter.h"
#include "run/run.h"
#include "trainer/trainer_state.h"

typedef struct di_output {
    dk_host *host;
    char *path; /* NULL = write nothing */
    char dtype[8];
    int32_t metrics, overwrite;
    int64_t log_every;
} di_output;

typedef struct di_best {
    int64_t step;    /* -1 = no evaluation yet */
    double value;    /* what keep_best and early stopping look at: nats, or KL where there is a teacher */
    int64_t without; /* evaluations since without improvement */
} di_best;

typedef struct di_run_evaluation {
    int64_t every, tokens, patience;
    int32_t keep_best, has_result;
    di_best best;
    di_evaluation result; /* of what was saved, or of the student as it stands */
} di_run_evaluation;

typedef struct di_run_checkpoints {
    int64_t every, keep;
} di_run_checkpoints;

struct di_run {
    dk_host *host;
    di_trainer *trainer;
    di_output output;
    di_run_evaluation evaluation;
    di_run_checkpoints checkpoints;
    di_meter meter;
    int32_t resumed, finished;
    dk_strbuf result_json; /* of the finished run */
};

/* run_evaluate.c */
int32_t di_run_evaluate(di_run *run, di_teacher *student, int64_t tokens, di_evaluation *out, dk_error *err);
/* output.c */
int32_t di_output_prepare(const di_output *output, int32_t resumed, dk_error *err);
int32_t di_output_student(const di_output *output, di_student *student, dk_error *err); /* its files, into the folder */
int32_t di_output_result(const di_output *output, const dk_strbuf *json, dk_error *err);
/* checkpoint_runs.c: the one of this step, below output.path; prunes old ones */
int32_t di_checkpoint_write(di_run *run, dk_error *err);
int32_t di_checkpoint_best(di_run *run, dk_error *err);
int32_t di_checkpoint_load_best(di_run *run, dk_error *err);
/* metrics.c */
int32_t di_metrics_step(const di_output *output, const di_trainer *t, dk_error *err);
int32_t di_metrics_evaluation(const di_output *output, int64_t step, const di_evaluation *evaluation, dk_error *err);
int32_t di_metrics_rewind(const di_output *output, int64_t step, dk_error *err); /* drops lines of later steps */
/* result.c */
int32_t di_result_make(di_run *run, di_teacher *saved, dk_error *err); /* fills result_json */

#endif
