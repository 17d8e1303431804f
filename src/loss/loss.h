/* loss.h - how far a student is from a teacher: the registry of losses by name, weighted sums of them, and their
 * evaluation in strips of rows, fused with the heads, so that no [tokens, vocab] tensor exists.
 *
 * A built-in loss is one file in kernels/ and a row of loss_table.h; it fills the same distill_loss_callbacks as a
 * host's. */
#ifndef DI_LOSS_LOSS_H
#define DI_LOSS_LOSS_H

#include "options/options.h"
#include "target/target.h"

/* ---- registry ---- */
typedef struct di_registry di_registry;
int32_t di_registry_create(dk_host *host, di_registry **out, dk_error *err); /* with the built-in losses */
void di_registry_free(di_registry *registry);
/* destroy rules of distill.h; thread-safe */
int32_t di_registry_add(di_registry *registry, const char *name, const distill_loss_callbacks *table, dk_error *err);
int32_t di_registry_names(const di_registry *registry, dk_strbuf *out, dk_error *err); /* "cross_entropy, forward_kl" */

/* ---- losses: immutable, reference-counted; keep the tables that they use alive ---- */
typedef struct di_loss di_loss;
/* name NULL = section loss of options: one term or a list, and hard_label_weight a: [cross_entropy x a, soft x
 * (1-a)]. */
int32_t di_loss_create(di_registry *registry, const char *name, const di_options *options, di_loss **out,
                       dk_error *err);
/* The same terms with the numbers that the options give now. */
int32_t di_loss_reweighed(const di_loss *loss, const di_options *options, di_loss **out, dk_error *err);
di_loss *di_loss_retain(di_loss *loss);
void di_loss_release(di_loss *loss);
int32_t di_loss_needs_teacher(const di_loss *loss);
/* What a text is, which a term may be of alone (loss.on); in a batch 0 = not said, and such terms are refused. */
enum { DI_OF_DATA = 1, DI_OF_STUDENT = 2, DI_OF_ALL = 3 };
int32_t di_loss_is_of(const di_loss *loss, int32_t of); /* some term counts there */
const char *di_loss_apart(const di_loss *loss);         /* a term that is not of all text, by name; NULL = none */
int32_t di_loss_refuse_apart(const di_loss *loss, dk_error *err); /* where nobody knows whose a text is */
/* A term of such text that learns from labels alone, by name; NULL = there is none. */
const char *di_loss_imitates_labels(const di_loss *loss, int32_t of);
int32_t di_loss_compares_rows(const di_loss *loss); /* some term is not on features */
/* Number of the term that compares pairs, among those that count, and its item of section loss; 0 = there is none. */
int32_t di_loss_pair_term(const di_loss *loss, int64_t *term, int64_t *item);
int32_t di_loss_teacher_labels(const di_loss *loss); /* it has one, whose labels are the teacher's preferences */
double di_loss_pair_beta(const di_loss *loss, int64_t step);  /* of its rewards */
int32_t di_preset_refuse(const di_loss *loss, dk_error *err); /* a loss as another tool has it: only di_loss_eval may */
/* A term on features, in order of the options; 0 = there is no such one. di_loss_run passes over them. */
typedef struct di_feature_term {
    const struct di_builtin *builtin;
    int64_t number; /* among all terms that the options name, also those of weight 0 */
    int64_t term;   /* among those that count */
    int64_t item;   /* of section loss */
} di_feature_term;
int32_t di_loss_feature(const di_loss *loss, int64_t index, di_feature_term *out);
double di_loss_weight(const di_loss *loss, int64_t term, int64_t step);
int32_t di_loss_term_is_of(const di_loss *loss, int64_t term, int32_t of); /* of 0: it is */
/* Teacher's kind (0 = none) and temperature, labels there or not: an error names the term and what it takes. */
int32_t di_loss_check(const di_loss *loss, int32_t teacher_kind, double teacher_temperature, int32_t has_labels,
                      dk_error *err);
/* Of a teacher whose rows are right but for an offset (a blend, a cache of tier full): losses of logits refuse it. */
int32_t di_loss_check_shifted(const di_loss *loss, dk_error *err);
/* All that look at labels pass over those beyond the vocabulary, and count them. */
int32_t di_loss_skips_labels(const di_loss *loss);
int32_t di_loss_whole_sequences(const di_loss *loss);
int64_t di_loss_sum_count(const di_loss *loss); /* numbers of a row that its terms measure first; 0 = none does */
/* At which a teacher is asked at a step, each once; returns how many, also where that is more than DI_TEMPERATURES. */
int64_t di_loss_temperatures(const di_loss *loss, int64_t step, double out[DI_TEMPERATURES]);
int64_t di_loss_levels(const di_loss *loss); /* no more than so many of them at any step; at most DI_TEMPERATURES */
void di_loss_describe(const di_loss *loss, dk_strbuf *out); /* "0.5*cross_entropy + 0.5*forward_kl(T=2)" */

/* ---- evaluation ---- */
#define DI_STRIP_ROWS 256                        /* fewer rows, and products are bound by reading the head */
#define DI_STRIP_BYTES_MOST ((int64_t)512 << 20) /* of so many */
/* How many rows of `row_bytes` in all strips go at once in `memory` bytes; memory 0 (train.loss_memory: auto) =
 * DI_STRIP_ROWS of any width, as long as that is no more than DI_STRIP_BYTES_MOST. Refused where one row is more. */
int32_t di_strip_rows(int64_t memory, int64_t row_bytes, int64_t *rows, dk_error *err);
typedef struct di_workspace di_workspace; /* strips and scratch, planned once: a warm evaluation allocates nothing */
typedef struct di_workspace_spec {
    int64_t memory;    /* bytes for strips, chunks and what the sources take beside (train.loss_memory; 0 = auto) */
    const char *limit; /* what messages call it */
    int64_t student_width, teacher_width; /* of the strips; teacher_width 0 = it gives no logits */
    int64_t levels;       /* strips of the teacher: at so many temperatures at once (di_loss_levels); 0 = 1 */
    int32_t keeps_logits; /* the student's gradient needs its logits, so that it goes to a strip of its own */
    int64_t listed;       /* ids in a row of a sparse teacher, where that is known */
    /* That the sources take for each row of a strip, in buffers of student and teacher and elsewhere; and at once. */
    int64_t buffer_row[2], row_bytes, bytes;
    int64_t max_rows, max_sequences;
    /* Dense rows of both sides, and room for the gradient, are there already (di_source.place): strips hold none. */
    int32_t in_place;
} di_workspace_spec;
int32_t di_workspace_create(dk_backend *backend, const di_loss *loss, const di_workspace_spec *spec, di_workspace **out,
                            dk_error *err);
void di_workspace_free(di_workspace *workspace);
int64_t di_workspace_strip_rows(const di_workspace *workspace);
/* Those of a loss on features alone are made when they are first asked for: by this. */
int32_t di_workspace_open_strips(di_workspace *workspace, dk_error *err);
/* [strip_rows, student_width], for pull mode and evaluation */
dk_view di_workspace_student_strip(const di_workspace *workspace);
dk_view di_workspace_teacher_strip(const di_workspace *workspace);  /* [strip_rows, teacher_width] or absent */
dk_view di_workspace_gradient_strip(const di_workspace *workspace); /* as the student's; absent = it goes there */

typedef struct di_loss_batch { /* the rows of one micro-batch; host arrays */
    const di_source *student;
    const di_source *teacher; /* NULL = none */
    int64_t rows;
    const int32_t *labels;    /* [rows], < 0 = masked; NULL = none */
    const float *weights;     /* [rows], 0 = masked; NULL = 1 */
    const int64_t *sequences; /* [rows], ascending, below sequence_count; NULL = all 0 */
    int64_t sequence_count;   /* 0 = one */
    const int64_t *numbers;   /* [rows] what messages call them; NULL = 0, 1, 2, ... */
    int64_t step;
    int32_t of;                   /* DI_OF_DATA, DI_OF_STUDENT; 0 = not said */
    int32_t want_gradient;        /* through student->gradient */
    double grad_scale;            /* of the sum's gradient; 1 = the sum */
    const struct di_pairs *pairs; /* NULL = there are none; losses on rows pass over their rejected sides */
    const double *factors;        /* [terms] that the weights of terms are multiplied with, each above 0; NULL = 1 */
    int32_t want_squares;         /* of the terms' gradients, with want_gradient */
    double *row_values;           /* out [rows] or NULL, unweighted, 0 where masked */
} di_loss_batch;
enum { DI_LOSS_TERMS = 64 }; /* at most: as many as a list in the options may have */
typedef struct di_loss_sums {
    double sum, weight_sum;         /* not of the rejected sides of pairs, nor are they counted */
    int64_t count, floored;         /* floored: log-probabilities raised to loss.log_floor */
    int64_t pairs, preferred;       /* of a loss that compares them; preferred: the chosen side has the higher reward */
    double pair_weight_sum, margin; /* margin: of rewards, summed over the pairs */
    int64_t step;                   /* of the last batch */
    int32_t of;                     /* the same; 0 = not said */
    int32_t teacher_kind;           /* the same; 0 = none */
    int32_t without_entropy;        /* the same: draws of a distribution whose entropy is not known */
    double terms[DI_LOSS_TERMS];    /* as sum, of each term as di_loss_terms_json names them, its weight left out */
    /* of each term: sum over the rows of |dL/dlogits|^2, the row's weight in it and the term's left out, if asked for;
     * and the last batch's factor, 0 = none */
    double squares[DI_LOSS_TERMS], factors[DI_LOSS_TERMS];
} di_loss_sums;
int64_t di_loss_count(const di_loss *loss); /* of its terms */
typedef struct di_term_figures {
    const char *names[DI_LOSS_TERMS]; /* live as long as the loss */
    double weights[DI_LOSS_TERMS], values[DI_LOSS_TERMS];
} di_term_figures;
void di_loss_terms(const di_loss *loss, const di_loss_sums *sums, di_term_figures *out);
/* [{"loss": "forward_kl(T=2)", "weight": 0.5, "value": mean over the rows}, ...] */
void di_loss_terms_json(const di_loss *loss, const di_loss_sums *sums, dk_strbuf *out);
/* Adds to *sums (zero it before the first micro-batch). Cancelled between strips when *cancel or the host says so
 * (cancel may be NULL). */
int32_t di_loss_run(const di_loss *loss, di_workspace *workspace, const di_loss_batch *batch,
                    const _Atomic int32_t *cancel, di_loss_sums *sums, dk_error *err);
/* distill_loss_eval: everything from the caller's tensors. */
int32_t di_loss_eval(dk_backend *backend, const di_loss *loss, distill_loss_args *args, dk_error *err);

#endif
