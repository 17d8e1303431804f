/* loss_parts.h - what the files of src/loss share: entries of the registry, terms of a loss, the row kernels. */
#ifndef DI_LOSS_PARTS_H
#define DI_LOSS_PARTS_H

#include <stdatomic.h>

#include "loss/builtin.h"
#include "loss/loss.h"
#include "target/host_rows.h"

/* ---- registry ---- */
typedef struct di_entry di_entry;
struct di_entry {
    atomic_int references;
    dk_host *host;
    char *name;
    distill_loss_callbacks table; /* a built-in's: the portable variant */
    const di_builtin *builtin;    /* NULL = the host's */
    di_entry *fallback;           /* was registered before, so there are no cycles */
    di_entry *next;               /* in the registry */
};
/* retained; NOT_FOUND lists what there is */
int32_t di_registry_get(const di_registry *registry, const char *name, di_entry **out, dk_error *err);
dk_host *di_registry_host(const di_registry *registry);
void di_entry_release(di_entry *entry);
di_eval_fn di_entry_eval(const di_entry *entry, int32_t isa); /* a built-in's variant for this machine */
int32_t di_entry_logs(const di_entry *entry);                 /* works on log-probabilities */
const di_builtin *di_entry_builtin(const di_entry *entry);    /* itself or what it falls back to; NULL = none */
int32_t di_entry_floors(const di_entry *entry);               /* log p of a dense teacher is raised to the floor */

/* ---- losses ---- */
typedef struct di_number { /* and what becomes of it over the steps */
    double from;
    di_course course;
} di_number;
enum { DI_TERM_NUMBERS = 2 + DI_LOSS_OPTIONS };
typedef struct di_term {
    di_entry *entry;
    double weight, temperature, options[DI_LOSS_OPTIONS]; /* at a step: see di_term_at */
    di_number numbers[DI_TERM_NUMBERS];                   /* weight, temperature, options */
    int32_t t_squared;                                    /* 1 on, 0 off, -1 as usual for the entry */
    int32_t by_logits;                                    /* the built-in loss gives gradients by logits */
    int32_t teacher_labels;                               /* of pairs: loss.dpo.label teacher */
    float log_floor;
    int64_t item;   /* of section loss, where the options are */
    int32_t on;     /* DI_OF_*: the text that it is of */
    int32_t passed; /* this batch is none of it */
} di_term;
/* Everything but the entry, which is there, from item `index` of section loss; NULL = the defaults. */
int32_t di_term_read(di_term *term, const di_options *options, int64_t index, dk_error *err);
void di_term_weigh(di_term *term, di_number weight);
di_term di_term_at(const di_term *term, int64_t step);
int32_t di_term_counts(const di_term *term);        /* its weight is not 0 at all steps */
int32_t di_term_is_heated(const di_term *term);     /* its option temperature is not always 1 */
int32_t di_entry_is_feature(const di_entry *entry); /* not a loss on rows: features/ evaluates it */
int32_t di_entry_is_pair(const di_entry *entry);    /* compares the sequences of pairs */
struct di_loss {
    atomic_int references;
    dk_host *host;
    di_term *all, *terms; /* as the options name them; those whose weight is not 0 */
    int64_t all_count, count;
    char *(*names)[2]; /* [count] of the terms; of a teacher that gives draws without their entropy */
    int32_t precise;   /* some term wants log-sum-exps in doubles */
};
int32_t di_loss_reads_teacher(const di_loss *loss);    /* what it says of rows */
int32_t di_loss_measures_teacher(const di_loss *loss); /* in the pass that comes first */
int32_t di_loss_serial(const di_loss *loss);           /* some term is called once per strip, from the calling thread */
double di_term_temperature(const di_term *term, const di_entry *entry); /* 1 for losses that know none */
double di_term_t_squared(const di_term *term, const di_entry *entry);   /* 1 where it does not apply */
int32_t di_term_logs(const di_term *term, const di_entry *entry);       /* dL/dlog q comes out, and not dL/dz */
/* At some step two terms are at different temperatures; a term is at this one at all steps. */
int32_t di_term_heat_differs(const di_term *a, const di_entry *of_a, const di_term *b, const di_entry *of_b);
int32_t di_term_is_at(const di_term *term, const di_entry *entry, double temperature);
/* draws: of a teacher that gives draws */
void di_term_describe(const di_term *term, int32_t with_weight, int32_t draws, dk_strbuf *out);

/* ---- presets: what another tool computes ---- */
const di_builtin *di_loss_preset(const di_loss *loss);       /* NULL = it is none */
int32_t di_preset_check(const di_loss *loss, dk_error *err); /* one stands alone, and as the tool has it */
int32_t di_preset_check_divisor(const di_loss *loss, double divisor, dk_error *err);
/* What sum and gradient are divided by, count rows counting; 1 where the loss is no preset. */
double di_preset_divisor(const di_loss *loss, double said, int64_t count);

/* ---- pairs of a call on rows: pair_eval.c ---- */
typedef struct di_pair_rows { /* rows that count */
    dk_host *host;
    const di_loss *loss;
    const distill_tensor *reference, *preference; /* of args; NULL = not said */
    int32_t grouped;                              /* args.sequences is there */
    int64_t sequence_count, count;
    const int64_t *sequences; /* [count] */
    const float *weights;     /* [count] */
} di_pair_rows;
typedef struct di_pair_sides { /* freed by di_pair_sides_free; zeroed is fine */
    uint8_t *sides;
    double *scores; /* [2, sequence_count] */
    di_pairs pairs;
} di_pair_sides;
/* out stays as it is where the loss compares no pairs. */
int32_t di_pair_sides_read(const di_pair_rows *rows, di_pair_sides *out, dk_error *err);
void di_pair_sides_free(dk_host *host, di_pair_sides *sides);

/* ---- one chunk of unmasked rows through all terms ---- */
typedef struct di_strip { /* what all chunks of a strip share */
    const di_loss *loss;
    const di_term *terms; /* [loss->count] as they are at the batch's step */
    const di_loss_batch *batch;
    const di_rows *kernels;
    dk_backend *backend;
    int64_t vocab;
    int64_t first;                      /* row of the micro-batch that stands in row 0 of the strip */
    dk_view student, teacher, gradient; /* gradient may be student; absent = not wanted. teacher absent = not dense */
    di_host_rows student_rows, gradient_rows; /* where the host works on them */
    /* of a teacher whose logits serve every temperature one strip; of others one for each temperature */
    di_host_rows teacher_rows[DI_TEMPERATURES];
    double temperatures[DI_TEMPERATURES]; /* that stand in them */
    int64_t levels;
    int32_t past; /* gradients go to a caller's memory that is larger than what is near, and so past the caches */
    const distill_target *target; /* not dense: compact fp32 and int32 rows of the strip */
    int32_t teacher_kind;         /* 0 = none */
    const int32_t *labels;        /* of rows label_first, label_first + 1, ... of the micro-batch; NULL = none */
    int64_t label_first;
    const int64_t *rows; /* [count] unmasked rows of the strip */
    int64_t count;
    double *totals;  /* [count] out: value of all terms together */
    double *parts;   /* [terms, capacity] out: value of each term, its weight left out; capacity as strip_rows */
    double *squares; /* the same of its gradient by the logits, squared and summed; NULL = not wanted */
    int64_t capacity;
    /* The pass that comes first: numbers [capacity, sums] of each term, term after term, out; NULL = this is not it.
     * Behind it: sums[term] are [sequence_count, sums] of all sequences of the batch, NULL of a term that has none. */
    double *measured;
    const double *const *sums;
    int64_t sequence_count;
} di_strip;

typedef struct di_chunk {
    dk_host *host;
    int64_t capacity, vocab;
    /* [capacity, vocab] log q and log p at a temperature, or logits; NULL where built-in losses find the logits in the
     * strip */
    float *q, *p;
    di_logits *student_logits, *teacher_logits; /* [capacity] what log q is made of; what log p would be */
    float *masses[2], *scales[2]; /* [capacity, vocab] and [capacity, blocks] of di_logits, of both sides; or NULL */
    float *group, *term;          /* gradients with respect to q: of all terms since q was made, and of one term */
    float *done;                  /* gradients with respect to the logits: of what was in q before */
    double *values;
    double *sums, *group_sums; /* [capacity] what rows of a term's gradient add up to, and of group */
    int32_t *labels;
    int64_t *sequences;
    float *weights;
    float *target_values, *target_beside; /* rows of a teacher that is not dense */
    di_fitted *fits;                      /* [terms] */
    int32_t *target_ids;
    int64_t target_k;

    const di_strip *strip;
    int64_t first, rows;        /* of strip->rows */
    int64_t end, upcoming;      /* behind the last row, and the first one, that this chunk has now and next */
    int32_t has_q, logs, has_p; /* what stands in q and p */
    int32_t has_teacher_logits;
    int32_t has_sums;          /* the logits' log-sum-exps are there, and not z and factor alone */
    int64_t level;             /* of strip->teacher_rows that p and the teacher's logits are of */
    double temperature, scale; /* of q; of the group's gradient */
    float floor;
    int32_t has_group, has_done;
    int64_t floored;
    _Atomic int64_t raised;
    _Atomic int64_t overflows; /* the first row whose gradient is not finite as it goes out; capacity = none */
    int32_t rc;
    dk_error error;
} di_chunk;
/* Blocks of a row at most, of whatever instruction set. */
static inline int64_t di_blocks(int64_t vocab) { return vocab / 64 + 1; }
/* Of a call on rows, checked as they are alone: no output lies over what is read later, or over another one. */
int32_t di_check_overlap(const distill_loss_args *args, dk_error *err);
/* For messages: how the caller counts this row. */
static inline int64_t di_batch_number(const di_loss_batch *batch, int64_t row)
{
    return batch->numbers ? batch->numbers[row] : row;
}
/* of [capacity, vocab]; narrows: the strips are doubles */
int64_t di_chunk_buffers(const di_loss *loss, int64_t vocab, int32_t with_teacher, int32_t narrows);
int64_t di_chunk_row_bytes(int64_t listed); /* beside these, of a row with so many ids of a sparse teacher */
int32_t di_chunk_create(dk_host *host, di_chunk *chunk, const di_loss *loss, int64_t capacity, int64_t vocab,
                        int32_t with_teacher, int32_t narrows, dk_error *err);
void di_chunk_free(di_chunk *chunk);
/* Rows [first, first + rows) of strip->rows: values into strip->totals, gradients into strip->gradient. The result
 * stands in chunk->rc and chunk->error. */
void di_chunk_run(di_chunk *chunk, const di_strip *strip, int64_t first, int64_t rows);
/* |dL/dlogits|^2 of the rows of a term whose gradient this is, into strip->squares. */
void di_chunk_squares(di_chunk *chunk, const di_term *term, const di_entry *entry, const float *gradient);
/* One call of a loss, over ranges of rows in parallel where it allows that. */
int32_t di_chunk_call(di_chunk *chunk, const di_term *term, const di_entry *entry, float *gradient, dk_error *err);
/* What all terms so far, with their weights and T squared, say of the rows: finite in fp32. The last is entry's. */
int32_t di_chunk_check_totals(const di_chunk *chunk, const di_entry *entry, dk_error *err);
int32_t di_chunk_check_gradients(const di_chunk *chunk, dk_error *err); /* as they went out */
/* Its measure in the pass that comes first; the terms before it have `before` numbers of a row. */
int32_t di_chunk_measure(di_chunk *chunk, const di_term *term, int64_t before, dk_error *err);

#endif
