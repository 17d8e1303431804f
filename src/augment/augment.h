/* augment.h - the teacher makes the data: samples go through operators one after the other, and a file of samples comes
 * out. Training on it is no business of this folder.
 *
 *   augment.c    a call: what is checked before, what is told behind     record*.c   one sample
 *   pipeline.c   the steps, made and checked                            flow.c      what comes out of an operator
 *   runner.c     chunks through the steps, commits                      seeds.c survey.c  what comes in
 *   saved.c      OUT.state: how a run that was stopped goes on          grown_file.c      files that are appended to
 *   operator_*.c step.c  operators by name, and what they ask for       a file for each operator
 *   rank_calls.c generator_ranks.c  several ranks: rank 0 runs it, all answer
 *
 * OUT.partial is what is written so far; beside it OUT.state says, at every commit, how far the input was read, the
 * lengths of all files and what operators remember. A run that is killed goes on from the last commit and ends with the
 * same bytes. */
#ifndef DI_AUGMENT_AUGMENT_H
#define DI_AUGMENT_AUGMENT_H

#include "augment/hosted_list.h"
#include "augment/operator.h"

typedef struct di_augment_args {
    dk_backend *backend;
    di_teacher *teacher; /* NULL = as sections teacher and teachers say, where an operator needs one */
    const di_options *options;
    const char *in, *out;                /* NULL = augment.in, augment.out */
    di_options *writing;                 /* a copy of the options, in which generate.* is set; NULL = one of its own */
    const distill_options *user_options; /* the host's handle of that copy; NULL = none */
    const di_hosted_list *hosted;        /* NULL = none */
    int32_t dry_run;                     /* nothing is written */
    distill_progress_fn fn;              /* or NULL */
    void *user;
} di_augment_args;
/* A call of all ranks: rank 0 writes what one rank alone would, the others answer a part of what models are asked.
 * json: {"out","samples","written","tokens","seconds","ended":"whole"|"tokens"|"minutes","steps":[{"operator","in",
 * "out","counts":{...}}],"cost":{...}}; of a dry run what would be asked, and an estimate. */
int32_t di_augment(const di_augment_args *args, dk_strbuf *json, dk_error *err);

#endif
