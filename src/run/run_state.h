/* run_state.h - what a run is made of, part by part; for the files of this folder only. */
#ifndef DI_RUN_RUN_STATE_H
#define DI_RUN_RUN_STATE_H

#include "meter/meter.h"
#include "run/run.h"
#include "trainer/trainer_state.h"

enum { DI_SAMPLE_TOKENS = 40 }; /* of the answers that a result shows */
typedef struct di_output {
    dk_host *host;
    char *path; /* NULL = write nothing */
    char format[8], type[8];
    di_files files;                   /* what these say of this student */
    int32_t metrics, overwrite, page; /* page: report.html */
    int32_t portuguese;               /* its words */
    int64_t log_every, samples;
    double timing_seconds; /* of student and of teacher, at the end; 0 = not timed */
} di_output;

typedef struct di_live_page { /* report.html while the run trains */
    double written, took;     /* seconds: when it last was, and how long that took */
    int32_t failed;           /* said once */
} di_live_page;

/* What keep_best and early stopping look at. */
typedef enum { DI_BY_NATS, DI_BY_FORWARD_KL, DI_BY_SOFT_CROSS_ENTROPY, DI_BY_REWARD_LOSS } di_measure_kind;
typedef struct di_best {
    int64_t step;    /* -1 = no evaluation yet */
    double value;    /* of `by` */
    int64_t without; /* evaluations since without improvement */
    di_measure_kind by;
} di_best;

typedef struct di_run_evaluation {
    int64_t every, tokens, patience;
    dk_precision precision; /* of products */
    int32_t keep_best, has_result;
    int32_t incomparable; /* on resume: earlier evaluations were of other data or against another teacher */
    int64_t evaluated;    /* the last step whose evaluation is done: one that is due and was cut short is made up for */
    di_best best;
    di_teacher_side *teacher_side; /* within train.loss_memory; NULL = one evaluation alone, or no teacher */
    di_evaluation result;          /* of what was saved, or of the student as it stands */
    di_evaluation best_result;     /* of best.step, where best_step says so */
    di_evaluation gguf;            /* of the GGUF file beside the folder, where has_gguf says so */
    int32_t has_gguf;
    int64_t best_step;      /* 0 = not of this process */
    di_detail *detail;      /* of the result, where detailed says so; NULL = no held-out data */
    int64_t detailed;       /* step of the evaluation that filled it; -1 = none */
    di_detail *best_detail; /* the same of the best weights, where later ones were evaluated */
    int64_t best_detailed;
    dk_strbuf samples_json; /* ,"samples":... of the saved student */
    int32_t teachers_always, teachers_never;
    dk_strbuf teachers_json; /* of the result: what di_teachers_json says */
} di_run_evaluation;

typedef struct di_run_checkpoints {
    int64_t every, keep;
    double seconds; /* between checkpoints; 0 = by steps alone */
    double written; /* when the last one was, or the loop began */
} di_run_checkpoints;

enum { DI_ASKED_CHECKPOINT = 1 };
typedef enum { DI_END_NOT_YET, DI_END_STEPS, DI_END_NO_BETTER, DI_END_OF_DATA } di_run_end;

struct di_run {
    dk_host *host;
    di_trainer *trainer;
    di_output output;
    di_run_evaluation evaluation;
    di_run_checkpoints checkpoints;
    di_live_page page;
    di_meter meter;
    int32_t resumed, finished;
    di_run_end end;
    dk_strbuf manifest;    /* of the teacher, made once; empty = not yet, or none */
    dk_strbuf warnings;    /* "...","...": what went wrong and did not stop the run */
    dk_strbuf changes;     /* {...},{...}: what was changed when the run went on from a checkpoint */
    dk_strbuf result_json; /* of the finished run */
    uint32_t asked;        /* DI_ASKED_*: what any rank wants after this step */
};

/* run.c */
int32_t di_run_manifest(di_run *run, const char **json, dk_error *err); /* of the teacher; without one its hash is "" */
void di_run_warn(di_run *run, const char *format, ...) DK_PRINTF(2, 3); /* to the log, and into the result */
const char *di_measure_name(di_measure_kind kind); /* "forward_kl", ..., or "nats" of the held-out text */
/* run_evaluate.c */
int32_t di_run_evaluation_due(const di_run *run); /* of the step that was made last */
/* The student as it stands, as train.eval_every asks for it. */
int32_t di_run_evaluate_now(di_run *run, dk_error *err);
/* Looks at the value that an evaluation of this step gave, and keeps the best weights. */
int32_t di_run_take_evaluation(di_run *run, const di_evaluation *evaluation, const dk_strbuf *teachers, dk_error *err);
int32_t di_run_evaluate(di_run *run, di_teacher *student, int64_t tokens, di_evaluation *out, dk_error *err);
/* The same of all held-out data, with what result.json says beside the means. */
int32_t di_run_evaluate_detailed(di_run *run, di_teacher *student, di_evaluation *out, dk_error *err);
/* Are details of this step's weights there? They are run->evaluation.detail then. */
int32_t di_run_has_detail(di_run *run, int64_t step);
/* Each of several teachers, into json; nothing where there is one. */
int32_t di_run_evaluate_teachers(di_run *run, di_teacher *student, int64_t tokens, dk_strbuf *json, dk_error *err);
/* save_progress.c: the progress callback hears how much of the run's files is written; what it answers counts between
 * files, which are written whole */
typedef struct di_saving {
    di_run *run;
    uint64_t before, total; /* bytes: of what was written before the file at hand; of all */
    double told;
} di_saving;
void di_saving_tell(void *saving, uint64_t done, uint64_t total); /* of the student; total 0 = saving->total holds */
int32_t di_saving_student(di_saving *saving, const char *path, const di_files *files, dk_error *err);
/* output.c */
int32_t di_output_prepare(const di_output *output, int32_t resumed, dk_error *err);
int32_t di_output_student(di_run *run, dk_error *err); /* the student's files, into the folder */
int32_t di_output_result(const di_output *output, const dk_strbuf *json, dk_error *err);
/* options_differ.c: E_MISMATCH names what a rank has otherwise than rank 0; DK_OK = as text they are the same. */
int32_t di_options_name_difference(dk_host *host, const di_options *options, dk_error *err);
/* Of two YAML texts of options the first lines that are not alike, "train.steps: 20"; 0 = there are none. */
int32_t di_options_first_difference(const char *a, const char *b, dk_strbuf *in_a, dk_strbuf *in_b);
/* inputs.c, for several ranks: all have the same; the folder is one */
int32_t di_run_inputs(di_run *run, dk_error *err);
int32_t di_output_shared(const di_output *output, dk_error *err);
/* run_fill.c: several ranks fill the caches that the run reads, before it */
int32_t di_run_fill(const di_parts *parts, const di_options *options, dk_error *err);
/* checkpoint_runs.c: the one of this step, below output.path; prunes old ones */
int32_t di_checkpoint_write(di_run *run, dk_error *err);
int32_t di_checkpoint_best(di_run *run, dk_error *err);
int32_t di_checkpoint_load_best(di_run *run, dk_error *err); /* the weights alone */
int32_t di_checkpoint_load_last(di_run *run, dk_error *err); /* of this step, back after the best ones */
/* metrics.c: a line that cannot be written is a warning */
void di_metrics_step(di_run *run);
void di_metrics_evaluation(di_run *run, const di_evaluation *evaluation, const dk_strbuf *teachers);
/* Drops lines of later steps, and of evaluations after the last one done. */
int32_t di_metrics_rewind(const di_output *output, int64_t step, int64_t evaluated, dk_error *err);
/* run_page.c: report.html, by its folder; what goes wrong is a warning. live: if it is time for it again */
void di_run_page(di_run *run, int32_t live);
/* result_models.c: ,"student":{...}: quality, size, speed, which is measured now */
typedef enum { DI_RESULT_STUDENT, DI_RESULT_TEACHER, DI_RESULT_GGUF } di_result_section; /* GGUF: the second file */
int32_t di_result_model(di_run *run, di_teacher *scorer, di_result_section of, dk_strbuf *out, dk_error *err);
/* ,"draft":{...}: what the student is worth as its teacher's draft, where train.eval_draft_tokens asks for it */
int32_t di_result_draft(di_run *run, di_teacher *student, dk_strbuf *out, dk_error *err);
void di_result_live_model(di_run *run, int32_t of_teacher, dk_strbuf *out); /* of a run under way: its size */
/* result.c: of a run under way, for its page: what is known without measuring anything */
int32_t di_result_live(di_run *run, dk_strbuf *out, dk_error *err);
/* result.c: fills result_json; saved, gguf: what the student's files hold, the second beside the first, or NULL */
int32_t di_result_make(di_run *run, di_teacher *saved, di_teacher *gguf, dk_error *err);

#endif
