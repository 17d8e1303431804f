/* evaluate.h - what a model is worth on data, and how fast it answers; no trainer is needed.
 *
 *   evaluate.c      perplexity, KL, agreement on held-out data       evaluation_json.c  the same as JSON
 *   teacher_side.c  what the teacher says, kept for the next time    answer_prompt.c  a prompt and an answer to time
 *   teachers.c      each of several teachers by itself and against the others   calibration.c  is it as right as sure?
 *   answer_time.c   from a prompt to its first token, and from token to token
 *   draft_trial.h   a student as its teacher's draft
 *   detail.h        where the student is far from its teacher
 *   evaluation_ranks.c  one evaluation by several ranks
 *   tasks.h         questions with known answers: how a model answers lives there */
#ifndef DI_EVALUATE_EVALUATE_H
#define DI_EVALUATE_EVALUATE_H

#include "dataset/dataset.h"
#include "evaluate/calibration.h"
#include "evaluate/detail.h"
#include "evaluate/pair_scores.h"
#include "evaluate/teacher_side.h"
#include "meter/meter.h"

enum { DI_SCORED_SOURCES = 64 };  /* apart; those behind are in the whole alone */
typedef struct di_source_scores { /* of one source of the data, as in di_evaluation */
    const char *name;             /* lives as long as the data */
    int64_t tokens, text_bytes, floored;
    double nats, teacher_nats, kl_mean, kl_median, kl_p99, top1_agreement, acceptance;
} di_source_scores;
typedef struct di_evaluation {
    int64_t tokens; /* scored positions; of pairs those of the chosen side */
    di_pair_tally pairs;
    int64_t text_bytes;                /* -1 = not text */
    double nats, teacher_nats;         /* mean negative log-likelihood per scored token */
    double kl_mean, kl_median, kl_p99; /* KL(teacher || student) per position, nats; of SAMPLED see loss/measure.h */
    double top1_agreement;
    double acceptance; /* mean sum min(p, q): how likely the teacher would accept a token that the student drafts */
    /* DENSE: all of the above. Sparse: no teacher_nats; KL and acceptance over its ids and the rest, at the
     * temperature that it carries; agreement where its most likely id is known, so not of SAMPLED. */
    int32_t teacher_kind;
    int32_t without_entropy; /* SAMPLED of a distribution whose entropy is not known: kl_mean is no KL */
    double temperature;
    di_calibration calibration, teacher_calibration; /* the teacher's of a DENSE one alone */
    di_common common;       /* of all positions, where the teacher is a blend of TOPK targets */
    int64_t floored;        /* ids of the teacher that the student excludes: their log q counted as -100 */
    dk_precision precision; /* of products */
    double seconds, teacher_seconds, student_seconds;
    int32_t has_teacher;
    int64_t source_count; /* 0 = the data is one source */
    di_source_scores sources[DI_SCORED_SOURCES];
} di_evaluation;
typedef struct di_evaluate_args {
    dk_backend *backend;
    di_teacher *student;   /* anything that scores */
    di_teacher *teacher;   /* NULL = none */
    int64_t step;          /* of the training, for a teacher whose weights hang on it */
    const double *learned; /* weights of the teacher's members, should they be learned; NULL = the first ones */
    di_dataset *data;
    const double *pair_reference;  /* of its sequences by number, as di_pair_scores; NULL = pairs have no reference */
    double pair_beta;              /* of their rewards */
    int64_t tokens;                /* stop after about so many, of each source its share; 0 = all */
    int64_t memory;                /* for strips; 0 = as di_strip_rows says */
    dk_precision precision;        /* of products: of both models */
    di_detail *detail;             /* of this data, filled anew; NULL = none */
    di_teacher_side *teacher_side; /* of this teacher on this data; NULL = nothing is kept */
    di_meter *meter;               /* whose counters are read on the way, before they go round; NULL = none */
    const _Atomic int32_t *cancel;
    int32_t (*progress)(void *user, int64_t done, int64_t total); /* windows; NULL = none; non-zero cancels */
    void *user;
} di_evaluate_args;
/* What would fail later, said now: streams, windows beyond a context. student: its model; NULL = not known. */
int32_t di_evaluate_check(di_dataset *data, const dk_model *student, di_teacher *teacher, dk_error *err);
/* A call of all ranks, each of which scores a part; the result is that of all. */
int32_t di_evaluate(const di_evaluate_args *args, di_evaluation *out, dk_error *err);
/* Of all ranks, before it: data, models and precision are the same on all ranks, or what differs is named. */
int32_t di_evaluation_inputs(const di_evaluate_args *args, dk_error *err);
/* The object of distill_evaluate; teachers: what di_teachers_json wrote, or NULL. */
void di_evaluation_json(const di_evaluation *evaluation, const dk_strbuf *teachers, dk_strbuf *out);
void di_evaluation_precision_json(const di_evaluation *evaluation, dk_strbuf *out); /* ,"precision":"fp32" */
/* ,"sources":{NAME:{...}}; nothing where the data is one source */
void di_evaluation_sources_json(const di_evaluation *evaluation, dk_strbuf *out);

/* An answer to time: behind a prompt of the same ids each time, which ones they are makes no difference. */
enum { DI_ANSWER_PROMPT = 128 };
typedef int32_t (*di_answer_fn)(void *user, int64_t sequence, int32_t id, double log_prob, int32_t finished);
/* The prompt's length: half of a context without room for it and so many tokens written. */
int64_t di_answer_prompt(const di_teacher *model, int64_t written);
void di_answer_ids(const di_teacher *model, int64_t length, int32_t ids[DI_ANSWER_PROMPT]);
int32_t di_answer(di_teacher *model, int64_t length, int64_t written, di_answer_fn fn, void *user, dk_error *err);

#endif
