/* detail.h - where a student is far from its teacher, beside the means of an evaluation: by place in the text, by how
 * often the next token occurs, in the few contexts where both differ most, and by blocks of the held-out text, from
 * which intervals follow and by which two runs are compared in pairs.
 *
 *   detail.c   all of it, as JSON        detail_buckets.c   by place and by frequency, and blocks
 *   disagree.c  the contexts, with what both expected there        detail_ranks.c  of several ranks */
#ifndef DI_EVALUATE_DETAIL_H
#define DI_EVALUATE_DETAIL_H

#include "dataset/dataset.h"
#include "loss/measure.h"

enum {
    DI_POSITIONS = 20,  /* buckets of tokens read before: 1, 2-3, 4-7, ... */
    DI_FREQUENCIES = 6, /* of occurrences among the labels: 1, 2-9, 10-99, ... */
    DI_BLOCKS = 64,     /* runs of windows that follow each other */
    DI_DISAGREEMENTS = 10,
    DI_CONTEXT = 32, /* tokens kept before the one that is asked for */
    DI_LIKELY = 5    /* ids of each model */
};

typedef struct di_sums { /* of some positions */
    int64_t tokens;
    double nats, teacher_nats, kl;
} di_sums;
typedef struct di_disagreement {
    double kl;
    int64_t window, position; /* of the data; tokens read before in the sequence */
    int32_t context[DI_CONTEXT], label;
    int32_t context_count;
    double label_p, label_q;           /* p of the teacher, q of the student; -1 = not said */
    int32_t ids[2 * DI_LIKELY], count; /* what either holds most likely */
    double p[2 * DI_LIKELY], q[2 * DI_LIKELY];
} di_disagreement;
typedef struct di_detail_row {
    const di_measure *strip; /* and the row of it */
    int64_t row;
    const di_measured *measured;
    const int32_t *ids; /* [position] what was read, the last one included */
    int64_t position, window;
} di_detail_row;
typedef struct di_detail di_detail;
/* tokenizer, to spell what is kept, may be NULL: then ids stand there. */
int32_t di_detail_create(dk_host *host, di_dataset *data, int64_t vocab, dk_tokenizer *tokenizer, di_detail **out,
                         dk_error *err);
void di_detail_free(di_detail *detail); /* NULL is fine */
/* What the teacher gives; DISTILL_SAMPLED and 0 have no distance of a position that means anything. */
void di_detail_begin(di_detail *detail, int32_t has_teacher, int32_t teacher_kind);
void di_detail_add(di_detail *detail, const di_detail_row *row);
/* Of the windows of this rank: becomes that of all ranks, on each of them. Alone it does nothing. */
int32_t di_detail_meet(di_detail *detail, dk_error *err);
/* ,"by_position":[...],"by_frequency":[...],"disagreements":[...],"blocks":{...} */
int32_t di_detail_json(const di_detail *detail, dk_strbuf *out, dk_error *err);

/* ---- detail_buckets.c ---- */
int64_t di_position_bucket(int64_t position);                        /* from 1 */
int64_t di_frequency_bucket(int64_t count);                          /* from 1 */
void di_position_bounds(int64_t bucket, int64_t *from, int64_t *to); /* to -1 = no end */
void di_frequency_bounds(int64_t bucket, int64_t *from, int64_t *to);
int32_t di_count_labels(dk_host *host, di_dataset *data, int64_t vocab, uint32_t *counts, dk_error *err);
/* ---- disagree.c ---- */
typedef struct di_disagreements {
    di_disagreement items[DI_DISAGREEMENTS]; /* by falling distance, of a window the largest alone */
    int64_t count;
} di_disagreements;
void di_disagreements_add(di_disagreements *found, const di_detail_row *row);
void di_disagreements_take(di_disagreements *found, const di_disagreement *one); /* of another list */
int32_t di_disagreements_json(const di_disagreements *found, const dk_tokenizer *tokenizer, dk_strbuf *out,
                              dk_error *err);

#endif
