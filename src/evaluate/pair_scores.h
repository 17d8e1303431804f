/* pair_scores.h - what a model holds of the two sides of pairs: the log-probability of each sequence, and how a student
 * compares with that. */
#ifndef DI_EVALUATE_PAIR_SCORES_H
#define DI_EVALUATE_PAIR_SCORES_H

#include "dataset/dataset.h"
#include "teacher/teacher.h"

typedef struct di_pair_score_args {
    dk_backend *backend;
    di_teacher *model; /* that gives logits */
    di_dataset *data;  /* no stream */
    int64_t vocab;     /* ids that count, no more than the model's; 0 = all of those */
    dk_precision precision;
    const _Atomic int32_t *cancel;
    int32_t (*progress)(void *user, int64_t done, int64_t total); /* windows; NULL = none; non-zero cancels */
    void *user;
} di_pair_score_args;
/* out [di_dataset_sequence_count]: of each sequence of a pair the sum over its labels; 0 of others. */
int32_t di_pair_scores(const di_pair_score_args *args, double *out, dk_error *err);

typedef struct di_pair_tally { /* of pairs: sums; "right": the chosen side is ahead */
    int64_t count, right, teacher_right, reward_right;
    double margin, teacher_margin;      /* of log-probabilities, nats */
    double reward_margin, reward_loss;  /* of rewards; -log sigmoid of that */
    int32_t has_teacher, has_reference; /* rewards: beta times the log-ratio of student and reference */
} di_pair_tally;
/* nats: -log-probabilities of both sides by student and teacher (NULL = none); reference: log-probabilities of both, or
 * NULL. */
void di_pair_tally_count(di_pair_tally *tally, const double nats[2], const double *teacher_nats,
                         const double *reference, double beta);
void di_pair_tally_add(di_pair_tally *to, const di_pair_tally *from);
/* ,"pairs":{"count":...,"accuracy":...,...}; nothing where there are none */
void di_pair_tally_json(const di_pair_tally *tally, dk_strbuf *out);

#endif
