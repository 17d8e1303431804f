/* draft_trial.h - what a student is worth as its teacher's draft, measured: the same prompts continued without and with
 * it, in turns. Greedy texts, and texts drawn at temperature 1, which is what expected acceptance is about. */
#ifndef DI_EVALUATE_DRAFT_TRIAL_H
#define DI_EVALUATE_DRAFT_TRIAL_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

typedef struct di_drafting {
    int64_t tokens[2];                 /* behind the first one of each text: without and with a draft */
    double seconds[2];                 /* that they took */
    int64_t rounds;                    /* passes of the teacher, with a draft */
    int64_t drafted, looked, accepted; /* proposals: made; not behind one that was refused; taken */
} di_drafting;

typedef struct di_draft_trial {
    int64_t prompts, proposals; /* proposals at a time: session.draft_tokens */
    int32_t adaptive;
    di_drafting ways[2]; /* greedy, drawn */
    dk_error why;        /* code other than DK_OK: what kept it from being measured */
} di_draft_trial;

typedef struct di_draft_trial_args {
    dk_host *host;
    di_teacher *teacher, *draft;
    di_dataset *data; /* windows of it give the prompts */
    int64_t tokens;   /* to write in each way, without and with, at most */
    /* generate: precision, penalties and what ends a text; session: proposals */
    const di_options *options;
} di_draft_trial_args;

/* Models that cannot draft for each other (a blend, another tokenizer) are no error: why says so. */
int32_t di_draft_trial_measure(const di_draft_trial_args *args, di_draft_trial *out, dk_error *err);
/* ,"draft":{...} */
void di_draft_trial_json(const di_draft_trial *trial, dk_strbuf *out);

#endif
