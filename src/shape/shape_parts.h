/* shape_parts.h - what the files of this folder share. */
#ifndef DI_SHAPE_SHAPE_PARTS_H
#define DI_SHAPE_SHAPE_PARTS_H

#include "conf/document.h"
#include "shape/shape.h"

/* ---- what parts of a model do on text: activity.c ---- */
typedef enum {
    DI_IMPORTANCE_L2,  /* root of the sum over sequences of (mean |a| over its tokens) squared */
    DI_IMPORTANCE_MEAN /* mean |a| over all tokens */
} di_importance;
typedef struct di_activity {
    dk_host *host;
    int64_t layers, hidden_size, heads, inner_size;
    int64_t tokens, sequences; /* read */
    double *influence;         /* [layers] 1 - mean cosine of a block's input and output */
    double *hidden;            /* [hidden_size] of what attention, MLP and head read, summed over these places */
    double *head;              /* [layers, heads] of the length of what a head gives */
    double *inner;             /* [layers, inner_size] */
} di_activity;
/* Over about so many tokens of data, in windows as a training with this seed visits them. */
int32_t di_activity_measure(dk_model *model, di_dataset *data, uint64_t seed, int64_t tokens, di_importance importance,
                            di_activity *out, dk_error *err);
void di_activity_free(di_activity *activity);

/* Something that takes its time: told to the log after two seconds and every two from then on, and can be cancelled. */
typedef struct di_patience {
    dk_host *host;
    const char *what;
    double told;
} di_patience;
di_patience di_patience_begin(dk_host *host, const char *what);
int32_t di_patience_tell(di_patience *patience, int64_t done, int64_t total, dk_error *err);

/* ---- the numbers kept: choice.c ---- */
typedef struct di_choice {
    dk_host *host;
    int64_t *layers, *hidden, *groups, *inner, *ids; /* as dk_keep has them; NULL = all */
    int64_t layer_count, hidden_size, kv_heads, inner_size, vocab_size;
} di_choice;
void di_choice_free(di_choice *choice);
dk_keep di_choice_keep(const di_choice *choice); /* of a teacher that has the ids alone */
/* Of everything that a choice hangs on: teacher, text, options. */
int32_t di_choice_key(const di_shape_args *args, di_dataset *data, char key[65], dk_error *err);
void di_choice_write(const di_choice *choice, const char *key, const dk_strbuf *report, dk_strbuf *out);
/* *found 0 = text is of another choice, or none. */
int32_t di_choice_read(const char *text, const char *key, di_choice *out, dk_strbuf *report, int32_t *found,
                       dk_error *err);

/* ---- which matter most: rank.c ---- */
/* The numbers of the `kept` highest of scores [count], ascending; of equals the lower number. */
int32_t di_rank(dk_host *host, const double *scores, int64_t count, int64_t kept, int64_t *out, dk_error *err);

/* ---- what is told: shape_json.c ---- */
typedef struct di_cut { /* what one step cost, before any training */
    int64_t parameters_before, parameters_after;
    double nats_before, nats_after, kl, agreement; /* kl: KL(teacher || student) after it */
    int64_t tokens;
} di_cut;
void di_cut_json(const di_cut *cut, dk_strbuf *out); /* members, each with a comma before it */
void di_numbers_json(const int64_t *numbers, int64_t count, dk_strbuf *out);
void di_scores_json(const double *scores, int64_t count, dk_strbuf *out);

/* ---- fewer ids: vocabulary.c ---- */
/* The most frequent ids of student.vocabulary_text, or of data, and what a tokenizer of them needs. */
int32_t di_vocabulary_choose(const di_options *options, di_teacher *teacher, di_dataset *data, di_choice *choice,
                             dk_error *err);
/* References to a teacher and a text become those of the same with these ids alone. */
int32_t di_vocabulary_apply(const di_options *options, const di_choice *choice, di_teacher **teacher, di_dataset **data,
                            dk_error *err);
/* Both on the same text in the tokens of fewer, so that nats_before - nats_after is the mean of -log of the mass that
 * the whole teacher has on the kept ids: KL(fewer || whole), which is cut->kl. */
int32_t di_vocabulary_cost(dk_backend *backend, const di_options *options, const di_choice *choice, di_teacher *whole,
                           di_teacher *fewer, di_dataset *data, int64_t tokens, di_cut *cut, dk_error *err);

#endif
