/* tasks.h - how often a model answers right: choices by their likelihood, answers that it writes by comparing them.
 *
 *   task_file.c    the questions             task_choices.c   which choice a model holds likeliest
 *   task_answers.c what a model writes       tasks.c          both, counted, as JSON
 *   task_run.c     how far they are, and what was not right */
#ifndef DI_EVALUATE_TASKS_H
#define DI_EVALUATE_TASKS_H

#include "evaluate/task_file.h"
#include "meter/meter.h"
#include "teacher/teacher.h"

typedef struct di_tasks_args {
    dk_host *host;
    di_teacher *model;
    const di_options *options;           /* tasks, generate, cost */
    di_options *writing;                 /* a copy of them, whose section generate is set */
    const distill_options *user_options; /* the host's handle of that copy, for teachers of callbacks; NULL = none */
    distill_progress_fn fn;              /* or NULL */
    void *user;
} di_tasks_args;

typedef struct di_task_choices { /* right by */
    int64_t asked, too_long;
    int64_t right, right_per_token, right_per_byte; /* log-likelihood: the sum, per token, per byte of the choice */
    double chance;                                  /* sum of 1 / choices */
} di_task_choices;
typedef struct di_task_answers {
    int64_t asked, too_long, right, wrong, unparsed, tokens;
    int64_t cut; /* answers that generate.max_tokens ended */
} di_task_answers;

typedef struct di_task_run {
    const di_tasks_args *args;
    di_meter *meter;
    dk_strbuf *aside; /* lines */
    int32_t chat;
    int64_t done, total, context; /* context 0 = not known */
    double began, told;
} di_task_run;
/* After each question or batch of them: progress, Ctrl-C. */
int32_t di_task_tell(di_task_run *run, dk_error *err);
/* A question that was not answered right: why, and what was said in its place. */
void di_task_aside(di_task_run *run, const di_task_file *file, const di_task *task, const char *why, const char *said,
                   size_t size);
int32_t di_task_choices_run(di_task_run *run, const di_task_file *file, di_task_choices *out, dk_error *err);
int32_t di_task_answers_run(di_task_run *run, const di_task_file *file, di_task_kind kind, di_task_answers *out,
                            dk_error *err);

/* The whole report: {"choices":{...},"answers":{...},"cost":{...}}. E_OPTION where no file is named. */
int32_t di_tasks_evaluate(const di_tasks_args *args, dk_strbuf *json, dk_error *err);
/* The same without the braces around it, for a larger report: "choices":{...},"answers":{...}; nothing where no file is
 * named. */
int32_t di_tasks_members(const di_tasks_args *args, dk_strbuf *json, dk_error *err);

#endif
