/* batch.h - some windows of tokens as the models take them: ragged, with the rows that have loss. Which windows they
 * are is the business of dataset_batch.c and sample_stream.c. */
#ifndef DI_DATASET_BATCH_H
#define DI_DATASET_BATCH_H

#include "dataset/store.h"
#include "distill.h"

/* memory of its own, planned by di_batch_plan; rows carry labels: nothing is shifted afterwards */
typedef struct di_origin { /* of a sequence */
    const char *source;    /* its name, or what its sample says; lives as long as the dataset */
    const char *teacher;   /* that its sample asks for; NULL = none */
    int64_t index;         /* of its sample in the source, as messages name it: line or number */
    int64_t first;         /* its first token in that sample */
    int64_t number;        /* of all sequences of the data, whatever the order; of a stream 0 */
    int32_t side;          /* DISTILL_CHOSEN, whose rejected one is the next sequence, DISTILL_REJECTED, or 0 */
} di_origin;
typedef struct di_walk { /* through the windows of a dataset: how far each source has come (walk.h) */
    const void *dataset;
    uint64_t seed;
    int64_t place;             /* windows given */
    int64_t *windows, *tokens; /* [sources]; tokens are not counted where there is one source */
} di_walk;
typedef struct di_batch {
    dk_host *host;
    int64_t windows;       /* packs in it: the unit of batch_size */
    int64_t *window_first; /* [windows + 1]: first sequence of each window */
    int64_t *window_row;   /* [windows + 1]: first row of each window */
    int64_t sequences;
    int64_t *offsets;             /* [sequences + 1] into ids */
    di_origin *origins;           /* [sequences] */
    const char **sources, **tags; /* [sequences] of the origins, as teachers are given them */
    uint8_t *sides;               /* [sequences] the same */
    int32_t *ids;
    uint8_t *learn;        /* [offsets[sequences]]: 1 = this token is a label */
    int64_t rows;          /* positions with loss */
    int64_t *row;          /* [rows] places in ids */
    int32_t *labels;       /* [rows] the token after it */
    float *weights;        /* [rows] */
    int64_t *row_sequence; /* [rows] */
    double weight_sum;     /* of all rows but those of rejected sides */
    int64_t pairs;
    double pair_weight_sum; /* of the pairs: each has the weight of its rows */
    int64_t max_windows, max_tokens, max_sequences;
    di_walk walk; /* where the batches of a mix have come to, so that the next need not begin at the first */
} di_batch;
/* A batch that is empty; windows are added one after the other, as many as it was made for. */
int32_t di_batch_plan(dk_host *host, int64_t windows, int64_t tokens, int64_t sequences, di_batch **out, dk_error *err);
void di_batch_clear(di_batch *batch);
void di_batch_add_sequence(di_batch *batch, const di_tokens *tokens, int64_t first, int64_t count, di_origin origin);
/* The same of ids alone: those from `prompt` on, which is above 0, are learnt, each with this weight. */
void di_batch_add_text(di_batch *batch, const int32_t *ids, int64_t count, int64_t prompt, float weight,
                       di_origin origin);
void di_origin_tag(di_origin *origin, const di_tag *tag); /* what a sample says of itself; NULL = nothing */
void di_batch_end_window(di_batch *batch);
/* What caches and reports know a sequence by, whatever the order, the packing and the place in a batch. */
typedef struct di_identity {
    di_origin origin;
    uint64_t hash; /* of the token ids, computed now */
} di_identity;
/* All of it as teachers and students are given it; borrowed. */
void di_batch_view(const di_batch *batch, distill_batch *out);
/* "sample 3 of train.jsonl", before the message of an error about a sequence. */
void di_batch_name_sample(const di_batch *batch, int64_t sequence, dk_error *err);
di_identity di_batch_identity(const di_batch *batch, int64_t sequence);
void di_batch_free(di_batch *batch);

#endif
